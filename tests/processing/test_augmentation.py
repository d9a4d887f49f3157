"""Waveform augmentation: each effect does what its numbers say, from its generator alone."""

import random

import numpy as np
import pytest

from antiphon.processing.audio_io import UndecodableAudioError, write_audio
from antiphon.processing.corpora.augmentation import (
    WaveformAugmentation,
    generate_noise,
    simulate_impulse_response,
)

EFFECTS = ("speed", "pitch", "room", "noise", "low_pass", "gain")
ALL = {effect: {"probability": 1.0} for effect in EFFECTS}


def make_sine(hertz=220.0, seconds=1.0, sampling_rate=16000, amplitude=0.3):
    time = np.arange(int(seconds * sampling_rate)) / sampling_rate
    return (amplitude * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def augment(waveform, sampling_rate=16000, seed=0, **effects):
    """Applies the effects with probability 1."""
    config = {effect: {"probability": 1, **settings} for effect, settings in effects.items()}
    return WaveformAugmentation(sampling_rate, **config)(waveform, np.random.default_rng(seed))


def measure_hertz(waveform, sampling_rate=16000):
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform)), 8 * sampling_rate))
    return spectrum.argmax() / 8


def decibels(ratio):
    return 20 * np.log10(ratio)


def rms(waveform):
    return np.sqrt(np.mean(np.square(waveform, dtype=np.float64)))


# ---------------------------------------------------------------- each effect


@pytest.mark.parametrize("sampling_rate", [8000, 16000])
@pytest.mark.parametrize("factor", [0.8, 1.0, 1.25])
def test_speed_changes_length_and_pitch_by_its_factor(sampling_rate, factor):
    sine = make_sine(sampling_rate=sampling_rate)
    changed = augment(sine, sampling_rate, speed={"factor": [factor, factor]})
    assert len(changed) == pytest.approx(len(sine) / factor, abs=1)
    assert measure_hertz(changed, sampling_rate) == pytest.approx(220 * factor, rel=0.005)


@pytest.mark.parametrize("sampling_rate", [8000, 16000])
@pytest.mark.parametrize("semitones", [-4, 3])
def test_pitch_moves_the_f0_and_keeps_the_length(sampling_rate, semitones):
    sine = make_sine(sampling_rate=sampling_rate)
    changed = augment(sine, sampling_rate, pitch={"semitones": [semitones, semitones]})
    assert len(changed) == len(sine)
    assert measure_hertz(changed, sampling_rate) == pytest.approx(220 * 2 ** (semitones / 12), rel=0.005)


@pytest.mark.parametrize("gain_db", [-12, 6])
def test_gain_is_in_decibels(gain_db):
    sine = make_sine()
    np.testing.assert_allclose(
        augment(sine, gain={"gain_db": [gain_db, gain_db]}), sine * 10 ** (gain_db / 20), rtol=1e-6
    )


@pytest.mark.parametrize("snr_db", [0, 20])
def test_generated_noise_has_the_snr(snr_db):
    sine = make_sine()
    noise = augment(sine, noise={"snr_db": [snr_db, snr_db]}) - sine
    assert decibels(rms(sine) / rms(noise)) == pytest.approx(snr_db, abs=0.01)


@pytest.mark.parametrize("slope", [-6.02, -3.01, 0, 3.01])
def test_generated_noise_has_the_slope(slope):
    power = np.abs(np.fft.rfft(generate_noise(2**18, slope, np.random.default_rng(0)))) ** 2
    bands = [10 * np.log10(power[2**octave : 2 ** (octave + 1)].mean()) for octave in range(9, 17)]
    np.testing.assert_allclose(np.diff(bands), slope, atol=0.6)


@pytest.mark.parametrize("seconds", [0.3, 3.0])
def test_recorded_noise_is_a_passage_at_the_snr(tmp_path, seconds):
    recording = 0.1 * np.random.default_rng(1).standard_normal(int(seconds * 16000)).astype(np.float32)
    write_audio(tmp_path / "noise.wav", recording, 16000, subtype="FLOAT")
    sine = make_sine()
    noise = augment(sine, noise={"snr_db": [10, 10], "recordings": str(tmp_path)}) - sine
    assert decibels(rms(sine) / rms(noise)) == pytest.approx(10, abs=0.01)
    correlation = np.correlate(np.resize(recording, 64000), noise[:4000], mode="valid")
    norms = np.linalg.norm(noise[:4000]) * 0.1 * np.sqrt(4000)
    assert correlation.max() / norms > 0.9


