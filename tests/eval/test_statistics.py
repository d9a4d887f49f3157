"""Statistics: hand-computed cases, agreement with scipy, and the error rates that an interval and a test promise."""

import numpy as np
import pytest
from scipy import stats

from antiphon.eval import statistics

SIX_SPEAKERS = list("abcdef")


def test_ratio_is_that_of_the_sums_not_the_mean_of_the_ratios():
    interval = statistics.bootstrap_ratio([1, 0, 3], [2, 8, 10], ["a", "a", "b"])
    assert interval.value == pytest.approx(4 / 20)
    assert (interval.num_groups, interval.num_items) == (2, 3)
    assert interval.low < 1 / 10 < 3 / 10 < interval.high


def test_interval_equals_one_resampled_with_loops():
    generator = np.random.default_rng(3)
    values = generator.gamma(1.5, size=12)
    ours = statistics.bootstrap_mean(np.repeat(values, 5), np.repeat(np.arange(12), 5), seed=1, num_resamples=20_000)
    statistic = [
        (sample.mean() - values.mean()) / (sample.std(ddof=1) / np.sqrt(12))
        for sample in generator.choice(values, (20_000, 12))
    ]
    tail = 0.025 * (1 - 3 / 12)
    low, high = np.quantile(statistic, [tail, 1 - tail])
    standard_error = values.std(ddof=1) / np.sqrt(12)
    expected = (values.mean() - high * standard_error, values.mean() - low * standard_error)
    assert (ours.low, ours.high) == pytest.approx(expected, abs=0.08)


def test_interval_of_skewed_errors_is_skewed_and_that_of_many_groups_nears_students():
    rates = np.random.default_rng(2).gamma(1.0, size=(2, 400))
    few = statistics.bootstrap_mean(rates[0, :15], np.arange(15))
    assert few.high - few.value > 1.3 * (few.value - few.low)
    many = statistics.bootstrap_mean(rates[0], np.arange(400))
    half_width = stats.t.ppf(0.975, 399) * rates[0].std(ddof=1) / 20
    assert (many.high - many.low) / 2 == pytest.approx(half_width, rel=0.06)


def test_repeating_items_within_groups_does_not_narrow_the_interval():
    values, groups = np.arange(8.0), np.arange(8)
    once = statistics.bootstrap_mean(values, groups, seed=0)
    often = statistics.bootstrap_mean(np.repeat(values, 50), np.repeat(groups, 50), seed=0)
    assert (often.low, often.high) == pytest.approx((once.low, once.high))


@pytest.mark.parametrize("num_groups", [6, 20, 60])
def test_interval_covers_the_truth_as_often_as_it_says(num_groups):
    generator = np.random.default_rng(num_groups)
    covered = 0
    for _ in range(400):
        words = generator.integers(50, 400, num_groups)
        errors = generator.binomial(words, generator.beta(1.5, 12, num_groups))
        interval = statistics.bootstrap_ratio(errors, words, np.arange(num_groups), num_resamples=800, seed=generator)
        covered += interval.low <= 1.5 / 13.5 <= interval.high
    assert 0.92 < covered / 400 < 0.98


def test_interval_ends_where_the_metric_does():
    rates = [0.0, 0.0, 0.1, 0.0, 0.9]
    assert statistics.bootstrap_mean(rates, list("abcde")).low < 0
    assert statistics.bootstrap_mean(rates, list("abcde"), possible_range=(0, 1)).low == 0


def test_items_treated_as_groups_of_their_own_cover_too_rarely():
    generator = np.random.default_rng(1)
    covered = {"clustered": 0, "items": 0}
    for _ in range(100):
        values = np.repeat(generator.normal(size=20), 20) + generator.normal(size=400)
        for name, groups in (("clustered", np.repeat(np.arange(20), 20)), ("items", np.arange(400))):
            interval = statistics.bootstrap_mean(values, groups, num_resamples=500, seed=generator)
            covered[name] += interval.low <= 0 <= interval.high
    assert covered["clustered"] >= 85
    assert covered["items"] <= 60


