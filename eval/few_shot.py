"""Adapting an assessment to a new rater or a new instrument from few examples: learning curves with intervals.

The head is as light as can be: the rater's deviation from the model is a ridge regression on the model's own
judgements of all percepts, and counts the more the more examples there are. With none it is the model itself.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.linear_model import RidgeCV

from antiphon.eval.performance_tensors import interval_values
from antiphon.eval.statistics import bootstrap_difference, bootstrap_ratio
from antiphon.processing.percepts import PERCEPTS

SIZES = (5, 20, 50)
NUM_DRAWS = 5
MIN_QUERIES = 5
PRIOR_EXAMPLES = 5  # that the model's own judgement is worth
MIN_EXAMPLES = 2  # of a percept, before a head is fitted
PENALTIES = tuple(10.0**power for power in range(-3, 4))
HIGHEST_RATING = 7


@dataclass(frozen=True)
class Task:
    """What is to be adapted to: who rated, or which instrument was rated on.

    Args:
        name: Of the rater or the instrument.
        predictions: (items, percepts) of the model.
        ratings: (items, percepts) on the scale of the labels, NaN where none was given.
        excerpts: (items,); examples and questions share none.
    """

    name: str
    predictions: np.ndarray
    ratings: np.ndarray
    excerpts: np.ndarray


def rater_tasks(ratings: pd.DataFrame, item_ids: Sequence[str], predictions: np.ndarray, excerpts: Sequence[str]):
    """One task a rater, of the test performances that they rated; who rated one twice is averaged.

    Args:
        ratings: Of `load_ratings`.
        item_ids: (items,) of the test.
        predictions: (items, percepts).
        excerpts: (items,).
    """
    table = ratings[ratings["file_name"].isin(item_ids)].pivot_table("rating", ["user", "file_name"], "percept")
    table = table.reindex(columns=list(PERCEPTS)) / HIGHEST_RATING
    places = pd.Series(np.arange(len(item_ids)), index=list(item_ids))
    tasks = []
    for user, own in table.groupby(level="user"):
        rated = places[own.index.get_level_values("file_name")].to_numpy()
        tasks.append(Task(str(user), predictions[rated], own.to_numpy(), np.asarray(excerpts)[rated]))
    return tasks


def adapt(predictions: np.ndarray, ratings: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Fit the light head.

    Args:
        predictions: (examples, percepts) of the model.
        ratings: (examples, percepts); those that are missing are left out.

    Returns:
        A function from the model's (items, percepts) to adapted ones.
    """
    known, heads = np.isfinite(ratings), []
    # Percepts that the same examples were rated on share a penalty: five examples cannot choose one for each.
    for pattern in np.unique(known, axis=1).T:
        percepts = np.flatnonzero((known == pattern[:, None]).all(axis=0))
        if pattern.sum() >= MIN_EXAMPLES:
            deviations = (ratings - predictions)[np.ix_(pattern, percepts)]
            trust = pattern.sum() / (pattern.sum() + PRIOR_EXAMPLES)
            heads.append((percepts, trust, RidgeCV(PENALTIES).fit(predictions[pattern], deviations)))

    def answer(given: np.ndarray) -> np.ndarray:
        adapted = given.copy()
        for percepts, trust, head in heads:
            adapted[:, percepts] += trust * head.predict(given).reshape(len(given), -1)
        return adapted

    return answer


def shift(predictions: np.ndarray, ratings: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Add the mean deviation of the examples, and nothing else."""
    known = np.isfinite(ratings)
    deviations = np.where(known, ratings - predictions, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return lambda given: given + deviations


def own_mean(predictions: np.ndarray, ratings: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Answer the mean of the examples to everything; what hears nothing."""
    known = np.isfinite(ratings)
    means = np.where(known, ratings, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    means = np.where(known.any(axis=0), means, predictions.mean(axis=0))
    return lambda given: np.broadcast_to(means, given.shape)


METHODS = {"adapted": adapt, "shifted": shift, "own mean": own_mean}
UNADAPTED = "not adapted"


def learning_curves(
    tasks: Sequence[Task], *, sizes: Sequence[int] = SIZES, num_draws: int = NUM_DRAWS, seed: int = 0
) -> dict[str, dict]:
    """Squared error on questions whose excerpts are not among the examples, by number of examples and method.

    Args:
        tasks: Each is judged where it has enough performances for the size.
        sizes: Numbers of examples.
        num_draws: Of the examples of each task.
        seed: Of drawing and resampling.

    Returns:
        By size: `num_tasks`, and by method `squared_error` and, but for the model that is not adapted, the
        `difference` to it. Tasks are resampled as wholes, each with all its draws; if there is only one, its questions
        are, by excerpt. `difference` is None where no task has that many performances.
    """
    return {
        str(size): _summarise(pd.DataFrame(list(_trials(tasks, size, num_draws, seed))), len(tasks), seed)
        for size in sizes
    }


def _trials(tasks: Sequence[Task], size: int, num_draws: int, seed: int) -> Iterator[Mapping]:
    """One row a task, draw and excerpt: squared errors of each method, summed, and their number."""
    for task_number, task in enumerate(tasks):
        for draw in range(num_draws):
            generator = np.random.default_rng([seed, task_number, draw])
            examples, questions = _draw(task.excerpts, size, generator)
            if len(examples) < size or len(questions) < MIN_QUERIES:
                continue
            given = task.predictions[questions]
            answers = {UNADAPTED: given} | {
                name: method(task.predictions[examples], task.ratings[examples])(given)
                for name, method in METHODS.items()
            }
            for excerpt in np.unique(task.excerpts[questions]):
                own = task.excerpts[questions] == excerpt
                truth = task.ratings[questions][own]
                errors = {name: float(np.nansum((answer[own] - truth) ** 2)) for name, answer in answers.items()}
                number = int(np.isfinite(truth).sum())
                yield {"task": task.name, "excerpt": excerpt, "number": number, **errors}


def _draw(excerpts: np.ndarray, size: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Places of `size` examples, and of all performances whose excerpts are not among theirs.

    Whole excerpts are drawn until there are enough: the fewer are touched, the more questions are left.
    """
    examples: list[int] = []
    for excerpt in generator.permutation(np.unique(excerpts)):
        if len(examples) >= size:
            break
        examples += np.flatnonzero(excerpts == excerpt).tolist()
    questions = np.flatnonzero(~np.isin(excerpts, excerpts[examples]))
    return np.array(examples[:size], dtype=int), questions


def _summarise(trials: pd.DataFrame, num_tasks: int, seed: int) -> dict:
    if trials.empty:
        return {"num_tasks": 0, "methods": {}}
    groups = trials["task" if num_tasks > 1 else "excerpt"]
    methods = {}
    for name in (UNADAPTED, *METHODS):
        error = bootstrap_ratio(trials[name], trials["number"], groups, possible_range=(0.0, np.inf), seed=seed)
        methods[name] = {"squared_error": interval_values(error), "difference": None}
        if name != UNADAPTED:
            difference = bootstrap_difference(trials[name], trials[UNADAPTED], groups, trials["number"], seed=seed)
            methods[name]["difference"] = interval_values(difference)
    return {"num_tasks": int(trials["task"].nunique()), "methods": methods}
