"""The analysis of listening tests: results read, who is left out, means, comparisons, agreement, power, the report."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from simulated_listening import PLAN, definition, rated_results

from antiphon.eval import listening_analysis, listening_export, listening_power
from antiphon.eval.listening_report import ALL, ATTENTIVE, write_report
from antiphon.eval.listening_results import (
    COLUMNS,
    TRIAL,
    ListeningResults,
    ResultsError,
    failed_checks,
    inattentive_listeners,
    read_results,
    scores,
)
from antiphon.eval.listening_simulation import PREFERENCES, TYPICAL, Plan, Population, simulate, true_means
from antiphon.eval.listening_statistics import (
    agreement,
    chance_comparisons,
    condition_means,
    condition_measurements,
    describe_listeners,
    paired_comparisons,
)
from antiphon.eval.variance import measure_spread

QUIET = Population(qualities=(2.0, 4.0), bias=0, use=0, item=0, item_condition=0, listener_condition=0, noise=0.1)


def table_of(rows: list[tuple]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["listener", "item", "condition", "score"])


def compared_results(kind: str, rows: list[tuple]) -> ListeningResults:
    """Results of a comparison; rows of listener, item, A, B, X and answer."""
    ratings = pd.DataFrame(rows, columns=["listener_id", "item", "system_a", "system_b", "system_x", "answer"])
    ratings = ratings.assign(position=range(len(rows)), kind=TRIAL, expected=None)[list(COLUMNS)]
    known = definition(kind, pd.DataFrame({"condition": ["p", "q"], "item": ["i", "j"]}), len(rows))
    return ListeningResults(known, ratings, 2)


# ---------------------------------------------------------------- results


def test_preference_is_that_for_the_first_system_wherever_it_stood():
    rows = [("L1", "i", "p", "q", None, answer) for answer in ("A", "B", "none")]
    rows += [("L1", "i", "q", "p", None, answer) for answer in ("A", "B", "none")]
    table = scores(compared_results("ab", rows))
    assert table["score"].tolist() == [1, 0, 0.5, 0, 1, 0.5]
    assert set(table["condition"]) == {"p | q"}


def test_x_is_recognised_wherever_it_stood():
    orders = [("p", "q", "p"), ("p", "q", "q"), ("q", "p", "p"), ("q", "p", "q")]
    rows = [("L1", "i", *order, answer) for order in orders for answer in "AB"]
    assert scores(compared_results("abx", rows))["score"].tolist() == [1, 0, 0, 1, 0, 1, 1, 0]


def test_who_fails_more_checks_than_allowed_is_left_out():
    results = rated_results(TYPICAL, num_inattentive=2)
    assert failed_checks(results).tolist() == [2, 2] + [0] * 10
    assert inattentive_listeners(results) == ["L000", "L001"]
    assert inattentive_listeners(results, max_failed_checks=2) == []
    assert set(results.without(["L000"]).ratings["listener_id"]) == {f"L{number:03d}" for number in range(1, 12)}


def test_export_is_read_as_it_was_written(tmp_path):
    results = rated_results(TYPICAL, num_inattentive=1)
    listening_export.export_results(results, tmp_path / "new" / "dataset")
    again = read_results(tmp_path / "new" / "dataset")
    pd.testing.assert_frame_equal(scores(again), scores(results), check_dtype=False)
    assert again.num_started == results.num_started
    assert inattentive_listeners(again) == inattentive_listeners(results)
    csv = pd.read_csv(tmp_path / "new" / "dataset" / "ratings.csv")
    assert list(csv.columns) == list(COLUMNS)
    assert len(csv) == len(results.ratings)
    card = (tmp_path / "new" / "dataset" / "README.md").read_text()
    assert all(f"| {column} |" in card for column in COLUMNS)
    assert "A &lt;test&gt;" in card
    assert "240 answers of 12 listeners (13 began) to 10 items of 4 systems" in card


def test_what_holds_no_results_is_refused(tmp_path):
    with pytest.raises(ResultsError, match="does not exist"):
        read_results(tmp_path / "none")
    with pytest.raises(ResultsError, match="is no export of a listening test"):
        read_results(tmp_path)
    (tmp_path / "text").write_text("text" * 1000)
    with pytest.raises(ResultsError, match="is no file of a listening test"):
        read_results(tmp_path / "text")
    results = rated_results(TYPICAL)
    listening_export.export_results(results.without(results.ratings["listener_id"].tolist()), tmp_path / "empty")
    with pytest.raises(ResultsError, match="holds no answers yet"):
        read_results(tmp_path / "empty")


# ---------------------------------------------------------------- statistics


def test_variance_of_a_complete_test_is_that_of_listeners_and_items_less_both():
    generator = np.random.default_rng(0)
    values = generator.normal(size=(8, 1)) + generator.normal(size=6) + 0.1 * generator.normal(size=(8, 6))
    rows = [(f"L{row}", f"i{column}", "s", value) for (row, column), value in np.ndenumerate(values)]
    spread = measure_spread(condition_measurements(table_of(rows), "s"))
    listeners, items = (values.mean(axis=axis).var(ddof=1) / values.shape[1 - axis] for axis in (1, 0))
    assert spread.value == pytest.approx(values.mean())
    assert spread.group_variance + spread.crossed_variance == pytest.approx(listeners + items, rel=0.05)


def test_listeners_who_heard_other_items_of_each_system_are_compared():
    # In incomplete blocks no listener hears an item in both systems, and L3 left before hearing s2.
    rows = [(f"L{number % 3}", f"i{item}", f"s{1 + (number + item) % 2}", 2.0 + (number + item) % 2 + 0.1 * number)
            for number in range(6) for item in range(4)]  # fmt: skip
    rows.append(("L3", "i0", "s1", 2.0))
    [entry] = paired_comparisons(table_of(rows))
    assert (entry["condition"], entry["reference"]) == ("s2", "s1")
    own = pd.DataFrame(rows).groupby(2)[3].mean()
    assert entry["difference"].value == pytest.approx(own["s2"] - own["s1"])
    assert entry["difference"].low < entry["difference"].value < entry["difference"].high


def test_difference_is_found_and_its_sign_is_right():
    table = simulate(QUIET, replace(PLAN, num_conditions=2), np.random.default_rng(0))
    [entry] = paired_comparisons(table)
    assert entry["difference"].value == pytest.approx(2, abs=0.1)
    assert entry["difference"].low > 1.5
    assert entry["p_value"] < 0.01
    means = condition_means(table, (1, 5))
    assert {name: round(mean.value) for name, mean in means.items()} == {"s000": 2, "s001": 4}


def test_p_values_are_corrected_by_holm():
    comparisons = paired_comparisons(simulate(TYPICAL, PLAN, np.random.default_rng(3)))
    raw = np.array([entry["test"].p_value for entry in comparisons])
    corrected = np.array([entry["p_value"] for entry in comparisons])
    assert len(comparisons) == 6
    assert corrected[raw.argmin()] == pytest.approx(min(1, 6 * raw.min()))
    assert (corrected >= raw).all()


def test_one_listener_who_answers_often_proves_nothing():
    # Binomially 60 of 80 are far from chance, but one listener in four always prefers B and so do three always A.
    rows = [(f"L{listener}", f"i{item}", "p | q", float(listener > 0)) for listener in range(4) for item in range(20)]
    [entry] = chance_comparisons(table_of(rows))
    assert entry["share"].value == 0.75
    assert entry["binomial_p"] < 1e-4
    assert entry["p_value"] > 0.3
    assert entry["share"].low < 0.5


def test_chance_is_left_where_all_prefer_the_same_by_and_large():
    [entry] = [entry for entry in chance_comparisons(simulate(PREFERENCES, Plan(30, 20, 10), np.random.default_rng(0)))
               if entry["condition"] == "s003"]  # fmt: skip
    assert entry["p_value"] < 0.01
    assert entry["share"].low > 0.5


def test_undecided_answers_alone_are_chance():
    rows = [(f"L{listener}", f"i{item}", "p | q", 0.5) for listener in range(4) for item in range(4)]
    [entry] = chance_comparisons(table_of(rows))
    assert (entry["share"].value, entry["binomial_p"], entry["p_value"]) == (0.5, 1, 1)


def test_agreement_is_krippendorffs_alpha():
    # Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011, section C, interval metric: 0.849
    units = ["1 1 . 1", "2 2 3 2", "3 3 3 3", "3 3 3 3", "2 2 2 2", "1 2 3 4", "4 4 4 4", "1 1 2 1", "2 2 2 2",
             ". 5 5 5", ". . 1 1", ". . 3 ."]  # fmt: skip
    rows = [(f"L{place}", f"i{number:02d}", "s", float(value)) for number, unit in enumerate(units)
            for place, value in enumerate(unit.split()) if value != "."]  # fmt: skip
    alpha = agreement(table_of(rows))
    assert alpha["value"] == pytest.approx(0.849, abs=5e-4)
    assert alpha["low"] < alpha["value"] < alpha["high"] <= 1


def test_listeners_who_answer_at_random_do_not_go_along_with_others():
    described = describe_listeners(scores(rated_results(TYPICAL, Plan(12, 20, 20), num_inattentive=1)))
    assert abs(described.loc["L000", "correlation"]) < 0.3
    assert described["correlation"].drop("L000").min() > 0.3


# ---------------------------------------------------------------- power


def test_components_are_those_of_the_simulation():
    linear = Population(qualities=(2.5, 3.0, 3.5), bias=0.5, use=0, item=0.4, item_condition=0.3,
                        listener_condition=0.2, noise=0.6)  # fmt: skip
    plan = Plan(60, 60, 20)
    found = [
        listening_power.measure_components(simulate(linear, plan, np.random.default_rng(seed))) for seed in range(8)
    ]
    means = {name: np.mean([getattr(own, name) for own in found]) for name in vars(found[0])}
    assert means["listener_condition"] - means["listener"] == pytest.approx(0.2**2, abs=0.01)
    assert means["item_condition"] - means["item"] == pytest.approx(0.3**2, abs=0.02)
    assert means["listener"] == pytest.approx(0.5**2, abs=0.06)
    assert means["item"] == pytest.approx(0.4**2, abs=0.05)


def test_detectable_difference_agrees_with_the_t_test_where_answers_are_independent():
    components = listening_power.Components(1.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    plan = Plan(40, 30, 10)
    found = listening_power.detectable_difference(components, plan)
    error = np.sqrt(2 / 400)
    expected = listening_power.CALIBRATION * (stats.t.ppf(0.975, 39) + stats.norm.ppf(0.8)) * error
    assert found == pytest.approx(expected, rel=0.02)
    assert listening_power.listeners_needed(components, plan, found) == pytest.approx(40, abs=2)


def test_more_listeners_do_not_help_where_items_are_the_limit():
    components = listening_power.Components(1.0, 0.0, 0.5, 0.0, 0.0, 0.0)
    plan = Plan(20, 10, 5)
    assert listening_power.listeners_needed(components, plan, 0.1) is None
    more_items = listening_power.detectable_difference(components, replace(plan, num_items=100))
    assert more_items < 0.5 * listening_power.detectable_difference(components, plan)


def test_power_is_told_by_one_command(tmp_path, capsys):
    size = ["--listeners", "20", "--items", "30", "--systems", "4", "--pages", "40"]
    listening_power.main(size)
    assert "With 20 listeners x 30 items, 10.0 answers of each listener" in capsys.readouterr().out
    listening_export.export_results(rated_results(TYPICAL), tmp_path)
    listening_power.main([*size, "--pilot", str(tmp_path)])
    assert f"answers vary as those of {tmp_path}" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="`--pages` is 400"):
        listening_power.main([*size[:-1], "400"])


# ---------------------------------------------------------------- the whole


def test_analysis_with_and_without_the_inattentive_is_written(tmp_path, capsys):
    results = rated_results(TYPICAL, num_inattentive=3)
    listening_export.export_results(results, tmp_path / "dataset")
    listening_analysis.main([str(tmp_path / "dataset"), "--out", str(tmp_path / "report")])
    printed = capsys.readouterr().out
    assert printed.strip() == (tmp_path / "report" / "report.md").read_text().strip()
    assert "3 were left out: L000, L001, L002." in printed
    assert "Rule: who fails more than 1 of the attention checks" in printed
    assert "13 listeners began, 12 answered at least one page, 12 finished" in printed
    assert "you can detect a difference of two systems of" in printed
    html = (tmp_path / "report" / "report.html").read_text()
    assert "<svg" in html
    assert "A &lt;test&gt;" in html
    assert "<test>" not in html
    written = json.loads((tmp_path / "report" / "analysis.json").read_text())
    assert [written["parts"][name]["num_listeners"] for name in (ALL, ATTENTIVE)] == [12, 9]
    assert (tmp_path / "report" / "report_files" / "attentive_listeners.png").is_file()


def test_comparisons_are_reported_against_chance():
    table = simulate(PREFERENCES, Plan(12, 10, 5), np.random.default_rng(0))
    rows = [(row.listener, row.item, "p", "q", None, "A" if row.score else "B")
            for row in table[table["condition"] == "s003"].itertuples()]  # fmt: skip
    analysis = listening_analysis.analyse(compared_results("ab", rows))
    report = write_report(analysis)
    assert [section.title for section in report.sections] == [
        f"With {ALL}", "Who was left out", "What could be detected", "Listeners"
    ]  # fmt: skip
    [against_chance] = [block for block in report.sections[0].blocks if block.kind == "table"]
    assert against_chance.rows[0][0] == "p preferred to q"
    assert analysis["possible_range"] == (0, 1)


def test_no_interval_is_made_up_for_too_few(tmp_path):
    results = rated_results(TYPICAL)
    alone = replace(results, ratings=results.ratings[results.ratings["listener_id"] == "L003"])
    with pytest.raises(ResultsError, match="fewer than two listeners or items"):
        listening_analysis.analyse(alone)
    with pytest.raises(ResultsError, match="fewer than two listeners who passed"):
        listening_analysis.analyse(rated_results(TYPICAL, num_inattentive=11))
    with pytest.raises(SystemExit, match="does not exist"):
        listening_analysis.main([str(Path(tmp_path) / "none")])


def test_true_means_are_those_of_many_listeners():
    table = simulate(TYPICAL, Plan(200, 200, 20), np.random.default_rng(0))
    found = table.groupby("condition")["score"].mean().to_numpy()
    np.testing.assert_allclose(found, true_means(TYPICAL), atol=0.12)
