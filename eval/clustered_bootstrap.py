"""Percentile intervals of any statistic of sums over items, by resampling whole groups, for many statistics at once.

For what is no ratio of sums, such as a correlation; ratios have the better interval of `antiphon.eval.intervals`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Sums = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class BootstrappedStatistic:
    """Values of a statistic with their intervals, arrays of one shape; ends are NaN where nothing can be said."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def to_dict(self, index=()) -> dict[str, float]:
        """One value with its interval, for JSON."""
        return {name: float(getattr(self, name)[index]) for name in ("value", "low", "high")}


def bootstrap_statistics(
    columns: Mapping[str, np.ndarray],
    groups: Sequence,
    statistics: Callable[[Sums], Mapping[str, np.ndarray]],
    *,
    num_resamples: int = 400,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, BootstrappedStatistic]:
    """Resample groups, with all their items, and compute statistics anew from the resampled sums.

    Trainings are held fixed. With few groups percentile intervals are too narrow; with one there is none.

    Args:
        columns: by name, (items, ...) numbers, such as products whose sums a correlation is computed from.
        groups: (items,) labels.
        statistics: from sums of the columns, each (..., as the column without items), statistics by name, of which all
            leading axes are kept.
        num_resamples: of the groups.
        confidence: of the intervals.
        seed: of the resampling.

    Source: Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, section 13.3, over groups.
    """
    labels, group_of_item = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    counts = np.random.default_rng(seed).multinomial(
        len(labels), np.full(len(labels), 1 / len(labels)), size=num_resamples
    )
    whole, resampled = {}, {}
    for name, column in columns.items():
        sums = np.zeros((len(labels), *column.shape[1:]))
        np.add.at(sums, group_of_item, column)
        whole[name] = sums.sum(axis=0)
        resampled[name] = np.tensordot(counts.astype(float), sums, axes=1)
    values, draws = statistics(whole), statistics(resampled)
    tail = (1 - confidence) / 2
    return {
        name: BootstrappedStatistic(np.asarray(value), *_ends(draws[name], tail, len(labels)))
        for name, value in values.items()
    }


def _ends(draws: np.ndarray, tail: float, num_groups: int) -> tuple[np.ndarray, np.ndarray]:
    if num_groups == 1:
        return np.full(draws.shape[1:], np.nan), np.full(draws.shape[1:], np.nan)
    # A resample may miss every pair or hold one label only; an interval of half of the resamples is none.
    known = np.isfinite(draws)
    enough = known.mean(axis=0) > 0.5
    filled = np.where(enough, draws, 0.0)
    low, high = np.nanquantile(np.where(np.isfinite(filled), filled, np.nan), [tail, 1 - tail], axis=0)
    return np.where(enough, low, np.nan), np.where(enough, high, np.nan)
