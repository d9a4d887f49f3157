"""Pulses and noise: harmonics where they belong, unit power, one phase throughout; and pitch as classes."""

import math

import pytest
import torch

from antiphon.modeling.layers_excitation import Excitation, PitchClasses

RATE, HOP = 16_000, 160


@pytest.fixture
def excitation():
    return Excitation(RATE, HOP).eval()


def test_pulses_equal_the_sum_of_their_harmonics(excitation):
    f0 = torch.full((1, 21), 230.0)
    pulses = excitation.pulses(f0, excitation.phases(f0))
    time = torch.arange(20 * HOP, dtype=torch.float64) / RATE
    number = int(RATE / 2 / 230)
    expected = sum(torch.cos(2 * math.pi * 230 * harmonic * time) for harmonic in range(1, number + 1))
    expected *= 2 * math.sqrt(230 / RATE)
    torch.testing.assert_close(pulses[0].double(), expected, rtol=0, atol=2e-2)


def test_a_gliding_pitch_turns_as_often_as_its_integral(excitation):
    f0 = torch.linspace(100, 300, 51)[None]
    assert float(excitation.phases(f0)[0, -1]) == pytest.approx(200 * 50 * HOP / RATE, rel=1e-6)


@pytest.mark.parametrize("pitch", [60.0, 155.0, 500.0])
def test_pulses_and_noise_have_unit_power(excitation, pitch):
    f0 = torch.full((1, 201), pitch)
    # The last harmonic may lie up to one pitch below half the sampling rate.
    assert float(excitation.pulses(f0, excitation.phases(f0)).square().mean()) == pytest.approx(1.0, rel=0.1)
    assert float(excitation.noise(1, 32_000).square().mean()) == pytest.approx(1.0, rel=0.05)


def test_pulses_go_on_where_they_stopped(excitation):
    f0 = torch.linspace(80, 350, 40)[None]
    phases = excitation.phases(f0)
    whole = excitation.pulses(f0, phases)
    part = excitation.pulses(f0[:, 17:], phases[:, 17:18] + excitation.phases(f0[:, 17:]))
    torch.testing.assert_close(part, whole[:, 17 * HOP :], rtol=1e-3, atol=1e-3)


def test_noise_follows_from_its_place_and_is_new_in_training(excitation):
    whole = excitation.noise(1, 5_000)
    torch.testing.assert_close(excitation.noise(1, 2_000, first_sample=3_000), whole[:, 3_000:])
    assert excitation.noise(1, 10, first_sample=10**9).shape == (1, 10)
    excitation.train()
    assert not torch.equal(excitation.noise(1, 100), excitation.noise(1, 100))


def test_a_pitch_becomes_classes_and_comes_back():
    classes = PitchClasses(120, 55.0, 550.0)
    f0 = torch.tensor([[57.0, 100.0, 233.3, 500.0]])
    places = torch.arange(120)
    true_place = classes.bins_per_octave * torch.log2(f0 / 55.0)
    logits = -0.5 * (places - true_place[..., None]).square()
    torch.testing.assert_close(classes.decode(logits), f0, rtol=2e-3, atol=0)
    # The loss is least there, and unvoiced frames do not count.
    assert classes.loss(logits, f0) < classes.loss(logits, 1.1 * f0)
    assert float(classes.loss(logits, torch.zeros_like(f0))) == 0.0
