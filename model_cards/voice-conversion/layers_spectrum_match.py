"""Statistics of a decoded spectrogram, brought to those of a reference while it is made."""

import torch

from .layers_voice_decoder import frame_energy

# Speech is what comes within so much natural log power of the loud frames, which are the loudest tenth.
LOUD_SHARE, SPEECH_RANGE = 0.9, 8.0
# Over so much natural log power above the quietest speech the change sets in; pauses stay as they are.
FADE_RANGE = 2.0
# Frames of evidence that the statistics are right already.
PRIOR_FRAMES = 200
# How much a band's deviation may be stretched at most.
LARGEST_STRETCH = 2.0


class SpectrumMatch:
    """Brings mean and deviation of each band in speech, as far as they are known by now, to those of a reference.

    A decoder trained on errors answers with the mean of what may be: too little varies, and that is heard as another
    voice. What was decoded counts against `PRIOR_FRAMES` frames as the reference has them, so that the first second is
    hardly changed and the tenth nearly by the whole share.

    Args:
        reference: (frames, num_mel_bins), log-mel features at the level of what is decoded.
        share: Of the way to the reference's statistics, 0 to 1.
        floor: Least log-mel value.

    Source: Toda et al. 2007, "Voice Conversion Based on Maximum-Likelihood Estimation of Spectral Parameter
        Trajectory", section IV, on the global variance. Deviation: linear after the decoder, on running statistics.
    """

    def __init__(self, reference: torch.Tensor, share: float, floor: float):
        self.share, self.floor = share, floor
        energy = frame_energy(reference)
        self.threshold = float(energy.quantile(LOUD_SHARE)) - SPEECH_RANGE
        speech = reference[energy > self.threshold].double()
        self.mean, self.variance = speech.mean(0), speech.var(0, unbiased=False).clamp(min=1e-6)
        # Of what was decoded; as doubles, since they are added to for hours.
        self.count, self.total, self.squares = 0.0, torch.zeros_like(self.mean), torch.zeros_like(self.mean)

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """Maps the next features (1, frames, num_mel_bins) to the same shape."""
        if not self.share or not features.shape[1]:
            return features
        frames, above = features[0].double(), frame_energy(features[0]).double() - self.threshold
        is_speech = (above > 0).double()[:, None]
        counts = self.count + is_speech.cumsum(0)
        totals = self.total + (is_speech * frames).cumsum(0)
        squares = self.squares + (is_speech * frames.square()).cumsum(0)
        self.count, self.total, self.squares = float(counts[-1]), totals[-1], squares[-1]
        own_means = totals / counts.clamp(min=1)
        own_variances = (squares / counts.clamp(min=1) - own_means.square()).clamp(min=0)
        evidence = counts / (counts + PRIOR_FRAMES)
        means = torch.lerp(self.mean.expand_as(own_means), own_means, evidence)
        # Of either about its own mean: that the means differ is no spread.
        variances = torch.lerp(self.variance.expand_as(own_variances), own_variances, evidence).clamp(min=1e-6)
        stretch = (self.variance / variances).sqrt().clamp(1 / LARGEST_STRETCH, LARGEST_STRETCH) ** self.share
        change = self.share * (self.mean - means) + (stretch - 1) * (frames - means)
        change = change * (above / FADE_RANGE).clamp(0, 1)[:, None]
        return (frames + change).float().clamp(min=self.floor)[None]
