"""Fundamental frequency against tones that are known, against silence and noise, and against WORLD."""

import numpy as np
import pytest
import torch

from antiphon.modeling.layers_pitch import PitchTracker, interpolate_peaks

RATE = 16_000


def harmonic_tone(f0: torch.Tensor, num_harmonics: int = 10) -> torch.Tensor:
    """A tone whose f0 in Hz is given for every sample, with harmonics that fall by 6 dB per octave."""
    phase = 2 * torch.pi * torch.cumsum(f0.double() / RATE, 0)
    return 0.1 * sum(torch.sin(number * phase) / number for number in range(1, num_harmonics + 1)).float()


@pytest.mark.parametrize("f0", [60.0, 75.3, 110.0, 219.7, 350.0, 499.0])
def test_steady_tones_within_a_tenth_of_a_semitone(f0):
    waveform = harmonic_tone(torch.full((RATE // 2,), f0))
    tracked = PitchTracker()(waveform[None])[0]
    assert tracked.shape == (1 + len(waveform) // 160,)
    torch.testing.assert_close(tracked[4:-4], torch.full_like(tracked[4:-4], f0), rtol=0.006, atol=0)


def test_autocast_takes_no_digits_from_the_pitch():
    waveform = harmonic_tone(torch.full((RATE // 2,), 110.0))[None]
    expected = PitchTracker()(waveform)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(PitchTracker()(waveform), expected)
    assert PitchTracker().to(torch.bfloat16)(waveform.to(torch.bfloat16)).dtype == torch.float32


def test_glide_is_followed_at_the_centre_of_each_frame():
    f0 = torch.logspace(np.log10(90), np.log10(360), RATE)
    tracked = PitchTracker()(harmonic_tone(f0)[None])[0]
    torch.testing.assert_close(tracked[4:-4], f0[::160][4 : len(tracked) - 4], rtol=0.02, atol=0)


def test_a_missing_fundamental_is_heard():
    time = torch.arange(RATE // 2) / RATE
    waveform = 0.1 * sum(torch.sin(2 * torch.pi * 150 * number * time) for number in (2, 3, 4))
    tracked = PitchTracker()(waveform[None])[0, 4:-4]
    torch.testing.assert_close(tracked, torch.full_like(tracked, 150.0), rtol=0.006, atol=0)


def test_silence_and_noise_are_unvoiced():
    generator = torch.Generator().manual_seed(0)
    noise = 0.1 * torch.randn(2 * RATE, generator=generator)
    assert not PitchTracker()(torch.zeros(1, RATE)).any()
    assert (PitchTracker()(noise[None]) > 0).float().mean() < 0.05


def test_loudness_changes_nothing_above_the_floor():
    waveform = harmonic_tone(torch.full((RATE // 4,), 130.0))
    tracker = PitchTracker()
    torch.testing.assert_close(tracker(0.05 * waveform[None]), tracker(waveform[None]), rtol=1e-4, atol=0)


def test_a_frame_hears_its_window_alone():
    tracker = PitchTracker()
    waveform = harmonic_tone(torch.linspace(100, 200, RATE))
    whole = tracker(waveform[None])[0]
    half = tracker.window_length // 2
    frame = 40
    piece = waveform[frame * 160 - half : frame * 160 + half]
    torch.testing.assert_close(tracker.track(piece), whole[frame])


def test_a_batch_and_blocks_change_nothing(monkeypatch):
    waveforms = torch.stack([harmonic_tone(torch.full((RATE // 4,), f0)) for f0 in (90.0, 180.0)])
    tracker = PitchTracker()
    expected = torch.cat([tracker(waveforms[:1]), tracker(waveforms[1:])])
    monkeypatch.setattr("antiphon.modeling.layers_pitch.BLOCK_FRAMES", 7)
    torch.testing.assert_close(tracker(waveforms), expected)


def test_parabola_through_three_points():
    points = torch.tensor([-1.0, 0.0, 1.0, 2.0])
    curve = 3 - (points - 0.25) ** 2
    height, place = interpolate_peaks(curve[None])
    assert height[0].tolist() == pytest.approx([3.0, -np.inf])
    assert place[0].tolist() == pytest.approx([0.25, 0.0])


def test_an_impossible_range_is_refused():
    with pytest.raises(ValueError, match="`min_hz` is 300"):
        PitchTracker(min_hz=300, max_hz=200)


def test_agrees_with_world():
    pyworld = pytest.importorskip("pyworld", reason="needs pyworld: pip install antiphon[judges]")
    f0 = 160 + 40 * torch.sin(2 * torch.pi * 2 * torch.arange(2 * RATE) / RATE)
    waveform = harmonic_tone(f0)
    expected, _ = pyworld.harvest(waveform.double().numpy(), RATE, f0_floor=60, f0_ceil=500, frame_period=10)
    tracked = PitchTracker()(waveform[None])[0].numpy()
    inner = slice(10, len(tracked) - 10)
    np.testing.assert_allclose(tracked[inner], expected[: len(tracked)][inner], rtol=0.02)
