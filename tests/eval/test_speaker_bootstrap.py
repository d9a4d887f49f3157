"""Resampling of speakers on both sides: weights by hand, agreement with the metric, coverage of a known truth."""

import numpy as np
import pytest

from antiphon.eval.metric_loading import load_metric
from antiphon.eval.speaker_bootstrap import bootstrap_p_value, percentile_interval, resample_measures, weighted_measures


def make_trials(num_speakers, generator, num_trials=200, noise=0.9):
    """Cosines of noisy vectors around each speaker's own: scores, truth, and the speakers of either side."""
    centres = generator.normal(size=(num_speakers, 6))
    deviations = noise * np.exp(0.4 * generator.normal(size=num_speakers))

    def utter(speakers):
        vectors = centres[speakers] + deviations[speakers, None] * generator.normal(size=(len(speakers), 6))
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    first = generator.integers(num_speakers, size=2 * num_trials)
    second = (
        first + np.repeat([0, 1], num_trials) * generator.integers(1, num_speakers, 2 * num_trials)
    ) % num_speakers
    scores = (utter(first) * utter(second)).sum(axis=1)
    return scores, first == second, first.astype(str), second.astype(str)


def test_with_equal_weights_it_is_the_metric():
    scores, is_same, _, _ = make_trials(12, np.random.default_rng(0))
    expected = load_metric("equal_error_rate").compute(predictions=scores, references=is_same.astype(int))
    for weight in (1, 3):
        measured = weighted_measures(scores, is_same, np.full((1, len(scores)), weight))
        for name, values in measured.items():
            assert values[0] == pytest.approx(expected[name])


def test_weights_are_repetitions():
    scores, is_same, _, _ = make_trials(12, np.random.default_rng(1), num_trials=40)
    weights = np.random.default_rng(2).integers(0, 4, len(scores))
    repeated = load_metric("equal_error_rate").compute(
        predictions=scores.repeat(weights), references=is_same.astype(int).repeat(weights)
    )
    measured = weighted_measures(scores, is_same, weights[None])
    assert measured["eer"][0] == pytest.approx(repeated["eer"])
    assert measured["min_dcf"][0] == pytest.approx(repeated["min_dcf"])


def test_one_speaker_drawn_alone_leaves_nothing_to_measure():
    """With two speakers, half of the resamples hold one of them alone, and no different-speaker trial."""
    draws = resample_measures(
        {"a": np.array([0.9, 0.8, 0.1])}, [True, True, False], ["x", "y", "x"], ["x", "y", "y"], num_resamples=400
    )["a"]["eer"]
    assert np.isnan(draws).mean() == pytest.approx(0.5, abs=0.1)
    assert set(draws[np.isfinite(draws)]) == {0.0}


def test_systems_share_their_resamples_and_the_seed_decides():
    scores, is_same, first, second = make_trials(8, np.random.default_rng(3))
    systems = {"one": scores, "same": scores + 1, "other": -scores}
    draws, again = (
        resample_measures(systems, is_same, first, second, num_resamples=300, seed=seed)["one"]["eer"]
        for seed in (0, 0)
    )
    np.testing.assert_array_equal(draws, again)
    both = resample_measures(systems, is_same, first, second, num_resamples=300, seed=0)
    np.testing.assert_array_equal(both["one"]["eer"], both["same"]["eer"])
    np.testing.assert_allclose(both["other"]["eer"], 1 - both["one"]["eer"])
    assert (resample_measures(systems, is_same, first, second, seed=1)["one"]["eer"][:300] != draws).any()


def test_intervals_cover_a_known_truth_and_those_of_trials_do_not():
    generator = np.random.default_rng(4)
    scores, is_same, *_ = make_trials(3000, generator, num_trials=60_000)
    truth = weighted_measures(scores, is_same, np.ones((1, len(scores))))["eer"][0]
    covered, covered_by_trials = [], []
    for seed in range(60):
        scores, is_same, first, second = make_trials(12, generator)
        draws = resample_measures({"a": scores}, is_same, first, second, num_resamples=200, seed=seed)["a"]["eer"]
        low, high = percentile_interval(draws)
        covered.append(low <= truth <= high)
        weights = generator.multinomial(len(scores), np.full(len(scores), 1 / len(scores)), size=200)
        low, high = percentile_interval(weighted_measures(scores, is_same, weights)["eer"])
        covered_by_trials.append(low <= truth <= high)
    assert np.mean(covered) >= 0.87
    assert np.mean(covered_by_trials) < 0.75


def test_ends_and_p_values_by_hand():
    draws = np.arange(1, 101) / 100
    assert percentile_interval(draws) == (pytest.approx(0.03475), pytest.approx(0.97525))
    assert np.isnan(percentile_interval(np.array([0.1, np.nan, np.nan]))).all()
    assert bootstrap_p_value(draws) == pytest.approx(2 / 101)
    assert bootstrap_p_value(np.concatenate([draws, -draws])) == 1.0
    assert bootstrap_p_value(np.concatenate([np.full(96, 1.0), np.full(3, -1.0)])) == pytest.approx(0.08)
