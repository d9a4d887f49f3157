"""A manifest: a table of the rows that a training used, from which they can be loaded again."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import datasets
from datasets import Dataset

from .folder import read_table
from .schema import STANDARD_FEATURES, CorpusError, choose_split
from .splits import item_ids

MANIFEST_COLUMNS = ("file_name", "text", "speaker_id", "duration_seconds", "source", "license", "split")
_ORIGIN = "corpus"


def manifest_text(rows: Dataset, origins: Sequence[str]) -> str:
    """Write rows as a manifest.

    Args:
        rows: With `MANIFEST_COLUMNS`.
        origins: For each row what `load_corpus` loads its corpus by: its name and options, as JSON.

    Returns:
        CSV: `MANIFEST_COLUMNS`, and the origin as `corpus`.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*MANIFEST_COLUMNS, _ORIGIN])
    writer.writerows(zip(*(rows[name][:] for name in MANIFEST_COLUMNS), origins))
    return file.getvalue()


def load_manifest(load_corpus: Callable[..., Dataset], path: Path, *, split: str | None = None) -> Dataset:
    """Load the rows that a manifest lists, in its order, from the corpora that they came from.

    Args:
        load_corpus: Loads these corpora.
        path: The manifest; rows may be taken out of it.
        split: Keep the rows of this split; None keeps all.

    Returns:
        The standard columns.

    Raises:
        CorpusError: The table is malformed, a row is not in its corpus any more, or has another text there.
    """
    columns = read_table(path)
    missing = [name for name in (*MANIFEST_COLUMNS, _ORIGIN) if name not in columns]
    if missing:
        raise CorpusError(f"{path} has no column {', '.join(missing)}; is it a manifest that a training wrote?")
    corpora, position, first = [], {}, 0
    for origin in dict.fromkeys(columns[_ORIGIN]):
        name, options = _parse(origin, path)
        corpus = load_corpus(name, **options).select_columns(list(STANDARD_FEATURES))
        position |= {(origin, id): first + index for index, id in enumerate(item_ids(corpus))}
        corpora.append(corpus)
        first += len(corpus)
    listed = list(zip(columns[_ORIGIN], columns["file_name"]))
    unknown = [file_name for origin, file_name in listed if (origin, file_name) not in position]
    if unknown:
        raise CorpusError(f"{path}: {len(unknown)} rows are not in their corpus any more, the first is {unknown[0]!r}.")
    rows = datasets.concatenate_datasets(corpora).select([position[key] for key in listed])
    for text, found, file_name in zip(columns["text"], rows["text"][:], columns["file_name"]):
        if (text or "") != (found or ""):
            raise CorpusError(
                f"{path}: the text of {file_name!r} is {text!r} but {found!r} in its corpus; correct it there, for a "
                "manifest only chooses rows."
            )
    return choose_split(rows, split, str(path))


def _parse(origin: str | None, path: Path) -> tuple[str, dict]:
    try:
        options = json.loads(origin or "")
        return options.pop("name"), options
    except (json.JSONDecodeError, AttributeError, KeyError) as error:
        raise CorpusError(
            f'{path}: `{_ORIGIN}` is {origin!r}; expected the corpus of the row as JSON, such as {{"name": "an4"}}.'
        ) from error
