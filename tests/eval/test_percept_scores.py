"""The metric of percepts: a hand-computed case, identical and empty inputs, scikit-learn and scipy beside it."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import mean_squared_error, r2_score

from antiphon.eval.metric_loading import load_metric


@pytest.fixture(scope="module")
def metric():
    return load_metric("percept_scores")


def random_ratings(seed=0, items=40, percepts=3):
    generator = np.random.default_rng(seed)
    references = generator.random((items, percepts))
    return references + generator.normal(0, 0.2, references.shape), references


def test_by_hand(metric):
    result = metric.compute(
        predictions=[[0.2], [0.4], [0.4], [0.9]],
        references=[[0.1], [0.3], [0.5], [0.7]],
        groups=["a", "a", "b", "b"],
        deviations=[[0.15], [0.0], [0.05], [0.25]],
        low=[[0.0], [0.4], [0.3], [0.7]],
        high=[[0.4], [0.5], [0.6], [0.9]],
    )
    # Errors .1, .1, -.1, .2; the labels vary by .05 around .4.
    assert result["mse"] == pytest.approx(0.07 / 4)
    assert result["r2"] == pytest.approx(1 - 0.07 / 0.2)
    assert result["ranking_accuracy"] == 1.0
    # Of the three with a deviation, two errors are within it.
    assert result["within_deviation"] == pytest.approx(2 / 3)
    assert (result["coverage"], result["interval_width"]) == (pytest.approx(3 / 4), pytest.approx(0.25))
    # Within passages the labels are -.1, .1 twice, the predictions -.1, .1 and -.25, .25.
    assert result["within_passage_r"] == pytest.approx(0.07 / np.sqrt(0.04 * 0.145))
    assert result["per_percept"]["r2"] == [pytest.approx(0.65)]


def test_equals_other_libraries(metric):
    predictions, references = random_ratings()
    result = metric.compute(predictions=predictions, references=references)
    assert result["r2"] == pytest.approx(r2_score(references, predictions, multioutput="uniform_average"))
    assert result["mse"] == pytest.approx(mean_squared_error(references, predictions))
    for name, function in {"pearson": stats.pearsonr, "spearman": stats.spearmanr}.items():
        expected = [function(*pair).statistic for pair in zip(references.T, predictions.T)]
        assert result["per_percept"][name] == pytest.approx(expected)
        assert result[name] == pytest.approx(np.mean(expected))


def test_ranking_equals_kendall_where_all_is_one_passage(metric):
    predictions, references = random_ratings(percepts=1)
    accuracy = metric.compute(predictions=predictions, references=references, groups=[0] * 40)["ranking_accuracy"]
    assert 2 * accuracy - 1 == pytest.approx(stats.kendalltau(references[:, 0], predictions[:, 0]).statistic)


def test_equal_predictions_are_half_right_and_equal_ratings_no_pair(metric):
    result = metric.compute(predictions=[[0.5], [0.5], [0.1]], references=[[0.2], [0.4], [0.4]], groups=["a", "a", "a"])
    # 1 against 2 half right, 1 against 3 wrong, 2 against 3 no pair.
    assert result["ranking_accuracy"] == pytest.approx(0.5 / 2)


def test_identical_ratings_are_perfect(metric):
    _, references = random_ratings()
    result = metric.compute(
        predictions=references, references=references, groups=list(range(20)) * 2, deviations=np.full((40, 3), 0.1),
        low=references, high=references,
    )  # fmt: skip
    perfect = ("r2", "pearson", "spearman", "within_passage_r", "ranking_accuracy", "within_deviation", "coverage")
    assert [result[name] for name in perfect] == pytest.approx([1.0] * 7)
    assert (result["mse"], result["interval_width"]) == (0.0, 0.0)


def test_nothing_correlates_with_a_constant(metric):
    _, references = random_ratings()
    predictions = np.broadcast_to(references.mean(axis=0), references.shape)
    result = metric.compute(predictions=predictions, references=references, groups=list(range(20)) * 2)
    assert (result["r2"], result["ranking_accuracy"]) == (pytest.approx(0), 0.5)
    assert all(np.isnan(result[name]) for name in ("pearson", "spearman", "within_passage_r"))


def test_passages_of_one_performance_have_no_pairs(metric):
    predictions, references = random_ratings()
    assert np.isnan(
        metric.compute(predictions=predictions, references=references, groups=list(range(40)))["ranking_accuracy"]
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"references": [], "predictions": []}, "`references` is empty"),
        ({"groups": ["a"]}, "`groups` has 1 passages for 2 items"),
        ({"deviations": [[0.1]]}, r"`deviations` has shape \(1, 1\)"),
        ({"predictions": [[np.nan], [0.1]]}, "1 numbers that are not finite"),
        ({"references": [[0.5], [0.5]]}, r"all the same on percepts \[0\]"),
    ],
)
def test_what_cannot_be_scored_is_refused(metric, change, message):
    with pytest.raises(ValueError, match=message):
        metric.compute(**{"predictions": [[0.2], [0.4]], "references": [[0.1], [0.3]]} | change)
