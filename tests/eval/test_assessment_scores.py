"""The measured part of a row of assessed performances: by hand, against the metric, pooled, compared and submitted."""

import numpy as np
import pandas as pd
import pytest
from small_performances import of_players, small_performances

from antiphon.eval.assessment_items import Predictions, baseline_names, score_items, tabulate_items
from antiphon.eval.assessment_scores import audit_claims, summarize_items
from antiphon.eval.metric_loading import load_metric
from antiphon.processing.percepts import PERCEPTS

LABELS, DEVIATIONS, ANSWERS = (
    [f"{name}.{percept}" for percept in PERCEPTS] for name in ("label", "deviation", "prediction")
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return small_performances(tmp_path_factory.mktemp("corpus"), num_passages=24)


def answers(test, error, seed):
    labels = np.array(test["percepts"][:])
    return labels + np.random.default_rng(seed).normal(0, error, labels.shape)


def tabulate(test, *, error=0.05, seed=0, intervals=True, training_seed=None):
    predicted = answers(test, error, seed)
    width = 0.1 if intervals else np.nan
    ends = (predicted - width, predicted + width) if intervals else (None, None)
    labels = np.array(test["percepts"][:])
    baselines = {
        "global_mean": np.tile(labels.mean(axis=0), (len(labels), 1)),
        "gradient_boosting": answers(test, 0.1, 99),
    }
    return tabulate_items(
        test["file_name"][:], test, Predictions(predicted, None, *ends), baselines, training_seed=training_seed
    )


@pytest.fixture(scope="module")
def items(corpus):
    return tabulate(corpus)


@pytest.fixture(scope="module")
def summary(items):
    return summarize_items(items)


def test_metrics_equal_the_metric(items, summary):
    expected = load_metric("percept_scores").compute(
        predictions=items[ANSWERS].to_numpy(), references=items[LABELS].to_numpy(), groups=items["passage"].tolist(),
        deviations=items[DEVIATIONS].to_numpy(), low=items[ANSWERS].to_numpy() - 0.1,
        high=items[ANSWERS].to_numpy() + 0.1,
    )  # fmt: skip
    for name in ("r2", "mse", "ranking_accuracy", "within_deviation", "coverage"):
        assert summary["metrics"][name]["value"] == pytest.approx(expected[name]), name
    for name in ("pearson", "spearman", "within_passage_r"):
        assert summary["correlations"][name]["value"] == pytest.approx(expected[name]), name
    for name, values in expected["per_percept"].items():
        measured = [summary["percepts"][percept][name]["value"] for percept in PERCEPTS]
        assert measured == pytest.approx(values), name


def test_every_metric_is_the_ratio_of_the_columns_it_names(items, summary):
    for metrics in (summary["metrics"], *(entry["metrics"] for entry in summary["baselines"].values())):
        for entry in metrics.values():
            numerator, denominator = entry["columns"]
            total = len(items) if denominator is None else items[denominator].sum()
            assert entry["value"] == pytest.approx(items[numerator].sum() / total)
            assert entry["low"] <= entry["value"] <= entry["high"]


def test_excerpts_are_resampled_and_works_and_players_listed(summary, items):
    assert (summary["group_by"], summary["metrics"]["r2"]["num_groups"]) == ("excerpt", 12)
    assert list(summary["groups"]) == ["work0", "work1", "work2"]
    assert list(summary["players"]) == ["0", "1", "2", "3", "4"]
    assert summary["players"]["3"]["r2"] == pytest.approx(items[items["player_id"] == "3"]["r2_score"].mean())
    assert "cannot tell about a population from 5 players" in summary["claims"]
    assert "cannot tell about a population from 3 works" in summary["claims"]


def test_a_good_system_beats_its_baselines_and_chance(summary):
    assert set(summary["baselines"]) == {"global_mean", "gradient_boosting"}
    for entry in summary["baselines"].values():
        assert entry["beaten"] is True
        assert entry["difference"]["ranking_accuracy"]["low"] > 0
    assert summary["baselines"]["global_mean"]["correlations"]["pearson"]["value"] is not None
    assert np.isnan(summary["baselines"]["global_mean"]["correlations"]["pearson"]["value"])
    assert not [claim for claim in summary["claims"] if "not better" in claim.lower()]


def test_guesses_are_said_to_be_guesses(corpus):
    items = tabulate(corpus)
    shuffled = items[ANSWERS].sample(frac=1, random_state=0).to_numpy()
    items[ANSWERS] = shuffled
    claims = " ".join(summarize_items(items)["claims"])
    assert "NOT BETTER THAN HEARING NOTHING: worse" in claims
    assert "not better than a baseline that boosts trees" in claims
    assert "not better than chance in ranking the performances of a passage" in claims


def test_without_intervals_there_is_no_coverage(corpus):
    summary = summarize_items(tabulate(corpus, intervals=False))
    assert "coverage" not in summary["metrics"]
    assert "coverage" not in summary["percepts"][PERCEPTS[0]]


def test_trainings_are_ranked_each_by_itself(corpus):
    runs = [tabulate(corpus, error=error, seed=seed, training_seed=seed) for seed, error in ((1, 0.02), (2, 0.2))]
    alone = [summarize_items(run)["metrics"] for run in runs]
    pooled = summarize_items(pd.concat(runs, ignore_index=True).sample(frac=1, random_state=0))
    assert pooled["seeds"] == [1, 2]
    for name in ("r2", "mse", "ranking_accuracy", "coverage"):
        expected = np.mean([metrics[name]["value"] for metrics in alone])
        assert pooled["metrics"][name]["value"] == pytest.approx(expected), name
    spread = [entry["high"] - entry["low"] for entry in (alone[0]["r2"], pooled["metrics"]["r2"])]
    assert spread[1] > spread[0]


def test_pooled_folds_are_scored_by_the_variance_and_pairs_of_all(corpus):
    parts = [tabulate(of_players(corpus, *players)) for players in ((0, 1, 2), (3, 4))]
    pooled = score_items(pd.concat(parts, ignore_index=True))
    labels, predicted = pooled[LABELS].to_numpy(), pooled[ANSWERS].to_numpy()
    assert pooled["r2_score"].mean() == pytest.approx(
        np.mean(1 - ((labels - predicted) ** 2).sum(axis=0) / ((labels - labels.mean(axis=0)) ** 2).sum(axis=0))
    )
    assert pooled["pairs"].max() == 4 * len(PERCEPTS)
    assert baseline_names(pooled) == ["global_mean", "gradient_boosting"]


def test_a_ceiling_follows_from_the_noise_of_the_labels(items):
    noise = 0.25 * items[LABELS].to_numpy().var(axis=0)
    noisy = items.assign(**{f"noise.{percept}": value for percept, value in zip(PERCEPTS, noise)})
    percepts = summarize_items(noisy)["percepts"]
    assert [entry["ceiling"]["value"] for entry in percepts.values()] == pytest.approx([0.75] * len(PERCEPTS))


def test_what_training_had_heard_is_said(items):
    audit = {f"num_known_{name}": 0 for name in ("passages", "excerpts", "players")} | {"num_known_works": 30}
    folds = [("a", audit), ("a", audit | {"num_known_works": 20}), ("b", audit)]
    assert audit_claims(folds, items) == [
        "measures known works: 60 of 120 test items have one that is also in training"
    ]
    assert "training data not given" in audit_claims([("a", None)], items)[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values: values[:-1], r"`prediction` has shape \(119, 19\)"),
        (lambda values: np.where(values > 0.5, np.nan, values), "numbers that are not finite"),
    ],
)
def test_answers_that_do_not_fit_are_refused(corpus, change, message):
    predictions = Predictions(change(np.array(corpus["percepts"][:])))
    with pytest.raises(ValueError, match=message):
        tabulate_items(corpus["file_name"][:], corpus, predictions, {})


def test_an_item_answered_twice_or_not_by_all_trainings_is_refused(items):
    with pytest.raises(ValueError, match="an item twice"):
        score_items(pd.concat([items, items.head(1)], ignore_index=True))
    with pytest.raises(ValueError, match="lacks items"):
        score_items(pd.concat([items.assign(seed=0), items.tail(9).assign(seed=1)], ignore_index=True))
