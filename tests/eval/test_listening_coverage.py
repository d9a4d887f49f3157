"""The simulation of listening tests runs, repeats itself, and tells right intervals from wrong ones."""

from dataclasses import replace

import numpy as np
import pytest

from antiphon.eval import listening_coverage
from antiphon.eval.listening_coverage import DIFFERENCE, MEAN, USED, measure_coverage
from antiphon.eval.listening_simulation import POPULATIONS, TYPICAL, Plan, simulate

PLAN = Plan(12, 10, 5)
NUM_TRIALS = 40


def test_blocks_are_balanced():
    table = simulate(TYPICAL, PLAN, np.random.default_rng(0))
    assert table.groupby(["listener", "condition"]).size().unique().tolist() == [5]
    assert table.groupby(["item", "condition"]).size().unique().tolist() == [6]
    assert not table.duplicated(["listener", "item", "condition"]).any()
    assert set(table["score"]) <= {1, 2, 3, 4, 5}


def test_some_leave_early():
    table = simulate(replace(TYPICAL, leaving=0.5), PLAN, np.random.default_rng(0))
    numbers = table.groupby("listener").size()
    assert numbers.max() == 20
    assert numbers.min() < 15


def test_intervals_that_count_listeners_and_items_hold_and_others_do_not():
    coverage = measure_coverage(POPULATIONS["biased listeners"], PLAN, NUM_TRIALS)
    assert coverage[MEAN]["answers"]["coverage"] < 0.75
    assert coverage[MEAN]["items"]["coverage"] < 0.75
    assert coverage[MEAN][USED]["coverage"] > 0.85
    assert coverage[DIFFERENCE][USED]["coverage"] > 0.85
    coverage = measure_coverage(POPULATIONS["difficult items"], PLAN, NUM_TRIALS)
    assert coverage[MEAN]["listeners"]["coverage"] < 0.75
    assert coverage[MEAN][USED]["coverage"] > 0.85


def test_the_binomial_test_finds_preferences_where_there_are_none():
    sizes = listening_coverage.measure_size(Plan(10, 20, 20), NUM_TRIALS)
    assert sizes["preference: binomial test"] > 0.15
    assert sizes["preference: exchange test"] < 0.12
    assert sizes["difference: exchange test"] < 0.12


def test_power_is_near_what_was_promised():
    measured = listening_coverage.measure_power(Plan(20, 30, 8), NUM_TRIALS)
    assert measured["true"] == pytest.approx(measured["promised"], abs=0.05)
    assert 0.7 < measured["power"] < 0.98  # 40 trials, standard error 0.06


def test_command_writes_the_tables(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(listening_coverage, "PLANS", {"small": Plan(4, 4, 2)})
    monkeypatch.setattr(listening_coverage, "POPULATIONS", {"typical": TYPICAL})
    listening_coverage.main(["--trials", "2", "--out", str(tmp_path / "coverage.md")])
    printed = capsys.readouterr().out
    assert (tmp_path / "coverage.md").read_text().strip() == printed.strip()
    assert printed.count("| typical |") == 2
    assert printed.count("| small |") == 2
