"""Baselines: what a system must beat before its number means anything.

A benchmark names its baselines by their keys in `BASELINES`; that gives each its kind and its line in tables. Those of
the kind `NO_INPUT` do not listen, read or change anything; those of the kind `SIMPLE` use the input in a plain way.
An `UPPER_BOUND` is given what no system is, to show what could be reached at all; nobody need beat it. A `PEER` is a
published system, measured on the same items.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import cdist

from antiphon.eval.statistics import Interval, PermutationTest, evidence_against

NO_INPUT, SIMPLE, UPPER_BOUND, PEER = "no_input", "simple", "upper_bound", "peer"
EMPTY_TRANSCRIPT = ""


@dataclass(frozen=True)
class Baseline:
    """What is said about a baseline.

    Args:
        kind: `NO_INPUT`, `SIMPLE`, `UPPER_BOUND` or `PEER`.
        description: one line that continues "a baseline that"; `{answers}` stands for the answers that it gave.
    """

    kind: str
    description: str

    def describe(self, answers: Iterable[str] = ()) -> str:
        """Return the description; `answers` are the distinct answers that the baseline gave."""
        return self.description.format(answers=", ".join(f'"{answer}"' for answer in sorted(answers)))


BASELINES = {
    "best_constant_transcript": Baseline(
        NO_INPUT, "hears nothing and always answers {answers}, the constant with the lowest WER in training"
    ),
    "empty_transcript": Baseline(NO_INPUT, "hears nothing and answers nothing"),
    "global_mean": Baseline(NO_INPUT, "always answers the mean of training"),
    "group_mean": Baseline(NO_INPUT, "answers the mean that the group has in training"),
    "passage_mean": Baseline(NO_INPUT, "answers the mean of the same passage in training, the mean of all if unknown"),
    "performer_mean": Baseline(NO_INPUT, "answers the mean of the same player in training, the mean of all if unknown"),
    "passage_plus_performer": Baseline(NO_INPUT, "adds up what passage and player deviate from the mean in training"),
    "majority_label": Baseline(NO_INPUT, "always answers the most frequent label of training"),
    "silence": Baseline(NO_INPUT, "answers silence of the same length"),
    "unchanged_input": Baseline(NO_INPUT, "returns its input unchanged"),
    "passage_mean_residual_trees": Baseline(
        SIMPLE,
        "adds to the mean of the passage what trees make of how hand-crafted features deviate from it",
    ),
    "ridge": Baseline(SIMPLE, "is a ridge regression of hand-crafted features"),
    "random_forest": Baseline(SIMPLE, "is a random forest of hand-crafted features"),
    "gradient_boosting": Baseline(SIMPLE, "boosts trees of hand-crafted features"),
    "nearest_template": Baseline(SIMPLE, "answers the transcript of the training recording that sounds most alike"),
    "world_pitch_shift": Baseline(SIMPLE, "moves the pitch to the reference's median and keeps the spectrum (WORLD)"),
    "world_pitch_and_envelope": Baseline(
        SIMPLE, "moves pitch and mean spectrum to those of the reference and keeps all else (WORLD)"
    ),
    "nearest_neighbours": Baseline(
        SIMPLE, "puts together those moments of the reference whose content is nearest (kNN, with our content features)"
    ),
    "griffin_lim": Baseline(SIMPLE, "is the same converter with Griffin-Lim in place of its vocoder"),
    "without_finetuning": Baseline(SIMPLE, "is the same converter as it was before it was fitted to the reference"),
    "griffin_lim_32": Baseline(SIMPLE, "searches for phases in 32 rounds of Griffin-Lim, from the same features"),
    "white_noise": Baseline(NO_INPUT, "answers white noise of the same length"),
    "target_copy_synthesis": Baseline(
        UPPER_BOUND, "lets the target speak: another recording of that voice, through the vocoder"
    ),
    "target_recording": Baseline(UPPER_BOUND, "lets the target speak: another recording of that voice"),
    "constant_score": Baseline(NO_INPUT, "hears nothing and gives every pair of recordings the same score"),
    "mfcc_statistics": Baseline(SIMPLE, "compares means and deviations of mel-frequency cepstra"),
    "resemblyzer": Baseline(PEER, "is Resemblyzer's encoder, trained by others on thousands of speakers"),
}


def strongest_baseline(row: Mapping, kind: str | None = None) -> str | None:
    """Return the name of a row's best baseline by the metric that decides; None where it has none.

    Args:
        row: a result row, or its measured part.
        kind: consider only these; a baseline without a kind, as in rows of older versions, has `NO_INPUT`.
    """
    metric = row.get("primary_metric") or next(iter(row["metrics"]))
    sign = -1 if row["metrics"][metric]["higher_is_better"] else 1
    values = {
        name: sign * entry["metrics"][metric]["value"]
        for name, entry in row["baselines"].items()
        if kind in (None, entry.get("kind", NO_INPUT))
    }
    return min(values, key=values.get) if values else None


def simple_baseline_claims(
    entry: Mapping, difference: Interval, test: PermutationTest, group_name: str = "speaker", *, higher_is_better: bool
) -> list[str]:
    """Say in plain words when a simple baseline is not beaten; empty when it is.

    Args:
        entry: of the baseline in a result row, with `beaten` and `description`.
        difference: of system minus baseline.
        test: on the same items.
        group_name: what was resampled and exchanged as a whole.
    """
    if entry["beaten"]:
        return []
    if entry["beaten"] is None:
        groups = f"{test.num_groups} {group_name}{'' if test.num_groups == 1 else 's'}"
        return [
            f"cannot tell from {groups} whether this is better than a baseline that {entry['description']}: "
            f"no p below {test.smallest_p_value:.2g} is attainable"
        ]
    evidence = evidence_against(difference, test, group_name, higher_is_better=higher_is_better)
    return [f"not better than a baseline that {entry['description']}{evidence}"]


def global_mean(train_values: Sequence[float], num_test: int) -> np.ndarray:
    """Answer the mean of training, (num_test,)."""
    return np.full(num_test, np.mean(_not_empty(train_values, "train_values"), dtype=np.float64))


def group_mean(
    train_values: Sequence[float], train_groups: Sequence[Hashable], test_groups: Sequence[Hashable]
) -> np.ndarray:
    """Answer the mean that an item's group has in training, the global one for a group that training lacks.

    Args:
        train_values: (train items,).
        train_groups: (train items,) such as speakers, pieces or labels.
        test_groups: (items,).

    Returns:
        (items,).
    """
    train_values = np.asarray(_not_empty(train_values, "train_values"), dtype=np.float64)
    if len(train_values) != len(train_groups):
        raise ValueError(
            f"`train_groups` has {len(train_groups)} labels for {len(train_values)} values; expected one for each."
        )
    values_of: dict[Hashable, list[float]] = {}
    for value, group in zip(train_values, train_groups):
        values_of.setdefault(group, []).append(value)
    means = {group: np.mean(values) for group, values in values_of.items()}
    overall = train_values.mean()
    return np.array([means.get(group, overall) for group in test_groups], dtype=np.float64)


def majority_label(train_labels: Sequence[str], num_test: int) -> list[str]:
    """Answer the most frequent label of training `num_test` times; among equals the first in the alphabet."""
    counts = Counter(_not_empty(train_labels, "train_labels"))
    return [min(counts, key=lambda label: (-counts[label], label))] * num_test


def unchanged_input(inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the inputs, each (samples,), as they are: what a converter or enhancer must improve upon."""
    return list(inputs)


