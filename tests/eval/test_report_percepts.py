"""What a report says of assessed performances: correlations, every percept, works, players, the worst items."""

import numpy as np
import pytest
from small_performances import of_players, small_performances

from antiphon.eval.assessment_items import Predictions
from antiphon.eval.benchmark_piano_assessment import benchmark_piano_assessment
from antiphon.eval.report import write_report
from antiphon.eval.report_percepts import percept_blocks
from antiphon.processing.percepts import PERCEPTS

WORST = "midi/passage05_4.mid"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The Markdown of a run that is wrong about one performance, and there most about one percept."""
    run = tmp_path_factory.mktemp("run")
    (run / "recipe.yaml").write_text("run: {seed: 0}\n")
    corpus = small_performances(run / "corpus", num_passages=8)

    def predict(test):
        answers = np.array(test["percepts"][:]) + 0.01
        worst = test["file_name"][:].index(WORST)
        answers[worst] += 0.3
        answers[worst, 7] += 0.2
        return Predictions(answers)

    benchmark_piano_assessment(
        predict, of_players(corpus, 0, 1), of_players(corpus, 2, 3, 4), name="tiny_performers", corpus="tiny",
        split="performers", out=run / "results", baselines=("global_mean", "passage_mean"), cache=run / "cache",
    )  # fmt: skip
    write_report(run, num_failures=2)
    return (run / "report.md").read_text()


def test_the_size_is_told_in_the_words_of_the_corpus(report):
    assert "24 items, 8 passages, 4 excerpts, 1 works, 3 players" in report
    assert "speakers" not in report.partition("## Results")[2].partition("## Ablations")[0]


def test_correlations_percepts_works_and_players_are_shown(report):
    assert "Correlations, means over the percepts" in report
    assert all(percept.replace("_", " ") in report for percept in PERCEPTS)
    assert "r2 of each player, worst first" in report
    assert report.index("| 4 |") < report.index("| 2 |", report.index("r2 of each player"))


def test_the_worst_item_comes_first_with_its_worst_percept(report):
    failures = report.partition("## Failures")[2]
    assert failures.index(WORST) == failures.index("midi/")
    table = failures.partition("percepts furthest off")[2]
    first = table.partition("| --- |")[2].splitlines()[1]
    assert first.startswith(f"| {PERCEPTS[7].replace('_', ' ')} |")
    assert first.rstrip(" |").endswith("0.51")


def test_rows_of_other_tasks_have_no_percepts():
    assert percept_blocks({"recogniser": {"metrics": {}}}) == []
