"""Takes recordings and MIDI files from strangers: bounded in bytes, notes and time, each refusal one sentence."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from antiphon.processing.audio_io import AudioError, AudioTooLongError, EmptyAudioError, read_audio
from antiphon.processing.audio_midi import MAX_NOTES, MidiError, Performance, read_midi

MIN_SECONDS = 1.0  # of less no judgement makes sense
MAX_SECONDS = 60
MIN_NOTES = 8
MAX_MEGABYTES = 10
MIDI_MAGIC = b"MThd"
# -80 dB: below the noise of any microphone that is switched on.
SILENCE_PEAK = 1e-4


class UploadError(ValueError):
    """Files that cannot be assessed; the message is one sentence for the person who chose them."""


@dataclass(frozen=True)
class Upload:
    """A performance as it was given.

    Args:
        waveform: (samples,) at the rate of the model; None without a recording.
        midi: Content of the MIDI file; None without one.
        performance: Its notes.
    """

    waveform: np.ndarray | None = None
    midi: bytes | None = None
    performance: Performance | None = None


def read_upload(paths: Sequence[str], sampling_rate: int) -> Upload:
    """Reads the recording of a performance, its MIDI file, or both; which is which is told by content.

    Args:
        paths: One or two files.
        sampling_rate: The model's, in Hz.

    Raises:
        UploadError: They are damaged, empty, too short, too long, silent, or more than one of a kind.
    """
    midi_files = [path for path in paths if is_midi(path)]
    recordings = [path for path in paths if path not in midi_files]
    if len(midi_files) > 1 or len(recordings) > 1:
        raise UploadError(
            "These are several performances; choose one recording, one MIDI file, or one of each that belong together."
        )
    midi, performance = read_notes(midi_files[0]) if midi_files else (None, None)
    waveform = _read_recording(recordings[0], sampling_rate) if recordings else None
    return Upload(waveform, midi, performance)


def is_midi(path: str | Path) -> bool:
    """Whether a file begins as MIDI files do."""
    with open(path, "rb") as file:
        return file.read(len(MIDI_MAGIC)) == MIDI_MAGIC


def read_notes(path: str | Path) -> tuple[bytes, Performance]:
    """Content and notes of a MIDI file.

    Raises:
        UploadError: It is damaged, or has too few notes, too many, or lasts too long.
    """
    content = Path(path).read_bytes()
    try:
        performance = read_midi(content)
    except MidiError as error:
        raise UploadError(
            f"This MIDI file cannot be used: it is damaged, or holds no notes or more than {MAX_NOTES}; export the "
            "passage again as a standard MIDI file."
        ) from error
    if len(performance) < MIN_NOTES:
        raise UploadError(f"This MIDI file has {len(performance)} notes; choose a passage of at least {MIN_NOTES}.")
    if performance.duration_seconds > MAX_SECONDS:
        raise UploadError(
            f"This MIDI file lasts {performance.duration_seconds:.1f} s, at most {MAX_SECONDS} s are accepted; choose "
            "a shorter passage."
        )
    return content, performance


def _read_recording(path: str | Path, sampling_rate: int) -> np.ndarray:
    try:
        waveform, _ = read_audio(path, sampling_rate=sampling_rate, resample=True, max_seconds=MAX_SECONDS)
    except AudioTooLongError as error:
        raise UploadError(f"This recording lasts longer than {MAX_SECONDS} s; choose a shorter passage.") from error
    except EmptyAudioError as error:
        raise UploadError("This file is empty; choose another.") from error
    except AudioError as error:
        raise UploadError(
            "This file is no recording and no MIDI file that can be read here, or it is damaged; choose a WAV, FLAC, "
            "OGG, MP3 or MIDI file."
        ) from error
    seconds = len(waveform) / sampling_rate
    if seconds < MIN_SECONDS:
        raise UploadError(f"This recording lasts {seconds:.2f} s; choose a passage of at least {MIN_SECONDS:.0f} s.")
    if np.abs(waveform).max() < SILENCE_PEAK:
        raise UploadError("This recording is silent; choose another.")
    return waveform
