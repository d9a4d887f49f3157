"""How well ratings on several scales are predicted: fit, correlation, ranking, intervals, as an `evaluate` module."""

from collections.abc import Hashable, Sequence
from typing import ClassVar

import datasets
import evaluate
import numpy as np
from scipy.stats import rankdata

_DESCRIPTION = """\
Predicted against given ratings of performances on several scales (percepts): the coefficient of determination (R2,
uniform mean over percepts) and squared error; Pearson's and Spearman's correlation; correlation and ranking among the
performances of one passage; the share of errors within the annotators' standard deviation; and how often predictive
intervals hold the rating.
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: (items, percepts) predicted ratings.
    references: (items, percepts) given ratings, not all the same on any percept.
    groups: optional passage of each item; adds `within_passage_r` and `ranking_accuracy`.
    deviations: optional (items, percepts) standard deviations between annotators; adds `within_deviation`.
    low, high: optional (items, percepts) ends of predictive intervals; add `coverage` and `interval_width`.
Returns:
    `r2`, `mse`, `pearson`, `spearman`, `within_passage_r`, `interval_width`: means over percepts.
    `ranking_accuracy`: share of the pairs of one passage with different ratings that are put in the right order; equal
        predictions are half right. `within_deviation`: share of ratings missed by no more than the annotators' standard
        deviation, where they differ at all. `coverage`: share of ratings within their interval.
    `per_percept`: the same measures, each a list over percepts.
    A correlation with something constant, or an accuracy of no pairs, is NaN.
Raises:
    ValueError: no items, shapes that differ, numbers that are not finite, or a percept whose ratings are all the same.
Examples:
    >>> metric = evaluate.load("eval/metrics/percept_scores")
    >>> metric.compute(predictions=[[0.5], [0.5]], references=[[0.4], [0.6]])["r2"]
    0.0
"""

_CITATION = """\
@inproceedings{park2024, title={{PercePiano}: Piano Performance Evaluation Dataset with Multi-level Perceptual
Features}, author={Park, Jonghyun and others}, year={2024}}
"""


class PerceptScores(evaluate.Metric):
    """Fit, correlation, ranking and interval coverage; `outputs` declares the unit and direction of each measure."""

    outputs: ClassVar = {
        "r2": {"unit": None, "higher_is_better": True},
        "mse": {"unit": None, "higher_is_better": False},
        "pearson": {"unit": None, "higher_is_better": True},
        "spearman": {"unit": None, "higher_is_better": True},
        "within_passage_r": {"unit": None, "higher_is_better": True},
        "ranking_accuracy": {"unit": "ratio", "higher_is_better": True},
        "within_deviation": {"unit": "ratio", "higher_is_better": True},
        "coverage": {"unit": "ratio", "higher_is_better": True},
        "interval_width": {"unit": None, "higher_is_better": False},
    }

    def _info(self) -> evaluate.MetricInfo:
        ratings = datasets.Sequence(datasets.Value("float64"))
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features({"predictions": ratings, "references": ratings}),
        )

    def _compute(
        self,
        predictions: Sequence[Sequence[float]],
        references: Sequence[Sequence[float]],
        groups: Sequence[Hashable] | None = None,
        deviations: Sequence[Sequence[float]] | None = None,
        low: Sequence[Sequence[float]] | None = None,
        high: Sequence[Sequence[float]] | None = None,
    ) -> dict:
        if len(references) == 0:
            raise ValueError("`references` is empty, so nothing can be scored; expected at least two items.")
        labels = np.asarray(references, dtype=np.float64)
        predicted = _matrix("predictions", predictions, labels.shape)
        _check_varied(labels)
        # counts: name of the measure -> (hits, out of), each (items, percepts)
        counts = {}
        correlations = {"pearson": _pearson(labels, predicted), "spearman": _pearson(_ranks(labels), _ranks(predicted))}
        if groups is not None:
            passages = _passages(groups, len(labels))
            correlations["within_passage_r"] = _pearson(_centred(labels, passages), _centred(predicted, passages))
            counts["ranking_accuracy"] = _ordered_pairs(labels, predicted, passages)
        if deviations is not None:
            tolerated = _matrix("deviations", deviations, labels.shape)
            judged = tolerated > 0
            counts["within_deviation"] = (judged & (np.abs(predicted - labels) <= tolerated)).astype(float), judged
        widths = {}
        if low is not None:
            low, high = _matrix("low", low, labels.shape), _matrix("high", high, labels.shape)
            counts["coverage"] = ((low <= labels) & (labels <= high)).astype(float), np.ones(labels.shape)
            widths["interval_width"] = (high - low).mean(axis=0)
        return _summary(labels, predicted, correlations | widths, counts)


