"""Analyse a listening test: means, differences, preferences, agreement, power, with and without the inattentive.

    python eval/listening_analysis.py results.sqlite --out report

The results are the SQLite file of `spaces/listening_test`, or its export. `--out` gets report.md, report.html and the
pictures; analysis.json holds every number.
"""

import sys
from pathlib import Path

if not __package__ and not sys.flags.safe_path:
    # Run as a script, this folder's `statistics` would hide the standard library's.
    del sys.path[0]

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass, replace

import numpy as np
import pandas as pd

from antiphon.eval.listening_power import detectable_difference, listeners_needed, measure_components, plan_of
from antiphon.eval.listening_report import ALL, ATTENTIVE, write_report
from antiphon.eval.listening_results import (
    ListeningResults,
    ResultsError,
    failed_checks,
    inattentive_listeners,
    read_results,
    scores,
)
from antiphon.eval.listening_statistics import (
    agreement,
    chance_comparisons,
    condition_means,
    describe_listeners,
    paired_comparisons,
)
from antiphon.eval.report_html import render_html
from antiphon.eval.report_markdown import render_markdown
from antiphon.eval.result_rows import write_atomically

SIZES = ((20, 30), (40, 30), (20, 60), (100, 30))  # listeners and items of tests that one may plan
WANTED = {True: (0.1, 0.2, 0.5), False: (0.05, 0.1, 0.2)}  # differences of ratings; of shares from one half


def analyse(results: ListeningResults, *, max_failed_checks: int | None = None, seed: int = 0) -> dict:
    """Compute everything that a report tells.

    Args:
        max_failed_checks: who fails more is left out of the second part; as the test defines if None.
        seed: of the resampling.

    Raises:
        ResultsError: fewer than two listeners or items, or nobody but inattentive listeners.
    """
    definition, table = results.definition, scores(results)
    if min(table["listener"].nunique(), table["item"].nunique()) < 2:
        raise ResultsError("`results` have fewer than two listeners or items; nothing then tells how they differ.")
    excluded = inattentive_listeners(results, max_failed_checks)
    parts = {ALL: table}
    if excluded:
        parts[ATTENTIVE] = scores(results.without(excluded))
        if parts[ATTENTIVE]["listener"].nunique() < 2:
            raise ResultsError("`results` have fewer than two listeners who passed; raise --max-failed-checks.")
    failed = failed_checks(results)
    num_pages = definition["pages_per_listener"] + definition["num_attention_checks"]
    listeners = describe_listeners(table).assign(failed_checks=failed).to_dict(orient="index")
    possible_range = _possible_range(results)
    return {
        **{name: definition[name] for name in ("kind", "title", "question", "sha256")},
        "is_rated": results.is_rated,
        "possible_range": possible_range,
        "parts": {name: _part(own, results.is_rated, possible_range, seed) for name, own in parts.items()},
        "excluded": excluded,
        "max_failed_checks": definition["max_failed_checks"] if max_failed_checks is None else max_failed_checks,
        "num_checks": definition["num_attention_checks"],
        "num_started": results.num_started,
        "num_answering": results.ratings["listener_id"].nunique(),
        "num_finished": int((results.ratings["listener_id"].value_counts() == num_pages).sum()),
        "power": _power(parts.get(ATTENTIVE, table), results.is_rated),
        "listeners": {
            name: entry | {"failed_checks": int(entry["failed_checks"])} for name, entry in listeners.items()
        },
    }


def _possible_range(results: ListeningResults) -> tuple[float, float]:
    if not results.is_rated:
        return 0.0, 1.0
    ratings = [float(answer) for answer in results.definition["answers"]]
    return min(ratings), max(ratings)


def _part(table: pd.DataFrame, is_rated: bool, possible_range: tuple[float, float], seed: int) -> dict:
    """The results of some listeners."""
    means = table.groupby(["condition", "listener"])["score"].mean()
    measured = {"means": condition_means(table, possible_range, seed=seed)} if is_rated else {}
    return {
        "num_answers": len(table),
        "num_listeners": table["listener"].nunique(),
        "num_items": table["item"].nunique(),
        "answers_of": table["condition"].value_counts().to_dict(),
        **measured,
        "comparisons": (paired_comparisons if is_rated else chance_comparisons)(table, seed=seed),
        "agreement": agreement(table, seed=seed),
        "listener_means": {name: means[name].to_dict() for name in sorted(set(table["condition"]))},
    }


def _power(table: pd.DataFrame, is_rated: bool) -> dict:
    components, plan = measure_components(table), plan_of(table)
    sizes = [(plan.num_listeners, plan.num_items), *SIZES]
    return {
        "components": components,
        "answers_each": plan.answers_each,
        "grid": [
            {
                "listeners": num_listeners,
                "items": num_items,
                "detectable": detectable_difference(
                    components, replace(plan, num_listeners=num_listeners, num_items=num_items), compared=is_rated
                ),
            }
            for num_listeners, num_items in sizes
        ],
        "needed": {
            wanted: listeners_needed(components, plan, wanted, compared=is_rated) for wanted in WANTED[is_rated]
        },
    }


def write_analysis(analysis: Mapping, folder: Path) -> None:
    """Write report.md with its pictures, report.html and analysis.json into a folder."""
    report = write_report(analysis)
    markdown, files = render_markdown(report)
    texts = {
        "report.md": markdown,
        "report.html": render_html(report),
        "analysis.json": json.dumps(_plain(analysis), indent=2, ensure_ascii=False, allow_nan=False) + "\n",
    }
    for name, content in {**files, **{name: text.encode() for name, text in texts.items()}}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda file, content=content: file.write(content))


def _plain(value):
    """For JSON, where numbers that are not finite become null."""
    if is_dataclass(value):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def main(arguments: Sequence[str] | None = None) -> None:
    """Analyse the results named on the command line; exits with a sentence where that cannot be done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="SQLite file of a test, or the folder of its export")
    parser.add_argument("--max-failed-checks", type=int, help="instead of the number that the test defines")
    parser.add_argument("--out", type=Path, help="folder for the report")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    try:
        results = read_results(options.results)
        analysis = analyse(results, max_failed_checks=options.max_failed_checks, seed=options.seed)
    except ResultsError as error:
        raise SystemExit(str(error)) from None
    print(render_markdown(write_report(analysis))[0])
    if options.out:
        write_analysis(analysis, options.out)


if __name__ == "__main__":
    main()
