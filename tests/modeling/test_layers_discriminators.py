"""Discriminators: scores and layers of each, whatever the length; and that they can learn to tell."""

import pytest
import torch
from tiny_vocoder import voice

from antiphon.modeling.layers_discriminators import PeriodDiscriminator, WaveformDiscriminators
from antiphon.modeling.losses_adversarial import discriminator_loss


def make_discriminators() -> WaveformDiscriminators:
    torch.manual_seed(0)
    return WaveformDiscriminators(periods=(2, 3), period_channels=(4, 8), n_ffts=(256,), resolution_channels=(4, 8))


@pytest.mark.parametrize("samples", [3_200, 3_217])
def test_every_discriminator_gives_scores_and_its_hidden_layers(samples):
    scores, features = make_discriminators()(voice(samples, batch=2))
    assert [len(own) for own in features] == [2, 2, 2]
    for score in scores:
        assert score.shape[:2] == (2, 1)
        assert score.isfinite().all()


def test_a_period_discriminator_never_mixes_the_phases_of_its_period():
    torch.manual_seed(0)
    waveform = torch.zeros(1, 3_000, requires_grad=True)
    scores, _ = PeriodDiscriminator(5, (4, 8))(waveform)
    scores[..., 2].sum().backward()
    touched = waveform.grad[0].nonzero().flatten() % 5
    assert touched.unique().tolist() == [2]


def test_they_learn_to_tell_noise_from_a_voice():
    discriminators = make_discriminators()
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(discriminators.parameters(), lr=1e-2)
    for seed in range(100):
        noise = 0.05 * torch.randn(4, 1_600, generator=generator)
        loss = discriminator_loss(discriminators(voice(1_600, batch=4, seed=seed))[0], discriminators(noise)[0])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    # To say one half to everything costs a quarter for either kind.
    assert float(loss.detach()) < 0.4


def test_every_parameter_gets_a_gradient():
    discriminators = make_discriminators()
    sum(score.square().mean() for score in discriminators(voice(3_200))[0]).backward()
    for name, parameter in discriminators.named_parameters():
        assert parameter.grad.abs().sum() > 0, name
