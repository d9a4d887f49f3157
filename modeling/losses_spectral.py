"""How far two waveforms are apart as spectrograms of several resolutions."""

from collections.abc import Sequence

import torch
from torch import nn

from .layers_spectrogram import LogMelSpectrogram, squared_magnitude

# Powers below it are as good as silence: they would rule the logarithm otherwise.
POWER_FLOOR = 1e-6
# Of the log-power at every frequency, beside that in mel bands: half of all frequencies lie above 4 kHz, where hearing
# is coarse.
LINEAR_WEIGHT = 0.15


class MultiScaleSpectralLoss(nn.Module):
    """The mean over several transforms of three distances: log-mel, log-power and spectral convergence.

    Transforms of several lengths see what any single one misses: long ones the harmonics, short ones the pulses.

    Args:
        sampling_rate: Of the waveforms, in Hz.
        n_ffts: Samples of each transform and of its window; frames are a quarter of it apart.
        num_mel_bins: Mel bands at each transform.

    Source: Yamamoto et al. 2020, "Parallel WaveGAN", equations 3 to 5; the mel distance of Kong et al. 2020,
        "HiFi-GAN", equation 5, at every resolution as in Kumar et al. 2023, "High-Fidelity Audio Compression with
        Improved RVQGAN". Deviations: the power has a floor under the logarithm; the
        mel bands weigh most.
    """

    def __init__(
        self,
        sampling_rate: int,
        n_ffts: Sequence[int] = (256, 640, 1536),
        num_mel_bins: Sequence[int] = (24, 64, 80),
    ):
        super().__init__()
        if len(n_ffts) != len(num_mel_bins):
            raise ValueError(
                f"`n_ffts` has {len(n_ffts)} entries and `num_mel_bins` {len(num_mel_bins)}; give one for each."
            )
        self.mels = nn.ModuleList(
            LogMelSpectrogram(bins, sampling_rate, n_fft // 4, n_fft, n_fft)
            for n_fft, bins in zip(n_ffts, num_mel_bins)
        )

    def forward(self, waveform: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Distance of `waveform` from `target`, both (batch, samples): a number, 0 where they are equal."""
        both = torch.cat([waveform, target])
        distance = waveform.new_zeros(())
        for mel in self.mels:
            power = squared_magnitude(mel.spectrogram(both))
            log_mel, log_mel_target = (power @ mel.mel_filters).clamp(min=POWER_FLOOR).log().chunk(2)
            power, power_target = power.clamp(min=POWER_FLOOR).chunk(2)
            distance = distance + (log_mel - log_mel_target).abs().mean()
            distance = distance + LINEAR_WEIGHT * (power.log() - power_target.log()).abs().mean()
            difference = power.sqrt() - power_target.sqrt()
            distance = distance + difference.norm() / power_target.sum().sqrt()
        return distance / len(self.mels)
