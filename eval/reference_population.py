"""The performances that a checkpoint learned from, as a population to compare another performance with.

A checkpoint ships it as `reference_population.json`. It holds performances by people: what a computer plays from the
score is left out, and a performance that occurs twice in a passage counts once.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from antiphon.eval.result_rows import write_atomically
from antiphon.processing import PianoFeatureExtractor
from antiphon.processing.audio_midi import Performance, read_midi
from antiphon.processing.feature_extraction_piano import score_fingerprint
from antiphon.processing.midi_alignment import chords
from antiphon.processing.percepts import PERCEPTS

FILE_NAME = "reference_population.json"
# What words can say of a performance; `piano_explanations` has the words.
DESCRIPTORS = (
    *("performance.velocity_mean", "performance.velocity_deviation", "performance.velocity_contour"),
    *("performance.melody_loudness", "performance.log_duration", "performance.articulation_median"),
    *("performance.chord_spread", "performance.pedal_share", "performance.pedal_rate", "performance.soft_pedal_share"),
    *("alignment.tempo_deviation", "alignment.tempo_at_end", "alignment.asynchrony"),
    *("audio.loudness_median", "audio.loudness_range", "audio.brightness_mean", "audio.attack_rate"),
)
QUANTILES = 101  # of the whole population, which is too large to keep value by value
PRECISION = 4  # significant digits
RUN_NOTES = 4
# PercePiano's performances share at least a third of such runs with their own score in 99 of 100 cases.
MIN_SHARED_RUNS = 0.33
MAX_LENGTH_RATIO = 1.25  # a cut of 8 bars is not the one of 16 that it lies in


@dataclass(frozen=True)
class Reference:
    """The performances that one is compared with.

    Args:
        passage: Names of the passage; None where it is unknown, and these are all performances.
        values: By descriptor, or "percept.<name>", sorted values, or quantiles in place of them.
        counts: Likewise, of how many performances they are.
    """

    passage: str | None
    values: Mapping[str, np.ndarray]
    counts: Mapping[str, int]

    def shares(self, name: str, value: float) -> tuple[float, float]:
        """Which share of the performances lies below a value, and which above it."""
        # As the values are: else one of the population would lie beside itself.
        values, value = self.values[name], _rounded(value)
        below = np.searchsorted(values, value, side="left") / len(values)
        above = 1 - np.searchsorted(values, value, side="right") / len(values)
        return float(below), float(above)

    def quantile(self, name: str, share: float) -> float:
        """The value below which a share of the performances lies."""
        return float(np.quantile(self.values[name], share))


def build_population(
    rows: Iterable[Mapping], extractor: PianoFeatureExtractor, features: Sequence[Mapping[str, torch.Tensor]]
) -> dict:
    """Collects the population of a corpus.

    Args:
        rows: With the columns score_midi, passage, is_human, and percepts of `load_percepiano`.
        extractor: That made the features; it names their descriptors.
        features: Of each row, `descriptors` (descriptors,), NaN = missing.

    Returns:
        What `write_population` writes: `all` with quantiles, and `passages` by the fingerprint of their score, each
        with its names, its pitches and its values. Passages with equal notes are one.
    """
    places = {name: place for place, name in enumerate(extractor.descriptor_names)}
    passages: dict[str, dict] = {}
    scores: dict[str, Performance] = {}
    for row, item in zip(rows, features):
        if not row["is_human"]:
            continue
        path = row["score_midi"]
        scores[path] = scores.get(path) or read_midi(path)
        passage = passages.setdefault(
            score_fingerprint(scores[path]),
            {"names": set(), "pitches": reading_order(scores[path]), "performances": {}},
        )
        passage["names"].add(row["passage"])
        descriptors = item["descriptors"].tolist()
        described = {name: descriptors[places[name]] for name in DESCRIPTORS}
        judged = {f"percept.{name}": value for name, value in zip(PERCEPTS, row["percepts"])}
        # Files with equal descriptors hold one performance under several names.
        passage["performances"].setdefault(repr(described), described | judged)
    everyone = [played for passage in passages.values() for played in passage["performances"].values()]
    return {
        "all": _summarise(everyone, QUANTILES),
        "passages": {
            key: {
                "names": sorted(passage["names"]),
                "pitches": passage["pitches"],
                **_summarise(list(passage["performances"].values())),
            }
            for key, passage in passages.items()
        },
    }


def write_population(population: dict, folder: str | Path) -> Path:
    """Writes a population beside the weights of a checkpoint."""
    path = Path(folder) / FILE_NAME
    content = json.dumps(population, separators=(",", ":")).encode()
    write_atomically(path, lambda file: file.write(content))
    return path


def read_population(folder: str | Path) -> dict | None:
    """Reads the population of a checkpoint; None where it ships none.

    Raises:
        ValueError: if the file is no population.
    """
    path = Path(folder) / FILE_NAME
    if not path.is_file():
        return None
    population = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(population, dict) or {"all", "passages"} - set(population):
        raise ValueError(f"{path} has no `all` and `passages`; expected what `write_population` writes: train again.")
    return population


def find_reference(
    population: dict, score: Performance | None = None, performance: Performance | None = None
) -> Reference:
    """Finds the performances of the same passage, or takes all where the passage is unknown.

    Args:
        score: By whose notes the passage is known at once; it must be that of the performance.
        performance: By whose notes, where no score is known, the passage is found that shares most runs with it.
    """
    passages = population["passages"]
    known = passages.get(score_fingerprint(score)) if score is not None else None
    notes = performance if performance is not None else score
    if known is None and notes is not None:
        pitches = reading_order(notes)
        alike = {key: shared_runs(pitches, passage["pitches"]) for key, passage in passages.items()}
        nearest = max(alike, key=alike.get, default=None)
        if nearest is not None and alike[nearest] >= MIN_SHARED_RUNS:
            known = passages[nearest]
    chosen = population["all"] if known is None else known
    return Reference(
        passage=None if known is None else ", ".join(known["names"]),
        values={name: np.array(values) for name, values in chosen["values"].items()},
        counts=chosen["counts"],
    )


def is_same_passage(first: Performance, second: Performance) -> bool:
    """Whether two performances play the same notes, but for slips."""
    return shared_runs(reading_order(first), reading_order(second)) >= MIN_SHARED_RUNS


def reading_order(performance: Performance) -> list[int]:
    """Pitches from left to right, those of a chord from the lowest up."""
    return performance.pitches[np.lexsort((performance.pitches, chords(performance.onsets)))].tolist()


def shared_runs(first: Sequence[int], second: Sequence[int]) -> float:
    """Share of their runs of `RUN_NOTES` notes that two sequences of pitches have in common, from 0 to 1.

    Those of very different length share nothing.

    Source: Dice 1945, "Measures of the Amount of Ecologic Association Between Species", on counted runs.
    """
    shorter, longer = sorted((len(first), len(second)))
    if shorter < RUN_NOTES or longer > MAX_LENGTH_RATIO * shorter:
        return 0.0
    runs, others = (Counter(zip(*(pitches[start:] for start in range(RUN_NOTES)))) for pitches in (first, second))
    return 2 * (runs & others).total() / (runs.total() + others.total())


def _summarise(performances: list[dict[str, float]], num_quantiles: int | None = None) -> dict:
    """By name, how many performances have a value, and their values, sorted, or that many quantiles of them."""
    values, counts = {}, {}
    for name in performances[0] if performances else ():
        known = np.array([played[name] for played in performances])
        known = np.sort(known[np.isfinite(known)])
        if len(known) == 0:
            continue
        counts[name] = len(known)
        kept = known if num_quantiles is None else np.quantile(known, np.linspace(0, 1, num_quantiles))
        values[name] = [_rounded(value) for value in kept]
    return {"counts": counts, "values": values}


def _rounded(value: float) -> float:
    return float(f"{value:.{PRECISION}g}")
