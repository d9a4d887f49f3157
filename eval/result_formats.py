"""How the numbers of a result row are written for people: in the README, in model cards, in Spaces."""

import math
from collections.abc import Iterable, Mapping, Sequence


def format_number(value: float | None, unit: str | None = None) -> str:
    """A number with its unit; a ratio becomes a percentage, an unknown number a dash."""
    if value is None:
        return "–"
    if unit == "ratio":
        return f"{100 * value:.2f} %"
    return f"{value:.4g} {unit or ''}".strip()


def format_interval(result: dict | None) -> str:
    """A metric of a result row, its confidence interval in parentheses where it has one."""
    if result is None:
        return "–"
    unit = result.get("unit")
    value = format_number(result["value"], unit)
    if any(result.get(end) is None or math.isnan(result[end]) for end in ("low", "high")):
        return value
    low, high = (format_number(result[end], unit).split(" ")[0] for end in ("low", "high"))
    return f"{value} ({low} to {high})"


def format_counted(result: dict | None) -> str:
    """A metric as `format_interval` writes it, with the number of items that it is measured on."""
    return format_interval(result) if result is None else f"{format_interval(result)}, n {result['n']}"


def format_difference(difference: dict | None, unit: str | None) -> str:
    """A paired difference with its p-value; that of two percentages is in points."""
    if difference is None:
        return "–"
    cell = format_interval({**difference, "unit": unit}).replace("%", "points")
    if (p_value := difference.get("p_value")) is not None:
        cell += ", p < 0.0001" if p_value < 1e-4 else f", p = {p_value:.4f}"
    return cell


def markdown_table(headings: Sequence[str], lines: Iterable[Iterable[str]]) -> str:
    """A Markdown table; a cell may hold any text on one line."""
    rows = [headings, ["---"] * len(headings), *lines]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows)


def correlation_lines(rows: Mapping[str, dict]) -> tuple[list[str], list[list[str]]]:
    """Headings and lines of a table of the correlations of systems, and of each different baseline.

    Args:
        rows: with `correlations`, by the name of their model.
    """
    names = list(next(iter(rows.values()))["correlations"])
    entries = dict(rows)
    for row in rows.values():
        entries |= {f"baseline: {entry['description']}": entry for entry in row["baselines"].values()}
    lines = [
        [label, *(format_interval(entry["correlations"][name]) for name in names)] for label, entry in entries.items()
    ]
    return ["model", *(f"{name.replace('_', ' ')} ↑" for name in names)], lines
