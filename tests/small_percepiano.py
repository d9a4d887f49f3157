"""A look-alike of PercePiano: some passages of two works, some players, and ratings that average to the labels."""

import csv
from pathlib import Path

import mido
import numpy as np

from antiphon.processing.corpora.percepiano import LABELS

NOTES = 30


def write_midi(path: Path, pitches: list[int], *, seconds: float = 0.1, velocity: int = 64, start: float = 0.5) -> None:
    """Write equal notes one after the other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = mido.MidiFile(ticks_per_beat=1000)  # at the default tempo: 2,000 ticks a second
    track = mido.MidiTrack()
    for index, pitch in enumerate(pitches):
        wait = start if index == 0 else 0
        track.append(mido.Message("note_on", note=pitch, velocity=velocity, time=round(2000 * wait)))
        track.append(mido.Message("note_off", note=pitch, time=round(2000 * seconds)))
    file.tracks.append(track)
    file.save(path)


def melody(seed: int, num_notes: int = NOTES) -> list[int]:
    return np.random.default_rng(seed).integers(40, 80, num_notes).tolist()


def music() -> dict[tuple[str, int, str], list[int]]:
    """Pitches by composition, bars and segment. The first two of D960_mv2 make up the one of 16 bars; 07 repeats 06."""
    pieces = {("Schubert_D960_mv2", 8, f"{number:02}"): melody(number) for number in range(1, 7)}
    pieces["Schubert_D960_mv2", 8, "07"] = melody(6)
    pieces["Schubert_D960_mv2", 16, "01"] = melody(1) + melody(2)
    return pieces | {(f"Beethoven_WoO80_var{number}", 8, str(number)): melody(10 + number) for number in range(1, 6)}


def write_percepiano(folder: Path, players: tuple[str, ...] = ("1", "2", "3", "4", "5", "Score")) -> Path:
    """Write the corpus: `metadata.csv`, MIDI files, scores and ratings. The Score of the last passage has no label.

    Segment 07 of D960_mv2 repeats 06; player 1's two files of them are one performance.
    """
    generator = np.random.default_rng(0)
    rows, ratings = [], []
    for (composition, bars, segment), pitches in music().items():
        stem = f"{composition}_{bars}bars"
        write_midi(folder / f"score_midi/{stem}_Score_{segment}.mid", pitches)
        for index, player in enumerate(players):
            name = f"{stem}_{player}_{segment}"
            seconds, velocity = 0.1 + 0.02 * index, 40 + 10 * index + (segment == "07" and player != "1")
            write_midi(folder / f"midi/{name}.mid", pitches, seconds=seconds, velocity=velocity)
            given = generator.integers(1, 8, (3, len(LABELS)))
            labelled = not (player == "Score" and composition.endswith("var5"))
            if labelled:
                ratings += [[user, name, *row] for user, row in enumerate(given)]
            rows.append(
                {
                    "file_name": f"midi/{name}.mid",
                    "composition": composition,
                    "n_bars": bars,
                    "player_id": player,
                    "is_human": player != "Score",
                    "segment_no": segment,
                    "score_midi": f"score_midi/{stem}_Score_{segment}.mid",
                    "labelled": labelled,
                    "n_notes": len(pitches),
                    "first_note_s": 0.5,
                    "last_note_off_s": round(0.5 + len(pitches) * seconds, 3),
                    **{label: mean if labelled else "" for label, mean in zip(LABELS, np.round(given.mean(0) / 7, 6))},
                    "license": "MIT",
                }
            )
    _write_csv(folder / "metadata.csv", list(rows[0]), [list(row.values()) for row in rows])
    (folder / "labels").mkdir()
    _write_csv(folder / "labels" / "total_2rounds.csv", ["user", "filename", *LABELS], ratings)
    return folder


def _write_csv(path: Path, header: list[str], rows: list[list]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
