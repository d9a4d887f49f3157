"""LogMelFeatureExtractor: against transformers and librosa, in batches, in streams, with its errors."""

import json

import librosa
import numpy as np
import pytest
import torch
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from antiphon.processing import LogMelFeatureExtractor

WIDE = {"feature_size": 80, "sampling_rate": 16_000, "hop_length": 160, "win_length": 400, "n_fft": 512}
WHISPER = {**WIDE, "n_fft": 400}
NARROW = {"feature_size": 40, "sampling_rate": 8000, "hop_length": 80, "win_length": 200, "n_fft": 256}
LIMITED = {**NARROW, "hop_length": 73, "min_frequency": 60.0, "max_frequency": 3800.0}
CONFIGURATIONS = {"wide": WIDE, "whisper": WHISPER, "narrow": NARROW, "limited": LIMITED}


def speech_like(seconds: float, sampling_rate: int, seed: int = 0) -> np.ndarray:
    """Harmonics of a wandering pitch that come and go, in noise: (samples,) float32."""
    time = np.arange(int(seconds * sampling_rate)) / sampling_rate
    phase = 2 * np.pi * np.cumsum(130 + 30 * np.sin(5 * time + seed)) / sampling_rate
    voice = sum(np.sin(harmonic * phase) / harmonic for harmonic in range(1, 15))
    noise = np.random.default_rng(seed).standard_normal(len(time))
    return (0.1 * voice * np.clip(np.sin(14 * time), 0, None) + 0.003 * noise).astype(np.float32)


def make_extractor(**changes) -> LogMelFeatureExtractor:
    return LogMelFeatureExtractor(**(NARROW | {"normalize": "none"} | changes))


def features_of(extractor, waveform) -> np.ndarray:
    return extractor(waveform, return_tensors="np")["input_features"][0]


# ---------------------------------------------------------------- references


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_equals_the_spectrogram_of_transformers(name):
    settings = CONFIGURATIONS[name]
    extractor = LogMelFeatureExtractor(**settings, normalize="none")
    waveform = speech_like(2.345, settings["sampling_rate"])
    filters = mel_filter_bank(
        1 + settings["n_fft"] // 2,
        settings["feature_size"],
        settings.get("min_frequency", 0.0),
        settings.get("max_frequency", settings["sampling_rate"] / 2),
        settings["sampling_rate"],
        norm="slaney",
        mel_scale="slaney",
    )
    expected = spectrogram(
        waveform,
        window_function(settings["win_length"], "hann"),
        settings["win_length"],
        settings["hop_length"],
        fft_length=settings["n_fft"],
        power=2.0,
        pad_mode="constant",
        mel_filters=filters,
        mel_floor=1e-8,
        log_mel="log",
    )
    np.testing.assert_allclose(features_of(extractor, waveform), expected.T, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["wide", "whisper", "narrow"])
def test_comes_near_librosa(name):
    settings = CONFIGURATIONS[name]
    waveform = speech_like(1.5, settings["sampling_rate"])
    power = librosa.feature.melspectrogram(
        y=waveform,
        sr=settings["sampling_rate"],
        n_fft=settings["n_fft"],
        hop_length=settings["hop_length"],
        win_length=settings["win_length"],
        n_mels=settings["feature_size"],
        pad_mode="constant",
    )
    extractor = LogMelFeatureExtractor(**settings, normalize="none")
    np.testing.assert_allclose(features_of(extractor, waveform), np.log(np.maximum(power, 1e-8)).T, atol=1e-3)


def test_a_tone_lights_the_band_of_its_frequency():
    extractor = make_extractor()
    tone = np.sin(2 * np.pi * 1000 * np.arange(8000) / 8000)
    centres = librosa.mel_frequencies(42, fmin=0, fmax=4000)[1:-1]
    loudest = features_of(extractor, tone)[10:-10].argmax(axis=1)
    assert set(loudest.tolist()) == {int(np.abs(centres - 1000).argmin())}


# ---------------------------------------------------------------- shapes, padding, masks


