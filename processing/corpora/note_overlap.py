"""Finds out from the notes what several MIDI files share: bars of the same music, or one and the same performance."""

import re
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from ..audio_midi import Performance, read_midi

# Passages are of one excerpt if they share this much of the shorter one's runs of so many notes. Between .18 and .32
# no two passages of PercePiano lie: below are themes that sound alike, above are bars that occur in both.
_RUN_NOTES, _SHARED_RUNS = 12, 0.25
# Equal performances end at slightly other times where a cut has shortened the last notes.
_SAME_SECONDS = 0.1


def find_excerpts(scores: dict[str, Path]) -> dict[str, str]:
    """Find out which passages share bars, by the notes of their scores.

    Args:
        scores: Path of the score of each passage.

    Returns:
        For each passage the name of its excerpt: the first of all passages that hang together with it.
    """
    runs = {passage: _runs(read_midi(path).pitches) for passage, path in scores.items()}
    pairs = [
        (first, second)
        for first, second in combinations(sorted(scores, key=_natural_order), 2)
        if len(runs[first] & runs[second]) >= _SHARED_RUNS * max(min(len(runs[first]), len(runs[second])), 1)
    ]
    return _first_of_connected(scores, pairs)


def find_duplicates(performances: pd.DataFrame) -> dict[str, str]:
    """Find out which files hold the same performance, note for note, whatever their names say.

    Args:
        performances: Columns file_name, midi (a path), excerpt, player (the same for all that a computer plays),
            num_notes, and seconds, from the first note to the last note off.

    Returns:
        For each file the name of the first that equals it, or its own.
    """
    read = cache(read_midi)
    candidates = defaultdict(list)
    for file in performances.itertuples():
        candidates[file.excerpt, file.player, file.num_notes].append(file)
    pairs = [
        (first.file_name, second.file_name)
        for files in candidates.values()
        for first, second in combinations(files, 2)
        # Most of them are told apart without reading them.
        if abs(first.seconds - second.seconds) < _SAME_SECONDS and _are_equal(read(first.midi), read(second.midi))
    ]
    return _first_of_connected(performances["file_name"], pairs)


def _are_equal(first: Performance, second: Performance) -> bool:
    """Whether two performances are the same notes, but for a shift in time."""
    if not (np.array_equal(first.pitches, second.pitches) and np.array_equal(first.velocities, second.velocities)):
        return False
    times = [np.concatenate([these.onsets, these.offsets]) - these.onsets[0] for these in (first, second)]
    return np.allclose(*times, rtol=0, atol=_SAME_SECONDS)


def _first_of_connected(names: Iterable[str], pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """For each name the first of all that pairs connect with it."""
    first_of = {name: name for name in names}
    for pair in pairs:
        first, other = sorted((first_of[name] for name in pair), key=_natural_order)
        first_of = {name: first if group == other else group for name, group in first_of.items()}
    return first_of


def _runs(pitches: np.ndarray) -> set[tuple[int, ...]]:
    """Every run of notes, in the order of the score."""
    pitches = pitches.tolist()
    return {tuple(pitches[start : start + _RUN_NOTES]) for start in range(len(pitches) - _RUN_NOTES + 1)}


def _natural_order(passage: str) -> list:
    return [part.zfill(6) if part.isdigit() else part for part in re.split(r"(\d+)", passage)]
