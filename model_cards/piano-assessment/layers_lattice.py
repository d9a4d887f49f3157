"""A transformer on patches of a lattice of time and pitch, for spectrograms in semitones and for piano rolls."""

import torch
from torch import nn
from transformers import initialization as init
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_layers import GradientCheckpointingLayer

from .layers_attention import RotaryAttention
from .layers_conformer import FeedForward
from .layers_dropout import Dropout

BINS_PER_OCTAVE = 12


class LatticePositions(nn.Module):
    """Cosines and sines that rotate half of a head's pairs by time and half by pitch.

    Scores then depend on how far two patches lie apart in time and in octaves, not on where they are.

    Args:
        head_dim: Width of one attention head; a multiple of four.
        theta: Base of the geometric series of frequencies.

    Source: Su et al. 2021, "RoFormer", equation 34, once along each axis.
    """

    def __init__(self, head_dim: int, theta: float):
        super().__init__()
        self.head_dim = head_dim
        self.theta = theta
        self.register_buffer("frequencies", self.compute_frequencies(), persistent=False)

    def compute_frequencies(self) -> torch.Tensor:
        """Returns (head_dim / 4,) angular frequencies in radians per patch."""
        exponents = torch.arange(0, self.head_dim, 4, dtype=torch.float32) / self.head_dim
        return self.theta**-exponents

    def reset_parameters(self):
        """Fills the buffer, which a checkpoint does not hold."""
        init.copy_(self.frequencies, self.compute_frequencies())

    @torch.no_grad()
    def forward(self, num_times: int, num_octaves: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns cosines and sines, each (num_times * num_octaves, head_dim), time by time."""
        device = self.frequencies.device
        with torch.autocast(device.type, enabled=False):
            times, octaves = torch.meshgrid(
                torch.arange(num_times, device=device, dtype=torch.float32),
                torch.arange(num_octaves, device=device, dtype=torch.float32),
                indexing="ij",
            )
            positions = torch.stack([times.flatten(), octaves.flatten()], dim=1)
            angles = (positions[:, :, None] * self.frequencies.float()).flatten(1)
            angles = torch.cat([angles, angles], dim=-1)
            return angles.cos(), angles.sin()


class LatticeLayer(GradientCheckpointingLayer):
    """Attention and feed-forward, each pre-normalised and added to its input."""

    def __init__(self, config):
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.attention = RotaryAttention(config)
        self.feed_forward_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.feed_forward = FeedForward(config)
        self.dropout = Dropout(config.hidden_dropout)

    def forward(
        self,
        hidden_states: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
        attention_mask: torch.Tensor | None = None,
        **kwargs,
    ) -> torch.Tensor:
        """Maps (batch, patches, hidden_size) to the same shape."""
        update, _ = self.attention(self.attention_norm(hidden_states), position_embeddings, attention_mask, **kwargs)
        hidden_states = hidden_states + self.dropout(update)
        return hidden_states + self.dropout(self.feed_forward(self.feed_forward_norm(hidden_states)))


class LatticeTransformer(nn.Module):
    """Cuts a lattice into patches of `patch_frames` by one octave and lets them attend to each other.

    Args:
        config: A `PianoAssessmentConfig`.
        channels: Values at each frame and bin.
    """

    def __init__(self, config, channels: int):
        super().__init__()
        self.config = config
        self.channels = channels
        self.num_octaves = config.num_pitch_bins // BINS_PER_OCTAVE
        self.embed = nn.Linear(config.patch_frames * channels * BINS_PER_OCTAVE, config.hidden_size)
        self.positions = LatticePositions(config.head_dim, config.rope_theta)
        self.dropout = Dropout(config.hidden_dropout)
        self.layers = nn.ModuleList(LatticeLayer(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def patches(self, features: torch.Tensor) -> torch.Tensor:
        """Cuts (batch, frames, channels * bins) into (batch, times, octaves, values of a patch).

        The last patch is filled up with zeros.
        """
        missing = -features.shape[1] % self.config.patch_frames
        features = nn.functional.pad(features, (0, 0, 0, missing))
        batch, frames, _ = features.shape
        # (batch, times, patch_frames, channels, octaves, bins) -> octaves before what one patch holds
        features = features.view(
            batch,
            frames // self.config.patch_frames,
            self.config.patch_frames,
            self.channels,
            self.num_octaves,
            BINS_PER_OCTAVE,
        )
        return features.permute(0, 1, 4, 2, 3, 5).flatten(3)

    def patch_mask(self, attention_mask: torch.Tensor) -> torch.Tensor:
        """(batch, times), 1 where any frame of a patch is real, from (batch, frames)."""
        missing = -attention_mask.shape[1] % self.config.patch_frames
        padded = nn.functional.pad(attention_mask, (0, missing))
        return padded.unflatten(1, (-1, self.config.patch_frames)).amax(-1)

    def forward(
        self,
        features: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        hidden_patches: torch.Tensor | None = None,
        **kwargs,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Encodes a lattice.

        Args:
            features: (batch, frames, channels * bins), zero where padded.
            attention_mask: (batch, frames), 1 = real; padding on the right.
            hidden_patches: (batch, times, octaves), true where a patch is blanked out.

        Returns:
            (batch, times, octaves, hidden_size) and (batch, times), 1 where a patch is real.
        """
        if attention_mask is None:
            attention_mask = torch.ones(features.shape[:2], dtype=torch.long, device=features.device)
        mask = self.patch_mask(attention_mask)
        # Padding counts as zero, whatever it holds: the last real patch reaches into it.
        patches = self.patches(features * attention_mask[:, :, None])
        hidden_states = self.embed(patches)
        if hidden_patches is not None:
            hidden_states = hidden_states.masked_fill(hidden_patches[..., None], 0.0)
        batch, times, octaves, _ = hidden_states.shape
        hidden_states = self.dropout(hidden_states.flatten(1, 2))
        layer_mask = create_bidirectional_mask(
            config=self.config,
            inputs_embeds=hidden_states,
            attention_mask=None if bool(mask.all()) else mask.repeat_interleave(octaves, dim=1),
        )
        position_embeddings = self.positions(times, octaves)
        for layer in self.layers:
            hidden_states = layer(hidden_states, position_embeddings, layer_mask, **kwargs)
        return self.norm(hidden_states).view(batch, times, octaves, -1), mask


def pool(hidden_states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean and standard deviation over real patches: (batch, times, octaves, size) to (batch, 2 * size).

    Args:
        mask: (batch, times), 1 = real.
    """
    weights = mask[:, :, None, None].to(hidden_states.dtype)
    count = weights.sum((1, 2)) * hidden_states.shape[2]
    mean = (hidden_states * weights).sum((1, 2)) / count
    variance = ((hidden_states - mean[:, None, None]).square() * weights).sum((1, 2)) / count
    return torch.cat([mean, (variance + 1e-6).sqrt()], dim=-1)
