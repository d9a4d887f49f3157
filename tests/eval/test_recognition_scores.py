"""The measured part of a row, from a hand-made item table."""

import pytest

from antiphon.eval.recognition_scores import score_items, summarize_items

REFERENCES = ["one two", "one", "two", "one two three"]
HYPOTHESES = ["one two", "two", "two", "one three"]


def make_items(speakers, hypotheses=HYPOTHESES, constant="one"):
    names = [f"{index}.wav" for index in range(len(REFERENCES))]
    return score_items(names, speakers, REFERENCES, hypotheses, constant, [1.0] * len(REFERENCES))


def test_items_are_scored_by_hand():
    items = make_items(["a", "a", "b", "b"])
    assert items["errors"].tolist() == [0, 1, 0, 1]
    assert items["words"].tolist() == [2, 1, 1, 3]
    assert items["chars"].tolist() == [7, 3, 3, 13]
    assert items["correct"].tolist() == [True, False, True, False]
    assert items["baseline_errors"].tolist() == [1, 0, 1, 2]


def test_summary_by_hand():
    summary = summarize_items(make_items(["a", "a", "b", "b"]))
    wer = summary["metrics"]["wer"]
    assert (wer["value"], wer["n"], wer["num_groups"], wer["higher_is_better"]) == (pytest.approx(2 / 7), 4, 2, False)
    # Resampling two speakers gives 1/3 (a alone), 2/7 (both) or 1/4 (b alone).
    assert (wer["low"], wer["high"]) == pytest.approx((1 / 4, 1 / 3))
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


def test_two_speakers_cannot_tell():
    summary = summarize_items(make_items(["a", "a", "b", "b"]))
    assert summary["baselines"]["best_constant_transcript"]["beaten"] is None
    assert summary["claims"] == [
        "cannot tell about a population from 2 speakers",
        "cannot tell from 2 speakers whether this is better than hearing nothing: no p below 0.5 is attainable",
    ]


def test_a_system_that_answers_the_constant_is_not_better():
    items = make_items([None] * 4, hypotheses=["one"] * 4)
    pooled = items.loc[items.index.repeat(3)].assign(item_id=[str(index) for index in range(12)])
    summary = summarize_items(pooled)
    assert summary["baselines"]["best_constant_transcript"]["beaten"] is False
    assert summary["claims"][-1].startswith("NOT BETTER THAN HEARING NOTHING (p = 1 over 12 items)")


def test_unknown_speakers_are_said():
    summary = summarize_items(make_items([None, "a", "b", "b"]))
    assert summary["group_by"] == "item_id"
    assert summary["groups"] == {}
    assert summary["claims"][0].startswith("speakers are unknown")
