"""Griffin-Lim: sound of a log-mel spectrogram without a trained vocoder."""

import librosa
import numpy as np

NUM_ITERATIONS = 32


def griffin_lim(
    input_features: np.ndarray, sampling_rate: int = 16_000, hop_length: int = 160, win_length: int = 640
) -> np.ndarray:
    """Invert a log-mel spectrogram: magnitudes by non-negative least squares, phases by iteration.

    Args:
        input_features: (frames, bins), natural logarithm of the power in Slaney's mel bands from 0 Hz to half the rate.
        sampling_rate: Hz.
        hop_length, win_length: samples; the transform is as long as the window.

    Returns:
        (hop_length * (frames - 1),) float32; the same every time.

    Source: Griffin & Lim, "Signal estimation from modified short-time Fourier transform", 1984; Perraudin, Balazs &
    Sondergaard, "A fast Griffin-Lim algorithm", 2013, with momentum .99, as in librosa.
    """
    power = np.exp(np.asarray(input_features, dtype=np.float64)).T
    magnitude = librosa.feature.inverse.mel_to_stft(power, sr=sampling_rate, n_fft=win_length, power=2.0)
    return librosa.griffinlim(
        magnitude,
        n_iter=NUM_ITERATIONS,
        hop_length=hop_length,
        win_length=win_length,
        length=hop_length * (power.shape[1] - 1),
        random_state=0,
    ).astype(np.float32)
