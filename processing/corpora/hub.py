"""Loads datasets of the Hugging Face Hub into the corpus schema; soundfile decodes their audio."""

import io
import os
from collections.abc import Mapping
from pathlib import Path

import datasets
import soundfile
from datasets import Audio, Dataset
from huggingface_hub import DatasetCard
from huggingface_hub.errors import EntryNotFoundError, HFValidationError, RepositoryNotFoundError

from .folder import COLUMN_ALIASES
from .schema import CorpusError, conform


def load_hub(
    name: str,
    *,
    split: str | None = None,
    audio_column: str = "audio",
    text_column: str | None = None,
    speaker_column: str | None = None,
    license: str | None = None,
    data_files: Mapping[str, str] | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike | None = None,
) -> Dataset:
    """Load a dataset of the Hub, or a local folder of data files that `datasets.load_dataset` understands.

    Args:
        name: Dataset id, such as "owner/name", or "owner/name:config".
        split: Split to load; None joins all of them.
        audio_column: Column that holds the audio.
        text_column: Column that becomes `text`; by default `text`, `transcription` or `sentence`, where there is one.
        speaker_column: Column that becomes `speaker_id`; by default `speaker_id` or `client_id`, where there is one.
        license: Licence of every item; by default the one that the dataset card states.
        data_files: For each split a pattern of its files in the repository; all others are not downloaded, as they
            would be for `split` alone.
        revision: Branch, tag or commit; a commit makes the corpus reproducible.
        token: Access token; by default the one that is logged in.
        cache_dir: Cache of `datasets`.

    Returns:
        The standard columns, then the dataset's own. `file_name` is the name that the dataset gives its audio files
        where these are distinct, else the split and the row number.

    Raises:
        CorpusError: The dataset, a column or the licence cannot be found.
    """
    path, _, config = name.partition(":")
    try:
        # Without `split=`: an unknown split is then told together with the known ones.
        loaded = datasets.load_dataset(
            path, config or None, data_files=data_files, revision=revision, token=token, cache_dir=cache_dir
        )
    except (datasets.exceptions.DatasetNotFoundError, FileNotFoundError, ValueError, ConnectionError) as error:
        raise CorpusError(f"dataset {name!r} could not be loaded: {error}") from error
    if split is not None and split not in loaded:
        raise CorpusError(f"`split` is {split!r} but {name} has {', '.join(loaded)}; or pass None for all of them.")
    constants = {"source": name, "license": license or card_license(path, token)}
    columns = {"audio": audio_column, "text": text_column, "speaker_id": speaker_column}
    parts = [
        _conform_part(loaded[part_name], columns, {**constants, "split": part_name})
        for part_name in loaded
        if split in (None, part_name)
    ]
    return datasets.concatenate_datasets(parts)


def _conform_part(part: Dataset, columns: dict[str, str | None], constants: dict[str, str | None]) -> Dataset:
    """Bring one split into the schema: rename `columns` (standard name: its own name), set `constants`."""
    source, audio_column = constants["source"], columns["audio"]
    if audio_column not in part.column_names:
        known = ", ".join(part.column_names)
        raise CorpusError(f"`audio_column` is {audio_column!r} but {source} has {known}; name the right one.")
    part = part.cast_column(audio_column, Audio(decode=False))
    for name in ("text", "speaker_id"):
        if columns[name] is None and name not in part.column_names:
            aliases = [alias for alias in COLUMN_ALIASES[name] if alias in part.column_names]
            columns = {**columns, name: next(iter(aliases), None)}
    for target, column in columns.items():
        part = _rename(part, column, target, source)
    for column, value in constants.items():
        # What the Hub says of the split counts, whatever a column of that name says; an unknown licence may be there.
        if value is not None:
            part = part.remove_columns([column] if column in part.column_names else [])
            part = part.add_column(column, [value] * len(part))
    if "duration_seconds" not in part.column_names:
        part = part.add_column("duration_seconds", [measure_row(row, source) for row in part.select_columns("audio")])
    if "file_name" not in part.column_names:
        part = part.add_column("file_name", _file_names(part, constants["split"]))
    return conform(part)


def _rename(part: Dataset, column: str | None, target: str, source: str) -> Dataset:
    if column is None or column == target:
        return part
    if column not in part.column_names:
        raise CorpusError(
            f"{source} has no column {column!r} to become `{target}`; it has {', '.join(part.column_names)}."
        )
    return part.remove_columns([target] if target in part.column_names else []).rename_column(column, target)


def measure_row(row: dict, source: str) -> float:
    """Duration of a row's audio in seconds, from its header; `source` begins the message of an error."""
    audio = row["audio"]
    try:
        header = soundfile.info(io.BytesIO(audio["bytes"]) if audio["bytes"] is not None else audio["path"])
    except (soundfile.LibsndfileError, TypeError) as error:
        path = None if audio is None else audio["path"]
        raise CorpusError(f"{source}: audio {path!r} cannot be read by soundfile: {error}") from error
    return header.frames / header.samplerate


def _file_names(part: Dataset, part_name: str) -> list[str]:
    names = [audio["path"] and Path(audio["path"]).name for audio in part["audio"]]
    if None not in names and len(set(names)) == len(names):
        return [f"{part_name}/{name}" for name in names]
    return [f"{part_name}/{index:08d}" for index in range(len(part))]


def card_license(path: str, token: str | bool | None) -> str | None:
    """Licence in the metadata of the dataset card, or None."""
    card_path = Path(path) / "README.md"
    try:
        if Path(path).is_dir():
            card = DatasetCard.load(card_path) if card_path.is_file() else None
        else:
            card = DatasetCard.load(path, token=token)
    except (EntryNotFoundError, RepositoryNotFoundError, HFValidationError):
        return None
    license = card.data.license if card is not None else None
    return ", ".join(license) if isinstance(license, list) else license
