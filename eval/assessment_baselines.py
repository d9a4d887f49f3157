"""What an assessment of piano performances must beat: means that hear nothing, and hand-crafted features.

All of them learn from training performances alone, and none looks at the score. Descriptions are in `BASELINES`.
"""

import os
import sys
from collections.abc import Callable, Hashable, Sequence

import numpy as np
from datasets import Dataset
from sklearn.base import RegressorMixin
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, QuantileTransformer

from antiphon.eval.assessment_features import feature_table
from antiphon.eval.caching import cached_arrays
from antiphon.eval.conditions import file_sha256
from antiphon.processing import audio_midi, descriptors_performance, feature_extraction_piano, midi_alignment
from antiphon.processing.audio_midi import read_midi
from antiphon.processing.feature_extraction_piano import score_fingerprint

MEANS = ("global_mean", "passage_mean", "performer_mean", "passage_plus_performer")
HAND_CRAFTED = ("passage_mean_residual_trees", "ridge", "random_forest", "gradient_boosting")
ASSESSMENT_BASELINES = (*MEANS, *HAND_CRAFTED)
MIDI, SOUND = "midi.", "audio."


def baseline_answers(
    train: Dataset,
    test: Dataset,
    *,
    names: Sequence[str] = ASSESSMENT_BASELINES,
    training_seed: int = 0,
    cache: str | os.PathLike | None = None,
) -> dict[str, np.ndarray]:
    """Fit baselines on training performances and let them answer the test performances.

    Answers are cached, since every system that is measured on a fold asks for the same.

    Args:
        train: performances with the columns of `load_percepiano`.
        test: of the same kind; their labels are not looked at.
        names: of `ASSESSMENT_BASELINES`. Those of hand-crafted features hear the recordings where all have one.
        training_seed: of the trees, which are random.
        cache: folder; see `cached_arrays`.

    Returns:
        By name, (test items, percepts).
    """
    if unknown := set(names) - set(ASSESSMENT_BASELINES):
        raise ValueError(f"`names` has {sorted(unknown)}; expected some of {', '.join(ASSESSMENT_BASELINES)}.")
    audio = hears_audio(train, test)
    inputs = [",".join(names), str(training_seed)]
    for dataset in (train, test):
        own_labels = dataset["percepts"][:] if dataset is train else [None] * len(dataset)
        for row, labels in zip(dataset.select_columns(["midi", "audio", "passage", "player_id"]), own_labels):
            sound = file_sha256(row["audio"]["path"]) if audio else ""
            inputs.append(f"{file_sha256(row['midi'])} {sound} {row['passage']} {row['player_id']} {labels}")
    return cached_arrays(
        "baselines",
        inputs,
        lambda: _fit_all(train, test, names, training_seed, audio, cache),
        modules=[
            *(sys.modules[__name__], sys.modules[feature_table.__module__]),
            *(audio_midi, descriptors_performance, feature_extraction_piano, midi_alignment),
        ],
        packages=["scikit-learn", "librosa", "mido", "numpy"],
        cache=cache,
    )


def hears_audio(*datasets: Dataset) -> bool:
    """Whether every performance has a recording for the baselines to hear."""
    return all(audio is not None for dataset in datasets for audio in dataset["audio"][:])


def _fit_all(
    train: Dataset, test: Dataset, names: Sequence[str], seed: int, audio: bool, cache: str | os.PathLike | None
) -> dict[str, np.ndarray]:
    labels = np.array(train["percepts"][:])
    passages = _passages(train), _passages(test)
    players = train["player_id"][:], test["player_id"][:]
    answers: dict[str, Callable[[], np.ndarray]] = {
        "global_mean": lambda: np.tile(labels.mean(axis=0), (len(test), 1)),
        "passage_mean": lambda: known_group_means(labels, *passages),
        "performer_mean": lambda: known_group_means(labels, *players),
        "passage_plus_performer": lambda: additive_means(labels, passages, players),
    }
    if set(names) & set(HAND_CRAFTED):
        features, test_features = (feature_table(dataset, audio=audio, cache=cache) for dataset in (train, test))
        notes, test_notes = (table.filter(like=MIDI).to_numpy() for table in (features, test_features))
        answers["passage_mean_residual_trees"] = lambda: passage_residuals(
            extra_trees(seed), notes, labels, test_notes, *passages
        )
        for name, make in {"ridge": ridge, "random_forest": random_forest, "gradient_boosting": boosting}.items():
            answers[name] = lambda make=make: (
                make(seed).fit(features.to_numpy(), labels).predict(test_features.to_numpy())
            )
    return {name: answers[name]() for name in names}


