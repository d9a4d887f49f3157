"""How many groups would tell: agreement with theory, monotony, and when groups alone never can."""

import numpy as np
import pytest
from scipy import stats

from antiphon.eval.power import groups_needed
from antiphon.eval.variance import measure_spread, measurements


def spread_of(values, trainings=None):
    values = np.asarray(values, dtype=float)
    repeats = 1 if trainings is None else len(trainings)
    rows = values if trainings is None else np.concatenate([values + shift for shift in trainings])
    return measure_spread(
        [
            measurements(
                rows,
                np.ones(len(rows)),
                np.tile(np.arange(len(values)), repeats),
                None if trainings is None else np.repeat(np.arange(repeats), len(values)),
            )
        ]
    )


def standardized(num_groups, mean):
    values = np.random.default_rng(0).normal(size=num_groups)
    return (values - values.mean()) / values.std(ddof=1) + mean


def test_number_agrees_with_the_noncentral_t():
    needed = groups_needed(spread_of(standardized(30, 0.3)))
    enough = next(n for n in range(5, 500) if stats.nct.sf(stats.t.ppf(0.975, n - 1), n - 1, 0.3 * np.sqrt(n)) >= 0.8)
    assert needed.num_groups == pytest.approx(enough, abs=3)
    assert 0.2 < needed.power_now < 0.5


def test_a_smaller_difference_needs_more_groups_and_a_large_one_no_more():
    spread = spread_of(standardized(30, 0.3))
    small, large = (groups_needed(spread, difference=difference).num_groups for difference in (0.1, 1.5))
    assert small > 9 * groups_needed(spread).num_groups * 0.9
    assert large < 30


def test_no_difference_needs_no_number():
    needed = groups_needed(spread_of([-1.0, 1.0, -2.0, 2.0]))
    assert needed.num_groups is None
    assert not needed.limited_by_trainings


def test_trainings_that_differ_more_than_systems_cannot_be_outvoted_by_groups():
    values = standardized(30, 0.3)
    alike = groups_needed(spread_of(values, trainings=[0, 0, 0]))
    unlike = groups_needed(spread_of(values, trainings=[-0.5, 0, 0.5]))
    assert alike.num_groups == groups_needed(spread_of(values)).num_groups
    assert unlike.num_groups is None
    assert unlike.limited_by_trainings


def test_equal_groups_need_two():
    assert groups_needed(spread_of([1.0, 1.0, 1.0])).num_groups == 2
