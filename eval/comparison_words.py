"""Plain verdicts on a comparison: better, worse, equivalent or cannot tell, and what to keep in mind with them."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from antiphon.eval.power import PowerEstimate
from antiphon.eval.result_formats import format_number
from antiphon.eval.statistics import MIN_GROUPS_FOR_POPULATION

FEW_GROUPS = 20  # from here on 95 % intervals covered 94 to 96 % in the simulation
SMALL_SHARE = 0.1  # of the reference's value or its errors: what counts as no difference where no margin is given


def verdict(
    comparison: Mapping, needed: PowerEstimate, *, margin: float | None, noun: str, level: float = 0.05
) -> tuple[str, str, int | None]:
    """Judge a comparison.

    "better" and "worse" take a corrected p below `level` and an interval without 0. "equivalent" takes an interval
    within the margin on both sides; without a margin, an interval with 0 and within a tenth of the reference's value,
    or, for a rate of which more is better, of the smaller of the rate and what is missing to 1. Equivalence is not
    corrected for the family of comparisons. Fewer than 10 groups speak for no population, whatever they show.

    Args:
        comparison: as `antiphon.eval.comparison.compare_systems` returns it, up to its verdict.
        needed: how many groups would detect the observed difference.
        margin: in the metric's own unit; None if not given.
        noun: what a group is, such as "speaker".

    Returns:
        The verdict, its sentence, and how many more groups would tell (None where that is not the question).
    """
    value, low, high = (comparison[key] for key in ("value", "low", "high"))
    if comparison["num_groups"] < MIN_GROUPS_FOR_POPULATION:
        return "cannot tell", f"cannot tell ({count(comparison['num_groups'], noun)})", None
    largest = max(abs(low), abs(high))
    small = largest <= (_default_margin(comparison) if margin is None else margin)
    excludes_zero = not low <= 0 <= high
    if comparison["holm_p_value"] < level and excludes_zero:
        judged = "better" if (value > 0) == comparison["higher_is_better"] else "worse"
        return judged, f"{judged}, by no more than the margin" if margin is not None and small else judged, None
    if small and excludes_zero and margin is None:
        p_value = f"p = {comparison['holm_p_value']:.2g}"
        return "cannot tell", f"cannot tell: a small difference by the interval, not by the test ({p_value})", None
    if small:
        bound = largest if margin is None else margin
        return "equivalent", f"no difference larger than {format_bound(bound, comparison['unit'])}", None
    if needed.num_groups is not None:
        more = max(1, needed.num_groups - comparison["num_groups"])
        return "cannot tell", f"cannot tell: about {count(round_up(more), f'more {noun}')} would", more
    if needed.limited_by_trainings:
        return "cannot tell", f"cannot tell: more trainings would, more {noun}s alone would not", None
    return "cannot tell", "cannot tell", None


def _default_margin(comparison: Mapping) -> float:
    """A difference that counts as none: 97 and 98 % accuracy are close, but 3 and 2 % of errors are not."""
    value = comparison["reference_value"]
    if comparison["unit"] == "ratio" and comparison["higher_is_better"]:
        value = min(value, 1 - value)
    return SMALL_SHARE * abs(value)


def warnings(comparison: Mapping, noun: str) -> list[str]:
    """Say what a reader of the verdict must keep in mind.

    Args:
        comparison: with its verdict.
        noun: what a group is, such as "speaker".
    """
    said = []
    once = [comparison[role] for role, number in comparison["num_seeds"].items() if number == 1]
    if len(once) == 2:
        said.append("one training each: says nothing about training anew")
    elif once:
        said.append(f"one training of {once[0]}: says nothing about training it anew")
    if comparison["num_groups"] < MIN_GROUPS_FOR_POPULATION:
        said.append(
            f"{count(comparison['num_groups'], noun)} {'says' if comparison['num_groups'] == 1 else 'say'} nothing "
            f"about a population; the smallest p that any outcome could give is {comparison['smallest_p_value']:.2g}"
        )
    if comparison["num_groups"] < FEW_GROUPS:
        said.append(f"rough interval: with fewer than {FEW_GROUPS} {noun}s 95 % ones covered 92 to 99 % in simulations")
    if len(comparison["group_by"]) == 2:
        said.append(
            f"crossed groupings ({' and '.join(comparison['group_by'])}): the test exchanges the one that varies more"
        )
    if (more := comparison["more_groups_needed"]) is not None:
        said.append(f"{round_up(more)} is a rough guess: it takes the observed difference for the true one")
    for name, (first, other) in comparison["condition_differences"].items():
        said.append(f"conditions differ in {name}: {first!r} for {comparison['reference']}, {other!r} for this system")
    return said


def group_noun(group_by: Sequence[str], groupings: Sequence[np.ndarray]) -> str:
    """Return what the groups of the grouping with the fewest of them are called."""
    fewest = min(range(len(group_by)), key=lambda index: len(np.unique(groupings[index])))
    return group_by[fewest].removesuffix("_id")


def count(number: int, noun: str) -> str:
    """A number of things."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def format_bound(value: float, unit: str | None) -> str:
    """A difference without its sign, rounded up to two digits; that of two percentages is in points."""
    scale, unit = (100.0, "points") if unit == "ratio" else (1.0, unit)
    return format_number(round_up(scale * value), unit)


def round_up(number: float) -> float:
    """Round up to two significant digits."""
    if number == 0:
        return 0
    step = 10.0 ** (math.floor(math.log10(abs(number))) - 1)
    # The guard keeps a bound that was given, such as 0.5, from becoming 0.51.
    rounded = math.ceil(number / step - 1e-9) * step
    return round(rounded) if isinstance(number, int) or step >= 1 else round(rounded, 12)
