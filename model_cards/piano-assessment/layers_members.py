"""An ensemble trained at once: linear maps with one set of weights a member, and what all members read."""

import torch
from torch import nn
from transformers import initialization as init


class MemberLinear(nn.Module):
    """As many linear maps as there are members, each applied to its member's input.

    Args:
        num_members, input_size, output_size: Shape.
        zero: Whether the weights begin at zero, so that the output begins at the bias.
    """

    def __init__(self, num_members: int, input_size: int, output_size: int, zero: bool = False):
        super().__init__()
        self.zero = zero
        self.weight = nn.Parameter(torch.empty(num_members, input_size, output_size))
        self.bias = nn.Parameter(torch.empty(num_members, 1, output_size))

    def reset_parameters(self):
        """Draws the weights by their fan-in; biases begin at zero."""
        if self.zero:
            init.zeros_(self.weight)
        else:
            init.normal_(self.weight, std=self.weight.shape[1] ** -0.5)
        init.zeros_(self.bias)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Maps (members, batch, input_size) or, the same for all, (batch, input_size) to (members, batch, output)."""
        if inputs.ndim == 2:
            inputs = inputs.expand(len(self.weight), -1, -1)
        return torch.baddbmm(self.bias, inputs, self.weight)


class PiecewiseLinearEmbedding(nn.Module):
    """Spreads each number over the quantiles of training that it has passed, so that a linear map of it can bend.

    Args:
        num_features, num_bins: Shape.

    Source: Gorishniy et al. 2022, equation 1, but both ends are clipped, so that an outlier cannot pull.
    """

    def __init__(self, num_features: int, num_bins: int):
        super().__init__()
        self.num_bins = num_bins
        self.register_buffer("edges", torch.empty(num_features, num_bins + 1))

    def reset_parameters(self):
        """Until `fit`, one unit from edge to edge around zero."""
        edges = torch.arange(self.num_bins + 1, dtype=torch.float32) - self.num_bins / 2
        init.copy_(self.edges, edges.expand_as(self.edges).contiguous())

    @torch.no_grad()
    def fit(self, values: torch.Tensor):
        """Sets the edges to the quantiles of (items, features); NaN is missing."""
        quantiles = torch.linspace(0, 1, self.num_bins + 1, dtype=torch.float64)
        edges = torch.nanquantile(values.double(), quantiles, dim=0).T
        # A feature that training lacks keeps edges of zero width and says nothing.
        self.edges.copy_(edges.nan_to_num(0.0))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Maps (batch, features) to (batch, features, num_bins) in [-1/2, 1/2]; 0 where missing or without width."""
        low, high = self.edges[:, :-1], self.edges[:, 1:]
        width = high - low
        position = ((values[:, :, None] - low) / width.clamp(min=1e-6)).clamp(0, 1) - 0.5
        return position.masked_fill(values.isnan()[:, :, None] | (width <= 1e-6), 0.0)
