"""Check the statistics by simulation: coverage, size of the tests, error of the power estimate, speed.

    python eval/benchmark_statistics.py --trials 2000 --out results/statistics.json

Each process draws groups from a population whose true value is known; a right 95 % interval holds it in 95 % of the
trials, and a right test rejects at 5 % where nothing differs. Every figure is printed with its Monte Carlo standard
error.
"""

import sys
from pathlib import Path

if not __package__ and not sys.flags.safe_path:
    # Run as a script, this folder's `statistics` would hide the standard library's.
    del sys.path[0]

import argparse
import json
import time
from collections.abc import Sequence

import numpy as np
from scipy import optimize
from scipy import stats as laws

from antiphon.eval.intervals import ratio_interval
from antiphon.eval.permutation import exchange_test
from antiphon.eval.power import groups_needed
from antiphon.eval.result_formats import markdown_table
from antiphon.eval.result_rows import write_atomically
from antiphon.eval.simulated_groups import COVERAGE_PROCESSES, NULL_PROCESSES, Process, gaussian
from antiphon.eval.statistics import bootstrap_ratio, paired_permutation_test
from antiphon.eval.variance import Measurements, measure_spread

NUM_GROUPS = (6, 10, 20, 40, 100)
NUM_RESAMPLES = 999
QUANTILES = (0.1, 0.5, 0.9)
PILOT_GROUPS, NEEDED_GROUPS = (10, 20, 40), (20, 50, 200)


def measure_coverage(process: Process, num_groups: int, num_trials: int, seed: int) -> dict:
    """Return how often 95 % intervals hold the truth (`coverage`), miss it on either side, and their mean width."""
    generator = np.random.default_rng([seed, num_groups])
    above = below = width = 0.0
    for _ in range(num_trials):
        systems, truth = process(num_groups, generator)
        interval = ratio_interval(systems, num_resamples=NUM_RESAMPLES, seed=generator)
        above += truth > interval.high
        below += truth < interval.low
        width += interval.high - interval.low
    coverage = 1 - (above + below) / num_trials
    return {
        "coverage": coverage,
        "truth_above": above / num_trials,
        "truth_below": below / num_trials,
        "mean_width": width / num_trials,
        "standard_error": np.sqrt(coverage * (1 - coverage) / num_trials),
    }


def measure_size(process: Process, num_groups: int, num_trials: int, seed: int) -> dict:
    """Return how often the test at 5 % (`test`), and test and interval together (`verdict`), find what is not there."""
    generator = np.random.default_rng([seed, num_groups, 1])
    rejected = told = 0
    for _ in range(num_trials):
        systems, _ = process(num_groups, generator)
        spread = measure_spread(systems)
        totals = spread.totals if len(systems) == 2 else np.concatenate([spread.totals, spread.totals * [0, 1]], axis=1)
        if exchange_test(totals, spread, num_resamples=NUM_RESAMPLES, seed=generator).p_value < 0.05:
            rejected += 1
            interval = ratio_interval(systems, num_resamples=NUM_RESAMPLES, seed=generator)
            told += not interval.low <= 0 <= interval.high
    size = rejected / num_trials
    return {"test": size, "verdict": told / num_trials, "standard_error": np.sqrt(size * (1 - size) / num_trials)}


def measure_power_error(num_pilot: int, num_needed: int, num_trials: int, seed: int) -> dict:
    """Compare the estimated number of groups with the true one, for Gaussian groups.

    Args:
        num_pilot: groups that the estimate is made from.
        num_needed: the true answer; sets the effect.

    Returns:
        The 10 %, 50 % and 90 % quantiles of estimate / truth, for the true effect (`given`) and for the `observed`
        one, and how often the latter is over ten times the truth.
    """
    generator = np.random.default_rng([seed, num_pilot, num_needed])
    group_sd = np.sqrt(1 + 1 / 20)
    effect = group_sd * _detectable_effect(num_needed)
    given, observed = np.empty((2, num_trials))
    for trial in range(num_trials):
        (pilot,), _ = gaussian(num_pilot, generator)
        spread = measure_spread([Measurements(pilot.numerators + 20 * effect, pilot.denominators, pilot.groupings)])
        given[trial] = groups_needed(spread, difference=effect).num_groups / num_needed
        observed[trial] = (groups_needed(spread).num_groups or np.inf) / num_needed
    return {
        "given": np.quantile(given, QUANTILES, method="inverted_cdf").tolist(),
        "observed": np.quantile(observed, QUANTILES, method="inverted_cdf").tolist(),
        "observed_over_ten_times": float(np.mean(observed > 10)),
    }


