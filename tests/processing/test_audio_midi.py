"""MIDI files in and out: times, pedals, repeated keys, and files that are none."""

import struct

import mido
import numpy as np
import pytest
from tiny_piano import notes

from antiphon.processing import audio_midi
from antiphon.processing.audio_midi import (
    SOFT_PEDAL,
    SUSTAIN_PEDAL,
    MidiError,
    read_midi,
    write_midi,
)
from antiphon.processing.corpora.synthetic_piano import synthetic_performance

NOTE = b"\x00\x90\x3c\x40\x83\x74\x80\x3c\x00"  # middle C for 500 ticks
END = b"\x00\xff\x2f\x00"


def midi_file(events: bytes, kind: int = 0, division: bytes = b"\x01\xf4") -> bytes:
    """A MIDI file of one track, byte by byte; by default 500 ticks make one beat of half a second."""
    body = events + END
    return b"MThd" + struct.pack(">LHH", 6, kind, 1) + division + b"MTrk" + struct.pack(">L", len(body)) + body


def assert_same(performance, other):
    for name in ("onsets", "offsets", "pitches", "velocities"):
        np.testing.assert_allclose(getattr(performance, name), getattr(other, name), atol=5.1e-4)
    assert performance.pedals.keys() == other.pedals.keys()
    for controller, (times, values) in performance.pedals.items():
        np.testing.assert_allclose(times, other.pedals[controller][0], atol=5.1e-4)
        np.testing.assert_array_equal(values, other.pedals[controller][1])


# ---------------------------------------------------------------- round trip


def test_a_performance_survives_a_file(tmp_path):
    performance = notes(
        [0.1, 0.1, 1.2345], [0.5, 2.0, 1.5], [40, 88, 61], [1, 127, 64],
        sustain=[(0.0, 127), (0.75, 63), (1.0, 64)], soft=[(0.25, 100)],
    )  # fmt: skip
    write_midi(performance, tmp_path / "a.mid")
    assert_same(read_midi(tmp_path / "a.mid"), performance)
    assert_same(read_midi((tmp_path / "a.mid").read_bytes()), performance)


@pytest.mark.parametrize("seed", range(3))
def test_invented_performances_survive_a_second_file_unchanged(tmp_path, seed):
    write_midi(synthetic_performance(seed, 3)[0], tmp_path / "first.mid")
    first = read_midi(tmp_path / "first.mid")
    write_midi(first, tmp_path / "second.mid")
    assert_same(read_midi(tmp_path / "second.mid"), first)


def test_notes_are_ordered_by_onset_and_then_by_pitch(tmp_path):
    write_midi(notes([1.0, 0.0, 0.0], pitches=[50, 70, 60]), tmp_path / "a.mid")
    read = read_midi(tmp_path / "a.mid")
    assert read.pitches.tolist() == [60, 70, 50]
    assert len(read) == 3
    assert read.duration_seconds == pytest.approx(1.25)


def test_a_key_struck_again_at_the_moment_of_its_release(tmp_path):
    write_midi(notes([0.0, 1.0], [1.0, 1.5], [60, 60], [50, 90]), tmp_path / "a.mid")
    read = read_midi(tmp_path / "a.mid")
    assert read.onsets.tolist() == [0.0, 1.0]
    assert read.offsets.tolist() == [1.0, 1.5]
    assert read.velocities.tolist() == [50, 90]


def test_a_key_struck_again_before_its_release_ends_in_order(tmp_path):
    on, off = mido.Message("note_on", note=60, velocity=50), mido.Message("note_on", note=60, velocity=0)
    track = mido.MidiTrack([on, on.copy(velocity=70, time=250), off.copy(time=250), off.copy(time=500)])
    mido.MidiFile(ticks_per_beat=500, tracks=[track]).save(tmp_path / "a.mid")
    read = read_midi(tmp_path / "a.mid")
    assert list(zip(read.onsets, read.offsets, read.velocities)) == [(0.0, 0.5, 50), (0.25, 1.0, 70)]


def test_tempo_changes_and_tracks_are_followed(tmp_path):
    tempi = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=1_000_000, time=500)])
    played = mido.MidiTrack(
        [mido.Message("note_on", note=60, velocity=9, time=1000), mido.Message("note_off", note=60, time=500)]
    )
    mido.MidiFile(ticks_per_beat=500, type=1, tracks=[tempi, played]).save(tmp_path / "a.mid")
    read = read_midi(tmp_path / "a.mid")
    assert (read.onsets[0], read.offsets[0]) == (1.5, 2.5)


def test_keys_that_are_never_released_are_no_notes():
    hanging = b"\x00\x90\x40\x40" + NOTE
    assert read_midi(midi_file(hanging)).pitches.tolist() == [60]


