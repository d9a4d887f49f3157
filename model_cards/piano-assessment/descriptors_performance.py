"""Hand-crafted descriptors of a performance: what a musician would count in the MIDI, alone and against its score."""

import numpy as np

from .audio_midi import PEDAL_DOWN, SOFT_PEDAL, SOSTENUTO_PEDAL, SUSTAIN_PEDAL, Performance
from .midi_alignment import Alignment, align, chords

QUANTILES = {"low": 0.1, "median": 0.5, "high": 0.9}
DYNAMIC_WINDOWS = 8  # a passage of eight bars has about one of them a bar
TEMPO_WINDOWS = 16
GRID = 200  # moments at which polyphony is counted
SHORTEST_SECONDS = 0.01  # keeps logarithms of durations finite
MAX_OVERLAP = 4.0
MAX_LOG_TEMPO = 1.5
MAX_ASYNCHRONY_SECONDS = 0.5
MIN_MATCHES = 8


def performance_descriptors(performance: Performance) -> dict[str, float]:
    """Describes dynamics, rhythm, articulation, voicing and pedalling from the notes alone.

    Durations and tempi are natural logarithms of seconds, velocities 1 to 127, pedal shares 0 to 1.
    """
    onsets = performance.onsets - performance.onsets[0]
    offsets = performance.offsets - performance.onsets[0]
    total = max(offsets.max(), SHORTEST_SECONDS)
    chord = chords(onsets)
    first, last = (
        np.searchsorted(chord, np.arange(chord[-1] + 1)),
        np.searchsorted(chord, np.arange(chord[-1] + 1), "right"),
    )
    chord_onsets = np.add.reduceat(onsets, first) / (last - first)
    following = np.append(chord_onsets[1:], total)[chord]
    intervals = np.diff(chord_onsets) if len(chord_onsets) > 1 else np.array([total])
    return {
        "log_duration": np.log(total),
        "log_note_rate": np.log(len(onsets) / total),
        "notes_per_chord": len(onsets) / len(chord_onsets),
        **_distribution("pitch", performance.pitches),
        **_distribution("log_key_seconds", np.log(offsets - onsets + SHORTEST_SECONDS)),
        **_distribution("log_interval", np.log(intervals + SHORTEST_SECONDS)),
        "interval_change": _mean_change(np.log(intervals + 2 * SHORTEST_SECONDS)),
        "chord_spread": np.mean(onsets[last - 1] - onsets[first]),
        **_distribution(
            "articulation", np.clip((offsets - onsets) / np.maximum(following - onsets, 0.03), 0, MAX_OVERLAP)
        ),
        "overlap_share": np.mean(offsets > following),
        **_dynamics(performance, onsets / total),
        **_voicing(performance, chord, np.lexsort((performance.pitches, chord))[last - 1]),
        **_pedalling(performance, onsets, offsets, total),
    }


def alignment_descriptors(performance: Performance, score: Performance) -> dict[str, float]:
    """Describes tempo, timing, articulation and dynamics against the score; empty where too little of it is found."""
    path = align(performance, score)
    if path is None or len(path.score_notes) < MIN_MATCHES or np.ptp(path.played_times) <= 0:
        return {}
    played, written = path.played_notes, path.score_notes
    score_seconds = score.offsets[written] - score.onsets[written]
    key_seconds = performance.offsets[played] - performance.onsets[played]
    log_articulation = np.log((key_seconds + 2 * SHORTEST_SECONDS) / (score_seconds + 2 * SHORTEST_SECONDS))
    log_tempo = np.log(np.ptp(path.score_times) / np.ptp(path.played_times))
    late = performance.onsets[played] - path.played_at(score.onsets[written])
    late = late[np.abs(late) < MAX_ASYNCHRONY_SECONDS]
    louder = performance.velocities[played] - score.velocities[written].astype(float)
    return {
        "matched_share": len(written) / max(len(performance), len(score)),
        "log_tempo": log_tempo,
        **_tempo_shape(path),
        "asynchrony": np.abs(late).mean() if len(late) else 0.0,
        "score_articulation": log_articulation.mean(),
        "score_articulation_deviation": log_articulation.std(),
        "beat_articulation": log_articulation.mean() + log_tempo,
        "score_loudness": louder.mean(),
        "score_dynamics_correlation": _correlation(score.velocities[written], performance.velocities[played]),
    }


