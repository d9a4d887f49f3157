"""Means, differences, preferences and agreement of listeners, with intervals for other listeners and other items.

Each listener hears many items and each item is heard by many listeners, so that answers are crossed: those of one
listener resemble one another, and so do those to one item. The variance of a mean is V_listeners + V_items - V_both
(Cameron, Gelbach & Miller, 2011), each by the jackknife, with studentised-bootstrap quantiles: see
`antiphon.eval.intervals`. It was chosen by simulation (`eval/listening_coverage.md`): it needs no law of the answers,
holds in incomplete blocks, and covers the truth about as often as it says; intervals over answers, listeners or items
alone do not.
"""

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from antiphon.eval.clustered_bootstrap import Sums, bootstrap_statistics
from antiphon.eval.intervals import Interval, ratio_interval
from antiphon.eval.permutation import PermutationTest, exchange_test
from antiphon.eval.statistics import holm_correction
from antiphon.eval.variance import Measurements, Spread, measure_spread

NUM_RESAMPLES = 4_000
CHANCE = 0.5


def condition_measurements(table: pd.DataFrame, condition: str, reference: str | None = None) -> list[Measurements]:
    """Gather the scores of one condition, or of two to be compared.

    Args:
        table: `listening_results.scores`.
        reference: the second condition.

    Returns:
        Of each, all listeners and items of either; answers to the other condition count with denominator 0, since in
        incomplete blocks a listener hears other items of each.
    """
    names = [condition] if reference is None else [condition, reference]
    own = table[table["condition"].isin(names)]
    groupings = tuple(own[name].to_numpy(dtype=str) for name in ("listener", "item"))
    scores, conditions = own["score"].to_numpy(dtype=float), own["condition"].to_numpy()
    return [
        Measurements(scores * (conditions == name), (conditions == name).astype(float), groupings) for name in names
    ]


def condition_means(table: pd.DataFrame, possible_range: tuple[float, float], *, seed: int = 0) -> dict[str, Interval]:
    """Mean score of each condition with its 95 % interval over listeners and items.

    Args:
        table: `listening_results.scores`.
        possible_range: of the scores, where the intervals end.
    """
    options = {"num_resamples": NUM_RESAMPLES, "seed": seed, "possible_range": possible_range}
    return {
        name: ratio_interval(condition_measurements(table, name), **options) for name in sorted(set(table["condition"]))
    }


def paired_comparisons(table: pd.DataFrame, *, seed: int = 0) -> list[dict]:
    """Difference of means of every two conditions, with interval and Holm-corrected p.

    Conditions are exchanged within whole listeners, or within items where these vary more; what the other adds to the
    variance shrinks the observed difference first, see `antiphon.eval.permutation`.

    Returns:
        Of each pair `condition`, `reference`, `difference` (an `Interval`), `test`, and `p_value` after correction.
    """
    comparisons = []
    for reference, condition in combinations(sorted(set(table["condition"])), 2):
        systems = condition_measurements(table, condition, reference)
        spread = measure_spread(systems)
        comparisons.append(
            {
                "condition": condition,
                "reference": reference,
                "difference": ratio_interval(systems, num_resamples=NUM_RESAMPLES, seed=seed),
                "test": exchange_test(spread.totals, spread, seed=seed),
            }
        )
    return _with_holm(comparisons)


def chance_comparisons(table: pd.DataFrame, *, seed: int = 0) -> list[dict]:
    """Share of preferences, or of recognised X, of every condition against chance, with Holm-corrected p.

    The binomial test takes all answers as independent; `binomial_p` is given beside ours to show what that claims.

    Returns:
        Of each condition `condition`, `share` (an `Interval`), `test`, `binomial_p`, and `p_value` after correction.
    """
    comparisons = []
    for condition in sorted(set(table["condition"])):
        (scores,) = condition_measurements(table, condition)
        spread = measure_spread([scores])
        decided = scores.numerators[scores.numerators != CHANCE]
        binomial_p = stats.binomtest(int(decided.sum()), len(decided)).pvalue if len(decided) else 1.0
        comparisons.append(
            {
                "condition": condition,
                "share": ratio_interval([scores], num_resamples=NUM_RESAMPLES, seed=seed, possible_range=(0.0, 1.0)),
                "test": chance_test(spread, seed=seed),
                "binomial_p": float(binomial_p),
            }
        )
    return _with_holm(comparisons)


