"""Pooled folds equal one measurement of everything, and refuse what is not one experiment."""

import pytest
from measured_rows import measure

from antiphon.eval.pool_folds import main, pool_folds
from antiphon.eval.result_rows import find_rows, read_row
from antiphon.eval.results_table import results_section

WRONG = {"ann": 0, "bea": 1, "cat": 0, "dot": 2, "eve": 0, "fay": 1}


@pytest.fixture
def folds(tmp_path):
    return [measure(tmp_path / speaker / "results", "fold", WRONG, [speaker]) for speaker in WRONG]


def test_pooled_folds_equal_one_measurement(folds, tmp_path):
    row, items = pool_folds(folds, "leave_one_out")
    whole = read_row(measure(tmp_path / "whole", "whole", WRONG, list(WRONG)))
    assert row["metrics"] == whole["metrics"]
    assert row["groups"] == whole["groups"]
    assert row["baselines"]["best_constant_transcript"] == whole["baselines"]["best_constant_transcript"]
    assert row["conditions"]["split_sha256"] == whole["conditions"]["split_sha256"]
    assert len(items) == row["dataset"]["num_items"] == 24
    assert row["speed"] == {"real_time_factor": pytest.approx(0.1), "audio_seconds": 12.0}


def test_one_fold_cannot_tell_but_six_together_can(folds):
    assert read_row(folds[0])["baselines"]["best_constant_transcript"]["beaten"] is None
    row, _ = pool_folds(folds, "leave_one_out")
    baseline = row["baselines"]["best_constant_transcript"]
    assert baseline["difference"]["wer"]["p_value"] == pytest.approx(2 / 64)
    assert baseline["beaten"] is True
    assert row["claims"] == [
        "pooled over 6 checkpoints, one for each fold",
        "cannot tell about a population from 6 speakers",
    ]


def test_each_fold_keeps_its_checkpoint(folds):
    row, _ = pool_folds(folds, "leave_one_out")
    assert [fold["checkpoint_sha256"] for fold in row["folds"]] == [
        read_row(path)["checkpoint_sha256"] for path in folds
    ]
    assert row["checkpoint_sha256"] not in [fold["checkpoint_sha256"] for fold in row["folds"]]


def test_known_speakers_are_still_said(tmp_path):
    paths = [measure(tmp_path / s, "fold", WRONG, [s], known=int(s == "ann")) for s in ("ann", "bea")]
    row, _ = pool_folds(paths, "leave_one_out")
    assert row["claims"][-1] == "measures known voices: 1 of 2 test speakers are also in training"


def test_what_is_not_one_experiment_is_refused(folds, tmp_path):
    with pytest.raises(ValueError, match=r"4 items in two folds, e\.g\. 'ann_one\.wav'"):
        pool_folds([*folds, folds[0]], "leave_one_out")
    other = measure(tmp_path / "other", "fold", {"gil": 0}, ["gil"], decoding="closed vocabulary")
    with pytest.raises(ValueError, match="differ in decoding"):
        pool_folds([folds[0], other], "leave_one_out")


def test_command_line_writes_a_row(folds, tmp_path, capsys):
    main([*map(str, folds), "--name", "pooled", "--out", str(tmp_path / "out")])
    assert str(tmp_path / "out" / "pooled.json") in capsys.readouterr().out
    assert read_row(tmp_path / "out" / "pooled.json")["benchmark"] == "pooled"


def test_systems_pooled_from_the_same_folds_share_a_table(folds, tmp_path):
    out = tmp_path / "pooled"
    for system in ("plain", "augmented"):
        main([*map(str, folds), "--name", "leave_one_out", "--system", system, "--out", str(out)])
    assert sorted(path.name for path in out.glob("*.json")) == [
        "leave_one_out_augmented.json", "leave_one_out_plain.json",
    ]  # fmt: skip
    section = results_section(find_rows([out]))
    assert section.count("### leave_one_out") == 1
    assert "| plain |" in section
    assert "| augmented |" in section
