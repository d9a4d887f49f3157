"""Self-attention with rotary, relative or no positions of its own, through the attention interface of transformers."""

import torch
from torch import nn
from transformers import initialization as init
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .layers_dropout import Dropout
from .layers_stream import StreamCache


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


class SelfAttention(nn.Module):
    """Multi-head self-attention that knows of no positions: they are in its input, or nowhere.

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

    def place(
        self, query: torch.Tensor, key: torch.Tensor, position_embeddings, attention_mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Lets positions act on queries and keys, each (batch, heads, frames, head_dim), or on the mask."""
        return query, key, attention_mask

    def forward(
        self,
        hidden_states: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor] | torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        cache: StreamCache | None = None,
        **kwargs,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Maps (batch, frames, hidden_size) to the same shape; also returns the weights where they are computed.

        Args:
            hidden_states: (batch, frames, hidden_size).
            position_embeddings: As the fitting class of `layers_positions` makes them; with a cache those of its
                frames too.
            attention_mask: As `eager_attention` takes it.
            cache: Keys and values of the frames before, in a stream.
        """
        batch, frames, hidden_size = hidden_states.shape
        projected = self.input_projection(hidden_states)
        # (batch, frames, 3, heads, head_dim) -> (3, batch, heads, frames, head_dim)
        projected = projected.view(batch, frames, 3, -1, self.config.head_dim).permute(2, 0, 3, 1, 4)
        # Keys are remembered without positions: only distances count, so they may begin anew with every chunk.
        key, value = projected[1:] if cache is None else cache.extend(projected[1:])
        query, key, attention_mask = self.place(projected[0], key, position_embeddings, attention_mask)
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


class RotaryAttention(SelfAttention):
    """Self-attention whose queries and keys are rotated by their positions, `RotaryPositions`."""

    def place(self, query, key, position_embeddings, attention_mask):
        """Rotates the queries, which are the last of the frames, and the keys."""
        frames = query.shape[2]
        query = rotate(query, *(each[-frames:] for each in position_embeddings))
        return query, rotate(key, *position_embeddings), attention_mask


def shift_relative(scores: torch.Tensor, num_keys: int) -> torch.Tensor:
    """Turns scores by distance into scores by key.

    Args:
        scores: (..., queries, num_keys + queries - 1), the distances falling from num_keys - 1 to 1 - queries; the
            queries are the last of the keys' frames.
        num_keys: How many keys there are.

    Returns:
        (..., queries, num_keys), where query i and key j meet at distance num_keys - queries + i - j.

    Source: Dai et al. 2019, "Transformer-XL", appendix B: a zero before each row, and reading the rows on in another
        length, moves each row one place further than the one before.
    """
    queries, distances = scores.shape[-2:]
    padded = nn.functional.pad(scores, (1, 0)).flatten(-2)
    return padded[..., queries:].unflatten(-1, (queries, distances))[..., :num_keys]


class RelativeAttention(SelfAttention):
    """Self-attention whose scores also depend on the distance between query and key, `RelativePositions`.

    What depends on distance is computed first and added to the scores as a mask, which fused kernels take as well.

    Source: Dai et al. 2019, "Transformer-XL", section 3.3, the four terms of the score: `content_bias` is its u,
        `position_bias` its v. Deviation: queries have a bias too.
    """

    def __init__(self, config):
        super().__init__(config)
        self.position_projection = nn.Linear(config.hidden_size, config.hidden_size, bias=False)
        self.content_bias = nn.Parameter(torch.zeros(config.num_attention_heads, 1, config.head_dim))
        self.position_bias = nn.Parameter(torch.zeros(config.num_attention_heads, 1, config.head_dim))

    def reset_parameters(self):
        """Sets the two biases, which no layer of torch owns."""
        init.zeros_(self.content_bias)
        init.zeros_(self.position_bias)

    def place(self, query, key, position_embeddings, attention_mask):
        """Joins what depends on distance and the mask to (batch, heads, frames, keys), added to the scores."""
        if self.config._attn_implementation not in ("eager", "sdpa"):
            raise ValueError(
                f"`attn_implementation` is {self.config._attn_implementation!r} but `position_embeddings_type` is "
                "'relative', whose scores need 'eager' or 'sdpa'."
            )
        # (distances, hidden_size) -> (heads, head_dim, distances)
        distances = self.position_projection(position_embeddings.to(query.dtype))
        distances = distances.unflatten(-1, (-1, self.config.head_dim)).permute(1, 2, 0)
        by_distance = torch.matmul((query + self.position_bias.to(query.dtype)) * self.scaling, distances)
        scores = shift_relative(by_distance, num_keys=key.shape[2])
        if attention_mask is not None and attention_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attention_mask, torch.finfo(scores.dtype).min)
        elif attention_mask is not None:
            scores = scores + attention_mask
        return query + self.content_bias.to(query.dtype), key, scores


ATTENTIONS = {
    "rotary": RotaryAttention,
    "relative": RelativeAttention,
    "absolute": SelfAttention,
    "none": SelfAttention,
}
