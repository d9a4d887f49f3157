"""A vocoder of about 50 thousand parameters and voices for it."""

import math

import torch

from antiphon.modeling import VocoderConfig, VocoderModel
from antiphon.modeling.layers_spectrogram import LogMelSpectrogram

SAMPLING_RATE = 16_000


def make_vocoder(seed: int = 0, **changes) -> VocoderModel:
    """The tiny size of the `VocoderConfig` docstring, with filters that are not flat, in evaluation mode."""
    tiny = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "pitch_hidden_size": 16,
        "num_pitch_layers": 1,
    }
    torch.manual_seed(seed)
    model = VocoderModel(VocoderConfig(**(tiny | changes))).eval()
    torch.nn.init.normal_(model.filter_network.head.weight, std=0.1)
    return model


def voice(samples: int = 16_000, pitch: float = 140.0, batch: int = 1, seed: int = 0) -> torch.Tensor:
    """Harmonics that rise by a third, in noise: (batch, samples)."""
    time = torch.arange(samples, dtype=torch.float64) / SAMPLING_RATE
    phase = 2 * math.pi * pitch * (time + 0.125 * time**2)
    harmonics = sum(torch.cos(number * phase + number) / number for number in range(1, 25))
    noise = torch.randn(batch, samples, generator=torch.Generator().manual_seed(seed))
    return (0.05 * harmonics.float() + 0.002 * noise).expand(batch, samples)


def mel_of(waveform: torch.Tensor) -> torch.Tensor:
    """Its features, (batch, frames, 80)."""
    return LogMelSpectrogram()(waveform)
