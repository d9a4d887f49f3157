"""From assessed performances to the measured part of a result row: metrics, percepts, groups, baselines and claims.

`antiphon.eval.assessment_items` describes the item table. Performances of overlapping passages share an excerpt, and
excerpts are resampled as wholes.
"""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pandas as pd

from antiphon.eval import statistics
from antiphon.eval.assessment_items import (
    DESCRIBED,
    assess,
    baseline_names,
    percept_columns,
    score_items,
    scores_of,
)
from antiphon.eval.baselines import BASELINES, NO_INPUT, SIMPLE, simple_baseline_claims, strongest_baseline
from antiphon.eval.fold_audits import known_by_fold
from antiphon.eval.percept_statistics import CORRELATIONS, percept_statistics
from antiphon.processing.percepts import PERCEPTS

TASK = "piano-performance-assessment"
# metric: (numerator, denominator) among the columns; None counts items. The first one decides.
METRIC_COLUMNS = {
    "r2": ("r2_score", None),
    "mse": ("squared_error", None),
    "ranking_accuracy": ("correct_pairs", "pairs"),
    "within_deviation": ("within", "judged"),
    "coverage": ("covered", "bounded"),
}
HIGHER_IS_BETTER = {
    "r2": True, "mse": False, "ranking_accuracy": True, "within_deviation": True, "coverage": True,
}  # fmt: skip
POSSIBLE_RANGES = {"r2": (-np.inf, 1.0), "mse": (0.0, np.inf)}  # all others are shares
UNITS = {"r2": None, "mse": None}
PRIMARY_METRIC = "r2"
COMPARED_METRICS = ("r2", "mse", "ranking_accuracy")
GROUP_BY = "excerpt"

# What `antiphon.eval.scoring` asks of a task.
REQUIRED_COLUMNS = (
    "item_id",
    *DESCRIBED,
    "reference",
    *(f"{name}.{percept}" for name in ("label", "deviation", "prediction") for percept in PERCEPTS),
)
REQUIRED_CONDITIONS = ("inputs", "protocol")
SHARED_CONDITIONS = ("protocol", "inputs", "rendering", "baseline_features", "judges")
MEASURED = ("metrics", "primary_metric", "groups", "players", "percepts", "correlations", "baselines", "seeds")
rescore = score_items
recount = scores_of


def summarize_items(items: pd.DataFrame, *, seed: int = 0) -> dict:
    """Compute the measured part of a result row from its item table.

    Intervals resample excerpts and are widened for training anew where the table holds several trainings. The variance
    that R2 refers to is that of all labels in the table, and is taken as given.

    Returns:
        `metrics`, `primary_metric`, `percepts` (statistics of each percept), `correlations` (means over percepts),
        `groups` (each work), `players` (each player), `baselines`, `claims`, the column `group_by` that was resampled,
        and the `seeds` of the trainings (none where the table does not say).
    """
    items = score_items(items)
    baselines, outcomes = {}, {}
    for name in baseline_names(items):
        baselines[name], outcomes[name] = _compare_with_baseline(items, name, seed)
    percepts, correlations = _percepts(items, "", seed)
    measured = {
        "metrics": _metrics(items, "", seed),
        "primary_metric": PRIMARY_METRIC,
        "percepts": percepts,
        "correlations": correlations,
        "groups": _group_metrics(items, "work"),
        "players": _group_metrics(items, "player_id"),
        "baselines": baselines,
        "group_by": GROUP_BY,
        "seeds": sorted(items["seed"].unique().tolist()) if "seed" in items else [],
    }
    return measured | {"claims": [*_population_claims(items), *_baseline_claims(measured, outcomes)]}


def count_groups(items: pd.DataFrame) -> dict[str, int]:
    """How many passages, excerpts, works and players an item table holds."""
    columns = {"passages": "passage", "excerpts": "excerpt", "works": "work", "players": "player_id"}
    return {f"num_{name}": int(items[column].nunique()) for name, column in columns.items()}


def audit_claims(audits: Iterable[tuple[str, Mapping | None]], items: pd.DataFrame) -> list[str]:
    """Say what training had already heard, from the audits of each training (`known_to_training`) by its fold."""
    audits, claims = list(audits), []
    for name in ("passage", "excerpt", "work", "player"):
        known = known_by_fold(audits, f"num_known_{name}s")
        if None in known.values():
            return ["training data not given: nothing says that these items were not trained on"]
        if number := sum(known.values()):
            total = items["item_id"].nunique()
            claims.append(f"measures known {name}s: {number} of {total} test items have one that is also in training")
    return claims


def answer_problems(items: pd.DataFrame) -> Iterator[str]:
    """Say what is wrong with the answers in an item table from elsewhere."""
    names = ["prediction", *(f"{name}.prediction" for name in baseline_names(items))]
    for name in names:
        if not np.isfinite(percept_columns(items, name).to_numpy(dtype=float)).all():
            yield f"`{name}` is not finite for every item and percept; answer all of them"


