"""Self-attention with rotary positions, through the attention interface of transformers."""

import torch
from torch import nn
from transformers import initialization as init
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .layers_dropout import Dropout
from .layers_stream import StreamCache


class RotaryPositions(nn.Module):
    """Cosines and sines that rotate each pair of a head's dimensions by an angle proportional to time.

    Args:
        head_dim: Width of one attention head; even.
        theta: Base of the geometric series of frequencies.

    Source: Su et al. 2021, "RoFormer: Enhanced Transformer with Rotary Position Embedding", equation 34.
    """

    def __init__(self, head_dim: int, theta: float):
        super().__init__()
        self.head_dim = head_dim
        self.theta = theta
        self.register_buffer("frequencies", self.compute_frequencies(), persistent=False)

    def compute_frequencies(self) -> torch.Tensor:
        """Returns (head_dim / 2,) angular frequencies in radians per frame."""
        exponents = torch.arange(0, self.head_dim, 2, dtype=torch.float32) / self.head_dim
        return self.theta**-exponents

    def reset_parameters(self):
        """Fills the buffer, which a checkpoint does not hold."""
        init.copy_(self.frequencies, self.compute_frequencies())

    @torch.no_grad()
    def forward(self, hidden_states: torch.Tensor, past_frames: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns cosines and sines of the frames of a sequence.

        Args:
            hidden_states: (batch, frames, hidden_size); only its shape and device matter.
            past_frames: Frames that came before, in a stream.

        Returns:
            Cosines and sines, each (past_frames + frames, head_dim).
        """
        frames = past_frames + hidden_states.shape[1]
        positions = torch.arange(frames, device=hidden_states.device, dtype=torch.float32)
        # Angles are taken in float32 under autocast too: bfloat16 cannot count beyond 256 frames.
        with torch.autocast(hidden_states.device.type, enabled=False):
            angles = positions[:, None] * self.frequencies.float()[None, :]
            angles = torch.cat([angles, angles], dim=-1)
            return angles.cos(), angles.sin()


def rotate(heads: torch.Tensor, cosines: torch.Tensor, sines: torch.Tensor) -> torch.Tensor:
    """Rotates queries or keys of (..., frames, head_dim) by their positions."""
    first, second = heads.chunk(2, dim=-1)
    return heads * cosines.to(heads.dtype) + torch.cat([-second, first], dim=-1) * sines.to(heads.dtype)


def eager_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    **kwargs,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention written out, which also returns its weights.

    Args:
        module: Whose `dropout` is applied to the weights.
        query, key, value: (batch, heads, frames, head_dim).
        attention_mask: Added to the scores, or true where a key is heard; (batch, 1, frames, frames), or None.

    Returns:
        The output (batch, frames, heads, head_dim) and the weights (batch, heads, frames, frames).
    """
    scores = torch.matmul(query * scaling, key.transpose(2, 3))
    if attention_mask is not None:
        if attention_mask.dtype == torch.bool:
            unheard = torch.finfo(scores.dtype).min
            attention_mask = torch.zeros_like(attention_mask, dtype=scores.dtype).masked_fill_(~attention_mask, unheard)
        scores = scores + attention_mask
    weights = nn.functional.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    weights = module.dropout(weights)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), weights


class RotaryAttention(nn.Module):
    """Multi-head self-attention whose queries and keys carry rotary positions.

    Args:
        config: Needs `hidden_size`, `num_attention_heads`, `head_dim`, `attention_dropout`.
    """

    # Read by the attention functions of transformers: whether later frames are hidden when no mask says so.
    is_causal = False

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.scaling = config.head_dim**-0.5
        # One product for queries, keys and values is faster than three.
        self.input_projection = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.output_projection = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = Dropout(config.attention_dropout)

    def forward(
        self,
        hidden_states: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
        attention_mask: torch.Tensor | None = None,
        cache: StreamCache | None = None,
        **kwargs,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Maps (batch, frames, hidden_size) to the same shape; also returns the weights where they are computed.

        Args:
            hidden_states: (batch, frames, hidden_size).
            position_embeddings: Cosines and sines, each (frames, head_dim); with a cache those of its frames too.
            attention_mask: As `eager_attention` takes it.
            cache: Keys and values of the frames before, in a stream.
        """
        batch, frames, hidden_size = hidden_states.shape
        projected = self.input_projection(hidden_states)
        # (batch, frames, 3, heads, head_dim) -> (3, batch, heads, frames, head_dim)
        projected = projected.view(batch, frames, 3, -1, self.config.head_dim).permute(2, 0, 3, 1, 4)
        if cache is None:
            query, key = rotate(projected[:2], *position_embeddings)
            value = projected[2]
        else:
            # Keys are remembered unrotated: only distances count, so positions may begin anew with every chunk.
            key, value = cache.extend(projected[1:])
            key = rotate(key, *position_embeddings)
            query = rotate(projected[0], *(each[-frames:] for each in position_embeddings))
        dropout = self.dropout.p if self.training else 0.0
        attention = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention)
        if dropout and hidden_states.device.type == "cpu":
            # No fused kernel of a CPU drops weights: there torch writes attention out too, with a slower dropout.
            attention = eager_attention
        output, weights = attention(
            self,
            query,
            key,
            value,
            attention_mask,
            dropout=dropout,
            scaling=self.scaling,
            **kwargs,
        )
        return self.output_projection(output.reshape(batch, frames, hidden_size)), weights
