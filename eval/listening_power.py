"""What a listening test can find: how answers vary between listeners and items, and the difference they could show.

    python eval/listening_power.py --listeners 20 --items 30 --systems 4 --pages 40
    python eval/listening_power.py --pilot results.sqlite --listeners 20 --items 30 --systems 4 --pages 40

Without a pilot the answers are taken to vary as those of the typical simulated listeners, which is an assumption.
"""

import sys
from pathlib import Path

if not __package__ and not sys.flags.safe_path:
    # Run as a script, this folder's `statistics` would hide the standard library's.
    del sys.path[0]

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from antiphon.eval.intervals import student_quantile
from antiphon.eval.listening_results import ResultsError, read_results, scores
from antiphon.eval.listening_simulation import TYPICAL, Plan, simulate
from antiphon.eval.power import groups_needed
from antiphon.eval.variance import Spread

POWER = 0.8
# The two-way variance of the analysis errs upwards, most in incomplete blocks, so that its intervals are wider than the
# components say. Without this factor 61 to 74 % of the differences promised with 80 % were found in simulated tests;
# `eval/listening_coverage.md` has how many are found with it.
CALIBRATION = 1.25
LARGE = Plan(num_listeners=150, num_items=150, answers_each=30)  # from which assumed components are taken
NUM_ITERATIONS = 10


@dataclass(frozen=True)
class Components:
    """How answers vary around the mean of their condition: mean products of two deviations, by what they share.

    Args:
        total: of an answer with itself.
        listener_condition: same listener and condition, other item.
        item_condition: same item and condition, other listener.
        listener: same listener, other condition and item.
        item: same item, other condition and listener.
        listener_item: same listener and item, other condition.
    """

    total: float
    listener_condition: float
    item_condition: float
    listener: float
    item: float
    listener_item: float

    def variances(self, plan: Plan, *, compared: bool) -> tuple[float, float]:
        """Variance from listeners and from single answers, and from items, of a mean or of a difference of two means.

        Args:
            compared: of a difference, else of a mean.
        """
        num_answers = plan.num_listeners * plan.answers_each
        listeners, items = self.listener_condition, self.item_condition
        single = self.total - listeners - items
        if compared:
            # How often a listener hears an item in both conditions.
            both = plan.answers_each / plan.num_items
            listeners, items = 2 * (listeners - self.listener), 2 * (items - self.item)
            single = 2 * (single + both * (self.listener + self.item - self.listener_item))
        shares = (listeners / plan.num_listeners, items / plan.num_items, single / num_answers)
        of_listeners, of_items, of_answers = (max(0.0, share) for share in shares)
        return of_listeners + of_answers, of_items


def measure_components(table: pd.DataFrame) -> Components:
    """Estimate the components from answers, complete or in incomplete blocks.

    Args:
        table: `listening_results.scores`.

    Source: the moments of a crossed design: Searle, Casella & McCulloch, "Variance Components", 1992, chapter 5. That
    deviations are from estimated means is corrected for.
    """
    labels = {name: pd.factorize(table[name])[0] for name in ("listener", "item", "condition")}
    scores_of_condition = table.groupby("condition")["score"]
    deviations = (table["score"] - scores_of_condition.transform("mean")).to_numpy()

    def pairs(*shared: str) -> np.ndarray:
        """Sum of products over ordered pairs of answers that share these labels, and their number."""
        groups = np.zeros(len(table), dtype=int)
        for name in shared:
            groups = groups * (labels[name].max() + 1) + labels[name]
        sums, squares = (np.bincount(groups, weights=own) for own in (deviations, deviations**2))
        sizes = np.bincount(groups)
        return np.array([np.sum(sums**2 - squares), np.sum(sizes**2 - sizes)], dtype=float)

    by_listener, by_item = pairs("listener", "condition"), pairs("item", "condition")
    both = pairs("listener", "item")
    moments = {
        "listener_condition": by_listener,
        "item_condition": by_item,
        "listener": pairs("listener") - by_listener - both,
        "item": pairs("item") - by_item - both,
        "listener_item": both,
    }
    found = {name: products / number if number else 0.0 for name, (products, number) in moments.items()}
    raw = Components(total=float(np.mean(deviations**2)), **found)
    return _without_bias_of_means(raw, plan_of(table))


