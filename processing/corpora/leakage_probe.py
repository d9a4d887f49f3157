"""A cheap probe for labels that leak: how well they are guessed from a file's outside, without listening."""

import io
import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import soundfile
from datasets import Dataset

from .schema import CorpusError, decode

_NUM_RESAMPLES = 1_000
_NUM_NEIGHBORS_OF_NUMBERS = 10  # the value of one neighbour alone would add its own scatter


@dataclass(frozen=True)
class LeakageProbe:
    """What one property of the files tells about a label.

    `score` is the accuracy of a nearest neighbour on the property alone, and `chance` that of the most frequent
    training label; for a column of floating-point numbers R2, and 0 for the training mean. `low` and `high` bound score
    minus chance (95 %, resampling groups; none of one group). `better_than_chance`: they lie above 0. Whether that is a
    leak or a trait of the task, as the length of a word is, is for people to judge.
    """

    property: str
    label: str
    measure: str
    score: float
    chance: float
    low: float | None
    high: float | None
    num_groups: int
    better_than_chance: bool

    def __str__(self) -> str:
        chance, interval = "the training mean 0 %", "no interval from one group"
        if self.measure == "accuracy":
            chance = f"majority {self.chance:.1%}"
        if self.low is not None:
            interval = f"{100 * self.low:+.1f} to {100 * self.high:+.1f} points over {self.num_groups} groups"
        scores = "explains" if self.measure == "r2" else "scores"
        verdict = ": BETTER THAN CHANCE" if self.better_than_chance else ""
        return (
            f"{self.label}: a nearest neighbour on {self.property} alone {scores} {self.score:.1%} "
            f"({chance}; {interval}){verdict}"
        )


def leakage_probe(
    train: Dataset,
    test: Dataset,
    *,
    label: str = "text",
    features: tuple[Mapping[str, Sequence], Mapping[str, Sequence]] | None = None,
    group_by: str = "speaker_id",
    seed: int = 0,
) -> list[LeakageProbe]:
    """Guess a label from each property of the files alone, by nearest neighbour in training.

    Args:
        train: What the guesses are learnt from.
        test: What is guessed.
        label: Column to guess: floating-point numbers by their mean over ten neighbours, anything else by the most
            frequent value among the nearest. Items without a label are left out.
        features: Properties of the training and of the test items: each name with (items,) numbers or strings, strings
            being compared by their place in the sorted list of the training items. `file_features` and
            `level_features` if None.
        group_by: Column whose groups are resampled for the interval; items are where it has nulls.
        seed: Of the resampling.

    Returns:
        One probe for each property; none where no test label occurs in training, so that nothing could be guessed.

    Raises:
        CorpusError: A side lacks the column `label`.
        AudioError: A recording cannot be decoded.
    """
    for side, dataset in (("train", train), ("test", test)):
        if label not in dataset.column_names:
            raise CorpusError(f"`label` is {label!r} but `{side}` has {', '.join(dataset.column_names)}.")
    if features is None:
        features = tuple(file_features(dataset) | level_features(dataset) for dataset in (train, test))
    train_labels, test_labels = train[label][:], test[label][:]
    kept, tested = (
        [index for index, value in enumerate(labels) if value is not None] for labels in (train_labels, test_labels)
    )
    numeric = train.features[label].dtype.startswith("float")
    known = {train_labels[index] for index in kept}
    guessable = tested if numeric else [index for index in tested if test_labels[index] in known]
    if not kept or not guessable:
        return []
    train_labels, test_labels = np.array(train_labels)[kept], np.array(test_labels)[tested]
    groups = test[group_by][:] if group_by in test.column_names else [None] * len(test)
    groups = [groups[index] for index in tested]
    groups = np.unique(groups if None not in groups else range(len(groups)), return_inverse=True)[1]
    probes = []
    for name in features[0]:
        values, test_values = _as_numbers([features[0][name][i] for i in kept], [features[1][name][i] for i in tested])
        score = _score_numbers if numeric else _score_labels
        wins, chance_wins, weights = score(values, train_labels, test_values, test_labels)
        probes.append(_judge(name, label, numeric, wins, chance_wins, weights, groups, seed))
    return probes


