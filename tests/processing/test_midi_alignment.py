"""Which note is which: longest common subsequences by hand, and performances of scores that are known."""

from functools import cache

import numpy as np
import pytest
from tiny_piano import notes

from antiphon.processing.midi_alignment import align, chords, longest_common_subsequence

SCALE = 60 + np.arange(16)


def played(score, tempo, **changes):
    """The score at another speed: `tempo` maps its seconds to performed ones."""
    times = {"onsets": tempo(score.onsets), "offsets": tempo(score.offsets)}
    return notes(**{**times, "pitches": score.pitches, **changes})


@pytest.fixture
def score():
    """A scale in half seconds with a fifth below each fourth note."""
    onsets = np.concatenate([0.5 * np.arange(16), 2.0 * np.arange(4)])
    pitches = np.concatenate([SCALE, 53 + 4 * np.arange(4)])
    order = np.lexsort((pitches, onsets))
    return notes(onsets[order], onsets[order] + 0.5, pitches[order])


# ---------------------------------------------------------------- longest common subsequence


@pytest.mark.parametrize(
    ("first", "second", "matches"),
    [
        ([1, 2, 3], [1, 2, 3], [[0, 0], [1, 1], [2, 2]]),
        ([1, 2, 3], [4, 5], []),
        ([], [1], []),
        ([1, 2, 3, 4], [1, 3, 4], [[0, 0], [2, 1], [3, 2]]),
        ([1, 3], [9, 1, 9, 3, 9], [[0, 1], [1, 3]]),
        ([1, 2], [2, 1, 2], [[0, 1], [1, 2]]),
    ],
)
def test_common_subsequences_by_hand(first, second, matches):
    found = longest_common_subsequence(np.array(first, dtype=int), np.array(second, dtype=int))
    assert found.shape == (len(matches), 2)
    assert found.tolist() == matches


@pytest.mark.parametrize("seed", range(5))
def test_common_subsequences_are_as_long_as_the_recursion_says(seed):
    generator = np.random.default_rng(seed)
    first, second = generator.integers(0, 5, 30), generator.integers(0, 5, 25)

    @cache
    def length(i, j):
        if i == len(first) or j == len(second):
            return 0
        return 1 + length(i + 1, j + 1) if first[i] == second[j] else max(length(i + 1, j), length(i, j + 1))

    found = longest_common_subsequence(first, second)
    assert len(found) == length(0, 0)
    assert (first[found[:, 0]] == second[found[:, 1]]).all()
    assert (np.diff(found, axis=0) > 0).all()


# ---------------------------------------------------------------- chords


def test_chords_are_notes_less_than_40_ms_after_the_one_before():
    assert chords(np.array([0.0, 0.03, 0.06, 0.5, 0.55, 0.55])).tolist() == [0, 0, 0, 1, 2, 2]
    assert chords(np.array([3.0])).tolist() == [0]


# ---------------------------------------------------------------- alignment


@pytest.mark.parametrize(
    "tempo",
    [
        lambda time: time,
        lambda time: 3 + time / 2,
        lambda time: time + 0.1 * time**2,
        lambda time: 9 * np.sqrt(1 + time),
    ],
    ids=["as written", "twice as fast", "slowing", "hurrying"],
)
def test_a_known_tempo_is_found(score, tempo):
    path = align(played(score, tempo), score)
    assert path.score_notes.tolist() == path.played_notes.tolist() == list(range(len(score)))
    np.testing.assert_allclose(path.score_times, 0.5 * np.arange(16))
    np.testing.assert_allclose(path.played_times, tempo(path.score_times))
    np.testing.assert_allclose(path.played_at(np.array([0.25])), (tempo(0.0) + tempo(0.5)) / 2)


def test_missing_and_added_notes_leave_the_rest_where_it_is(score):
    keep = np.delete(np.arange(len(score)), [3, 8, 9])
    wrong = {"onsets": [0.77, 5.1], "pitches": [30, 100]}
    onsets = np.concatenate([2 * score.onsets[keep], wrong["onsets"]])
    pitches = np.concatenate([score.pitches[keep], wrong["pitches"]])
    order = np.lexsort((pitches, onsets))
    performance = notes(onsets[order], pitches=pitches[order])
    path = align(performance, score)
    assert path.score_notes.tolist() == keep.tolist()
    assert performance.pitches[path.played_notes].tolist() == score.pitches[keep].tolist()
    np.testing.assert_allclose(path.played_times, 2 * path.score_times)


def test_chords_may_be_rolled_either_way(score):
    chord = notes([0.0] * 3 + [1.0] * 3, pitches=[60, 64, 67, 62, 65, 69])
    rolled = notes([0.0, 0.02, 0.04, 2.0, 2.02, 2.04], pitches=[67, 64, 60, 62, 65, 69])
    path = align(rolled, chord)
    assert len(path.score_notes) == 6
    assert (chord.pitches[path.score_notes] == rolled.pitches[path.played_notes]).all()
    # a chord is played where the middle one of its notes is
    np.testing.assert_allclose(path.played_times, [0.02, 2.02])


def test_time_never_runs_backwards():
    score = notes(0.5 * np.arange(12), pitches=60 + np.arange(12))
    onsets = 0.5 * np.arange(12)
    onsets[5] += 0.6  # comes after the next note of the score
    order = np.argsort(onsets)
    path = align(notes(onsets[order], pitches=(60 + np.arange(12))[order]), score)
    assert (np.diff(path.played_times) >= 0).all()
    assert (np.diff(path.score_times) > 0).all()
    assert len(path.score_notes) == 11


def test_what_has_nothing_in_common_is_not_aligned(score):
    assert align(notes([0.0, 1.0], pitches=[20, 21]), score) is None
    assert align(notes([0.0], pitches=[60]), score) is None
