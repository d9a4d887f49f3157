"""Few-shot adaptation: to raters whose ways are known exactly."""

import numpy as np
import pandas as pd
import pytest

from antiphon.eval.few_shot import Task, adapt, learning_curves, own_mean, rater_tasks, shift
from antiphon.processing.percepts import PERCEPTS

EXCERPTS = np.repeat([f"excerpt{index:02d}" for index in range(40)], 2)


def task(way, seed=0, name="rater"):
    generator = np.random.default_rng(seed)
    predictions = 0.5 + 0.1 * generator.normal(size=(len(EXCERPTS), len(PERCEPTS)))
    return Task(name, predictions, way(predictions) + 0.01 * generator.normal(size=predictions.shape), EXCERPTS)


def errors(curves, size):
    return {name: entry["squared_error"]["value"] for name, entry in curves[str(size)]["methods"].items()}


def test_a_rater_who_is_always_stricter_is_met_after_five_examples():
    curves = learning_curves([task(lambda given: given - 0.2)], num_draws=3)
    five = errors(curves, 5)
    assert five["shifted"] < 0.05 * five["not adapted"]
    assert five["shifted"] < 0.1 * five["own mean"]
    assert curves["5"]["methods"]["shifted"]["difference"]["high"] < 0
    assert curves["5"]["methods"]["not adapted"]["difference"] is None


def test_a_rater_with_the_opposite_taste_is_learned_only_by_the_head_and_from_more_examples():
    curves = learning_curves([task(lambda given: 1 - given)], num_draws=3)
    assert errors(curves, 50)["adapted"] < 0.2 * errors(curves, 50)["shifted"]
    assert errors(curves, 50)["adapted"] < errors(curves, 5)["adapted"]


def test_questions_share_no_excerpt_with_examples_and_small_tasks_are_left_out():
    small = Task(
        "small", *(values[:20] for values in (task(lambda g: g).predictions, task(lambda g: g).ratings)), EXCERPTS[:20]
    )
    curves = learning_curves([small, task(lambda given: given)], num_draws=2)
    assert [curves[size]["num_tasks"] for size in ("5", "20", "50")] == [2, 1, 1]
    memorised = task(lambda given: given)
    by_excerpt = np.random.default_rng(1).normal(size=(40, len(PERCEPTS)))[np.repeat(np.arange(40), 2)]
    only_excerpts = Task("excerpts", by_excerpt, -by_excerpt + 0 * memorised.ratings, EXCERPTS)
    assert errors(learning_curves([only_excerpts], num_draws=2), 5)["adapted"] > 0.5


def test_no_task_is_large_enough():
    curves = learning_curves([task(lambda given: given)], sizes=(200,))
    assert curves["200"] == {"num_tasks": 0, "methods": {}}


def test_missing_ratings_are_left_out():
    predictions, ratings = np.full((4, 19), 0.5), np.full((4, 19), 0.7)
    ratings[:3, 0] = np.nan
    ratings[:, 1] = np.nan
    for method in (shift, own_mean, adapt):
        answers = method(predictions, ratings)(np.full((2, 19), 0.5))
        assert np.isfinite(answers).all()
        assert answers[:, 1] == pytest.approx(0.5)
        assert answers[:, 2] == pytest.approx(0.5 + 0.2 * 4 / 9 if method is adapt else 0.7)
    assert shift(predictions, ratings)(predictions)[:, 0] == pytest.approx(0.7)


def test_ratings_become_tasks_of_each_rater_on_the_scale_of_labels():
    rows = [
        ("ann", "one", PERCEPTS[0], 7),
        ("ann", "one", PERCEPTS[0], 5),
        ("bob", "two", PERCEPTS[1], 1),
        ("ann", "other", PERCEPTS[0], 1),
    ]
    ratings = pd.DataFrame(rows, columns=["user", "file_name", "percept", "rating"])
    predictions = np.arange(38.0).reshape(2, 19)
    ann, bob = rater_tasks(ratings, ["one", "two"], predictions, ["a", "b"])
    assert (ann.name, bob.name) == ("ann", "bob")
    assert ann.ratings[:, 0] == pytest.approx([6 / 7])
    assert np.isnan(ann.ratings[0, 1:]).all()
    assert bob.predictions.tolist() == [predictions[1].tolist()]
    assert bob.excerpts.tolist() == ["b"]
