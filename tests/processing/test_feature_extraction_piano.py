"""PianoFeatureExtractor: semitones, levels, rolls, batches, missing inputs, its errors, and librosa beside it."""

import json
import math

import librosa
import numpy as np
import pytest
import torch
from tiny_piano import SAMPLING_RATE, notes, sound

from antiphon.processing import PianoFeatureExtractor
from antiphon.processing.audio_midi import MidiError, write_midi
from antiphon.processing.corpora.synthetic_piano import synthetic_performance
from antiphon.processing.feature_extraction_piano import score_fingerprint

EXTRACTOR = PianoFeatureExtractor()
A4 = 48  # bins from A0 up
SCALE = notes(0.25 * np.arange(12), pitches=60 + np.arange(12))


def sine(frequency: float, seconds: float = 1.0, amplitude: float = 0.5) -> np.ndarray:
    time = np.arange(int(seconds * SAMPLING_RATE)) / SAMPLING_RATE
    return (amplitude * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def log_power(waveform) -> torch.Tensor:
    return EXTRACTOR.log_power(torch.as_tensor(waveform, dtype=torch.float32))


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.05, int(seconds * SAMPLING_RATE)).astype(np.float32)


@pytest.fixture(scope="module")
def piece():
    """A performance, its score and its sound."""
    performance, score, _ = synthetic_performance(3, num_bars=2)
    return performance, score, sound(performance)


# ---------------------------------------------------------------- spectrogram


@pytest.mark.parametrize(("frequency", "place"), [(220.0, 36), (440.0, A4), (466.16, 49), (3520.0, 84)])
def test_a_sine_lights_the_bin_of_its_key(frequency, place):
    features = log_power(sine(frequency))[3:-3]
    assert set(features.argmax(1).tolist()) == {place}


def test_every_key_of_the_keyboard_lights_its_own_bin():
    """From the octave of middle C on; below, the transform cannot part neighbours."""
    for pitch in range(60, 109):
        features = log_power(sine(440 * 2 ** ((pitch - 69) / 12), seconds=0.4))[5:-5]
        assert set(features.argmax(1).tolist()) == {pitch - 21}


def test_a_sine_of_amplitude_one_has_a_power_near_one():
    power = log_power(sine(440.0, amplitude=1.0)).exp()[5:-5, A4]
    assert ((power > 0.7) & (power < 1.5)).all()


@pytest.mark.parametrize("gain", [0.1, 3.0])
def test_a_gain_adds_a_constant(gain):
    waveform = noise(0.7)
    difference = log_power(gain * waveform) - log_power(waveform)
    torch.testing.assert_close(difference, torch.full_like(difference, 2 * math.log(gain)), atol=1e-3, rtol=0)
    before, after = (EXTRACTOR(audio=each, sampling_rate=SAMPLING_RATE) for each in (waveform, gain * waveform))
    scaled = (after["input_features"] - before["input_features"]) * EXTRACTOR.standard_deviation
    torch.testing.assert_close(scaled, torch.full_like(scaled, 2 * math.log(gain)), atol=1e-3, rtol=0)


@pytest.mark.parametrize("frames", [4, 7, 40])
def test_how_long_silence_lasts_before_and_after_does_not_matter(piece, frames):
    """From three frames on, which half a window of the transform covers."""
    before, after = (
        EXTRACTOR(audio=np.pad(piece[2], number * EXTRACTOR.hop_length), sampling_rate=SAMPLING_RATE)
        for number in (3, frames)
    )
    for name in ("input_features", "descriptors"):
        torch.testing.assert_close(after[name], before[name], equal_nan=True, atol=1e-4, rtol=1e-4)


