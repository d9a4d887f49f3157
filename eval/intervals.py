"""Confidence intervals of ratios of sums, and of differences between two, for items that come in groups.

The interval is the studentised bootstrap (bootstrap-t) over groups: the deviation of the estimate in each resample is
divided by that resample's own standard error, and the quantiles of this t-like statistic, which follow the skewness of
error rates, replace those of the normal law. They multiply the delete-one-group jackknife standard error, which grows
where a few groups hold most of the items. Two more sources of variance widen it where they are known: a second grouping
crossed with the first (sentences read by several speakers), and training anew. `eval/benchmark_statistics.py` measures
how often the interval covers the truth.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from antiphon.eval.variance import Measurements, measure_spread

# A resample in which hardly any group differs has next to no standard error and an endless t; quantiles stop at this
# multiple of Student's, beyond which widening no longer raised the coverage in the simulation.
MAX_QUANTILE_RATIO = 3.0
# With few groups the resampled tails are still too light, so that quantiles are taken further out: at a probability
# lessened by this over the number of groups. Chosen by simulation: 94 to 96 % coverage from 20 groups on.
TAIL_SHRINKAGE = 3.0
BATCH_NUMBERS = 4_000_000  # numbers in memory at once, per batch of resamples


@dataclass(frozen=True)
class Interval:
    """A value with its confidence interval.

    `low` and `high` are NaN when there is only one group: nothing then tells how groups differ.
    """

    value: float
    low: float
    high: float
    num_groups: int
    num_items: int
    confidence: float = 0.95


def ratio_interval(
    systems: Sequence[Measurements],
    *,
    confidence: float = 0.95,
    num_resamples: int = 10_000,
    seed: int | np.random.Generator = 0,
    possible_range: tuple[float, float] = (-np.inf, np.inf),
) -> Interval:
    """Return the interval of a ratio (one system) or of a difference of ratios (two systems, on the same groups).

    Args:
        confidence: between 0 and 1.
        num_resamples: of the groups.
        seed: a seed or a numpy Generator.
        possible_range: of the value, where it is known, such as (0, 1) for accuracy; the interval ends there.

    Source: Hall, "The Bootstrap and Edgeworth Expansion", 1992, section 3.2 (bootstrap-t); the cap on its
    quantiles and the jackknife standard error are ours.
    """
    spread = measure_spread(systems)
    low = high = float("nan")
    if spread.num_groups > 1:
        low_t, high_t = _bootstrap_t_quantiles(spread.totals, confidence, num_resamples, np.random.default_rng(seed))
        low = max(possible_range[0], spread.value - spread.half_width(high_t, confidence))
        high = min(possible_range[1], spread.value + spread.half_width(low_t, confidence))
    num_items = len(systems[0].numerators) // systems[0].num_trainings
    return Interval(spread.value, float(low), float(high), spread.num_groups, num_items, confidence)


def student_quantile(num_groups: int, confidence: float) -> float:
    """Half-width of an interval in standard errors if groups varied normally."""
    return float(stats.t.isf(_tail_probability(num_groups, confidence), num_groups - 1))


def batches(num_resamples: int, num_groups: int) -> Iterator[int]:
    """Yield sizes that add up to `num_resamples`, each small enough for `num_groups` numbers per resample."""
    size = max(1, BATCH_NUMBERS // num_groups)
    for start in range(0, num_resamples, size):
        yield min(size, num_resamples - start)


def _bootstrap_t_quantiles(
    totals: np.ndarray, confidence: float, num_resamples: int, generator: np.random.Generator
) -> tuple[float, float]:
    """Quantiles of (resampled value - value) / its standard error, as distances from 0 downwards and upwards."""
    num_groups, num_systems, _ = totals.shape
    whole = totals.sum(axis=0)
    # Columns: for each system residual and denominator; the residuals add up to 0, so that nothing cancels below.
    columns = totals.copy()
    columns[..., 0] -= whole[:, 0] / whole[:, 1] * totals[..., 1]
    columns = columns.reshape(num_groups, -1)
    products = (columns[:, :, None] * columns[:, None, :]).reshape(num_groups, -1)
    signs = np.array([1.0, -1.0])[:num_systems]
    statistics = []
    for size in batches(num_resamples, num_groups):
        counts = _resample_counts(size, num_groups, generator)
        sums = (counts @ columns).reshape(size, num_systems, 2)
        deviations = sums[..., 0] / sums[..., 1]
        # The variance of the resampled value is a' P a, with P the summed products and a its derivatives.
        derivatives = signs[:, None] * np.stack([np.ones_like(deviations), -deviations], axis=-1) / sums[..., 1:]
        derivatives = derivatives.reshape(size, -1)
        moments = (counts @ products).reshape(size, columns.shape[1], -1)
        variances = np.einsum("ri,rij,rj->r", derivatives, moments, derivatives) * num_groups / (num_groups - 1)
        statistics.append(_studentize(deviations @ signs, variances))
    limit = MAX_QUANTILE_RATIO * student_quantile(num_groups, confidence)
    tail = _tail_probability(num_groups, confidence)
    clipped = np.clip(np.concatenate(statistics), -limit, limit)
    # Both from below, so that exchanging the systems exchanges the ends exactly.
    downwards, upwards = (-np.quantile(sign * clipped, tail, method="averaged_inverted_cdf") for sign in (1, -1))
    return max(0.0, downwards), max(0.0, upwards)


def _tail_probability(num_groups: int, confidence: float) -> float:
    return (1 - confidence) / 2 * (1 - TAIL_SHRINKAGE / max(num_groups, 2 * TAIL_SHRINKAGE))


def _resample_counts(size: int, num_groups: int, generator: np.random.Generator) -> np.ndarray:
    """How often each group is drawn in each resample: (size, groups)."""
    drawn = generator.integers(num_groups, size=(size, num_groups)) + num_groups * np.arange(size)[:, None]
    return np.bincount(drawn.ravel(), minlength=size * num_groups).reshape(size, num_groups).astype(float)


def _studentize(deviations: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """Divide by standard errors; a deviation without one is endless, no deviation is 0."""
    negligible = variances <= 1e-12 * max(np.median(variances), np.finfo(float).tiny)
    with np.errstate(divide="ignore", invalid="ignore"):
        studentized = deviations / np.sqrt(np.where(negligible, 0.0, variances))
    return np.where(np.abs(deviations) <= 1e-12 * np.max(np.abs(deviations), initial=0.0), 0.0, studentized)
