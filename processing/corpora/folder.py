"""Reads a folder of recordings with a `metadata.csv`, by the convention of `datasets`' audiofolder."""

import csv
import math
import os
from pathlib import Path

import pyarrow as pa
import soundfile
from datasets import Audio, Dataset, Features, Value

from .schema import STANDARD_FEATURES, CorpusError, choose_split, conform

METADATA_NAME = "metadata.csv"
COLUMN_ALIASES = {"file_name": ("path",), "text": ("transcription", "sentence"), "speaker_id": ("client_id",)}
# Scores are items without a waveform: their duration depends on who renders them.
_SYMBOLIC_SUFFIXES = (".mid", ".midi")


def load_folder(folder: str | os.PathLike, *, split: str | None = None, license: str | None = None) -> Dataset:
    """Load a folder of audio files that a `metadata.csv` lists.

    Args:
        folder: Holds `metadata.csv` with one row per file: `file_name` (or `path`), relative to the folder; where they
            apply `text` (or `transcription`, or `sentence`), `speaker_id` (or `client_id`), `duration_seconds`,
            `source`, `split`, `license`; and any columns of its own, which become numbers or truth values where every
            cell is one.
        split: Keep the rows of this split; None keeps all.
        license: Licence of every item, for a `metadata.csv` without that column.

    Returns:
        The standard columns, then the corpus' own. Empty cells are null; absent durations are read from the files.

    Raises:
        CorpusError: The table is missing or malformed, a file is missing, unreadable or outside the folder, or the
            licence is unknown. Errors in the table name the row.
    """
    folder = Path(folder)
    columns = read_table(folder / METADATA_NAME)
    if license is not None:
        if "license" in columns:
            raise CorpusError(f"`license` is {license!r} but {folder / METADATA_NAME} has that column; leave it out.")
        columns["license"] = [license] * len(columns["file_name"])
    columns.setdefault("source", [folder.resolve().name] * len(columns["file_name"]))
    paths = _resolve_files(folder, columns["file_name"])
    columns["duration_seconds"] = _durations(paths, columns.get("duration_seconds", [None] * len(paths)))
    own_columns = {name: _typed(cells) for name, cells in columns.items() if name not in STANDARD_FEATURES}
    data = {**columns, **own_columns, "audio": [{"bytes": None, "path": str(path)} for path in paths]}
    features = {name: STANDARD_FEATURES.get(name) or _feature_of(data[name]) for name in data}
    features["audio"] = Audio(decode=False)
    # Built from Arrow: `Dataset.from_dict` would ask torchcodec to encode the audio column.
    table = pa.Table.from_pydict(data, schema=Features(features).arrow_schema)
    return choose_split(conform(Dataset(table)), split, str(folder))


def read_table(path: Path) -> dict[str, list[str | None]]:
    """Read a CSV with a column `file_name` as columns of text; empty cells are None. Row 1 is the header."""
    if not path.is_file():
        raise CorpusError(f"{path} is missing; a corpus folder lists its files there (file_name,text,speaker_id,...).")
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            header = canonical_names(next(reader, []), path)
            rows = []
            for row in reader:
                if len(row) != len(header):
                    raise CorpusError(
                        f"{path}, row {len(rows) + 2}: {len(row)} cells but the header has {len(header)}; quote cells "
                        "that hold a comma."
                    )
                rows.append(row)
        except (csv.Error, UnicodeDecodeError) as error:
            raise CorpusError(f"{path}, near line {reader.line_num + 1}: {error}; expected CSV in UTF-8.") from error
    if not rows:
        raise CorpusError(f"{path} lists no files; add one row per audio file.")
    return {name: [cell or None for cell in cells] for name, cells in zip(header, zip(*rows))}


