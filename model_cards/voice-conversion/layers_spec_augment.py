"""SpecAugment: masks stretches of time and bands of frequency in training."""

import torch
from torch import nn


class SpecAugment(nn.Module):
    """Sets random stretches of time and bands of frequency to zero, which is the mean of a normalised spectrogram.

    Each item draws its own masks from torch's generator. Widths are uniform between zero and their limit, which for
    time is a share of the item's own length, so that short utterances keep most of their frames.

    Args:
        config: Needs `apply_spec_augment`, `num_time_masks`, `time_mask_ratio`, `num_frequency_masks`,
            `frequency_mask_bins`.

    Source: Park et al. 2019, "SpecAugment", section 2; the time limit relative to the length as in Park et al. 2020,
        "SpecAugment on Large Scale Datasets", equation 1. No time warping.
    """

    def __init__(self, config):
        super().__init__()
        self.is_applied = config.apply_spec_augment
        self.num_time_masks = config.num_time_masks
        self.time_mask_ratio = config.time_mask_ratio
        self.num_frequency_masks = config.num_frequency_masks
        self.frequency_mask_bins = config.frequency_mask_bins

    def forward(self, input_features: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        """Returns masked (batch, frames, num_mel_bins) in training, if applied, and the input itself otherwise."""
        if not (self.training and self.is_applied):
            return input_features
        batch, frames, bins = input_features.shape
        if lengths is None:
            lengths = torch.full((batch,), frames, device=input_features.device)
        time_limits = (lengths * self.time_mask_ratio).floor()
        bin_limits = torch.full_like(time_limits, self.frequency_mask_bins)
        masked = _covered(lengths, time_limits, self.num_time_masks, frames)[:, :, None]
        masked = masked | _covered(torch.full_like(lengths, bins), bin_limits, self.num_frequency_masks, bins)[:, None]
        return input_features.masked_fill(masked, 0.0)


def _covered(lengths: torch.Tensor, limits: torch.Tensor, num_masks: int, size: int) -> torch.Tensor:
    """Draws `num_masks` intervals inside each item's length; returns which of `size` places they hit, (batch, size)."""
    shape = (lengths.shape[0], num_masks)
    widths = (torch.rand(shape, device=lengths.device) * (limits[:, None] + 1)).floor()
    starts = (torch.rand(shape, device=lengths.device) * (lengths[:, None] - widths + 1)).floor()
    places = torch.arange(size, device=lengths.device)[None, None, :]
    hit = (places >= starts[:, :, None]) & (places < (starts + widths)[:, :, None])
    return hit.any(dim=1)
