"""Compare systems that were measured on the same items: difference, interval, test and a plain verdict.

A metric is a ratio of sums of two item columns that its row names, so word error rates and means go the same way. The
estimand is the mean over trainings of a system and over the population that the groups (speakers, pieces) come from.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from antiphon.eval.comparison_table import comparison_table
from antiphon.eval.comparison_words import group_noun, verdict, warnings
from antiphon.eval.conditions import condition_differences
from antiphon.eval.intervals import ratio_interval
from antiphon.eval.permutation import exchange_test
from antiphon.eval.power import groups_needed
from antiphon.eval.result_rows import find_rows, items_path, read_row
from antiphon.eval.statistics import holm_correction
from antiphon.eval.variance import Measurements, Spread, measure_spread, measurements

__all__ = ["System", "compare_systems", "comparison_table", "load_system"]

LEVEL = 0.05


@dataclass(frozen=True)
class System:
    """A measured system: its result row and the items that the row was computed from."""

    name: str
    row: dict
    items: pd.DataFrame


def load_system(path: str | Path, benchmark: str | None = None) -> System:
    """Load what was measured of one system.

    Args:
        path: a row file; a run folder with `results/`; a folder of rows; or `FOLDER:system`, the row of that system
            among those of a folder.
        benchmark: its name, where a folder holds several.

    Raises:
        ValueError: if not exactly one row fits.
    """
    folder, name = Path(path), None
    if not folder.exists() and ":" in str(path):
        folder_name, _, name = str(path).rpartition(":")
        folder = Path(folder_name)
    rows = {own: read_row(own) for own in ([folder] if folder.is_file() else find_rows([folder]))}
    fitting = {
        own: row
        for own, row in rows.items()
        if name in (None, row.get("system")) and benchmark in (None, row["benchmark"])
    }
    if len(fitting) != 1:
        found = ", ".join(f"{row['benchmark']} of {row.get('system', 'one system')}" for row in rows.values())
        raise ValueError(
            f"{path} holds {len(fitting)} rows that fit, expected one; it has: {found or 'no rows'}. "
            "Name the row file, the benchmark, or the system as FOLDER:system."
        )
    ((row_path, row),) = fitting.items()
    items = pd.read_parquet(items_path(row_path.parent, row_path.stem))
    run = row_path.parent.parent if row_path.parent.name == "results" else row_path
    return System(row.get("system") or run.name.removesuffix(".json"), row, items)


def compare_systems(
    systems: Sequence[System],
    *,
    metric: str | None = None,
    group_by: Sequence[str] | None = None,
    margin: float | None = None,
    mix_conditions: bool = False,
    seed: int = 0,
) -> list[dict]:
    """Compare each system with the first.

    Args:
        systems: two or more; the first is the reference.
        metric: name; the one that decides in the reference's row if None.
        group_by: one or two item columns, such as `speaker_id` and `text`; the row's grouping if None.
        margin: largest difference, in the metric's own unit (0.005 is half a point of word error rate), that counts
            as none. If None, "equivalent" takes an interval that holds 0 and lies within 10 % of the reference's
            value `v`, or of min(v, 1 - v) for a rate of which more is better. It is not corrected for the family.
        mix_conditions: compare although conditions or references differ, and say so among the warnings.
        seed: of the bootstrap and the test.

    Returns:
        For each system after the first: `system`, `reference`, `benchmark`, `metric`, `unit`, `higher_is_better`,
        `value` (system minus reference) with `low`, `high` and `confidence`, `reference_value`, `relative_change`,
        `p_value`, `holm_p_value` (corrected for the `family` of comparisons), `smallest_p_value`, `effect_size`,
        `verdict` ("better", "worse", "equivalent", "cannot tell"), `sentence`, `more_groups_needed`, `group_by`,
        `num_groups`, `num_items`, `num_seeds`, `groups` (difference in each), `warnings`, `condition_differences`.

    Raises:
        ValueError: systems measured on other items, or with other references or under other conditions unless
            `mix_conditions`; rows that do not say which columns a metric comes from; a grouping that is not known.
    """
    if len(systems) < 2:
        raise ValueError(f"`systems` holds {len(systems)}; a comparison expects the reference and at least one more.")
    reference = systems[0]
    metric = metric or reference.row.get("primary_metric") or next(iter(reference.row["metrics"]))
    group_by = _group_by(reference, group_by)
    differences = [_check_alike(reference, system, mix_conditions) for system in systems[1:]]
    measured = [_measure(system, metric, group_by, reference.items) for system in systems]
    spreads = [measure_spread([own, measured[0]]) for own in measured[1:]]
    comparisons = [
        {
            "system": system.name,
            "reference": reference.name,
            "benchmark": reference.row["benchmark"],
            "metric": metric,
            "unit": reference.row["metrics"][metric].get("unit"),
            "higher_is_better": reference.row["metrics"][metric]["higher_is_better"],
            **_difference(own, measured[0], spread, seed),
            "group_by": group_by,
            "num_items": int(reference.items["item_id"].nunique()),
            "num_seeds": {"system": own.num_trainings, "reference": measured[0].num_trainings},
            "condition_differences": changed,
        }
        for system, own, spread, changed in zip(systems[1:], measured[1:], spreads, differences)
    ]
    noun = group_noun(group_by, measured[0].groupings)
    return [_judge(comparison, spread, noun, margin) for comparison, spread in zip(_with_holm(comparisons), spreads)]


def _group_by(reference: System, group_by: Sequence[str] | None) -> list[str]:
    if group_by is None:
        conditions = reference.row["conditions"]
        crossed = conditions.get("crossed_with")
        group_by = [conditions["group_by"], *([crossed] if crossed else [])]
    columns = [group_by] if isinstance(group_by, str) else list(group_by)
    unknown = [name for name in columns if name not in reference.items or reference.items[name].isna().any()]
    if unknown or not 1 <= len(columns) <= 2:
        raise ValueError(
            f"`group_by` is {columns}; expected one or two columns of the items that are known for every item, of "
            f"{', '.join(reference.items.columns)}."
        )
    return columns


def _check_alike(reference: System, system: System, mix_conditions: bool) -> dict[str, list]:
    """Return the conditions that differ, `reference` among them where references do; refuse what cannot be compared."""
    texts, own_texts = (_references(one) for one in (reference, system))
    if set(texts.index) != set(own_texts.index):
        only = len(set(texts.index) ^ set(own_texts.index))
        raise ValueError(
            f"{system.name} and {reference.name} were not measured on the same items: {only} of them were measured for "
            "one of the two only. A paired comparison needs both on each; measure again."
        )
    changed = {name: list(values) for name, values in condition_differences(reference.row, system.row).items()}
    own_texts = own_texts.loc[texts.index]
    if (unlike := texts != own_texts).any():
        first = unlike.idxmax()
        changed["reference"] = [texts[first], own_texts[first]]
    if changed and not mix_conditions:
        listed = "; ".join(f"{name}: {ours!r} and {theirs!r}" for name, (ours, theirs) in changed.items())
        raise ValueError(
            f"{reference.name} and {system.name} were measured under different conditions: {listed}. Measure both "
            "alike, or accept the difference openly with `--mix-conditions`."
        )
    return changed


def _references(system: System) -> pd.Series:
    """Reference of each item; refuses items that one training measured twice or another one missed."""
    items = system.items
    seeds = items["seed"] if "seed" in items else pd.Series(0, index=items.index)
    counts = items.groupby([items["item_id"], seeds]).size().unstack(fill_value=0)
    if (counts != 1).any(axis=None):
        item = (counts != 1).any(axis=1).idxmax()
        raise ValueError(
            f"{system.name} holds {item!r} {counts.loc[item].tolist()} times in its trainings; expected once in each. "
            "Pool complete runs with `eval/pool_runs.py`."
        )
    return items.drop_duplicates("item_id").set_index("item_id")["reference"].sort_index()


def _measure(system: System, metric: str, group_by: list[str], grouped: pd.DataFrame) -> Measurements:
    """Gather a metric's columns, with the groups that the reference's table names for each item."""
    entry = system.row["metrics"].get(metric)
    if entry is None:
        known = ", ".join(system.row["metrics"])
        raise ValueError(f"{system.name} has no metric {metric!r}; it has {known}.")
    if "columns" not in entry:
        raise ValueError(
            f"the row of {system.name} does not say which item columns its {metric!r} comes from (`columns`), as rows "
            "of older versions do not; measure it again with a benchmark of `eval`."
        )
    numerator, denominator = entry["columns"]
    items = system.items.sort_values([name for name in ("item_id", "seed") if name in system.items])
    if denominator is not None:
        # An item that nothing is counted on, such as the only performance of a passage where pairs are ranked, says
        # nothing; a whole group of them would have no ratio.
        items = items[(items[denominator] != 0) | (items[numerator].astype(float) != 0)]
    labels = grouped.drop_duplicates("item_id").set_index("item_id").loc[items["item_id"], group_by]
    return measurements(
        items[numerator].astype(float),
        np.ones(len(items)) if denominator is None else items[denominator],
        [labels[name].astype(str) for name in group_by] if len(group_by) == 2 else labels[group_by[0]].astype(str),
        items.get("seed"),
    )


def _difference(system: Measurements, reference: Measurements, spread: Spread, seed: int) -> dict:
    """Difference, interval, test and per-group differences of two systems."""
    interval = ratio_interval([system, reference], seed=seed)
    test = exchange_test(spread.totals, spread, seed=seed)
    values, reference_values = _group_values(system), _group_values(reference)
    groups = {name: values[name] - reference_values[name] for name in sorted(values)}
    deviation = np.std(list(groups.values()), ddof=1) if len(groups) > 1 else 0.0
    reference_value = float(reference.numerators.sum() / reference.denominators.sum())
    return {
        "value": interval.value,
        "low": _known(interval.low),
        "high": _known(interval.high),
        "confidence": interval.confidence,
        "reference_value": reference_value,
        "relative_change": interval.value / reference_value if reference_value else None,
        "p_value": test.p_value,
        "smallest_p_value": test.smallest_p_value,
        "effect_size": {
            "name": "mean of group differences / their standard deviation",
            "value": float(np.mean(list(groups.values())) / deviation) if deviation > 1e-12 else None,
        },
        "num_groups": interval.num_groups,
        "groups": groups,
    }


def _group_values(system: Measurements) -> dict[str, float]:
    frame = pd.DataFrame({"numerator": system.numerators, "denominator": system.denominators})
    sums = frame.groupby(system.groupings[0]).sum()
    return (sums["numerator"] / sums["denominator"]).to_dict()


def _with_holm(comparisons: list[dict]) -> list[dict]:
    corrected = holm_correction([comparison["p_value"] for comparison in comparisons])
    return [
        comparison | {"holm_p_value": float(p_value), "family": len(comparisons)}
        for comparison, p_value in zip(comparisons, corrected)
    ]


def _judge(comparison: dict, spread: Spread, noun: str, margin: float | None) -> dict:
    """Add the verdict, what more would be needed, and the warnings."""
    needed = groups_needed(spread, level=LEVEL / comparison["family"])
    judged, sentence, more_groups = verdict(comparison, needed, margin=margin, noun=noun, level=LEVEL)
    comparison = comparison | {"verdict": judged, "sentence": sentence, "more_groups_needed": more_groups}
    return comparison | {"warnings": warnings(comparison, noun)}


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
