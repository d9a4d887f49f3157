"""What a report adds where performances were assessed: every percept, correlations, and the errors of an item."""

from collections.abc import Mapping

import pandas as pd

from antiphon.eval.report_blocks import Details, Table
from antiphon.eval.result_formats import correlation_lines, format_interval, format_number

SHARES = ("ranking_accuracy", "within_deviation", "coverage")
SHOWN_PERCEPTS = 5  # of an item, those that are furthest off


def percept_blocks(rows: Mapping[str, dict]) -> list:
    """Correlations of systems and baselines, and a folded table of every percept for each system; else nothing."""
    measured = {name: row for name, row in rows.items() if row.get("percepts")}
    if not measured:
        return []
    headings, lines = correlation_lines(measured)
    blocks: list = [Table("Correlations, means over the percepts", headings, lines)]
    for system, row in measured.items():
        names = list(next(iter(row["percepts"].values())))
        lines = [
            [percept.replace("_", " "), *(_figure(name, entry.get(name)) for name in names)]
            for percept, entry in row["percepts"].items()
        ]
        headings = ["percept", *(name.replace("_", " ") for name in names)]
        blocks.append(Details(f"Each percept, {system}", [Table(f"Each percept, {system}", headings, lines)]))
    return blocks


def _figure(name: str, entry: Mapping | None) -> str:
    if entry is None or entry["value"] is None:
        return "–"
    return format_interval({**entry, "unit": "ratio" if name in SHARES else None})


def percept_errors(answers: pd.DataFrame) -> list[Table]:
    """The percepts of one item that are furthest off, averaged over trainings; nothing where no percepts are judged.

    Args:
        answers: lines of the item, one for each training.
    """
    percepts = [column.removeprefix("label.") for column in answers if column.startswith("label.")]
    if not percepts:
        return []
    means = {name: answers[[f"{name}.{percept}" for percept in percepts]].mean() for name in ("label", "prediction")}
    table = pd.DataFrame({name: values.to_numpy() for name, values in means.items()}, index=percepts)
    table["error"] = table["prediction"] - table["label"]
    worst = table.sort_values("error", key=lambda errors: -errors.abs()).head(SHOWN_PERCEPTS)
    lines = [
        [percept.replace("_", " "), *(format_number(float(value)) for value in row)]
        for percept, row in worst.iterrows()
    ]
    return [Table(f"The {len(lines)} percepts furthest off", ["percept", "rating", "predicted", "error"], lines)]
