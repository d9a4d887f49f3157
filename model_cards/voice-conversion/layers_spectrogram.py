"""Differentiable spectrograms: short-time Fourier transform, log-mel, and the way back to a waveform."""

from functools import wraps

import torch
from torch import nn
from transformers import initialization as init
from transformers.audio_utils import mel_filter_bank


def in_float32(method):
    """Keeps autocast away from a method of a module: spectra, powers and phases need all digits."""

    @wraps(method)
    def without_autocast(module, tensor: torch.Tensor, *arguments):
        with torch.autocast(tensor.device.type, enabled=False):
            return method(module, tensor, *arguments)

    return without_autocast


def hann_window(length: int) -> torch.Tensor:
    """A periodic Hann window (length,), in float32 whatever the precision of the model that is being made."""
    return torch.hann_window(length, dtype=torch.float32)


class Spectrogram(nn.Module):
    """The complex short-time spectrum under a Hann window.

    Frame t is centred on sample t * hop_length, and zeros surround the signal.

    Args:
        n_fft: Samples of the Fourier transform, even.
        hop_length: Samples from one frame to the next.
        win_length: Samples under the window; None means `n_fft`.
    """

    def __init__(self, n_fft: int, hop_length: int, win_length: int | None = None):
        super().__init__()
        self.n_fft = n_fft
        self.hop_length = hop_length
        self.win_length = win_length or n_fft
        self.register_buffer("window", hann_window(self.win_length), persistent=False)

    def reset_parameters(self):
        """Fills the buffer, which a checkpoint does not hold."""
        init.copy_(self.window, hann_window(self.win_length))

    @in_float32
    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        """Transforms (batch, samples) into (batch, frames, 1 + n_fft / 2), complex, frames = 1 + samples // hop."""
        spectrum = torch.stft(
            waveform.float(),
            self.n_fft,
            self.hop_length,
            self.win_length,
            self.window.float(),
            center=True,
            pad_mode="constant",
            return_complex=True,
        )
        return spectrum.transpose(1, 2)


def squared_magnitude(spectrum: torch.Tensor) -> torch.Tensor:
    """The power of a complex spectrum, with a gradient that is finite at zero."""
    return spectrum.real.square() + spectrum.imag.square()


class LogMelSpectrogram(nn.Module):
    """Log-mel features inside a model: those of `processing.LogMelFeatureExtractor` with `normalize="none"`.

    Args:
        num_mel_bins: Number of mel bands between 0 Hz and half the sampling rate.
        sampling_rate: Samples per second, in Hz.
        hop_length, win_length, n_fft: Samples from frame to frame, under the window and of the transform.
        mel_floor: Smallest mel power before the natural logarithm.

    Source: The mel scale and area normalisation of Slaney's Auditory Toolbox, as in librosa and Whisper.
    """

    def __init__(
        self,
        num_mel_bins: int = 80,
        sampling_rate: int = 16_000,
        hop_length: int = 160,
        win_length: int = 640,
        n_fft: int = 640,
        mel_floor: float = 1e-6,
    ):
        super().__init__()
        self.num_mel_bins = num_mel_bins
        self.sampling_rate = sampling_rate
        self.mel_floor = mel_floor
        self.spectrogram = Spectrogram(n_fft, hop_length, win_length)
        self.register_buffer("mel_filters", self.make_mel_filters(), persistent=False)

    def make_mel_filters(self) -> torch.Tensor:
        """Returns the filters, (1 + n_fft / 2, num_mel_bins)."""
        filters = mel_filter_bank(
            num_frequency_bins=1 + self.spectrogram.n_fft // 2,
            num_mel_filters=self.num_mel_bins,
            min_frequency=0.0,
            max_frequency=self.sampling_rate / 2,
            sampling_rate=self.sampling_rate,
            norm="slaney",
            mel_scale="slaney",
        )
        return torch.from_numpy(filters).float()

    def reset_parameters(self):
        """Fills the buffers, which a checkpoint does not hold."""
        self.spectrogram.reset_parameters()
        init.copy_(self.mel_filters, self.make_mel_filters())

    @in_float32
    def power(self, spectrum: torch.Tensor) -> torch.Tensor:
        """Maps a complex spectrum (..., 1 + n_fft / 2) to the power in each band, (..., num_mel_bins), float32."""
        return squared_magnitude(spectrum) @ self.mel_filters.float()

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        """Maps (batch, samples) to (batch, 1 + samples // hop_length, num_mel_bins), natural log of power, float32."""
        return self.power(self.spectrogram(waveform)).clamp(min=self.mel_floor).log()


class InverseSpectrogram(nn.Module):
    """The waveform whose short-time spectrum is nearest to a given one: windowed overlap-add.

    Args:
        n_fft: Samples of the Fourier transform and of its Hann window; a multiple of twice `hop_length`.
        hop_length: Samples from one frame to the next.

    Source: Griffin and Lim 1984, "Signal Estimation from Modified Short-Time Fourier Transform", equation 6.
    """

    def __init__(self, n_fft: int, hop_length: int):
        super().__init__()
        if n_fft % (2 * hop_length):
            raise ValueError(
                f"`n_fft` is {n_fft} but must be a multiple of 2 x `hop_length` ({2 * hop_length}), so that frames "
                "overlap in whole hops."
            )
        self.n_fft = n_fft
        self.hop_length = hop_length
        self.register_buffer("window", hann_window(n_fft), persistent=False)

    def reset_parameters(self):
        """Fills the buffer, which a checkpoint does not hold."""
        init.copy_(self.window, hann_window(self.n_fft))

    def overlap_add(self, frames: torch.Tensor) -> torch.Tensor:
        """Adds (batch, frames, n_fft), one hop apart, into (batch, (frames - 1) * hop_length + n_fft)."""
        batch, count = frames.shape[:2]
        hops = self.n_fft // self.hop_length
        pieces = frames.view(batch, count, hops, self.hop_length)
        shifted = [nn.functional.pad(pieces[:, :, hop], (0, 0, hop, hops - 1 - hop)) for hop in range(hops)]
        return torch.stack(shifted).sum(0).flatten(1)

    @in_float32
    def forward(self, spectrum: torch.Tensor) -> torch.Tensor:
        """Maps (batch, frames, 1 + n_fft / 2), complex, to (batch, hop_length * (frames - 1))."""
        window = self.window.float()
        frames = torch.fft.irfft(spectrum, n=self.n_fft) * window
        weights = window.square().expand(1, *frames.shape[1:])
        # Half a frame at either end lies outside the signal, where the weights also vanish.
        margin = self.n_fft // 2
        end = margin + self.hop_length * (frames.shape[1] - 1)
        return self.overlap_add(frames)[:, margin:end] / self.overlap_add(weights)[:, margin:end]