@pytest.mark.parametrize("samples", [1, 79, 80, 81, 199, 200, 4567])
def test_frames_follow_from_samples(samples):
    assert features_of(make_extractor(), speech_like(1, 8000)[:samples]).shape == (1 + samples // 80, 40)


@pytest.mark.parametrize("normalize", ["none", "utterance", "global"])
def test_padded_item_equals_lone_item(normalize):
    waveforms = [speech_like(seconds, 8000, seed) for seed, seconds in enumerate((1.234, 0.777, 0.05, 9.9))]
    extractor = make_extractor(normalize=normalize).fit(waveforms)
    batch = extractor(waveforms, sampling_rate=8000, return_tensors="pt")
    assert batch["input_features"].dtype == torch.float32
    assert batch["attention_mask"].dtype == torch.int64
    for item, waveform in enumerate(waveforms):
        frames = 1 + len(waveform) // 80
        assert batch["attention_mask"][item].tolist() == [1] * frames + [0] * (991 - frames)
        assert not batch["input_features"][item, frames:].any()
        alone = features_of(extractor, waveform)
        np.testing.assert_allclose(batch["input_features"][item, :frames], alone, atol=1e-5, rtol=0)


def test_padding_value_and_mask_can_be_chosen():
    waveforms = [speech_like(0.5, 8000), speech_like(0.2, 8000)]
    batch = make_extractor(padding_value=-7.0)(waveforms, return_tensors="np", return_attention_mask=False)
    assert "attention_mask" not in batch
    assert (batch["input_features"][1, 21:] == -7.0).all()


def test_without_padding_every_item_keeps_its_length():
    waveforms = [speech_like(0.5, 8000), speech_like(0.2, 8000)]
    items = make_extractor()(waveforms, padding=False)["input_features"]
    assert [item.shape for item in items] == [(51, 40), (21, 40)]


def test_one_waveform_a_list_and_an_array_mean_the_same():
    extractor, waveform = make_extractor(), speech_like(0.3, 8000)
    expected = features_of(extractor, waveform)
    for raw_speech in (waveform.tolist(), [waveform], waveform[None], torch.from_numpy(waveform), [waveform.tolist()]):
        np.testing.assert_array_equal(features_of(extractor, raw_speech), expected)


def test_input_is_left_as_it_was():
    waveform = speech_like(0.3, 8000)
    before = waveform.copy()
    make_extractor(normalize="utterance")(waveform)
    np.testing.assert_array_equal(waveform, before)


# ---------------------------------------------------------------- normalisation


def test_utterance_normalisation_gives_mean_zero_and_variance_one_over_real_frames():
    waveforms = [speech_like(1.0, 8000), speech_like(0.4, 8000, seed=1)]
    batch = make_extractor(normalize="utterance")(waveforms, return_tensors="pt")
    for item, frames in enumerate((101, 41)):
        features = batch["input_features"][item, :frames]
        torch.testing.assert_close(features.mean(0), torch.zeros(40), atol=1e-4, rtol=0)
        torch.testing.assert_close(features.var(0, correction=0), torch.ones(40), atol=1e-3, rtol=0)


def test_utterance_normalisation_of_silence_is_zero():
    features = features_of(make_extractor(normalize="utterance"), np.zeros(4000))
    np.testing.assert_allclose(features, 0.0, atol=1e-2)


def test_global_normalisation_uses_what_fit_found():
    waveforms = [speech_like(seconds, 8000, seed) for seed, seconds in enumerate((1.0, 0.3, 2.0))]
    extractor = make_extractor(normalize="global")
    assert extractor.fit(iter(waveforms)) is extractor
    frames = np.concatenate([features_of(make_extractor(), waveform) for waveform in waveforms])
    np.testing.assert_allclose(extractor.mean, frames.mean(0), atol=1e-4)
    np.testing.assert_allclose(extractor.standard_deviation, frames.std(0), rtol=1e-3)
    expected = (frames[:101] - frames.mean(0)) / frames.std(0)
    np.testing.assert_allclose(features_of(extractor, waveforms[0]), expected, atol=1e-3)


def test_do_normalize_makes_loudness_irrelevant():
    waveform = speech_like(0.6, 8000)
    extractor = make_extractor(do_normalize=True)
    batch = extractor([waveform, 0.1 * waveform + 0.02, np.zeros(800)], return_tensors="np")["input_features"]
    np.testing.assert_allclose(batch[1], batch[0], atol=0.02)
    by_hand = features_of(make_extractor(), (waveform - waveform.mean()) / waveform.std())
    np.testing.assert_allclose(batch[0], by_hand, atol=1e-3)
    np.testing.assert_allclose(batch[2, :11], np.log(1e-8), rtol=1e-6)


# ---------------------------------------------------------------- streams


@pytest.mark.parametrize("seed", range(6))
def test_stream_in_chunks_of_any_size_equals_offline(seed):
    generator = np.random.default_rng(seed)
    settings = list(CONFIGURATIONS.values())[seed % 4]
    waveform = speech_like(1 + generator.random(), settings["sampling_rate"], seed)
    extractor = LogMelFeatureExtractor(**settings, normalize="global").fit([waveform])
    stream, start, chunks = extractor.stream(), 0, []
    while start < len(waveform):
        size = int(generator.choice([0, 1, 7, 80, 160, 161, 1000, 5000]))
        chunks.append(stream.push(waveform[start : start + size]))
        start += size
    chunks.append(stream.finish())
    streamed, offline = torch.cat(chunks).numpy(), features_of(extractor, waveform)
    assert streamed.shape == offline.shape
    np.testing.assert_allclose(streamed, offline, atol=1e-5, rtol=0)


def test_stream_releases_a_frame_as_soon_as_its_last_sample_is_in():
    stream = make_extractor().stream()
    assert len(stream.push(np.zeros(127))) == 0
    assert len(stream.push(np.zeros(1))) == 1
    assert len(stream.push(np.zeros(79))) == 0
    assert len(stream.push(np.zeros(1))) == 1


def test_finished_stream_takes_nothing_more():
    stream = make_extractor().stream()
    stream.push(np.zeros(500))
    stream.finish()
    with pytest.raises(ValueError, match=r"This stream is finished; start another"):
        stream.push(np.zeros(500))


# ---------------------------------------------------------------- saving, errors


@pytest.mark.parametrize("normalize", ["utterance", "global"])
def test_save_and_load_keeps_everything(tmp_path, normalize):
    waveform = speech_like(0.5, 8000)
    extractor = make_extractor(normalize=normalize, mel_floor=1e-6, max_frequency=3500.0).fit([waveform])
    extractor.save_pretrained(tmp_path)
    loaded = LogMelFeatureExtractor.from_pretrained(tmp_path)
    assert loaded.to_dict() == extractor.to_dict()
    np.testing.assert_array_equal(features_of(loaded, waveform), features_of(extractor, waveform))
    stored = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert not {"window", "mel_filters"} & set(stored)


@pytest.mark.parametrize(
    ("raw_speech", "message"),
    [
        (np.zeros(0), r"item 0 has shape \(0,\)"),
        ([], r"item 0 has shape \(0,\)"),
        ([np.zeros(100), np.zeros(0)], r"item 1 has shape \(0,\)"),
        ([np.zeros((2, 100))], r"item 0 has shape \(2, 100\) .* average the channels"),
        (np.zeros((2, 2, 100)), r"item 0 has shape \(2, 2, 100\)"),
        (np.array([0.0, np.nan] * 50), r"The waveform holds NaN or infinity"),
        ([np.zeros(100), np.full(100, np.inf)], r"The waveform holds NaN or infinity"),
    ],
)
def test_input_that_is_no_speech_is_refused(raw_speech, message):
    with pytest.raises(ValueError, match=message):
        make_extractor()(raw_speech)


def test_streams_and_fit_refuse_what_is_not_finite():
    broken = np.full(1000, np.nan)
    with pytest.raises(ValueError, match=r"The waveform holds NaN or infinity"):
        make_extractor().stream().push(broken)
    with pytest.raises(ValueError, match=r"The waveform holds NaN or infinity"):
        make_extractor().fit([broken])


def test_another_sampling_rate_is_refused():
    with pytest.raises(ValueError, match=r"`sampling_rate` is 44100 but this extractor expects 8000 Hz; resample"):
        make_extractor()(np.zeros(100), sampling_rate=44_100)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_fft": 255}, r"`n_fft` is 255 but must be even"),
        ({"n_fft": 128}, r"`n_fft` is 128 .* `win_length` \(200\); choose 200"),
        ({"hop_length": 0}, r"`hop_length` is 0 but must lie between 1 and `n_fft` \(256\)"),
        ({"hop_length": 257}, r"`hop_length` is 257 but"),
        ({"normalize": "batch"}, r"`normalize` is 'batch' but must be"),
        ({"mean": [0.0] * 3}, r"`mean` has 3 numbers but `feature_size` is 40"),
        ({"standard_deviation": [1.0] * 41}, r"`standard_deviation` has 41 numbers"),
        ({"feature_size": 200}, r"`feature_size` is 200, which leaves mel bands without"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        make_extractor(**changes)


def test_what_lacks_statistics_says_how_to_get_them():
    with pytest.raises(ValueError, match=r"`mean` and `standard_deviation` are not set; call `fit`"):
        make_extractor(normalize="global")(np.zeros(100))
    with pytest.raises(ValueError, match=r"`waveforms` is empty"):
        make_extractor().fit([])
    with pytest.raises(ValueError, match=r"`normalize` is 'utterance', which needs the whole signal"):
        make_extractor(normalize="utterance").stream()
    with pytest.raises(ValueError, match=r"`do_normalize` is true, which needs the whole signal"):
        make_extractor(do_normalize=True).stream()
