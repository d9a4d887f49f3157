"""How a Conformer knows where a frame is: rotary, relative, absolute, or not at all."""

import torch
from torch import nn
from transformers import initialization as init


class NoPositions(nn.Module):
    """Tells nothing; what the other kinds have in common.

    A kind acts in one of two places: `enter` changes what goes into the first layer, and calling it makes what every
    layer's attention takes as `position_embeddings`.
    """

    def enter(self, hidden_states: torch.Tensor, past_frames: int = 0) -> torch.Tensor:
        """Maps (batch, frames, hidden_size) to the same shape.

        Args:
            hidden_states: What goes into the first layer.
            past_frames: Frames that came before, in a stream, since its beginning.
        """
        return hidden_states

    def forward(self, hidden_states: torch.Tensor, past_frames: int = 0):
        """Returns what attention takes: here nothing.

        Args:
            hidden_states: (batch, frames, hidden_size); only its shape and device matter.
            past_frames: Frames that came before, in a stream, and can still be heard.
        """
        return None


class RotaryPositions(NoPositions):
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
            past_frames: Frames that came before, in a stream, and can still be heard.

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


def sinusoids(positions: torch.Tensor, size: int, theta: float) -> torch.Tensor:
    """Sines and cosines of a geometric series of frequencies, (positions, size), float32.

    Args:
        positions: (positions,) in frames; negative ones too.
        size: Even; the first half holds sines, the second cosines.
        theta: Base of the series.

    Source: Vaswani et al. 2017, "Attention Is All You Need", section 3.5. Deviation: sines and cosines stand in halves
        instead of in turns, which only orders the dimensions differently.
    """
    with torch.autocast(positions.device.type, enabled=False):
        exponents = torch.arange(0, size, 2, device=positions.device, dtype=torch.float32) / size
        angles = positions[:, None].float() * theta**-exponents
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


class RelativePositions(NoPositions):
    """Sinusoids of every distance from a query to a key, from the farthest frame before to the farthest after.

    Args:
        hidden_size: Width of the encoder; even.
        theta: Base of the geometric series of frequencies.

    Source: Dai et al. 2019, "Transformer-XL", section 3.3; distances to later frames as in Gulati et al. 2020.
    """

    def __init__(self, hidden_size: int, theta: float):
        super().__init__()
        self.hidden_size = hidden_size
        self.theta = theta

    @torch.no_grad()
    def forward(self, hidden_states: torch.Tensor, past_frames: int = 0) -> torch.Tensor:
        """Returns the sinusoids of the distances past_frames + frames - 1, ..., 1 - frames.

        Args:
            hidden_states: (batch, frames, hidden_size); only its shape and device matter.
            past_frames: Frames that came before, in a stream, and can still be heard.

        Returns:
            (past_frames + 2 * frames - 1, hidden_size).
        """
        frames = hidden_states.shape[1]
        distances = torch.arange(past_frames + frames - 1, -frames, -1, device=hidden_states.device)
        return sinusoids(distances, self.hidden_size, self.theta)


class AbsolutePositions(NoPositions):
    """Adds sinusoids of the time since the beginning to what goes into the first layer.

    Times beyond those of training have sinusoids too, but no layer has learnt what they mean.

    Args:
        hidden_size: Width of the encoder; even.
        theta: Base of the geometric series of frequencies.

    Source: Vaswani et al. 2017, "Attention Is All You Need", sections 3.4 (the input is scaled by the root of its
        width, so that sinusoids do not drown it) and 3.5.
    """

    def __init__(self, hidden_size: int, theta: float):
        super().__init__()
        self.hidden_size = hidden_size
        self.theta = theta

    def enter(self, hidden_states: torch.Tensor, past_frames: int = 0) -> torch.Tensor:
        """Scales (batch, frames, hidden_size) and adds the sinusoids of frames that begin at `past_frames`."""
        times = torch.arange(past_frames, past_frames + hidden_states.shape[1], device=hidden_states.device)
        added = sinusoids(times, self.hidden_size, self.theta).to(hidden_states.dtype)
        return hidden_states * self.hidden_size**0.5 + added


def make_positions(config) -> NoPositions:
    """The positions that a configuration names.

    Args:
        config: Needs `position_embeddings_type`, `hidden_size`, `head_dim`, `rope_theta`.
    """
    kind = config.position_embeddings_type
    if kind == "rotary":
        return RotaryPositions(config.head_dim, config.rope_theta)
    if kind == "none":
        return NoPositions()
    kinds = {"relative": RelativePositions, "absolute": AbsolutePositions}
    return kinds[kind](config.hidden_size, config.rope_theta)