def test_recorded_noise_starts_anywhere(tmp_path):
    write_audio(tmp_path / "ramp.wav", np.linspace(0.001, 1, 32000, dtype=np.float32), 16000, subtype="FLOAT")
    sine = make_sine()
    settings = {"snr_db": [20, 20], "recordings": [tmp_path / "ramp.wav"]}
    slopes = set()
    for seed in range(5):
        noise = augment(sine, seed=seed, noise=settings) - sine
        slopes.add(round(float(noise[-1] / noise[0]), 2))  # where a ramp is cut decides how much it rises
    assert len(slopes) == 5


def test_recordings_are_resampled_to_the_clip_rate(tmp_path):
    write_audio(tmp_path / "tone.wav", make_sine(1000, 3.0), 16000)
    silence_with_click = np.zeros(8000, np.float32)
    silence_with_click[0] = 0.5
    noisy = augment(silence_with_click, 8000, noise={"snr_db": [0, 0], "recordings": [tmp_path / "tone.wav"]})
    assert measure_hertz(noisy[1:], 8000) == pytest.approx(1000, abs=1)


def test_room_convolves_with_the_response_from_its_direct_sound_on(tmp_path):
    response = np.zeros(500, np.float32)
    response[[100, 160, 400]] = [-0.5, 0.2, 0.1]
    write_audio(tmp_path / "room.wav", response, 16000, subtype="FLOAT")
    clip = generate_noise(4000, 0, np.random.default_rng(0)) * 0.1
    expected = clip.copy()
    expected[60:] -= 0.4 * clip[:-60]
    expected[300:] -= 0.2 * clip[:-300]
    changed = augment(clip, room={"impulse_responses": [str(tmp_path / "room.wav")]})
    np.testing.assert_allclose(changed, expected, atol=1e-6)


def test_simulated_room_has_the_decay_and_the_direct_to_reverberant_ratio():
    response = simulate_impulse_response(16000, 0.4, 6.0, np.random.default_rng(0)).astype(np.float64)
    assert response.shape == (6400,)
    assert response[0] == 1
    assert -10 * np.log10(np.sum(response[1:] ** 2)) == pytest.approx(6, abs=0.01)
    # Schroeder's backward integration; the fit between -5 and -25 dB gives the reverberation time T20.
    decay = 10 * np.log10(np.cumsum(response[:0:-1] ** 2)[::-1])
    decay -= decay[0]
    fitted = np.flatnonzero((decay < -5) & (decay > -25))
    slope = np.polyfit(fitted / 16000, decay[fitted], 1)[0]
    assert -60 / slope == pytest.approx(0.4, rel=0.1)


def test_simulated_room_keeps_the_onset_and_adds_a_tail():
    clip = np.zeros(8000, np.float32)
    clip[1000:1200] = make_sine()[:200]
    changed = augment(clip, room={"rt60_seconds": [0.3, 0.3], "direct_to_reverberant_db": [3, 3]})
    assert np.abs(changed[:1000]).max() < 1e-5
    assert rms(changed[1300:3000]) > 1e-3


def test_low_pass_halves_the_power_at_its_cutoff_and_keeps_what_is_below():
    def level(hertz):
        sine = make_sine(hertz)
        return decibels(rms(augment(sine, low_pass={"cutoff_hz": [2000, 2000]})[800:]) / rms(sine))

    assert level(200) == pytest.approx(0, abs=0.2)
    assert level(2000) == pytest.approx(-3, abs=0.5)
    assert level(4000) < -11


# ---------------------------------------------------------------- randomness


def test_the_same_generator_gives_the_same_result_whatever_the_global_state():
    clip = make_sine()
    results = []
    for seed in (1, 2):
        random.seed(seed)
        np.random.seed(seed)
        results.append(WaveformAugmentation(16000, **ALL)(clip, np.random.default_rng(7)))
    np.testing.assert_array_equal(*results)
    other = WaveformAugmentation(16000, **ALL)(clip, np.random.default_rng(8))
    assert len(other) != len(results[0]) or not np.array_equal(other, results[0])


