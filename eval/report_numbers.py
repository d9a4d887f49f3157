"""The numbers that prose may quote, each under one key, and the prose with its keys replaced.

A key is the place where a number stands, `file.path.within.it`:

    results.<row file>.metrics.wer.value             a number of a result row
    results.<row file>.metrics.wer                   the same with its interval
    comparisons.<benchmark>.<system>_minus_<reference>.<metric>.value      also .low, .high, .verdict, .sentence, ...
    comparisons.<benchmark>.<system>_minus_<reference>.<metric>            the difference with its interval and p (Holm)
    runs.<run>.train_seconds                         training time of a run

Prose quotes it as `{{ key }}` or `{{ key | format }}`, where format is one of `FORMATS`; without one, the unit decides.
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from antiphon.eval.report_source import ReportError, ReportSource
from antiphon.eval.result_formats import format_difference, format_interval, format_number

FORMATS = {
    "percent": lambda value: f"{100 * value:.2f} %",
    "points": lambda value: f"{100 * value:.2f} points",
    "integer": lambda value: f"{value:,.0f}",
    "number": lambda value: f"{value:.4g}",
}
PLACEHOLDER = re.compile(r"\{\{\s*(?P<key>[^{}|]+?)\s*(?:\|\s*(?P<format>[^{}|]+?)\s*)?\}\}")
SHOWN_NEAREST = 3
# A number at most so many characters away from the name of a metric is taken for a result.
TYPED_DISTANCE = 40


@dataclass(frozen=True)
class Number:
    """Something to quote: how it is written, and its value, None for what is text already."""

    text: str
    value: float | None = None


def collect_numbers(source: ReportSource) -> dict[str, Number]:
    """Every number of the result rows, the comparisons and the runs, by key."""
    numbers: dict[str, Number] = {}
    for name, row in source.rows.items():
        units = {metric: entry.get("unit") for metric, entry in row["metrics"].items()}
        _collect(numbers, f"results.{name}", row, units, None)
    for comparison in source.comparisons:
        _collect_comparison(numbers, comparison)
    for run in source.runs:
        _add(numbers, f"runs.{run.name}.train_seconds", run.train_seconds, "s")
    return numbers


def _collect_comparison(numbers: dict[str, Number], comparison: Mapping) -> None:
    systems = f"{comparison['system']}_minus_{comparison['reference']}"
    key = f"comparisons.{comparison['benchmark']}.{systems}.{comparison['metric']}"
    unit = comparison.get("unit")
    units = dict.fromkeys(("value", "low", "high", "groups"), _of_difference(unit))
    units |= {"reference_value": unit, "relative_change": "ratio", "confidence": "ratio"}
    corrected = {**comparison, "p_value": comparison.get("holm_p_value", comparison.get("p_value"))}
    numbers[key] = Number(format_difference(corrected, unit))
    for name, value in comparison.items():
        if name in ("verdict", "sentence"):
            numbers[f"{key}.{name}"] = Number(value)
        elif name != "effect_size":
            _collect(numbers, f"{key}.{name}", value, {}, units.get(name))
    _add(numbers, f"{key}.effect_size", (comparison.get("effect_size") or {}).get("value"), None)


def _collect(numbers: dict[str, Number], key: str, value, units: Mapping[str, str], unit: str | None) -> None:
    """Walk down one file; `units` are those of the metrics, `unit` the one of the branch."""
    if isinstance(value, dict):
        is_result = "value" in value and value["value"] is not None
        if is_result:
            unit = value.get("unit", unit)
            is_difference = unit == "points"
            numbers[key] = Number(format_difference(value, "ratio") if is_difference else _interval(value, unit))
        for name, entry in value.items():
            own = unit if name in ("value", "low", "high") or not is_result else None
            if name in units:
                own = _of_difference(units[name]) if key.endswith(".difference") else units[name]
            _collect(numbers, f"{key}.{name}", entry, units, own)
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            _collect(numbers, f"{key}.{index}", entry, units, unit)
    else:
        _add(numbers, key, value, unit)


def _add(numbers: dict[str, Number], key: str, value, unit: str | None) -> None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        text = FORMATS["points"](value) if unit == "points" else _plain(value, unit)
        numbers[key] = Number(text, value)


def _plain(value: float, unit: str | None) -> str:
    return f"{value:,}" if isinstance(value, int) and unit is None else format_number(value, unit)


def _interval(result: dict, unit: str | None) -> str:
    return format_interval({"low": None, "high": None, **result, "unit": unit})


def _of_difference(unit: str | None) -> str | None:
    """The difference of two percentages is in points."""
    return "points" if unit == "ratio" else unit


def fill_numbers(text: str, numbers: Mapping[str, Number], where: str) -> str:
    """Replace every `{{ key }}` by its number.

    Args:
        text: prose.
        numbers: by key, see the module.
        where: the text's name, for error messages.

    Raises:
        ReportError: keys or formats that do not exist, all of them, each with the nearest that do.
    """
    problems = []

    def replace(match: re.Match) -> str:
        key, name = match["key"], match["format"]
        if key not in numbers:
            problems.append(f"no number {key!r}{_nearest(key, numbers)}")
        elif name is not None and name not in FORMATS:
            problems.append(f"no format {name!r} (in {match[0]}); there are {', '.join(FORMATS)}")
        elif name is not None and numbers[key].value is None:
            problems.append(f"{key!r} is text already; leave `| {name}` out, or add `.value`")
        else:
            return FORMATS[name](numbers[key].value) if name else numbers[key].text
        return match[0]

    filled = PLACEHOLDER.sub(replace, text)
    if problems:
        raise ReportError(f"{where}: " + "; ".join(problems) + ". `--keys` lists every key with its number.")
    return filled


def _nearest(key: str, numbers: Mapping[str, Number]) -> str:
    nearest = difflib.get_close_matches(key, numbers, n=SHOWN_NEAREST, cutoff=0.3)
    return f"; the nearest are {', '.join(nearest)}" if nearest else "; there are none to quote"


def typed_numbers(text: str, metrics: set[str]) -> list[str]:
    """Find numbers that were typed next to the name of a metric, where no re-run would update them.

    Args:
        text: prose, its placeholders not yet filled.
        metrics: names of the metrics.

    Returns:
        The phrases, each from the metric's name to the number or the other way round.
    """
    # A placeholder, a fenced or inline code span and a link's target hold no typed results.
    text = re.sub(r"\{\{.*?\}\}|```.*?```|`[^`]*`|\]\([^)]*\)", "…", text, flags=re.DOTALL)
    names = [re.escape(metric).replace("_", "[ _]") for metric in sorted(metrics, key=len, reverse=True)]
    metric, number = rf"\b(?:{'|'.join([*names, 'error rates?'])})\b", r"(?<![\w.-])\d+(?:[.,]\d+)*(?![\w-])(?: ?%)?"
    # A sentence ends at a full stop before a blank, so 12.5 is one number.
    between = rf"(?:(?![.!?]\s|\n\n).){{0,{TYPED_DISTANCE}}}?"
    pattern = re.compile(f"{metric}{between}{number}|{number}{between}{metric}", re.IGNORECASE | re.DOTALL)
    return [" ".join(match[0].split()) for match in pattern.finditer(text)]
