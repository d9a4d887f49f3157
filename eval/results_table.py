"""Write the tables of measured results into a README, from result rows and nothing else.

    python eval/results_table.py README.md model_cards/*          rewrite what stands between the markers
    python eval/results_table.py README.md model_cards/* --check  fail if that would change the file

The markers are `<!-- results:begin -->` and `<!-- results:end -->`. Each set of conditions gets a table of its own;
with `--mix-conditions` each benchmark has one table, and footnotes say what differs.
"""

import sys
from pathlib import Path

if not __package__ and not sys.flags.safe_path:
    # Run as a script, this folder's `statistics` would hide the standard library's.
    del sys.path[0]

import argparse
from collections.abc import Mapping, Sequence

from antiphon.eval.baselines import NO_INPUT, strongest_baseline
from antiphon.eval.conditions import condition_differences
from antiphon.eval.result_formats import (
    correlation_lines,
    format_difference,
    format_interval,
    format_number,
    markdown_table,
)
from antiphon.eval.result_rows import find_rows, read_row
from antiphon.eval.statistics import MIN_GROUPS_FOR_POPULATION

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
# Shown for every group where there are too few groups for a claim about more.
GROUP_METRICS = ("wer", "accuracy", "r2", "ranking_accuracy")


def results_table(rows: Mapping[str, dict], *, mix_conditions: bool = False) -> str:
    """Put rows into one table: each model's metrics, then what its baselines achieve.

    Args:
        rows: result rows by the name of their model; the first sets the conditions.
        mix_conditions: admit rows under other conditions, each with a footnote that names the differences.

    Raises:
        ValueError: if conditions differ and are not to be mixed.
    """
    reference = next(iter(rows.values()))
    metrics = {name: entry for row in rows.values() for name, entry in row["metrics"].items()}
    primary = reference.get("primary_metric") or next(iter(metrics))
    headings = [f"{name} {'↑' if entry['higher_is_better'] else '↓'}" for name, entry in metrics.items()]
    lines, notes = [], []
    for model, row in rows.items():
        label = model
        if different := condition_differences(reference, row):
            if not mix_conditions:
                raise ValueError(
                    f"`rows` has {model!r} under other conditions than the first row: {_in_words(different)}; "
                    "put it in a table of its own or mix conditions openly (--mix-conditions)."
                )
            notes.append(f"under other conditions than the first row: {_in_words(different)}")
            label += f" [{len(notes)}]"
        strongest = row["baselines"].get(strongest_baseline(row, NO_INPUT), {})
        difference = strongest.get("difference", {}).get(primary)
        measured = [format_interval(row["metrics"].get(name)) for name in metrics]
        factor = (row.get("speed") or {}).get("real_time_factor")
        lines.append([label, *measured, format_difference(difference, metrics[primary]["unit"]), format_number(factor)])
    lines += _baseline_lines(rows, list(metrics))
    kinds = {entry.get("kind", NO_INPUT) for row in rows.values() for entry in row["baselines"].values()}
    rival = "best baseline" if kinds <= {NO_INPUT} else "best no-input baseline"
    table = markdown_table(["model", *headings, f"{primary} minus {rival}", "real-time factor"], lines)
    return "\n\n".join([table, *(f"[{number}] {note}" for number, note in enumerate(notes, start=1))])


def _in_words(differences: Mapping[str, tuple]) -> str:
    return "; ".join(f"{name} is {other} instead of {first}" for name, (first, other) in differences.items())


def groups_table(rows: Mapping[str, dict], metric: str, key: str = "groups", noun: str = "group") -> str:
    """Show one metric for every group (speaker) of the rows, one column per group, and the mean over groups.

    Args:
        rows: by the name of their model.
        metric: one that each group has.
        key: where a row lists its groups.
        noun: what a group is.
    """
    unit = next(iter(rows.values()))["metrics"][metric]["unit"]
    groups = sorted({group for row in rows.values() for group in row[key]})
    lines = []
    for model, row in rows.items():
        values = [row[key].get(group, {}).get(metric) for group in groups]
        known = [value for value in values if value is not None]
        mean = sum(known) / len(known) if known else None
        lines.append([model, *(format_number(value, unit) for value in [*values, mean])])
    return markdown_table([f"{metric} per {noun}", *groups, f"mean of {noun}s"], lines)


def listed_groups(row: Mapping) -> dict[str, str]:
    """Return the parts of a row that list groups one by one, and what their groups are called."""
    return {"groups": "work", "players": "player"} if "players" in row else {"groups": "group"}


