"""Takes recordings from strangers: bounded in channels, rate and time, each refusal one sentence for the person."""

from pathlib import Path

import numpy as np
import soundfile
import soxr

MIN_SECONDS = 0.5
MAX_SECONDS = 60
MAX_CHANNELS = 2
# A piece of the microphone lasts a quarter of a second; a slow connection may join some.
MAX_PIECE_SECONDS = 5
# Together with the channels and the time they bound the memory that a small compressed file can ask for.
SAMPLING_RATES = (4_000, 192_000)
# Of the mean square. Quieter recordings hold no voice.
SILENCE_DBFS = -65.0


class RecordingError(ValueError):
    """A recording that cannot be used; the message is one sentence for the person who made it."""


def read_recording(path: str | Path, sampling_rate: int, name: str) -> np.ndarray:
    """Reads an audio file, averages its channels and resamples it to the rate of the model.

    Args:
        path: WAV, FLAC, OGG or MP3, recognised by content.
        sampling_rate: The model's, in Hz.
        name: Which recording it is, for messages: "recording of the voice".

    Returns:
        (samples,) float32.

    Raises:
        RecordingError: The file is empty, no audio, too short, too long, silent, or has too many channels.
    """
    channels, rate = _decode(Path(path), name, MAX_SECONDS, "float32")
    waveform = channels.mean(axis=1)
    seconds = len(waveform) / rate
    if seconds < MIN_SECONDS:
        raise RecordingError(f"The {name} lasts {seconds:.2f} s; record at least {MIN_SECONDS} s.")
    if not np.isfinite(waveform).all():
        raise RecordingError(f"The {name} holds samples that are not numbers; export it again.")
    if np.square(waveform, dtype=np.float64).mean() < 10 ** (SILENCE_DBFS / 10):
        raise RecordingError(f"The {name} is silent; check that the microphone is on and record again.")
    if rate != sampling_rate:
        waveform = soxr.resample(waveform, rate, sampling_rate, quality="HQ")
    return waveform


def read_piece(path: str | Path) -> tuple[np.ndarray, int]:
    """Reads a piece of a live recording: (samples, channels), 16-bit integers, and its rate in Hz.

    Raises:
        RecordingError: The file is empty, no audio, too long, or has too many channels.
    """
    return _decode(Path(path), "piece of the microphone", MAX_PIECE_SECONDS, "int16")


def _decode(path: Path, name: str, max_seconds: int, dtype: str) -> tuple[np.ndarray, int]:
    """The waveform (samples, channels) and its rate; the header is judged before anything is decoded."""
    if not path.is_file() or path.stat().st_size == 0:
        raise RecordingError(f"The {name} is empty; choose another file or record again.")
    try:
        with soundfile.SoundFile(path) as file:
            _check_header(file, name, max_seconds)
            # One sample more than allowed: a header may promise less than the file holds.
            channels = file.read(max_seconds * file.samplerate + 1, dtype=dtype, always_2d=True)
            rate = file.samplerate
    except soundfile.LibsndfileError:
        raise RecordingError(
            f"The {name} is no audio that can be read here, or it is damaged; choose a WAV, FLAC, OGG or MP3 file."
        ) from None
    if len(channels) > max_seconds * rate:
        raise RecordingError(f"The {name} lasts longer than {max_seconds} s; choose a shorter part of it.")
    return channels, rate


def _check_header(file: soundfile.SoundFile, name: str, max_seconds: int) -> None:
    lowest, highest = SAMPLING_RATES
    if not lowest <= file.samplerate <= highest:
        raise RecordingError(
            f"The {name} has a sampling rate of {file.samplerate} Hz; choose one with {lowest} to {highest} Hz."
        )
    if file.channels > MAX_CHANNELS:
        raise RecordingError(f"The {name} has {file.channels} channels; choose a mono or stereo recording.")
    seconds = file.frames / file.samplerate
    if seconds > max_seconds:
        raise RecordingError(
            f"The {name} lasts {seconds:.1f} s, at most {max_seconds} s are accepted; choose a shorter part of it."
        )
