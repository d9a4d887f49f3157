"""Altered performances: what is stretched and transposed, and what is not."""

import numpy as np
import pytest
from small_performances import small_performances
from tiny_piano import notes

from antiphon.processing.audio_midi import read_midi
from antiphon.processing.corpora import CorpusError
from antiphon.processing.corpora.alterations import alter, alter_corpus


def test_all_times_are_stretched():
    slow = alter(notes([0.5, 1.0], pitches=[60, 64], sustain=[(0.6, 127), (1.2, 0)]), stretch=1.1)
    np.testing.assert_allclose(slow.onsets, [0.55, 1.1])
    np.testing.assert_allclose(slow.offsets, [0.825, 1.375])
    np.testing.assert_allclose(slow.pedals[64][0], [0.66, 1.32])
    np.testing.assert_array_equal(slow.pedals[64][1], [127, 0])
    np.testing.assert_array_equal(slow.pitches, [60, 64])


@pytest.mark.parametrize(("semitones", "expected"), [(1, [22, 61, 108]), (-1, [21, 59, 107])])
def test_notes_do_not_leave_the_keyboard(semitones, expected):
    performance = notes([0.0, 1.0, 2.0], pitches=[21, 60, 108])
    assert alter(performance, transpose=semitones).pitches.tolist() == expected


def test_a_stretch_is_positive():
    with pytest.raises(CorpusError, match="`stretch` is 0 but must be a positive factor"):
        alter(notes([0.0]), stretch=0)


def test_a_score_is_transposed_with_its_performances_and_keeps_its_tempo(tmp_path, monkeypatch):
    monkeypatch.setenv("ANTIPHON_CACHE", str(tmp_path / "cache"))
    corpus = small_performances(tmp_path, num_passages=1, num_players=2)
    altered = alter_corpus(corpus, stretch=0.9, transpose=-1)
    for before, after in zip(corpus, altered):
        played, other = read_midi(before["midi"]), read_midi(after["midi"])
        np.testing.assert_allclose(other.onsets, 0.9 * played.onsets, atol=0.001)
        np.testing.assert_array_equal(np.sort(other.pitches), np.sort(played.pitches - 1))
        score, other = read_midi(before["score_midi"]), read_midi(after["score_midi"])
        np.testing.assert_allclose(other.onsets, score.onsets, atol=0.001)
        np.testing.assert_array_equal(np.sort(other.pitches), np.sort(score.pitches - 1))
        assert after["duration_seconds"] == pytest.approx(0.9 * before["duration_seconds"])
        assert (after["file_name"], after["percepts"]) == (before["file_name"], before["percepts"])
    assert alter_corpus(corpus, stretch=0.9, transpose=-1)["midi"] == altered["midi"]
