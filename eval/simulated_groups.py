"""Simulated populations of speakers whose true value is known, to check intervals and tests against."""

from collections.abc import Callable

import numpy as np

from antiphon.eval.variance import Measurements, measurements

NUM_TRAININGS = 3
NUM_SENTENCES = 30
ERROR_RATE = (1.5, 12.0)  # of the beta law of a speaker's word error rate: mean 0.11, skewed
MEAN_RATE = ERROR_RATE[0] / sum(ERROR_RATE)
KEPT_ERRORS = (8.0, 2.0)  # of the beta law of the share of errors that the better system keeps: mean 0.8

Process = Callable[[int, np.random.Generator], tuple[list[Measurements], float]]


def gaussian(num_groups: int, generator: np.random.Generator) -> tuple[list[Measurements], float]:
    """Means of 20 items per group; groups and items vary normally and alike."""
    means = generator.normal(size=num_groups) + generator.normal(size=num_groups) / np.sqrt(20)
    return [_by_group(20 * means, np.full(num_groups, 20))], 0.0


def skewed_rates(num_groups: int, generator: np.random.Generator) -> tuple[list[Measurements], float]:
    """Beta-binomial word errors, 200 to 400 words per group."""
    words = generator.integers(200, 400, num_groups)
    return [_by_group(generator.binomial(words, generator.beta(*ERROR_RATE, num_groups)), words)], MEAN_RATE


def unequal_groups(num_groups: int, generator: np.random.Generator) -> tuple[list[Measurements], float]:
    """Beta-binomial word errors, log-normal sizes: the largest of 20 groups holds about a fifth of the words."""
    words = np.ceil(generator.lognormal(4.5, 0.8, num_groups)).astype(int)
    return [_by_group(generator.binomial(words, generator.beta(*ERROR_RATE, num_groups)), words)], MEAN_RATE


def paired_rates(
    num_groups: int, generator: np.random.Generator, kept: tuple[float, float] = KEPT_ERRORS
) -> tuple[list[Measurements], float]:
    """Two systems on the same words of each group; the first keeps a beta-distributed share of the second's errors."""
    words = np.ceil(generator.lognormal(5, 0.5, num_groups)).astype(int)
    rates = generator.beta(*ERROR_RATE, num_groups)
    shares = generator.beta(*kept, num_groups)
    systems = [generator.binomial(words, rates * shares), generator.binomial(words, rates)]
    return [_by_group(errors, words) for errors in systems], MEAN_RATE * (kept[0] / sum(kept) - 1)


def rare_errors(num_groups: int, generator: np.random.Generator) -> tuple[list[Measurements], float]:
    """Beta-binomial errors in 40 words per group; two groups in five make none at all."""
    errors = generator.binomial(40, generator.beta(0.3, 10, num_groups))
    return [_by_group(errors, np.full(num_groups, 40))], 0.3 / 10.3


def heavy_tails(num_groups: int, generator: np.random.Generator) -> tuple[list[Measurements], float]:
    """Log-normal group means of skewness 6, beyond what error rates show: where the interval breaks."""
    return [_by_group(generator.lognormal(size=num_groups), np.ones(num_groups))], float(np.exp(0.5))


def paired_trainings(
    num_groups: int, generator: np.random.Generator, share: float = 1.0, effect: float = 0.1
) -> tuple[list[Measurements], float]:
    """Two systems trained three times each; `share` is the training variance relative to that between groups."""
    words, difficulty = np.full(num_groups, 100), generator.gamma(1.5, size=num_groups) - 1.5
    between_groups = 0.5 * (generator.gamma(1.5, size=num_groups) - 1.5) / np.sqrt(1.5)
    training_sd = 0.5 * np.sqrt(share * NUM_TRAININGS / num_groups / 2)
    systems = []
    for own in (effect + between_groups, np.zeros(num_groups)):
        trainings = training_sd * generator.normal(size=(NUM_TRAININGS, 1))
        values = difficulty + own + trainings + 0.3 * generator.normal(size=(NUM_TRAININGS, num_groups))
        systems.append(
            measurements(
                (values * words).ravel(),
                np.tile(words, NUM_TRAININGS),
                np.tile(np.arange(num_groups), NUM_TRAININGS),
                np.repeat(np.arange(NUM_TRAININGS), num_groups),
            )
        )
    return systems, effect


def crossed_sentences(
    num_groups: int, generator: np.random.Generator, share: float = 1.0, mean: float = 0.1
) -> tuple[list[Measurements], float]:
    """Every group says the same 30 sentences; `share` is the variance due to sentences relative to that of groups."""
    groups = generator.normal(size=(num_groups, 1))
    sentences = np.sqrt(share * NUM_SENTENCES / num_groups) * generator.normal(size=NUM_SENTENCES)
    values = mean + groups + sentences + generator.normal(size=(num_groups, NUM_SENTENCES))
    labels = [np.repeat(np.arange(num_groups), NUM_SENTENCES), np.tile(np.arange(NUM_SENTENCES), num_groups)]
    return [measurements(values.ravel(), np.ones(values.size), labels)], mean


def _with(process: Process, **options) -> Process:
    return lambda num_groups, generator: process(num_groups, generator, **options)


COVERAGE_PROCESSES: dict[str, Process] = {
    "Gaussian groups": gaussian,
    "skewed error rates": skewed_rates,
    "unequal group sizes": unequal_groups,
    "paired differences": paired_rates,
    "rare errors": rare_errors,
    "heavy tails (log-normal means)": heavy_tails,
    "3 trainings, variance 0.25 of groups'": _with(paired_trainings, share=0.25),
    "3 trainings, as groups'": _with(paired_trainings, share=1.0),
    "3 trainings, 4 times groups'": _with(paired_trainings, share=4.0),
    "crossed, sentences 0.25 of groups'": _with(crossed_sentences, share=0.25),
    "crossed, as groups'": _with(crossed_sentences, share=1.0),
    "crossed, 4 times groups'": _with(crossed_sentences, share=4.0),
}
NULL_PROCESSES: dict[str, Process] = {
    "Gaussian groups": gaussian,
    "paired differences": _with(paired_rates, kept=(1e6, 1e-6)),
    "3 trainings, as groups'": _with(paired_trainings, effect=0.0),
    "crossed, as groups'": _with(crossed_sentences, mean=0.0),
}


def _by_group(numerators: np.ndarray, denominators: np.ndarray) -> Measurements:
    return measurements(numerators, denominators, np.arange(len(numerators)))
