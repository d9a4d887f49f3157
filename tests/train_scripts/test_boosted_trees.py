"""Boosted trees in a model's tensors: they answer as scikit-learn's do, and know only what they may."""

import numpy as np
import pytest
import torch
from sklearn.ensemble import GradientBoostingRegressor

from antiphon.modeling.layers_trees import TreeEnsemble
from antiphon.train_scripts import boosted_trees
from antiphon.train_scripts.boosted_trees import fit_trees, stacking_weights

ITEMS, DESCRIPTORS, MEMBERS, PERCEPTS, TREES, DEPTH = 120, 6, 2, 3, 12, 3


def settings(seed: int) -> dict:
    return {
        "n_estimators": TREES,
        "max_depth": DEPTH,
        "learning_rate": boosted_trees.LEARNING_RATE,
        "subsample": boosted_trees.SUBSAMPLE,
        "max_features": boosted_trees.MAX_FEATURES,
        "min_samples_leaf": boosted_trees.MIN_SAMPLES_LEAF,
        "random_state": seed,
        "init": "zero",
    }


@pytest.fixture(scope="module")
def data():
    generator = np.random.default_rng(0)
    descriptors = generator.normal(size=(ITEMS, DESCRIPTORS)).astype(np.float32)
    descriptors[:, 5] = descriptors[:, 5].round()  # many ties
    # Neighbours in single precision: the threshold between them has no place of its own there.
    descriptors[:, 4] = np.where(descriptors[:, 4] > 0, np.float32(1.0), np.nextafter(np.float32(1.0), np.float32(2)))
    targets = np.stack([descriptors[:, 0], descriptors[:, 4] * 1e7, descriptors[:, 1] * descriptors[:, 5]], axis=1)
    targets = (targets - targets.mean(0)) / targets.std(0) + generator.normal(0, 0.1, (ITEMS, PERCEPTS))
    held_out = np.arange(ITEMS)[:, None] % 3 == np.arange(MEMBERS)[None, :]
    return descriptors, targets, held_out


def fit(descriptors, targets, held_out, seed: int) -> TreeEnsemble:
    """Every member without what is held out of it."""
    ensemble = TreeEnsemble(MEMBERS, PERCEPTS, TREES, DEPTH)
    for member in range(MEMBERS):
        learns = ~held_out[:, member]
        fit_trees(ensemble, member, descriptors[learns], targets[learns], seed)
    return ensemble


@pytest.fixture(scope="module")
def fitted(data):
    return fit(*data, seed=7)


def test_answers_equal_those_of_scikit_learn(data, fitted):
    descriptors, targets, held_out = data
    answers = fitted(torch.from_numpy(descriptors))
    assert answers.shape == (MEMBERS, ITEMS, PERCEPTS)
    for member in range(MEMBERS):
        learns = ~held_out[:, member]
        for percept in range(PERCEPTS):
            model = GradientBoostingRegressor(**settings(7 + member)).fit(descriptors[learns], targets[learns, percept])
            np.testing.assert_allclose(answers[member, :, percept], model.predict(descriptors), atol=1e-5)


def test_members_are_fitted_one_by_one(data, fitted):
    descriptors, targets, held_out = data
    other = fit(descriptors, np.where(held_out[:, :1], 1e3, targets), held_out, seed=7)  # the first does without them
    assert torch.equal(other.leaves[0], fitted.leaves[0])
    assert not torch.equal(other.leaves[1], fitted.leaves[1])


def test_trees_learn(data, fitted):
    descriptors, targets, _ = data
    answers = fitted(torch.from_numpy(descriptors)).mean(0).numpy()
    for percept in (0, 1):
        assert np.corrcoef(answers[:, percept], targets[:, percept])[0, 1] > 0.4


def test_fitting_follows_the_seed(data, fitted):
    again, other = fit(*data, seed=7), fit(*data, seed=8)
    assert torch.equal(again.thresholds, fitted.thresholds)
    assert not torch.equal(other.thresholds, fitted.thresholds)


def test_stacking_finds_the_weights_of_a_sum():
    generator = np.random.default_rng(1)
    first, second, useless = generator.normal(size=(3, 50, 4))
    torch.testing.assert_close(
        stacking_weights([first, second, useless], 0.3 * first + 0.6 * second), torch.tensor([0.3, 0.6, 0.0]),
        atol=1e-6, rtol=0,
    )  # fmt: skip


def test_stacking_never_subtracts():
    generator = np.random.default_rng(2)
    first, second = generator.normal(size=(2, 50, 4))
    weights = stacking_weights([first, second], first - 0.5 * second)
    assert weights[1] == 0
    assert weights[0] > 0.5