def results_section(paths: Sequence[Path], *, mix_conditions: bool = False) -> str:
    """Return all tables for some row files, with their conditions and claims in words.

    Args:
        paths: of the rows.
        mix_conditions: one table per benchmark instead of one per benchmark and set of conditions.
    """
    tables: list[dict[str, dict]] = []
    for path in paths:
        row = read_row(path)
        rows = next((rows for rows in tables if _belongs(row, rows, mix_conditions)), None)
        if rows is None:
            tables.append(rows := {})
        folder = path.resolve().parent
        model = row.get("system") or (folder.parent.name if folder.name == "results" else folder.name)
        if model == "baseline":  # as studies call their reference; the table has baselines of another sort
            model = "baseline (study)"
        if model in rows:
            raise ValueError(f"{path} is the second row of {model!r} for {row['benchmark']!r}; keep one of them.")
        rows[model] = row
    # Stable: tables of one benchmark stay in the order of their first rows.
    tables.sort(key=lambda rows: next(iter(rows.values()))["benchmark"])
    return "\n\n".join(_section(rows, mix_conditions) for rows in tables) if tables else "No results yet."


def _belongs(row: dict, rows: Mapping[str, dict], mix_conditions: bool) -> bool:
    first = next(iter(rows.values()))
    return row["benchmark"] == first["benchmark"] and (mix_conditions or not condition_differences(first, row))


def update_readme(readme: Path, section: str, *, check: bool = False) -> bool:
    """Put a section between the markers of a README.

    Args:
        check: leave the file alone.

    Returns:
        Whether the file was out of date.

    Raises:
        ValueError: if the markers are missing or in the wrong order.
    """
    text = readme.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(
            f"{readme} must hold {BEGIN} once and, after it, {END} once; add them where the tables belong."
        )
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    updated = f"{before}{BEGIN}\n{section}\n{END}{after}"
    if updated != text and not check:
        readme.write_text(updated, encoding="utf-8")
    return updated != text


def _baseline_lines(rows: Mapping[str, dict], metrics: Sequence[str]) -> list[list[str]]:
    """One line for each different baseline: models trained on other texts have other best constants."""
    lines = {}
    for row in rows.values():
        for baseline in row["baselines"].values():
            label = f"baseline: {baseline['description']}"
            lines[label] = [label, *(format_interval(baseline["metrics"].get(metric)) for metric in metrics), "", ""]
    return list(lines.values())


def _section(rows: Mapping[str, dict], mix_conditions: bool) -> str:
    first = next(iter(rows.values()))
    dataset, conditions = first["dataset"], first["conditions"]
    group = str(conditions.get("group_by", "group")).removesuffix("_id")
    if crossed := conditions.get("crossed_with"):
        group += f" and each {crossed}"
    retrained = any(len(row.get("seeds") or []) > 1 for row in rows.values())
    details = [
        f"`{dataset['name']}`, split {dataset['split']}, {dataset['num_items']} items",
        f"95 % intervals resample each {group} as a whole{' and are widened for training anew' if retrained else ''}",
        *(f"{key.replace('_', ' ')} {conditions[key]}" for key in ("decoding", "sampling_rate") if key in conditions),
    ]
    parts = [f"### {first['benchmark']}", "; ".join(details) + ".", results_table(rows, mix_conditions=mix_conditions)]
    if all("correlations" in row for row in rows.values()):
        parts.append(markdown_table(*correlation_lines(rows)))
    for key, noun in listed_groups(first).items():
        if any(0 < len(row.get(key) or {}) < MIN_GROUPS_FOR_POPULATION for row in rows.values()):
            parts += [groups_table(rows, metric, key, noun) for metric in first["metrics"] if metric in GROUP_METRICS]
    claims = [f"- {model}: {claim}" for model, row in rows.items() for claim in row["claims"]]
    return "\n\n".join([*parts, *(["\n".join(claims)] if claims else [])])


def main(arguments: Sequence[str] | None = None) -> None:
    """Update or check a README."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("readme", type=Path)
    parser.add_argument("folders", type=Path, nargs="*", help="run or checkpoint folders with results/*.json")
    parser.add_argument("--check", action="store_true", help="fail if the README is out of date, change nothing")
    parser.add_argument("--mix-conditions", action="store_true", help="one table per benchmark, with footnotes")
    options = parser.parse_args(arguments)
    section = results_section(find_rows(options.folders), mix_conditions=options.mix_conditions)
    stale = update_readme(options.readme, section, check=options.check)
    if stale and options.check:
        raise SystemExit(f"{options.readme} is out of date; run the same command without --check and commit the file.")
    print(f"{options.readme} {'updated' if stale else 'is up to date'}")


if __name__ == "__main__":
    main()