def test_without_a_generator_the_seed_decides_the_whole_sequence():
    first, second, other = (WaveformAugmentation(16000, seed=seed, **ALL) for seed in (3, 3, 4))
    sequence = [first(make_sine()) for _ in range(3)]
    for expected in sequence:
        np.testing.assert_array_equal(second(make_sine()), expected)
    assert len({len(waveform) for waveform in sequence}) == 3
    assert not np.array_equal(other(make_sine())[:100], sequence[0][:100])


@pytest.mark.parametrize("effect", EFFECTS)
def test_global_generators_are_left_alone(effect):
    python_state, numpy_state = random.getstate(), np.random.get_state()
    WaveformAugmentation(16000, **{effect: ALL[effect]})(make_sine())
    assert random.getstate() == python_state
    after = np.random.get_state()
    assert after[2] == numpy_state[2]
    np.testing.assert_array_equal(after[1], numpy_state[1])


def test_probability_is_the_share_of_changed_clips():
    clip = make_sine(seconds=0.01)
    augmentation = WaveformAugmentation(16000, gain={"probability": 0.3, "gain_db": [-6, -3]}, seed=0)
    changed = sum(not np.array_equal(augmentation(clip), clip) for _ in range(1000))
    assert 250 < changed < 350
    never = WaveformAugmentation(16000, **{effect: {"probability": 0} for effect in EFFECTS})
    np.testing.assert_array_equal(never(clip), clip)
    assert not np.shares_memory(never(clip), clip)


# ---------------------------------------------------------------- whatever goes in


@pytest.mark.parametrize("sampling_rate", [8000, 16000])
@pytest.mark.parametrize("seconds", [0.01, 0.0731, 1.0])
@pytest.mark.parametrize("amplitude", [0.0, 1e-6, 1.0])
def test_results_are_finite_float32_within_full_scale(sampling_rate, seconds, amplitude):
    clip = make_sine(300, seconds, sampling_rate, amplitude)
    before = clip.copy()
    augmentation = WaveformAugmentation(sampling_rate, **ALL)
    for seed in range(5):
        changed = augmentation(clip, np.random.default_rng(seed))
        assert changed.dtype == np.float32
        assert changed.ndim == 1
        assert 0.9 * len(clip) <= len(changed) <= 1.12 * len(clip)
        assert np.isfinite(changed).all()
        assert np.abs(changed).max() <= 1
        assert changed.any() == bool(amplitude)
    np.testing.assert_array_equal(clip, before)


def test_too_loud_a_result_is_scaled_down_as_a_whole_not_clipped():
    sine = make_sine(amplitude=0.9)
    changed = augment(sine, gain={"gain_db": [20, 20]})
    np.testing.assert_allclose(changed, sine / np.abs(sine).max(), rtol=1e-5)


@pytest.mark.parametrize(
    ("waveform", "message"),
    [
        (np.zeros(10), r"shape \(10,\), float64, expected a non-empty \(samples,\) float32"),
        (np.zeros((2, 10), np.float32), r"shape \(2, 10\)"),
        (np.zeros(0, np.float32), r"shape \(0,\)"),
        ([0.0], "<class 'list'>"),
        (np.array([0, np.nan], np.float32), "`waveform` holds NaN"),
    ],
)
def test_bad_waveforms(waveform, message):
    with pytest.raises(ValueError, match=message):
        WaveformAugmentation(16000)(waveform)


# ---------------------------------------------------------------- configuration


