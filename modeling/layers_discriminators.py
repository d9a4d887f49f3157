"""Discriminators that tell real waveforms from made ones, for training only."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from .layers_spectrogram import Spectrogram, squared_magnitude

LEAKY_SLOPE = 0.1


class ConvolutionStack(nn.Module):
    """Weight-normalised 2-d convolutions; the last gives the scores, those before it the features."""

    def __init__(self, channels: Sequence[int], kernel_size: tuple[int, int], stride: tuple[int, int]):
        super().__init__()
        padding = (kernel_size[0] // 2, kernel_size[1] // 2)
        self.convolutions = nn.ModuleList(
            weight_norm(nn.Conv2d(before, after, kernel_size, stride, padding)) for before, after in pairwise(channels)
        )
        self.score = weight_norm(nn.Conv2d(channels[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Maps (batch, channels, height, width) to scores and the hidden layers."""
        features = []
        for convolution in self.convolutions:
            image = nn.functional.leaky_relu(convolution(image), LEAKY_SLOPE)
            features.append(image)
        return self.score(image), features


class PeriodDiscriminator(nn.Module):
    """Looks at every `period`-th sample: the waveform as an image with one period a row.

    Source: Kong et al. 2020, "HiFi-GAN", section 2.3; far fewer channels.
    """

    def __init__(self, period: int, channels: Sequence[int]):
        super().__init__()
        self.period = period
        self.stack = ConvolutionStack([1, *channels], kernel_size=(5, 1), stride=(3, 1))

    def forward(self, waveform: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Maps (batch, samples) to scores and hidden layers."""
        padded = nn.functional.pad(waveform, (0, -waveform.shape[1] % self.period))
        return self.stack(padded.unflatten(1, (-1, self.period))[:, None])


class ResolutionDiscriminator(nn.Module):
    """Looks at the magnitudes of a short-time Fourier transform, compressed.

    Source: Jang et al. 2021, "UnivNet", section 3.2. Deviations: magnitudes to the power 0.3, so that quiet parts count
        too; fewer channels.
    """

    def __init__(self, n_fft: int, channels: Sequence[int]):
        super().__init__()
        self.spectrogram = Spectrogram(n_fft, n_fft // 4)
        self.stack = ConvolutionStack([1, *channels], kernel_size=(3, 5), stride=(2, 2))

    def forward(self, waveform: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Maps (batch, samples) to scores and hidden layers."""
        power = squared_magnitude(self.spectrogram(waveform))
        return self.stack((power + 1e-8).pow(0.15)[:, None])


class WaveformDiscriminators(nn.Module):
    """Several discriminators side by side.

    Args:
        periods: Of the period discriminators.
        period_channels: Channels of their layers.
        n_ffts: Of the resolution discriminators.
        resolution_channels: Channels of their layers.
    """

    def __init__(
        self,
        periods: Sequence[int] = (2, 3, 5, 7, 11),
        period_channels: Sequence[int] = (8, 16, 32, 48),
        n_ffts: Sequence[int] = (256, 512, 1024),
        resolution_channels: Sequence[int] = (8, 16, 32),
    ):
        super().__init__()
        self.discriminators = nn.ModuleList(
            [PeriodDiscriminator(period, period_channels) for period in periods]
            + [ResolutionDiscriminator(n_fft, resolution_channels) for n_fft in n_ffts]
        )

    def forward(self, waveform: torch.Tensor) -> tuple[list[torch.Tensor], list[list[torch.Tensor]]]:
        """Maps (batch, samples) to the scores and the hidden layers of each discriminator."""
        outputs = [discriminator(waveform) for discriminator in self.discriminators]
        return [scores for scores, _ in outputs], [features for _, features in outputs]