def test_frames_follow_from_samples():
    assert log_power(noise(1.0)).shape == (1 + SAMPLING_RATE // 400, 96)
    assert log_power(noise(1.0)[:4567]).shape == (1 + 4567 // 400, 96)


def test_equals_filters_on_the_transform_of_librosa(piece):
    """The same triangles, written another way, on the power of another library's transform."""
    waveform = noise(0.8) + sine(1000.0, 0.8, 0.1)
    spectrum = librosa.stft(waveform, n_fft=2048, hop_length=400, window="hann", pad_mode="constant")
    power = (np.abs(spectrum) / (2048 / 4)) ** 2
    lines = librosa.fft_frequencies(sr=SAMPLING_RATE, n_fft=2048)
    expected = np.empty((power.shape[1], 96))
    for place, centre in enumerate(librosa.midi_to_hz(21 + np.arange(96))):
        width = max(librosa.midi_to_hz(22 + place) - centre, lines[1])
        weights = np.interp(lines, [centre - width, centre, centre + width], [0, 1, 0])
        expected[:, place] = weights @ power
    np.testing.assert_allclose(log_power(waveform).numpy(), np.log(np.maximum(expected, 1e-10)), atol=2e-3)


def test_its_pitches_are_those_of_librosa_s_constant_q():
    waveform = np.concatenate([sine(frequency, 0.5) for frequency in (261.63, 392.0, 880.0)])
    transform = np.abs(librosa.cqt(waveform, sr=SAMPLING_RATE, fmin=27.5, n_bins=90, hop_length=64 * 8))
    expected = [int(transform[:, round(time * SAMPLING_RATE / 512)].argmax()) for time in (0.25, 0.75, 1.25)]
    features = log_power(waveform)
    assert [int(features[round(time * EXTRACTOR.frame_rate)].argmax()) for time in (0.25, 0.75, 1.25)] == expected


# ---------------------------------------------------------------- piano roll


def test_a_roll_by_hand():
    performance = notes([2.0, 2.5], [2.25, 2.75], [69, 21], [127, 64], sustain=[(2.125, 127), (2.375, 0)])
    roll = EXTRACTOR.roll(performance).unflatten(1, (3, 96))
    assert roll.shape == (1 + 30, 3, 96)  # 0.75 s at 40 frames a second
    struck, held, sounding = roll.unbind(1)
    assert torch.nonzero(struck).tolist() == [[0, A4], [20, 0]]
    assert struck[0, A4] == 1
    assert struck[20, 0] == pytest.approx(64 / 127)
    assert torch.nonzero(held[:, A4])[:, 0].tolist() == list(range(11))
    assert torch.nonzero(sounding[:, A4])[:, 0].tolist() == list(range(16))  # until the pedal is up
    assert torch.nonzero(held[:, 0])[:, 0].tolist() == list(range(20, 31))
    assert ((roll >= 0) & (roll <= 1)).all()


def test_keys_beyond_the_bins_are_left_out():
    roll = EXTRACTOR.roll(notes([0.0, 0.5, 1.0], pitches=[20, 60, 117]))
    assert roll.unflatten(1, (3, 96))[:, 0].sum() == pytest.approx(64 / 127)


def test_roll_and_spectrogram_share_frames_and_bins(piece):
    performance, _, waveform = piece
    inputs = EXTRACTOR(audio=waveform, midi=performance, sampling_rate=SAMPLING_RATE)
    heard = inputs["input_features"][0]
    struck = inputs["roll_features"][0].unflatten(1, (3, 96))[:, 0]
    for frame, key in torch.nonzero(struck).tolist():
        after = heard[frame + 2 : frame + 5, key].mean()
        assert after > heard[:, key].quantile(0.3), "a key that was struck is not heard"


# ---------------------------------------------------------------- batches and missing inputs


@pytest.mark.parametrize("return_tensors", ["pt", "np"])
def test_an_item_of_a_batch_equals_the_lone_item(piece, return_tensors):
    performance, score, waveform = piece
    audio = [waveform, noise(0.3), None, waveform[:20_000]]
    midi = [performance, None, SCALE, None]
    scores = [score, None, None, None]
    batch = EXTRACTOR(audio, midi, scores, sampling_rate=SAMPLING_RATE, return_tensors=return_tensors)
    assert set(batch) == {name for name in EXTRACTOR.model_input_names if not name.startswith("passage_")}
    for item in range(4):
        alone = EXTRACTOR(
            audio[item], midi[item], scores[item], sampling_rate=SAMPLING_RATE, return_tensors=return_tensors
        )
        np.testing.assert_array_equal(batch["descriptors"][item], alone["descriptors"][0])
        for name, mask in (("input_features", "attention_mask"), ("roll_features", "roll_attention_mask")):
            length = alone[name].shape[1] if name in alone else 0
            assert batch[mask][item].tolist() == [1] * length + [0] * (batch[name].shape[1] - length)
            if length:
                np.testing.assert_array_equal(batch[name][item, :length], alone[name][0])
            assert not batch[name][item, length:].any()


def test_what_is_not_given_is_missing(piece):
    performance, score, waveform = piece
    cases = {
        ("audio",): {"audio"},
        ("midi",): {"performance"},
        ("audio", "midi"): {"audio", "performance"},
        ("midi", "score"): {"performance", "alignment", "score", "deviation"},
        ("audio", "score"): {"audio", "score"},
    }
    given = {"audio": waveform, "midi": performance, "score": score}
    for names, groups in cases.items():
        inputs = EXTRACTOR(**{name: given[name] for name in names}, sampling_rate=SAMPLING_RATE)
        assert ("input_features" in inputs) == ("audio" in names)
        assert ("roll_features" in inputs) == ("midi" in names)
        [values] = inputs["descriptors"]
        for name, value in zip(EXTRACTOR.descriptor_names, values):
            assert math.isnan(value) == (name.partition(".")[0] not in groups), name


def test_a_path_its_bytes_and_a_performance_mean_the_same(tmp_path):
    write_midi(SCALE, tmp_path / "a.mid")
    sources = (SCALE, tmp_path / "a.mid", str(tmp_path / "a.mid"), (tmp_path / "a.mid").read_bytes())
    expected = EXTRACTOR(midi=SCALE)
    for source in (*sources, [SCALE]):
        for name, tensor in EXTRACTOR(midi=source).items():
            torch.testing.assert_close(tensor, expected[name], equal_nan=True)


def test_deviations_are_differences_from_the_score():
    louder = notes(SCALE.onsets, pitches=SCALE.pitches, velocities=np.full(12, 80))
    values = dict(zip(EXTRACTOR.descriptor_names, EXTRACTOR(midi=louder, score=SCALE)["descriptors"][0].tolist()))
    assert values["deviation.velocity_mean"] == 80 - 64
    assert values["deviation.log_duration"] == 0
    assert values["score.velocity_mean"] == 64
    assert values["alignment.score_loudness"] == 16


def test_descriptors_have_names_in_their_order(piece):
    names, groups = EXTRACTOR.descriptor_names, EXTRACTOR.descriptor_groups
    assert len(set(names)) == len(names)
    assert list(groups) == ["audio", "performance", "alignment", "score", "deviation"]
    assert names == [f"{group}.{name}" for group, members in groups.items() for name in members]
    assert EXTRACTOR(midi=piece[0])["descriptors"].shape == (1, len(names))


# ---------------------------------------------------------------- passages that training knows


def test_a_passage_is_known_by_the_notes_of_its_score(tmp_path):
    known = {"percepts": [0.25, None], "descriptors": [1.0, 2.0]}
    extractor = PianoFeatureExtractor(passages={score_fingerprint(SCALE): known})
    extractor.save_pretrained(tmp_path)
    slower = notes(2 * SCALE.onsets, pitches=SCALE.pitches, velocities=np.full(12, 99))
    other = notes(SCALE.onsets, pitches=SCALE.pitches + 1)
    for each in (extractor, PianoFeatureExtractor.from_pretrained(tmp_path)):
        inputs = each(midi=[SCALE] * 4, score=[SCALE, slower, other, None])
        percepts, descriptors = inputs["passage_percepts"].tolist(), inputs["passage_descriptors"].tolist()
        assert [row[0] for row in percepts[:2]] == [0.25, 0.25]
        assert all(math.isnan(row[1]) for row in percepts)
        assert descriptors[:2] == [[1.0, 2.0]] * 2
        assert all(math.isnan(value) for row in (*percepts[2:], *descriptors[2:]) for value in row)
    assert "passage_percepts" not in EXTRACTOR(midi=SCALE, score=SCALE)


def test_a_score_has_the_same_fingerprint_however_its_chords_are_written():
    chord, other = notes([0.0, 0.0, 1.0], pitches=[60, 64, 67]), notes([0.0, 0.01, 2.0], pitches=[64, 60, 67])
    assert score_fingerprint(chord) == score_fingerprint(other)
    assert score_fingerprint(chord) != score_fingerprint(notes([0.0, 0.5, 1.0], pitches=[64, 60, 67]))


# ---------------------------------------------------------------- saving, errors


def test_save_and_load_keeps_everything(tmp_path, piece):
    extractor = PianoFeatureExtractor(hop_length=320, num_pitch_bins=84, mean=-15.0, silence_decibels=40.0)
    extractor.save_pretrained(tmp_path)
    loaded = PianoFeatureExtractor.from_pretrained(tmp_path)
    assert loaded.to_dict() == extractor.to_dict()
    assert (loaded.frame_rate, loaded.descriptor_names) == (50.0, extractor.descriptor_names)
    first, second = (each(piece[2], piece[0], sampling_rate=SAMPLING_RATE) for each in (extractor, loaded))
    for name, tensor in first.items():
        torch.testing.assert_close(second[name], tensor, equal_nan=True, rtol=0, atol=0)
    stored = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert stored["num_pitch_bins"] == 84
    assert not any(isinstance(value, list) for value in stored.values())


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "`audio` and `midi` are both missing; pass a recording, a MIDI file, or both"),
        ({"score": SCALE}, "`audio` and `midi` are both missing"),
        ({"audio": [], "midi": []}, "are both missing"),
        ({"audio": [noise(0.1), None]}, "are both missing"),
        ({"audio": [noise(0.1)], "midi": [SCALE, SCALE]}, r"`audio` 1, `midi` 2.*pass None"),
        ({"audio": noise(0.1), "sampling_rate": 44_100}, "`sampling_rate` is 44100 but this extractor expects 16000"),
        ({"audio": noise(0.1), "sampling_rate": None}, "`sampling_rate` is None"),
        ({"audio": np.zeros(16_000)}, "`audio` is silent; check the microphone"),
        ({"audio": np.zeros(0)}, r"`audio` has shape \(0,\) but must be \(samples,\)"),
        ({"audio": [np.zeros((2, 100))]}, r"`audio` has shape \(2, 100\) .*average the channels"),
        ({"audio": np.array([0.1, np.nan] * 800)}, "`audio` holds NaN or infinity"),
        ({"audio": np.zeros(301 * 16_000)}, "`audio` lasts 301 s but at most 300 s are assessed at once"),
        ({"midi": notes([0.0, 400.0])}, "`midi` lasts 400 s but at most 300 s are assessed at once; cut the passage"),
        ({"midi": notes([0.0], sustain=[(0.1, 127), (9e9, 0)])}, "`midi` lasts .* at most 300 s"),
    ],
)
def test_what_cannot_be_assessed_is_refused(inputs, message):
    with pytest.raises(ValueError, match=message):
        EXTRACTOR(**{"sampling_rate": SAMPLING_RATE, **inputs})


def test_a_broken_midi_file_is_refused_as_such():
    with pytest.raises(MidiError, match="cannot be read as MIDI"):
        EXTRACTOR(midi=b"no music")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_pitch_bins": 90}, "`num_pitch_bins` is 90 but must be a multiple of 12"),
        ({"num_pitch_bins": 108}, r"`num_pitch_bins` is 108, which reaches 14080 Hz, .* above 28160 Hz"),
        ({"sampling_rate": 8000}, "`num_pitch_bins` is 96, which reaches 7040 Hz, but `sampling_rate` is 8000 Hz"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        PianoFeatureExtractor(**changes)
