"""Metrics of judged conversions with intervals, paired differences with tests, and scenarios condition by condition.

Target speakers and source speakers are crossed: intervals hold for others of both. Likeness is measured on conversions
whose target has recordings besides what any system was given; `reference_similarity` is that of all others.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd

from antiphon.eval import statistics
from antiphon.eval.baselines import BASELINES, UPPER_BOUND
from antiphon.eval.statistics import Interval, PermutationTest
from antiphon.eval.voice_counts import CROSSED_WITH, GROUP_BY, baseline_names, count_groups

# metric: (numerator, denominator) among the columns. The first one decides.
METRIC_COLUMNS = {
    "similarity": ("similarity", "judged"),
    "reference_similarity": ("reference_similarity", "judged_by_reference"),
    "source_similarity": ("source_similarity", "compared"),
    "own_similarity": ("own_similarity", "own_judged"),
    "wer": ("errors", "words"),
    "cer": ("char_errors", "chars"),
    "second_wer": ("second_errors", "second_words"),
    "dnsmos": ("dnsmos", "rated"),
    "f0_correlation": ("f0_correlation", "correlated"),
    "voicing_error": ("voicing_error", "followed"),
    "mcd": ("mcd", "parallel"),
    "f0_rmse": ("f0_rmse", "met"),
    "stoi": ("stoi", "aligned"),
    "pesq": ("pesq", "aligned"),
}
LOWER_IS_BETTER = ("source_similarity", "wer", "cer", "second_wer", "voicing_error", "mcd", "f0_rmse")
UNITS = {
    **dict.fromkeys(("wer", "cer", "second_wer", "voicing_error"), "ratio"),
    "mcd": "dB",
    "f0_rmse": "cents",
}
POSSIBLE_RANGES = {
    **dict.fromkeys(
        ("similarity", "reference_similarity", "source_similarity", "own_similarity", "f0_correlation"), (-1.0, 1.0)
    ),
    **dict.fromkeys(("wer", "cer", "second_wer", "mcd", "f0_rmse"), (0.0, np.inf)),
    **dict.fromkeys(("voicing_error", "stoi"), (0.0, 1.0)),
}
PRIMARY_METRIC = "similarity"
COMPARED_METRICS = ("similarity", "own_similarity", "wer", "cer", "second_wer", "dnsmos", "f0_correlation", "mcd")
SCENARIO_METRICS = ("similarity", "wer", "dnsmos", "f0_correlation", "mcd")
CONDITION_METRICS = ("similarity", "wer")
# By the column that says of a table that a judge is known from training: what it is then no evidence for.
TRAINED_AGAINST = {"own_trained_against": "own_similarity", "second_trained_against": "second_wer"}
NUM_RESAMPLES = 4_000  # a table has some hundred intervals

Outcomes = Mapping[str, tuple[Interval, PermutationTest]]


def measure_metrics(items: pd.DataFrame, prefix: str, names: Iterable[str], seed: int) -> dict:
    """Each metric with its interval, as a result row holds it; without those that count on no item."""
    metrics = {}
    for metric in names:
        if (found := _columns(items, metric, prefix)) is None:
            continue
        kept, [columns] = found
        interval = statistics.bootstrap_ratio(
            *columns,
            _groups(kept),
            possible_range=POSSIBLE_RANGES.get(metric, (-np.inf, np.inf)),
            **_options(kept, seed),
        )
        numerator, denominator = METRIC_COLUMNS[metric]
        metrics[metric] = {
            "value": interval.value,
            "low": interval.low,
            "high": interval.high,
            "unit": UNITS.get(metric),
            "higher_is_better": metric not in LOWER_IS_BETTER,
            "n": int(kept["item_id"].nunique()),
            "num_groups": interval.num_groups,
            "columns": [prefix + numerator, prefix + denominator],
        }
    return metrics


def measure_groups(items: pd.DataFrame) -> dict:
    """The metrics of each target speaker."""
    groups = {}
    for speaker, own in items.groupby(GROUP_BY, sort=True):
        found = {metric: _columns(own, metric, "") for metric in METRIC_COLUMNS}
        groups[speaker] = {
            metric: float(columns[0].sum() / columns[1].sum())
            for metric, entry in found.items()
            if entry is not None
            for columns in entry[1]
        }
        groups[speaker]["n"] = int(own["item_id"].nunique())
    return groups


def measure_scenario(items: pd.DataFrame, seed: int) -> dict:
    """Metrics of a scenario, of the baselines in it, and of each condition where it has several."""
    entries = {}
    for name in baseline_names(items):
        entries[name] = {
            "metrics": measure_metrics(items, f"{name}.", SCENARIO_METRICS, seed),
            "difference": describe_differences(compare_baseline(items, name, CONDITION_METRICS, seed)),
        }
    return {
        "n": int(items["item_id"].nunique()),
        **count_groups(items),
        "metrics": measure_metrics(items, "", SCENARIO_METRICS, seed),
        "baselines": entries,
        **(_measure_conditions(items, seed) if items["condition"].nunique() > 1 else {}),
    }


def compare_baseline(items: pd.DataFrame, name: str, metrics: Iterable[str], seed: int) -> Outcomes:
    """Difference to a baseline and its test, by metric, on the items that both are measured on."""
    outcomes = {}
    for metric in metrics:
        if (found := _columns(items, metric, "", f"{name}.")) is None:
            continue
        kept, [(values, sizes), (baseline_values, _)] = found
        outcomes[metric] = _compare(kept, values, baseline_values, sizes, seed)
    return outcomes


def correct_outcomes(outcomes: Mapping[str, Outcomes]) -> dict[str, tuple[Interval, PermutationTest]]:
    """The primary metric against each baseline that is to be beaten, with p-values for all these comparisons at once.

    Source: Holm's correction, see `statistics.holm_correction`. The smallest p-value that could come out is that of
    the first comparison.
    """
    primary = {
        name: own[PRIMARY_METRIC]
        for name, own in outcomes.items()
        if PRIMARY_METRIC in own and BASELINES[name].kind != UPPER_BOUND
    }
    adjusted = statistics.holm_correction([test.p_value for _, test in primary.values()])
    return {
        name: (
            difference,
            replace(
                test,
                p_value=float(p_value),
                smallest_p_value=min(1.0, len(primary) * test.smallest_p_value),
            ),
        )
        for (name, (difference, test)), p_value in zip(primary.items(), adjusted)
    }


def describe_differences(outcomes: Outcomes, *, without_test: Iterable[str] = ()) -> dict:
    """Differences and tests as a result row holds them.

    Args:
        outcomes: by metric.
        without_test: metrics whose judge a system knows from training: no p-value says anything of those.
    """
    return {
        metric: {
            "value": own.value,
            "low": own.low,
            "high": own.high,
            "n": own.num_items,
            **({} if metric in without_test else statistics.p_values(test)),
        }
        for metric, (own, test) in outcomes.items()
    }


def known_metrics(items: pd.DataFrame) -> list[str]:
    """The metrics whose judge the system knows from training."""
    return [metric for column, metric in TRAINED_AGAINST.items() if column in items and items[column].any()]


def _measure_conditions(items: pd.DataFrame, seed: int) -> dict:
    """Metrics under each condition, and the differences between conditions within the same pairs."""
    own = dict(iter(items.groupby("condition", sort=True)))
    differences = {
        f"{first} minus {second}": _compare_conditions(own[first], own[second], seed)
        for first, second in combinations(own, 2)
    }
    return {
        "conditions": {
            condition: {
                "n": int(part["item_id"].nunique()),
                "metrics": measure_metrics(part, "", CONDITION_METRICS, seed),
            }
            for condition, part in own.items()
        },
        "condition_differences": {name: entry for name, entry in differences.items() if entry},
    }


def _compare_conditions(first: pd.DataFrame, second: pd.DataFrame, seed: int) -> dict:
    key = ["pair", "seed"] if "seed" in first else ["pair"]
    both = first.merge(second, on=[*key, GROUP_BY, CROSSED_WITH], suffixes=("", " of the second"))
    outcomes = {}
    for metric in CONDITION_METRICS:
        numerator, denominator = METRIC_COLUMNS[metric]
        kept = both[(both[denominator] > 0) & (both[f"{denominator} of the second"] > 0)]
        if len(kept):
            values = kept[numerator].astype(float), kept[f"{numerator} of the second"].astype(float)
            outcomes[metric] = _compare(kept, *values, kept[denominator], seed)
    return describe_differences(outcomes)


def _compare(
    kept: pd.DataFrame, values: pd.Series, others: pd.Series, sizes: pd.Series, seed: int
) -> tuple[Interval, PermutationTest]:
    groups = _groups(kept)
    return (
        statistics.bootstrap_difference(values, others, groups, sizes, **_options(kept, seed)),
        statistics.paired_permutation_test(values, others, groups, training_seeds=kept.get("seed"), seed=seed),
    )


def _columns(items: pd.DataFrame, metric: str, *prefixes: str) -> tuple[pd.DataFrame, list[tuple]] | None:
    """The items that a metric counts on for all of the given, and the numerator and denominator of each."""
    numerator, denominator = METRIC_COLUMNS[metric]
    if any(prefix + column not in items for prefix in prefixes for column in (numerator, denominator)):
        return None
    kept = items[np.logical_and.reduce([items[prefix + denominator] > 0 for prefix in prefixes])]
    if len(kept) == 0:
        return None
    return kept, [(kept[prefix + numerator].astype(float), kept[prefix + denominator]) for prefix in prefixes]


def _options(items: pd.DataFrame, seed: int) -> dict:
    return {"training_seeds": items.get("seed"), "num_resamples": NUM_RESAMPLES, "seed": seed}


def _groups(items: pd.DataFrame) -> list[pd.Series]:
    return [items[GROUP_BY], items[CROSSED_WITH]]