def _metrics(items: pd.DataFrame, prefix: str, seed: int) -> dict:
    metrics = {}
    for metric, (numerator, denominator) in METRIC_COLUMNS.items():
        if prefix + numerator not in items:
            continue
        kept = items if denominator is None else _with_denominator(items, denominator)
        if len(kept) == 0:
            continue
        interval = statistics.bootstrap_ratio(
            kept[prefix + numerator],
            np.ones(len(kept)) if denominator is None else kept[denominator],
            kept[GROUP_BY],
            training_seeds=kept.get("seed"),
            possible_range=POSSIBLE_RANGES.get(metric, (0.0, 1.0)),
            seed=seed,
        )
        metrics[metric] = {
            "value": interval.value,
            "low": interval.low,
            "high": interval.high,
            "unit": UNITS.get(metric, "ratio"),
            "higher_is_better": HIGHER_IS_BETTER[metric],
            "n": items["item_id"].nunique(),
            "num_groups": interval.num_groups,
            "columns": [prefix + numerator, denominator],
        }
    return metrics


def _with_denominator(items: pd.DataFrame, denominator: str) -> pd.DataFrame:
    """Items that count; a passage that one player plays has no pairs."""
    return items[items[denominator] > 0]


def _percepts(items: pd.DataFrame, baseline: str, seed: int) -> tuple[dict, dict]:
    """Statistics of each percept, and the correlations over all."""
    assessment, distinct = assess(items, baseline)
    measured = percept_statistics(assessment, distinct[GROUP_BY], seed=seed)
    means = {name: measured.pop(f"mean_{name}").to_dict(0) for name in CORRELATIONS}
    return {
        percept: {name: entry.to_dict(index) for name, entry in measured.items()}
        for index, percept in enumerate(PERCEPTS)
    }, means


def _group_metrics(items: pd.DataFrame, column: str) -> dict:
    """The metrics of each work or player, as its share of the whole: R2 refers to the variance of all labels."""
    groups = {}
    for group, own in items.groupby(column, sort=True):
        groups[group] = {}
        for metric, (numerator, denominator) in METRIC_COLUMNS.items():
            total = len(own) if denominator is None else own.get(denominator, pd.Series(dtype=float)).sum()
            if total > 0:
                groups[group][metric] = float(own[numerator].sum() / total)
        groups[group]["n"] = own["item_id"].nunique()
    return groups


def _compare_with_baseline(items: pd.DataFrame, name: str, seed: int) -> tuple[dict, dict]:
    """Return the entry of a baseline in the row, and difference and test by metric."""
    outcomes = {metric: outcome for metric in COMPARED_METRICS if (outcome := _outcome(items, name, metric, seed))}
    difference, test = outcomes[PRIMARY_METRIC]
    _, correlations = _percepts(items, name, seed)
    entry = {
        "description": BASELINES[name].describe(),
        "kind": BASELINES[name].kind,
        "metrics": _metrics(items, f"{name}.", seed),
        "correlations": correlations,
        "difference": {
            metric: {"value": own.value, "low": own.low, "high": own.high, **statistics.p_values(own_test)}
            for metric, (own, own_test) in outcomes.items()
        },
        "beaten": statistics.is_better(difference, test, higher_is_better=HIGHER_IS_BETTER[PRIMARY_METRIC]),
    }
    return entry, outcomes


def _outcome(items: pd.DataFrame, name: str, metric: str, seed: int) -> tuple | None:
    """Difference and test of one metric; None where nothing can be counted."""
    numerator, denominator = METRIC_COLUMNS[metric]
    kept = items if denominator is None else _with_denominator(items, denominator)
    if len(kept) == 0:
        return None
    values, groups = (kept[numerator], kept[f"{name}.{numerator}"]), kept[GROUP_BY]
    options = {"training_seeds": kept.get("seed"), "seed": seed}
    denominators = None if denominator is None else kept[denominator]
    difference = statistics.bootstrap_difference(*values, groups, denominators, **options)
    return difference, statistics.paired_permutation_test(*values, groups, **options)


def _population_claims(items: pd.DataFrame) -> list[str]:
    """Few players or works say nothing about others, whatever the interval over excerpts."""
    numbers = {name: items[column].nunique() for name, column in {GROUP_BY: GROUP_BY, "player": "player_id"}.items()}
    numbers["work"] = items["work"].nunique()
    return [claim for name, number in numbers.items() for claim in statistics.population_claims(number, name)]


def _baseline_claims(measured: Mapping, outcomes: Mapping) -> list[str]:
    """Say when the strongest baseline that hears nothing, a simple one, or chance in ranking is not beaten.

    These are separate questions, each with an answer of its own: their p-values are not corrected for one another.
    """
    claims, direction = [], {"higher_is_better": HIGHER_IS_BETTER[PRIMARY_METRIC]}
    if strongest := strongest_baseline(measured, NO_INPUT):
        claims += statistics.baseline_claims(*outcomes[strongest][PRIMARY_METRIC], GROUP_BY, **direction)
    for name, entry in measured["baselines"].items():
        if entry["kind"] == SIMPLE:
            claims += simple_baseline_claims(entry, *outcomes[name][PRIMARY_METRIC], GROUP_BY, **direction)
    # A constant orders no pair, which counts half: to be better is to be better than chance.
    chance = outcomes.get("global_mean", {}).get("ranking_accuracy")
    if chance and not statistics.is_better(*chance, higher_is_better=True):
        evidence = statistics.evidence_against(*chance, GROUP_BY, higher_is_better=True)
        claims.append(f"not better than chance in ranking the performances of a passage{evidence}")
    return claims
