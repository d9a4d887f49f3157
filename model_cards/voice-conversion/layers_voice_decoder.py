"""The decoder of voice conversion: content, pitch, energy and a voice to a spectrogram."""

import math
from dataclasses import dataclass

import torch
from torch import nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .layers_attention import eager_attention
from .layers_convnext import ConvNeXtBlock
from .layers_dropout import Dropout

# Frames whose noise comes from one seed, so that a stream draws what the whole recording draws.
NOISE_BLOCK_FRAMES = 64
# Natural log power of a frame, about which energies of speech at the model's level spread.
ENERGY_CENTRE, ENERGY_SCALE = -3.0, 4.0


@dataclass
class ReferenceMemory:
    """What the decoder remembers of reference recordings.

    Args:
        keys: (batch, frames, hidden_size), what is said.
        values: (batch, frames, hidden_size), how it sounds.
        bias: (batch, frames), added to the attention scores; minus infinity where a frame must not be heard.
    """

    keys: torch.Tensor
    values: torch.Tensor
    bias: torch.Tensor

    @classmethod
    def nothing(cls, like: torch.Tensor) -> "ReferenceMemory":
        """A memory without a frame, for states (batch, frames, hidden_size)."""
        return cls(like[:, :0], like[:, :0], like[:, :0, 0].float())

    def roll(self) -> "ReferenceMemory":
        """The memory of the item before, for each item of the batch."""
        return ReferenceMemory(self.keys.roll(1, 0), self.values.roll(1, 0), self.bias.roll(1, 0))

    def join(self, other: "ReferenceMemory", share: float) -> "ReferenceMemory":
        """Both memories, this one with the given share of the attention where they fit equally well, however long.

        Together they weigh what their lengths, mixed in the same shares, would: with one share 1 it is that memory.
        """
        weights = share, 1 - share
        counts = [memory.bias.isfinite().sum(1, keepdim=True) for memory in (self, other)]
        total = sum(weight * count for weight, count in zip(weights, counts))
        biases = [
            memory.bias + (weight * total / count).log()
            for memory, weight, count in zip((self, other), weights, counts)
        ]
        return ReferenceMemory(
            torch.cat([self.keys, other.keys], dim=1),
            torch.cat([self.values, other.values], dim=1),
            torch.cat(biases, dim=1),
        )


class PitchEmbedding(nn.Module):
    """A learned vector for each pitch on a grid, interpolated between two neighbours, and one for unvoiced frames.

    Args:
        config: Needs `min_pitch_hz`, `num_pitch_bins`, `pitch_bins_per_octave`, `hidden_size`.
    """

    def __init__(self, config):
        super().__init__()
        self.min_hz, self.bins_per_octave = config.min_pitch_hz, config.pitch_bins_per_octave
        self.last = config.num_pitch_bins - 1
        self.vectors = nn.Embedding(config.num_pitch_bins + 1, config.hidden_size)

    def forward(self, f0: torch.Tensor) -> torch.Tensor:
        """Maps f0 (batch, frames) in Hz, 0 = unvoiced, to (batch, frames, hidden_size)."""
        places = self.bins_per_octave * (f0.clamp(min=self.min_hz) / self.min_hz).log2()
        places = places.clamp(max=self.last - 1e-3)
        low = places.long()
        share = (places - low)[..., None]
        voiced = torch.lerp(self.vectors(low), self.vectors(low + 1), share.to(self.vectors.weight.dtype))
        return torch.where((f0 > 0)[..., None], voiced, self.vectors.weight[-1])


