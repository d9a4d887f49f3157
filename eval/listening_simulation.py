"""Simulated listeners whose true mean answers are known: biased, with their own use of the scale, hearing items."""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pandas as pd

SCALE = (1, 5)
NUM_DRAWS = 300_000  # behind each true value: a standard error of about 0.002


@dataclass(frozen=True)
class Population:
    """How listeners answer; standard deviations are in points of the scale.

    An answer is `middle + bias + use * (quality - middle + item + item x condition + listener x condition + noise)`,
    rounded to the scale; where `is_binary`, whether that exceeds 0, with middle 0.

    Args:
        qualities: true latent quality of each condition.
        bias: of listeners, towards high or low ratings.
        use: standard deviation of the logarithm of how much of the scale a listener uses.
        item: of how well all conditions do on an item.
        item_condition: of how well one condition does on an item.
        listener_condition: of how much a listener likes one condition.
        noise: of single answers.
        leaving: share of listeners who leave after a random part of their pages.
    """

    qualities: tuple[float, ...] = (3.0, 3.2, 3.6, 4.2)
    bias: float = 0.4
    use: float = 0.2
    item: float = 0.3
    item_condition: float = 0.2
    listener_condition: float = 0.2
    noise: float = 0.7
    leaving: float = 0.0
    is_binary: bool = False


@dataclass(frozen=True)
class Plan:
    """The size of a test; `answers_each` is the number of answers of each listener to each condition."""

    num_listeners: int
    num_items: int
    answers_each: float
    num_conditions: int = 4


TYPICAL = Population()
PREFERENCES = Population(
    qualities=(0.0, 0.2, 0.5, 0.8), bias=0.0, use=0.0, item=0.0, item_condition=0.4, listener_condition=0.5, noise=1.0,
    is_binary=True,
)  # fmt: skip
POPULATIONS = {
    "independent answers": replace(TYPICAL, bias=0, use=0, item=0, item_condition=0, listener_condition=0, noise=1.0),
    "biased listeners": replace(TYPICAL, bias=0.8, item=0, item_condition=0),
    "difficult items": replace(TYPICAL, bias=0.1, listener_condition=0, item=0.8, item_condition=0.5),
    "typical": TYPICAL,
    "near the end of the scale": replace(TYPICAL, qualities=(4.4, 4.6, 4.8, 5.0), use=0.4),
    "half leave early": replace(TYPICAL, leaving=0.5),
    "preferences": PREFERENCES,
}


def simulate(population: Population, plan: Plan, generator: np.random.Generator) -> pd.DataFrame:
    """Draw listeners, items and answers, in balanced incomplete blocks.

    Returns:
        A table as `listening_results.scores` makes it.
    """
    num_conditions = len(population.qualities)
    listener, condition, item = _blocks(plan, num_conditions, generator)
    normal = generator.normal
    latent = _latent(
        population,
        condition,
        bias=normal(size=plan.num_listeners)[listener],
        use=normal(size=plan.num_listeners)[listener],
        item=normal(size=plan.num_items)[item],
        item_condition=normal(size=(plan.num_items, num_conditions))[item, condition],
        listener_condition=normal(size=(plan.num_listeners, num_conditions))[listener, condition],
        noise=normal(size=len(item)),
    )
    table = {"listener": _names("L", listener), "item": _names("i", item), "condition": _names("s", condition)}
    kept = _stayed(population, plan, listener, generator)
    return pd.DataFrame(table | {"score": _answers(population, latent)})[kept].reset_index(drop=True)


@lru_cache
def true_means(population: Population, seed: int = 0) -> np.ndarray:
    """Mean answer to each condition over all listeners and items there could be: (conditions,)."""
    generator = np.random.default_rng(seed)
    names = ("bias", "use", "item", "item_condition", "listener_condition", "noise")
    effects = {name: generator.normal(size=NUM_DRAWS) for name in names}
    conditions = range(len(population.qualities))
    latents = (_latent(population, np.full(NUM_DRAWS, condition), **effects) for condition in conditions)
    return np.array([_answers(population, latent).mean() for latent in latents])


def _blocks(plan: Plan, num_conditions: int, generator: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Indices of listener, condition and item of each answer; each cell comes equally often, within one."""
    each = round(plan.answers_each)
    listener, condition, place = np.meshgrid(
        np.arange(plan.num_listeners), np.arange(num_conditions), np.arange(each), indexing="ij"
    )
    orders = np.stack([generator.permutation(plan.num_items) for _ in range(num_conditions)])
    item = orders[condition, (listener * each + place) % plan.num_items]
    return listener.ravel(), condition.ravel(), item.ravel()


def _latent(population: Population, condition: np.ndarray, bias, use, **effects) -> np.ndarray:
    middle = 0.0 if population.is_binary else sum(SCALE) / 2
    varying = sum(getattr(population, name) * values for name, values in effects.items())
    quality = np.asarray(population.qualities)[condition] - middle + varying
    return middle + population.bias * bias + np.exp(population.use * use) * quality


def _answers(population: Population, latent: np.ndarray) -> np.ndarray:
    return (latent > 0).astype(float) if population.is_binary else np.clip(np.rint(latent), *SCALE)


def _stayed(population: Population, plan: Plan, listener: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Which answers were given before their listener left; pages come in random order."""
    leaves = generator.random(plan.num_listeners) < population.leaving
    shares = np.where(leaves, generator.uniform(0.2, 1.0, plan.num_listeners), 1.0)
    return generator.random(len(listener)) < shares[listener]


def _names(letter: str, numbers: np.ndarray) -> np.ndarray:
    return np.array([f"{letter}{number:03d}" for number in range(numbers.max() + 1)])[numbers]
