"""Where an assessment errs: by work, percept, how far annotators disagree, and how many notes there are to hear."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from antiphon.eval.assessment_items import assess, percept_columns
from antiphon.eval.percept_statistics import percept_statistics
from antiphon.eval.performance_tensors import interval_values
from antiphon.eval.statistics import bootstrap_mean
from antiphon.processing.audio_midi import read_midi
from antiphon.processing.percepts import PERCEPTS

NUM_PARTS = 3  # thirds of the items, from least to most


def count_notes(midi: Sequence[str]) -> np.ndarray:
    """(items,) numbers of notes of MIDI files."""
    return np.array([len(read_midi(path)) for path in midi])


def analyse_errors(items: pd.DataFrame, num_notes: Sequence[int], *, seed: int = 0) -> dict[str, dict[str, dict]]:
    """Break the squared error down, with intervals over excerpts.

    Args:
        items: An item table of one training, with its scores.
        num_notes: (items,).
        seed: Of resampling.

    Returns:
        `works`, `deviations` and `notes`: by name of the part its `n`, `r2` (its share of the whole: against the
        variance of all labels), `squared_error` and, where annotators' ratings are known, `label_noise`, the part of it
        that no answer can avoid; `percepts`: by percept `r2`, `squared_error`, and `ceiling`; `correlations`: of an
        item's squared error with annotators' deviation, number of notes and duration (Spearman).
    """
    deviations = percept_columns(items, "deviation").mean(axis=1)
    notes = pd.Series(np.asarray(num_notes), index=items.index)
    duration = items["duration_seconds"]
    return {
        "works": _by_part(items, items["work"].astype("category"), seed),
        "deviations": _by_part(items, _parts(deviations, 7, "{:.2f} to {:.2f} points"), seed),
        "notes": _by_part(items, _parts(notes, 1, "{:.0f} to {:.0f} notes"), seed),
        "percepts": _by_percept(items, seed),
        "correlations": {
            name: float(values.rank().corr(items["squared_error"].rank()))
            for name, values in {"deviation": deviations, "notes": notes, "duration": duration}.items()
        },
    }


def _parts(values: pd.Series, scale: float, words: str) -> pd.Series:
    """The third that each item is in, named by its ends times `scale`, in order."""
    numbers = pd.qcut(values.rank(method="first"), NUM_PARTS, labels=False)
    ends = values.groupby(numbers).agg(["min", "max"]).to_numpy() * scale
    names = [words.format(*row) for row in ends]
    if len(set(names)) < len(names):
        names = [f"part {number + 1}: {name}" for number, name in enumerate(names)]
    return pd.Series(pd.Categorical.from_codes(numbers, names, ordered=True), index=values.index)


def _by_part(items: pd.DataFrame, parts: pd.Series, seed: int) -> dict[str, dict]:
    noise = percept_columns(items, "noise").mean(axis=1)
    result = {}
    for part in parts.cat.categories:
        own = items[parts == part]
        result[part] = {
            "n": len(own),
            "r2": interval_values(bootstrap_mean(own["r2_score"], own["excerpt"], seed=seed)),
            "squared_error": interval_values(
                bootstrap_mean(own["squared_error"], own["excerpt"], possible_range=(0.0, np.inf), seed=seed)
            ),
            "label_noise": float(noise[own.index].mean()),
        }
    return result


def _by_percept(items: pd.DataFrame, seed: int) -> dict[str, dict]:
    assessment, distinct = assess(items)
    measured = percept_statistics(assessment, distinct["excerpt"], seed=seed)
    names = {"r2": "r2", "squared_error": "mse", "ceiling": "ceiling", "pearson": "pearson"}
    return {
        percept: {name: measured[column].to_dict(index) for name, column in names.items()}
        for index, percept in enumerate(PERCEPTS)
    }
