"""Performances faster or slower, higher or lower than they were played: MIDI files altered for augmentation."""

import dataclasses
import hashlib
import os
import tempfile
from pathlib import Path

import numpy as np
from datasets import Dataset

from ..audio_midi import Performance, read_midi, write_midi
from .rendering import cache_folder
from .schema import CorpusError

ALTERATIONS = ("stretch", "transpose")
LOWEST_KEY, HIGHEST_KEY = 21, 108


def alter(performance: Performance, *, stretch: float = 1.0, transpose: int = 0) -> Performance:
    """Alter a performance.

    Args:
        stretch: Factor of all times; 1.1 plays a tenth slower.
        transpose: Semitones upwards. A note that would leave the keyboard stays where it is.

    Raises:
        CorpusError: `stretch` is not positive.
    """
    if stretch <= 0:
        raise CorpusError(f"`stretch` is {stretch} but must be a positive factor, such as 1.1.")
    moved = performance.pitches + transpose
    pedals = {controller: (stretch * times, values) for controller, (times, values) in performance.pedals.items()}
    return dataclasses.replace(
        performance,
        onsets=stretch * performance.onsets,
        offsets=stretch * performance.offsets,
        pitches=np.where((moved >= LOWEST_KEY) & (moved <= HIGHEST_KEY), moved, performance.pitches),
        pedals=pedals,
    )


def alter_corpus(dataset: Dataset, *, stretch: float = 1.0, transpose: int = 0) -> Dataset:
    """The same performances altered: other files in `midi`, no audio, and scores that are transposed but not stretched.

    Args:
        dataset: A corpus with the columns `midi` and `score_midi` of paths.
        stretch, transpose: As of `alter`. The files are cached beside renderings, by their content.
    """
    scores = {path: _altered_file(path, 1.0, transpose) for path in set(dataset["score_midi"])}

    def change(row: dict) -> dict:
        return {
            "midi": _altered_file(row["midi"], stretch, transpose),
            "score_midi": scores[row["score_midi"]],
            "duration_seconds": None if row["duration_seconds"] is None else stretch * row["duration_seconds"],
            "audio": None,
        }

    return dataset.map(change, features=dataset.features, load_from_cache_file=False)


def _altered_file(path: str, stretch: float, transpose: int) -> str:
    content = Path(path).read_bytes()
    name = hashlib.sha256(content + f"{stretch} {transpose}".encode()).hexdigest()
    altered = cache_folder("altered") / name[:2] / f"{name}.mid"
    if not altered.is_file():
        altered.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=altered.parent) as folder:
            write_midi(alter(read_midi(content), stretch=stretch, transpose=transpose), Path(folder) / "altered.mid")
            os.replace(Path(folder) / "altered.mid", altered)
    return str(altered)
