"""From measured waveforms to the measured part of a result row: metrics, speakers, baselines and claims.

The item table has a row for each recording: `item_id`, `speaker_id`, `corpus`, `duration_seconds`; then `pesq`, `stoi`
and `mel_distance` of the system and, behind the name of each baseline and a dot, of those; `failed` where nothing could
be measured, which counts as `WORST`.
"""

import numpy as np
import pandas as pd

from antiphon.eval import statistics
from antiphon.eval.baselines import BASELINES, NO_INPUT, simple_baseline_claims

TASK = "vocoding"
# The first one decides.
METRICS = {
    "pesq": {"unit": None, "higher_is_better": True, "possible_range": (-np.inf, np.inf)},
    "stoi": {"unit": None, "higher_is_better": True, "possible_range": (-1.0, 1.0)},
    "mel_distance": {"unit": "dB", "higher_is_better": False, "possible_range": (0.0, np.inf)},
}
# The least that PESQ's scale and STOI can give, and the range of the spectra that the distance compares, in dB.
WORST = {"pesq": 1.0, "stoi": -1.0, "mel_distance": 90.0}
PRIMARY_METRIC = "pesq"
GROUP_BY = "speaker_id"


def summarize_items(items: pd.DataFrame, *, seed: int = 0) -> dict:
    """Compute the measured part of a result row from its item table; speakers are resampled as wholes.

    Returns:
        `metrics`, `primary_metric`, `groups` (each speaker), `corpora` (each corpus, with the baselines' means),
        `baselines`, `claims`.
    """
    baselines, claims = {}, statistics.population_claims(items[GROUP_BY].nunique())
    for name in baseline_names(items):
        differences = {metric: _compare(items, metric, name, seed) for metric in METRICS}
        kind = BASELINES[name].kind
        baselines[name] = {
            "description": BASELINES[name].describe(),
            "kind": kind,
            "metrics": _metrics(items, f"{name}.", seed),
            "difference": {
                metric: {"value": own.value, "low": own.low, "high": own.high, **statistics.p_values(test)}
                for metric, (own, test) in differences.items()
            },
            "beaten": statistics.is_better(*differences[PRIMARY_METRIC], higher_is_better=True),
        }
        if kind == NO_INPUT:
            claims += statistics.baseline_claims(*differences[PRIMARY_METRIC], higher_is_better=True)
        else:
            claims += simple_baseline_claims(baselines[name], *differences[PRIMARY_METRIC], higher_is_better=True)
    for name in ("", *(f"{name}." for name in baselines)):
        if failures := int(items.get(f"{name}failed", pd.Series(dtype=bool)).sum()):
            whose = f" by the baseline {name[:-1]}" if name else ""
            claims.append(f"{failures} of {len(items)} recordings FAILED{whose} and count as the worst there is")
    return {
        "metrics": _metrics(items, "", seed),
        "primary_metric": PRIMARY_METRIC,
        "groups": _means(items, GROUP_BY, [""]),
        "corpora": _means(items, "corpus", ["", *(f"{name}." for name in baselines)]),
        "baselines": baselines,
        "claims": claims,
    }


def baseline_names(items: pd.DataFrame) -> list[str]:
    """The baselines that an item table has measures of."""
    return [column.removesuffix(f".{PRIMARY_METRIC}") for column in items if column.endswith(f".{PRIMARY_METRIC}")]


def _metrics(items: pd.DataFrame, prefix: str, seed: int) -> dict:
    metrics = {}
    for metric, facts in METRICS.items():
        interval = statistics.bootstrap_mean(
            items[prefix + metric], items[GROUP_BY], possible_range=facts["possible_range"], seed=seed
        )
        metrics[metric] = {
            "value": interval.value,
            "low": interval.low,
            "high": interval.high,
            "unit": facts["unit"],
            "higher_is_better": facts["higher_is_better"],
            "n": len(items),
            "num_groups": interval.num_groups,
            "columns": [prefix + metric, None],
        }
    return metrics


def _compare(
    items: pd.DataFrame, metric: str, name: str, seed: int
) -> tuple[statistics.Interval, statistics.PermutationTest]:
    """Difference to a baseline on the same items, and its test."""
    pair = items[metric], items[f"{name}.{metric}"], items[GROUP_BY]
    return statistics.bootstrap_difference(*pair, seed=seed), statistics.paired_permutation_test(*pair, seed=seed)


def _means(items: pd.DataFrame, column: str, prefixes: list[str]) -> dict:
    names = [prefix + metric for prefix in prefixes for metric in METRICS]
    return {
        label: {**{name: float(own[name].mean()) for name in names}, "n": len(own)}
        for label, own in items.groupby(column, sort=True)
    }