def _distribution(name: str, values: np.ndarray) -> dict[str, float]:
    quantiles = np.quantile(values, list(QUANTILES.values()))
    spread = {f"{name}_mean": np.mean(values), f"{name}_deviation": np.std(values)}
    return spread | {f"{name}_{quantile}": value for quantile, value in zip(QUANTILES, quantiles)}


def _dynamics(performance: Performance, times: np.ndarray) -> dict[str, float]:
    """`times` run from 0 to 1."""
    velocities = performance.velocities.astype(float)
    window = np.minimum((times * DYNAMIC_WINDOWS).astype(int), DYNAMIC_WINDOWS - 1)
    counts = np.bincount(window, minlength=DYNAMIC_WINDOWS)
    contour = np.bincount(window, velocities, DYNAMIC_WINDOWS)[counts > 0] / counts[counts > 0]
    spread = np.var(times)
    slope = np.mean((times - times.mean()) * velocities) / spread if spread > 0 else 0.0
    return {
        **_distribution("velocity", velocities),
        "velocity_slope": slope,
        "velocity_change": _mean_change(velocities),
        "velocity_contour": contour.std(),
    }


def _voicing(performance: Performance, chord: np.ndarray, top: np.ndarray) -> dict[str, float]:
    """`top` are the highest notes of each chord."""
    velocities, pitches = performance.velocities.astype(float), performance.pitches
    below = np.ones(len(chord), dtype=bool)
    below[top] = False
    high = pitches >= np.median(pitches)
    mean = velocities.mean()
    return {
        "melody_loudness": velocities[top].mean() - (velocities[below].mean() if below.any() else mean),
        "melody_deviation": velocities[top].std(),
        "treble_loudness": velocities[high].mean() - (velocities[~high].mean() if (~high).any() else mean),
    }


def _pedalling(performance: Performance, onsets: np.ndarray, offsets: np.ndarray, total: float) -> dict[str, float]:
    start = performance.onsets[0]
    grid = np.linspace(0, total, GRID)
    sustain = performance.pedal_value(SUSTAIN_PEDAL, start + grid)
    down = sustain >= PEDAL_DOWN
    ends = performance.sounding_offsets() - start
    sounding = (onsets <= grid[:, None]) & (ends > grid[:, None])
    held = (onsets <= grid[:, None]) & (offsets > grid[:, None])
    _, values = performance.pedals.get(SUSTAIN_PEDAL, (np.zeros(0), np.zeros(0)))
    presses = np.sum(np.diff(values >= PEDAL_DOWN, prepend=False) & (values >= PEDAL_DOWN))
    return {
        "pedal_share": down.mean(),
        "pedal_depth": sustain.mean() / 127,
        "pedal_rate": presses / total,
        "soft_pedal_share": np.mean(performance.pedal_value(SOFT_PEDAL, start + grid) >= PEDAL_DOWN),
        "sostenuto_share": np.mean(performance.pedal_value(SOSTENUTO_PEDAL, start + grid) >= PEDAL_DOWN),
        "pedal_lengthening": np.log(((ends - onsets).sum() + 0.1) / ((offsets - onsets).sum() + 0.1)),
        "held_polyphony": held.sum(1).mean(),
        "sounding_polyphony": sounding.sum(1).mean(),
    }


def _tempo_shape(path: Alignment) -> dict[str, float]:
    """How the tempo deviates from its mean over the passage: spread, trend, arch, unrest, and slowing at the end."""
    edges = np.linspace(path.score_times[0], path.score_times[-1], TEMPO_WINDOWS + 1)
    seconds = np.maximum(np.diff(path.played_at(edges)), 0.05)
    log_tempo = np.log((edges[1] - edges[0]) / seconds)
    shape = np.clip(log_tempo - log_tempo.mean(), -MAX_LOG_TEMPO, MAX_LOG_TEMPO)
    places = np.linspace(-1, 1, TEMPO_WINDOWS)
    arch, trend, _ = np.polyfit(places, shape, 2)
    return {
        "tempo_deviation": shape.std(),
        "tempo_trend": trend,
        "tempo_arch": arch,
        "tempo_change": _mean_change(shape),
        "tempo_at_end": shape[-2:].mean(),
    }


def _mean_change(values: np.ndarray) -> float:
    return float(np.abs(np.diff(values)).mean()) if len(values) > 1 else 0.0


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    if np.std(first) == 0 or np.std(second) == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])
