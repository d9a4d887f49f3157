"""Intervals, tests and plain verdicts for metrics measured on items that come in groups.

Utterances of one speaker (or segments of one piece) resemble one another, so the group, not the item, is the unit
that is resampled or flipped. Every function here reduces the items to one sum per group first: a resample then costs
one addition per group, however many items there are.

Shapes: `items` is the number of measured items, `groups` that of the different labels among them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

MIN_GROUPS_FOR_POPULATION = 10


@dataclass(frozen=True)
class Interval:
    """A value with its bootstrap confidence interval.

    `low` and `high` are NaN when there is only one group: nothing then tells how groups differ.
    """

    value: float
    low: float
    high: float
    num_groups: int
    num_items: int
    confidence: float = 0.95


@dataclass(frozen=True)
class PermutationTest:
    """Outcome of a two-sided sign-flip test.

    `smallest_p_value` is the least that any outcome could have given: with 6 groups 2 / 2**6.
    """

    p_value: float
    smallest_p_value: float
    num_groups: int
    exact: bool


def group_sums(groups: Sequence, *columns) -> list[np.ndarray]:
    """Add up each column within each group.

    Args:
        groups: (items,) label of each item's group, such as its speaker.
        columns: each (items,), numbers.

    Returns:
        For each column its sums, (groups,), in the sorted order of the labels.

    Raises:
        ValueError: if nothing was measured, lengths differ, or a column holds NaN or infinity.
    """
    labels, group_of_item = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    if len(labels) == 0:
        raise ValueError("`groups` is empty; expected one label per item. Check that the split holds any items.")
    sums = []
    for column in columns:
        column = np.asarray(column, dtype=np.float64)
        if column.shape != group_of_item.shape:
            raise ValueError(
                f"a column has shape {column.shape} but `groups` has {group_of_item.shape}; "
                "expected one number and one label per item."
            )
        if not np.isfinite(column).all():
            raise ValueError(
                f"a column holds {np.sum(~np.isfinite(column))} NaN or infinite values; expected finite numbers. "
                "Drop or repair those items openly before measuring."
            )
        sums.append(np.bincount(group_of_item, weights=column, minlength=len(labels)))
    return sums


def bootstrap_ratio(
    numerators: Sequence[float],
    denominators: Sequence[float],
    groups: Sequence,
    *,
    confidence: float = 0.95,
    num_resamples: int = 10_000,
    seed: int | np.random.Generator = 0,
) -> Interval:
    """Interval of a ratio of sums, such as the word error rate, by resampling whole groups.

    The percentile interval is used: it stays inside the metric's range and exists for degenerate data, where BCa is
    NaN. With few groups it is too narrow: in a simulation of skewed per-speaker error rates 95 % intervals covered
    84 % at 6 groups, 88 % at 10 and 94 % at 100; BCa did no better.

    Args:
        numerators: (items,), such as word errors.
        denominators: (items,), such as reference words; their total must be positive.
        groups: (items,) label of each item's group.
        confidence: between 0 and 1.
        seed: a seed or a numpy Generator.

    Raises:
        ValueError: as `group_sums`, and if the denominators add up to nothing, over all or within a group.

    Source: Bisani & Ney, "Bootstrap estimates for confidence intervals in ASR performance evaluation", ICASSP 2004,
    eq. 4-6; here speakers are resampled instead of sentences.
    """
    numerator_sums, denominator_sums = group_sums(groups, numerators, denominators)
    if (denominator_sums <= 0).any():
        raise ValueError(
            f"`denominators` sum to 0 or less in {np.sum(denominator_sums <= 0)} of {len(denominator_sums)} groups; "
            "expected a positive total in each. Leave out groups without any reference words, and say so."
        )
    value = float(numerator_sums.sum() / denominator_sums.sum())
    low = high = float("nan")
    if len(numerator_sums) > 1:
        low, high = stats.bootstrap(
            (numerator_sums, denominator_sums),
            lambda numerator, denominator, axis: numerator.sum(axis) / denominator.sum(axis),
            paired=True,
            vectorized=True,
            n_resamples=num_resamples,
            batch=1_000,  # bounds memory: 1,000 x groups numbers at once
            confidence_level=confidence,
            method="percentile",
            rng=np.random.default_rng(seed),
        ).confidence_interval
    return Interval(value, float(low), float(high), len(numerator_sums), len(groups), confidence)


def bootstrap_mean(values: Sequence[float], groups: Sequence, **options) -> Interval:
    """Interval of the mean over items (not over groups), by resampling whole groups; options as `bootstrap_ratio`."""
    return bootstrap_ratio(values, np.ones(len(values)), groups, **options)


def bootstrap_difference(
    values: Sequence[float],
    baseline_values: Sequence[float],
    groups: Sequence,
    denominators: Sequence[float] | None = None,
    **options,
) -> Interval:
    """Interval of the paired difference between two systems measured on the same items.

    Args:
        values: (items,) of the system: word errors, or any value whose mean is compared.
        baseline_values: (items,) of the baseline, on the same items in the same order.
        groups: (items,) label of each item's group.
        denominators: (items,) that both systems share, such as reference words; ones (a difference of means) if None.
        options: as `bootstrap_ratio`.

    Returns:
        The interval of system minus baseline: below 0 means that the system has less.
    """
    differences = paired_differences(values, baseline_values)
    return bootstrap_ratio(
        differences, np.ones(len(differences)) if denominators is None else denominators, groups, **options
    )


def paired_permutation_test(
    values: Sequence[float],
    baseline_values: Sequence[float],
    groups: Sequence,
    *,
    num_resamples: int = 9_999,
    seed: int | np.random.Generator = 0,
) -> PermutationTest:
    """Two-sided test that two systems do equally well, by exchanging them within whole groups.

    Exchanging the systems in a group flips the sign of its summed difference. All 2**groups sign patterns are
    enumerated when they are no more than `num_resamples` (up to 13 groups by default); otherwise that many are drawn.
    Denominators that the systems share, such as reference words, do not change the outcome.

    Args:
        values: (items,) of the system.
        baseline_values: (items,) of the baseline, on the same items in the same order.
        groups: (items,) label of each item's group.
        seed: a seed or a numpy Generator.

    Source: Fisher, "The Design of Experiments", 1935, section 21, with groups as the units; drawn patterns count the
    observed one, so that p is never 0 (Phipson & Smyth 2010).
    """
    (sums,) = group_sums(groups, paired_differences(values, baseline_values))
    exact = 2 ** len(sums) <= num_resamples
    smallest = 2.0 ** (1 - len(sums)) if exact else 2.0 / (num_resamples + 1)
    p_value = 1.0
    if len(sums) > 1:
        p_value = stats.permutation_test(
            (sums,),
            lambda flipped, axis: flipped.sum(axis),
            permutation_type="samples",
            vectorized=True,
            n_resamples=num_resamples,
            batch=1_000,
            rng=np.random.default_rng(seed),
        ).pvalue
    return PermutationTest(float(p_value), smallest, len(sums), exact)


def paired_differences(values: Sequence[float], baseline_values: Sequence[float]) -> np.ndarray:
    """Return system minus baseline, (items,), refusing lists that cannot belong to the same items."""
    values, baseline_values = np.asarray(values, dtype=np.float64), np.asarray(baseline_values, dtype=np.float64)
    if values.shape != baseline_values.shape:
        raise ValueError(
            f"`values` has shape {values.shape} but `baseline_values` has {baseline_values.shape}; "
            "a paired comparison expects both systems on the same items in the same order."
        )
    return values - baseline_values


def holm_correction(p_values: Sequence[float]) -> np.ndarray:
    """Adjust p-values for several comparisons, keeping the family-wise error rate.

    Args:
        p_values: (comparisons,), each between 0 and 1.

    Returns:
        (comparisons,) adjusted p-values in the given order, to be compared with the usual level.

    Source: Holm, "A simple sequentially rejective multiple test procedure", 1979; adjusted form as in R's `p.adjust`.
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    if not ((p_values >= 0) & (p_values <= 1)).all():
        raise ValueError(f"`p_values` are {p_values.tolist()}; expected each between 0 and 1.")
    order = np.argsort(p_values)
    scaled = p_values[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(scaled))
    return adjusted


