"""Lists that code makes from corpora and that are stored beside it, so that no other copy of a corpus changes them."""

from pathlib import Path

import pandas as pd

_FOLDER = Path(__file__).with_name("split_lists")
STORED_VOICES = _FOLDER / "voices.csv"
STORED_TRIALS = _FOLDER / "speaker_trials.csv"
STORED_PAIRS = _FOLDER / "conversion_pairs.csv"


def write_list(path: Path, table: pd.DataFrame) -> None:
    """Store a list."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(_as_csv(table), encoding="utf-8")
    print(f"{path} has {len(table)} rows.")


def check_list(path: Path, table: pd.DataFrame) -> None:
    """End the program if the stored list is not this one."""
    if _as_csv(table) != path.read_text(encoding="utf-8"):
        raise SystemExit(f"{path} is not what the corpus gives; write it with --write and measure again.")
    print(f"{path} is what the corpus gives.")


def _as_csv(table: pd.DataFrame) -> str:
    return table.to_csv(index=False, lineterminator="\n")
