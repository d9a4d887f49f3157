"""Baselines of assessed performances: means by hand, residuals that hear, features, and the cache."""

import os

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score
from small_performances import of_players, small_performances

from antiphon.eval import assessment_baselines
from antiphon.eval.assessment_baselines import (
    ASSESSMENT_BASELINES,
    additive_means,
    baseline_answers,
    known_group_means,
    other_means,
    passage_residuals,
    ridge,
)
from antiphon.eval.baselines import BASELINES
from antiphon.processing.audio_io import write_audio


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return small_performances(tmp_path_factory.mktemp("corpus"), num_passages=16, num_players=6)


def test_means_by_hand():
    values = np.array([[1.0], [3.0], [8.0]])
    # "c" is in no training group and gets the mean of all.
    assert known_group_means(values, ["a", "a", "b"], ["b", "a", "c"]).tolist() == [[8.0], [2.0], [4.0]]
    # An item's own value is in no mean of others; "b" has no others.
    assert other_means(values, ["a", "a", "b"]).tolist() == [[3.0], [1.0], [4.0]]


def test_additive_means_find_what_is_additive():
    passages, players = np.divmod(np.arange(200), 10)
    labels = np.repeat((0.1 * passages + 0.01 * players)[:, None], 2, axis=1)
    answers = additive_means(labels, (passages, [3, 99]), (players, [5, 5]))
    # The penalty draws what 10 performances of a passage say by a tenth to the mean, 0.995.
    assert answers[0, 0] == pytest.approx(0.35, abs=0.07)
    assert answers[1, 0] == pytest.approx(labels.mean() + 0.005, abs=0.001)  # the passage is unknown


def test_residuals_are_learned_from_deviations_and_added_to_the_passage():
    generator = np.random.default_rng(0)
    passages = np.repeat(np.arange(20), 6)
    features = generator.normal(size=(120, 2)) + 10 * passages[:, None]
    # What is heard tells how a performance deviates; between passages the same feature means nothing.
    level = generator.normal(size=20)[passages]
    deviations = features[:, :1] - known_group_means(features, passages, passages)[:, :1]
    labels = level[:, None] + deviations
    heard = features[:6] + np.array([1.0, 0.0])
    answers = passage_residuals(LinearRegression(), features, labels, heard, passages, passages[:6])
    assert answers == pytest.approx(labels[:6] + 1.0, abs=1e-6)


def test_ridge_stands_far_outliers():
    generator = np.random.default_rng(0)
    features = generator.normal(size=(300, 3))
    model = ridge(0).fit(features, features[:, :1])
    assert abs(model.predict([[1e6, 0.0, 0.0]]).item()) < 6


def test_every_baseline_answers_and_hand_crafted_ones_hear(corpus, tmp_path):
    train, test = of_players(corpus, 0, 1, 2, 3), of_players(corpus, 4, 5)
    answers = baseline_answers(train, test, cache=tmp_path)
    assert tuple(answers) == ASSESSMENT_BASELINES
    assert set(answers) <= set(BASELINES)
    labels = np.array(test["percepts"][:])
    scores = {name: r2_score(labels, given) for name, given in answers.items()}
    assert scores["global_mean"] <= 0 < scores["passage_mean"]
    # Performers are unknown, so they add nothing.
    assert answers["performer_mean"] == pytest.approx(answers["global_mean"])
    assert answers["passage_plus_performer"].std(axis=0) == pytest.approx(answers["passage_mean"].std(axis=0), rel=0.3)
    # Loudness decides the ratings, and these hear it.
    assert scores["passage_mean_residual_trees"] > scores["passage_mean"] + 0.2
    assert scores["gradient_boosting"] > scores["global_mean"] + 0.1


def test_answers_come_from_the_cache_where_nothing_changed(corpus, tmp_path, monkeypatch):
    train, test = of_players(corpus, 0, 1, 2), of_players(corpus, 3)
    names = ("passage_mean", "random_forest")
    first = baseline_answers(train, test, names=names, cache=tmp_path)
    monkeypatch.setattr(assessment_baselines, "_fit_all", lambda *arguments: pytest.fail("fitted again"))
    again = baseline_answers(train, test, names=names, cache=tmp_path)
    assert all(np.array_equal(first[name], again[name]) for name in names)
    for change in ({"training_seed": 1}, {"names": ("random_forest",)}):
        with pytest.raises(pytest.fail.Exception, match="fitted again"):
            baseline_answers(train, test, **{"names": names, "cache": tmp_path} | change)
    with pytest.raises(pytest.fail.Exception, match="fitted again"):
        baseline_answers(of_players(corpus, 0, 1), test, names=names, cache=tmp_path)


def test_test_labels_are_not_looked_at(corpus, tmp_path):
    train, test = of_players(corpus, 0, 1, 2), of_players(corpus, 3)
    blind = test.remove_columns("percepts")
    names = ("passage_mean", "ridge")
    answers = baseline_answers(train, blind, names=names, cache=tmp_path)
    seen = baseline_answers(train, test, names=names, cache=tmp_path / "other")
    assert all(np.array_equal(answers[name], seen[name]) for name in names)


def test_recordings_are_heard_where_all_have_one(corpus, tmp_path):
    generator = np.random.default_rng(0)

    def record(row):
        path = tmp_path / f"{os.path.basename(row['file_name'])}.wav"
        level = row["percepts"][0]  # alone in the sound
        write_audio(path, (0.3 * level * generator.normal(size=8000)).clip(-1, 1).astype(np.float32), 16_000)
        return {"audio": {"bytes": None, "path": str(path)}}

    audible = corpus.remove_columns("audio").map(record)
    train, test = of_players(audible, 0, 1, 2, 3), of_players(audible, 4, 5)
    loud = baseline_answers(train, test, names=("ridge",), cache=tmp_path)["ridge"]
    silent = corpus.filter(lambda row: row["player_id"] in "45")
    deaf = baseline_answers(of_players(corpus, 0, 1, 2, 3), silent, names=("ridge",), cache=tmp_path)["ridge"]
    labels = np.array(test["percepts"][:])[:, 0]
    assert r2_score(labels, loud[:, 0]) > r2_score(labels, deaf[:, 0])


def test_an_unknown_baseline_is_refused(corpus):
    with pytest.raises(ValueError, match=r"`names` has \['oracle'\]"):
        baseline_answers(corpus, corpus, names=("oracle",))
