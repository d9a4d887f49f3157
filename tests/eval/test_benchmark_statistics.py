"""The simulation of the statistics runs, repeats itself, and would notice wrong statistics."""

import json

import numpy as np
import pytest

from antiphon.eval import benchmark_statistics, simulated_groups
from antiphon.eval.variance import measure_spread


@pytest.mark.parametrize("name", simulated_groups.COVERAGE_PROCESSES)
def test_processes_have_the_truth_that_they_tell(name):
    generator = np.random.default_rng(0)
    process = simulated_groups.COVERAGE_PROCESSES[name]
    values, truths, errors = [], [], []
    for _ in range(40):
        systems, truth = process(100, generator)
        spread = measure_spread(systems)
        values.append(spread.value)
        truths.append(truth)
    assert len(set(truths)) == 1
    errors = np.std(values, ddof=1) / np.sqrt(len(values))
    assert np.mean(values) == pytest.approx(truths[0], abs=3.5 * errors)


def test_coverage_falls_where_the_truth_is_wrong():
    def shifted(num_groups, generator):
        systems, truth = simulated_groups.gaussian(num_groups, generator)
        return systems, truth + 3

    assert benchmark_statistics.measure_coverage(simulated_groups.gaussian, 20, 60, 0)["coverage"] > 0.85
    missed = benchmark_statistics.measure_coverage(shifted, 20, 60, 0)
    assert missed["coverage"] < 0.1
    assert missed["truth_above"] > 0.9


def test_size_finds_a_real_difference():
    assert benchmark_statistics.measure_size(simulated_groups.gaussian, 20, 40, 0)["test"] < 0.25
    assert benchmark_statistics.measure_size(simulated_groups.paired_rates, 40, 40, 0)["verdict"] > 0.8


def test_command_line_prints_tables_and_writes_json(tmp_path, capsys):
    out = tmp_path / "new" / "statistics.json"
    benchmark_statistics.main(["--trials", "2", "--out", str(out)])
    printed = capsys.readouterr().out
    results = json.loads(out.read_text())
    assert results["num_trials"] == 2
    for name in (*simulated_groups.COVERAGE_PROCESSES, *simulated_groups.NULL_PROCESSES):
        assert f"| {name} |" in printed
    cell = results["coverage"]["Gaussian groups"]["20"]
    assert f"{100 * cell['coverage']:.1f} ± {100 * cell['standard_error']:.1f}" in printed
    again = benchmark_statistics.benchmark_statistics(2)
    assert json.loads(json.dumps(again["coverage"])) == results["coverage"]