def chance_test(spread: Spread, *, seed: int | np.random.Generator = 0) -> PermutationTest:
    """Test that a share is one half, by exchanging both answers within whole listeners (or items).

    Args:
        spread: of the share, from one system.
    """
    chance = spread.totals * [0.0, 1.0] + CHANCE * spread.totals[..., [1]] * [1.0, 0.0]
    return exchange_test(np.concatenate([spread.totals, chance], axis=1), spread, seed=seed)


def _with_holm(comparisons: list[dict]) -> list[dict]:
    adjusted = holm_correction([entry["test"].p_value for entry in comparisons]) if comparisons else []
    return [entry | {"p_value": float(p_value)} for entry, p_value in zip(comparisons, adjusted)]


def agreement(table: pd.DataFrame, *, seed: int = 0) -> dict[str, float]:
    """Krippendorff's alpha of the listeners, with a 95 % interval over items.

    1 means that all agree, 0 that answers agree as if drawn at random. What one listener heard alone is left out.

    Args:
        table: `listening_results.scores`; a unit is an item of a condition, the difference function that of intervals,
            which for two answers is that of categories.

    Source: Krippendorff, "Content Analysis", 4th edition, 2018, chapter 12; observed and expected disagreement as sums
    over units, by which items can be resampled.
    """
    units = table.groupby(["item", "condition"])["score"].agg(["size", "sum", lambda own: np.sum(own**2)])
    units.columns = ["count", "sum", "square"]
    units = units[units["count"] > 1]
    if units.empty:
        return dict.fromkeys(("value", "low", "high"), float("nan"))
    within = (units["count"] * units["square"] - units["sum"] ** 2) / (units["count"] - 1)
    columns = {name: units[name].to_numpy(dtype=float) for name in units} | {"within": within.to_numpy()}
    items = units.index.get_level_values("item").to_numpy(dtype=str)
    return bootstrap_statistics(columns, items, _alpha, num_resamples=NUM_RESAMPLES, seed=seed)["alpha"].to_dict()


def _alpha(sums: Sums) -> Mapping[str, np.ndarray]:
    count = sums["count"]
    expected = (count * sums["square"] - sums["sum"] ** 2) / (count - 1)
    return {"alpha": np.asarray(1 - sums["within"] / np.where(expected > 0, expected, np.nan))}


def describe_listeners(table: pd.DataFrame) -> pd.DataFrame:
    """Of each listener the number of answers, their mean and spread, and how they go along with those of the others.

    Returns:
        By listener `answers`, `mean`, `standard_deviation` and `correlation` with the mean of all others on the same
        item and condition (NaN with fewer than 3 shared, or where all are equal).
    """
    units = table.groupby(["item", "condition"])["score"]
    size = units.transform("size")
    others = (units.transform("sum") - table["score"]) / (size - 1).where(size > 1)
    rows = {}
    for listener, own in table.assign(others=others).groupby("listener"):
        shared = own.dropna(subset="others")
        varies = len(shared) > 2 and shared["score"].nunique() > 1 and shared["others"].nunique() > 1
        rows[listener] = {
            "answers": len(own),
            "mean": own["score"].mean(),
            "standard_deviation": own["score"].std(ddof=1),
            "correlation": shared["score"].corr(shared["others"]) if varies else float("nan"),
        }
    return pd.DataFrame.from_dict(rows, orient="index")
