"""Which note of a performance is which note of the score, and how score time maps to performed time."""

from dataclasses import dataclass

import numpy as np

from .audio_midi import Performance

CHORD_SECONDS = 0.04  # notes that begin closer than this belong to one chord
MAX_DISORDER_SECONDS = 0.3  # how much earlier than its predecessor a score position may be played


@dataclass(frozen=True)
class Alignment:
    """Matched notes and the path of time.

    Args:
        score_notes, played_notes: (matches,) indices of the notes that are the same, ordered by score time.
        score_times, played_times: (positions,) increasing seconds in the score and when they are played.
    """

    score_notes: np.ndarray
    played_notes: np.ndarray
    score_times: np.ndarray
    played_times: np.ndarray

    def played_at(self, score_times: np.ndarray) -> np.ndarray:
        """When moments of the score are played, in seconds."""
        return np.interp(score_times, self.score_times, self.played_times)


def chords(onsets: np.ndarray) -> np.ndarray:
    """(notes,) number of the chord that each note of ascending `onsets` belongs to, from 0."""
    return np.concatenate([[0], np.cumsum(np.diff(onsets) > CHORD_SECONDS)])


def align(performance: Performance, score: Performance) -> Alignment | None:
    """Aligns a performance with its score by the longest common sequence of pitches, chords ordered by pitch.

    Returns:
        None where fewer than two positions of the score are found in the performance.
    """
    score_order, played_order = _reading_order(score), _reading_order(performance)
    matches = longest_common_subsequence(score.pitches[score_order], performance.pitches[played_order])
    if len(matches) == 0:
        return None
    score_notes, played_notes = score_order[matches[:, 0]], played_order[matches[:, 1]]
    order = np.argsort(score.onsets[score_notes], kind="stable")
    score_notes, played_notes = score_notes[order], played_notes[order]
    positions, chord_of = np.unique(np.round(score.onsets[score_notes], 3), return_inverse=True)
    played = performance.onsets[played_notes]
    times = np.array([np.median(played[chord_of == index]) for index in range(len(positions))])
    latest = np.maximum.accumulate(times)
    in_order = times >= latest - MAX_DISORDER_SECONDS
    if in_order.sum() < 2:
        return None
    return Alignment(score_notes, played_notes, positions[in_order], np.maximum.accumulate(times[in_order]))


def longest_common_subsequence(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Longest sequence of equal values that two sequences share in order.

    Returns:
        (matches, 2) indices into `first` (length n) and `second` (length m). Takes 2 n m bytes.

    Source: Hirschberg 1975, "A linear space algorithm for computing maximal common subsequences", section 2; each row
        of the table is computed at once, since along a row it is a running maximum.
    """
    rows = np.zeros((len(first) + 1, len(second) + 1), dtype=np.int16)
    for index, value in enumerate(first):
        extended = np.maximum(rows[index, 1:], rows[index, :-1] + (second == value))
        rows[index + 1, 1:] = np.maximum.accumulate(extended)
    matches, row, column = [], len(first), len(second)
    while row and column:
        if rows[row, column] == rows[row - 1, column]:
            row -= 1
        elif rows[row, column] == rows[row, column - 1]:
            column -= 1
        else:
            row, column = row - 1, column - 1
            matches.append((row, column))
    return np.array(matches[::-1], dtype=int).reshape(-1, 2)


def _reading_order(performance: Performance) -> np.ndarray:
    return np.lexsort((performance.pitches, chords(performance.onsets)))
