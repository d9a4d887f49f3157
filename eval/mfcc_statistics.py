"""A plain speaker representation without training: mean and deviation of mel-frequency cepstra."""

import importlib.metadata
from collections.abc import Mapping

import librosa
import numpy as np

NUM_COEFFICIENTS = 20


class MfccStatistics:
    """Mean and deviation over time of MFCC 1 to 19, without the level, as a judge of `eval.voice_judges` answers."""

    name = f"mean and deviation of MFCC 1 to {NUM_COEFFICIENTS - 1}, librosa {importlib.metadata.version('librosa')}"

    def __init__(self, sampling_rate: int = 16_000):
        self.sampling_rate = sampling_rate

    def __call__(self, waveform: np.ndarray) -> Mapping[str, np.ndarray]:
        """Describe one recording, (samples,), as (38,)."""
        cepstra = librosa.feature.mfcc(
            y=waveform, sr=self.sampling_rate, n_mfcc=NUM_COEFFICIENTS, n_fft=512, win_length=400, hop_length=160
        )[1:]
        return {"embedding": np.concatenate([cepstra.mean(axis=1), cepstra.std(axis=1)])}


def standardize(vectors: np.ndarray) -> np.ndarray:
    """Bring each dimension to mean 0 and deviation 1 over the recordings, (recordings, dimensions).

    The mean of the recordings stands for their channel: all but the voices. Without labels, but of the test recordings
    themselves, so the baseline is stronger than it would be on a single pair.
    """
    return (vectors - vectors.mean(axis=0)) / vectors.std(axis=0).clip(min=1e-8)
