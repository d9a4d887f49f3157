"""Check the analysis of listening tests by simulation: do 95 % intervals hold the truth in 95 % of the tests?

    python eval/listening_coverage.py --trials 1000 --out eval/listening_coverage.md

Listeners, items and answers are drawn anew for each test. Ways to make an interval are compared on the same tests;
every figure is printed with its Monte Carlo standard error.
"""

import sys
from pathlib import Path

if not __package__ and not sys.flags.safe_path:
    # Run as a script, this folder's `statistics` would hide the standard library's.
    del sys.path[0]

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
from scipy import stats

from antiphon.eval.intervals import ratio_interval
from antiphon.eval.listening_power import (
    Components,
    assumed_components,
    detectable_difference,
    measure_components,
    plan_of,
)
from antiphon.eval.listening_simulation import (
    POPULATIONS,
    PREFERENCES,
    SCALE,
    TYPICAL,
    Plan,
    Population,
    simulate,
    true_means,
)
from antiphon.eval.listening_statistics import chance_test, condition_measurements
from antiphon.eval.permutation import exchange_test
from antiphon.eval.result_formats import markdown_table
from antiphon.eval.result_rows import write_atomically
from antiphon.eval.variance import Measurements, measure_spread, ratio_difference

PLANS = {
    "10 listeners x 10 items, all heard": Plan(10, 10, 10),
    "20 x 30, 8 each": Plan(20, 30, 8),
    "40 x 12, 4 each": Plan(40, 12, 4),
}
COMPARED = ("s000", "s001")
NUM_RESAMPLES = 999
MEAN, DIFFERENCE = "mean", "difference"
USED = "listeners and items"


def intervals(
    systems: list[Measurements], components: Components, plan: Plan, generator: np.random.Generator
) -> dict[str, tuple]:
    """Ends of the 95 % interval of a mean (one system) or difference (two), by the way that it is made.

    Args:
        components: of the answers to all conditions, from which random effects are taken.
        plan: of the test.
    """
    seen = np.sum([system.denominators for system in systems], axis=0) > 0
    ways = {"answers": (np.arange(len(seen)),)}
    ways |= {name: (systems[0].groupings[index],) for index, name in enumerate(("listeners", "items"))}
    ways[USED] = systems[0].groupings
    ends = {}
    for name, groupings in ways.items():
        own = [Measurements(system.numerators, system.denominators, groupings) for system in systems]
        if name == "answers":
            ends[name] = _independent(systems)
            continue
        interval = ratio_interval(own, num_resamples=NUM_RESAMPLES, seed=generator)
        ends[name] = (interval.low, interval.high)
    ends["both resampled"] = _both_resampled(systems, generator)
    ends["random effects"] = _random_effects(systems, components, plan)
    return ends


def _independent(systems: list[Measurements]) -> tuple[float, float]:
    """Student's interval of answers taken as independent (Welch's for a difference)."""
    scores = [system.numerators[system.denominators > 0] for system in systems]
    variances = np.array([own.var(ddof=1) / len(own) for own in scores])
    value = scores[0].mean() - sum(own.mean() for own in scores[1:])
    reach = stats.t.ppf(0.975, sum(map(len, scores)) - len(scores)) * np.sqrt(variances.sum())
    return value - reach, value + reach


def _both_resampled(systems: list[Measurements], generator: np.random.Generator) -> tuple[float, float]:
    """Percentiles when listeners and items are resampled independently.

    Source: Owen, "The pigeonhole bootstrap", 2007.
    """
    indices = [np.unique(labels, return_inverse=True)[1] for labels in systems[0].groupings]
    sizes = [own.max() + 1 for own in indices]
    counts = [generator.multinomial(size, np.full(size, 1 / size), size=NUM_RESAMPLES).astype(float) for size in sizes]
    sums = []
    for system in systems:
        own = []
        for values in (system.numerators, system.denominators):
            cells = np.zeros(sizes)
            np.add.at(cells, tuple(indices), values)
            own.append(np.sum((counts[0] @ cells) * counts[1], axis=1))
        sums.append(np.stack(own, axis=-1))
    low, high = np.quantile(ratio_difference(np.stack(sums, axis=1)), [0.025, 0.975])
    return float(low), float(high)


def _random_effects(systems: list[Measurements], components: Components, plan: Plan) -> tuple[float, float]:
    """Normal theory with variance components pooled over conditions."""
    variances = components.variances(plan, compared=len(systems) == 2)
    value = measure_spread(systems).value
    reach = stats.t.ppf(0.975, min(plan.num_listeners, plan.num_items) - 1) * np.sqrt(sum(variances))
    return value - reach, value + reach


def measure_coverage(population: Population, plan: Plan, num_trials: int, seed: int = 0) -> dict[str, dict[str, dict]]:
    """Return `coverage`, its `standard_error` and the mean `width`, by way, for the mean and for the difference."""
    means = true_means(population, seed)
    truths = {MEAN: means[0], DIFFERENCE: means[0] - means[1]}
    generator = np.random.default_rng([seed, plan.num_listeners, plan.num_items, round(plan.answers_each)])
    held: dict[str, dict[str, list]] = {MEAN: {}, DIFFERENCE: {}}
    for _ in range(num_trials):
        table = simulate(population, plan, generator)
        components, own_plan = measure_components(table), plan_of(table)
        for what, names in ((MEAN, COMPARED[:1]), (DIFFERENCE, COMPARED)):
            systems = condition_measurements(table, *names)
            for way, (low, high) in intervals(systems, components, own_plan, generator).items():
                held[what].setdefault(way, []).append((low <= truths[what] <= high, high - low))
    return {what: {way: _summary(outcomes) for way, outcomes in ways.items()} for what, ways in held.items()}


