"""Result rows: one JSON file per benchmark and checkpoint, with the items it was computed from beside it.

A row is the contract between the benchmarks, the publisher, the README table and the Spaces. Its keys: `benchmark`,
`system` (where a benchmark compares several), `task`, `dataset`, `checkpoint_sha256`, `model`, `metrics`,
`primary_metric` (the one that decides), `groups`, `baselines`, `claims`, `seeds` (of the trainings), `conditions`,
`speed`, and for a recogniser that generates its text `repetition` (how often it looped).

`metrics[name]["columns"]` names the item columns, numerator and denominator, whose sums give its value again; a
denominator of null counts items. The columns of a baseline begin with its name and a dot. Rows of older versions lack
`primary_metric`, `seeds`, `columns` and a baseline's `kind`.
"""

import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from tempfile import NamedTemporaryFile

import pandas as pd

REQUIRED_KEYS = ("benchmark", "task", "dataset", "checkpoint_sha256", "metrics", "baselines", "claims", "conditions")


def row_path(folder: str | Path, benchmark: str) -> Path:
    """Return where a benchmark's row lies in a results folder."""
    return Path(folder) / f"{benchmark}.json"


def items_path(folder: str | Path, benchmark: str) -> Path:
    """Return where the items behind a benchmark's row lie in a results folder."""
    return Path(folder) / f"{benchmark}_items.parquet"


def write_row(row: dict, items: pd.DataFrame, folder: str | Path) -> Path:
    """Write a row and its items; a reader sees the old files or the new ones, never a part.

    The files are named after the benchmark and, where the row has one, its `system`. Numbers that are not finite become
    null, since JSON has no other word for them.

    Returns:
        The path of the row.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    name = "_".join(filter(None, [row["benchmark"], row.get("system")]))
    path = row_path(folder, name)
    # Items first: a row must never stand beside the items of another run for long.
    write_atomically(items_path(folder, name), lambda file: items.to_parquet(file, index=False))
    text = json.dumps(_finite(row), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))
    return path


def read_row(path: str | Path) -> dict:
    """Read a row.

    Raises:
        ValueError: if the file is no JSON object with the keys of a row.
    """
    try:
        row = json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON ({error}); write it again with a benchmark of `eval`.") from None
    missing = [key for key in REQUIRED_KEYS if key not in row] if isinstance(row, dict) else list(REQUIRED_KEYS)
    if missing:
        raise ValueError(
            f"{path} lacks {', '.join(missing)}, so it is no result row; write it with a benchmark of `eval`."
        )
    return row


def find_rows(folders: Iterable[str | Path]) -> list[Path]:
    """Return the row files of run folders, checkpoint folders or result folders, sorted by path."""
    paths = set()
    for folder in map(Path, folders):
        paths.update(folder.glob("results/*.json") if (folder / "results").is_dir() else folder.glob("*.json"))
    return sorted(paths)


def _finite(value):
    if isinstance(value, dict):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write_atomically(path: Path, write) -> None:
    """Let `write` fill an open binary file, which replaces `path` only when it is complete and on the disk."""
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            write(file)
            file.flush()
            os.fsync(file.fileno())
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise
    path.chmod(0o644)  # a temporary file is private to its owner
