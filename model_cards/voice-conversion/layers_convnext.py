"""The ConvNeXt block over time: depthwise convolution, layer norm, two linear maps, residual."""

import torch
from torch import nn
from transformers import initialization as init

from .layers_depthwise import DepthwiseConvolution


class ConvNeXtBlock(nn.Module):
    """Adds to every frame what a depthwise convolution and a small network make of its neighbourhood.

    Args:
        hidden_size: Width of the input and of the output.
        intermediate_size: Width between the two linear maps.
        kernel_size: Frames seen by the depthwise convolution.
        lookahead: How many of these frames lie ahead: 0 is causal, None centres an odd kernel.
        condition_size: Width of a condition that scales and shifts the normalised frames; None takes no condition.
        layer_scale: Initial gain of the update that each block adds.

    Source: Liu et al. 2022, "A ConvNet for the 2020s", figure 4; over time as in Siuzdak 2023, "Vocos". The condition
        enters as in adaptive layer norm, x (1 + scale) + shift, and starts at the identity.
    """

    def __init__(
        self,
        hidden_size: int,
        intermediate_size: int,
        kernel_size: int = 7,
        lookahead: int | None = None,
        condition_size: int | None = None,
        layer_scale: float = 0.125,
    ):
        super().__init__()
        self.convolution = DepthwiseConvolution(hidden_size, kernel_size, lookahead)
        self.norm = nn.LayerNorm(hidden_size, eps=1e-6)
        self.modulation = None if condition_size is None else nn.Linear(condition_size, 2 * hidden_size)
        self.expand = nn.Linear(hidden_size, intermediate_size)
        self.contract = nn.Linear(intermediate_size, hidden_size)
        self.initial_scale = layer_scale
        self.layer_scale = nn.Parameter(torch.empty(hidden_size))
        self.reset_parameters()

    def reset_parameters(self):
        """Sets the gain of the update, and the modulation to the identity; call it after the linear maps are set."""
        init.constant_(self.layer_scale, self.initial_scale)
        if self.modulation is not None:
            init.zeros_(self.modulation.weight)
            init.zeros_(self.modulation.bias)

    def forward(self, hidden_states: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        """Maps (batch, frames, hidden_size) to the same shape.

        Args:
            hidden_states: (batch, frames, hidden_size).
            condition: (batch, condition_size), or one per frame, (batch, frames, condition_size).
        """
        update = self.norm(self.convolution(hidden_states))
        if self.modulation is not None:
            if condition.ndim == 2:
                condition = condition[:, None]
            scale, shift = self.modulation(condition).chunk(2, dim=-1)
            update = torch.addcmul(update + shift, update, scale)
        update = self.contract(nn.functional.gelu(self.expand(update)))
        return torch.addcmul(hidden_states, update, self.layer_scale)
