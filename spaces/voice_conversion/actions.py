"""What the buttons and the microphone of the page do."""

import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
import numpy as np
import soundfile
from converter import Conversion, ConversionError, Converter
from live import LiveError, LiveSession
from pictures import draw_conversion
from recordings import RecordingError, read_piece, read_recording

RECORDING, SAVED_VOICE = "A recording", "A saved voice"
TAG = "Converted speech: the voice is that of a machine imitating a recording."
LIVE_READY = "Wear headphones, or the microphone hears the loudspeaker."
CONSENT = "I may use both voices, and I will tell whoever hears the result that it was converted by a machine."
NO_CONSENT = "Tick the box at the top first: a voice belongs to its person."
NO_SOURCE = "Record or choose what is said."
NO_VOICE = "Record or choose the voice."
NO_SAVED_VOICE = "Choose the file of a saved voice."
MAX_NOTE_LENGTH = 300
MAX_SEMITONES = 12
BAD_SLIDER = f"Pitch must lie between -{MAX_SEMITONES} and {MAX_SEMITONES} semitones, strength between 0 and 1."
NO_NOTE = "Write who allowed the use of this voice; the note is kept in its file."


@dataclass(frozen=True)
class Wishes:
    """What is set on the page, in the order of its components; a program may send anything in their place.

    Args:
        consent: Whether the box is ticked.
        source: Path of what is said.
        kind: `RECORDING` or `SAVED_VOICE`.
        reference, saved: Paths of the voice; None without.
        note: Who allowed its use.
        semitones, strength: Of the sliders.
    """

    consent: bool
    source: str | None
    kind: str
    reference: str | None
    saved: str | None
    note: str
    semitones: float
    strength: float

    @property
    def permission(self) -> str:
        """The note, as long as the page lets it become."""
        return (self.note or "").strip()[:MAX_NOTE_LENGTH]


class VisitorError(ValueError):
    """Something is missing on the page; the message says what."""


ERRORS = (ConversionError, LiveError, RecordingError, VisitorError)


def about_voice(converter: Converter, path: str | None) -> str:
    """What a file says of its voice, in plain text."""
    if path is None:
        return ""
    try:
        voice = converter.read_voice(path)
    except ConversionError as error:
        return f"⚠️ {error}"
    origin = f"\nFrom: {voice.origin}" if voice.origin else ""
    return f"Allowed by: {voice.consent}{origin}\nMedian pitch: {voice.f0_median_hz:.0f} Hz"


def read_voice(converter: Converter, wishes: Wishes):
    """The `VoicePrompt` that is wished for.

    Raises:
        VisitorError: There is no consent, or no voice, or a slider stands nowhere.
    """
    if not wishes.consent:
        raise VisitorError(NO_CONSENT)
    check_sliders(wishes)
    if wishes.kind == SAVED_VOICE:
        if wishes.saved is None:
            raise VisitorError(NO_SAVED_VOICE)
        return converter.read_voice(wishes.saved)
    if wishes.reference is None:
        raise VisitorError(NO_VOICE)
    recording = read_recording(wishes.reference, converter.sampling_rate, "recording of the voice")
    consent = wishes.permission or f"ticked on the page: {CONSENT}"
    return converter.make_voice(recording, consent, "recorded or uploaded on the page")


def check_sliders(wishes: Wishes) -> None:
    """Refuses what no slider can be set to.

    Raises:
        VisitorError: A value is none, or out of range.
    """
    values = (wishes.semitones, wishes.strength)
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in values):
        raise VisitorError(BAD_SLIDER)
    if abs(wishes.semitones) > MAX_SEMITONES or not 0 <= wishes.strength <= 1:
        raise VisitorError(BAD_SLIDER)


def read_source(converter: Converter, path: str) -> np.ndarray:
    """What is said."""
    return read_recording(path, converter.sampling_rate, "recording of what is said")


def run_conversion(converter: Converter, wishes: Wishes) -> Iterator[tuple]:
    """Yields the contents of status, both players and report, as the work goes on."""
    nothing = (None, None, "")
    try:
        if wishes.consent and wishes.source is None:
            raise VisitorError(NO_SOURCE)
        yield "Listening to the voice …", *nothing
        voice = read_voice(converter, wishes)
        source = read_source(converter, wishes.source)
        yield f"Converting {len(source) / converter.sampling_rate:.1f} s of speech …", *nothing
        conversion = converter.convert(source, voice, wishes.semitones, wishes.strength)
    except ERRORS as error:
        yield f"⚠️ {error}", *nothing
        return
    # The players copy the files, after which the folder goes.
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{name}.flac" for name in ("before", "converted")]
        write_sound(paths[0], conversion.before.waveform, converter.sampling_rate)
        write_sound(paths[1], conversion.after.waveform, converter.sampling_rate, TAG)
        report = draw_conversion(conversion, converter)
        yield describe_work(conversion, converter), *map(str, paths), report


def write_sound(path: Path, waveform: np.ndarray, sampling_rate: int, comment: str = "") -> None:
    """Writes FLAC; a comment goes into its metadata."""
    with soundfile.SoundFile(path, "w", sampling_rate, channels=1, format="FLAC", subtype="PCM_16") as file:
        if comment:
            file.comment = comment
        file.write(waveform)


def describe_work(conversion: Conversion, converter: Converter) -> str:
    """How much was converted, and how fast."""
    seconds = len(conversion.before.waveform) / converter.sampling_rate
    share = conversion.processing_seconds / seconds
    return f"{seconds:.1f} s of speech, converted in {conversion.processing_seconds:.2f} s ({share:.2f} of real time)."


def save_voice(converter: Converter, wishes: Wishes) -> Iterator[tuple]:
    """Yields the contents of status and of the file to fetch."""
    try:
        if wishes.consent and not wishes.permission and wishes.kind == RECORDING:
            raise VisitorError(NO_NOTE)
        voice = read_voice(converter, wishes)
    except ERRORS as error:
        yield f"⚠️ {error}", gr.File(None, visible=False)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "voice.safetensors"
        voice.save(path)
        yield "The voice is ready to be fetched, at the foot of the results.", gr.File(str(path), visible=True)


def hear_piece(converter: Converter, path: str | None, session: LiveSession | str | None, wishes: Wishes) -> tuple:
    """Contents of the player, the session and the live status after a piece of the microphone.

    Args:
        session: None before the first piece; a text, the reason, once it ended.
    """
    if path is None or isinstance(session, str):
        return gr.skip(), session, session or gr.skip()
    try:
        if session is None:
            voice = read_voice(converter, wishes)
            source = None if wishes.source is None else read_source(converter, wishes.source)
            session = LiveSession(converter.open_stream(voice, source, wishes.semitones), converter.sampling_rate)
        sound = session.push(*read_piece(path))
    except ERRORS as error:
        reason = f"⚠️ {error}"
        return gr.skip(), reason, reason
    return sound, session, f"{session.seconds_in:.1f} s heard, {session.load:.2f} s of work for each second."


def end_live(session: LiveSession | str | None) -> tuple:
    """The same after the microphone was switched off."""
    if not isinstance(session, LiveSession):
        return gr.skip(), session or LIVE_READY, session or LIVE_READY
    rest = session.finish()
    summary = f"{session.seconds_in:.1f} s heard, {session.load:.2f} s of work for each second."
    return rest, summary, summary
