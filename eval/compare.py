"""Compare systems measured on the same items: differences to the first with intervals, tests and plain verdicts.

    python eval/compare.py runs/plain runs/augmented runs/larger --group-by speaker_id --out comparison
    python eval/compare.py studies/an4/results:plain studies/an4/results:augmented --metric cer

A RUN is a row file, a run folder with `results/`, or FOLDER:system for one of the pooled rows of a study. It prints a
Markdown table; `--out` also writes comparisons.json, comparison.md, comparison.svg and comparison.png.
"""

import sys
from pathlib import Path

if not __package__ and not sys.flags.safe_path:
    # Run as a script, this folder's `statistics` would hide the standard library's.
    del sys.path[0]

import argparse
import json
from collections.abc import Sequence

from antiphon.eval.comparison import compare_systems, comparison_table, load_system
from antiphon.eval.comparison_figure import draw_comparisons
from antiphon.eval.result_rows import write_atomically


def write_comparisons(comparisons: Sequence[dict], folder: Path) -> None:
    """Write comparisons as JSON, Markdown and figure into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "comparisons.json": json.dumps(comparisons, indent=2, ensure_ascii=False, allow_nan=False),
        "comparison.md": comparison_table(comparisons),
    }
    for name, text in texts.items():
        write_atomically(folder / name, lambda file, text=text: file.write(f"{text}\n".encode()))
    draw_comparisons(comparisons, folder / "comparison")


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare the systems named on the command line; exits with a sentence where they cannot be compared."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="the first is what the others are compared with")
    parser.add_argument("--benchmark", help="name, where a folder holds several")
    parser.add_argument("--metric", help="the one that decides in the first row if left out")
    parser.add_argument(
        "--group-by", nargs="+", metavar="COLUMN", help="one or two item columns; the row's grouping if left out"
    )
    parser.add_argument(
        "--margin",
        type=float,
        help="largest difference that counts as none, in the metric's unit: 0.005 of a rate; if left out, a tenth of "
        "the first run's value, or of the errors left where more is better, and only where the interval holds 0",
    )
    parser.add_argument("--mix-conditions", action="store_true", help="compare although conditions differ, and say so")
    parser.add_argument("--out", type=Path, help="folder for JSON, Markdown and figure")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    try:
        comparisons = compare_systems(
            [load_system(run, options.benchmark) for run in options.runs],
            metric=options.metric,
            group_by=options.group_by,
            margin=options.margin,
            mix_conditions=options.mix_conditions,
            seed=options.seed,
        )
    except ValueError as error:
        raise SystemExit(str(error)) from None
    print(comparison_table(comparisons))
    if options.out:
        write_comparisons(comparisons, options.out)


if __name__ == "__main__":
    main()
