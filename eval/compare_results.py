"""Compare recognisers measured on the same items: paired differences to the first, corrected for their number.

python eval/compare_results.py results/plain.json results/augmented.json results/synthetic_voices.json
"""

import sys
from pathlib import Path

if not __package__ and not sys.flags.safe_path:
    # Run as a script, this folder's `statistics` would hide the standard library's.
    del sys.path[0]

import argparse
from collections.abc import Sequence

import pandas as pd

from antiphon.eval import statistics
from antiphon.eval.result_formats import format_interval, format_number, markdown_table
from antiphon.eval.result_rows import items_path, read_row


def compare_results(paths: Sequence[Path], *, seed: int = 0) -> list[dict]:
    """Compare the WER of each system with that of the first.

    Args:
        paths: row files, each with its item table beside it; the first is the reference.
        seed: of the bootstrap and the permutation test.

    Returns:
        For each system after the first: `value`, `low`, `high` of its WER minus the reference's, `p_value`,
        `smallest_p_value`, and `holm_p_value`, corrected for the number of systems.

    Raises:
        ValueError: if the systems were not measured on the same items with the same references.
    """
    tables = [
        pd.read_parquet(items_path(path.parent, path.stem)).sort_values("item_id", ignore_index=True) for path in paths
    ]
    reference, group_by = tables[0], read_row(paths[0])["conditions"]["group_by"]
    comparisons = []
    for path, table in zip(paths[1:], tables[1:]):
        if not table[["item_id", "reference"]].equals(reference[["item_id", "reference"]]):
            raise ValueError(f"{path} was measured on other items or references than {paths[0]}; measure both alike.")
        interval = statistics.bootstrap_difference(
            table["errors"], reference["errors"], table[group_by], table["words"], seed=seed
        )
        test = statistics.paired_permutation_test(table["errors"], reference["errors"], table[group_by], seed=seed)
        comparisons.append(
            {
                "value": interval.value,
                "low": interval.low,
                "high": interval.high,
                "p_value": test.p_value,
                "smallest_p_value": test.smallest_p_value,
            }
        )
    corrected = statistics.holm_correction([comparison["p_value"] for comparison in comparisons])
    return [comparison | {"holm_p_value": float(p_value)} for comparison, p_value in zip(comparisons, corrected)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the comparison as a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "rows", type=Path, nargs="+", help="result rows; the first is what the others are compared with"
    )
    options = parser.parse_args(arguments)
    lines = [
        [
            str(path),
            format_interval(comparison | {"unit": "ratio"}).replace("%", "points"),
            *(format_number(comparison[key]) for key in ("p_value", "holm_p_value", "smallest_p_value")),
        ]
        for path, comparison in zip(options.rows[1:], compare_results(options.rows))
    ]
    headings = [f"WER minus {options.rows[0]}", "difference", "p", "p (Holm)", "smallest attainable p"]
    print(markdown_table(headings, lines))


if __name__ == "__main__":
    main()
