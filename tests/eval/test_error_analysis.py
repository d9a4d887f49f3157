"""Errors by work, disagreement and number of notes: what was planted is found where it was planted."""

import numpy as np
import pytest
from small_performances import NUM_NOTES, small_performances

from antiphon.eval.assessment_items import Predictions, tabulate_items
from antiphon.eval.error_analysis import analyse_errors, count_notes
from antiphon.processing.percepts import PERCEPTS


@pytest.fixture(scope="module")
def errors(tmp_path_factory):
    rows = small_performances(tmp_path_factory.mktemp("corpus"), num_passages=12, num_players=3)
    labels, number = np.array(rows["percepts"][:]), np.arange(len(rows))
    is_last = np.array(rows["work"][:]) == "work1"
    answers = labels + np.where(is_last, 0.2, 0.01)[:, None]
    answers[:, 4] += 0.1
    items = tabulate_items(rows["file_name"][:], rows, Predictions(answers), {})
    return analyse_errors(items, 10 + number, seed=0), is_last, count_notes(rows["midi"][:])


def test_the_work_that_is_judged_wrongly_stands_out(errors):
    works = errors[0]["works"]
    assert list(works) == ["work0", "work1"]
    assert works["work1"]["n"] == errors[1].sum()
    expected = (18 * 0.2**2 + 0.3**2) / len(PERCEPTS)
    assert works["work1"]["squared_error"]["value"] == pytest.approx(expected)
    assert works["work0"]["squared_error"]["high"] < works["work1"]["squared_error"]["low"]
    assert works["work0"]["r2"]["value"] > works["work1"]["r2"]["value"]


def test_the_percept_that_is_judged_wrongly_stands_out(errors):
    percepts = errors[0]["percepts"]
    assert max(percepts, key=lambda percept: percepts[percept]["squared_error"]["value"]) == PERCEPTS[4]


def test_thirds_are_in_order_and_named_by_their_ends(errors):
    notes = errors[0]["notes"]
    assert list(notes) == ["10 to 21 notes", "22 to 33 notes", "34 to 45 notes"]
    assert [part["n"] for part in notes.values()] == [12, 12, 12]
    assert notes["34 to 45 notes"]["squared_error"]["value"] > notes["10 to 21 notes"]["squared_error"]["value"]
    assert errors[0]["correlations"]["notes"] > 0.5


def test_thirds_with_equal_ends_have_names_of_their_own(errors):
    assert list(errors[0]["deviations"]) == [f"part {number}: 0.70 to 0.70 points" for number in (1, 2, 3)]


def test_notes_are_counted(errors):
    assert set(errors[2]) == {NUM_NOTES}
