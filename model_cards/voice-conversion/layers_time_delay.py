"""Layers of a time-delay network for speakers, over (batch, channels, frames) with a mask of the real frames.

`is_real` is (batch, 1, frames), false where a frame is padding, or None where nothing is padded. Whatever looks beside
or along time skips padding, so that a padded item equals the lone item.
"""

import torch
from torch import nn


def real_frames(lengths: torch.Tensor | None, frames: int) -> torch.Tensor | None:
    """The mask (batch, 1, frames) of items with `lengths` (batch,) real frames; None for None."""
    if lengths is None:
        return None
    return (torch.arange(frames, device=lengths.device) < lengths[:, None])[:, None]


def mean_over_time(hidden_states: torch.Tensor, is_real: torch.Tensor | None) -> torch.Tensor:
    """Mean over the real frames, (batch, channels, 1)."""
    if is_real is None:
        return hidden_states.mean(-1, keepdim=True)
    return (hidden_states * is_real).sum(-1, keepdim=True) / is_real.sum(-1, keepdim=True)


class TimeDelayLayer(nn.Module):
    """A convolution over time, ReLU and batch normalisation; frames are kept, or every `stride`-th of them."""

    def __init__(self, in_size: int, out_size: int, kernel_size: int = 1, dilation: int = 1, stride: int = 1):
        super().__init__()
        padding = dilation * (kernel_size // 2)
        self.convolution = nn.Conv1d(in_size, out_size, kernel_size, stride, padding, dilation)
        self.norm = nn.BatchNorm1d(out_size)

    def forward(self, hidden_states: torch.Tensor, is_real: torch.Tensor | None = None) -> torch.Tensor:
        if is_real is not None and self.convolution.kernel_size[0] > 1:
            hidden_states = hidden_states.masked_fill(~is_real, 0.0)
        return self.norm(nn.functional.relu(self.convolution(hidden_states)))


class Res2Convolution(nn.Module):
    """Groups of channels, each convolved after the output of the group before it was added: many scales at once.

    Source: Gao et al. 2019, "Res2Net: A New Multi-scale Backbone Architecture", equation 1.
    """

    def __init__(self, config, dilation: int):
        super().__init__()
        self.scale = config.res2_scale
        width = config.hidden_size // self.scale
        self.layers = nn.ModuleList(
            TimeDelayLayer(width, width, kernel_size=3, dilation=dilation) for _ in range(self.scale - 1)
        )

    def forward(self, hidden_states: torch.Tensor, is_real: torch.Tensor | None) -> torch.Tensor:
        first, *groups = hidden_states.chunk(self.scale, dim=1)
        outputs, previous = [first], None
        for layer, group in zip(self.layers, groups):
            previous = layer(group if previous is None else group + previous, is_real)
            outputs.append(previous)
        return torch.cat(outputs, dim=1)


class SqueezeExcitation(nn.Module):
    """Scales each channel by a gate that hears the mean of all channels over time.

    Source: Hu et al. 2018, "Squeeze-and-Excitation Networks", equations 2 to 4.
    """

    def __init__(self, config):
        super().__init__()
        self.squeeze = nn.Conv1d(config.hidden_size, config.squeeze_size, 1)
        self.excite = nn.Conv1d(config.squeeze_size, config.hidden_size, 1)

    def forward(self, hidden_states: torch.Tensor, is_real: torch.Tensor | None) -> torch.Tensor:
        gate = self.excite(nn.functional.relu(self.squeeze(mean_over_time(hidden_states, is_real))))
        return hidden_states * gate.sigmoid()


class SERes2Layer(nn.Module):
    """A residual layer: pointwise, multi-scale dilated, pointwise, gated.

    Source: Desplanques et al. 2020, figure 1.
    """

    def __init__(self, config, dilation: int):
        super().__init__()
        self.before = TimeDelayLayer(config.hidden_size, config.hidden_size)
        self.convolution = Res2Convolution(config, dilation)
        self.after = TimeDelayLayer(config.hidden_size, config.hidden_size)
        self.gate = SqueezeExcitation(config)

    def forward(self, hidden_states: torch.Tensor, is_real: torch.Tensor | None) -> torch.Tensor:
        update = self.after(self.convolution(self.before(hidden_states), is_real))
        return hidden_states + self.gate(update, is_real)


class AttentiveStatisticsPooling(nn.Module):
    """Mean and deviation of each channel over time, each frame weighted by an attention of that channel.

    The attention hears each frame beside the plain mean and deviation of the whole item.

    Source: Desplanques et al. 2020, equations 4 to 7.
    """

    def __init__(self, config):
        super().__init__()
        size = config.aggregation_size
        self.hidden = TimeDelayLayer(3 * size, config.attention_size)
        self.scores = nn.Conv1d(config.attention_size, size, 1)

    def forward(self, hidden_states: torch.Tensor, is_real: torch.Tensor | None) -> torch.Tensor:
        """Maps (batch, channels, frames) to (batch, 2 * channels)."""
        hidden_states = hidden_states.float()  # squares lose too many digits in bfloat16
        mean = mean_over_time(hidden_states, is_real)
        variance = mean_over_time((hidden_states - mean).square(), is_real)
        context = torch.cat([mean, _deviation(variance)], dim=1).expand(-1, -1, hidden_states.shape[-1])
        dtype = self.scores.weight.dtype
        scores = self.scores(self.hidden(torch.cat([hidden_states, context], dim=1).to(dtype)).tanh()).float()
        if is_real is not None:
            scores = scores.masked_fill(~is_real, float("-inf"))
        weights = scores.softmax(-1)
        mean = (weights * hidden_states).sum(-1, keepdim=True)
        variance = (weights * (hidden_states - mean).square()).sum(-1, keepdim=True)
        return torch.cat([mean, _deviation(variance)], dim=1).squeeze(-1).to(dtype)


def _deviation(variance: torch.Tensor) -> torch.Tensor:
    return variance.clamp(min=1e-6).sqrt()  # the root of zero has no gradient