def measure_power(num_groups: int, num_trials: int, seed: int) -> dict:
    """Return how often the interval finds the effect that the estimate says `num_groups` groups find in 80 %."""
    generator = np.random.default_rng([seed, num_groups, 2])
    effect = np.sqrt(1 + 1 / 20) * _detectable_effect(num_groups)
    found = 0
    for _ in range(num_trials):
        (sample,), _ = gaussian(num_groups, generator)
        shifted = Measurements(sample.numerators + 20 * effect, sample.denominators, sample.groupings)
        interval = ratio_interval([shifted], num_resamples=NUM_RESAMPLES, seed=generator)
        found += interval.low > 0
    power = found / num_trials
    return {"power": power, "standard_error": np.sqrt(power * (1 - power) / num_trials)}


def _detectable_effect(num_groups: int) -> float:
    """Effect, in standard deviations between groups, that `num_groups` groups detect in 80 % by the noncentral t."""
    degrees, root = num_groups - 1, np.sqrt(num_groups)
    limit = laws.t.ppf(0.975, degrees)
    return optimize.brentq(lambda effect: laws.nct.sf(limit, degrees, effect * root) - 0.8, 0.01, 10)


def measure_speed(seed: int) -> dict[str, float]:
    """Return seconds for an interval and a test with 10,000 resamples of 10,000 items in 200 clusters."""
    generator = np.random.default_rng(seed)
    groups = generator.integers(200, size=10_000)
    errors, other, words = generator.poisson(1, 10_000), generator.poisson(1, 10_000), np.full(10_000, 8)
    seconds = {}
    for name, run in (
        ("interval", lambda: bootstrap_ratio(errors, words, groups, num_resamples=10_000)),
        ("test", lambda: paired_permutation_test(errors, other, groups, num_resamples=9_999)),
    ):
        start = time.perf_counter()
        run()
        seconds[name] = time.perf_counter() - start
    return seconds


def benchmark_statistics(num_trials: int, seed: int = 0) -> dict:
    """Run every check; see the functions for what each entry holds."""
    return {
        "num_trials": num_trials,
        "coverage": {
            name: {num: measure_coverage(process, num, num_trials, seed + index) for num in NUM_GROUPS}
            for index, (name, process) in enumerate(COVERAGE_PROCESSES.items())
        },
        "size": {
            name: {num: measure_size(process, num, num_trials, seed + index) for num in NUM_GROUPS}
            for index, (name, process) in enumerate(NULL_PROCESSES.items())
        },
        "power": {num: measure_power(num, num_trials, seed) for num in (*PILOT_GROUPS, *NEEDED_GROUPS[1:])},
        "power_error": [
            {"pilot": pilot, "needed": needed, **measure_power_error(pilot, needed, num_trials, seed)}
            for pilot in PILOT_GROUPS
            for needed in NEEDED_GROUPS
        ],
        "seconds": measure_speed(seed),
    }


def results_tables(results: dict) -> str:
    """Write the results as Markdown tables."""
    percent, groups = _percent, [f"{num} groups" for num in NUM_GROUPS]
    coverage = (
        [name, *(percent(cell["coverage"], cell["standard_error"]) for cell in cells.values())]
        for name, cells in results["coverage"].items()
    )
    size = (
        [
            name,
            *(
                f"{percent(cell['test'], cell['standard_error'])}, {percent(cell['verdict'])}"
                for cell in cells.values()
            ),
        ]
        for name, cells in results["size"].items()
    )
    power = [percent(cell["power"], cell["standard_error"]) for cell in results["power"].values()]
    errors = (
        [
            str(entry["pilot"]),
            str(entry["needed"]),
            *(" / ".join(f"{ratio:.2g}" for ratio in entry[name]) for name in ("given", "observed")),
            percent(entry["observed_over_ten_times"]),
        ]
        for entry in results["power_error"]
    )
    error_headings = ["pilot groups", "needed groups", "effect given", "effect observed", "observed: over ten times"]
    sections = [
        (f"Coverage of 95 % intervals ({results['num_trials']} trials)", ["process", *groups], coverage),
        ("Size at 5 %: test, and verdict (test and interval)", ["process", *groups], size),
        ("Power with as many groups as theory needs for 80 %", [f"{num} groups" for num in results["power"]], [power]),
        ("Estimated / needed groups: 10 % / 50 % / 90 % quantiles", error_headings, errors),
        (
            "Seconds for 10,000 resamples of 10,000 items in 200 groups",
            list(results["seconds"]),
            [[f"{seconds:.2f}" for seconds in results["seconds"].values()]],
        ),
    ]
    return "\n\n".join(f"### {title}\n\n{markdown_table(headings, lines)}" for title, headings, lines in sections)


def _percent(share: float, standard_error: float | None = None) -> str:
    return f"{100 * share:.1f}" + (f" ± {100 * standard_error:.1f}" if standard_error is not None else "")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the simulation and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2000, help="per cell of the tables")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args(arguments)
    results = benchmark_statistics(options.trials, options.seed)
    print(results_tables(results))
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(options.out, lambda file: file.write((json.dumps(results, indent=2) + "\n").encode()))


if __name__ == "__main__":
    main()
