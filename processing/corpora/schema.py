"""The columns that every corpus has, whatever its source."""

import math
from collections.abc import Mapping

import numpy as np
from datasets import Audio, Dataset, Features, Value

from ..audio_io import read_audio

# `Audio(decode=False)` holds {"bytes", "path"}: decoding stays in `audio_io`, where its errors are clear.
STANDARD_FEATURES = Features(
    {
        "audio": Audio(decode=False),
        "text": Value("string"),
        "speaker_id": Value("string"),
        "duration_seconds": Value("float64"),
        "source": Value("string"),
        "split": Value("string"),
        "license": Value("string"),
        # A stable name of the item within its corpus; splits are lists of these.
        "file_name": Value("string"),
    }
)


class CorpusError(ValueError):
    """A corpus cannot be found, or what it holds is not what its format promises."""


def conform(dataset: Dataset) -> Dataset:
    """Give a dataset the standard columns, first and in the standard order; its own columns follow.

    Args:
        dataset: Any dataset whose standard columns, where present, can be cast to the standard types. An `audio`
            column, where present, holds {"bytes", "path"}.

    Returns:
        The dataset with every standard column; missing ones are null.

    Raises:
        CorpusError: A standard column cannot be cast, or an item has no licence.
    """
    for name in STANDARD_FEATURES:
        if name not in dataset.column_names:
            dataset = dataset.add_column(name, [None] * len(dataset), feature=STANDARD_FEATURES[name])
        elif dataset.features[name] != STANDARD_FEATURES[name]:
            try:
                dataset = dataset.cast_column(name, STANDARD_FEATURES[name])
            except (TypeError, ValueError) as error:
                raise CorpusError(
                    f"column {name!r} is {dataset.features[name]} but a corpus needs {STANDARD_FEATURES[name]}: "
                    f"{error}; rename the column or convert it before."
                ) from error
    check_license(dataset)
    own_columns = [name for name in dataset.column_names if name not in STANDARD_FEATURES]
    return dataset.select_columns([*STANDARD_FEATURES, *own_columns])


def check_license(dataset: Dataset) -> None:
    """Refuse a dataset with items whose licence is unknown."""
    missing = dataset.data.column("license").null_count
    if missing:
        raise CorpusError(
            f"{missing} of {len(dataset)} items state no licence; add a `license` column, or pass license=... when "
            "the corpus is under one licence."
        )


def choose_split(dataset: Dataset, split: str | None, name: str) -> Dataset:
    """Keep the rows of one split, or all for None; an unknown split is an error that lists those of the corpus."""
    if split is None:
        return dataset
    splits = np.array(dataset["split"][:], dtype=object)
    if split not in splits:
        known = ", ".join(sorted({str(value) for value in splits if value is not None})) or "no splits"
        raise CorpusError(f"`split` is {split!r} but {name} has {known}; or pass None for all items.")
    return dataset.select(np.flatnonzero(splits == split))


def decode(row: Mapping, sampling_rate: int | None = None) -> tuple[np.ndarray, int]:
    """Decode the audio of one row.

    Args:
        row: A row of a corpus.
        sampling_rate: Rate to resample to, Hz; None keeps the rate of the recording.

    Returns:
        The waveform, (samples,) float32 in [-1, 1], and its sampling rate in Hz.

    Raises:
        CorpusError: The row holds no audio.
        AudioError: The audio cannot be decoded.
    """
    audio = row["audio"]
    if audio is None or (audio["bytes"] is None and audio["path"] is None):
        raise CorpusError(f"item {row.get('file_name')!r} holds no audio; drop it, or decode another item.")
    source = audio["bytes"] if audio["bytes"] is not None else audio["path"]
    return read_audio(source, sampling_rate=sampling_rate, resample=sampling_rate is not None)


def total_hours(dataset: Dataset) -> float:
    """Sum of the durations, in hours; NaN when one is unknown."""
    durations = dataset.data.column("duration_seconds").to_numpy()
    return math.fsum(durations) / 3600 if len(durations) else 0.0
