"""Statistics of a decoded spectrogram, brought to those of a reference while it is made."""

import torch

from .layers_voice_decoder import frame_energy

# A frame counts for the statistics down to so much natural log power below the reference's mean.
ACTIVE_RANGE = 3.0
# Frames of evidence that the statistics are right already.
SPECTRUM_PRIOR_FRAMES = 200
# How much a band's deviation may be stretched at most.
LARGEST_STRETCH = 2.0


class SpectrumMatch:
    """Brings mean and deviation of each band, as far as they are known by now, to those of a reference.

    A decoder trained on errors answers with the mean of what may be: too little varies, and that is heard as another
    voice.

    Args:
        reference: (frames, num_mel_bins), log-mel features.
        share: Of the way to the reference's statistics, 0 to 1.
        floor: Least log-mel value.

    Source: Toda et al. 2007, "Voice Conversion Based on Maximum-Likelihood Estimation of Spectral Parameter
        Trajectory", section IV, on the global variance. Deviation: linear after the decoder, on running statistics.
    """

    def __init__(self, reference: torch.Tensor, share: float, floor: float):
        self.share, self.floor = share, floor
        energy = frame_energy(reference)
        self.threshold = float(frame_energy(reference.mean(0)) - ACTIVE_RANGE)
        active = reference[energy > self.threshold] if (energy > self.threshold).any() else reference
        self.mean, self.deviation = active.mean(0), active.std(0, unbiased=False)
        # As doubles, since they are added to for hours.
        self.count = SPECTRUM_PRIOR_FRAMES
        self.total = self.count * self.mean.double()
        self.squares = self.count * (self.mean.double().square() + self.deviation.double().square())

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """Maps the next features (1, frames, num_mel_bins) to the same shape."""
        if not self.share or not features.shape[1]:
            return features
        active = (frame_energy(features[0]) > self.threshold)[:, None]
        counted = features[0].double() * active
        totals, squares = self.total + counted.cumsum(0), self.squares + counted.square().cumsum(0)
        counts = self.count + active.double().cumsum(0)
        self.total, self.squares, self.count = totals[-1], squares[-1], counts[-1]
        means = totals / counts
        deviations = (squares / counts - means.square()).clamp(min=1e-6).sqrt()
        stretch = (self.deviation / deviations).clamp(1 / LARGEST_STRETCH, LARGEST_STRETCH) ** self.share
        wanted = means + self.share * (self.mean - means) + stretch * (features[0] - means)
        return wanted.float().clamp(min=self.floor)[None]
