"""Invented piano pieces: the same from the same seed, playable, and performed in the manner that they claim."""

from dataclasses import fields, replace

import numpy as np
import pytest
from tiny_piano import notes

from antiphon.processing.audio_midi import read_midi, write_midi
from antiphon.processing.corpora.synthetic_piano import Manner, compose, draw_manner, perform, synthetic_performance

STRAIGHT = Manner(
    beats_per_minute=60, rubato=0, unevenness=0, loudness=70, dynamic_range=0, melody=0, articulation=1.0, pedal=0
)


def performed(score, **changes):
    return perform(score, replace(STRAIGHT, **changes), np.random.default_rng(0))


def test_the_seed_decides_everything():
    first, again, other = (synthetic_performance(seed, 2) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first[0].onsets, again[0].onsets)
    np.testing.assert_array_equal(first[0].velocities, again[0].velocities)
    np.testing.assert_array_equal(first[1].pitches, again[1].pitches)
    assert first[2] == again[2] != other[2]
    assert set(first[2]) == {field.name for field in fields(Manner)}


@pytest.mark.parametrize("seed", range(12))
def test_pieces_can_be_played_on_a_piano(seed):
    performance, score, _ = synthetic_performance(seed, num_bars=3)
    for piece in (performance, score):
        assert (np.diff(piece.onsets) >= 0).all()
        assert (piece.offsets > piece.onsets).all()
        assert piece.onsets[0] >= 0
        assert 21 <= piece.pitches.min() <= piece.pitches.max() <= 108
        assert 1 <= piece.velocities.min() <= piece.velocities.max() <= 127
    assert len(performance) == len(score)
    assert sorted(performance.pitches) == sorted(score.pitches)


@pytest.mark.parametrize("num_bars", [1, 4])
def test_a_score_has_its_bars_in_half_seconds(num_bars):
    score = compose(np.random.default_rng(1), num_bars)
    assert score.onsets[0] == 0
    assert score.offsets.max() == num_bars * 4 / 2
    assert np.allclose(score.onsets * 4, np.round(score.onsets * 4))  # quavers
    assert set(score.velocities) == {64}
    assert score.pedals == {}


def test_a_straight_manner_plays_the_score():
    score = compose(np.random.default_rng(2), num_bars=2)
    performance = performed(score)
    # 60 beats a minute are half the speed of the score.
    np.testing.assert_allclose(performance.onsets, 2 * score.onsets, atol=1e-9)
    np.testing.assert_allclose(performance.offsets, 2 * score.offsets, atol=1e-9)
    np.testing.assert_array_equal(performance.pitches, score.pitches)
    assert abs(performance.velocities.mean() - 70) < 3


def test_a_manner_is_heard():
    score = compose(np.random.default_rng(3), num_bars=4)
    quick = performed(score, beats_per_minute=120)
    assert quick.duration_seconds == pytest.approx(performed(score).duration_seconds / 2)
    short = performed(score, articulation=0.5)
    np.testing.assert_allclose(short.offsets - short.onsets, score.offsets - score.onsets, atol=1e-9)
    assert np.ptp(performed(score, dynamic_range=15).velocities) > np.ptp(performed(score).velocities)
    beats = performed(score, rubato=0.2).onsets / np.maximum(performed(score).onsets, 1e-9)
    assert np.ptp(beats[score.onsets > 0]) > 0.01


def test_the_melody_is_played_out():
    score = notes([0.0, 0.0, 1.0, 1.0] * 1, [1.0, 1.0, 2.0, 2.0], [50, 70, 52, 72])
    velocities = performed(score, melody=40).velocities
    assert velocities[[1, 3]].min() > velocities[[0, 2]].max() + 20


def test_the_pedal_is_down_for_its_share_of_each_bar():
    score = compose(np.random.default_rng(4), num_bars=3)
    times, values = performed(score, pedal=0.5).pedals[64]
    assert values.tolist() == [127, 0] * 3
    bar = 4.0  # seconds
    np.testing.assert_allclose(times[::2], bar * np.arange(3) + 0.02)
    np.testing.assert_allclose(times[1::2] - times[::2], 0.5 * (bar - 0.04))
    assert performed(score).pedals == {}


def test_manners_are_drawn_from_plausible_playing():
    manners = [draw_manner(np.random.default_rng(seed)) for seed in range(200)]
    assert all(50 <= manner.beats_per_minute <= 160 for manner in manners)
    without_pedal = np.mean([manner.pedal == 0 for manner in manners])
    assert 0.2 < without_pedal < 0.4
    assert np.std([manner.loudness for manner in manners]) > 10


def test_pieces_survive_a_midi_file(tmp_path):
    performance, _, _ = synthetic_performance(7, num_bars=2)
    write_midi(performance, tmp_path / "a.mid")
    read = read_midi(tmp_path / "a.mid")
    assert len(read) == len(performance)
    np.testing.assert_allclose(read.onsets, performance.onsets, atol=6e-4)
    np.testing.assert_array_equal(read.pitches, performance.pitches)
