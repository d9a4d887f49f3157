"""The smooth spectral envelope of a log-mel spectrogram, freed of the pitch and of the mean of the voice."""

import math
from dataclasses import dataclass

import torch
from torch import nn
from transformers import initialization as init

from .layers_spectrogram import in_float32


@dataclass
class RunningMean:
    """What a stream has heard: weighted sum of the envelope (batch, 1, bands) and weight (batch, 1, 1), in float64."""

    total: torch.Tensor | float = 0.0
    weight: torch.Tensor | float = 0.0


def cosine_basis(num_points: int, num_coefficients: int) -> torch.Tensor:
    """Returns the orthonormal cosines of the DCT-II at `num_points` points, (num_coefficients, num_points)."""
    # In float32 whatever the precision of the model that is being made.
    points = (torch.arange(num_points, dtype=torch.float32) + 0.5) / num_points
    orders = torch.arange(num_coefficients)[:, None]
    basis = torch.cos(math.pi * orders * points) * math.sqrt(2 / num_points)
    basis[0] /= math.sqrt(2)
    return basis


class SpectralEnvelope(nn.Module):
    """Log-mel features to a normalised smooth envelope.

    A low-order cosine transform along the mel axis (a cepstral lifter) leaves the formants and removes the harmonics.
    Then each band loses its running mean, from the start of the utterance to the present frame, which carries the voice
    and the channel, and is divided by its deviation in training. Frames louder than the training mean weigh most, so
    that pauses hardly count; `prior_frames` of the training mean stand at the beginning. Nothing looks ahead.

    Args:
        num_mel_bins: Mel bands of the input.
        num_bands: Points at which the envelope is read.
        num_coefficients: Cosines kept.
        prior_frames: Weight of the training mean, in frames.
    """

    def __init__(self, num_mel_bins: int, num_bands: int, num_coefficients: int, prior_frames: float):
        super().__init__()
        self.num_mel_bins = num_mel_bins
        self.num_bands = num_bands
        self.num_coefficients = num_coefficients
        self.prior_frames = prior_frames
        self.register_buffer("lifter", self.make_lifter(), persistent=False)
        self.register_buffer("mean", torch.zeros(num_bands))
        self.register_buffer("deviation", torch.ones(num_bands))

    def make_lifter(self) -> torch.Tensor:
        """Returns the map from mel bands to envelope points, (num_mel_bins, num_bands)."""
        analysis = cosine_basis(self.num_mel_bins, self.num_coefficients)
        synthesis = cosine_basis(self.num_bands, self.num_coefficients)
        return analysis.T @ synthesis * math.sqrt(self.num_bands / self.num_mel_bins)

    def reset_parameters(self):
        """Fills the buffers: the lifter, which a checkpoint does not hold, and statistics that change nothing."""
        init.copy_(self.lifter, self.make_lifter())
        init.zeros_(self.mean)
        init.ones_(self.deviation)

    @torch.no_grad()
    def fit(self, utterances) -> None:
        """Sets the mean and the deviation of each band.

        Args:
            utterances: Iterable of log-mel features, (frames, num_mel_bins) each.
        """
        envelopes = [features @ self.lifter for features in utterances]
        self.mean.copy_(torch.cat(envelopes).mean(0))
        self.deviation.fill_(1.0)
        self.deviation.copy_(torch.cat([self.normalize(each[None])[0] for each in envelopes]).std(0))

    def forward(self, input_features: torch.Tensor, running_mean: RunningMean | None = None) -> torch.Tensor:
        """Maps (batch, frames, num_mel_bins) to (batch, frames, num_bands), of the same type.

        Args:
            input_features: Natural log of mel power.
            running_mean: Of the frames before, in a stream; is brought up to date.
        """
        return self._read(input_features, running_mean).to(input_features.dtype)

    @in_float32
    def _read(self, input_features: torch.Tensor, running_mean: RunningMean | None) -> torch.Tensor:
        return self.normalize(input_features.float() @ self.lifter.float(), running_mean)

    def normalize(self, envelope: torch.Tensor, running_mean: RunningMean | None = None) -> torch.Tensor:
        """Removes the running mean of (batch, frames, num_bands) and divides by the deviation."""
        running_mean = running_mean or RunningMean()
        weights = torch.sigmoid((envelope - self.mean).mean(-1, keepdim=True)).double()
        # In float64 a sum over hours is the same in one piece as in many.
        totals = running_mean.total + (weights * envelope).cumsum(1)
        counts = running_mean.weight + weights.cumsum(1)
        running_mean.total, running_mean.weight = totals[:, -1:], counts[:, -1:]
        mean = (totals + self.prior_frames * self.mean) / (counts + self.prior_frames)
        return (envelope - mean.to(envelope.dtype)) / self.deviation.to(envelope.dtype)
