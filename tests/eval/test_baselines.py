"""Baselines: hand-computed cases, and a brute-force search for the constant transcript."""

import jiwer
import numpy as np
import pytest

from antiphon.eval.baselines import (
    BASELINES,
    NO_INPUT,
    PEER,
    SIMPLE,
    UPPER_BOUND,
    best_constant_transcript,
    global_mean,
    group_mean,
    majority_label,
    silence,
    strongest_baseline,
    unchanged_input,
)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], ""),
        (["nine"], "nine"),
        (["one", "two", "two"], "two"),
        (["two", "one"], "one"),  # equals: the alphabetically first
        (["a b c", "d e f", "g h"], "a b c"),  # 0 + 3 + 3 errors; the empty transcript has 8, "g h" 6 and comes later
        (["a a b", "a a c", "a a d", "x"], "a a b"),  # errors 0 + 1 + 1 + 3
        (["  on   it ", "on it", "off"], "on it"),
    ],
)
def test_by_hand(texts, expected):
    assert best_constant_transcript(texts) == expected


def test_the_empty_transcript_wins_where_every_word_would_be_an_insertion():
    assert best_constant_transcript(["", "", "", "one two three four"]) == ""


@pytest.mark.parametrize("chunk_size", [1, 7, 256])
def test_equals_brute_force(chunk_size):
    generator = np.random.default_rng(0)
    words = np.array(["red", "green", "blue"])
    texts = [" ".join(generator.choice(words, generator.integers(1, 6), p=[0.6, 0.3, 0.1])) for _ in range(60)]
    wer = {text: jiwer.wer(texts, [text] * len(texts)) for text in {*texts, ""}}
    assert wer[best_constant_transcript(texts, chunk_size=chunk_size)] == min(wer.values())


def test_means_by_hand():
    assert global_mean([1.0, 2.0, 6.0], 2).tolist() == [3.0, 3.0]
    # "c" is in no training group and gets the mean of all
    assert group_mean([1.0, 3.0, 8.0], ["a", "a", "b"], ["b", "a", "c"]).tolist() == [8.0, 2.0, 4.0]


def test_majority_by_hand():
    assert majority_label(["b", "a", "b"], 3) == ["b", "b", "b"]
    assert majority_label(["b", "a"], 1) == ["a"]  # equals: the first in the alphabet


def test_answers_that_are_waveforms():
    waveforms = [np.array([0.5, -0.5], dtype=np.float32), np.ones(3, dtype=np.float32)]
    assert all(answer is waveform for answer, waveform in zip(unchanged_input(waveforms), waveforms))
    answers = silence(waveforms)
    assert [len(answer) for answer in answers] == [2, 3]
    assert not np.concatenate(answers).any()
    assert answers[0].dtype == np.float32
    assert waveforms[1].any()


def test_a_baseline_without_training_items_is_refused():
    with pytest.raises(ValueError, match="`train_values` is empty"):
        global_mean([], 3)
    with pytest.raises(ValueError, match="`train_labels` is empty"):
        majority_label([], 3)
    with pytest.raises(ValueError, match="`train_groups` has 1 labels for 2 values"):
        group_mean([1.0, 2.0], ["a"], ["a"])


def test_descriptions_name_the_answers_as_they_are():
    described = BASELINES["best_constant_transcript"].describe(["{two}", "one"])
    assert described.startswith('hears nothing and always answers "one", "{two}",')
    assert {baseline.kind for baseline in BASELINES.values()} == {NO_INPUT, SIMPLE, UPPER_BOUND, PEER}


@pytest.mark.parametrize(("higher_is_better", "best", "simple"), [(False, "low", "s"), (True, "high", "s")])
def test_the_strongest_baseline_is_best_by_the_metric_that_decides(higher_is_better, best, simple):
    def entry(value, **kind):
        return {"metrics": {"first": {"value": -value}, "main": {"value": value}}, **kind}

    row = {
        "metrics": {"first": {"higher_is_better": True}, "main": {"higher_is_better": higher_is_better}},
        "primary_metric": "main",
        "baselines": {
            "high": entry(2),
            "low": entry(1, kind=NO_INPUT),
            "s": entry(9 if higher_is_better else 0, kind=SIMPLE),
        },
    }
    assert strongest_baseline(row, NO_INPUT) == best  # a row of an older version states no kind
    assert strongest_baseline(row) == simple
    assert strongest_baseline(row | {"baselines": {}}) is None
