"""Finite scalar quantization: discrete codes without a codebook that could collapse."""

import torch
from torch import nn
from transformers import initialization as init


class FiniteScalarQuantizer(nn.Module):
    """Bounds each dimension of a vector and rounds it to one of a few levels; gradients pass straight through.

    Args:
        levels: Levels of each dimension; their product is the number of codes.

    Source: Mentzer et al. 2023, "Finite Scalar Quantization: VQ-VAE Made Simple", section 3.1 and appendix A.1.
        Deviation: levels are evenly spaced in [-1, 1] for even numbers too, without an offset.
    """

    def __init__(self, levels: list[int]):
        super().__init__()
        self.levels = levels
        self.register_buffer("steps", self.make_steps(), persistent=False)

    def make_steps(self) -> torch.Tensor:
        """Returns levels - 1 and the place value of each dimension in a code, (2, dimensions)."""
        levels = torch.tensor(self.levels)
        places = torch.cat([torch.ones(1, dtype=torch.long), levels.cumprod(0)[:-1]])
        return torch.stack([levels - 1, places])

    def reset_parameters(self):
        """Fills the buffer, which a checkpoint does not hold."""
        init.copy_(self.steps, self.make_steps())

    def forward(self, vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Quantizes.

        Args:
            vectors: (..., dimensions), unbounded.

        Returns:
            The nearest grid point (..., dimensions), in [-1, 1], and its code (...), int64.
        """
        intervals, places = self.steps
        scaled = (vectors.tanh() + 1) / 2 * intervals
        rounded = scaled.round()
        codes = (rounded.detach().long() * places).sum(-1)
        straight_through = scaled + (rounded - scaled).detach()
        return straight_through / intervals * 2 - 1, codes

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """Returns the grid points of codes: (...) to (..., dimensions)."""
        intervals, places = self.steps
        rounded = torch.div(codes[..., None], places, rounding_mode="floor") % (intervals + 1)
        return rounded / intervals * 2 - 1
