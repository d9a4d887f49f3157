"""The Conformer layer: half feed-forward, attention, convolution, half feed-forward."""

import torch
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

from .layers_attention import RotaryAttention
from .layers_dropout import Dropout


class FeedForward(nn.Module):
    """Two linear maps with a SiLU between them: (batch, frames, hidden_size) to the same shape."""

    def __init__(self, config):
        super().__init__()
        self.expand = nn.Linear(config.hidden_size, config.intermediate_size)
        self.contract = nn.Linear(config.intermediate_size, config.hidden_size)
        self.dropout = Dropout(config.activation_dropout)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.contract(self.dropout(nn.functional.silu(self.expand(hidden_states))))


class DepthwiseConvolution(nn.Conv1d):
    """A convolution of every channel with its own kernel over (batch, frames, channels).

    It runs as a 2-d convolution over (batch, channels, frames, 1): data with the channels last has exactly the memory
    order that the CPU's depthwise kernels want, so nothing is transposed. Several times as fast as `nn.Conv1d`.
    """

    def __init__(self, channels: int, kernel_size: int):
        super().__init__(channels, channels, kernel_size, padding=kernel_size // 2, groups=channels)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        image = hidden_states.transpose(1, 2).unsqueeze(3)
        image = nn.functional.conv2d(
            image, self.weight.unsqueeze(3), self.bias, padding=(self.padding[0], 0), groups=self.groups
        )
        return image.squeeze(3).transpose(1, 2)


class ConvolutionModule(nn.Module):
    """Gated pointwise expansion, depthwise convolution over time, layer norm, SiLU and a pointwise map."""

    def __init__(self, config):
        super().__init__()
        self.expand = nn.Linear(config.hidden_size, 2 * config.hidden_size)
        self.depthwise = DepthwiseConvolution(config.hidden_size, config.conv_kernel_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.project = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, hidden_states: torch.Tensor, is_padding: torch.Tensor | None) -> torch.Tensor:
        """Maps (batch, frames, hidden_size) to the same shape; `is_padding` is (batch, frames, 1), true at padding."""
        hidden_states = nn.functional.glu(self.expand(hidden_states), dim=-1)
        if is_padding is not None:
            hidden_states = hidden_states.masked_fill(is_padding, 0.0)
        hidden_states = nn.functional.silu(self.norm(self.depthwise(hidden_states)))
        return self.project(hidden_states)


class ConformerLayer(GradientCheckpointingLayer):
    """One layer of the encoder, each module pre-normalised and added to its input.

    Source: Gulati et al. 2020, equation 1.
    """

    def __init__(self, config):
        super().__init__()
        self.feed_forward_before = FeedForward(config)
        self.attention = RotaryAttention(config)
        self.convolution = ConvolutionModule(config)
        self.feed_forward_after = FeedForward(config)
        for name in ("feed_forward_before", "attention", "convolution", "feed_forward_after", "output"):
            setattr(self, f"{name}_norm", nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps))
        self.dropout = Dropout(config.hidden_dropout)

    def forward(
        self,
        hidden_states: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
        attention_mask: torch.Tensor | None = None,
        is_padding: torch.Tensor | None = None,
        **kwargs,
    ) -> torch.Tensor:
        """Maps (batch, frames, hidden_size) to the same shape."""
        update = self.feed_forward_before(self.feed_forward_before_norm(hidden_states))
        hidden_states = torch.add(hidden_states, self.dropout(update), alpha=0.5)

        update, _ = self.attention(self.attention_norm(hidden_states), position_embeddings, attention_mask, **kwargs)
        hidden_states = hidden_states + self.dropout(update)

        update = self.convolution(self.convolution_norm(hidden_states), is_padding)
        hidden_states = hidden_states + self.dropout(update)

        update = self.feed_forward_after(self.feed_forward_after_norm(hidden_states))
        hidden_states = torch.add(hidden_states, self.dropout(update), alpha=0.5)
        return self.output_norm(hidden_states)
