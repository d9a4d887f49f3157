"""The metric of verification: hand-computed cases, identical and empty inputs, scikit-learn beside it."""

import numpy as np
import pytest
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn.metrics import roc_curve

from antiphon.eval.metric_loading import load_metric


@pytest.fixture(scope="module")
def metric():
    return load_metric("equal_error_rate")


def random_trials(seed=0, number=300, decimals=1):
    """Trials of which many have equal scores."""
    generator = np.random.default_rng(seed)
    references = generator.integers(0, 2, number)
    return np.round(generator.normal(size=number) + references, decimals), references


def test_by_hand(metric):
    result = metric.compute(predictions=[0.9, 0.8, 0.3, 0.5, 0.2, 0.1], references=[1, 1, 1, 0, 0, 0])
    # At .5 one of three is missed and one of three accepted.
    assert (result["eer"], result["threshold"]) == (pytest.approx(1 / 3), pytest.approx(0.5))
    # Never accepting costs .05; at .8 a third is missed and nothing accepted.
    assert result["min_dcf"] == pytest.approx(1 / 3)
    assert (result["num_same"], result["num_different"]) == (3, 3)


def test_between_two_thresholds_the_shares_are_interpolated(metric):
    # At .4 nothing is missed and half accepted, above it a third missed and nothing accepted: 1/2 - s/2 = s/3.
    result = metric.compute(predictions=[0.4, 0.6, 0.7, 0.4, 0.1], references=[1, 1, 1, 0, 0])
    assert result["eer"] == pytest.approx(0.6 / 3)
    assert 0.4 < result["threshold"] < 0.6


def test_the_cost_by_hand(metric):
    trials = {"predictions": [0.9, 0.4, 0.6, 0.1], "references": [1, 1, 0, 0]}
    # Half missed and nothing accepted, or nothing missed and half accepted.
    assert metric.compute(**trials, target_probability=0.5)["min_dcf"] == pytest.approx(0.5)
    cheap_misses = metric.compute(**trials, target_probability=0.5, miss_cost=0.1)["min_dcf"]
    assert cheap_misses == pytest.approx(0.05 * 0.5 / 0.05)
    assert metric.compute(**trials, target_probability=0.9)["min_dcf"] == pytest.approx(0.1 * 0.5 / 0.1)


@pytest.mark.parametrize("seed", range(5))
def test_equals_the_roc_curve_of_scikit_learn(metric, seed):
    scores, references = random_trials(seed)
    result = metric.compute(predictions=scores, references=references)
    accepted, found, _ = roc_curve(references, scores, drop_intermediate=False)
    expected = brentq(lambda share: 1 - share - interp1d(accepted, found)(share), 0, 1)
    assert result["eer"] == pytest.approx(expected, abs=1e-6)
    assert result["min_dcf"] == pytest.approx((0.05 * (1 - found) + 0.95 * accepted).min() / 0.05)


def test_perfect_identical_and_reversed_scores(metric):
    references = [1, 1, 0, 0]
    assert metric.compute(predictions=references, references=references)["eer"] == 0.0
    equal = metric.compute(predictions=[0.3] * 4, references=references)
    assert (equal["eer"], equal["min_dcf"]) == (0.5, 1.0)
    assert metric.compute(predictions=[0, 0, 1, 1], references=references)["eer"] == 1.0


def test_a_rising_map_of_the_scores_changes_nothing_but_the_threshold(metric):
    scores, references = random_trials()
    first, second = (metric.compute(predictions=each, references=references) for each in (scores, np.exp(scores)))
    assert (first["eer"], first["min_dcf"]) == (second["eer"], second["min_dcf"])


def test_groups_are_measured_alone(metric):
    scores, references = random_trials()
    groups = ["a"] * 150 + ["b"] * 150
    result = metric.compute(predictions=scores, references=references, groups=groups)
    alone = metric.compute(predictions=scores[150:], references=references[150:])
    assert result["per_group"]["b"] == alone
    assert list(result["per_group"]) == ["a", "b"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"references": [], "predictions": []}, "`references` is empty"),
        ({"references": [1, 1]}, "must hold both 1"),
        ({"references": [0, 0]}, "must hold both 1"),
        ({"references": [0, 2]}, "must hold both 1"),
        ({"predictions": [np.nan, 0.1]}, "1 numbers that are not finite"),
        ({"groups": ["a"]}, "1 labels for 2 trials"),
    ],
)
def test_what_cannot_be_scored_is_refused(metric, change, message):
    with pytest.raises(ValueError, match=message):
        metric.compute(**{"predictions": [0.2, 0.4], "references": [0, 1]} | change)
