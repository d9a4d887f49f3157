"""Intervals of statistics of sums: against the theory of a mean, reproducible, and honest about one group."""

import numpy as np
import pytest

from antiphon.eval.clustered_bootstrap import bootstrap_statistics


def mean_of(sums):
    return {"mean": sums["value"] / sums["count"]}


def test_a_mean_has_the_interval_of_its_groups():
    generator = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 4)
    values = np.repeat(generator.normal(size=60), 4)  # items of a group are alike: 60 numbers, not 240
    columns = {"value": values[:, None], "count": np.ones((240, 1))}
    result = bootstrap_statistics(columns, groups, mean_of, num_resamples=2000)["mean"]
    error = values.reshape(60, 4)[:, 0].std() / np.sqrt(60)
    assert result.value == pytest.approx(values.mean())
    assert result.high - result.low == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert bootstrap_statistics(columns, groups, mean_of, num_resamples=2000)["mean"].low == result.low


def test_one_group_has_no_interval():
    result = bootstrap_statistics({"value": np.ones((3, 1)), "count": np.ones((3, 1))}, ["a"] * 3, mean_of)["mean"]
    assert result.to_dict(0)["value"] == 1.0
    assert np.isnan([result.low, result.high]).all()


def test_what_is_undefined_in_most_resamples_has_no_interval():
    columns = {"value": np.ones((20, 1)), "count": np.eye(20)[:, :1]}
    with np.errstate(divide="ignore", invalid="ignore"):
        alone = bootstrap_statistics(columns, range(20), lambda sums: {"m": sums["value"] * 0 / (sums["count"] == 5)})
    assert np.isnan(alone["m"].low).all()