def test_one_group_gives_a_value_without_an_interval():
    interval = statistics.bootstrap_mean([1.0, 3.0], ["a", "a"])
    assert interval.value == 2.0
    assert np.isnan([interval.low, interval.high]).all()


def test_seed_fixes_the_interval_and_a_generator_is_accepted():
    errors, words, groups = np.sqrt(np.arange(30)), np.arange(30) + 7, np.arange(30) % 10
    first = statistics.bootstrap_ratio(errors, words, groups, seed=5)
    assert first == statistics.bootstrap_ratio(errors, words, groups, seed=np.random.default_rng(5))
    assert first != statistics.bootstrap_ratio(errors, words, groups, seed=6)


def test_difference_is_paired():
    baseline = np.array([10.0, 20.0, 30.0, 40.0])
    difference = statistics.bootstrap_difference(baseline - 1, baseline, list("abcd"), denominators=[2, 2, 2, 2])
    # Every group improves by exactly one error in two words, however different the groups are.
    assert (difference.value, difference.low, difference.high) == pytest.approx((-0.5, -0.5, -0.5))


def test_permutation_test_enumerates_six_groups():
    test = statistics.paired_permutation_test(np.zeros(6), [1, 2, 3, 4, 5, 6], SIX_SPEAKERS)
    assert test == statistics.PermutationTest(2 / 64, 2 / 64, 6, exact=True)
    # |sum| of +-1 +-2 +-3 reaches |3 + 2 - 1| in 4 of 8 patterns: 321, 32-1 and their opposites.
    assert statistics.paired_permutation_test([0, 2, 3], [1, 0, 0], list("abc")).p_value == pytest.approx(4 / 8)


def test_permutation_test_of_identical_systems_and_of_one_group():
    assert statistics.paired_permutation_test([1, 2, 3], [1, 2, 3], list("abc")).p_value == 1.0
    lone = statistics.paired_permutation_test([0, 0], [5, 9], ["a", "a"])
    assert (lone.p_value, lone.smallest_p_value) == (1.0, 1.0)


def test_permutation_test_equals_scipy_on_two_paired_samples():
    generator = np.random.default_rng(4)
    first, second = generator.normal(0.5, 1, 11), generator.normal(0, 1, 11)
    scipys = stats.permutation_test(
        (first, second), lambda x, y, axis: (x - y).mean(axis), permutation_type="samples", vectorized=True
    )
    assert statistics.paired_permutation_test(first, second, np.arange(11)).p_value == pytest.approx(scipys.pvalue)


@pytest.mark.parametrize("num_groups", [8, 16])
def test_permutation_test_keeps_its_level_when_nothing_differs(num_groups):
    generator = np.random.default_rng(num_groups)
    rejected = 0
    for _ in range(400):
        difference = np.repeat(generator.standard_t(3, num_groups), 5)
        test = statistics.paired_permutation_test(
            difference,
            np.zeros_like(difference),
            np.repeat(np.arange(num_groups), 5),
            num_resamples=499,
            seed=generator,
        )
        assert test.exact == (num_groups == 8)
        rejected += test.p_value <= 0.05
    assert 0.02 < rejected / 400 < 0.08


def test_order_of_items_and_exchange_of_systems_change_nothing_but_the_sign():
    generator = np.random.default_rng(9)
    first, second, words = generator.poisson(3, 60), generator.poisson(2, 60), generator.integers(5, 30, 60)
    speakers, order = np.arange(60) % 12, generator.permutation(60)
    one = statistics.bootstrap_difference(first, second, speakers, words)
    shuffled = statistics.bootstrap_difference(first[order], second[order], speakers[order], words[order])
    assert (shuffled.value, shuffled.low, shuffled.high) == pytest.approx((one.value, one.low, one.high))
    mirrored = statistics.bootstrap_difference(second, first, speakers, words)
    assert (mirrored.value, mirrored.low, mirrored.high) == pytest.approx((-one.value, -one.high, -one.low))
    test = statistics.paired_permutation_test(first, second, speakers)
    assert statistics.paired_permutation_test(second, first, speakers) == test


