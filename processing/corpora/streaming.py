"""A corpus that is read row by row, so that its size costs no memory."""

import csv
import os
from collections.abc import Iterator
from pathlib import Path

import datasets
from datasets import Audio

from .folder import COLUMN_ALIASES, METADATA_NAME, canonical_names, measure_duration, resolve_file
from .hub import card_license, measure_row
from .schema import STANDARD_FEATURES, CorpusError


class CorpusStream:
    """Rows with the columns of `STANDARD_FEATURES`, read anew whenever it is iterated.

    Nothing is kept of a row that was given out. Rows of a folder refer to their files; those of the Hub bring their
    audio along and need a connection.

    Args:
        name: A folder with a `metadata.csv`, the name of one inside `$ANTIPHON_DATA`, or the id of a dataset on the
            Hub, "owner/name" or "owner/name:config".
        split: The split to read; of a folder None reads all rows, a dataset of the Hub needs one.
        license: Licence of every row, where the corpus does not state any.
        audio_column, text_column, speaker_column, revision, token: Of `load_hub`.

    Raises:
        CorpusError: Nothing has that name, or, while it is read, a row is malformed.
    """

    def __init__(
        self,
        name: str | os.PathLike,
        *,
        split: str | None = None,
        license: str | None = None,
        audio_column: str = "audio",
        text_column: str | None = None,
        speaker_column: str | None = None,
        revision: str | None = None,
        token: str | bool | None = None,
    ):
        self.name = os.fspath(name)
        self.split = split
        self.license = license
        self.columns = {"audio": audio_column, "text": text_column, "speaker_id": speaker_column}
        self.revision = revision
        self.token = token
        self.folder = self._find_folder()
        if self.folder is None and "/" not in self.name:
            raise CorpusError(
                f"no corpus {self.name!r} to stream. It can be a folder with a {METADATA_NAME}, such a folder inside "
                "$ANTIPHON_DATA, or the id of a Hub dataset, owner/name."
            )
        if self.folder is None and split is None:
            raise CorpusError(f"`split` is None but a stream of {self.name} needs one, such as 'train'.")

    def __iter__(self) -> Iterator[dict]:
        return self._folder_rows() if self.folder else self._hub_rows()

    def _find_folder(self) -> Path | None:
        data_root = os.environ.get("ANTIPHON_DATA")
        candidates = [Path(self.name), *([Path(data_root) / self.name] if data_root else [])]
        return next((folder for folder in candidates if (folder / METADATA_NAME).is_file()), None)

    def _folder_rows(self) -> Iterator[dict]:
        table = self.folder / METADATA_NAME
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = canonical_names(next(reader, []), table)
            for number, cells in enumerate(reader, start=2):
                where = f"{table}, row {number}"
                if len(cells) != len(header):
                    raise CorpusError(f"{where}: {len(cells)} cells but the header has {len(header)}.")
                row = {name: cell or None for name, cell in zip(header, cells)}
                if self.split not in (None, row.get("split")):
                    continue
                path = resolve_file(self.folder.resolve(), row["file_name"], where)
                row |= {"audio": {"bytes": None, "path": str(path)}}
                row["source"] = row.get("source") or self.folder.resolve().name
                seconds = row.get("duration_seconds")
                row["duration_seconds"] = float(seconds) if seconds else measure_duration(path, where)
                yield self._standard(row, where)

    def _hub_rows(self) -> Iterator[dict]:
        path, _, config = self.name.partition(":")
        options = {"split": self.split, "streaming": True, "revision": self.revision, "token": self.token}
        try:
            rows = datasets.load_dataset(path, config or None, **options)
        except (datasets.exceptions.DatasetNotFoundError, FileNotFoundError, ValueError, ConnectionError) as error:
            raise CorpusError(f"dataset {self.name!r} could not be streamed: {error}") from error
        license = self.license or card_license(path, self.token)
        columns = rows.column_names or list(next(iter(rows)))
        named = {target: name or _alias(target, columns) for target, name in self.columns.items()}
        for target, name in named.items():
            if name is not None and name not in columns:
                raise CorpusError(f"{self.name} has no column {name!r} to become `{target}`; it has {columns}.")
        for number, given in enumerate(rows.cast_column(named["audio"], Audio(decode=False))):
            row = {**given, **{target: given[name] for target, name in named.items() if name}}
            row |= {"source": self.name, "split": self.split, "license": license}
            row.setdefault("file_name", f"{self.split}/{number:08d}")
            if row.get("duration_seconds") is None:
                row["duration_seconds"] = measure_row(row, self.name)
            yield self._standard(row, f"{self.name}, row {number}")

    def _standard(self, row: dict, where: str) -> dict:
        row["license"] = row.get("license") or self.license
        if row["license"] is None:
            raise CorpusError(f"{where} states no licence; pass license=... when the corpus is under one.")
        return {name: row.get(name) for name in STANDARD_FEATURES}


def _alias(target: str, columns: list[str]) -> str | None:
    """The column of a dataset that becomes a standard one, None where there is none."""
    return next((name for name in (target, *COLUMN_ALIASES.get(target, ())) if name in columns), None)
