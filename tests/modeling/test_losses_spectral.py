"""The spectral distance: zero at the target, blind to the sign, more for worse, and with a finite gradient."""

import pytest
import torch
from tiny_vocoder import voice

from antiphon.modeling.losses_spectral import LINEAR_WEIGHT, MultiScaleSpectralLoss


@pytest.fixture(scope="module")
def loss():
    return MultiScaleSpectralLoss(16_000)


def test_the_target_itself_is_at_distance_zero_and_so_is_its_negative(loss):
    waveform = voice(4_800, batch=2)
    assert float(loss(waveform, waveform)) == 0.0
    assert float(loss(-waveform, waveform)) == pytest.approx(0.0, abs=1e-6)


def test_a_gain_costs_its_logarithm_and_its_share():
    waveform = torch.randn(1, 16_000, generator=torch.Generator().manual_seed(0))
    single = MultiScaleSpectralLoss(16_000, n_ffts=(512,), num_mel_bins=(40,))
    # The logarithms of both powers differ by log 4, the magnitudes by as much as they are.
    expected = (1 + LINEAR_WEIGHT) * torch.log(torch.tensor(4.0)) + 1
    torch.testing.assert_close(single(2 * waveform, waveform), expected, rtol=1e-3, atol=0)


def test_more_noise_is_further_away(loss):
    waveform, noise = voice(4_800), torch.randn(1, 4_800, generator=torch.Generator().manual_seed(0))
    distances = [float(loss(waveform + level * noise, waveform)) for level in (0.0001, 0.001, 0.01, 0.1)]
    assert distances == sorted(distances)
    assert distances[-1] > 2 * distances[0]


def test_the_gradient_of_silence_is_finite(loss):
    silence = torch.zeros(1, 4_800, requires_grad=True)
    loss(silence, voice(4_800)).backward()
    assert silence.grad.isfinite().all()


def test_scales_of_different_number_are_refused():
    with pytest.raises(ValueError, match="`n_ffts` has 2 entries and `num_mel_bins` 1"):
        MultiScaleSpectralLoss(16_000, n_ffts=(256, 512), num_mel_bins=(40,))
