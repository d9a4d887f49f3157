"""Pooled folds and seeds equal one measurement of everything, and refuse what is not one experiment."""

import pandas as pd
import pytest
from measured_rows import measure

from antiphon.eval.pool_runs import main, pool_runs
from antiphon.eval.result_rows import find_rows, items_path, read_row
from antiphon.eval.results_table import results_section

WRONG = {"ann": 0, "bea": 1, "cat": 0, "dot": 2, "eve": 0, "fay": 1}


@pytest.fixture
def folds(tmp_path):
    return [measure(tmp_path / speaker / "results", "fold", WRONG, [speaker]) for speaker in WRONG]


def test_pooled_folds_equal_one_measurement(folds, tmp_path):
    row, items = pool_runs(folds, "leave_one_out")
    whole = read_row(measure(tmp_path / "whole", "whole", WRONG, list(WRONG)))
    assert row["metrics"] == whole["metrics"]
    assert row["groups"] == whole["groups"]
    assert row["baselines"]["best_constant_transcript"] == whole["baselines"]["best_constant_transcript"]
    assert row["conditions"]["split_sha256"] == whole["conditions"]["split_sha256"]
    assert len(items) == row["dataset"]["num_items"] == 24
    assert row["speed"] == {"real_time_factor": pytest.approx(0.1), "audio_seconds": 12.0}


def test_one_fold_cannot_tell_but_six_together_can(tmp_path):
    wrong = dict.fromkeys(WRONG, 0) | {"dot": 1}
    folds = [measure(tmp_path / speaker / "results", "fold", wrong, [speaker]) for speaker in wrong]
    assert read_row(folds[0])["baselines"]["best_constant_transcript"]["beaten"] is None
    row, _ = pool_runs(folds, "leave_one_out")
    baseline = row["baselines"]["best_constant_transcript"]
    assert baseline["difference"]["wer"]["p_value"] == pytest.approx(2 / 64)
    assert baseline["beaten"] is True
    assert row["claims"] == [
        "pooled over 6 checkpoints, one for each fold",
        "cannot tell about a population from 6 speakers",
    ]


def test_each_fold_keeps_its_checkpoint(folds):
    row, _ = pool_runs(folds, "leave_one_out")
    assert [fold["checkpoint_sha256"] for fold in row["folds"]] == [
        read_row(path)["checkpoint_sha256"] for path in folds
    ]
    assert row["checkpoint_sha256"] not in [fold["checkpoint_sha256"] for fold in row["folds"]]


def test_known_speakers_are_still_said(tmp_path):
    paths = [measure(tmp_path / s, "fold", WRONG, [s], known=int(s == "ann")) for s in ("ann", "bea")]
    row, _ = pool_runs(paths, "leave_one_out")
    assert row["claims"][-1] == "measures known voices: 1 of 2 test speakers are also in training"


def test_what_is_not_one_experiment_is_refused(folds, tmp_path):
    with pytest.raises(ValueError, match=r"4 items in two runs of the same seed, e\.g\. 'ann_one\.wav'"):
        pool_runs([*folds, folds[0]], "leave_one_out")
    other = measure(tmp_path / "other", "fold", {"gil": 0}, ["gil"], decoding="closed vocabulary")
    with pytest.raises(ValueError, match="differ in decoding"):
        pool_runs([folds[0], other], "leave_one_out")


@pytest.fixture
def trainings(tmp_path):
    """Two folds, each trained with two seeds."""
    return [
        measure(tmp_path / f"{speaker}{seed}" / "results", "fold", {speaker: wrong}, [speaker], seeds=[seed])
        for speaker in ("ann", "bea")
        for seed, wrong in ((1, 0), (2, 2))
    ]


def test_seeds_are_pooled_beside_folds(trainings):
    row, items = pool_runs(trainings, "folds")
    assert row["seeds"] == [1, 2]
    assert row["metrics"]["wer"]["value"] == pytest.approx(1 / 4)
    assert (len(items), row["dataset"]["num_items"], row["dataset"]["num_speakers"]) == (16, 8, 2)
    assert row["dataset"]["hours"] == pytest.approx(8 * 0.5 / 3600)
    assert row["claims"][0] == "pooled over 4 checkpoints, one for each of 2 folds and 2 seeds"


def test_more_seeds_are_no_other_condition(trainings):
    both, _ = pool_runs(trainings, "folds")
    one, _ = pool_runs(trainings[::2], "folds")
    assert both["conditions"] == one["conditions"]
    assert both["dataset"] == one["dataset"]
    assert one["seeds"] == [1]


def test_a_seed_may_stand_in_the_row_alone(trainings):
    for path in trainings:
        items_file = items_path(path.parent, path.stem)
        pd.read_parquet(items_file).drop(columns="seed").to_parquet(items_file)
    row, items = pool_runs(trainings, "folds")
    assert row["seeds"] == [1, 2]
    assert items["seed"].value_counts().to_dict() == {1: 8, 2: 8}


def test_unfinished_and_unseeded_trainings_are_refused(trainings, folds):
    with pytest.raises(ValueError, match=r"4 items that were not measured with every seed, e\.g\. 'bea_"):
        pool_runs(trainings[:3], "folds")
    with pytest.raises(ValueError, match="with and without a training seed"):
        pool_runs([trainings[0], folds[1]], "folds")


def test_other_packages_or_references_are_refused(trainings, tmp_path):
    other = measure(tmp_path / "other", "fold", {"ann": 0}, ["ann"], seeds=[3], packages={"torch": "3"})
    with pytest.raises(ValueError, match=r"differ in packages\.torch: \['2', '3'\]"):
        pool_runs([trainings[0], other], "folds")
    items_file = items_path(trainings[1].parent, trainings[1].stem)
    pd.read_parquet(items_file).assign(reference="nine").to_parquet(items_file)
    with pytest.raises(ValueError, match="two references of 'ann_"):
        pool_runs(trainings[:2], "folds")


def test_builds_and_packages_that_change_nothing_may_differ(tmp_path):
    versions = {"ann": {"torch": "2.1+cpu", "python": "3.12.1"}, "bea": {"torch": "2.1+cu130", "python": "3.12.2"}}
    paths = [measure(tmp_path / name, "fold", WRONG, [name], packages=own) for name, own in versions.items()]
    row, _ = pool_runs(paths, "folds")
    assert row["conditions"]["packages"] == versions["ann"]


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
