"""Define a benchmark on a leaderboard from a row that you trust: what everyone after it is held against.

    python eval/define_benchmark.py runs/fsdd/results/fsdd_official.json --to OWNER/DATASET
    python eval/define_benchmark.py runs/fsdd/results/fsdd_official.json --to ./leaderboard

Writes the benchmark into `eval.yaml`, which makes the repository a benchmark dataset of the Hub, and its item tables
into the dataset card, so that `load_dataset` and the Hub's viewer find them.
"""

import sys
from pathlib import Path

if not __package__ and not sys.flags.safe_path:
    # Run as a script, this folder's `statistics` would hide the standard library's.
    del sys.path[0]

import argparse
from collections.abc import Sequence

from huggingface_hub import DatasetCard

from antiphon.eval.benchmark_definition import EVAL_YAML, add_definition, define_benchmark, read_definition
from antiphon.eval.hub_errors import HubError
from antiphon.eval.leaderboard_places import open_place
from antiphon.eval.submission import SubmissionError, check_measurement, read_submission

CARD = "README.md"
NEW_CARD = """---
pretty_name: {title}
tags:
- leaderboard
- benchmark
---

# {title}

A leaderboard of result rows. `rows/<benchmark>/<name>.json` holds a system's metrics with 95 % intervals, its
baselines, claims and conditions; `<name>_items.parquet` beside it the prediction for every item. From these transcripts
metrics, intervals, baselines' scores and groups were computed anew before the row was taken; speed, size, hardware and
audit are the submitter's word. `<name>.md` is the system's card. `eval.yaml` defines the benchmarks.
"""


def define(row_path: Path, to: str, replace: bool = False) -> str:
    """Write the benchmark of a row into a leaderboard.

    Args:
        row_path: the row, its items beside it.
        to: "OWNER/DATASET" on the Hub, made if it does not exist, or a folder.
        replace: whether another definition of the same benchmark may be replaced.

    Returns:
        Where it was written.

    Raises:
        SubmissionError: a row that its items do not yield.
        ValueError: the benchmark is already defined otherwise.
        HubError: the Hub failed.
    """
    row, items = read_submission(row_path)
    check_measurement(str(row_path), row, items)
    benchmark, definition = row["benchmark"], define_benchmark(row, items)
    place = open_place(to, create=True)
    text, card = ((content and content.decode()) for content in (place.read(EVAL_YAML), place.read(CARD)))
    present = read_definition(text, benchmark) if text else None
    if present not in (None, definition) and not replace:
        raise ValueError(
            f"{to} already defines {benchmark!r} otherwise, and rows were measured on that; choose another name for "
            "the benchmark, or pass --replace and remove those rows."
        )
    title = Path(to).resolve().name
    files = {
        CARD: add_to_card(card or NEW_CARD.format(title=title), benchmark),
        EVAL_YAML: add_definition(text, title, benchmark, definition),
    }
    return place.write({path: text.encode() for path, text in files.items()}, f"Define {benchmark}")


def add_to_card(card: str, benchmark: str) -> str:
    """Return a dataset card with a benchmark's item tables as a configuration of the dataset."""
    content = DatasetCard(card, ignore_metadata_errors=True)
    others = [config for config in content.data.get("configs") or [] if config["config_name"] != benchmark]
    own = {
        "config_name": benchmark,
        "data_files": [{"split": "test", "path": f"rows/{benchmark}/*_items.parquet"}],
    }
    content.data.configs = [*others, own]
    return str(content)


def main(arguments: Sequence[str] | None = None) -> int:
    """Define the benchmark of the row named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row", type=Path, help="result row that you trust, its item table beside it")
    parser.add_argument("--to", required=True, help="OWNER/DATASET on the Hub, or a folder such as ./NAME")
    parser.add_argument("--replace", action="store_true", help="replace another definition of the same benchmark")
    options = parser.parse_args(arguments)
    try:
        place = define(options.row, options.to, options.replace)
    except (SubmissionError, HubError, ValueError) as error:
        print(f"define_benchmark: error: {error}", file=sys.stderr)
        return 1
    print(f"defined the benchmark of {options.row} in {place}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
