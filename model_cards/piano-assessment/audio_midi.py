"""Performances on a piano, read from MIDI files: what was played when, how strongly, and with which pedals."""

import io
import os
from collections import deque
from dataclasses import dataclass, field

import mido
import numpy as np
from mido.midifiles.meta import KeySignatureError

SUSTAIN_PEDAL, SOSTENUTO_PEDAL, SOFT_PEDAL = 64, 66, 67
PEDALS = (SUSTAIN_PEDAL, SOSTENUTO_PEDAL, SOFT_PEDAL)
PEDAL_DOWN = 64  # a controller value from which a damper pedal counts as pressed
MAX_MIDI_BYTES = 4 * 1024 * 1024
MAX_NOTES = 5_000  # a passage of some minutes; alignment takes the square of it in memory


class MidiError(ValueError):
    """A file is no MIDI file, or holds no performance that can be assessed."""


@dataclass(frozen=True)
class Performance:
    """The notes of a performance, ordered by onset and then by pitch.

    Args:
        onsets, offsets: (notes,) seconds at which each key goes down and up.
        pitches: (notes,) MIDI note numbers.
        velocities: (notes,) 1 to 127.
        pedals: By controller number, (changes,) times in seconds and (changes,) values from 0 to 127.
    """

    onsets: np.ndarray
    offsets: np.ndarray
    pitches: np.ndarray
    velocities: np.ndarray
    pedals: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.onsets)

    @property
    def duration_seconds(self) -> float:
        """From the first key that goes down to the last that goes up."""
        return float(self.offsets.max() - self.onsets[0])

    def pedal_value(self, controller: int, times: np.ndarray) -> np.ndarray:
        """Value of a pedal at each of the (times,), from 0 to 127; 0 before its first change."""
        changes, values = self.pedals.get(controller, (np.zeros(0), np.zeros(0)))
        if len(changes) == 0:
            return np.zeros(len(times))
        index = np.searchsorted(changes, times, side="right") - 1
        return np.where(index >= 0, values[np.maximum(index, 0)], 0)

    def sounding_offsets(self) -> np.ndarray:
        """(notes,) seconds at which each note ends to sound: when its key is up and the sustain pedal too."""
        times, values = self.pedals.get(SUSTAIN_PEDAL, (np.zeros(0), np.zeros(0)))
        releases = np.append(times[values < PEDAL_DOWN], self.offsets.max())
        pedalled = self.pedal_value(SUSTAIN_PEDAL, self.offsets) >= PEDAL_DOWN
        released = releases[np.minimum(np.searchsorted(releases, self.offsets), len(releases) - 1)]
        return np.where(pedalled, np.maximum(released, self.offsets), self.offsets)


def read_midi(source: str | os.PathLike | bytes) -> Performance:
    """Reads a performance from a MIDI file.

    Args:
        source: Path or content of the file.

    Raises:
        MidiError: if it is no MIDI file, is larger than `MAX_MIDI_BYTES`, has more than `MAX_NOTES` notes, or has none.
    """
    name = "the MIDI data" if isinstance(source, bytes) else os.fspath(source)
    size = len(source) if isinstance(source, bytes) else os.path.getsize(source)
    if size > MAX_MIDI_BYTES:
        raise MidiError(f"{name} has {size} bytes but at most {MAX_MIDI_BYTES} are read; cut the passage out first.")
    try:
        file = mido.MidiFile(file=io.BytesIO(source)) if isinstance(source, bytes) else mido.MidiFile(source)
        if file.ticks_per_beat <= 0:
            raise ValueError("its time is in frames of a film, not in beats")
        notes, pedals = _collect(file)
    except MidiError:
        raise
    except (OSError, EOFError, ValueError, KeyError, IndexError, TypeError, KeySignatureError) as error:
        raise MidiError(f"{name} cannot be read as MIDI ({error}); export it again as a standard MIDI file.") from error
    if not notes:
        raise MidiError(f"{name} holds no complete note; expected a piano performance.")
    onsets, pitches, offsets, velocities = np.array(sorted(notes), dtype=np.float64).T
    changes = {
        controller: tuple(np.array(events, dtype=np.float64).T) for controller, events in pedals.items() if events
    }
    return Performance(onsets, offsets, pitches.astype(int), velocities.astype(int), changes)


def _collect(file: mido.MidiFile) -> tuple[list[tuple], dict[int, list[tuple]]]:
    """Notes as (onset, pitch, offset, velocity) and, by controller, pedal changes as (time, value)."""
    now, num_pressed, notes, pressed = 0.0, 0, [], {}
    pedals: dict[int, list[tuple]] = {controller: [] for controller in PEDALS}
    for message in file:  # mido yields messages with seconds since the one before
        now += message.time
        if message.type == "note_on" and message.velocity > 0:
            num_pressed += 1
            if num_pressed > MAX_NOTES:
                raise MidiError(f"the MIDI data has more than {MAX_NOTES} notes; cut the passage out first.")
            pressed.setdefault((message.channel, message.note), deque()).append((now, message.velocity))
        elif message.type in ("note_on", "note_off"):
            # A key pressed again before it was released: its ends belong to its beginnings in order.
            if begun := pressed.get((message.channel, message.note)):
                onset, velocity = begun.popleft()
                notes.append((onset, message.note, now, velocity))
        elif message.type == "control_change" and message.control in pedals:
            pedals[message.control].append((now, message.value))
    return notes, pedals


def write_midi(performance: Performance, path: str | os.PathLike):
    """Writes a performance as a MIDI file of one track; times are rounded to a millisecond."""
    events = []
    for onset, offset, pitch, velocity in zip(
        performance.onsets, performance.offsets, performance.pitches, performance.velocities
    ):
        events.append((onset, 1, mido.Message("note_on", note=int(pitch), velocity=int(velocity))))
        events.append((offset, 0, mido.Message("note_off", note=int(pitch))))
    for controller, (times, values) in performance.pedals.items():
        for time, value in zip(times, values):
            events.append((time, 0, mido.Message("control_change", control=controller, value=int(value))))
    track = mido.MidiTrack()
    now = 0
    # A key is released before it is struck again at the same moment.
    for time, _, message in sorted(events, key=lambda event: event[:2]):
        tick = round(1000 * time)
        track.append(message.copy(time=tick - now))
        now = tick
    # 500 ticks a beat at the standard tempo of half a second a beat make one tick a millisecond.
    mido.MidiFile(ticks_per_beat=500, tracks=[track]).save(os.fspath(path))
