"""Domain shift: paired differences between two renderings of the same performances."""

import numpy as np
import pytest
from small_performances import small_performances

from antiphon.eval.assessment_items import Predictions
from antiphon.eval.domain_shift import compare_domains, select_predictions, whole_passages


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return small_performances(tmp_path_factory.mktemp("corpus"), num_passages=12, num_players=3)


def answers(rows, error, intervals=True):
    percepts = np.array(rows["percepts"][:]) + error
    bounds = (percepts - 0.05, percepts + 0.05) if intervals else (None, None)
    return Predictions(percepts, None, *bounds)


def test_a_worse_rendering_is_worse_in_everything(rows):
    noise = np.random.default_rng(0).normal(size=(len(rows), 19))
    compared = compare_domains(rows, answers(rows, 0.01 * noise), answers(rows, 0.1 * noise))
    for metric in ("r2", "ranking_accuracy", "coverage"):
        entry = compared[metric]
        assert entry["difference"]["high"] < 0
        assert entry["difference"]["value"] == pytest.approx(entry["shifted"]["value"] - entry["reference"]["value"])
    assert compared["mean_change"] == pytest.approx(np.abs(0.09 * noise).mean())


def test_a_shift_of_everything_leaves_the_order_and_is_told(rows):
    compared = compare_domains(rows, answers(rows, 0.0), answers(rows, 0.1))
    assert compared["mean_shift"] == pytest.approx(0.1)
    assert compared["ranking_accuracy"]["difference"]["value"] == 0
    assert compared["r2"]["difference"]["value"] < 0


def test_without_intervals_there_is_no_coverage(rows):
    assert "coverage" not in compare_domains(rows, answers(rows, 0.1), answers(rows, 0.1, intervals=False))


def test_passages_are_kept_whole(rows):
    places = whole_passages(rows, 10)
    passages = [rows["passage"][place] for place in places]
    assert len(places) == 9
    assert all(passages.count(passage) == 3 for passage in passages)
    assert places == sorted(places) == whole_passages(rows, 10)
    assert places != whole_passages(rows, 10, seed=1)


def test_some_of_the_answers_are_taken(rows):
    some = select_predictions(answers(rows, 0.0), [3, 1])
    assert some.percepts.tolist() == [rows["percepts"][3], rows["percepts"][1]]
    assert some.stds is None
