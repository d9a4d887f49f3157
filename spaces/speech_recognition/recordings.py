"""Takes recordings from strangers: bounded in channels, rate and time, each refusal one sentence for the person."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

MIN_SECONDS = 0.1
MAX_SECONDS = 60
MAX_PIECE_SECONDS = 10  # of a live recording; the browser sends a fraction of a second
MAX_CHANNELS = 2
# Together with the channels and the time they bound the memory that a small compressed file can ask for.
SAMPLING_RATES = (4_000, 192_000)
# -80 dB: below the noise of any microphone that is switched on.
SILENCE_PEAK = 1e-4


class RecordingError(ValueError):
    """A recording that cannot be transcribed; the message is one sentence for the person who made it."""


@dataclass(frozen=True)
class Recording:
    """What the model hears, and what it was made from.

    Args:
        waveform: (samples,), float32, mono.
        sampling_rate: Of the waveform, in Hz.
        orig_sampling_rate: Of the file, in Hz.
    """

    waveform: np.ndarray
    sampling_rate: int
    orig_sampling_rate: int

    @property
    def seconds(self) -> float:
        """Duration."""
        return len(self.waveform) / self.sampling_rate

    @property
    def is_resampled(self) -> bool:
        """Whether the file had another rate than the model."""
        return self.orig_sampling_rate != self.sampling_rate


def read_recording(path: str | Path, sampling_rate: int) -> Recording:
    """Reads an audio file, averages its channels and resamples it to the rate of the model.

    Args:
        path: WAV, FLAC, OGG or MP3, recognised by content.
        sampling_rate: The model's, in Hz.

    Raises:
        RecordingError: The file is empty, no audio, too short, too long, silent, or has too many channels.
    """
    channels, orig_sampling_rate = _decode(Path(path), MAX_SECONDS, "float32")
    waveform = channels.mean(axis=1)
    seconds = len(waveform) / orig_sampling_rate
    if seconds < MIN_SECONDS:
        raise RecordingError(f"This recording lasts {seconds:.2f} s; record at least {MIN_SECONDS} s.")
    if not np.isfinite(waveform).all():
        raise RecordingError("This file holds samples that are not numbers; export it again.")
    if np.abs(waveform).max() < SILENCE_PEAK:
        raise RecordingError("This recording is silent; check that the microphone is on and record again.")
    if orig_sampling_rate != sampling_rate:
        waveform = soxr.resample(waveform, orig_sampling_rate, sampling_rate, quality="HQ")
    return Recording(waveform, sampling_rate, orig_sampling_rate)


def read_piece(path: str | Path) -> tuple[np.ndarray, int]:
    """Reads a piece of a live recording: (samples, channels), 16-bit integers, and its rate in Hz.

    Raises:
        RecordingError: The file is empty, no audio, too long, or has too many channels.
    """
    return _decode(Path(path), MAX_PIECE_SECONDS, "int16")


def _decode(path: Path, max_seconds: int, dtype: str) -> tuple[np.ndarray, int]:
    """The waveform (samples, channels) and its rate; the header is judged before anything is decoded."""
    if not path.is_file() or path.stat().st_size == 0:
        raise RecordingError("This file is empty; choose another or record again.")
    try:
        with soundfile.SoundFile(path) as file:
            _check_header(file, max_seconds)
            # One sample more than allowed: a header may promise less than the file holds.
            channels = file.read(max_seconds * file.samplerate + 1, dtype=dtype, always_2d=True)
            sampling_rate = file.samplerate
    except soundfile.LibsndfileError:
        raise RecordingError(
            "This file is no audio that can be read here, or it is damaged; choose a WAV, FLAC, OGG or MP3 file."
        ) from None
    if len(channels) > max_seconds * sampling_rate:
        raise RecordingError(f"This recording lasts longer than {max_seconds} s; choose a shorter part of it.")
    return channels, sampling_rate


def _check_header(file: soundfile.SoundFile, max_seconds: int) -> None:
    lowest, highest = SAMPLING_RATES
    if not lowest <= file.samplerate <= highest:
        raise RecordingError(
            f"This file has a sampling rate of {file.samplerate} Hz; choose one with {lowest} to {highest} Hz."
        )
    if file.channels > MAX_CHANNELS:
        raise RecordingError(f"This file has {file.channels} channels; choose a mono or stereo recording.")
    seconds = file.frames / file.samplerate
    if seconds > max_seconds:
        raise RecordingError(
            f"This recording lasts {seconds:.1f} s, at most {max_seconds} s are accepted; choose a shorter part of it."
        )
