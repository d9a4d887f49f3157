"""The Conformer in a stream: what each layer remembers, and the pieces that go through all of them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch


class StreamCache:
    """The last frames that went by.

    Args:
        num_frames: How many are remembered; None means all.
    """

    def __init__(self, num_frames: int | None):
        self.num_frames = num_frames
        self.past = None

    def __len__(self) -> int:
        return 0 if self.past is None else self.past.shape[-2]

    def extend(self, frames: torch.Tensor) -> torch.Tensor:
        """Returns the remembered frames followed by the new ones, (..., frames, size), and remembers the last."""
        joined = frames if self.past is None else torch.cat([self.past, frames], dim=-2)
        kept = joined.shape[-2] if self.num_frames is None else min(self.num_frames, joined.shape[-2])
        self.past = joined[..., joined.shape[-2] - kept :, :]
        return joined


@dataclass
class LayerCache:
    """What one Conformer layer remembers of the frames before: its keys and values, its convolution's input."""

    attention: StreamCache | None
    convolution: StreamCache | None


def draw_chunk_frames(config, is_training: bool) -> int | None:
    """The length of chunks for one batch: in training one of `training_chunk_frames`, where the configuration has any.

    It comes from torch's generator of the CPU, so that a resumed training draws the same ones.

    Args:
        config: Needs `chunk_frames`, `training_chunk_frames`.
        is_training: Whether the model is in training mode.
    """
    lengths = config.training_chunk_frames
    if not is_training or lengths is None:
        return config.chunk_frames
    return lengths[int(torch.randint(len(lengths), ()))]


def chunk_mask_function(config, chunk_frames: int | None) -> Callable | None:
    """Which keys a query hears: those of its own chunk and of `left_chunks` before.

    Args:
        config: Needs `left_chunks`, `_attn_implementation`.
        chunk_frames: Output frames of a chunk; None for no chunks.

    Returns:
        A mask function of transformers, or None where every frame hears every other.

    Raises:
        ValueError: for an implementation of attention that takes no such mask.
    """
    if chunk_frames is None:
        return None
    if config._attn_implementation not in ("eager", "sdpa"):
        raise ValueError(
            f"`attn_implementation` is {config._attn_implementation!r} but `chunk_frames` is {chunk_frames}, "
            "which needs 'eager' or 'sdpa'."
        )

    def hears(batch, head, query, key):
        distance = query // chunk_frames - key // chunk_frames
        is_heard = distance >= 0
        return is_heard if config.left_chunks is None else is_heard & (distance <= config.left_chunks)

    return hears


class ConformerStream:
    """Features that arrive in pieces of any size; made by `ConformerModel.stream`.

    A chunk of `chunk_frames` output frames comes out as soon as its last feature frame is in. The convolutions that
    subsample look no further: output frame t hears features up to `subsampling_factor` (t + 1) - 1.

    Args:
        model: A `ConformerModel` in evaluation mode.
    """

    def __init__(self, model):
        config = model.config
        if not config.causal_convolutions or config.chunk_frames is None:
            raise ValueError(
                f"`causal_convolutions` is {config.causal_convolutions} and `chunk_frames` is {config.chunk_frames}, "
                "but a stream needs true and a number; train a model with both, or load one whose convolutions are "
                "causal with `from_pretrained(..., chunk_frames=8)`."
            )
        self.model = model
        past_frames = None if config.left_chunks is None else config.left_chunks * config.chunk_frames
        self.caches = [
            LayerCache(StreamCache(past_frames), StreamCache(config.conv_kernel_size - 1)) for _ in model.layers
        ]
        self.chunk_length = config.chunk_frames * config.subsampling_factor
        self.subsampling_past = StreamCache(config.subsampling_factor)
        self.num_frames = 0
        self.pending = None
        self.finished = False

    @torch.no_grad()
    def push(self, input_features: torch.Tensor) -> torch.Tensor:
        """Takes (batch, frames, num_mel_bins) and returns the frames of complete chunks, (batch, frames, hidden_size).

        Raises:
            ValueError: the stream is finished.
        """
        if self.finished:
            raise ValueError("This stream is finished; start another with `stream()`.")
        self.pending = input_features if self.pending is None else torch.cat([self.pending, input_features], dim=1)
        complete = self.pending.shape[1] // self.chunk_length * self.chunk_length
        chunks, self.pending = self.pending[:, :complete], self.pending[:, complete:]
        return self._encode(chunks)

    @torch.no_grad()
    def finish(self) -> torch.Tensor:
        """Ends the stream and returns its last frames, (batch, frames, hidden_size)."""
        if self.finished or self.pending is None:
            raise ValueError("There is nothing to finish; push features first, and finish once.")
        self.finished = True
        return self._encode(self.pending)

    def _encode(self, input_features: torch.Tensor) -> torch.Tensor:
        outputs = [
            self._encode_chunk(chunk) for chunk in input_features.split(self.chunk_length, dim=1) if chunk.numel()
        ]
        if outputs:
            return torch.cat(outputs, dim=1)
        return input_features.new_zeros(input_features.shape[0], 0, self.model.config.hidden_size)

    def _encode_chunk(self, chunk: torch.Tensor) -> torch.Tensor:
        # One output frame of context, which is encoded again and dropped, keeps zeros away from the new frames.
        is_first = len(self.subsampling_past) == 0
        hidden_states = self.model.subsampling(self.subsampling_past.extend(chunk), None)
        hidden_states = hidden_states if is_first else hidden_states[:, 1:]
        hidden_states = self.model.positions.enter(hidden_states, past_frames=self.num_frames)
        self.num_frames += hidden_states.shape[1]
        position_embeddings = self.model.positions(hidden_states, past_frames=len(self.caches[0].attention))
        for layer, cache in zip(self.model.layers, self.caches):
            hidden_states = layer(hidden_states, position_embeddings, cache=cache)
        return hidden_states


class CTCStream:
    """Features in, scores of symbols out, in pieces of any size; made by `ConformerForCTC.stream`.

    Args:
        model: A `ConformerForCTC` in evaluation mode.
    """

    def __init__(self, model):
        self.model = model
        self.encoder_stream = model.encoder.stream()

    @torch.no_grad()
    def push(self, input_features: torch.Tensor) -> torch.Tensor:
        """Takes (batch, frames, num_mel_bins) and returns logits of complete chunks, (batch, frames, vocab_size)."""
        return self.model.head(self.encoder_stream.push(input_features))

    @torch.no_grad()
    def finish(self) -> torch.Tensor:
        """Ends the stream and returns the last logits, (batch, frames, vocab_size)."""
        return self.model.head(self.encoder_stream.finish())
