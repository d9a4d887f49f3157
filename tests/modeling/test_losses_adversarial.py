"""Adversarial losses by hand."""

import pytest
import torch

from antiphon.modeling.losses_adversarial import discriminator_loss, feature_matching_loss, generator_loss


def test_losses_by_hand():
    real, fake = [torch.tensor([1.0, 0.5]), torch.tensor([[1.0]])], [torch.tensor([0.0, 0.5]), torch.tensor([[1.0]])]
    # (0 + .25) / 2 + (0 + .25) / 2 = .25 and 0 + 1 = 1
    assert float(discriminator_loss(real, fake)) == pytest.approx((0.25 + 1.0) / 2)
    # (1 + .25) / 2 = .625 and 0
    assert float(generator_loss(fake)) == pytest.approx(0.625 / 2)


def test_feature_matching_is_relative_to_the_real_features_and_moves_only_the_others():
    real = [[torch.full((2, 3), 4.0, requires_grad=True)], [torch.full((1,), -1.0)]]
    fake = [[torch.full((2, 3), 5.0, requires_grad=True)], [torch.full((1,), -1.0)]]
    loss = feature_matching_loss(real, fake)
    assert float(loss.detach()) == pytest.approx((0.25 + 0.0) / 2)
    loss.backward()
    assert real[0][0].grad is None
    assert (fake[0][0].grad > 0).all()
