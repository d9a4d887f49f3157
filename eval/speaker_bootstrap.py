"""Intervals of error rates of speaker verification, by resampling speakers on both sides of the trials.

A trial has two speakers, so neither trials nor one side's speakers are independent. Here whole speakers are drawn with
replacement; a different-speaker trial counts as often as both of its speakers were drawn together, the product of
their numbers, and a same-speaker trial as often as its speaker was. Two copies of one speaker make no new trial.

The intervals are percentiles. In a simulation (cosines of noisy vectors whose noise differs between speakers, 400
trials of each kind, 200 repetitions) 95 % intervals of the EER covered that of all speakers in 87 % of the cases with 4
speakers, 94 % with 10, 97 % with 13 and with 24, if each has same-speaker trials. With the stored trials of the test
(300 repetitions) they covered it in 87 % where 4 of 13 speakers have same-speaker trials (`vctk_parallel`), in 90 %
with 4 of 4 (`mini_librispeech`), 94 % with 10 of 10 (`an4`, `emodb4`), 98 % with 8 of 24 (`librispeech_speakers`): with
4, they are too narrow.
"""

from collections.abc import Mapping, Sequence

import numpy as np

MEASURES = ("eer", "min_dcf")
TARGET_PROBABILITY = 0.05  # that of the metric `equal_error_rate`
_BATCH = 250  # resamples in memory at once


def resample_measures(
    scores: Mapping[str, np.ndarray],
    is_same: np.ndarray,
    first: Sequence[str],
    second: Sequence[str],
    *,
    num_resamples: int = 2000,
    seed: int = 0,
) -> dict[str, dict[str, np.ndarray]]:
    """Measure several systems anew on the same resamples of speakers.

    Args:
        scores: by system, (trials,), higher = more alike.
        is_same: (trials,) truth values.
        first, second: (trials,) speakers of either side.
        num_resamples: of the speakers.
        seed: of the resampling.

    Returns:
        By system and by measure of `MEASURES`, (num_resamples,); NaN where a resample has only same or only different
        trials left.

    Source: the product of counts after Owen 2007, "The pigeonhole bootstrap", whose two factors are one here; weights
        as in Poh and Bengio 2007, "Estimating the Confidence Interval of Expected Performance Curve in Biometric
        Authentication using Joint Bootstrap".
    """
    is_same = np.asarray(is_same, dtype=bool)
    names, numbers = np.unique(np.concatenate([first, second]).astype(str), return_inverse=True)
    left, right = numbers[: len(is_same)], numbers[len(is_same) :]
    generator = np.random.default_rng(seed)
    draws = {system: {measure: [] for measure in MEASURES} for system in scores}
    for start in range(0, num_resamples, _BATCH):
        size = min(_BATCH, num_resamples - start)
        counts = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=size)
        weights = np.where(is_same, counts[:, left], counts[:, left] * counts[:, right])
        for system, values in scores.items():
            for measure, drawn in weighted_measures(np.asarray(values, float), is_same, weights).items():
                draws[system][measure].append(drawn)
    return {
        system: {measure: np.concatenate(parts) for measure, parts in measures.items()}
        for system, measures in draws.items()
    }


def weighted_measures(scores: np.ndarray, is_same: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """The measures of the metric `equal_error_rate` where each trial counts several times.

    Args:
        scores: (trials,).
        is_same: (trials,) truth values.
        weights: (resamples, trials), not negative.

    Returns:
        By measure (resamples,); NaN where all weight is on one kind of trial.
    """
    order = np.argsort(scores, kind="stable")
    places = np.append(np.flatnonzero(np.diff(scores[order], prepend=-np.inf) > 0), len(scores))
    below = {
        kind: _cumulated((weights * (is_same == kind))[:, order])[:, places].astype(float) for kind in (True, False)
    }
    with np.errstate(invalid="ignore", divide="ignore"):
        missed = below[True] / below[True][:, -1:]
        accepted = 1 - below[False] / below[False][:, -1:]
        gap = accepted - missed  # falls from 1 to -1 as the threshold rises
        after = np.argmax(gap <= 0, axis=1)
        rows = np.arange(len(gap))
        share = gap[rows, after - 1] / (gap[rows, after - 1] - gap[rows, after])
        eer = missed[rows, after - 1] + share * (missed[rows, after] - missed[rows, after - 1])
        costs = TARGET_PROBABILITY * missed + (1 - TARGET_PROBABILITY) * accepted
    return {"eer": eer, "min_dcf": costs.min(axis=1) / min(TARGET_PROBABILITY, 1 - TARGET_PROBABILITY)}


def percentile_interval(draws: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """Ends of the middle of the draws; NaN if fewer than half of the resamples could be measured."""
    known = draws[np.isfinite(draws)]
    if 2 * len(known) < len(draws):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def bootstrap_p_value(draws: np.ndarray) -> float:
    """Twice the share of resampled differences on the rarer side of 0, never below what the resamples can show."""
    known = draws[np.isfinite(draws)]
    rarer = min(np.sum(known <= 0), np.sum(known >= 0))
    return float(min(1.0, 2 * (rarer + 1) / (len(known) + 1)))


def _cumulated(values: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros((len(values), 1), values.dtype), values.cumsum(axis=1)], axis=1)
