"""Small leaderboards and the runs that are submitted to them."""

import json
from pathlib import Path

import pandas as pd
from measured_rows import measure

from antiphon.eval.define_benchmark import define
from antiphon.eval.result_rows import items_path
from antiphon.eval.submit import submit

SPEAKERS = [f"speaker{number:02d}" for number in range(12)]
CARD = """---
license: apache-2.0
---
# The card of {name}

What it is for.
"""


def write_run(folder: Path, errors: int | list[int] = 0, benchmark: str = "digits", **options) -> Path:
    """Write a run folder with a card and one result row, and return the row's path.

    Args:
        folder: of the run; its name is that of the system.
        errors: how many of the four words each speaker's recogniser mistakes, one number or one for each speaker.
        benchmark: name of the benchmark.
        options: of `measured_rows.measure`, such as conditions; `speakers` are 12 unless given.
    """
    speakers = options.pop("speakers", SPEAKERS)
    errors = [errors] * len(speakers) if isinstance(errors, int) else errors
    path = measure(folder / "results", benchmark, dict(zip(speakers, errors)), speakers, **options)
    (folder / "README.md").write_text(CARD.format(name=folder.name), encoding="utf-8")
    return path


def write_board(folder: Path, runs: dict[str, Path]) -> Path:
    """Define the benchmarks of some rows in a folder, submit each row, and return the folder.

    Args:
        folder: of the leaderboard.
        runs: paths of rows by the name to submit them under; the first row of a benchmark defines it.
    """
    defined = set()
    for name, path in runs.items():
        if path.stem not in defined:
            define(path, str(folder))
            defined.add(path.stem)
        submit(path, str(folder), name=name)
    return folder


def edit_row(path: Path, change) -> None:
    """Let `change` alter the content of a row in place."""
    row = json.loads(path.read_text(encoding="utf-8"))
    change(row)
    path.write_text(json.dumps(row), encoding="utf-8")


def edit_items(path: Path, change) -> None:
    """Replace the item table of a row by what `change` makes of it."""
    file = items_path(path.parent, path.stem)
    change(pd.read_parquet(file)).to_parquet(file, index=False)
