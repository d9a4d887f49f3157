"""Statistics of each percept with clustered intervals: fit, correlation, ranking, coverage and noise ceiling."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from antiphon.eval.clustered_bootstrap import BootstrappedStatistic, Sums, bootstrap_statistics

CORRELATIONS = ("pearson", "spearman", "within_passage_r")


@dataclass(frozen=True)
class Assessment:
    """Labels and answers of one system, each item with each training.

    Args:
        labels: (items, percepts).
        predictions: (items, trainings, percepts).
        passages: (items,) labels; performances of one passage are ranked against each other.
        deviations: (items, percepts) standard deviations between annotators; 0 where they agree or there is one.
        noise: (items, percepts) variances of the labels' errors, NaN where unknown.
        low, high: (items, trainings, percepts) ends of predictive intervals; None where the system gives none.
    """

    labels: np.ndarray
    predictions: np.ndarray
    passages: np.ndarray
    deviations: np.ndarray
    noise: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None


def percept_statistics(
    assessment: Assessment, clusters: Sequence, *, num_resamples: int = 400, seed: int = 0
) -> dict[str, BootstrappedStatistic]:
    """Compute every statistic per percept, averaged over trainings, with intervals over whole clusters.

    Args:
        assessment: what was answered.
        clusters: (items,) labels of what is resampled as a whole, each with all its passages.

    Returns:
        By name, (percepts,) each: `r2`, `mse`, `pearson`, `spearman` (ranks of the whole sample, also in resamples),
        `within_passage_r`, `ranking_accuracy`, `within_deviation`, `ceiling` (the R2 of answers without error, given
        how far annotators disagree), and with predictive intervals `coverage` and `interval_width`; further
        `mean_<correlation>`, (1,), over percepts.
    """
    return bootstrap_statistics(
        _columns(assessment), clusters, _statistics, num_resamples=num_resamples, seed=seed
    )  # fmt: skip


def passage_pairs(values: np.ndarray, labels: np.ndarray, passages: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count pairs of each item with others of its passage: those ordered as the labels, and all with other labels.

    Args:
        values: (items, trainings, percepts); equal ones are half right.
        labels: (items, percepts).
        passages: (items,).

    Returns:
        (items, trainings, percepts) and (items, 1, percepts). Each pair counts for both of its items.
    """
    correct, pairs = np.zeros(values.shape), np.zeros((len(labels), 1, labels.shape[1]))
    for own in _members(passages):
        given = np.sign(labels[own][:, None] - labels[own][None])[:, :, None]  # (items, others, 1, percepts)
        answered = np.sign(values[own][:, None] - values[own][None])
        correct[own] = np.where(given == 0, 0, (1 + given * answered) / 2).sum(axis=1)
        pairs[own] = (given != 0).sum(axis=1)
    return correct, pairs


def _columns(assessment: Assessment) -> dict[str, np.ndarray]:
    """What the statistics are sums of, each (items, trainings or 1, percepts)."""
    labels, predictions = assessment.labels[:, None], assessment.predictions
    correct, pairs = passage_pairs(predictions, assessment.labels, assessment.passages)
    judged = assessment.deviations[:, None] > 0
    columns = {
        "count": np.ones_like(labels),
        "squared_error": (predictions - labels) ** 2,
        "noise": assessment.noise[:, None],
        "correct_pairs": correct,
        "pairs": pairs,
        "within": judged & (np.abs(predictions - labels) <= assessment.deviations[:, None]),
        "judged": judged,
        **_moments("value", labels - labels.mean(axis=0), predictions - predictions.mean(axis=0)),
        **_moments("rank", _centred_ranks(labels), _centred_ranks(predictions)),
        **_moments("passage", *(_within_passages(values, assessment.passages) for values in (labels, predictions))),
    }
    if assessment.low is not None:
        columns["covered"] = (assessment.low <= labels) & (labels <= assessment.high)
        columns["width"] = assessment.high - assessment.low
    return columns


def _moments(name: str, first: np.ndarray, second: np.ndarray) -> dict[str, np.ndarray]:
    """Sums of these give the correlation of two (items, trainings, percepts) arrays."""
    return {
        f"{name}.first": first,
        f"{name}.second": second,
        f"{name}.first_squared": first**2,
        f"{name}.second_squared": second**2,
        f"{name}.product": first * second,
    }


def _centred_ranks(values: np.ndarray) -> np.ndarray:
    return rankdata(values, axis=0) - (len(values) + 1) / 2


def _within_passages(values: np.ndarray, passages: np.ndarray) -> np.ndarray:
    centred = np.zeros_like(values)
    for own in _members(passages):
        centred[own] = values[own] - values[own].mean(axis=0)
    # What is left of equal values by rounding would correlate with anything.
    return np.where(np.abs(centred) < 1e-12, 0.0, centred)


def _members(passages: np.ndarray) -> list[np.ndarray]:
    order = np.argsort(passages, kind="stable")
    return np.split(order, np.flatnonzero(passages[order][1:] != passages[order][:-1]) + 1)


def _statistics(sums: Sums) -> dict[str, np.ndarray]:
    count = sums["count"]
    variation = sums["value.first_squared"] - sums["value.first"] ** 2 / count
    by_training = {
        "r2": 1 - _ratio(sums["squared_error"], variation),
        "mse": sums["squared_error"] / count,
        "pearson": _correlation(sums, "value", count),
        "spearman": _correlation(sums, "rank", count),
        # Values are centred within passages already, each of which is drawn as a whole.
        "within_passage_r": _correlation(sums, "passage", count),
        "ranking_accuracy": _ratio(sums["correct_pairs"], sums["pairs"]),
        "within_deviation": _ratio(sums["within"], sums["judged"]),
        "ceiling": 1 - _ratio(sums["noise"], variation),
    }
    if "covered" in sums:
        by_training |= {"coverage": sums["covered"] / count, "interval_width": sums["width"] / count}
    result = {name: values.mean(axis=-2) for name, values in by_training.items()}
    return result | {f"mean_{name}": result[name].mean(axis=-1, keepdims=True) for name in CORRELATIONS}


def _correlation(sums: Sums, name: str, count: np.ndarray) -> np.ndarray:
    first, second = sums[f"{name}.first"], sums[f"{name}.second"]
    covariation = sums[f"{name}.product"] - first * second / count
    variations = [sums[f"{name}.first_squared"] - first**2 / count, sums[f"{name}.second_squared"] - second**2 / count]
    # Nothing correlates with a constant.
    squares = [np.where(variation > 1e-12, variation, np.nan) for variation in variations]
    return covariation / np.sqrt(squares[0] * squares[1])


def _ratio(hits: np.ndarray, trials: np.ndarray) -> np.ndarray:
    return hits / np.where(trials > 0, trials, np.nan)
