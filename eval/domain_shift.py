"""The same performances on other instruments and in a room: how one checkpoint's judgements of recordings suffer."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from datasets import Dataset

from antiphon.eval.assessment_items import Predictions, tabulate_items
from antiphon.eval.performance_tensors import interval_values
from antiphon.eval.statistics import bootstrap_difference, bootstrap_ratio
from antiphon.processing.corpora import item_ids

# metric: (numerator, denominator) among the columns of an item table
METRICS = {
    "r2": ("r2_score", None),
    "ranking_accuracy": ("correct_pairs", "pairs"),
    "coverage": ("covered", "bounded"),
}


def whole_passages(rows: Dataset, max_items: int, seed: int = 0) -> list[int]:
    """Places of at most `max_items` performances, all those of passages that are drawn: pairs stay together."""
    passages = np.array(rows["passage"][:])
    chosen: list[int] = []
    for passage in np.random.default_rng(seed).permutation(np.unique(passages)):
        own = np.flatnonzero(passages == passage).tolist()
        if len(chosen) + len(own) <= max_items:
            chosen += own
    return sorted(chosen)


def compare_domains(rows: Dataset, reference: Predictions, shifted: Predictions, *, seed: int = 0) -> dict[str, dict]:
    """Metrics of one checkpoint on two renderings of the same performances, and their paired differences.

    Args:
        rows: With the columns of `load_percepiano`.
        reference: Answers to the rendering that is known from training.
        shifted: Answers to the other one.
        seed: Of resampling excerpts.

    Returns:
        By metric `reference`, `shifted` and `difference` (shifted minus reference) with intervals; coverage only where
        the model has intervals. Further `mean_shift`, by how much the judgements move on average, and `mean_change`,
        the mean size of the change, both on the scale of the labels.
    """
    own, other = (tabulate_items(item_ids(rows), rows, answers, {}) for answers in (reference, shifted))
    result = {}
    for metric, (numerator, denominator) in METRICS.items():
        if numerator not in own or numerator not in other:
            continue
        counted = pd.Series(1.0, index=own.index) if denominator is None else own[denominator]
        kept = counted > 0
        if not kept.any():
            continue
        numbers, groups = counted[kept], own["excerpt"][kept]
        result[metric] = {
            "reference": interval_values(bootstrap_ratio(own[numerator][kept], numbers, groups, seed=seed)),
            "shifted": interval_values(bootstrap_ratio(other[numerator][kept], numbers, groups, seed=seed)),
            "difference": interval_values(
                bootstrap_difference(other[numerator][kept], own[numerator][kept], groups, numbers, seed=seed)
            ),
        }
    change = shifted.percepts - reference.percepts
    return result | {"mean_shift": float(change.mean()), "mean_change": float(np.abs(change).mean())}


def select_predictions(predictions: Predictions, places: Sequence[int]) -> Predictions:
    """The answers to some of the items."""
    parts: Mapping[str, np.ndarray | None] = vars(predictions)
    return Predictions(**{name: None if values is None else values[places] for name, values in parts.items()})
