"""Fits boosted trees to judgements, beside the heads of an assessment model, and weighs the two."""

import numpy as np
import torch
from scipy.optimize import nnls
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.tree import BaseDecisionTree

from antiphon.modeling.layers_trees import TreeEnsemble

# Small trees, many of them, each from a part of the items and descriptors: with a thousand noisy labels anything
# bolder learns the noise.
LEARNING_RATE = 0.08
SUBSAMPLE = 0.7
MAX_FEATURES = 0.1
MIN_SAMPLES_LEAF = 8


def fit_trees(ensemble: TreeEnsemble, member: int, descriptors: np.ndarray, targets: np.ndarray, seed: int) -> None:
    """Fits the trees of one member of an ensemble.

    Args:
        ensemble: Filled in place.
        member: Whose trees.
        descriptors: (items, descriptors) of what the member may learn from, none missing.
        targets: (items, percepts), standardised.
        seed: Of the parts that each tree is grown from.
    """
    _, percepts, num_trees, _ = ensemble.features.shape
    for percept in range(percepts):
        model = GradientBoostingRegressor(
            n_estimators=num_trees,
            max_depth=ensemble.depth,
            learning_rate=LEARNING_RATE,
            subsample=SUBSAMPLE,
            max_features=MAX_FEATURES,
            min_samples_leaf=MIN_SAMPLES_LEAF,
            random_state=seed + member,
            init="zero",  # targets are standardised
        ).fit(descriptors, targets[:, percept])
        for index, tree in enumerate(model.estimators_[:, 0]):
            _store(ensemble, (member, percept, index), tree)


def _store(ensemble: TreeEnsemble, place: tuple[int, int, int], tree: BaseDecisionTree) -> None:
    """Writes a tree in the complete form of `TreeEnsemble`."""
    grown, first_leaf = tree.tree_, 2**ensemble.depth - 1
    node_at = {0: 0}
    for position in range(first_leaf):
        node = node_at[position]
        is_leaf = grown.children_left[node] < 0
        ensemble.features[(*place, position)] = 0 if is_leaf else int(grown.feature[node])
        ensemble.thresholds[(*place, position)] = np.inf if is_leaf else _rounded_down(grown.threshold[node])
        node_at[2 * position + 1] = node if is_leaf else grown.children_left[node]
        node_at[2 * position + 2] = node if is_leaf else grown.children_right[node]
    for leaf in range(first_leaf + 1):
        value = grown.value[node_at[first_leaf + leaf], 0, 0]
        ensemble.leaves[(*place, leaf)] = LEARNING_RATE * float(value)


def _rounded_down(threshold: float) -> float:
    """The largest number of single precision up to `threshold`: it parts numbers of that precision in the same way."""
    rounded = np.float32(threshold)
    return float(rounded if rounded <= threshold else np.nextafter(rounded, np.float32(-np.inf)))


def stacking_weights(parts: list[np.ndarray], targets: np.ndarray) -> torch.Tensor:
    """Weights, none negative, with which the parts' answers add up best to the targets.

    Args:
        parts: Of each, (items, percepts) of members that did not learn from the item, standardised.
        targets: (items, percepts), standardised.

    Source: Breiman 1996, "Stacked Regressions", section 2.
    """
    weights, _ = nnls(np.stack([part.ravel() for part in parts], axis=1), targets.ravel())
    return torch.tensor(weights, dtype=torch.float32)
