"""Common Voice, from the Hub or as an unpacked release: sentences read by volunteers, judged by the votes of others."""

import csv
import logging
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from datasets import Audio, Dataset, Features, Value

from .folder import measure_duration
from .hub import load_hub
from .schema import STANDARD_FEATURES, CorpusError, conform

logger = logging.getLogger(__name__)

# Mozilla's own repositories need a loading script; this copy of release 17 has the same rows as Parquet files.
COMMON_VOICE_ID = "fixie-ai/common_voice_17_0"
LICENSE = "CC0-1.0"
_OWN_FEATURES = {
    "up_votes": Value("int64"),
    "down_votes": Value("int64"),
    "accents": Value("string"),
    "age": Value("string"),
    "gender": Value("string"),
    "locale": Value("string"),
}
_OLD_NAMES = {"accent": "accents"}
# File of the release: name of the split here, as in other corpora.
_SPLIT_FILES = {"train.tsv": "train", "dev.tsv": "validation", "test.tsv": "test"}
_VALIDATED_FILE, _DURATIONS_FILE = "validated.tsv", "clip_durations.tsv"
# Of a clip that was validated and is in none of the three splits.
_UNSPLIT = "validated"


def load_common_voice(
    *,
    language: str,
    split: str = "train",
    min_up_votes: int = 0,
    max_down_votes: int | None = None,
    repository: str = COMMON_VOICE_ID,
    **options,
) -> Dataset:
    """Load one language and split of Common Voice from the Hub; nothing else is downloaded.

    Args:
        language: Code of the language, such as "hi".
        split: "train", "validation" or "test", which share no speaker; or another part of the repository.
        min_up_votes: Clips that fewer listeners approved are left out.
        max_down_votes: Clips that more listeners rejected are left out; None keeps them.
        repository: Dataset of the Hub with the files `LANGUAGE/SPLIT-*.parquet`, or a folder of them.
        options: Of `load_hub`; `data_files` for a repository with other names.

    Returns:
        The standard columns, with the volunteer's `client_id` as `speaker_id`; then up_votes, down_votes, accents, age,
        gender and locale, null where a volunteer did not say.

    Raises:
        CorpusError: The dataset cannot be loaded, lacks columns, or no clip has these votes.
    """
    files = {split: f"{language}/{split}-*.parquet"}
    corpus = load_hub(repository, **{"split": split, "data_files": files, "license": LICENSE, **options})
    for old, new in _OLD_NAMES.items():
        if old in corpus.column_names and new not in corpus.column_names:
            corpus = corpus.rename_column(old, new)
    for name, feature in _OWN_FEATURES.items():
        if name not in corpus.column_names:
            corpus = corpus.add_column(name, [None] * len(corpus), feature=feature)
        elif corpus.features[name] != feature:
            corpus = corpus.cast_column(name, feature)
    corpus = corpus.select_columns([*STANDARD_FEATURES, *_OWN_FEATURES])
    return _with_votes(corpus, min_up_votes, max_down_votes)


def is_release(folder: Path) -> bool:
    """Whether a folder is one language of an unpacked release."""
    return (folder / "clips").is_dir() and any((folder / name).is_file() for name in (_VALIDATED_FILE, *_SPLIT_FILES))


def load_release(
    folder: str | os.PathLike, *, split: str | None = None, min_up_votes: int = 0, max_down_votes: int | None = None
) -> Dataset:
    """Load one language of an unpacked release, such as `cv-corpus-17.0-2024-03-15/hi`.

    Clips that are listed but are not there, or are empty, are left out and counted in a warning. Durations come from
    `clip_durations.tsv`, or else from the clips.

    Args:
        folder: Holds `clips/` and `validated.tsv`, or `train.tsv`, `dev.tsv` and `test.tsv`, or all of them.
        split: "train", "validation" (`dev.tsv`) or "test", which share no speaker, or "validated": the validated clips
            that are in none of them, some by speakers of the test; None for all.
        min_up_votes, max_down_votes: Of `load_common_voice`.

    Returns:
        As `load_common_voice`. `source` is the name of the release.

    Raises:
        CorpusError: A table is malformed, no clip is there, or none has these votes.
    """
    folder = Path(folder)
    table = _read_tables(folder)
    table = table if split is None else _of_split(table, split, folder)
    table = _with_clips(table, folder / "clips")
    paths = [folder.resolve() / "clips" / name for name in table["path"]]
    release = folder.resolve()
    data = {
        "audio": [{"bytes": None, "path": str(path)} for path in paths],
        "text": _cells(table, "sentence"),
        "speaker_id": _cells(table, "client_id"),
        "duration_seconds": _durations(folder / _DURATIONS_FILE, paths),
        "source": [f"Common Voice {release.parent.name}/{release.name}"] * len(table),
        "split": table["split"].tolist(),
        "license": [LICENSE] * len(table),
        "file_name": [f"clips/{name}" for name in table["path"]],
        **{name: _cells(table, name) for name in _OWN_FEATURES},
    }
    for name in ("up_votes", "down_votes"):
        data[name] = [_vote(cell, name, folder) for cell in data[name]]
    features = Features({**STANDARD_FEATURES, "audio": Audio(decode=False), **_OWN_FEATURES})
    corpus = conform(Dataset(pa.Table.from_pydict(data, schema=features.arrow_schema)))
    return _with_votes(corpus, min_up_votes, max_down_votes)


