"""A test that two systems do equally well, by exchanging them within whole groups."""

from dataclasses import dataclass

import numpy as np

from antiphon.eval.intervals import batches, student_quantile
from antiphon.eval.variance import Spread, ratio_difference


@dataclass(frozen=True)
class PermutationTest:
    """Outcome of a two-sided exchange (sign-flip) test.

    `smallest_p_value` is the least that any outcome could have given: with 6 groups 2 / 2**6.
    """

    p_value: float
    smallest_p_value: float
    num_groups: int
    exact: bool


def exchange_test(
    totals: np.ndarray, spread: Spread, *, num_resamples: int = 9_999, seed: int | np.random.Generator = 0
) -> PermutationTest:
    """Rank the observed difference among those after exchanging the two systems in some of the groups.

    All 2**groups patterns are enumerated when they are no more than `num_resamples` (up to 13 groups by default);
    otherwise that many are drawn, and the observed one is counted with them, so that p is never 0.

    Exchanges within groups know nothing of a second grouping or of training anew. Where these add variance, the
    observed difference is ranked after dividing it by how much they widen the 95 % interval, so that the test errs
    about as often as the interval does; where groups do not vary at all but these do, p is 1.

    Args:
        totals: (groups, 2, 2) sums per group of each system's numerators and denominators.
        spread: of the same difference.
        seed: a seed or a numpy Generator.

    Source: Fisher, "The Design of Experiments", 1935, section 21, with groups as the units; Phipson & Smyth,
    "Permutation p-values should never be zero", 2010.
    """
    num_groups = len(totals)
    exact = 2**num_groups <= num_resamples
    smallest = 2.0 ** (1 - num_groups) if exact else 1.0 / (num_resamples + 1)
    observed = abs(ratio_difference(totals.sum(axis=0))) / _widening(spread, num_groups)
    threshold = observed - 1e-9 * np.max(np.abs(totals[..., 0]).sum(axis=0) / totals[..., 1].sum(axis=0))
    if exact:
        signs = 1.0 - 2.0 * (np.arange(2**num_groups)[:, None] >> np.arange(num_groups) & 1)
        p_value = np.mean(_exchanged_differences(totals, signs) >= threshold)
    else:
        generator = np.random.default_rng(seed)
        as_large = sum(
            np.sum(_exchanged_differences(totals, generator.choice([-1.0, 1.0], (size, num_groups))) >= threshold)
            for size in batches(num_resamples, num_groups)
        )
        p_value = (as_large + 1) / (num_resamples + 1)
    return PermutationTest(float(p_value), smallest, num_groups, exact)


def _exchanged_differences(totals: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """Absolute differences, (patterns,), where the systems are exchanged in the groups whose sign is -1."""
    halves = totals.sum(axis=(0, 1)) / 2
    changes = signs @ (totals[:, 0] - totals[:, 1]) / 2
    return np.abs(ratio_difference(np.stack([halves + changes, halves - changes], axis=1)))


def _widening(spread: Spread, num_groups: int) -> float:
    """How many times wider the second grouping and training anew make the 95 % interval."""
    if num_groups == 1:
        return 1.0
    quantile = student_quantile(num_groups, 0.95)
    half_width = spread.half_width(quantile, 0.95)
    if half_width <= 1e-9 * abs(spread.value):  # nothing varies; what is left is rounding
        return 1.0
    of_groups = quantile * np.sqrt(spread.group_variance)
    return half_width / of_groups if of_groups > 0 else np.inf
