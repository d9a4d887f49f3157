"""Trees as tensors: walked by hand. Against scikit-learn's they stand in tests/train_scripts/test_boosted_trees.py."""

import math

import pytest
import torch

from antiphon.modeling.layers_trees import TreeEnsemble


def make_ensemble(members: int = 1, percepts: int = 1, trees: int = 1, depth: int = 2) -> TreeEnsemble:
    ensemble = TreeEnsemble(members, percepts, trees, depth)
    ensemble.reset_parameters()
    return ensemble


def test_a_tree_by_hand():
    ensemble = make_ensemble()
    ensemble.features[0, 0, 0] = torch.tensor([1, 0, 2])
    ensemble.thresholds[0, 0, 0] = torch.tensor([0.5, -1.0, 3.0])
    ensemble.leaves[0, 0, 0] = torch.tensor([10.0, 20.0, 30.0, 40.0])
    values = torch.tensor(
        [[-2.0, 0.0, 9.0], [-1.0, 0.5, 9.0], [0.0, 0.5, 9.0], [9.0, 0.6, 3.0], [-9.0, 0.6, 3.1]]  # at most: to the left
    )
    assert ensemble(values).tolist() == [[[10.0], [10.0], [20.0], [30.0], [40.0]]]


def test_a_stump_stands_at_every_place_below_it():
    ensemble = make_ensemble()
    ensemble.thresholds[0, 0, 0, 0] = math.inf
    ensemble.thresholds[0, 0, 0, 1] = math.inf
    ensemble.leaves[0, 0, 0] = torch.tensor([7.0, 1.0, 2.0, 3.0])
    assert ensemble(torch.tensor([[-1e30], [0.0], [1e30]])).flatten().tolist() == [7.0, 7.0, 7.0]


def test_trees_add_up_for_each_member_and_percept():
    ensemble = make_ensemble(members=2, percepts=3, trees=4, depth=1)
    ensemble.leaves[:] = torch.arange(48.0).view(2, 3, 4, 2)
    left, right = ensemble(torch.tensor([[-1.0], [1.0]])).unbind(1)
    expected = torch.arange(48.0).view(2, 3, 4, 2).sum(2)
    torch.testing.assert_close(left, expected[..., 0])
    torch.testing.assert_close(right, expected[..., 1])


@pytest.mark.parametrize("depth", [1, 3])
def test_unfitted_trees_say_nothing(depth):
    assert not make_ensemble(2, 3, 4, depth)(torch.randn(5, 6)).any()
