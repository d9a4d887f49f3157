"""PESQ, STOI and mel distance: the best for a copy, the worse the more noise, by hand, and what is refused."""

import numpy as np
import pytest

pytest.importorskip("pesq", reason="PESQ comes with the extra `judges`")
pytest.importorskip("pystoi", reason="STOI comes with the extra `judges`")

from tiny_vocoder import voice

from antiphon.eval.metric_loading import load_metric


@pytest.fixture(scope="module")
def metric():
    return load_metric("waveform_quality")


@pytest.fixture(scope="module")
def speech():
    """Three seconds of syllables."""
    waveform = voice(48_000)[0].numpy()
    return (waveform * np.clip(np.sin(np.arange(48_000) / 1_600), 0, None)).astype(np.float32)


def measure(metric, prediction, reference, sampling_rate=16_000):
    return metric.compute(predictions=[prediction], references=[reference], sampling_rate=sampling_rate)


def test_a_copy_is_perfect(metric, speech):
    result = measure(metric, speech, speech)
    assert result["pesq"] == pytest.approx(4.64, abs=0.01)
    assert result["stoi"] == pytest.approx(1.0, abs=1e-3)
    assert result["mel_distance"] == 0.0


def test_more_noise_is_worse_by_all_three(metric, speech):
    noise = np.random.default_rng(0).standard_normal(len(speech)).astype(np.float32)
    results = [measure(metric, speech + level * noise, speech) for level in (0.001, 0.01, 0.1)]
    for name, ascending in (("pesq", False), ("stoi", False), ("mel_distance", True)):
        values = [result[name] for result in results]
        assert values == sorted(values, reverse=not ascending), name
        assert values[0] != values[-1]


def test_a_gain_moves_the_mel_distance_by_its_decibels(metric):
    noise = np.random.default_rng(0).standard_normal(32_000).astype(np.float32) / 20
    # 0.5 is 6.02 dB; no band of white noise at this level reaches the floor.
    assert measure(metric, 0.5 * noise, noise)["mel_distance"] == pytest.approx(6.02, abs=0.01)


def test_items_are_averaged_and_listed(metric, speech):
    worse = speech + 0.02 * np.random.default_rng(0).standard_normal(len(speech)).astype(np.float32)
    result = metric.compute(predictions=[speech, worse], references=[speech, speech], sampling_rate=16_000)
    for name in ("pesq", "stoi", "mel_distance"):
        assert result[name] == pytest.approx(np.mean(result["per_item"][name]))
        assert result["per_item"][name][0] == pytest.approx(measure(metric, speech, speech)[name], abs=1e-6)


@pytest.mark.parametrize(
    ("change", "sampling_rate", "message"),
    [
        (lambda waveform: waveform[:-1], 16_000, "47999 samples but its reference has 48000"),
        (lambda waveform: 0 * waveform, 16_000, "a prediction is silent"),
        (lambda waveform: waveform * np.nan, 16_000, "not finite"),
        (lambda waveform: waveform, 22_050, "`sampling_rate` is 22050"),
    ],
)
def test_what_cannot_be_measured_is_refused(metric, speech, change, sampling_rate, message):
    with pytest.raises(ValueError, match=message):
        measure(metric, change(speech), speech, sampling_rate)


def test_no_items_are_refused(metric):
    with pytest.raises(ValueError, match="`references` is empty"):
        metric.compute(predictions=[], references=[], sampling_rate=16_000)
