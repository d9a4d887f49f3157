"""The measured part of a row, from a hand-made item table."""

import pandas as pd
import pytest

from antiphon.eval.recognition_scores import score_items, summarize_items

REFERENCES = ["one two", "one", "two", "one two three"]
HYPOTHESES = ["one two", "two", "two", "one three"]


NEAREST = ["one two", "one", "one", "one"]


def make_items(speakers, hypotheses=HYPOTHESES, **baselines):
    names = [f"{index}.wav" for index in range(len(REFERENCES))]
    answers = {"best_constant_transcript": ["one"] * len(REFERENCES), **baselines}
    return score_items(names, speakers, REFERENCES, hypotheses, answers, [1.0] * len(REFERENCES))


def repeated(items, times=12):
    """The items again and again, as items of their own."""
    many = items.loc[items.index.repeat(times)]
    return many.assign(item_id=[str(index) for index in range(len(many))])


def test_items_are_scored_by_hand():
    items = make_items(["a", "a", "b", "b"])
    assert items["errors"].tolist() == [0, 1, 0, 1]
    assert items["words"].tolist() == [2, 1, 1, 3]
    assert items["chars"].tolist() == [7, 3, 3, 13]
    assert items["correct"].tolist() == [True, False, True, False]
    assert items["best_constant_transcript.errors"].tolist() == [1, 0, 1, 2]


def test_summary_by_hand():
    summary = summarize_items(make_items(["a", "a", "b", "b"]))
    wer = summary["metrics"]["wer"]
    assert (wer["value"], wer["n"], wer["num_groups"], wer["higher_is_better"]) == (pytest.approx(2 / 7), 4, 2, False)
    assert 0 <= wer["low"] < 2 / 7 < wer["high"]
    accuracy = summary["metrics"]["accuracy"]
    assert 0 <= accuracy["low"] <= 0.5 <= accuracy["high"] <= 1
    assert summary["metrics"]["accuracy"]["value"] == 0.5
    assert summary["groups"]["a"] == {
        "wer": pytest.approx(1 / 3),
        "cer": pytest.approx(3 / 10),
        "accuracy": 0.5,
        "n": 2,
    }
    baseline = summary["baselines"]["best_constant_transcript"]
    assert baseline["metrics"]["wer"]["value"] == pytest.approx(4 / 7)
    assert baseline["metrics"]["accuracy"]["value"] == 0.25
    assert baseline["difference"]["wer"]["value"] == pytest.approx(-2 / 7)
    assert '"one"' in baseline["description"]
    assert baseline["kind"] == "no_input"
    assert summary["primary_metric"] == "wer"
    assert summary["seeds"] == []


def test_every_metric_is_the_ratio_of_the_columns_it_names():
    items = make_items(["a", "a", "b", "b"], nearest_template=NEAREST)
    summary = summarize_items(items)
    assert summary["metrics"]["wer"]["columns"] == ["errors", "words"]
    assert summary["baselines"]["nearest_template"]["metrics"]["accuracy"]["columns"] == [
        "nearest_template.correct", None,
    ]  # fmt: skip
    for metrics in (summary["metrics"], *(entry["metrics"] for entry in summary["baselines"].values())):
        for entry in metrics.values():
            numerator, denominator = entry["columns"]
            total = len(items) if denominator is None else items[denominator].sum()
            assert entry["value"] == pytest.approx(items[numerator].sum() / total)


def test_several_trainings_are_one_row_over_the_same_items():
    items = make_items(["a", "a", "b", "b"])
    better = make_items(["a", "a", "b", "b"], hypotheses=REFERENCES)
    summary = summarize_items(pd.concat([items.assign(seed=3), better.assign(seed=1)], ignore_index=True))
    assert summary["seeds"] == [1, 3]
    wer = summary["metrics"]["wer"]
    assert (wer["value"], wer["n"]) == (pytest.approx(2 / 14), 4)
    assert summary["groups"]["a"]["n"] == 2
    assert wer["low"] < 1 / 8  # widened for training anew


def test_two_speakers_cannot_tell():
    summary = summarize_items(make_items(["a", "a", "b", "b"]))
    assert summary["baselines"]["best_constant_transcript"]["beaten"] is None
    assert summary["claims"] == [
        "cannot tell about a population from 2 speakers",
        "cannot tell from 2 speakers whether this is better than hearing nothing: no p below 0.5 is attainable",
    ]


def test_a_system_that_answers_the_constant_is_not_better():
    summary = summarize_items(repeated(make_items([None] * 4, hypotheses=["one"] * 4), 3))
    assert summary["baselines"]["best_constant_transcript"]["beaten"] is False
    assert summary["claims"][-1].startswith("NOT BETTER THAN HEARING NOTHING (p = 1 over 12 items)")


def test_a_simple_baseline_that_is_not_beaten_gets_its_own_line():
    summary = summarize_items(repeated(make_items([None] * 4, nearest_template=HYPOTHESES)))
    assert summary["baselines"]["best_constant_transcript"]["beaten"] is True
    assert summary["baselines"]["nearest_template"]["beaten"] is False
    assert summary["claims"][1:] == [
        "not better than a baseline that answers the transcript of the training recording that sounds most alike "
        "(p = 1 over 48 items)"
    ]
    summary = summarize_items(repeated(make_items([None] * 4, nearest_template=REFERENCES)))
    assert summary["claims"][-1].endswith("sounds most alike: worse (p = 0.0001 over 48 items)")


def test_a_simple_baseline_that_is_beaten_is_not_mentioned():
    summary = summarize_items(repeated(make_items([None] * 4, REFERENCES, nearest_template=NEAREST)))
    assert summary["baselines"]["nearest_template"]["beaten"] is True
    assert len(summary["claims"]) == 1


def test_too_few_speakers_cannot_tell_about_a_simple_baseline():
    summary = summarize_items(make_items(["a", "a", "b", "b"], REFERENCES, nearest_template=NEAREST))
    assert summary["claims"][-1] == (
        "cannot tell from 2 speakers whether this is better than a baseline that answers the transcript of the "
        "training recording that sounds most alike: no p below 0.5 is attainable"
    )


def test_the_strongest_of_the_baselines_that_hear_nothing_decides():
    # "one" always is 4 errors of 7 words, saying nothing 7: beating silence alone is no feat.
    items = make_items([None] * 4, ["one"] * 4, empty_transcript=[""] * 4)
    summary = summarize_items(repeated(items, 3))
    assert summary["baselines"]["empty_transcript"]["beaten"] is True
    assert summary["claims"][-1].startswith("NOT BETTER THAN HEARING NOTHING")


def test_unknown_speakers_are_said():
    summary = summarize_items(make_items([None, "a", "b", "b"]))
    assert summary["group_by"] == "item_id"
    assert summary["groups"] == {}
    assert summary["claims"][0].startswith("speakers are unknown")
