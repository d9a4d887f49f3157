"""The noise ceiling: simulated raters whose noise is known, repeats by one rater, and the command."""

import numpy as np
import pandas as pd
import pytest

from antiphon.eval.noise_ceiling import ceiling_table, label_noise, noise_ceiling, split_half_reliability
from antiphon.processing.percepts import PERCEPTS

TRUE, OPINION, REPEAT = 0.8, 1.0, 0.6  # standard deviations: between items, raters of an item, and repeats of a rater
PERCEPT = PERCEPTS[0]


def simulated_ratings(num_items=400, raters=6, repeats=1, percepts=(PERCEPT,), seed=0):
    """Ratings around 4 that are not rounded, and the variance of each label's error."""
    generator = np.random.default_rng(seed)
    rows = []
    for percept in percepts:
        truth = 4 + TRUE * generator.normal(size=(num_items, 1, 1))
        opinions = truth + OPINION * generator.normal(size=(num_items, raters, 1))
        values = np.clip(opinions + REPEAT * generator.normal(size=(num_items, raters, repeats)), 1, 7)
        item, rater, _ = np.indices(values.shape)
        rows.append(
            pd.DataFrame(
                {
                    "user": rater.ravel(),
                    "file_name": [f"item{number:03d}" for number in item.ravel()],
                    "percept": percept,
                    "rating": values.ravel(),
                }
            )
        )
    return pd.concat(rows, ignore_index=True)


def labels_of(ratings):
    return ratings.pivot_table(index="file_name", columns="percept", values="rating") / 7


@pytest.mark.parametrize(("raters", "repeats"), [(6, 1), (4, 3)])
def test_the_noise_of_a_label_is_found(raters, repeats):
    ratings = simulated_ratings(raters=raters, repeats=repeats)
    expected = (OPINION**2 / raters + REPEAT**2 / (raters * repeats)) / 49
    # Clipping to the scale takes a little away.
    assert label_noise(ratings)[PERCEPT].mean() == pytest.approx(expected, rel=0.1)


def test_repeats_of_one_rater_are_no_new_raters():
    repeated, distinct = (simulated_ratings(raters=raters, repeats=12 // raters) for raters in (4, 12))
    assert label_noise(repeated)[PERCEPT].mean() > 1.8 * label_noise(distinct)[PERCEPT].mean()


def test_a_rater_who_rates_more_often_weighs_more():
    ratings = simulated_ratings(repeats=2)
    lopsided = ratings[(ratings["user"] == 0) | ~ratings.duplicated(["file_name", "user"])]
    assert (label_noise(lopsided) > label_noise(ratings)).all(axis=None)


def test_the_ceiling_is_what_the_true_means_reach():
    ratings = simulated_ratings(num_items=1500)
    labels = labels_of(ratings)
    ceiling = noise_ceiling(labels, label_noise(ratings), labels.index)
    noise = (OPINION**2 + REPEAT**2) / 6
    expected = TRUE**2 / (TRUE**2 + noise)
    assert ceiling["r2"].value[0] == pytest.approx(expected, abs=0.03)
    assert ceiling["pearson"].value[0] == pytest.approx(np.sqrt(expected), abs=0.03)
    assert ceiling["r2"].low[0] < expected < ceiling["r2"].high[0]
    assert split_half_reliability(ratings, num_splits=10)[PERCEPT] == pytest.approx(expected, abs=0.03)


def test_what_is_no_rating_is_left_out():
    ratings = simulated_ratings()
    spoiled = pd.concat([ratings, ratings.head(5).assign(rating=9.0), ratings.head(5).assign(rating=0.0)])
    pd.testing.assert_frame_equal(label_noise(spoiled), label_noise(ratings))


def test_the_table_states_its_conditions():
    ratings = simulated_ratings(num_items=40, percepts=PERCEPTS)
    labels = labels_of(ratings)[list(PERCEPTS)]
    table = ceiling_table(labels, ratings, labels.index)
    assert table.count("\n| ") == len(PERCEPTS) + 2
    assert "mean of percepts" in table
    assert "40 performances, 6 raters, 40 excerpts" in table
