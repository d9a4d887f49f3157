"""What is read off a recording before it is converted: whether it can be, its level and its median pitch."""

import math
from dataclasses import dataclass

import torch

SILENCE_DBFS = -70.0


@dataclass
class SourceStatistics:
    """What is known of a source before it is heard.

    Args:
        median_hz: Median of f0; NaN where nothing is voiced.
        level_dbfs: RMS relative to full scale.
        speaker_embeddings: (1, speaker_size), unit norm; None where too little was heard to tell a voice.
    """

    median_hz: float
    level_dbfs: float
    speaker_embeddings: torch.Tensor | None = None


def level_dbfs(waveform: torch.Tensor) -> float:
    """RMS of (samples,) in dB relative to full scale."""
    return 10 * math.log10(max(float(waveform.double().square().mean()), 1e-20))


def median_f0(f0: torch.Tensor) -> torch.Tensor:
    """Median of the voiced frames of (batch, frames), in Hz, (batch,); NaN where none is voiced."""
    return torch.where(f0 > 0, f0, torch.nan).nanmedian(dim=1).values


def as_waveform(samples) -> torch.Tensor:
    """A tensor where it is, or an array as a tensor on the CPU."""
    return samples if isinstance(samples, torch.Tensor) else torch.as_tensor(samples, device="cpu")


def check_waveform(name: str, waveform, given_rate: int | None, expected_rate: int) -> torch.Tensor:
    """The waveform (samples,) as float32, where it is.

    Args:
        name: What it is called in messages.
        waveform: What somebody gave.
        given_rate: In Hz, as far as it was told.
        expected_rate: The model's, in Hz.

    Raises:
        ValueError: another rate, not one channel of floats, nothing, NaN or infinity.
    """
    waveform = as_waveform(waveform)
    if given_rate not in (None, expected_rate):
        raise ValueError(
            f"`sampling_rate` is {given_rate} but this model expects {expected_rate} Hz; resample first, e.g. with "
            "`processing.audio_io.resample_audio`."
        )
    if waveform.ndim != 1 or not waveform.is_floating_point() or not len(waveform):
        raise ValueError(
            f"`{name}` is {waveform.dtype} of shape {tuple(waveform.shape)} but must be (samples,) of floats in "
            "[-1, 1]; average the channels of a stereo recording first."
        )
    waveform = waveform.float()
    if not waveform.isfinite().all():
        raise ValueError(f"`{name}` holds NaN or infinity; look for a broken file or a division by zero.")
    return waveform


def audible_level(name: str, waveform: torch.Tensor) -> float:
    """Level of (samples,) in dB relative to full scale.

    Raises:
        ValueError: silence.
    """
    level = level_dbfs(waveform)
    if level < SILENCE_DBFS:
        raise ValueError(
            f"`{name}` is silent (below {SILENCE_DBFS:g} dBFS); check the microphone, or give another recording."
        )
    return level
