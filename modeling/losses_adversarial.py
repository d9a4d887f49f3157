"""What generator and discriminators want of one another, for any number of discriminators.

Source: Mao et al. 2017, "Least Squares Generative Adversarial Networks", equation 9; feature matching of Kumar et al.
2019, "MelGAN", equation 3.
"""

from collections.abc import Sequence

import torch


def discriminator_loss(real_scores: Sequence[torch.Tensor], fake_scores: Sequence[torch.Tensor]) -> torch.Tensor:
    """Least squares to 1 for real and to 0 for made sounds, the mean over discriminators.

    Args:
        real_scores, fake_scores: From each discriminator, of any shape.
    """
    losses = [(real - 1).square().mean() + fake.square().mean() for real, fake in zip(real_scores, fake_scores)]
    return torch.stack(losses).mean()


def generator_loss(fake_scores: Sequence[torch.Tensor]) -> torch.Tensor:
    """Least squares to 1 for made sounds, the mean over discriminators."""
    return torch.stack([(fake - 1).square().mean() for fake in fake_scores]).mean()


def feature_matching_loss(
    real_features: Sequence[Sequence[torch.Tensor]], fake_features: Sequence[Sequence[torch.Tensor]]
) -> torch.Tensor:
    """Mean distance between the hidden layers that real and made sounds cause, relative to the size of the real ones.

    Args:
        real_features, fake_features: Per discriminator its hidden layers. No gradient flows to the real ones.
    """
    distances = [
        (fake - real.detach()).abs().mean() / real.detach().abs().mean().clamp(min=1e-6)
        for own_real, own_fake in zip(real_features, fake_features)
        for real, fake in zip(own_real, own_fake)
    ]
    return torch.stack(distances).mean()