def _without_bias_of_means(raw: Components, plan: Plan) -> Components:
    """Deviations from an estimated mean lack its variance, those of two conditions the covariance of their means."""
    components = raw
    for _ in range(NUM_ITERATIONS):
        variance = sum(components.variances(plan, compared=False))
        covariance = variance - sum(components.variances(plan, compared=True)) / 2
        components = Components(
            **{name: getattr(raw, name) + variance for name in ("total", "listener_condition", "item_condition")},
            **{name: getattr(raw, name) + covariance for name in ("listener", "item", "listener_item")},
        )
    return components


def plan_of(table: pd.DataFrame) -> Plan:
    """The plan that comes nearest to answers as they are."""
    num_listeners, num_conditions = table["listener"].nunique(), table["condition"].nunique()
    return Plan(num_listeners, table["item"].nunique(), len(table) / num_listeners / num_conditions, num_conditions)


def detectable_difference(components: Components, plan: Plan, *, compared: bool = True, power: float = POWER) -> float:
    """The true difference between two conditions, or of a share from chance, that is found with this probability.

    Finding means that the 95 % interval excludes 0; of several comparisons, before Holm's correction.
    """
    spread = _spread(components, plan, compared)
    half_width = spread.half_width(student_quantile(plan.num_listeners, 0.95), 0.95)
    standard_error = np.sqrt(spread.group_variance + spread.crossed_variance)
    return float(CALIBRATION * (half_width + stats.norm.ppf(power) * standard_error))


def listeners_needed(
    components: Components, plan: Plan, difference: float, *, compared: bool = True, power: float = POWER
) -> int | None:
    """Listeners who would find a difference with the items and answers each of a plan; None if no number suffices."""
    spread = _spread(components, plan, compared)
    return groups_needed(spread, difference=difference / CALIBRATION, power=power).num_groups


def _spread(components: Components, plan: Plan, compared: bool) -> Spread:
    of_listeners, of_items = components.variances(plan, compared=compared)
    return Spread(
        totals=np.ones((plan.num_listeners, 1, 2)),
        group_variance=of_listeners,
        crossed_variance=of_items,
        crossed_degrees=max(1, plan.num_items - 1),
        training_variance=0.0,
        training_degrees=1,
        num_groups=min(plan.num_listeners, plan.num_items),
    )


def assumed_components(seed: int = 0) -> Components:
    """Components of the typical simulated listeners."""
    return measure_components(simulate(TYPICAL, LARGE, np.random.default_rng(seed)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print what a planned test can find."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pilot", type=Path, help="SQLite file or export of an earlier test of the same kind")
    for name, meaning in (("listeners", ""), ("items", ""), ("systems", "or pairs"), ("pages", "of a listener")):
        parser.add_argument(f"--{name}", type=int, required=True, help=meaning)
    options = parser.parse_args(arguments)
    plan = Plan(options.listeners, options.items, options.pages / options.systems, options.systems)
    if not 0 < plan.answers_each <= plan.num_items or min(options.listeners, options.items) < 2:
        raise SystemExit(
            f"`--pages` is {options.pages}, expected 1 to systems x items, of two listeners and items at least."
        )
    compared, source = True, "simulated listeners, an assumption"
    components = None
    if options.pilot:
        try:
            results = read_results(options.pilot)
        except ResultsError as error:
            raise SystemExit(str(error)) from None
        compared, source = results.is_rated, str(options.pilot)
        components = measure_components(scores(results))
    found = detectable_difference(components or assumed_components(), plan, compared=compared)
    what = "a difference between two systems of" if compared else "a share that differs from one half by"
    size = f"{plan.num_listeners} listeners x {plan.num_items} items"
    print(
        f"With {size}, {plan.answers_each:.1f} answers of each listener to each system, you can detect {what} "
        f"{found:.2f} ({POWER:.0%} power; answers vary as those of {source})."
    )


if __name__ == "__main__":
    main()
