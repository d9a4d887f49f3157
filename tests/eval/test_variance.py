"""Sources of variance: hand-computed cases and an independent two-way analysis."""

import numpy as np
import pytest

from antiphon.eval.variance import measure_spread, measurements


def test_variance_between_equal_groups_is_that_of_their_mean():
    values = np.array([1.0, 2.0, 6.0, 7.0])
    spread = measure_spread([measurements(np.repeat(values, 3), np.ones(12), np.repeat(list("abcd"), 3))])
    # Mean 4, squared deviations 9 + 4 + 4 + 9 = 26, / 3 / 4 groups.
    assert spread.value == pytest.approx(4)
    assert spread.group_variance == pytest.approx(26 / 12)
    assert (spread.crossed_variance, spread.training_variance) == (0, 0)


def test_variance_of_a_difference_of_ratios_by_leaving_groups_out():
    errors, words = np.array([1, 5, 4, 9]), np.array([10, 20, 30, 40])
    other, other_words = np.array([2, 2, 8, 5]), np.array([10, 25, 20, 50])
    spread = measure_spread([measurements(errors, words, list("abcd")), measurements(other, other_words, list("abcd"))])

    def difference(kept):
        return errors[kept].sum() / words[kept].sum() - other[kept].sum() / other_words[kept].sum()

    everything = np.ones(4, dtype=bool)
    left_out = [difference(np.arange(4) != group) for group in range(4)]
    assert spread.value == pytest.approx(difference(everything))
    expected = 3 / 4 * sum((value - difference(everything)) ** 2 for value in left_out)
    assert spread.group_variance == pytest.approx(expected)


def test_training_variance_by_hand():
    # The trainings score .1 and .3 in each of two groups: variance .02 over 2 trainings, and no interaction.
    system = measurements([1, 1, 3, 3], [10] * 4, ["a", "b", "a", "b"], [1, 1, 2, 2])
    spread = measure_spread([system])
    assert spread.training_variance == pytest.approx(0.01)
    assert spread.training_degrees == 1
    assert spread.group_variance == 0


def test_what_trainings_gain_here_and_lose_there_is_no_training_variance():
    # Training 2 wins in one group what it loses in the other: groups explain all of it.
    spread = measure_spread([measurements([1, 3, 3, 1], [10] * 4, ["a", "b", "a", "b"], [1, 1, 2, 2])])
    assert spread.training_variance == 0


def test_variance_components_match_the_two_way_analysis_of_variance():
    values = np.random.default_rng(0).normal(size=(5, 1, 7)) + np.random.default_rng(1).normal(size=(5, 4, 7))
    values = values[0] + np.arange(4)[:, None]  # (trainings, groups)
    num_trainings, num_groups = values.shape
    system = measurements(values.ravel(), np.ones(28), np.tile(np.arange(7), 4), np.repeat(np.arange(4), 7))
    interaction = values - values.mean(0) - values.mean(1, keepdims=True) + values.mean()
    mean_square = np.sum(interaction**2) / ((num_trainings - 1) * (num_groups - 1))
    between = num_groups * np.var(values.mean(1), ddof=1)
    spread = measure_spread([system])
    assert spread.training_variance == pytest.approx((between - mean_square) / (num_trainings * num_groups))
    assert spread.group_variance == pytest.approx(np.var(values.mean(0), ddof=1) / num_groups)


def test_two_systems_with_different_numbers_of_trainings():
    once = measurements([1, 2, 4], [10] * 3, list("abc"))
    twice = measurements([1, 2, 3, 3, 4, 5], [10] * 6, list("abcabc"), [1, 1, 1, 2, 2, 2])
    spread = measure_spread([twice, once])
    assert spread.value == pytest.approx(18 / 60 - 7 / 30)
    assert spread.training_degrees == 1
    assert spread.training_variance == pytest.approx(np.var([0.2, 0.4], ddof=1) / 2)


def test_crossed_variance_is_that_of_the_second_grouping_less_the_cells():
    # Cells are speaker (0 4 8) plus sentence (0 3 6) exactly.
    speakers, sentences = np.repeat([0.0, 4.0, 8.0], 3), np.tile([0.0, 3.0, 6.0], 3)
    labels = [np.repeat(list("abc"), 3), np.tile(list("xyz"), 3)]
    spread = measure_spread([measurements(speakers + sentences, np.ones(9), labels)])
    # Speakers vary by 16 over 3 groups, sentences by 9 over 3. Of the sentences' 3, the cells of 3 speakers account for
    # a third. Leaving out one cell of nine changes the mean by 9/8 of its deviation.
    assert spread.group_variance == pytest.approx(16 / 3)
    assert spread.crossed_variance == pytest.approx((3 - 1) * (9 / 8) ** 2)
    assert spread.num_groups == 3


def test_one_group_of_the_second_grouping_adds_nothing():
    spread = measure_spread([measurements([1.0, 2.0, 4.0], np.ones(3), [list("abc"), list("xxx")])])
    assert (spread.crossed_variance, spread.num_groups) == (0, 1)
    alone = measure_spread([measurements([1.0], [1.0], [["a"], ["x"]])])
    assert (alone.value, alone.num_groups, alone.group_variance) == (1, 1, 0)
