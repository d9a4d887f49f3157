"""Fundamental frequency by normalised autocorrelation, one frame at a time."""

import torch
from torch import nn
from transformers import initialization as init

from .layers_spectrogram import hann_window, in_float32

# Frames transformed together, so that a long recording needs no more memory than a short one.
BLOCK_FRAMES = 4096


class PitchTracker(nn.Module):
    """Waveform to fundamental frequency, frame by frame.

    Frame t is centred on sample t * hop_length, as in the mel spectrogram, and hears `window_length` samples around it
    and nothing else: a stream gives what the whole recording gives. A window holds three periods of `min_hz`.

    Args:
        sampling_rate: Samples per second, in Hz.
        hop_length: Samples from one frame to the next.
        min_hz, max_hz: Range of the fundamental frequency.
        voicing_threshold: Least autocorrelation of a voiced frame, 0 to 1.
        octave_cost: What each octave of a longer period costs its autocorrelation, against errors by an octave down.
        cutoff_hz: Frequencies above it are left out: there noise and formants hide the period.
        power_floor: Mean power of a frame below which it is silent; full scale is 1.

    Source: Boersma 1993, "Accurate short-term analysis of the fundamental frequency and the harmonics-to-noise ratio of
        a sampled sound", section 3. Deviations: each frame takes its own best period, without a path through all
        frames; the peak is refined by a parabola; the spectrum is cut off.
    """

    def __init__(
        self,
        sampling_rate: int = 16_000,
        hop_length: int = 160,
        min_hz: float = 60.0,
        max_hz: float = 500.0,
        voicing_threshold: float = 0.55,
        octave_cost: float = 0.06,
        cutoff_hz: float = 1200.0,
        power_floor: float = 1e-6,
    ):
        super().__init__()
        if not 0 < min_hz < max_hz <= sampling_rate / 8:
            raise ValueError(
                f"`min_hz` is {min_hz} and `max_hz` is {max_hz}, expected 0 < min_hz < max_hz <= {sampling_rate / 8:g} "
                "(an eighth of the sampling rate)."
            )
        self.sampling_rate = sampling_rate
        self.hop_length = hop_length
        self.window_length = 2 * round(1.5 * sampling_rate / min_hz)
        # Room for the longest lag, so that the circular correlation of the transform equals the plain one.
        self.n_fft = 2 ** (self.window_length + round(sampling_rate / min_hz)).bit_length()
        self.min_lag = int(sampling_rate / max_hz)
        self.max_lag = -int(-sampling_rate // min_hz)
        self.voicing_threshold = voicing_threshold
        self.octave_cost = octave_cost
        self.cutoff_hz = cutoff_hz
        self.power_floor = power_floor
        self.register_buffer("window", self.make_window(), persistent=False)

    def make_window(self) -> torch.Tensor:
        """Returns the Hann window, (window_length,)."""
        return hann_window(self.window_length)

    def reset_parameters(self):
        """Fills the buffer, which a checkpoint does not hold."""
        init.copy_(self.window, self.make_window())

    @torch.no_grad()
    @in_float32
    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        """Maps (batch, samples) in [-1, 1] to f0 in Hz, 0 = unvoiced, (batch, 1 + samples // hop_length)."""
        half = self.window_length // 2
        frames = nn.functional.pad(waveform.float(), (half, half)).unfold(1, self.window_length, self.hop_length)
        return torch.cat([self.track(block) for block in frames.split(BLOCK_FRAMES, dim=1)], dim=1)

    def track(self, frames: torch.Tensor) -> torch.Tensor:
        """Maps (..., window_length) samples to f0 in Hz, (...)."""
        frames = frames - frames.mean(-1, keepdim=True)
        correlation = self.autocorrelation(frames)
        lags = torch.arange(self.min_lag, self.max_lag + 1, device=frames.device)
        height, refined = interpolate_peaks(correlation[..., self.min_lag - 1 : self.max_lag + 2])
        score = height - self.octave_cost * torch.log2(lags / self.min_lag)
        best = score.argmax(-1, keepdim=True)
        period = lags[best] + refined.gather(-1, best)
        loud = frames.square().mean(-1, keepdim=True) > self.power_floor
        voiced = loud & (height.gather(-1, best) > self.voicing_threshold)
        return torch.where(voiced, self.sampling_rate / period, 0.0).squeeze(-1)

    def autocorrelation(self, frames: torch.Tensor) -> torch.Tensor:
        """Autocorrelation by lag, 1 at lag 0, freed of the window's own (equation 9): (..., max_lag + 2)."""
        last_bin = round(self.cutoff_hz * self.n_fft / self.sampling_rate)
        own = self.window.float()
        power = torch.fft.rfft(frames * own, self.n_fft)[..., : last_bin + 1].abs().square()
        window_power = torch.fft.rfft(own, self.n_fft).abs().square()
        signal, window = (torch.fft.irfft(each, self.n_fft)[..., : self.max_lag + 2] for each in (power, window_power))
        return signal / signal[..., :1].clamp(min=1e-12) / (window / window[0])


def interpolate_peaks(curve: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Fits a parabola through every local maximum and its two neighbours.

    Args:
        curve: (..., points + 2), with one neighbour at either end.

    Returns:
        Height of the parabola, minus infinity where there is no maximum, and its place relative to the middle point,
        -0.5 to 0.5; both (..., points).
    """
    left, middle, right = curve[..., :-2], curve[..., 1:-1], curve[..., 2:]
    is_peak = (middle >= left) & (middle > right)
    curvature = (left - 2 * middle + right).clamp(max=-1e-12)
    place = torch.where(is_peak, 0.5 * (left - right) / curvature, 0.0)
    height = middle - 0.25 * (left - right) * place
    return torch.where(is_peak, height, -torch.inf), place
