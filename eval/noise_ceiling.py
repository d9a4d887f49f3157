"""How well anyone could predict ratings of piano performances, given how far the annotators disagree.

    python eval/noise_ceiling.py percepiano

prints, for each percept, the reliability of the mean rating, which is also the R2 that someone would reach who knew the
true means, with 95 % intervals over excerpts, and split halves of the annotators as a check.
"""

import sys
from pathlib import Path

if not __package__ and not sys.flags.safe_path:
    # Run as a script, this folder's `statistics` would hide the standard library's.
    del sys.path[0]

import argparse
import os
from collections.abc import Sequence

import numpy as np
import pandas as pd

from antiphon.eval.clustered_bootstrap import BootstrappedStatistic, Sums, bootstrap_statistics
from antiphon.eval.result_formats import markdown_table
from antiphon.processing.corpora import item_ids, load_corpus, load_ratings
from antiphon.processing.percepts import PERCEPTS

HIGHEST_RATING = 7
NUM_SPLITS = 50
CONDITIONS = (
    "Ratings outside of 1 to 7 are left out. A rater's repeated ratings of one performance count as one opinion with "
    "noise of its own. Raters are taken as drawn anew for each performance; as each rated many, what a rater thinks of "
    "all of them is partly in the labels, so the true ceiling may lie higher within a passage and lower across raters."
)


def label_noise(ratings: pd.DataFrame) -> pd.DataFrame:
    """Estimate the variance of the error of each mean rating, on the scale of the labels (ratings / 7).

    Opinions of raters vary around the true mean, ratings of one rater around the rater's opinion; both variances are
    those of a percept, pooled over items. A label is the mean over ratings, so a rater counts as often as they rated.

    Args:
        ratings: one row a rating with `user`, `file_name`, `percept` and `rating`, as `load_ratings` returns them.

    Returns:
        Items in rows, percepts in columns.

    Source: variance components of a nested design by moments: Searle, Casella & McCulloch, "Variance Components", 1992,
    section 3.6.
    """
    opinions = _opinions(ratings)
    return pd.DataFrame({percept: _noise(opinions.loc[percept]) for percept in PERCEPTS if percept in opinions.index})


def noise_ceiling(
    labels: pd.DataFrame, noise: pd.DataFrame, clusters: Sequence[str], *, seed: int = 0
) -> dict[str, BootstrappedStatistic]:
    """Return the R2 that answers without error would reach, as the labels themselves err.

    Args:
        labels: mean ratings, items in rows and percepts in columns.
        noise: `label_noise` of the same items and percepts.
        clusters: (items,) labels of what is resampled as a whole, such as excerpts.
        seed: of the bootstrap.

    Returns:
        `r2`, which is the reliability of the labels, (percepts,), and its mean over percepts, `mean_r2`, (1,);
        `pearson` and `mean_pearson` likewise, its root.
    """
    centred = labels.to_numpy() - labels.to_numpy().mean(axis=0)
    columns = {"count": np.ones_like(centred), "sum": centred, "square": centred**2, "noise": noise.to_numpy()}
    return bootstrap_statistics(columns, clusters, _ceiling, seed=seed)


def split_half_reliability(ratings: pd.DataFrame, *, num_splits: int = NUM_SPLITS, seed: int = 0) -> pd.Series:
    """Correlate the mean opinions of two random halves of each item's raters, stepped up to all of them.

    Args:
        ratings: as of `label_noise`.
        num_splits: random splits averaged over.
        seed: of the splits.

    Returns:
        By percept.

    Source: Spearman 1910 and Brown 1910, "Correlation calculated from faulty data" and "Some experimental results in
    the correlation of mental abilities".
    """
    opinions, generator = _opinions(ratings).reset_index(), np.random.default_rng(seed)
    correlations = []
    for _ in range(num_splits):
        drawn = opinions.assign(order=generator.random(len(opinions)))
        place = drawn.groupby(["percept", "file_name"])["order"].rank()
        halves = drawn.assign(half=place % 2).groupby(["percept", "file_name", "half"])["mean"].mean().unstack()
        correlations.append(halves.groupby("percept").apply(lambda own: own[0.0].corr(own[1.0])))
    correlation = pd.concat(correlations, axis=1).mean(axis=1)
    return (2 * correlation / (1 + correlation)).reindex([p for p in PERCEPTS if p in correlation.index])


