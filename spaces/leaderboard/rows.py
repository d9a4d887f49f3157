"""Result rows as they come from anywhere: read within bounds, and refused with a reason where they are none."""

import json
import math
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

MAX_ROW_BYTES = 1_000_000
MAX_TEXT = 300  # characters of a name, a claim, a condition
MAX_ENTRIES = 1000  # groups, claims, comparisons of a row
NO_INPUT = "no_input"
# What a row must hold, and as what.
PARTS = {"benchmark": str, "dataset": dict, "metrics": dict, "baselines": dict, "conditions": dict, "claims": list}
OPTIONAL_PARTS = {
    "checkpoint_sha256": str, "groups": dict, "model": dict, "speed": dict, "seeds": list, "comparisons": list,
}  # fmt: skip


class RowError(ValueError):
    """No result row; the message says why."""


@dataclass(frozen=True)
class Entry:
    """A result row by the name of its system.

    Args:
        name: Of the system.
        path: Of the row's file.
        row: Its content, checked by `parse_row`.
    """

    name: str
    path: str
    row: dict

    @property
    def metric(self) -> str:
        """The metric that decides."""
        return self.row["primary_metric"]

    @property
    def result(self) -> dict:
        """Value, interval, unit and direction of the metric that decides."""
        return self.row["metrics"][self.metric]

    @cached_property
    def differences(self) -> dict[str, tuple[float, float]]:
        """Intervals of this system minus others by the metric that decides, by checkpoint of the other."""
        differences = {}
        for comparison in self.row.get("comparisons", []):
            reference, ends = (
                comparison.get("reference_checkpoint_sha256"),
                (comparison.get("low"), comparison.get("high")),
            )
            is_usable = isinstance(reference, str) and all(map(is_number, ends))
            if is_usable and comparison.get("metric") == self.metric:
                differences[reference] = ends
        return differences


def read_entry(path: str, data: bytes) -> Entry:
    """Reads the row in a file such as `rows/<benchmark>/<name>.json` or `<run>/results/<benchmark>.json`.

    Raises:
        RowError: The file is no result row.
    """
    row = parse_row(data)
    parts = PurePosixPath(path).parts
    if parts[0] == "rows":
        if row["benchmark"] != parts[1]:
            raise RowError(f"it lies in rows/{parts[1]} but was measured on {clip(row['benchmark'])!r}")
        name = PurePosixPath(path).stem
    else:
        folder = parts[-3] if len(parts) > 2 else PurePosixPath(path).stem
        name = row["system"] if isinstance(row.get("system"), str) else folder
    return Entry(clip(name, 80), path, row)


def parse_row(data: bytes) -> dict:
    """Reads a result row.

    Raises:
        RowError: It is too large, no JSON, or not in the form of a row.
    """
    if len(data) > MAX_ROW_BYTES:
        raise RowError(f"it has {len(data):,} bytes, at most {MAX_ROW_BYTES:,} are read")
    try:
        row = json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RowError(f"it is not JSON: {clip(error)}") from None
    if not isinstance(row, dict):
        raise RowError("it is no JSON object")
    for name, kind in (PARTS | {name: kind for name, kind in OPTIONAL_PARTS.items() if name in row}).items():
        if not isinstance(row.get(name), kind):
            raise RowError(f"its {name!r} is missing or no {kind.__name__}")
        if kind is not str and len(row[name]) > MAX_ENTRIES:
            raise RowError(f"its {name!r} has {len(row[name])} entries, at most {MAX_ENTRIES} are read")
    row.setdefault("primary_metric", next(iter(row["metrics"]), None))
    _check_metrics(row)
    _check_baselines(row)
    _check_details(row)
    return row


def clip(text: object, length: int = MAX_TEXT) -> str:
    """One line of at most `length` characters."""
    line = re.sub(r"[\s\x00-\x1f\x7f]+", " ", str(text)).strip()
    return line if len(line) <= length else f"{line[: length - 1]}…"


def is_number(value: object) -> bool:
    """Whether a value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _check_metrics(row: dict) -> None:
    if row["primary_metric"] not in row["metrics"]:
        raise RowError(f"its metric that decides, {clip(row['primary_metric'])!r}, was not measured")
    for name, metric in row["metrics"].items():
        _check_metric(f"metric {clip(name, 40)!r}", metric)
        if not isinstance(metric.get("higher_is_better"), bool):
            raise RowError(f"its metric {clip(name, 40)!r} does not say whether higher is better")


def _check_metric(what: str, metric: object) -> None:
    if not isinstance(metric, dict) or not is_number(metric.get("value")):
        raise RowError(f"its {what} has no number as value")
    for end in ("low", "high"):
        if metric.get(end) is not None and not is_number(metric[end]):
            raise RowError(f"its {what} has {clip(metric[end], 40)!r} as {end} end of the interval")


def _check_baselines(row: dict) -> None:
    if not row["baselines"]:
        raise RowError("it has no baseline, so its numbers mean nothing yet")
    for name, baseline in row["baselines"].items():
        if not isinstance(baseline, dict) or not isinstance(baseline.get("metrics"), dict):
            raise RowError(f"its baseline {clip(name, 40)!r} has no metrics")
        # Rows of older versions have one kind only.
        if baseline.setdefault("kind", NO_INPUT) == NO_INPUT:
            _check_metric(f"baseline {clip(name, 40)!r}", baseline["metrics"].get(row["primary_metric"]))
    if all(baseline["kind"] != NO_INPUT for baseline in row["baselines"].values()):
        raise RowError("it has no baseline that hears nothing")


def _check_details(row: dict) -> None:
    for group, values in row.get("groups", {}).items():
        if not isinstance(values, dict):
            raise RowError(f"its group {clip(group, 40)!r} has no values")
    for comparison in row.get("comparisons", []):
        if not isinstance(comparison, dict):
            raise RowError("its 'comparisons' hold something that is no comparison")
