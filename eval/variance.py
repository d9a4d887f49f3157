"""What was measured on items that come in groups, and how much an estimate made from it varies.

An estimate is a ratio of sums (one system) or the difference of two such ratios (two systems on the same items).

Shapes: `rows` is items times trainings, `groups` the number of different labels, `systems` is 1 or 2.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

SEPARATOR = "\x1f"  # between the labels of a cell, so that ("a", "bc") and ("ab", "c") stay apart


@dataclass(frozen=True)
class Measurements:
    """What one system scored, one row per item and training.

    Args:
        numerators: (rows,), such as word errors.
        denominators: (rows,), such as reference words.
        groupings: one or two arrays of labels, (rows,), such as speakers and sentences.
        trainings: (rows,) label of the training that the row comes from; None if there is only one.
    """

    numerators: np.ndarray
    denominators: np.ndarray
    groupings: tuple[np.ndarray, ...]
    trainings: np.ndarray | None = None

    @property
    def num_trainings(self) -> int:
        """Number of different trainings."""
        return 1 if self.trainings is None else len(np.unique(self.trainings))


@dataclass(frozen=True)
class Spread:
    """How an estimate varies: between the groups of its main grouping, and for other reasons.

    Args:
        totals: (groups, systems, 2) sums of numerators and denominators, averaged over trainings.
        group_variance: of the estimate, from the groups of the main grouping.
        crossed_variance: of the estimate, what the second grouping adds; 0 without one.
        crossed_degrees: degrees of freedom of `crossed_variance`.
        training_variance: of the estimate, what training anew adds; 0 with one training.
        training_degrees: degrees of freedom of `training_variance`.
        num_groups: in the grouping with the fewest groups.
    """

    totals: np.ndarray
    group_variance: float
    crossed_variance: float
    crossed_degrees: int
    training_variance: float
    training_degrees: int
    num_groups: int

    @property
    def value(self) -> float:
        """The ratio, or the first ratio minus the second."""
        return float(ratio_difference(self.totals.sum(axis=0)))

    def half_width(self, group_quantile: float, confidence: float) -> float:
        """Distance from the value to one end of its interval.

        Args:
            group_quantile: in standard errors, as if groups were the only source of variance.
            confidence: of the interval; gives the other sources Student's quantile with their degrees of freedom.

        Returns:
            The standard error from all sources times the mean of their quantiles, weighted by variance.

        Source: Cochran & Cox, "Experimental Designs", 1957, section 4.14.
        """
        variances = np.array([self.group_variance, self.crossed_variance, self.training_variance])
        if not variances.any():
            return 0.0
        others = stats.t.ppf((1 + confidence) / 2, [self.crossed_degrees, self.training_degrees])
        quantile = np.average([group_quantile, *others], weights=variances)
        return float(quantile * np.sqrt(variances.sum()))


def measurements(
    numerators: Sequence[float],
    denominators: Sequence[float],
    groups: Sequence,
    training_seeds: Sequence | None = None,
) -> Measurements:
    """Check and gather what one system scored.

    Args:
        numerators: (rows,).
        denominators: (rows,); their total must be positive in each group.
        groups: (rows,) labels, or two such sequences where two groupings are crossed.
        training_seeds: (rows,) label of the training that each row comes from; None if there is only one.

    Raises:
        ValueError: if nothing was measured, lengths differ, numbers are not finite, or a group has no denominator.
    """
    crossed = len(groups) == 2 and all(np.ndim(labels) == 1 for labels in groups)
    groupings = tuple(np.asarray(labels, dtype=str) for labels in (groups if crossed else [groups]))
    for labels in groupings:
        _, denominator_sums = group_sums(labels, numerators, denominators)
        if (denominator_sums <= 0).any():
            raise ValueError(
                f"`denominators` sum to 0 or less in {np.sum(denominator_sums <= 0)} of {len(denominator_sums)} "
                "groups; expected a positive total in each. Leave out groups without any reference words, and say so."
            )
    trainings = None if training_seeds is None else np.asarray(training_seeds, dtype=str)
    if trainings is not None and trainings.shape != groupings[0].shape:
        raise ValueError(
            f"`training_seeds` has shape {trainings.shape} but `groups` has {groupings[0].shape}; "
            "expected one label of a training per row, or None."
        )
    return Measurements(np.asarray(numerators, float), np.asarray(denominators, float), groupings, trainings)


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


def ratio_difference(sums: np.ndarray) -> np.ndarray:
    """Return numerator / denominator of the first system, minus that of the second if there is one.

    Args:
        sums: (..., systems, 2).
    """
    ratios = sums[..., 0] / sums[..., 1]
    return ratios[..., 0] - ratios[..., 1:].sum(axis=-1)


def measure_spread(systems: Sequence[Measurements]) -> Spread:
    """Estimate the sources of variance of a ratio (one system) or of a difference of ratios (two).

    With two groupings the variance is V_A + V_B - V_AB. The grouping with the larger variance is the main one, A; V_B
    and V_AB are measured within its groups, so that a second grouping nested in the first adds nothing. Trainings are
    nested in their system: theirs is the variance of the per-training ratios less the part that the interaction of
    trainings with groups explains, which the variance between groups already holds.

    Source: Cameron, Gelbach & Miller, "Robust inference with multiway clustering", 2011, eq. 2.11, with jackknife
    instead of sandwich variances.
    """
    totals = [
        _totals(systems, [system.groupings[index] for system in systems]) for index in range(len(systems[0].groupings))
    ]
    variances = [_jackknife_variance(own) for own in totals]
    main = int(np.argmax(variances))
    crossed_variance, crossed_degrees = 0.0, 1
    if len(totals) == 2 and min(map(len, totals)) > 1:  # one group of either says nothing of the other
        crossed_variance, crossed_degrees = _crossed_variance(systems, main), max(1, len(totals[1 - main]) - 1)
    training_variance = sum(_training_variance(system, system.groupings[main]) for system in systems)
    return Spread(
        totals=totals[main],
        group_variance=variances[main],
        crossed_variance=crossed_variance,
        crossed_degrees=crossed_degrees,
        training_variance=max(0.0, training_variance),
        training_degrees=max(1, sum(system.num_trainings - 1 for system in systems)),
        num_groups=min(map(len, totals)),
    )


def _totals(systems: Sequence[Measurements], labels: Sequence[np.ndarray]) -> np.ndarray:
    """Sums of each system within its labels, averaged over trainings: (groups, systems, 2)."""
    sums = [
        np.stack(group_sums(own, system.numerators, system.denominators), axis=-1) / system.num_trainings
        for own, system in zip(labels, systems)
    ]
    return np.stack(sums, axis=1)


def _jackknife_changes(totals: np.ndarray) -> np.ndarray:
    """How the ratio or difference changes when each group is left out: (groups,); totals: (groups, systems, 2)."""
    whole = totals.sum(axis=0)
    changes = ratio_difference(whole - totals) - ratio_difference(whole)
    scale = np.max(np.abs(totals[..., 0]).sum(axis=0) / whole[:, 1])
    changes[np.abs(changes) < 1e-12 * scale] = 0.0  # rounding, where all groups are equal
    return changes


def _jackknife_variance(totals: np.ndarray) -> float:
    num_groups = len(totals)
    if num_groups == 1:
        return 0.0
    return float((num_groups - 1) / num_groups * np.sum(_jackknife_changes(totals) ** 2))


def _crossed_variance(systems: Sequence[Measurements], main: int) -> float:
    """What a second grouping adds to the variance between the groups of the main one: V_B - V_AB."""
    cells = [np.strings.add(np.strings.add(s.groupings[main], SEPARATOR), s.groupings[1 - main]) for s in systems]
    changes = _jackknife_changes(_totals(systems, cells))
    labels = np.array([cell.split(SEPARATOR) for cell in np.unique(cells[0])])
    _, group_of_cell = np.unique(labels[:, 0], return_inverse=True)
    numbers = np.bincount(group_of_cell)
    means = np.bincount(group_of_cell, weights=changes) / numbers
    # A mean over few cells takes some of their variance along: n / (n - 1) restores it.
    deviations = (changes - means[group_of_cell]) * np.sqrt(numbers / np.maximum(1, numbers - 1))[group_of_cell]
    (sums,) = group_sums(labels[:, 1], deviations)
    return max(0.0, float(np.sum(sums**2) - np.sum(deviations**2)))


def _training_variance(system: Measurements, groups: np.ndarray) -> float:
    """What training anew adds to the variance of a system's ratio over its trainings; by chance it may be negative."""
    if system.num_trainings == 1:
        return 0.0
    own = [system.trainings == training for training in np.unique(system.trainings)]
    sums = np.stack(
        [np.stack(group_sums(groups[rows], system.numerators[rows], system.denominators[rows])) for rows in own]
    )
    num_trainings, _, num_groups = sums.shape
    if num_groups == 1:
        return 0.0
    numerators, denominators = sums[:, 0], sums[:, 1]
    whole = denominators.sum(axis=1, keepdims=True)
    ratios = numerators.sum(axis=1, keepdims=True) / whole
    residuals = (numerators - ratios * denominators) / whole
    interaction = np.sum((residuals - residuals.mean(axis=0)) ** 2) * num_groups / (num_groups - 1)
    return float(np.var(ratios, ddof=1) - interaction / (num_trainings - 1)) / num_trainings
