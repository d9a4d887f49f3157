"""What is read off a recording: its level and median pitch by hand, and refusals."""

import math

import pytest
import torch

from antiphon.modeling.layers_voice_recording import audible_level, check_waveform, level_dbfs, median_f0


def test_level_by_hand():
    assert level_dbfs(torch.tensor([0.1, -0.1] * 50)) == pytest.approx(-20.0, abs=1e-4)
    assert audible_level("source", torch.full((10,), 0.01)) == pytest.approx(-40.0, abs=1e-4)


def test_median_is_of_voiced_frames():
    medians = median_f0(torch.tensor([[0.0, 100.0, 200.0, 300.0], [0.0, 0.0, 0.0, 0.0]]))
    assert float(medians[0]) == 200.0
    assert math.isnan(float(medians[1]))


def test_a_good_waveform_becomes_float32():
    assert check_waveform("source", torch.ones(3, dtype=torch.float64), None, 16_000).dtype == torch.float32


@pytest.mark.parametrize(
    ("waveform", "rate", "message"),
    [
        (torch.ones(3), 8000, "`sampling_rate` is 8000 but this model expects 16000 Hz"),
        (torch.ones(3, 2), None, r"`source` is torch\.float32 of shape \(3, 2\)"),
        (torch.zeros(0), None, r"`source` is torch\.float32 of shape \(0,\)"),
        (torch.tensor([1.0, math.inf]), None, "`source` holds NaN or infinity"),
    ],
)
def test_bad_waveforms_are_refused(waveform, rate, message):
    with pytest.raises(ValueError, match=message):
        check_waveform("source", waveform, rate, 16_000)


def test_silence_is_refused():
    with pytest.raises(ValueError, match=r"`source` is silent \(below -70 dBFS\)"):
        audible_level("source", torch.full((100,), 1e-4))
