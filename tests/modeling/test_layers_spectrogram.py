"""Spectrograms inside models, against the feature extractor, torch and their own inverse."""

import pytest
import torch

from antiphon.modeling.layers_spectrogram import InverseSpectrogram, LogMelSpectrogram, Spectrogram
from antiphon.processing import LogMelFeatureExtractor


@pytest.fixture
def waveform():
    return 0.3 * torch.randn(2, 4_321, generator=torch.Generator().manual_seed(0))


def test_log_mel_equals_the_feature_extractor(waveform):
    extractor = LogMelFeatureExtractor(win_length=640, n_fft=640, mel_floor=1e-6, normalize="none")
    expected = extractor(list(waveform), return_tensors="pt")["input_features"]
    mel = LogMelSpectrogram()(waveform)
    assert mel.shape == (2, 1 + 4_321 // 160, 80)
    torch.testing.assert_close(mel, expected, rtol=1e-4, atol=1e-4)


def test_autocast_and_half_precision_take_no_digits_from_the_analysis(waveform):
    mel, spectrogram, inverse = LogMelSpectrogram(), Spectrogram(640, 160), InverseSpectrogram(640, 160)
    expected, restored = mel(waveform), inverse(spectrogram(waveform))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(mel(waveform), expected)
        assert torch.equal(inverse(spectrogram(waveform)), restored)
    halved = mel.to(torch.bfloat16)(waveform)
    assert halved.dtype == torch.float32
    torch.testing.assert_close(halved, expected, rtol=0, atol=0.05)


def test_buffers_are_exact_in_a_model_that_is_made_in_half_precision():
    expected = dict(LogMelSpectrogram().named_buffers())
    torch.set_default_dtype(torch.bfloat16)
    try:
        made = dict(LogMelSpectrogram().named_buffers())
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(torch.equal(made[name], tensor) for name, tensor in expected.items())


def test_log_mel_of_silence_is_its_floor_and_its_gradient_is_finite():
    silence = torch.zeros(1, 3_200, requires_grad=True)
    mel = LogMelSpectrogram()(silence)
    torch.testing.assert_close(mel, torch.full_like(mel, 1e-6).log())
    mel.sum().backward()
    assert silence.grad.isfinite().all()


def test_log_mel_passes_a_gradient_to_every_sample(waveform):
    waveform.requires_grad_()
    LogMelSpectrogram()(waveform).sum().backward()
    # The last sample under no frame's centre still lies under the last window.
    assert (waveform.grad != 0).all()


@pytest.mark.parametrize(("n_fft", "hop_length", "frames"), [(640, 160, 28), (320, 160, 7), (64, 8, 1)])
def test_the_inverse_restores_what_was_transformed(n_fft, hop_length, frames):
    waveform = torch.randn(3, hop_length * (frames - 1), generator=torch.Generator().manual_seed(1))
    spectrum = Spectrogram(n_fft, hop_length)(waveform) if frames > 1 else torch.ones(3, 1, 1 + n_fft // 2) + 0j
    restored = InverseSpectrogram(n_fft, hop_length)(spectrum)
    torch.testing.assert_close(restored, waveform, rtol=1e-4, atol=1e-5)


def test_the_inverse_of_an_inconsistent_spectrum_equals_torch():
    generator = torch.Generator().manual_seed(2)
    spectrum = torch.randn(2, 15, 321, dtype=torch.complex64, generator=generator)
    expected = torch.istft(spectrum.transpose(1, 2), 640, 160, window=torch.hann_window(640))
    torch.testing.assert_close(InverseSpectrogram(640, 160)(spectrum), expected, rtol=1e-4, atol=1e-5)


def test_the_inverse_refuses_frames_that_overlap_in_no_whole_hops():
    with pytest.raises(ValueError, match="`n_fft` is 512 but must be a multiple of 2 x `hop_length`"):
        InverseSpectrogram(512, 160)


def test_buffers_are_refilled():
    for layer in (LogMelSpectrogram(), InverseSpectrogram(640, 160)):
        expected = {name: buffer.clone() for name, buffer in layer.named_buffers()}
        for buffer in layer.buffers():
            buffer.fill_(float("nan"))
        layer.reset_parameters()
        for name, buffer in layer.named_buffers():
            assert torch.equal(buffer, expected[name])