def _read_tables(folder: Path) -> pd.DataFrame:
    """Every listed clip once, with its `split`."""
    tables = []
    for name, split in {**_SPLIT_FILES, _VALIDATED_FILE: _UNSPLIT}.items():
        if (folder / name).is_file():
            tables.append(_read_tsv(folder / name, ("client_id", "path", "sentence")).assign(split=split))
    # The three splits come first, so that of a clip that is validated as well the split is kept.
    table = pd.concat(tables, ignore_index=True).rename(columns=_OLD_NAMES)
    divided = table[table["split"] != _UNSPLIT]
    repeated = divided.loc[divided.duplicated("path"), "path"]
    if len(repeated):
        raise CorpusError(f"{folder}: {repeated.iloc[0]!r} is in two of {', '.join(_SPLIT_FILES)}; unpack it again.")
    return table.drop_duplicates("path", ignore_index=True)


def _read_tsv(path: Path, needed: tuple[str, ...]) -> pd.DataFrame:
    try:
        # Quotation marks belong to the sentences.
        table = pd.read_csv(path, sep="\t", dtype=str, quoting=csv.QUOTE_NONE, keep_default_na=False, encoding="utf-8")
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise CorpusError(f"{path} is no table of Common Voice: {str(error).strip()}; unpack it again.") from error
    if missing := [name for name in needed if name not in table]:
        raise CorpusError(f"{path} has no column {', '.join(missing)}; it has {', '.join(table)}.")
    return table


def _with_clips(table: pd.DataFrame, clips: Path) -> pd.DataFrame:
    """The rows whose clips are there and not empty; the others are counted in a warning."""
    with os.scandir(clips) as entries:
        present = {entry.name for entry in entries if entry.is_file() and entry.stat().st_size}
    is_there = table["path"].isin(present)
    if not is_there.any():
        raise CorpusError(
            f"none of the {len(table)} clips that the tables list is in {clips}, the first is "
            f"{table['path'].iloc[0] if len(table) else 'missing'}; unpack the release's clips there."
        )
    if not is_there.all():
        missing = table.loc[~is_there, "path"]
        logger.warning(
            "%d of %d listed clips are not in %s or are empty and are left out, the first is %s",
            *(len(missing), len(table), clips, missing.iloc[0]),
        )
    return table[is_there].reset_index(drop=True)


def _of_split(table: pd.DataFrame, split: str, folder: Path) -> pd.DataFrame:
    if split not in table["split"].unique():
        known = ", ".join(sorted(table["split"].unique()))
        raise CorpusError(f"`split` is {split!r} but {folder} has {known}; or pass None for all clips.")
    return table[table["split"] == split].reset_index(drop=True)


def _durations(path: Path, clips: list[Path]) -> list[float]:
    """Seconds of each clip."""
    seconds = {}
    if path.is_file():
        table = _read_tsv(path, ("clip", "duration[ms]"))
        milliseconds = pd.to_numeric(table["duration[ms]"], errors="coerce")
        seconds = dict(zip(table["clip"], milliseconds / 1000))
    listed = (seconds.get(clip.name, np.nan) for clip in clips)
    # Some releases list a clip with 0 ms.
    return [value if value > 0 else measure_duration(clip, str(clip)) for value, clip in zip(listed, clips)]


def _cells(table: pd.DataFrame, name: str) -> list[str | None]:
    return [cell or None for cell in table[name].fillna("")] if name in table else [None] * len(table)


def _vote(cell: str | None, name: str, folder: Path) -> int | None:
    if cell is None:
        return None
    try:
        return int(cell)
    except ValueError as error:
        raise CorpusError(f"{folder}: `{name}` is {cell!r} but must be a number; unpack it again.") from error


def _with_votes(corpus: Dataset, min_up_votes: int, max_down_votes: int | None) -> Dataset:
    """The clips with enough votes for them and not too many against them; the others are counted in a warning."""
    asked = {"up_votes": min_up_votes > 0, "down_votes": max_down_votes is not None}
    votes = {name: corpus.data.column(name).to_pandas() for name in asked}
    if unknown := [name for name in asked if asked[name] and votes[name].isna().all()]:
        raise CorpusError(
            f"this corpus has no {unknown[0]} to choose clips by; leave out `min_up_votes`/`max_down_votes`."
        )
    kept = np.ones(len(corpus), bool)
    if asked["up_votes"]:
        kept &= (votes["up_votes"] >= min_up_votes).to_numpy()
    if asked["down_votes"]:
        kept &= (votes["down_votes"] <= max_down_votes).to_numpy()
    if not kept.any():
        raise CorpusError(
            f"none of {len(corpus)} clips has at least {min_up_votes} votes for it and at most "
            f"{max_down_votes} against it; ask for less."
        )
    if kept.all():
        return corpus
    logger.warning("%d of %d clips have not the votes that were asked for and are left out", (~kept).sum(), len(kept))
    return corpus.select(np.flatnonzero(kept))