# ---------------------------------------------------------------- pedals


def test_strings_sound_until_key_and_pedal_are_up():
    performance = notes(
        [0.0, 1.0, 2.0, 3.0, 4.0], [0.5, 1.5, 2.5, 3.5, 4.5],
        # down during the first note, up in the third; pressed while nothing sounds; half down is not down
        sustain=[(0.25, 64), (2.25, 63), (3.75, 127), (3.9, 0), (4.25, 30)],
    )  # fmt: skip
    assert performance.sounding_offsets().tolist() == [2.25, 2.25, 2.5, 3.5, 4.5]


def test_a_pedal_that_stays_down_lets_all_sound_until_the_last_key_is_up():
    performance = notes([0.0, 1.0, 1.0], [0.5, 3.0, 2.0], sustain=[(0.0, 127)])
    assert performance.sounding_offsets().tolist() == [3.0, 3.0, 3.0]


def test_a_pedal_may_hold_beyond_the_last_key():
    performance = notes([0.0, 1.0], [0.5, 3.0], sustain=[(2.0, 127), (5.0, 0)])
    assert performance.sounding_offsets().tolist() == [0.5, 5.0]


def test_a_pedal_released_with_the_key_adds_nothing():
    assert notes([0.0], [1.0], sustain=[(0.5, 127), (1.0, 0), (2.0, 0)]).sounding_offsets().tolist() == [1.0]


def test_pedal_values_hold_until_the_next_change():
    performance = notes([0.0], sustain=[(1.0, 100), (2.0, 20)])
    times = np.array([0.0, 0.999, 1.0, 1.5, 2.0, 9.0])
    assert performance.pedal_value(SUSTAIN_PEDAL, times).tolist() == [0, 0, 100, 100, 20, 20]
    assert performance.pedal_value(SOFT_PEDAL, times).tolist() == [0] * 6


# ---------------------------------------------------------------- files that cannot be read


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the MIDI data cannot be read as MIDI"),
        (b"RIFF" + bytes(100), "cannot be read as MIDI .*; export it again as a standard MIDI file"),
        (midi_file(NOTE)[:30], "cannot be read as MIDI"),
        (midi_file(b""), "holds no complete note; expected a piano performance"),
        (midi_file(b"\x00\x90\x40\x40"), "holds no complete note"),
        (midi_file(NOTE, kind=2), "cannot be read as MIDI .*asynchronous"),
        (midi_file(b"\x00\xff\x59\x02\x20\x05" + NOTE), "cannot be read as MIDI .*32 sharps"),
        (midi_file(NOTE, division=b"\x00\x00"), "cannot be read as MIDI .*not in beats"),
        (midi_file(NOTE, division=b"\xe7\x28"), "cannot be read as MIDI .*frames of a film"),
    ],
    ids=["empty", "another format", "cut off", "no notes", "no end", "type 2", "key", "no beats", "film"],
)
def test_what_is_no_performance_is_refused(content, message):
    with pytest.raises(MidiError, match=message):
        read_midi(content)


def test_broken_bytes_are_read_or_refused_and_never_crash(tmp_path):
    write_midi(synthetic_performance(0, 1)[0], tmp_path / "a.mid")
    content, generator, refused = (tmp_path / "a.mid").read_bytes(), np.random.default_rng(0), 0
    for _ in range(500):
        broken = bytearray(content)
        for place in generator.integers(0, len(broken), 3):
            broken[place] = generator.integers(256)
        try:
            read = read_midi(bytes(broken))
        except MidiError:
            refused += 1
        else:
            assert (read.offsets >= read.onsets).all()
            assert (np.diff(read.onsets) >= 0).all()
    assert 0 < refused < 500


def test_the_error_names_the_file(tmp_path):
    (tmp_path / "song.mid").write_bytes(b"MThd")
    with pytest.raises(MidiError, match=r"song\.mid cannot be read"):
        read_midi(tmp_path / "song.mid")


def test_limits(monkeypatch):
    content = midi_file(3 * NOTE)
    monkeypatch.setattr(audio_midi, "MAX_NOTES", 3)
    assert len(read_midi(content)) == 3
    monkeypatch.setattr(audio_midi, "MAX_NOTES", 2)
    with pytest.raises(MidiError, match="has more than 2 notes; cut the passage out first"):
        read_midi(content)
    monkeypatch.setattr(audio_midi, "MAX_MIDI_BYTES", len(content) - 1)
    with pytest.raises(MidiError, match=f"has {len(content)} bytes but at most {len(content) - 1} are read"):
        read_midi(content)
