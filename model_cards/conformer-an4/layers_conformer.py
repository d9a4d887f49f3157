"""The Conformer layer: half feed-forward, attention, convolution, half feed-forward."""

import torch
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

from .layers_attention import ATTENTIONS
from .layers_depthwise import DepthwiseConvolution
from .layers_dropout import Dropout
from .layers_stream import LayerCache, StreamCache


class FeedForward(nn.Module):
    """Two linear maps with a SiLU between them: (batch, frames, hidden_size) to the same shape."""

    def __init__(self, config):
        super().__init__()
        self.expand = nn.Linear(config.hidden_size, config.intermediate_size)
        self.contract = nn.Linear(config.intermediate_size, config.hidden_size)
        self.dropout = Dropout(config.activation_dropout)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.contract(self.dropout(nn.functional.silu(self.expand(hidden_states))))


class ConvolutionModule(nn.Module):
    """Gated pointwise expansion, depthwise convolution over time, layer norm, SiLU and a pointwise map."""

    def __init__(self, config):
        super().__init__()
        self.expand = nn.Linear(config.hidden_size, 2 * config.hidden_size)
        lookahead = 0 if config.causal_convolutions else None
        self.depthwise = DepthwiseConvolution(config.hidden_size, config.conv_kernel_size, lookahead)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.project = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(
        self, hidden_states: torch.Tensor, is_padding: torch.Tensor | None, cache: StreamCache | None = None
    ) -> torch.Tensor:
        """Maps (batch, frames, hidden_size) to the same shape.

        Args:
            hidden_states: (batch, frames, hidden_size).
            is_padding: (batch, frames, 1), true at padding; None where nothing is padded.
            cache: The frames before, in a stream.
        """
        frames = hidden_states.shape[1]
        hidden_states = nn.functional.glu(self.expand(hidden_states), dim=-1)
        if is_padding is not None:
            hidden_states = hidden_states.masked_fill(is_padding, 0.0)
        if cache is not None:
            hidden_states = cache.extend(hidden_states)
        hidden_states = self.depthwise(hidden_states)[:, -frames:]
        return self.project(nn.functional.silu(self.norm(hidden_states)))


class ConformerLayer(GradientCheckpointingLayer):
    """One layer of the encoder, each module pre-normalised and added to its input.

    Source: Gulati et al. 2020, equation 1.
    """

    def __init__(self, config):
        super().__init__()
        self.feed_forward_before = FeedForward(config)
        self.attention = ATTENTIONS[config.position_embeddings_type](config)
        self.convolution = ConvolutionModule(config)
        self.feed_forward_after = FeedForward(config)
        for name in ("feed_forward_before", "attention", "convolution", "feed_forward_after", "output"):
            setattr(self, f"{name}_norm", nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps))
        self.dropout = Dropout(config.hidden_dropout)

    def forward(
        self,
        hidden_states: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor] | torch.Tensor | None,
        attention_mask: torch.Tensor | None = None,
        is_padding: torch.Tensor | None = None,
        cache: LayerCache | None = None,
        **kwargs,
    ) -> torch.Tensor:
        """Maps (batch, frames, hidden_size) to the same shape; `cache` holds the frames before, in a stream."""
        past = cache or LayerCache(attention=None, convolution=None)
        update = self.feed_forward_before(self.feed_forward_before_norm(hidden_states))
        hidden_states = torch.add(hidden_states, self.dropout(update), alpha=0.5)

        normalised = self.attention_norm(hidden_states)
        update, _ = self.attention(normalised, position_embeddings, attention_mask, past.attention, **kwargs)
        hidden_states = hidden_states + self.dropout(update)

        update = self.convolution(self.convolution_norm(hidden_states), is_padding, past.convolution)
        hidden_states = hidden_states + self.dropout(update)

        update = self.feed_forward_after(self.feed_forward_after_norm(hidden_states))
        hidden_states = torch.add(hidden_states, self.dropout(update), alpha=0.5)
        return self.output_norm(hidden_states)
