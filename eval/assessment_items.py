"""The item table of assessed performances: labels, answers and scores, one row a performance and training.

Given columns: `item_id`, `passage`, `excerpt`, `work`, `player_id`, `duration_seconds`; for each percept
`label.<percept>`, `deviation.<percept>` (standard deviation between annotators), `noise.<percept>` (variance of the
label's error, NaN where unknown), `prediction.<percept>`, and `std.<percept>`, `low.<percept>`, `high.<percept>` (NaN
where a system gives none); for each baseline, say `passage_mean`, its `passage_mean.prediction.<percept>`; and the
`seed` where several trainings of one system are pooled.

Computed from these (`score_items`): `reference`, the labels as one text; `pairs`, `judged`; and, for the system and
with its name before them for each baseline, `r2_score`, `squared_error`, `correct_pairs`, `within`, and `covered` of
`bounded` where there are intervals.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from datasets import Dataset

from antiphon.eval.percept_statistics import Assessment, passage_pairs
from antiphon.processing.percepts import PERCEPTS

DESCRIBED = ("passage", "excerpt", "work", "player_id", "duration_seconds")
PREDICTION = ".prediction."


@dataclass(frozen=True)
class Predictions:
    """What a system answers to performances.

    Args:
        percepts: (items, percepts) in the order of `PERCEPTS`, on the scale of the labels, 0 to 1.
        stds: (items, percepts) predictive standard deviations, or None.
        low, high: (items, percepts) ends of 90 % predictive intervals, or None.
    """

    percepts: np.ndarray
    stds: np.ndarray | None = None
    low: np.ndarray | None = None
    high: np.ndarray | None = None


def tabulate_items(
    item_ids: list[str],
    test: Dataset,
    predictions: Predictions,
    baselines: Mapping[str, np.ndarray],
    *,
    noise: pd.DataFrame | None = None,
    training_seed: int | None = None,
) -> pd.DataFrame:
    """Put labels and answers into an item table, with their scores.

    Args:
        item_ids: (items,) distinct names.
        test: (items,) performances with the columns of `load_percepiano`.
        predictions: of the system.
        baselines: by their names in `BASELINES`, the (items, percepts) answers of each.
        noise: variance of the error of each label, items in rows and percepts in columns; unknown if None.
        training_seed: of the system, if it is to be pooled with other trainings.

    Raises:
        ValueError: answers of another shape, or that are not finite.
    """
    shape = (len(test), len(PERCEPTS))
    unknown = np.full(shape, np.nan)
    parts = {
        "label": np.array(test["percepts"][:]),
        "deviation": np.array(test["percept_stds"][:]),
        "noise": unknown if noise is None else noise.reindex(index=item_ids, columns=list(PERCEPTS)).to_numpy(),
        "prediction": predictions.percepts,
        "std": predictions.stds,
        "low": predictions.low,
        "high": predictions.high,
        **{f"{name}.prediction": answers for name, answers in baselines.items()},
    }
    columns = {"item_id": item_ids, **{name: test[name][:] for name in DESCRIBED}}
    for name, values in parts.items():
        values = unknown if values is None else _checked(name, values, shape)
        columns |= {f"{name}.{percept}": column for percept, column in zip(PERCEPTS, values.T)}
    if training_seed is not None:
        columns["seed"] = training_seed
    return score_items(pd.DataFrame(columns))


def _checked(name: str, values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if values.shape != shape:
        raise ValueError(f"`{name}` has shape {values.shape}; expected (items, percepts), {shape}.")
    if name != "noise" and not np.isfinite(values).all():
        raise ValueError(f"`{name}` holds {np.sum(~np.isfinite(values))} numbers that are not finite; answer all.")
    return values


def baseline_names(items: pd.DataFrame) -> list[str]:
    """The baselines that an item table has answers of."""
    ending = PREDICTION + PERCEPTS[0]
    return [column.removesuffix(ending) for column in items if column.endswith(ending)]


def has_intervals(items: pd.DataFrame) -> bool:
    """Whether the system gives an interval for everything."""
    return bool(percept_columns(items, "low").notna().all(axis=None))


def percept_columns(items: pd.DataFrame, name: str) -> pd.DataFrame:
    """The columns `name.<percept>`, in the order of the percepts."""
    return items[[f"{name}.{percept}" for percept in PERCEPTS]]


def score_items(items: pd.DataFrame) -> pd.DataFrame:
    """Return the table with its scores computed anew from labels and answers of all its items.

    R2 is relative to the variance of the labels that the table holds, and pairs are those of the passages in it, so a
    part of a table scores otherwise than the whole.
    """
    scores = scores_of(items)
    given = items.drop(columns=[column for column in scores if column in items])
    return pd.concat([given, scores], axis=1)


def scores_of(items: pd.DataFrame) -> pd.DataFrame:
    """The computed columns of an item table."""
    table = _Table(items)
    labels = percept_columns(items, "label").to_numpy()
    columns = {
        "reference": [" ".join(f"{value:.6f}" for value in row) for row in labels],
        "judged": (percept_columns(items, "deviation").to_numpy() > 0).sum(axis=1).astype(float),
    }
    for name in ["", *baseline_names(items)]:
        prefix, assessment = f"{name}." if name else "", table.assessment(name)
        squared = (assessment.predictions - assessment.labels[:, None]) ** 2
        correct, pairs = passage_pairs(assessment.predictions, assessment.labels, assessment.passages)
        tolerated = assessment.deviations[:, None]
        within = (tolerated > 0) & (np.sqrt(squared) <= tolerated)
        columns["pairs"] = table.flatten(np.broadcast_to(pairs.sum(axis=-1), squared.shape[:2]))
        columns[f"{prefix}r2_score"] = table.flatten(1 - (squared / assessment.labels.var(axis=0)).mean(axis=-1))
        columns[f"{prefix}squared_error"] = table.flatten(squared.mean(axis=-1))
        columns[f"{prefix}correct_pairs"] = table.flatten(correct.sum(axis=-1))
        columns[f"{prefix}within"] = table.flatten(within.sum(axis=-1).astype(float))
    if has_intervals(items):
        low, high = (percept_columns(items, end).to_numpy() for end in ("low", "high"))
        columns["covered"] = ((low <= labels) & (labels <= high)).sum(axis=1).astype(float)
        columns["bounded"] = np.full(len(items), float(len(PERCEPTS)))
    return pd.DataFrame(columns, index=items.index)


def assess(items: pd.DataFrame, baseline: str = "") -> tuple[Assessment, pd.DataFrame]:
    """Labels and answers of the system, or of a baseline, as arrays, and the distinct items that they belong to.

    Raises:
        ValueError: if a training lacks an item or answered it twice.
    """
    table = _Table(items)
    return table.assessment(baseline), items.iloc[table.rows[:, 0]]


class _Table:
    """Rows of an item table by distinct item and training."""

    def __init__(self, items: pd.DataFrame):
        self.items = items
        seeds = items["seed"] if "seed" in items else pd.Series(0, index=items.index)
        numbers = pd.Series(np.arange(len(items)), index=[items["item_id"], seeds])
        if numbers.index.has_duplicates:
            raise ValueError("the item table holds an item twice for one training; pool each run once.")
        rows = numbers.unstack()
        if rows.isna().any(axis=None):
            raise ValueError("the item table lacks items for some trainings; measure every seed on all items.")
        self.rows = rows.to_numpy(dtype=int)  # (distinct items, trainings)

    def assessment(self, baseline: str) -> Assessment:
        first = self.items.iloc[self.rows[:, 0]]
        bounded = not baseline and has_intervals(self.items)
        return Assessment(
            labels=percept_columns(first, "label").to_numpy(),
            predictions=self._by_training(f"{baseline}.prediction" if baseline else "prediction"),
            passages=first["passage"].to_numpy(dtype=str),
            deviations=percept_columns(first, "deviation").to_numpy(),
            noise=percept_columns(first, "noise").to_numpy(),
            low=self._by_training("low") if bounded else None,
            high=self._by_training("high") if bounded else None,
        )

    def _by_training(self, name: str) -> np.ndarray:
        return percept_columns(self.items, name).to_numpy()[self.rows]

    def flatten(self, values: np.ndarray) -> np.ndarray:
        """Numbers by (distinct item, training) in the order of the item table."""
        flat = np.empty(len(self.items))
        flat[self.rows] = values
        return flat
