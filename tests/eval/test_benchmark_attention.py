"""Positions compared: joined recordings hold every word once, memory grows with length, both tables are written."""

import json

import numpy as np
import pytest
from tiny_checkpoint import write_checkpoint
from tone_corpus import write_tone_corpus

from antiphon.eval import benchmark_attention as benchmark
from antiphon.eval.attention_costs import KINDS, measure_difference, measure_memory
from antiphon.eval.joined_recordings import join_recordings


def test_clips_are_joined_within_speakers_as_counted_by_hand():
    speakers, durations = ["a", "b", "a", "a", "b", "a"], [2.0, 1.0, 2.0, 3.0, 5.0, 1.0]
    joined = join_recordings(speakers, durations, 4.0)
    assert [(item.speaker, item.indices, item.seconds) for item in joined] == [
        ("a", (0, 2), 4.0), ("a", (3, 5), 4.0), ("b", (1, 4), 6.0),
    ]  # fmt: skip
    assert join_recordings(speakers, [2.0, 1.0, 2.0, 1.0, 5.0, 1.0], 4.0)[0].indices == (0, 2, 3, 5)
    assert join_recordings(["a"] * 3, [2.0, 2.0, 1.0], 4.0)[0].indices == (0, 1, 2)
    assert [item.indices for item in join_recordings(speakers, durations, 0.0)] == [(0,), (2,), (3,), (5,), (1,), (4,)]


def test_joined_sound_and_text_belong_together():
    [item] = join_recordings(["a", "a"], [1.0, 1.0], 2.0)
    assert item.text(["one", "two"]) == "one two"
    np.testing.assert_array_equal(item.waveform([np.zeros(2), np.ones(3)]), [0, 0, 1, 1, 1])


@pytest.mark.parametrize("kind", KINDS)
def test_eager_and_sdpa_differ_by_rounding_alone(kind):
    assert measure_difference(300, kind) < 1e-4


def test_memory_grows_with_the_square_of_the_length_where_scores_are_written_out():
    # 1,500 frames of the model, four heads, four bytes: 34 MiB for the scores alone
    assert measure_memory(6000, "rotary", "eager") > 2 * 34


def test_both_tables_are_written(tmp_path, capsys):
    corpus = write_tone_corpus(tmp_path / "tones")
    write_checkpoint(tmp_path / "checkpoint")
    write_checkpoint(tmp_path / "other", seed=1)
    benchmark.main(
        [str(tmp_path / "checkpoint"), str(tmp_path / "other"), "--corpus", str(corpus), "--split", "all",
         "--training-seconds", "1", "--factors", "2", "--cost-seconds", "1", "--rounds", "1",
         "--out", str(tmp_path / "out")]
    )  # fmt: skip
    result = json.loads((tmp_path / "out" / "attention.json").read_text())
    assert [(row["positions"], row["implementation"]) for row in result["costs"]] == [
        (kind, name) for kind in KINDS for name in ("eager", "sdpa")
    ]
    single, joined = result["checkpoints"][0]["lengths"]
    assert (single["factor"], joined["factor"]) == (0, 2)
    assert single["recordings"] == 24 > joined["recordings"]
    assert joined["median_seconds"] >= 2
    assert single["wer_minus_alone"]["value"] == 0
    others = result["checkpoints"][1]["lengths"]
    for row, other in zip((single, joined), others, strict=True):
        difference = other["metrics"]["wer"]["value"] - row["metrics"]["wer"]["value"]
        assert other["wer_minus_first"]["value"] == pytest.approx(difference)
        assert "wer_minus_first" not in row
    assert single["texts_unlike_eager"] == joined["texts_unlike_eager"] == 0
    table = (tmp_path / "out" / "attention.md").read_text()
    assert table in capsys.readouterr().out
    assert "| 1 | relative |" in table
    assert "| rotary | single clips | 24 |" in table


def test_checkpoints_need_a_corpus(tmp_path, capsys):
    with pytest.raises(SystemExit):
        benchmark.main([str(tmp_path)])
    assert "`--corpus` is missing" in capsys.readouterr().err
