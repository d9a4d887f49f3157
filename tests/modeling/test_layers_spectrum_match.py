"""The match of a decoded spectrogram's statistics with a reference's: what it reaches, and what it leaves alone."""

import math

import pytest
import torch

from antiphon.modeling.layers_spectrum_match import SpectrumMatch

FLOOR = math.log(1e-6)


def speech(frames: int, mean: float = -6.0, deviation: float = 2.0, seed: int = 0) -> torch.Tensor:
    """Frames of loud speech in six bands, which vary band by band."""
    generator = torch.Generator().manual_seed(seed)
    loud = torch.full((frames, 2), -1.0)  # keeps the level, so that every frame counts as speech
    return torch.cat([loud, mean + deviation * torch.randn(frames, 4, generator=generator)], dim=1)


def pause(frames: int) -> torch.Tensor:
    return torch.full((frames, 6), FLOOR)


def test_pauses_of_the_reference_do_not_count():
    spoken = SpectrumMatch(speech(300), 1.0, FLOOR)
    paused = SpectrumMatch(torch.cat([pause(700), speech(300)]), 1.0, FLOOR)
    torch.testing.assert_close(paused.mean, spoken.mean)
    torch.testing.assert_close(paused.variance, spoken.variance)


@pytest.mark.parametrize(("mean", "deviation"), [(-7.0, 1.3), (-5.0, 2.0), (-6.0, 3.0)])
def test_mean_and_deviation_become_the_references(mean, deviation):
    match = SpectrumMatch(speech(500), 1.0, FLOOR)
    made = match(speech(8000, mean, deviation, seed=1)[None])[0, -2000:, 2:]
    assert float(made.mean()) == pytest.approx(-6.0, abs=0.15)
    assert float(made.std()) == pytest.approx(2.0, rel=0.06)


def test_half_the_share_goes_half_the_way():
    match = SpectrumMatch(speech(500), 0.5, FLOOR)
    made = match(speech(8000, -8.0, seed=1)[None])[0, -2000:, 2:]
    assert float(made.mean()) == pytest.approx(-7.0, abs=0.15)


def test_that_the_means_differ_is_no_spread():
    """After two seconds the deviation of a decoder that has it right is what it was."""
    match = SpectrumMatch(speech(500), 1.0, FLOOR)
    frames = speech(200, -8.0, seed=1)
    made = match(frames[None])[0, 100:, 2:]
    assert float(made.std(0).mean()) == pytest.approx(float(frames[100:, 2:].std(0).mean()), rel=0.04)


def test_pauses_of_what_is_decoded_stay_as_they_are():
    match = SpectrumMatch(speech(500), 1.0, FLOOR)
    made = match(torch.cat([speech(400, -8.0, 1.0, seed=1), pause(50)])[None])
    assert torch.equal(made[0, 400:], pause(50))
    assert not torch.equal(made[0, :400], speech(400, -8.0, 1.0, seed=1))


def test_pieces_are_changed_as_the_whole_is():
    frames = torch.cat([speech(150, -7.0, 1.0, seed=1), pause(30), speech(150, -7.0, 1.0, seed=2)])[None]
    whole = SpectrumMatch(speech(300), 1.0, FLOOR)(frames)
    match = SpectrumMatch(speech(300), 1.0, FLOOR)
    pieces = torch.cat([match(piece) for piece in frames.split(37, dim=1)], dim=1)
    torch.testing.assert_close(pieces, whole)
    assert torch.equal(SpectrumMatch(speech(300), 0.0, FLOOR)(frames), frames)
