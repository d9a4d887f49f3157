"""Parts of a report by themselves: alignment, worst items, curves, spectrogram, typed numbers, peers, escaping."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt
from small_study import comparison

from antiphon.eval.report_blocks import Alignment
from antiphon.eval.report_failures import align, worst_items
from antiphon.eval.report_figures import log_mel_decibels, median_curve
from antiphon.eval.report_markdown import aligned_text, escape
from antiphon.eval.report_numbers import collect_numbers, typed_numbers
from antiphon.eval.report_peers import PEERS, peers_blocks, read_peers
from antiphon.eval.report_source import ReportError, Run


def run_with_log(log: list[dict]) -> Run:
    return Run("run", "", "", 0, rows={}, environment={}, log_history=log, training_data=[])


def test_align_counts_the_fewest_errors():
    words = align(["the", "cat", "sat", "down"], ["the", "fat", "cat", "sat"])
    assert [(word.reference, word.hypothesis, word.error) for word in words] == [
        ("the", "the", ""),
        ("", "fat", "I"),
        ("cat", "cat", ""),
        ("sat", "sat", ""),
        ("down", "", "D"),
    ]
    assert [word.error for word in align(["a", "b"], ["a", "c"])] == ["", "S"]
    assert align([], []) == []


def test_aligned_text_puts_words_under_words():
    text = aligned_text(Alignment("", align(["one", "two", "three"], ["one", "to"])))
    assert text.splitlines() == ["reference  one two three", "hypothesis one to  *****", "error          S   D"]


def test_worst_items_are_means_over_trainings():
    items = pd.DataFrame(
        {
            "item_id": ["a", "b", "c", "d", "a", "b", "c", "d"],
            "seed": [0, 0, 0, 0, 1, 1, 1, 1],
            "errors": [0, 3, 2, 0, 0, 0, 2, 1],
            "words": [5, 5, 5, 2, 5, 5, 5, 2],
            "correct": [True, False, False, True, True, True, False, True],
        }
    )
    row = {"metrics": {"wer": {"columns": ["errors", "words"], "higher_is_better": False}}}
    worst = worst_items(items, row, number=3)
    assert [answers["item_id"].iloc[0] for answers in worst] == ["c", "b", "d"]  # a is right, so it is left out
    assert [len(answers) for answers in worst] == [2, 2, 2]
    row = {"metrics": {"accuracy": {"columns": ["correct", None], "higher_is_better": True}}}
    assert [answers["item_id"].iloc[0] for answers in worst_items(items, row, number=9)] == ["c", "b"]


def test_median_curve_keeps_steps_that_half_of_the_runs_reached():
    logs = [[{"step": step, "loss": value} for step in range(1, end)] for value, end in ((1, 3), (2, 3), (9, 4))]
    steps, low, middle, high = median_curve([run_with_log(log) for log in logs], "loss")
    assert steps.tolist() == [1, 2]
    assert (low.tolist(), middle.tolist(), high.tolist()) == ([1, 1], [2, 2], [9, 9])
    long = run_with_log([{"step": step, "loss": step} for step in range(5000)])
    steps, *_ = median_curve([long], "loss")
    assert len(steps) == 200
    assert (steps[0], steps[-1]) == (0, 4999)


@pytest.mark.parametrize("sampling_rate", [8_000, 16_000, 44_100])
def test_spectrogram_shows_a_tone_at_its_frequency(sampling_rate):
    time = np.arange(sampling_rate) / sampling_rate
    decibels = log_mel_decibels(np.sin(2 * np.pi * 1000 * time).astype(np.float32), sampling_rate)
    assert decibels.shape == (101, 80)
    assert decibels.max() == 0
    assert decibels.min() >= -70
    # 1000 Hz are 15 mel on Slaney's scale, where half the rate is this many:
    highest = 15 + 27 * np.log(sampling_rate / 2 / 1000) / np.log(6.4)
    assert decibels.mean(axis=0).argmax() == pytest.approx(15 / highest * 81 - 1, abs=1)


@pytest.mark.parametrize(
    ("prose", "found"),
    [
        ("The WER is 12.5 %.", ["WER is 12.5 %"]),
        ("We reach 3 % word error rate.", ["3 % word error rate"]),
        ("An error\nrate of 7.", []),  # a name must stand on one line
        ("The wer is {{ results.a.metrics.wer }}, with 3 seeds? No.", ["wer is …, with 3"]),
        ("The wer is low. There are 3 seeds.", []),
        ("`wer = 3` and [wer](https://example.org/3)", []),
        ("conv1d has 80 bands", []),
    ],
)
def test_typed_numbers_stand_beside_the_name_of_a_metric(prose, found):
    assert typed_numbers(prose, {"wer", "cer"}) == found


def test_prose_quotes_p_as_the_table_does():
    corrected = comparison() | {"p_value": 0.02, "holm_p_value": 0.04}
    alone = {key: value for key, value in corrected.items() if key != "holm_p_value"} | {"system": "alone"}
    numbers = collect_numbers(SimpleNamespace(rows={}, comparisons=[corrected, alone], runs=[]))
    assert numbers["comparisons.words.both_minus_plain.wer"].text.endswith(", p = 0.0400")
    assert numbers["comparisons.words.alone_minus_plain.wer"].text.endswith(", p = 0.0200")
    assert numbers["comparisons.words.both_minus_plain.wer.p_value"].value == 0.02


def test_packaged_peers_are_complete_and_shown_in_their_order():
    for path in PEERS.glob("*.yaml"):
        peers = read_peers(path.stem)
        _, table = peers_blocks(peers)
        assert [row[0] for row in table.rows] == [peer["name"] for peer in peers]
        assert all(len(row) == len(table.headings) and all(row) for row in table.rows)
    assert read_peers("recognition")[0]["value"] == 0.076


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1", "must be a list"),
        ("- {name: x, score: 3}", r"entry 1 \('x'\): lacks .*'conditions'.*does not know \['score'\]"),
        (
            "- {name: x, corpus: y, metric: wer, value: low, unit: ratio, conditions: z, source: s}",
            "`value` 'low' is no number",
        ),
        ("- [", "is not YAML"),
    ],
)
def test_malformed_peers_are_refused(tmp_path, text, message):
    path = tmp_path / "peers.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ReportError, match=message):
        read_peers(str(path))
    with pytest.raises(ReportError, match="is no file"):
        read_peers(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("text", ["a_b _c_ *d* `e` [f](g) <h> &amp; ~i~ \\j", "| pipes", "- 1. # plain"])
def test_escaped_text_is_shown_as_it_is(text):
    rendered = MarkdownIt("gfm-like", {"linkify": False}).renderInline(escape(text))
    assert rendered == text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