def test_repeating_a_training_changes_nothing():
    generator = np.random.default_rng(5)
    errors, other, words, speakers = (
        generator.poisson(3, 60),
        generator.poisson(3, 60),
        np.full(60, 9),
        np.arange(60) % 15,
    )
    seeds = np.repeat([1, 2, 3], 60)
    once = statistics.bootstrap_difference(errors, other, speakers, words)
    thrice = statistics.bootstrap_difference(
        np.tile(errors, 3), np.tile(other, 3), np.tile(speakers, 3), np.tile(words, 3), training_seeds=seeds
    )
    assert (thrice.value, thrice.low, thrice.high) == pytest.approx((once.value, once.low, once.high))
    assert thrice.num_items == once.num_items == 60
    tests = [
        statistics.paired_permutation_test(
            np.tile(errors, n), np.tile(other, n), np.tile(speakers, n), training_seeds=s
        )
        for n, s in ((1, None), (3, seeds))
    ]
    assert tests[0] == tests[1]


def test_trainings_that_differ_widen_the_interval_and_raise_p():
    speakers, seeds = np.tile(np.arange(20), 3), np.repeat([1, 2, 3], 20)
    own = np.random.default_rng(1).normal(0.5, 1, 20)
    alike = np.tile(own, 3)
    unlike = alike + np.repeat([-1.0, 0.0, 1.0], 20)
    intervals = [statistics.bootstrap_mean(values, speakers, training_seeds=seeds) for values in (alike, unlike)]
    assert intervals[0].value == pytest.approx(intervals[1].value)
    assert intervals[1].low < intervals[0].low < intervals[0].high < intervals[1].high
    p_values = [
        statistics.paired_permutation_test(values, np.zeros(60), speakers, training_seeds=seeds).p_value
        for values in (alike, unlike)
    ]
    assert p_values[0] < p_values[1] / 2


def test_crossed_groupings_widen_the_interval_whichever_comes_first():
    generator = np.random.default_rng(8)
    values = (generator.normal(size=(20, 1)) + generator.normal(size=15) + generator.normal(size=(20, 15))).ravel()
    speakers, sentences = np.repeat(np.arange(20), 15), np.tile(np.arange(15), 20)
    crossed = statistics.bootstrap_mean(values, [speakers, sentences])
    exchanged = statistics.bootstrap_mean(values, [sentences, speakers])
    assert (exchanged.low, exchanged.high) == pytest.approx((crossed.low, crossed.high))
    assert crossed.num_groups == 15
    for lone in (speakers, sentences):
        interval = statistics.bootstrap_mean(values, lone)
        assert interval.high - interval.low < crossed.high - crossed.low


def test_sentences_that_only_one_speaker_says_add_nothing():
    # Speakers differ, sentences of one speaker hardly do: naming every sentence tells nothing new.
    speakers = np.repeat(np.arange(12), 5)
    values = speakers**1.5 + np.random.default_rng(4).normal(0, 1e-3, 60)
    nested = statistics.bootstrap_mean(values, [speakers, np.arange(60)])
    lone = statistics.bootstrap_mean(values, speakers)
    assert (nested.low, nested.high) == pytest.approx((lone.low, lone.high))


def test_drawn_patterns_never_give_p_zero():
    test = statistics.paired_permutation_test(np.ones(40), np.zeros(40), np.arange(40), num_resamples=999)
    assert test.p_value == test.smallest_p_value == pytest.approx(1 / 1000)