def _matrix(name: str, values: Sequence[Sequence[float]], shape: tuple[int, ...]) -> np.ndarray:
    matrix = np.asarray(values, dtype=np.float64)
    if matrix.shape != shape or matrix.ndim != 2:
        raise ValueError(f"`{name}` has shape {matrix.shape}; expected (items, percepts) as the references' {shape}.")
    if not np.isfinite(matrix).all():
        raise ValueError(f"`{name}` holds {np.sum(~np.isfinite(matrix))} numbers that are not finite; repair them.")
    return matrix


def _check_varied(labels: np.ndarray) -> None:
    if not np.isfinite(labels).all():
        raise ValueError("`references` hold numbers that are not finite; leave out items without ratings, and say so.")
    constant = np.flatnonzero(np.ptp(labels, axis=0) == 0)
    if len(constant):
        raise ValueError(
            f"`references` are all the same on percepts {constant.tolist()}, so no R2 is defined; score more items."
        )


def _passages(groups: Sequence[Hashable], num_items: int) -> np.ndarray:
    if len(groups) != num_items:
        raise ValueError(f"`groups` has {len(groups)} passages for {num_items} items; expected one for each.")
    number = {passage: index for index, passage in enumerate(dict.fromkeys(groups))}
    return np.array([number[passage] for passage in groups])


def _ranks(values: np.ndarray) -> np.ndarray:
    return rankdata(values, axis=0)


def _centred(values: np.ndarray, passages: np.ndarray) -> np.ndarray:
    sums = np.zeros((passages.max() + 1, values.shape[1]))
    np.add.at(sums, passages, values)
    centred = values - (sums / np.bincount(passages)[:, None])[passages]
    # What is left of equal values by rounding would correlate with anything.
    return np.where(np.abs(centred) < 1e-12, 0.0, centred)


def _pearson(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    first, second = first - first.mean(axis=0), second - second.mean(axis=0)
    products = np.sqrt((first**2).sum(axis=0) * (second**2).sum(axis=0))
    defined = products > 1e-12
    return np.where(defined, (first * second).sum(axis=0) / np.where(defined, products, 1.0), np.nan)


def _ordered_pairs(labels: np.ndarray, predicted: np.ndarray, passages: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each item, the pairs with others of its passage that are in the right order, and all with other labels."""
    correct, pairs = np.zeros(labels.shape), np.zeros(labels.shape)
    order = np.argsort(passages, kind="stable")
    for own in np.split(order, np.flatnonzero(np.diff(passages[order])) + 1):
        given = np.sign(labels[own][:, None] - labels[own][None])  # (items, other items, percepts)
        answered = np.sign(predicted[own][:, None] - predicted[own][None])
        correct[own] = np.where(given == 0, 0, (1 + given * answered) / 2).sum(axis=1)
        pairs[own] = (given != 0).sum(axis=1)
    return correct, pairs


def _summary(
    labels: np.ndarray,
    predicted: np.ndarray,
    measured: dict[str, np.ndarray],
    counts: dict[str, tuple[np.ndarray, np.ndarray]],
) -> dict:
    squared = (predicted - labels) ** 2
    per_percept = {"r2": 1 - squared.mean(axis=0) / labels.var(axis=0), "mse": squared.mean(axis=0), **measured}
    result = {name: float(values.mean()) for name, values in per_percept.items()}
    for name, (hits, trials) in counts.items():
        per_percept[name] = _ratio(hits.sum(axis=0), trials.sum(axis=0))
        result[name] = float(_ratio(hits.sum(), trials.sum()))
    return result | {"per_percept": {name: values.tolist() for name, values in per_percept.items()}}


def _ratio(hits: np.ndarray, trials: np.ndarray) -> np.ndarray:
    return np.where(trials > 0, hits / np.maximum(trials, 1), np.nan)