def silence(inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return zeros as long as each input, (samples,)."""
    return [np.zeros_like(waveform) for waveform in inputs]


def _not_empty(values: Sequence, argument: str) -> Sequence:
    if len(values) == 0:
        raise ValueError(f"`{argument}` is empty; a baseline learns its answer from training items, pass some.")
    return values


def best_constant_transcript(train_texts: Iterable[str], *, chunk_size: int = 256) -> str:
    """Find the one transcript that, given as the answer to everything, has the lowest WER on the training split.

    Candidates are the training transcripts and the empty one; among equals the more frequent, then the alphabetically
    first wins. The test split is never looked at. The search is exact: it stops early only where lengths alone
    rule out the remaining candidates.

    Args:
        train_texts: transcripts of the training split, normalised; none at all yields the empty transcript.
        chunk_size: candidates compared at once; bounds memory.

    Returns:
        The transcript.
    """
    counts = Counter(" ".join(text.split()) for text in train_texts)
    texts = sorted(counts, key=lambda text: (-counts[text], text))
    candidates = [*texts, *([] if EMPTY_TRANSCRIPT in counts else [EMPTY_TRANSCRIPT])]
    if not texts:
        return EMPTY_TRANSCRIPT
    encoded = _one_symbol_per_word(candidates)
    weights = np.array([counts[text] for text in texts])
    lengths = np.array([len(words) for words in encoded])

    # An edit distance is at least the difference in length.
    bounds = np.array([np.abs(length - lengths[: len(texts)]) @ weights for length in lengths])
    order = np.argsort(bounds, kind="stable")
    best, fewest_errors = len(candidates), np.inf
    for start in range(0, len(order), chunk_size):
        chunk = order[start : start + chunk_size]
        if bounds[chunk[0]] > fewest_errors:
            break
        distances = cdist(
            [encoded[i] for i in chunk], encoded[: len(texts)], scorer=Levenshtein.distance, dtype=np.int32
        )
        for candidate, errors in zip(chunk, distances @ weights):
            if (errors, candidate) < (fewest_errors, best):
                best, fewest_errors = candidate, errors
    return candidates[best]


def _one_symbol_per_word(texts: list[str]) -> list[str]:
    """Write each word as one private character, so that a fast string distance counts words."""
    first = 0x10000  # above the surrogates, which no string may hold; a million words fit
    symbols: dict[str, str] = {}
    return ["".join(symbols.setdefault(word, chr(first + len(symbols))) for word in text.split()) for text in texts]
