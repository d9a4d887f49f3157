"""A corpus of made-up piano performances with ratings that follow from how they are played, as PercePiano is loaded."""

from pathlib import Path

import mido
import numpy as np
from datasets import Dataset

from antiphon.processing.percepts import PERCEPTS

NUM_NOTES = 16
TICKS_PER_SECOND = 960  # of a new MidiFile, at its standard tempo


def write_midi(path: Path, pitches, onsets, durations, velocities) -> Path:
    """Write notes, in seconds, as a MIDI file."""
    events = []
    for pitch, onset, duration, velocity in zip(pitches, onsets, durations, velocities):
        events.append((round(onset * TICKS_PER_SECOND), "note_on", int(pitch), int(velocity)))
        events.append((round((onset + duration) * TICKS_PER_SECOND), "note_off", int(pitch), 0))
    track, now = mido.MidiTrack(), 0
    for time, kind, pitch, velocity in sorted(events):
        track.append(mido.Message(kind, note=pitch, velocity=velocity, time=time - now))
        now = time
    file = mido.MidiFile()
    file.tracks.append(track)
    file.save(path)
    return path


def small_performances(folder: Path, num_passages: int = 12, num_players: int = 5, seed: int = 0) -> Dataset:
    """Write performances of every passage by every player; loud ones are rated high on every percept.

    Every second passage shares its excerpt with the one before, and four excerpts make a work.
    """
    generator = np.random.default_rng(seed)
    rows = []
    for passage in range(num_passages):
        pitches = generator.integers(40, 80, NUM_NOTES)
        character = generator.normal(0, 0.1, len(PERCEPTS))
        for player in range(num_players):
            loudness, interval = generator.uniform(0.3, 0.9), generator.uniform(0.1, 0.4)
            name = f"midi/passage{passage:02d}_{player}.mid"
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            onsets = interval * np.arange(NUM_NOTES)
            velocities = np.clip(127 * loudness + generator.normal(0, 5, NUM_NOTES), 1, 127)
            write_midi(path, pitches, onsets, np.full(NUM_NOTES, interval * 0.9), velocities)
            noise = generator.normal(0, 0.03, len(PERCEPTS))
            rows.append(
                {
                    "audio": None,
                    "midi": str(path),
                    "score_midi": str(path),
                    "file_name": name,
                    "duplicate_group": name,
                    "passage": f"passage{passage:02d}",
                    "excerpt": f"excerpt{passage // 2:02d}",
                    "work": f"work{passage // 8}",
                    "player_id": str(player),
                    "speaker_id": str(player),
                    "percepts": np.clip(0.5 + 0.4 * (loudness - 0.6) + character + noise, 0, 1).tolist(),
                    "percept_stds": [0.1] * len(PERCEPTS),
                    "num_raters": 5,
                    "duration_seconds": float(onsets[-1] + interval),
                    "license": "CC0-1.0",
                }
            )
    return Dataset.from_list(rows)


def of_players(corpus: Dataset, *players: int) -> Dataset:
    """The performances of some players."""
    return corpus.filter(lambda row: int(row["player_id"]) in players)
