"""The loss on the structure of spectrograms."""

import torch
from torch import nn

# Frames and bands of the patches whose means and deviations are compared.
PATCH = 7
# Natural log power over which the spectra of speech range; it sets the constants that keep quotients finite.
RANGE = 10.0


def structural_dissimilarity(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """One minus the mean structural similarity of two spectrograms, 0 (equal) to 2.

    Smooth predictions lack the local deviation of real spectra, which absolute errors hardly punish and this does.

    Args:
        predicted, target: (batch, frames, bins), natural log power; at least 7 frames and bins.

    Source: Wang et al. 2004, "Image Quality Assessment: From Error Visibility to Structural Similarity", equation 13;
        a flat window instead of a Gaussian one.
    """
    predicted, target = predicted[:, None].float(), target[:, None].float()
    mean_predicted, mean_target = local_mean(predicted), local_mean(target)
    variance_predicted = local_mean(predicted.square()) - mean_predicted.square()
    variance_target = local_mean(target.square()) - mean_target.square()
    covariance = local_mean(predicted * target) - mean_predicted * mean_target
    luminance_floor, contrast_floor = (0.01 * RANGE) ** 2, (0.03 * RANGE) ** 2
    luminance = (2 * mean_predicted * mean_target + luminance_floor) / (
        mean_predicted.square() + mean_target.square() + luminance_floor
    )
    contrast = (2 * covariance + contrast_floor) / (variance_predicted + variance_target + contrast_floor)
    return 1 - (luminance * contrast).mean()


def local_mean(images: torch.Tensor) -> torch.Tensor:
    """Means over patches that lie inside (batch, 1, frames, bins)."""
    return nn.functional.avg_pool2d(images, PATCH, stride=1)