def test_holm_by_hand():
    # Sorted .005 .01 .03 .04 times 4 3 2 1 = .02 .03 .06 .04; the last may not fall below its predecessor.
    assert statistics.holm_correction([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm_correction([0.7, 0.8]).tolist() == [1.0, 1.0]
    with pytest.raises(ValueError, match="between 0 and 1"):
        statistics.holm_correction([0.5, 1.2])


def test_few_groups_allow_no_claim_about_a_population():
    assert statistics.population_claims(6) == ["cannot tell about a population from 6 speakers"]
    assert statistics.population_claims(1, "piece") == ["cannot tell about a population from 1 piece"]
    assert statistics.population_claims(10) == []


@pytest.mark.parametrize(
    ("errors", "groups", "beaten", "claim"),
    [
        (np.zeros(6), SIX_SPEAKERS, True, None),
        (np.full(6, 5.0), SIX_SPEAKERS, False, "NOT BETTER THAN HEARING NOTHING (p = 1 over 6 speakers)"),
        (np.full(6, 9.0), SIX_SPEAKERS, False, "NOT BETTER THAN HEARING NOTHING: worse (p = 0.031 over 6 speakers)"),
        (np.zeros(6), list("aabbcc"), None, "cannot tell from 3 speakers"),
        (np.full(6, 9.0), list("aabbcc"), False, "NOT BETTER THAN HEARING NOTHING (p = 0.25 over 3 speakers)"),
    ],
)
def test_verdict_against_the_baseline(errors, groups, beaten, claim):
    baseline = np.full(6, 5.0)
    test = statistics.paired_permutation_test(errors, baseline, groups)
    difference = statistics.bootstrap_difference(errors, baseline, groups)
    assert statistics.is_better(difference, test, higher_is_better=False) is beaten
    claims = statistics.baseline_claims(difference, test, higher_is_better=False)
    assert claims == [] if claim is None else claims[0].startswith(claim)


@pytest.mark.parametrize("crossed", [False, True])
def test_p_is_1_where_groups_do_not_vary_but_trainings_or_another_grouping_do(crossed):
    speakers, others = np.tile(np.arange(14), 20), np.repeat(np.arange(20), 14)
    fewer = -0.1 - 0.02 * others
    groups, seeds = ([speakers, others], None) if crossed else (speakers, others)
    # Of crossed groupings the one that varies is exchanged, and finds the difference.
    test = statistics.paired_permutation_test(fewer, np.zeros(280), groups, training_seeds=seeds)
    assert test.p_value == (test.smallest_p_value if crossed else 1.0)
    alike = statistics.paired_permutation_test(np.full(280, -0.5), np.zeros(280), speakers, training_seeds=others)
    assert alike.p_value < 0.001


@pytest.mark.parametrize("low_high", [(0.1, 0.9), (-0.1, 1.1), (0.0, 1.0), (np.nan, np.nan)])
def test_better_takes_an_interval_without_0(low_high):
    difference = statistics.Interval(0.5, *low_high, 14, 28)
    test = statistics.PermutationTest(0.0002, 0.0001, 14, exact=False)
    better = low_high[0] > 0
    assert statistics.is_better(difference, test, higher_is_better=True) is better
    claim = "NOT BETTER THAN HEARING NOTHING (p = 0.0002 over 14 speakers, but the interval does not exclude 0)"
    assert statistics.baseline_claims(difference, test, higher_is_better=True) == ([] if better else [claim])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: statistics.bootstrap_mean([], []), "`groups` is empty"),
        (lambda: statistics.bootstrap_mean([1.0, 2.0], ["a"]), "one label per item"),
        (lambda: statistics.bootstrap_mean([1.0, np.nan], ["a", "b"]), "1 NaN or infinite"),
        (lambda: statistics.bootstrap_ratio([1, 1], [0, 5], ["a", "b"]), "sum to 0 or less in 1 of 2 groups"),
        (lambda: statistics.bootstrap_difference([1, 2], [1], ["a", "b"]), "same items in the same order"),
        (lambda: statistics.bootstrap_mean([1, 2], ["a", "b"], training_seeds=[1]), "one label of a training per row"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
