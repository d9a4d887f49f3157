"""Boosted regression trees as tensors: they travel in a checkpoint as weights do, and need no other library."""

import torch
from torch import nn
from transformers import initialization as init


class TreeEnsemble(nn.Module):
    """Sums of regression trees, one sum for each member and percept.

    All trees have the same depth: of a shorter one, the leaf stands at every place below it. Node n is followed by
    2 n + 1 where the descriptor is at most the threshold, by 2 n + 2 otherwise.

    Args:
        num_members, num_percepts, num_trees, depth: Shape.
    """

    def __init__(self, num_members: int, num_percepts: int, num_trees: int, depth: int):
        super().__init__()
        self.depth = depth
        shape = (num_members, num_percepts, num_trees)
        self.register_buffer("features", torch.empty(*shape, 2**depth - 1, dtype=torch.int32))
        self.register_buffer("thresholds", torch.empty(*shape, 2**depth - 1))
        self.register_buffer("leaves", torch.empty(*shape, 2**depth))

    def reset_parameters(self):
        """Trees that answer zero."""
        init.zeros_(self.features)
        init.zeros_(self.thresholds)
        init.zeros_(self.leaves)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Maps (batch, descriptors) to (members, batch, percepts)."""
        members, percepts, trees, _ = self.features.shape
        features, thresholds, leaves = (
            tensor.flatten(0, 2) for tensor in (self.features, self.thresholds, self.leaves)
        )
        tree = torch.arange(len(features), device=values.device)
        node = torch.zeros(len(values), len(features), dtype=torch.long, device=values.device)
        for _ in range(self.depth):
            value = values.gather(1, features[tree, node].long())
            node = 2 * node + 1 + (value > thresholds[tree, node])
        answers = leaves[tree, node - (2**self.depth - 1)]
        return answers.view(len(values), members, percepts, trees).sum(-1).transpose(0, 1)