def test_a_recipe_section_is_the_same_as_the_arguments():
    section = {"speed": {"factor": [0.9, 1.1]}, "gain": {}}
    from_section = WaveformAugmentation.from_config(section, 16000, seed=5)
    np.testing.assert_array_equal(
        from_section(make_sine()), WaveformAugmentation(16000, seed=5, **section)(make_sine())
    )


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"gian": {}}, "`augmentation` has the unknown key `gian`; did you mean `gain`"),
        ({"noise": {"snr": [1, 2]}}, "`noise` has the unknown key `snr`; did you mean `snr_db`"),
        ({"noise": {"zzz": 1}}, "unknown key `zzz`; expected probability, snr_db"),
        ({"gain": 3}, "`gain` is 3, expected a mapping"),
        ({"gain": {"probability": 1.5}}, "`gain.probability` is 1.5, expected a number within 0 and 1"),
        ({"gain": {"gain_db": [3, -3]}}, r"`gain.gain_db` is \[3, -3\], expected a range .* low <= high"),
        ({"gain": {"gain_db": 3}}, "`gain.gain_db` is 3, expected a range"),
        ({"gain": {"gain_db": ["a", "b"]}}, "expected a range"),
        ({"gain": {"gain_db": [float("nan"), 1]}}, "expected a range"),
        ({"speed": {"factor": [0, 1]}}, "`speed.factor` is .* within 0.5 and 2"),
        ({"low_pass": {"cutoff_hz": [1000, 9000]}}, "within 20 and 7840"),
        ({"noise": {"recordings": []}}, "`noise.recordings` is .*, which holds no audio file"),
    ],
)
def test_bad_settings(section, message):
    with pytest.raises(ValueError, match=message):
        WaveformAugmentation.from_config(section, 16000)


def test_bad_recordings(tmp_path):
    with pytest.raises(ValueError, match="holds no audio file; give a folder"):
        WaveformAugmentation(16000, noise={"recordings": str(tmp_path)})
    write_audio(tmp_path / "silence.wav", np.zeros(100, np.float32), 16000)
    with pytest.raises(ValueError, match=r"`room\.impulse_responses` has .*silence\.wav', which is silent"):
        WaveformAugmentation(16000, room={"impulse_responses": str(tmp_path)})
    (tmp_path / "text.wav").write_text("no sound in here")
    with pytest.raises(UndecodableAudioError, match=r"text\.wav"):
        WaveformAugmentation(16000, noise={"recordings": [tmp_path / "text.wav"]})


def test_bad_sampling_rate():
    with pytest.raises(ValueError, match=r"`sampling_rate` is 16000\.0"):
        WaveformAugmentation(16000.0)


def test_equalizer_shapes_the_spectrum_smoothly_and_keeps_length_and_time():
    augmentation = WaveformAugmentation(8000, equalizer={"probability": 1.0, "gain_db": [-9, 9]})
    noise = np.random.default_rng(0).standard_normal(8000).astype(np.float32) * 0.05
    shaped = augmentation(noise, np.random.default_rng(3))
    assert len(shaped) == len(noise)
    gains_db = 20 * np.log10(np.abs(np.fft.rfft(shaped)) / np.abs(np.fft.rfft(noise)))
    smooth = np.convolve(gains_db, np.ones(41) / 41, mode="same")[50:-50]
    assert -9.5 < smooth.min() < smooth.max() < 9.5
    assert np.ptp(smooth) > 3
    click = np.zeros(8000, dtype=np.float32)
    click[4000] = 0.1
    assert np.abs(augmentation(click, np.random.default_rng(3))).argmax() == 4000


def test_an_equalizer_without_gain_changes_nothing():
    augmentation = WaveformAugmentation(8000, equalizer={"probability": 1.0, "gain_db": [0, 0]})
    noise = np.random.default_rng(0).standard_normal(801).astype(np.float32) * 0.05
    np.testing.assert_allclose(augmentation(noise, np.random.default_rng(1)), noise, atol=1e-6)


def test_trim_cuts_the_ends_and_never_more_than_half():
    waveform = np.linspace(-0.5, 0.5, 8000, dtype=np.float32)
    augmentation = WaveformAugmentation(8000, trim={"probability": 1.0, "trim_seconds": [0.1, 0.1]})
    np.testing.assert_array_equal(augmentation(waveform, np.random.default_rng(0)), waveform[800:-800])
    np.testing.assert_array_equal(augmentation(waveform[:400], np.random.default_rng(0)), waveform[100:300])


def test_padding_adds_silence_at_both_ends():
    waveform = np.full(800, 0.5, dtype=np.float32)
    augmentation = WaveformAugmentation(8000, padding={"probability": 1.0, "pad_seconds": [0.05, 0.2]})
    padded = augmentation(waveform, np.random.default_rng(0))
    heard = np.flatnonzero(padded)
    assert 400 <= heard[0] <= 1600
    assert 400 <= len(padded) - 1 - heard[-1] <= 1600
    assert len(heard) == 800
