"""Piano pieces that a generator invents and performs: to learn hearing from, for tests, and to try things out.

No score or performance of a person is in them: harmonies, figures and melodies are drawn at random, and so is the
manner of each performance, which is known exactly.
"""

from dataclasses import asdict, dataclass

import numpy as np

from ..audio_midi import PEDAL_DOWN, SUSTAIN_PEDAL, Performance

SCALE = (0, 2, 4, 5, 7, 9, 11)
FIGURES = ("chords", "arpeggio", "alberti", "octaves")
BEATS_PER_BAR = 4
LOWEST_KEY, HIGHEST_KEY = 21, 108


@dataclass(frozen=True)
class Manner:
    """How a piece is performed.

    Args:
        beats_per_minute: Mean tempo.
        rubato: Deviation of the logarithm of the tempo over a phrase.
        unevenness: Deviation of onsets, in seconds.
        loudness: Mean velocity.
        dynamic_range: Deviation of velocities over a phrase.
        melody: How much louder the melody is than what accompanies it.
        articulation: Length of a key stroke as a share of the written one; above 1 notes overlap.
        pedal: Share of each bar for which the sustain pedal is down; 0 for none.
    """

    beats_per_minute: float
    rubato: float
    unevenness: float
    loudness: float
    dynamic_range: float
    melody: float
    articulation: float
    pedal: float


def draw_manner(generator: np.random.Generator) -> Manner:
    """Draws a manner from the range of plausible playing."""
    return Manner(
        beats_per_minute=float(np.exp(generator.uniform(np.log(50), np.log(160)))),
        rubato=float(generator.uniform(0, 0.2)),
        unevenness=float(generator.uniform(0, 0.03)),
        loudness=float(generator.uniform(30, 90)),
        dynamic_range=float(generator.uniform(1, 15)),
        melody=float(generator.uniform(-5, 20)),
        articulation=float(generator.uniform(0.25, 1.2)),
        pedal=float(generator.choice([0.0, generator.uniform(0.3, 0.98)], p=[0.3, 0.7])),
    )


def compose(generator: np.random.Generator, num_bars: int = 4) -> Performance:
    """Invents a piece and returns it as its score: one quarter a half second, all keys alike, no pedal."""
    tonic, minor = int(generator.integers(36, 48)), int(generator.integers(2))
    figure = str(generator.choice(FIGURES))
    register = int(generator.choice([0, 12, 24]))
    degree, notes = int(generator.integers(7)), []
    for bar in range(num_bars):
        root = int(generator.choice([0, 3, 4, 5, 1]))
        notes += [
            (bar * BEATS_PER_BAR + beat, length, tonic + _pitch(root + step, minor))
            for beat, length, step in _accompany(figure, generator)
        ]
        beat = 0.0
        while beat < BEATS_PER_BAR:
            length = float(generator.choice([0.5, 1.0, 1.0, 2.0]))
            degree = int(np.clip(degree + generator.integers(-3, 4), 0, 13))
            melody = tonic + 12 + register + _pitch(degree, minor)
            notes.append((bar * BEATS_PER_BAR + beat, min(length, BEATS_PER_BAR - beat), melody))
            beat += length
    onsets, lengths, pitches = np.array(sorted(notes, key=lambda note: (note[0], note[2]))).T
    pitches = np.clip(pitches, LOWEST_KEY, HIGHEST_KEY).astype(int)
    return Performance(onsets / 2, (onsets + lengths) / 2, pitches, np.full(len(pitches), 64))


def perform(score: Performance, manner: Manner, generator: np.random.Generator) -> Performance:
    """Plays a score in a manner; what the manner leaves open is drawn."""
    beats, ends = 2 * score.onsets, 2 * score.offsets
    last_beat = float(ends.max())
    grid = np.linspace(0, last_beat, 64)
    log_tempo = manner.rubato * _phrase(grid, generator)
    seconds = np.concatenate([[0], np.cumsum(np.exp(-log_tempo[:-1]) * np.diff(grid))]) * 60 / manner.beats_per_minute
    onsets = np.interp(beats, grid, seconds)
    written = np.interp(ends, grid, seconds) - onsets
    onsets = np.maximum(onsets + generator.normal(0, manner.unevenness, len(onsets)), 0)
    highest = np.array([score.pitches[beats == beat].max() for beat in beats])
    velocities = manner.loudness + manner.dynamic_range * _phrase(beats, generator)
    velocities = velocities + manner.melody * (score.pitches == highest) + generator.normal(0, 3, len(beats))
    velocities = np.clip(velocities, 1, 127).round().astype(int)
    offsets = onsets + np.maximum(written * manner.articulation, 0.03)
    order = np.lexsort((score.pitches, onsets))
    bars = np.arange(0, last_beat, BEATS_PER_BAR)
    pedal = _pedal(np.interp(bars, grid, seconds), float(seconds[-1]), manner.pedal) if manner.pedal else {}
    return Performance(onsets[order], offsets[order], score.pitches[order], velocities[order], pedal)


def synthetic_performance(seed: int, num_bars: int = 4) -> tuple[Performance, Performance, dict[str, float]]:
    """Invents a piece and plays it: the performance, its score, and the manner by name."""
    generator = np.random.default_rng(seed)
    score = compose(generator, num_bars)
    manner = draw_manner(generator)
    return perform(score, manner, generator), score, asdict(manner)


def _pitch(degree: int, minor: int) -> int:
    """Semitones of a degree of the scale; the minor scale begins on the sixth degree of the major one."""
    shifted = degree + 5 * minor
    return 12 * (shifted // 7) + SCALE[shifted % 7] - 9 * minor


def _accompany(figure: str, generator: np.random.Generator) -> list[tuple[float, float, int]]:
    """One bar of (beat, length, degree above the root)."""
    if figure == "chords":
        beats = [0, 2] if generator.random() < 0.5 else [0, 1, 2, 3]
        return [(beat, 4 / len(beats), step) for beat in beats for step in (0, 2, 4)]
    if figure == "octaves":
        return [(beat, 1.0, step) for beat in range(4) for step in (-7, 0)]
    steps = (0, 2, 4, 7, 9, 7, 4, 2) if figure == "arpeggio" else (0, 4, 2, 4, 0, 4, 2, 4)
    return [(index / 2, 0.5, step) for index, step in enumerate(steps)]


def _phrase(beats: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A smooth curve over the piece, of deviation near 1."""
    curve = np.zeros(len(beats))
    for cycles in (0.5, 1.0, 2.0):
        curve += generator.normal() * np.sin(2 * np.pi * (cycles * beats / max(beats.max(), 1) + generator.random()))
    return curve / np.sqrt(1.5)


def _pedal(starts: np.ndarray, end: float, share: float) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Down at each bar, up again after a share of it."""
    lengths = np.diff(np.append(starts, end))
    times = np.stack([starts + 0.02, starts + 0.02 + share * np.maximum(lengths - 0.04, 0.02)], axis=1).flatten()
    return {SUSTAIN_PEDAL: (times, np.tile([PEDAL_DOWN + 63, 0], len(starts)))}
