"""Convolutional subsampling of a spectrogram."""

import torch
from torch import nn


def subsampled_lengths(lengths: torch.Tensor, subsampling_factor: int) -> torch.Tensor:
    """Frames that are left of `lengths` frames: each stride of two keeps half of them, rounded up."""
    return torch.div(lengths + subsampling_factor - 1, subsampling_factor, rounding_mode="floor")


def zero_padding(hidden_states: torch.Tensor, lengths: torch.Tensor | None, factor: int) -> torch.Tensor:
    """Zeroes, in place, frames that stem from padding alone, lest they leak into real ones at the next convolution.

    Args:
        hidden_states: (batch, ceil(frames / factor), bins, channels).
        lengths: (batch,) real frames before subsampling by `factor`, or None when nothing is padded.
    """
    if lengths is None:
        return hidden_states
    frames = torch.arange(hidden_states.shape[1], device=hidden_states.device)
    is_padding = frames >= subsampled_lengths(lengths, factor)[:, None]
    return hidden_states.masked_fill_(is_padding[:, :, None, None], 0.0)


class DepthwiseStride(nn.Conv2d):
    """A 3x3 convolution of every channel with its own kernel and a stride of two, over (batch, frames, bins, channels).

    On a CPU it computes in the dtype of its weights, under autocast too: its backward pass in bfloat16 is four times as
    slow as in float32.
    """

    def __init__(self, channels: int):
        super().__init__(channels, channels, kernel_size=3, stride=2, padding=1, groups=channels)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        image = hidden_states.permute(0, 3, 1, 2)
        if image.device.type != "cpu":
            return super().forward(image).permute(0, 2, 3, 1)
        with torch.autocast("cpu", enabled=False):
            return super().forward(image.to(self.weight.dtype)).permute(0, 2, 3, 1)


class ConvolutionSubsampling(nn.Module):
    """Shortens a spectrogram by strided 3x3 convolutions and projects it to the width of the encoder.

    The first convolution is dense; the others are depthwise and followed by a pointwise one. Everything stays in
    channels-last order, where on a CPU the dense convolution is one matrix product and the depthwise one several times
    as fast as in the default order.

    Args:
        config: Needs `num_mel_bins`, `hidden_size`, `subsampling_factor`, `subsampling_channels`.

    Source: Rekesh et al. 2023, "Fast Conformer with Linearly Scalable Attention", section 3.
    """

    def __init__(self, config):
        super().__init__()
        channels = config.subsampling_channels
        num_strides = config.subsampling_factor.bit_length() - 1
        self.first = nn.Linear(9, channels)
        self.depthwise = nn.ModuleList(DepthwiseStride(channels) for _ in range(num_strides - 1))
        self.pointwise = nn.ModuleList(nn.Linear(channels, channels) for _ in range(num_strides - 1))
        bins = -(-config.num_mel_bins // config.subsampling_factor)
        self.projection = nn.Linear(channels * bins, config.hidden_size)

    def forward(self, input_features: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        """Maps (batch, frames, num_mel_bins) to (batch, ceil(frames / subsampling_factor), hidden_size).

        Args:
            input_features: Spectrogram; frames beyond an item's length must be zero.
            lengths: (batch,) real frames of each item, or None when nothing is padded.
        """
        padded = nn.functional.pad(input_features, (1, 1, 1, 1))
        # (batch, frames / 2, bins / 2, 9): every patch that the kernel of the first convolution sees
        patches = padded.unfold(1, 3, 2).unfold(2, 3, 2).flatten(3)
        # The bias multiplies a tenth value, one. Zeroing padding here makes the output zero there, and the output is
        # the largest tensor of the model: a pass over it costs more than the arithmetic.
        patches = zero_padding(nn.functional.pad(patches, (0, 1), value=1.0), lengths, factor=2)
        weight = torch.cat([self.first.weight, self.first.bias[:, None]], dim=1)
        hidden_states = nn.functional.linear(patches, weight)
        for stride, (depthwise, pointwise) in enumerate(zip(self.depthwise, self.pointwise), start=1):
            if stride > 1:
                hidden_states = zero_padding(hidden_states, lengths, factor=2**stride)
            hidden_states = pointwise(depthwise(nn.functional.relu_(hidden_states)))
        hidden_states = nn.functional.relu_(hidden_states)
        return self.projection(hidden_states.flatten(2))