class ReferenceAttention(nn.Module):
    """Attention from what is to be said to a memory of how the voice said similar things.

    A learned key and value stand in every memory, so that there is something to hear without a reference.

    Args:
        config: Needs `hidden_size`, `num_attention_heads`, `head_dim`.

    Source: the matching of Baas et al. 2023, "Voice Conversion With Just Nearest Neighbors", section 3, with learned
        instead of cosine similarity and a soft instead of a hard choice.
    """

    is_causal = False

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.scaling = config.head_dim**-0.5
        self.query_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.query_projection = nn.Linear(config.hidden_size, config.hidden_size)
        self.key_projection = nn.Linear(config.hidden_size, config.hidden_size)
        self.value_projection = nn.Linear(config.hidden_size, config.hidden_size)
        self.output_projection = nn.Linear(config.hidden_size, config.hidden_size)
        self.nothing = nn.Embedding(2, config.hidden_size)
        self.dropout = Dropout(0.0)

    def forward(self, hidden_states: torch.Tensor, memory: ReferenceMemory) -> torch.Tensor:
        """Maps (batch, frames, hidden_size) to the same shape."""
        batch, frames, hidden_size = hidden_states.shape
        query = self.query_projection(self.query_norm(hidden_states))
        key, value = self.key_projection(self.query_norm(memory.keys)), self.value_projection(memory.values)
        nothing = self.nothing.weight.to(key.dtype)
        key = torch.cat([nothing[:1].expand(batch, 1, -1), key], dim=1)
        value = torch.cat([nothing[1:].expand(batch, 1, -1), value], dim=1)
        bias = nn.functional.pad(memory.bias, (1, 0))[:, None, None].to(query.dtype)
        heads = (each.unflatten(2, (-1, self.config.head_dim)).transpose(1, 2) for each in (query, key, value))
        attention = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention)
        bias = bias.expand(-1, -1, frames, -1)
        output, _ = attention(self, *heads, bias, dropout=0.0, scaling=self.scaling)
        return self.output_projection(output.reshape(batch, frames, hidden_size))


