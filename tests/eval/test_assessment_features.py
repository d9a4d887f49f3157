"""Hand-crafted features: what they say of sounds and notes that are known."""

import numpy as np
import pytest
from small_performances import small_performances, write_midi

from antiphon.eval.assessment_features import audio_features, feature_table, midi_features

RATE = 16_000


def tone(frequency, seconds=2.0, level=0.2):
    return (level * np.sin(2 * np.pi * frequency * np.arange(int(seconds * RATE)) / RATE)).astype(np.float32)


def test_a_louder_tone_has_a_higher_level_and_the_same_colour():
    soft, loud = (audio_features(tone(440, level=level), RATE) for level in (0.05, 0.5))
    assert loud["level_mean"] - soft["level_mean"] == pytest.approx(20, abs=0.5)
    assert loud["centroid0_mean"] == pytest.approx(soft["centroid0_mean"], rel=0.02)
    assert loud["level_range"] < 6


def test_a_higher_tone_is_brighter_and_of_another_chroma():
    low, high = (audio_features(tone(frequency), RATE) for frequency in (440.0, 1568.0))  # a, g
    assert high["centroid0_mean"] > 2 * low["centroid0_mean"]
    assert [np.argmax([heard[f"chroma{index}_mean"] for index in range(12)]) for heard in (low, high)] == [9, 7]


def test_clicks_have_their_rate_and_tempo():
    sound = np.zeros(8 * RATE, dtype=np.float32)
    sound[:: RATE // 2] = 0.9
    heard = audio_features(sound, RATE)
    assert heard["onset_rate"] == pytest.approx(2, abs=0.3)
    assert min(abs(heard["tempo"] - tempo) for tempo in (60, 120, 240)) < 8


def test_silence_has_finite_features():
    assert np.isfinite(list(audio_features(np.zeros(RATE, dtype=np.float32), RATE).values())).all()


def test_notes_have_their_velocity(tmp_path):
    loud, soft = (
        midi_features(write_midi(tmp_path / f"{velocity}.mid", [60, 64, 67], [0, 1, 2], [0.5] * 3, [velocity] * 3))
        for velocity in (100, 40)
    )
    assert loud["velocity_mean"] - soft["velocity_mean"] == pytest.approx(60)
    assert loud["log_interval_mean"] == soft["log_interval_mean"]


def test_a_table_has_a_finite_row_for_each_performance(tmp_path):
    corpus = small_performances(tmp_path, num_passages=2, num_players=2)
    table = feature_table(corpus, audio=False, cache=tmp_path)
    assert len(table) == 4
    assert all(name.startswith("midi.") for name in table)
    assert np.isfinite(table.to_numpy()).all()
    (tmp_path / "midi" / "passage00_0.mid").write_bytes((tmp_path / "midi" / "passage01_1.mid").read_bytes())
    changed = feature_table(corpus, audio=False, cache=tmp_path)
    assert changed.iloc[0].equals(table.iloc[3].rename(0))
