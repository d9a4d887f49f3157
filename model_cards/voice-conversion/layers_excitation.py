"""What a voice is made from before the mouth shapes it: a train of pulses at the pitch, and noise."""

import math

import torch
from torch import nn
from transformers import initialization as init

from .layers_spectrogram import in_float32

# Bins on either side of the likeliest one whose weighted mean is the pitch.
NEIGHBOURS = 3
# Four seconds of noise, repeated: a stream needs the same noise as the whole.
NOISE_SAMPLES = 1 << 16


class PitchClasses(nn.Module):
    """Pitch as one of many classes at equal musical distances, and back.

    Args:
        num_bins: Number of classes.
        min_hz, max_hz: Pitch of the first and of the last.

    Source: Kim et al. 2018, "CREPE: A Convolutional Representation for Pitch Estimation", equations 2 and 3.
        Deviations: bins as fine as the range asks; the mean is taken over the bins around the likeliest alone.
    """

    def __init__(self, num_bins: int, min_hz: float, max_hz: float):
        super().__init__()
        self.num_bins = num_bins
        self.min_hz = min_hz
        self.bins_per_octave = (num_bins - 1) / math.log2(max_hz / min_hz)

    @in_float32
    def decode(self, logits: torch.Tensor) -> torch.Tensor:
        """Maps (batch, frames, num_bins) to f0 in Hz, (batch, frames); unvoiced frames get some pitch too."""
        places = torch.arange(self.num_bins, device=logits.device)
        best = logits.argmax(-1, keepdim=True)
        weights = logits.masked_fill((places - best).abs() > NEIGHBOURS, -torch.inf).float().softmax(-1)
        return self.min_hz * 2 ** ((weights @ places.float()) / self.bins_per_octave)

    def loss(self, logits: torch.Tensor, f0: torch.Tensor) -> torch.Tensor:
        """Cross entropy to a bell one bin wide around the true pitch, over voiced frames.

        Args:
            logits: (batch, frames, num_bins).
            f0: (batch, frames) in Hz, 0 = unvoiced.
        """
        voiced = f0 > 0
        places = torch.arange(self.num_bins, device=logits.device)
        true_place = self.bins_per_octave * torch.log2(f0.clamp(min=1.0) / self.min_hz)
        target = (-0.5 * (places - true_place[..., None]).square()).softmax(-1)
        entropy = -(target * logits.log_softmax(-1)).sum(-1)
        return (entropy * voiced).sum() / voiced.sum().clamp(min=1)


class Excitation(nn.Module):
    """Pulses at a given pitch and noise, both white and of unit power.

    Args:
        sampling_rate: Samples per second, in Hz.
        hop_length: Samples from one frame to the next.

    Source: Wang et al. 2019, "Neural source-filter waveform models", section III.B; pulses with all harmonics up to
        half the sampling rate in closed form instead of a few sines.
    """

    def __init__(self, sampling_rate: int, hop_length: int):
        super().__init__()
        self.sampling_rate = sampling_rate
        self.hop_length = hop_length
        self.register_buffer("noise_loop", self.make_noise(), persistent=False)

    def make_noise(self) -> torch.Tensor:
        """Returns (NOISE_SAMPLES,) normal noise, always the same."""
        # In float32 whatever the precision of the model that is being made: other types draw other numbers.
        generator = torch.Generator().manual_seed(0)
        return torch.randn(NOISE_SAMPLES, generator=generator, dtype=torch.float32, device="cpu")

    def reset_parameters(self):
        """Fills the buffer, which a checkpoint does not hold."""
        init.copy_(self.noise_loop, self.make_noise())

    def phases(self, f0: torch.Tensor) -> torch.Tensor:
        """Maps f0 in Hz, (batch, frames), to the turns that the pulses have made at each frame since the first."""
        # Float64, or minutes of turns would leave no digits for the angle.
        turns = 0.5 * (f0[:, 1:] + f0[:, :-1]).double() * (self.hop_length / self.sampling_rate)
        return nn.functional.pad(turns.cumsum(1), (1, 0))

    def pulses(self, f0: torch.Tensor, phases: torch.Tensor) -> torch.Tensor:
        """Sum of all harmonics as cosines: (batch, hop_length * (frames - 1)).

        Args:
            f0: (batch, frames) in Hz, above 0; linear between frames.
            phases: (batch, frames) in turns, as `phases` returns them, plus any constant.
        """
        steps = torch.arange(self.hop_length, device=f0.device) / self.hop_length
        slope = (f0[:, 1:] - f0[:, :-1])[..., None]
        start = f0[:, :-1, None]
        pitch = (start + slope * steps).flatten(1)
        turns = (start + 0.5 * slope * steps) * steps * (self.hop_length / self.sampling_rate)
        turns = (turns + phases[:, :-1, None].remainder(1.0)).remainder(1.0).flatten(1)
        # cos x + ... + cos K x = sin((K + 1/2) x) / (2 sin(x / 2)) - 1/2, which is K at x = 0.
        num_harmonics = torch.floor(0.5 * self.sampling_rate / pitch)
        turns = turns.clamp(min=1e-6, max=1 - 1e-6)
        numerator = torch.sin(2 * math.pi * (num_harmonics + 0.5) * turns)
        sums = 0.5 * numerator / torch.sin(math.pi * turns) - 0.5
        return (2 * (pitch / self.sampling_rate).sqrt() * sums).to(f0.dtype)

    def noise(self, batch: int, samples: int, first_sample: int = 0) -> torch.Tensor:
        """Noise from a place in the loop on, or any in training: (batch, samples)."""
        if self.training:
            return torch.randn(batch, samples, device=self.noise_loop.device, dtype=torch.float32)
        places = (first_sample + torch.arange(samples, device=self.noise_loop.device)) % NOISE_SAMPLES
        return self.noise_loop[places].float().expand(batch, samples)