def _passages(dataset: Dataset) -> list[str]:
    """Of each item, by what its passage is known: the notes of its score, since some have several names."""
    keys = {path: score_fingerprint(read_midi(path)) for path in set(dataset["score_midi"])}
    return [keys[path] for path in dataset["score_midi"]]


def known_group_means(values: np.ndarray, groups: Sequence[Hashable], test_groups: Sequence[Hashable]) -> np.ndarray:
    """Answer the mean that an item's group has in training, the global one for a group that training lacks.

    Args:
        values: (train items, percepts).
        groups: (train items,).
        test_groups: (test items,).

    Returns:
        (test items, percepts).
    """
    groups = np.asarray(groups)
    means = {group: values[groups == group].mean(axis=0) for group in np.unique(groups)}
    overall = values.mean(axis=0)
    return np.stack([means.get(group, overall) for group in test_groups])


def other_means(values: np.ndarray, groups: Sequence[Hashable]) -> np.ndarray:
    """Mean of all others of each item's group, the global one where there is none: (items, percepts)."""
    _, group_of_item, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    sums = np.zeros((len(sizes), values.shape[1]))
    np.add.at(sums, group_of_item, values)
    others = (sizes - 1)[group_of_item][:, None]
    return np.where(others > 0, (sums[group_of_item] - values) / np.maximum(others, 1), values.mean(axis=0))


def additive_means(labels: np.ndarray, *factors: tuple[Sequence[Hashable], Sequence[Hashable]]) -> np.ndarray:
    """Add to the mean what each factor's level deviates from it in training; an unknown level deviates by nothing.

    Args:
        labels: (train items, percepts).
        factors: each the levels of the (train items,) and of the (test items,), such as passages.
    """
    known, asked = (np.array(list(zip(*levels))) for levels in zip(*factors))
    # The slight penalty keeps a level with a single performance from taking all of its noise.
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), Ridge(alpha=1.0))
    return model.fit(known, labels).predict(asked)


def passage_residuals(
    model: RegressorMixin,
    features: np.ndarray,
    labels: np.ndarray,
    test_features: np.ndarray,
    passages: Sequence[str],
    test_passages: Sequence[str],
) -> np.ndarray:
    """Predict how a performance deviates from the mean of its passage, from how its features do.

    In training the mean is that of the other performances, since a performance that is tested is not in its own mean.

    Args:
        model: regressor of deviations, not yet fitted.
        features: (train items, features).
        labels: (train items, percepts).
        test_features: (test items, features).
        passages: (train items,).
        test_passages: (test items,); where one is unknown the means are those of all training.
    """
    model.fit(features - other_means(features, passages), labels - other_means(labels, passages))
    deviations = test_features - known_group_means(features, passages, test_passages)
    return known_group_means(labels, passages, test_passages) + model.predict(deviations)


def extra_trees(seed: int) -> RegressorMixin:
    """Trees for deviations from the passage."""
    return ExtraTreesRegressor(500, min_samples_leaf=3, max_features=0.4, random_state=seed)


def ridge(seed: int) -> RegressorMixin:
    """A linear model of features brought to a normal law, which cuts what lies outside of training; nothing random."""
    quantiles = QuantileTransformer(n_quantiles=200, output_distribution="normal", random_state=seed)
    return make_pipeline(quantiles, RidgeCV(np.logspace(0, 4, 13)))


def random_forest(seed: int) -> RegressorMixin:
    """Trees of all percepts at once."""
    return RandomForestRegressor(300, min_samples_leaf=2, max_features=0.33, random_state=seed)


def boosting(seed: int) -> RegressorMixin:
    """Boosted trees for each percept."""
    return MultiOutputRegressor(
        HistGradientBoostingRegressor(
            max_iter=120,
            learning_rate=0.05,
            max_leaf_nodes=15,
            min_samples_leaf=10,
            max_features=0.3,
            early_stopping=False,
            random_state=seed,
        )
    )