def _summary(outcomes: Sequence[tuple[bool, float]]) -> dict:
    coverage, width = np.mean(outcomes, axis=0)
    return {"coverage": coverage, "standard_error": np.sqrt(coverage * (1 - coverage) / len(outcomes)), "width": width}


def measure_size(plan: Plan, num_trials: int, seed: int = 0) -> dict[str, float]:
    """Return how often tests at 5 % find what is not there: two systems alike, and preferences at chance."""
    generator = np.random.default_rng([seed, plan.num_listeners, 1])
    alike = replace(TYPICAL, qualities=(3.2,) * 4)
    found = {"difference: exchange test": 0, "preference: exchange test": 0, "preference: binomial test": 0}
    for _ in range(num_trials):
        systems = condition_measurements(simulate(alike, plan, generator), *COMPARED)
        spread = measure_spread(systems)
        test = exchange_test(spread.totals, spread, num_resamples=NUM_RESAMPLES, seed=generator)
        found["difference: exchange test"] += test.p_value < 0.05
        (chosen,) = condition_measurements(simulate(PREFERENCES, plan, generator), COMPARED[0])
        spread = measure_spread([chosen])
        found["preference: exchange test"] += chance_test(spread, seed=generator).p_value < 0.05
        counted = stats.binomtest(int(chosen.numerators.sum()), int(chosen.denominators.sum()))
        found["preference: binomial test"] += counted.pvalue < 0.05
    return {name: count / num_trials for name, count in found.items()}


def measure_power(plan: Plan, num_trials: int, seed: int = 0) -> dict[str, float]:
    """Return the difference that should be found with 80 %, and how often it was."""
    promised = detectable_difference(assumed_components(seed), plan)
    generator = np.random.default_rng([seed, plan.num_listeners, 2])
    # In the middle of the scale a latent difference is nearly that of the answers; the rest is measured.
    population = replace(TYPICAL, qualities=(3.0 + promised, 3.0, 3.6, 4.2))
    means = true_means(population, seed)
    found = 0
    for _ in range(num_trials):
        systems = condition_measurements(simulate(population, plan, generator), *COMPARED)
        found += ratio_interval(systems, num_resamples=NUM_RESAMPLES, seed=generator).low > 0
    return {"promised": promised, "true": means[0] - means[1], "power": found / num_trials}


def coverage_report(num_trials: int, seed: int = 0, num_processes: int = 1) -> str:
    """Run all checks and write their tables as Markdown; cells are independent, so processes change no number."""
    with ProcessPoolExecutor(num_processes, mp_context=get_context("spawn")) as pool:
        cells = {
            (name, key): pool.submit(measure_coverage, population, plan, num_trials, seed)
            for name, plan in PLANS.items()
            for key, population in POPULATIONS.items()
        }
        sizes = {name: pool.submit(measure_size, plan, num_trials, seed) for name, plan in PLANS.items()}
        powers = {name: pool.submit(measure_power, plan, num_trials, seed) for name, plan in PLANS.items()}
        measured = {place: cell.result() for place, cell in cells.items()}
        sizes, powers = ({name: cell.result() for name, cell in own.items()} for own in (sizes, powers))
    parts = [_introduction(num_trials, seed)]
    for name in PLANS:
        for what in (MEAN, DIFFERENCE):
            lines = [
                [key, *(f"{_percent(cell)}, {cell['width']:.2f}" for cell in measured[name, key][what].values())]
                for key in POPULATIONS
            ]
            ways = measured[name, "typical"][what]
            headings = ["population", *(f"**{way}**" if way == USED else way for way in ways)]
            parts += [f"### {name}: {what}", markdown_table(headings, lines)]
    lines = [[name, *(f"{100 * share:.1f}" for share in entry.values())] for name, entry in sizes.items()]
    parts += [
        "### Tests at 5 % where nothing differs: how often they reject",
        markdown_table(["test", *next(iter(sizes.values()))], lines),
    ]
    lines = [
        [name, f"{entry['promised']:.2f}", f"{entry['true']:.2f}", f"{100 * entry['power']:.0f} %"]
        for name, entry in powers.items()
    ]
    headings = ["test", "detectable difference", "true difference", "found"]
    parts += ["### The power estimate, at 80 %", markdown_table(headings, lines)]
    return "\n\n".join(parts) + "\n"


def _introduction(num_trials: int, seed: int) -> str:
    return (
        "# The analysis of listening tests, simulated\n\n"
        f"Written by `python eval/listening_coverage.py --trials {num_trials}`, seed {seed}. Cells: how many of the 95 "
        "% intervals held the truth, in %, with the Monte Carlo standard error, and their mean width. Ratings go from "
        f"{SCALE[0]} to {SCALE[1]}; preferences are 0 or 1. `{USED}` is what `eval/listening_analysis.py` uses."
    )


def _percent(cell: dict) -> str:
    return f"{100 * cell['coverage']:.1f} ± {100 * cell['standard_error']:.1f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the simulation and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000, help="simulated tests per cell of the tables")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--out", type=Path, help="Markdown file for the tables")
    options = parser.parse_args(arguments)
    report = coverage_report(options.trials, options.seed, options.processes)
    print(report)
    if options.out:
        write_atomically(options.out, lambda file: file.write(report.encode()))


if __name__ == "__main__":
    main()