def canonical_names(header: list[str], path: Path) -> list[str]:
    """The columns of a table by their standard names; an error names what cannot be told apart or is missing."""
    duplicates = sorted({name for name in header if header.count(name) > 1})
    if duplicates:
        raise CorpusError(f"{path}: column {duplicates[0]!r} occurs twice; rename one of them.")
    for name, aliases in COLUMN_ALIASES.items():
        present = [alias for alias in aliases if alias in header]
        if name not in header and len(present) > 1:
            raise CorpusError(f"{path}: columns {present} could all be `{name}`; rename the right one to `{name}`.")
        if name not in header and present:
            header = [name if column == present[0] else column for column in header]
    if "file_name" not in header:
        raise CorpusError(f"{path}: no column `file_name` among {header}; it names the audio file of each row.")
    if "audio" in header:
        raise CorpusError(f"{path}: column `audio` is made from `file_name`; rename it.")
    return header


def _resolve_files(folder: Path, file_names: list[str | None]) -> list[Path]:
    root = folder.resolve()
    first_row = {}
    paths = []
    for row, name in enumerate(file_names, start=2):
        where = f"{folder / METADATA_NAME}, row {row}"
        if name in first_row:
            raise CorpusError(f"{where}: {name!r} is already listed in row {first_row[name]}; list each file once.")
        paths.append(resolve_file(root, name, where))
        first_row[name] = row
    return paths


def resolve_file(root: Path, name: str | None, where: str) -> Path:
    """Path of a file inside the folder `root`; `where` begins the message of an error."""
    if name is None:
        raise CorpusError(f"{where}: `file_name` is empty.")
    path = (root / name).resolve()
    if not path.is_relative_to(root):
        raise CorpusError(f"{where}: {name!r} leads out of the folder; move the file inside.")
    if not path.is_file():
        raise CorpusError(f"{where}: {name!r} does not exist in {root}; add the file or remove the row.")
    return path


def _durations(paths: list[Path], cells: list[str | None]) -> list[float | None]:
    """Durations in seconds: as listed, else from the header of the file."""
    durations = []
    for row, (path, cell) in enumerate(zip(paths, cells), start=2):
        if cell is None:
            is_symbolic = path.suffix.lower() in _SYMBOLIC_SUFFIXES
            durations.append(None if is_symbolic else measure_duration(path, f"{METADATA_NAME}, row {row}"))
            continue
        try:
            duration = float(cell)
        except ValueError:
            duration = math.nan
        if not (math.isfinite(duration) and duration >= 0):
            raise CorpusError(
                f"{METADATA_NAME}, row {row}: `duration_seconds` is {cell!r}; expected seconds, such as 1.5."
            )
        durations.append(duration)
    return durations


def measure_duration(path: Path, where: str) -> float:
    """Duration of an audio file in seconds, from its header; `where` begins the message of an error."""
    try:
        header = soundfile.info(str(path))
    except soundfile.LibsndfileError as error:
        raise CorpusError(f"{where}: {path.name!r} is no readable audio file: {error}") from error
    return header.frames / header.samplerate


def _typed(cells: list[str | None]) -> list:
    """Cells as integers, numbers or truth values where every one of them is; else as they are."""
    present = [cell for cell in cells if cell is not None]
    for convert in (_integer, _number, {"True": True, "False": False}.__getitem__):
        try:
            converted = {cell: convert(cell) for cell in set(present)}
        except (ValueError, KeyError):
            continue
        return [None if cell is None else converted[cell] for cell in cells]
    return cells


def _integer(cell: str) -> int:
    # "003" is a name, not a number.
    if str(int(cell)) != cell or abs(int(cell)) >= 2**63:
        raise ValueError(cell)
    return int(cell)


def _number(cell: str) -> float:
    number = float(cell)
    digits = cell.removeprefix("-")
    if not math.isfinite(number) or (digits[:1] == "0" and digits[1:2].isdigit()):
        raise ValueError(cell)
    return number


def _feature_of(cells: list) -> Value:
    kinds = {bool: "bool", int: "int64", float: "float64"}
    return Value(kinds.get(type(next((cell for cell in cells if cell is not None), "")), "string"))
