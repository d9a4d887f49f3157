"""How many groups (speakers, pieces) a comparison would need before it can tell."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from antiphon.eval.intervals import student_quantile
from antiphon.eval.variance import Spread

MAX_GROUPS = 1_000_000


@dataclass(frozen=True)
class PowerEstimate:
    """What it takes to detect a difference.

    `num_groups` is None where no number of groups suffices: the difference is 0, or, as `limited_by_trainings` says,
    trainings differ too much among one another, so that only more trainings would help.
    """

    num_groups: int | None
    limited_by_trainings: bool
    power_now: float


def groups_needed(
    spread: Spread, *, difference: float | None = None, power: float = 0.8, level: float = 0.05
) -> PowerEstimate:
    """Estimate how many groups like those measured would detect a difference.

    Detecting means that the interval excludes 0. What a second grouping and training anew add to the variance is taken
    as it is: more groups of the main grouping do not reduce it. An observed difference is an uncertain guess of the
    true one, so the number is an order of magnitude; `eval/benchmark_statistics.py` measures by how much it errs.

    Args:
        spread: of the observed difference.
        difference: to be detected; the observed one if None.
        power: wanted probability of detecting it.
        level: 1 minus the confidence of the interval.

    Source: normal approximation as in Cohen, "Statistical Power Analysis for the Behavioral Sciences", 1988, with the
    half-width of `antiphon.eval.intervals`.
    """
    difference = abs(spread.value if difference is None else difference)
    variance_of_group = spread.group_variance * len(spread.totals)

    def power_with(num_groups: int) -> float:
        enlarged = replace(spread, group_variance=variance_of_group / num_groups)
        half_width = enlarged.half_width(student_quantile(num_groups, 1 - level), 1 - level)
        standard_error = np.sqrt(enlarged.group_variance + spread.crossed_variance + spread.training_variance)
        if standard_error == 0:
            return float(difference > 0)
        return float(stats.norm.sf((half_width - difference) / standard_error))

    power_now = power_with(len(spread.totals)) if len(spread.totals) > 1 else 0.0
    if power_with(MAX_GROUPS) < power:
        return PowerEstimate(None, difference > 0 and spread.training_variance > 0, power_now)
    too_few, enough = 1, 2
    while power_with(enough) < power:
        too_few, enough = enough, 2 * enough
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        too_few, enough = (too_few, middle) if power_with(middle) >= power else (middle, enough)
    return PowerEstimate(enough, False, power_now)