class VoiceDecoder(nn.Module):
    """Predicts a log-mel spectrogram in the voice of an embedding and of a reference.

    The first layers encode what is said, without a voice, for the source and for the reference alike; attention between
    the two finds how the reference sounds where it says the like; the other layers know the speaker and the pitch.

    Args:
        config: A `VoiceConverterConfig`.
    """

    def __init__(self, config):
        super().__init__()
        self.config = config
        sizes = (config.hidden_size, config.intermediate_size, config.kernel_size)
        speaker_size, content_size = config.speaker_config.speaker_size, config.content_config.content_size
        ahead = [int(layer < config.lookahead) for layer in range(config.num_content_layers + config.num_hidden_layers)]
        self.content_norm = nn.LayerNorm(content_size, eps=config.layer_norm_eps)
        # Beside the content: the pitch relative to the speaker's own, whether there is one, and the energy.
        self.content_projection = nn.Linear(content_size + 3, config.hidden_size)
        self.content_layers = nn.ModuleList(
            ConvNeXtBlock(*sizes, lookahead=frames) for frames in ahead[: config.num_content_layers]
        )
        self.reference_projection = nn.Linear(config.num_mel_bins, config.hidden_size)
        self.reference_layers = nn.ModuleList(ConvNeXtBlock(*sizes) for _ in range(config.num_reference_layers))
        self.attention = ReferenceAttention(config)
        self.pitch = PitchEmbedding(config) if config.use_pitch else None
        self.layers = nn.ModuleList(
            ConvNeXtBlock(*sizes, lookahead=frames, condition_size=speaker_size)
            for frames in ahead[config.num_content_layers :]
        )
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.head = nn.Linear(config.hidden_size, config.num_mel_bins)

    @property
    def left_context(self) -> int:
        """Frames behind that one frame of the output depends on."""
        layers = self.config.num_content_layers + self.config.num_hidden_layers
        return layers * (self.config.kernel_size - 1) - self.config.lookahead

    def encode_content(
        self,
        content: torch.Tensor,
        relative_pitch: torch.Tensor,
        f0: torch.Tensor,
        energy: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """What is said and how, without a voice: (batch, frames, hidden_size).

        Args:
            content: (batch, ceil(frames / 2), content_size).
            relative_pitch: (batch, frames), octaves above the speaker's median, 0 where unvoiced.
            f0: (batch, frames), of which only counts whether there is one.
            energy: (batch, frames), natural log power.
            attention_mask: (batch, frames), 1 = real; padding on the right. None means no padding.
        """
        frames = energy.shape[1]
        content = self.content_norm(content).repeat_interleave(2, dim=1)[:, :frames]
        if self.pitch is None:
            relative_pitch = torch.zeros_like(relative_pitch)
        scalars = torch.stack([relative_pitch, (f0 > 0).float(), scale_energy(energy)], dim=-1)
        hidden_states = self.content_projection(torch.cat([content, scalars.to(content.dtype)], dim=-1))
        # What lies behind the end of padded speech must look like the zeros behind the end of a lone one.
        mask = 1 if attention_mask is None else attention_mask[..., None].to(hidden_states.dtype)
        hidden_states = hidden_states * mask
        for layer in self.content_layers:
            hidden_states = layer(hidden_states) * mask
        return hidden_states

    def remember(
        self, content_states: torch.Tensor, input_features: torch.Tensor, is_heard: torch.Tensor
    ) -> ReferenceMemory:
        """Makes a memory of a reference.

        Args:
            content_states: (batch, frames, hidden_size), as `encode_content` returns them.
            input_features: (batch, frames, num_mel_bins).
            is_heard: (batch, frames), false where a frame is padding or shall not be heard.
        """
        values = self.reference_projection(input_features.to(content_states.dtype)) * is_heard[..., None]
        for layer in self.reference_layers:
            values = layer(values) * is_heard[..., None]
        bias = torch.zeros_like(is_heard, dtype=torch.float32).masked_fill(~is_heard, -math.inf)
        return ReferenceMemory(content_states, values, bias)

    def forward(
        self,
        content_states: torch.Tensor,
        memory: ReferenceMemory,
        speaker_embeddings: torch.Tensor,
        f0: torch.Tensor,
        energy: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Decodes.

        Args:
            content_states: (batch, frames, hidden_size) of the source.
            memory: Of the reference.
            speaker_embeddings: (batch, speaker_size), unit norm.
            f0: (batch, frames), in Hz, as it shall sound; 0 = unvoiced.
            energy: (batch, frames), natural log power.

        Returns:
            Log-mel features (batch, frames, num_mel_bins), and the states behind them (batch, frames, hidden_size).
        """
        hidden_states = content_states + self.attention(content_states, memory)
        if self.pitch is not None:
            hidden_states = hidden_states + self.pitch(f0)
        # Unit norm over so many numbers makes each tiny.
        condition = speaker_embeddings.to(hidden_states.dtype) * speaker_embeddings.shape[-1] ** 0.5
        for layer in self.layers:
            hidden_states = layer(hidden_states, condition)
        hidden_states = self.norm(hidden_states)
        features = self.head(hidden_states).float() + energy[..., None]
        return features.clamp(min=math.log(self.config.mel_floor)), hidden_states


class DetailFlow(nn.Module):
    """Turns noise into what a predicted spectrogram lacks: the difference between the true one and the prediction.

    Args:
        config: A `VoiceConverterConfig`.

    Source: Lipman et al. 2023, "Flow Matching for Generative Modeling", equations 20 to 23 with sigma_min = 0.
        Deviation: what flows is the residual of a direct prediction, so that the steps have to make its detail and not
        a spectrogram out of nothing. The network is causal: it adds no latency.
    """

    def __init__(self, config):
        super().__init__()
        self.config = config
        speaker_size, hidden_size = config.speaker_config.speaker_size, config.hidden_size
        self.input_projection = nn.Linear(2 * config.num_mel_bins + hidden_size, hidden_size)
        self.time_projection = nn.Linear(speaker_size, speaker_size)
        self.layers = nn.ModuleList(
            ConvNeXtBlock(
                hidden_size, config.intermediate_size, config.kernel_size, lookahead=0, condition_size=speaker_size
            )
            for _ in range(config.flow_layers)
        )
        self.norm = nn.LayerNorm(hidden_size, eps=config.layer_norm_eps)
        self.head = nn.Linear(hidden_size, config.num_mel_bins)

    @property
    def left_context(self) -> int:
        """Frames behind that one frame of the result depends on, through all steps."""
        return self.config.flow_steps * self.config.flow_layers * (self.config.kernel_size - 1)

    def velocity(
        self, detail: torch.Tensor, time: torch.Tensor, predicted: torch.Tensor, hidden_states: torch.Tensor
    ) -> torch.Tensor:
        """Where the detail (batch, frames, num_mel_bins) moves at `time` (batch,), 0 = noise and 1 = speech."""
        size = self.time_projection.in_features
        frequencies = torch.exp(torch.linspace(0.0, math.log(1000.0), size // 2, device=time.device))
        angles = time[:, None] * frequencies
        waves = nn.functional.pad(torch.cat([angles.sin(), angles.cos()], dim=-1), (0, size % 2))
        # Detail and prediction stay in float32, whatever the precision of the weights.
        dtype = self.head.weight.dtype
        condition = nn.functional.silu(self.time_projection(waves.to(dtype)))
        inputs = torch.cat([detail, 0.25 * predicted, hidden_states.to(detail.dtype)], dim=-1)
        states = self.input_projection(inputs.to(dtype))
        for layer in self.layers:
            states = layer(states, condition)
        return self.head(self.norm(states)).float()

    def loss(self, target: torch.Tensor, predicted: torch.Tensor, hidden_states: torch.Tensor) -> torch.Tensor:
        """Mean squared error of the velocity at a random time (equation 23); features are (batch, frames, bins)."""
        detail = (target - predicted).detach() / self.config.flow_scale
        noise = torch.randn_like(detail)
        time = torch.rand(len(detail), device=detail.device)
        mixed = torch.lerp(noise, detail, time[:, None, None])
        return (self.velocity(mixed, time, predicted.detach(), hidden_states) - (detail - noise)).square().mean()

    def forward(self, predicted: torch.Tensor, hidden_states: torch.Tensor, first_frame: int) -> torch.Tensor:
        """Adds detail to (1, frames, num_mel_bins), the first of which is frame `first_frame` of the recording."""
        detail = self.config.flow_temperature * self.noise(first_frame, predicted.shape[1]).to(predicted)
        steps = self.config.flow_steps
        for step in range(steps):
            time = torch.full((1,), step / steps, device=predicted.device)
            detail = detail + self.velocity(detail, time, predicted, hidden_states) / steps
        return (predicted + self.config.flow_scale * detail).clamp(min=math.log(self.config.mel_floor))

    def noise(self, first_frame: int, num_frames: int) -> torch.Tensor:
        """Noise (1, num_frames, num_mel_bins) that depends on the place in the recording alone."""
        first_block, last_block = (
            frame // NOISE_BLOCK_FRAMES for frame in (first_frame, first_frame + max(num_frames, 1) - 1)
        )
        blocks = [
            torch.randn(
                NOISE_BLOCK_FRAMES,
                self.config.num_mel_bins,
                dtype=torch.float32,
                device="cpu",
                generator=torch.Generator().manual_seed((self.config.flow_seed << 32) + block),
            )
            for block in range(first_block, last_block + 1)
        ]
        start = first_frame - first_block * NOISE_BLOCK_FRAMES
        return torch.cat(blocks)[None, start : start + num_frames]


def frame_energy(input_features: torch.Tensor) -> torch.Tensor:
    """Natural log of the power over all bands: (batch, frames, num_mel_bins) to (batch, frames)."""
    return input_features.logsumexp(-1)


def scale_energy(energy: torch.Tensor) -> torch.Tensor:
    """Brings natural log power of speech to about zero mean and unit deviation."""
    return (energy - ENERGY_CENTRE) / ENERGY_SCALE


def relative_octaves(f0: torch.Tensor, median_hz: torch.Tensor) -> torch.Tensor:
    """Octaves of f0 (batch, frames) above a speaker's median (batch,); 0 where unvoiced."""
    return torch.where(f0 > 0, (f0.clamp(min=1.0) / median_hz[:, None]).log2(), 0.0)
