"""Descriptors of recordings: hand-made spectrograms, and what louder, brighter and denser playing does to them."""

import numpy as np
import pytest
import torch
from tiny_piano import notes, sound

from antiphon.processing import PianoFeatureExtractor
from antiphon.processing.audio_descriptors import audio_descriptors

EXTRACTOR = PianoFeatureExtractor()
MELODY = notes(0.4 * np.arange(8), 0.4 * np.arange(8) + 0.3, [60, 64, 67, 72, 71, 67, 64, 60], [50, 60, 70, 80] * 2)


def described(performance, gain: float = 1.0) -> dict[str, float]:
    """In some noise, so that every bin lies above the floor."""
    waveform = sound(performance)
    waveform += 1e-3 * np.random.default_rng(0).standard_normal(len(waveform)).astype(np.float32)
    return audio_descriptors(EXTRACTOR.log_power(torch.from_numpy(gain * waveform)), EXTRACTOR.frame_rate)


def lit(frames: int, *bins: int) -> torch.Tensor:
    """Log power in two octaves: 1 in some bins, next to nothing elsewhere."""
    features = torch.full((frames, 24), -60.0, dtype=torch.double)
    features[:, list(bins)] = 0.0
    return features


def test_a_steady_tone_by_hand():
    by_hand = {
        "log_seconds": np.log(2.0),
        "loudness_mean": 0.0,
        "loudness_deviation": 0.0,
        "loudness_range": 0.0,
        "loudness_change_mean": 0.0,
        "brightness_mean": 7.0,
        "bandwidth_mean": 0.0,
        "attack_mean": 0.0,
        "decay_mean": 0.0,
        "chroma_entropy_mean": 0.0,
        "attack_rate": 0.0,
        "register_0": 0.0,
        "register_1": np.log(1e-6),
    }
    found = audio_descriptors(lit(20, 7), frame_rate=10.0)
    assert {name: found[name] for name in by_hand} == pytest.approx(by_hand, abs=1e-6)


def test_two_tones_by_hand():
    found = audio_descriptors(lit(20, 3, 18), frame_rate=10.0)
    by_hand = {
        "loudness_mean": np.log(2),
        "brightness_median": 10.5,
        "bandwidth_median": 7.5,
        "chroma_entropy_high": np.log(2),
        "register_0": np.log(0.5),
        "register_1": np.log(0.5),
    }
    assert {name: found[name] for name in by_hand} == pytest.approx(by_hand, abs=1e-6)
    octave = audio_descriptors(lit(20, 3, 15), frame_rate=10.0)
    assert octave["chroma_entropy_mean"] == pytest.approx(0.0, abs=1e-6)  # the same class of pitch


def test_attacks_by_hand():
    features = lit(40, 7) - 4.0
    for onset in (5, 15, 25, 35):
        features[onset] += 4.0
    found = audio_descriptors(features, frame_rate=10.0)
    assert found["attack_rate"] == pytest.approx(4 / 4.0)
    assert found["attack_interval"] == pytest.approx(1.0)
    assert found["attack_irregularity"] == pytest.approx(0.0, abs=1e-9)
    # Each rises and falls once by 4 in every bin, in 39 steps.
    assert found["attack_mean"] == pytest.approx(4 * 4 / 39)
    assert found["decay_mean"] == pytest.approx(-4 * 4 / 39)


def test_a_gain_moves_loudness_alone():
    soft, loud = described(MELODY, 1.0), described(MELODY, 2.0)
    moved = {name for name in soft if loud[name] != pytest.approx(soft[name], abs=2e-3)}
    assert moved == {"loudness_mean", "loudness_low", "loudness_median", "loudness_high"}
    for name in moved:
        assert loud[name] - soft[name] == pytest.approx(2 * np.log(2), abs=2e-3)


@pytest.mark.parametrize(
    ("changes", "more", "less"),
    [
        ({"pitches": MELODY.pitches + 12}, ["brightness_mean", "register_5"], ["register_3"]),
        ({"offsets": MELODY.onsets + 0.8}, ["chroma_entropy_mean"], []),
        ({"onsets": MELODY.onsets / 2, "offsets": MELODY.offsets / 2}, ["attack_rate"], ["attack_interval"]),
        ({"velocities": np.linspace(10, 120, 8)}, ["loudness_deviation"], []),
    ],
    ids=["higher", "blurred", "faster", "growing"],
)
def test_what_is_played_otherwise_sounds_otherwise(changes, more, less):
    plain = {"onsets": MELODY.onsets, "offsets": MELODY.offsets, "pitches": MELODY.pitches}
    before = described(notes(**plain, velocities=np.full(8, 64)))
    after = described(notes(**{**plain, "velocities": np.full(8, 64), **changes}))
    for name in more:
        assert after[name] > before[name], name
    for name in less:
        assert after[name] < before[name], name


@pytest.mark.parametrize("frames", [2, 3, 5])
def test_a_few_frames_are_enough(frames):
    features = torch.randn(frames, 24, generator=torch.Generator().manual_seed(0))
    found = audio_descriptors(features, frame_rate=40.0)
    assert all(np.isfinite(value) for value in found.values())
    assert found.keys() == audio_descriptors(lit(20, 7), frame_rate=10.0).keys()