def population_claims(num_groups: int, group_name: str = "speaker") -> list[str]:
    """Say what so few groups cannot show; empty from 10 groups on."""
    if num_groups >= MIN_GROUPS_FOR_POPULATION:
        return []
    return [f"cannot tell about a population from {_count(num_groups, group_name)}"]


def is_better(
    difference: Interval, test: PermutationTest, *, higher_is_better: bool, level: float = 0.05
) -> bool | None:
    """Whether a system beats its baseline; None when it seems to, but no outcome of the test could have shown it.

    Args:
        difference: of system minus baseline.
        test: on the same items.
        level: p must lie below this.
    """
    if difference.value == 0 or (difference.value > 0) != higher_is_better:
        return False
    if test.p_value < level:
        return True
    # 5 groups cannot reach p < .05 however large their differences, so they do not speak against the system either.
    return None if test.smallest_p_value >= level else False


def baseline_claims(beaten: bool | None, test: PermutationTest, group_name: str = "speaker") -> list[str]:
    """Say in plain words when the best baseline that hears nothing is not beaten; empty when it is.

    Args:
        beaten: as `is_better` returns it.
    """
    if beaten:
        return []
    if beaten is None:
        return [
            f"cannot tell from {_count(test.num_groups, group_name)} whether this is better than hearing nothing: "
            f"no p below {test.smallest_p_value:.2g} is attainable"
        ]
    return [f"NOT BETTER THAN HEARING NOTHING (p = {test.p_value:.2g} over {_count(test.num_groups, group_name)})"]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