def _opinions(ratings: pd.DataFrame) -> pd.DataFrame:
    """Mean, sum of squares within and number of each rater's ratings, by percept, item and rater; labels' scale."""
    known = ratings[ratings["rating"].between(1, HIGHEST_RATING)]
    values = known.assign(rating=known["rating"] / HIGHEST_RATING)
    grouped = values.groupby(["percept", "file_name", "user"])["rating"]
    return pd.DataFrame({"mean": grouped.mean(), "count": grouped.size(), "within": grouped.var(ddof=0).fillna(0.0)})


def _noise(opinions: pd.DataFrame) -> pd.Series:
    """Variance of the error of each item's label for one percept; `opinions` by item and rater."""
    count, mean = opinions["count"], opinions["mean"]
    repeats = (count - 1).sum()
    repeat_variance = (opinions["within"] * count).sum() / repeats if repeats else 0.0
    by_item = mean.groupby("file_name")
    raters = by_item.size()
    observed = (by_item.var(ddof=1) * (raters - 1)).sum() / (raters - 1).sum()
    # Opinions are means of a few ratings, so part of how they differ is noise of repetition.
    of_repetition = repeat_variance * (1 / count).groupby("file_name").mean()
    opinion_variance = max(0.0, observed - np.average(of_repetition, weights=raters - 1))
    totals = count.groupby("file_name").sum()
    shares = (count**2).groupby("file_name").sum() / totals**2
    return opinion_variance * shares + repeat_variance / totals


def _ceiling(sums: Sums) -> dict[str, np.ndarray]:
    variation = sums["square"] - sums["sum"] ** 2 / sums["count"]
    r2 = 1 - sums["noise"] / np.where(variation > 0, variation, np.nan)
    pearson = np.sqrt(np.maximum(r2, 0))
    means = {"mean_r2": r2.mean(axis=-1, keepdims=True), "mean_pearson": pearson.mean(axis=-1, keepdims=True)}
    return {"r2": r2, "pearson": pearson, **means}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the ceiling of a corpus."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", help="folder of PercePiano, or its name within $ANTIPHON_DATA")
    options = parser.parse_args(arguments)
    folder = Path(options.corpus)
    if not folder.is_dir():
        folder = Path(os.environ.get("ANTIPHON_DATA", ".")) / options.corpus
    corpus, ratings = load_corpus(folder), load_ratings(folder)
    labels = pd.DataFrame(corpus["percepts"][:], index=item_ids(corpus), columns=list(PERCEPTS))
    print(ceiling_table(labels, ratings, corpus["excerpt"][:]))


def ceiling_table(labels: pd.DataFrame, ratings: pd.DataFrame, excerpts: Sequence[str]) -> str:
    """The ceilings of a corpus as text, with the conditions they hold under."""
    noise = label_noise(ratings).reindex(index=labels.index, columns=labels.columns)
    ceiling, halves = noise_ceiling(labels, noise, excerpts), split_half_reliability(ratings)
    lines = [
        [percept, *(_interval(ceiling[name], index) for name in ("r2", "pearson")), f"{halves[percept]:.3f}"]
        for index, percept in enumerate(labels.columns)
    ]
    means = [_interval(ceiling[f"mean_{name}"], 0) for name in ("r2", "pearson")]
    lines.append(["mean of percepts", *means, f"{halves.mean():.3f}"])
    table = markdown_table(["percept", "reliability, R2 at most", "Pearson's r at most", "split halves"], lines)
    size = f"{len(labels)} performances, {ratings['user'].nunique()} raters, {len(set(excerpts))} excerpts resampled."
    return f"{table}\n\n{size} {CONDITIONS}"


def _interval(ceiling: BootstrappedStatistic, index: int) -> str:
    value, low, high = ceiling.to_dict(index).values()
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    main()
