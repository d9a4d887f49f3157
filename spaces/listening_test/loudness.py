"""All sounds of a test at one loudness, without clipping and without touching a file."""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyloudnorm
import soundfile
from definition import DefinitionError

TARGET_LUFS = -23.0  # EBU R 128
LOWEST_TARGET_LUFS = -33.0  # players have about so much in reserve
PEAK_LIMIT = 10 ** (-1 / 20)  # 1 dB below full scale, for peaks between the samples
MIN_SECONDS, MAX_SECONDS = 0.4, 60.0  # a block of the loudness meter; what a page should carry


@dataclass(frozen=True)
class Levels:
    """The loudness that all sounds share, in LUFS, and each one's gain (a factor), by path."""

    target: float
    gains: dict[Path, float]


def match_loudness(paths: Iterable[Path]) -> Levels:
    """Finds the gains that make all sounds equally loud.

    The target is -23 LUFS, or as far below as the sound with the highest peak for its loudness needs not to clip.

    Raises:
        DefinitionError: A file cannot be read, is silent, too short or too long, or is so peaky that all others would
            have to become very soft.

    Source: ITU-R BS.1770-4 integrated loudness, by pyloudnorm.
    """
    measured = {path: measure(path) for path in paths}
    room = {path: loudness - 20 * np.log10(peak / PEAK_LIMIT) for path, (loudness, peak) in measured.items()}
    peakiest = min(room, key=room.get)
    target = min(TARGET_LUFS, room[peakiest])
    if target < LOWEST_TARGET_LUFS:
        raise DefinitionError(
            f"{_name(peakiest)} could be played at {target:.1f} LUFS only without clipping, and all others with it; "
            f"expected {LOWEST_TARGET_LUFS:.0f} LUFS or more. Remove the click that it holds."
        )
    return Levels(float(target), {path: float(10 ** ((target - own) / 20)) for path, (own, _) in measured.items()})


def measure(path: Path) -> tuple[float, float]:
    """Integrated loudness in LUFS and highest absolute sample.

    Raises:
        DefinitionError: The file cannot be read, is silent, damaged, too short or too long.
    """
    waveform, sampling_rate = _read(path)
    seconds = len(waveform) / sampling_rate
    if not MIN_SECONDS <= seconds <= MAX_SECONDS:
        raise DefinitionError(f"{_name(path)} lasts {seconds:.2f} s, expected {MIN_SECONDS} to {MAX_SECONDS:.0f} s.")
    if not np.isfinite(waveform).all():
        raise DefinitionError(f"{_name(path)} holds values that are no numbers; write it again.")
    if waveform.shape[1] > 2:
        raise DefinitionError(f"{_name(path)} has {waveform.shape[1]} channels, expected 1 or 2.")
    loudness = pyloudnorm.Meter(sampling_rate).integrated_loudness(waveform)
    if not np.isfinite(loudness):
        raise DefinitionError(f"{_name(path)} is silent, so it cannot be brought to the loudness of the others.")
    return float(loudness), float(np.abs(waveform).max())


def matched_wav(path: Path, gain: float) -> bytes:
    """A sound with its gain as a WAV file of 16 bits, without any metadata of the original."""
    waveform, sampling_rate = _read(path)
    file = io.BytesIO()
    soundfile.write(file, gain * waveform, sampling_rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def _read(path: Path) -> tuple[np.ndarray, int]:
    try:
        return soundfile.read(path, always_2d=True)
    except (soundfile.LibsndfileError, OSError):
        raise DefinitionError(f"{_name(path)} cannot be read as audio; write it again as WAV.") from None


def _name(path: Path) -> str:
    return "/".join(path.parts[-3:])