def file_features(dataset: Dataset) -> dict[str, list]:
    """What the outside of each file tells: its length, its name, its sampling rate and its container."""
    headers = [
        soundfile.info(io.BytesIO(audio["bytes"]) if audio["bytes"] is not None else audio["path"])
        for audio in dataset.select_columns("audio")["audio"]
    ]
    return {
        "file length": [header.frames / header.samplerate for header in headers],
        "file name": [str(name) for name in dataset["file_name"]],
        "sampling rate": [header.samplerate for header in headers],
        "container": [f"{header.format} {header.subtype} {header.channels}" for header in headers],
    }


def level_features(dataset: Dataset) -> dict[str, list]:
    """How loud each recording is; see `levels`."""
    decoded = (decode(row)[0] for row in dataset.select_columns(["audio", "file_name"]))
    peaks, means = zip(*map(levels, decoded))
    return {"peak level": list(peaks), "mean level": list(means)}


def levels(waveform: np.ndarray) -> tuple[float, float]:
    """Peak and root mean square of a waveform, (samples,), in dB of full scale; -120 for silence."""
    powers = (np.max(np.square(waveform), initial=0.0), np.mean(np.square(waveform, dtype=np.float64)))
    peak, mean = (10 * np.log10(float(power) + 1e-12) for power in powers)
    return peak, mean


def _as_numbers(values: Sequence, others: Sequence) -> tuple[np.ndarray, np.ndarray]:
    """Both as numbers; strings become places in the sorted list of `values`, those not in it halfway between two."""
    if isinstance(values[0], str):
        ordered = sorted(set(values), key=_natural_order)
        place = {name: index for index, name in enumerate(ordered)}
        values = [place[name] for name in values]
        others = [
            place[name] if name in place else bisect_left(ordered, _natural_order(name), key=_natural_order) - 0.5
            for name in others
        ]
    return np.array(values, dtype=np.float64), np.array(others, dtype=np.float64)


def _natural_order(name: str) -> list[str]:
    return [part.zfill(12) for part in re.split(r"(\d+)", name)]


def _score_labels(values: np.ndarray, labels: np.ndarray, test_values: np.ndarray, test_labels: np.ndarray):
    """Right guesses of the nearest neighbour, of the most frequent label, and ones; each (test items,)."""
    kinds, codes = np.unique(labels, return_inverse=True)
    guesses = []
    for value in test_values:
        distances = np.abs(values - value)
        nearest = codes[distances == distances.min()]
        guesses.append(kinds[np.bincount(nearest).argmax()])
    majority = kinds[np.bincount(codes).argmax()]
    return np.array(guesses) == test_labels, test_labels == majority, np.ones(len(test_labels))


def _score_numbers(values: np.ndarray, labels: np.ndarray, test_values: np.ndarray, test_labels: np.ndarray):
    """Squared errors saved against the training mean, zeros, and that mean's squared errors; each (test items,)."""
    neighbors = min(_NUM_NEIGHBORS_OF_NUMBERS, len(values))
    guesses = []
    for value in test_values:
        distances = np.abs(values - value)
        guesses.append(labels[distances <= np.partition(distances, neighbors - 1)[neighbors - 1]].mean())
    errors, chance_errors = (test_labels - np.array(guesses)) ** 2, (test_labels - labels.mean()) ** 2
    return chance_errors - errors, np.zeros(len(test_labels)), chance_errors


def _judge(name, label, numeric, wins, chance_wins, weights, groups, seed) -> LeakageProbe:
    """Ratios of sums over the test items, with the percentile interval of their difference over resampled groups."""
    total = max(weights.sum(), np.finfo(np.float64).tiny)
    num_groups = int(groups.max()) + 1
    low = high = None
    if num_groups > 1:
        gains = np.bincount(groups, weights=wins.astype(np.float64) - chance_wins)
        sizes = np.bincount(groups, weights=weights)
        drawn = np.random.default_rng(seed).integers(num_groups, size=(_NUM_RESAMPLES, num_groups))
        ratios = gains[drawn].sum(1) / np.maximum(sizes[drawn].sum(1), np.finfo(np.float64).tiny)
        low, high = np.quantile(ratios, [0.025, 0.975]).tolist()
    return LeakageProbe(
        property=name,
        label=label,
        measure="r2" if numeric else "accuracy",
        score=float(wins.sum() / total),
        chance=float(chance_wins.sum() / total),
        low=low,
        high=high,
        num_groups=num_groups,
        better_than_chance=low is not None and low > 0,
    )
