"""From a run to a leaderboard in a folder: the files, the definition, and the refusals of the commands."""

import json
import os
import subprocess
import sys

import pytest
import yaml
from datasets import load_dataset
from leaderboards import SPEAKERS, edit_row, write_board, write_run

import antiphon.eval.define_benchmark as define_benchmark
import antiphon.eval.submit as submit
from antiphon.eval.benchmark_definition import read_definition
from antiphon.eval.submission import SubmissionError


@pytest.fixture
def board(tmp_path):
    """A leaderboard on which one row was defined and submitted."""
    return write_board(tmp_path / "board", {"first": write_run(tmp_path / "first", 1)})


def files_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_submission_is_a_row_with_items_card_and_results_for_the_hub(board, tmp_path):
    files = files_of(board)
    assert set(files) == {
        "README.md", "eval.yaml", ".eval_results/digits/first.yaml",
        "rows/digits/first.json", "rows/digits/first_items.parquet", "rows/digits/first.md",
    }  # fmt: skip
    results = tmp_path / "first" / "results"
    row = json.loads((results / "digits.json").read_text())
    assert json.loads(files["rows/digits/first.json"]) == row | {"comparisons": []}
    assert files["rows/digits/first_items.parquet"] == (results / "digits_items.parquet").read_bytes()
    assert b"# The card of first" in files["rows/digits/first.md"]
    entries = yaml.safe_load(files[".eval_results/digits/first.yaml"])
    assert [entry["dataset"]["task_id"] for entry in entries] == ["digits_wer", "digits_cer", "digits_accuracy"]
    assert entries[0]["value"] == 0.25


def test_a_definition_is_what_the_hub_and_a_submission_need(board):
    content = yaml.safe_load((board / "eval.yaml").read_text())
    assert list(content) == ["name", "description", "evaluation_framework", "tasks", "antiphon"]
    assert content["tasks"][0] == {"id": "digits_wer", "config": "digits", "split": "test"}
    definition = read_definition((board / "eval.yaml").read_text(), "digits")
    row = json.loads((board / "rows/digits/first.json").read_text())
    assert definition["conditions"]["split_sha256"] == row["conditions"]["split_sha256"]
    assert definition["metrics"]["wer"] == {"unit": "ratio", "higher_is_better": False, "columns": ["errors", "words"]}
    assert (definition["num_items"], definition["baselines"]) == (48, {"best_constant_transcript": 0.75})
    assert read_definition((board / "eval.yaml").read_text(), "letters") is None


def test_items_of_a_benchmark_are_a_configuration_of_the_dataset(board, tmp_path):
    dataset = load_dataset(str(board), "digits", split="test", cache_dir=str(tmp_path / "cache"))
    assert len(dataset) == 48
    assert dataset["reference"][:2] == ["one", "two"]


def test_a_second_benchmark_joins_the_first(board, tmp_path):
    other = write_run(tmp_path / "other", 0, benchmark="letters")
    (board / "README.md").write_text("---\nlicense: mit\n---\nOur own words.\n")
    assert define_benchmark.main([str(other), "--to", str(board)]) == 0
    content = yaml.safe_load((board / "eval.yaml").read_text())
    assert list(content["antiphon"]) == ["digits", "letters"]
    assert len(content["tasks"]) == 6
    card = (board / "README.md").read_text()
    assert "license: mit" in card
    assert "Our own words." in card
    assert "config_name: letters" in card


def test_defining_again_changes_nothing_and_otherwise_only_on_demand(board, tmp_path, capsys):
    before = files_of(board)
    define_benchmark.define(tmp_path / "first/results/digits.json", str(board))
    assert files_of(board) == before
    other = write_run(tmp_path / "other", 0, text_normalizer="none")
    assert define_benchmark.main([str(other), "--to", str(board)]) == 1
    assert "already defines 'digits' otherwise" in capsys.readouterr().err
    assert files_of(board) == before
    assert define_benchmark.main([str(other), "--to", str(board), "--replace"]) == 0
    assert read_definition((board / "eval.yaml").read_text(), "digits")["conditions"]["text_normalizer"] == "none"


def test_a_forged_row_defines_nothing(tmp_path, capsys):
    path = write_run(tmp_path / "forger", 1)
    edit_row(path, lambda row: row["metrics"]["wer"].update(value=0.0))
    assert define_benchmark.main([str(path), "--to", str(tmp_path / "board")]) == 1
    assert "metrics.wer.value is 0.0 but should be 0.25" in capsys.readouterr().err
    assert not (tmp_path / "board").exists()


def test_a_refused_row_changes_nothing(board, tmp_path, capsys):
    before = files_of(board)
    path = write_run(tmp_path / "forger", 1)
    edit_row(path, lambda row: row["metrics"]["wer"].update(value=0.0))
    assert submit.main([str(tmp_path / "forger"), "--to", str(board)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("submit: error: ")
    assert "digits.json is refused:\n  - its numbers are not what its items yield" in error
    assert files_of(board) == before


def test_of_several_rows_all_or_none_are_taken(board, tmp_path):
    before = files_of(board)
    write_run(tmp_path / "both", 0)
    write_run(tmp_path / "both", 0, benchmark="undefined")
    with pytest.raises(SubmissionError, match="does not define 'undefined'; its owner does that with"):
        submit.submit(tmp_path / "both", str(board))
    assert files_of(board) == before


def test_a_board_without_definitions_takes_nothing(tmp_path):
    with pytest.raises(SubmissionError, match="the leaderboard does not define 'digits'"):
        submit.submit(write_run(tmp_path / "run"), str(tmp_path / "empty"))


def test_a_row_is_named_by_its_system_its_run_or_its_sender(board, tmp_path):
    path = write_run(tmp_path / "second", 2)
    submit.submit(path, str(board))
    assert (board / "rows/digits/second.json").is_file()
    edit_row(path, lambda row: row.update(system="variant_a"))
    submit.submit(path, str(board))
    assert (board / "rows/digits/variant_a.json").is_file()
    with pytest.raises(SubmissionError, match=r"its name is '\.\./\.\./x'; pass letters"):
        submit.submit(path, str(board), name="../../x")


def test_nobody_takes_a_name_that_another_checkpoint_has(board, tmp_path):
    path = write_run(tmp_path / "second", 0)
    with pytest.raises(SubmissionError, match="'first' is there already, with another checkpoint; pass another --name"):
        submit.submit(path, str(board), name="first")
    submit.submit(tmp_path / "first", str(board))  # its own row may come again


def test_a_row_carries_paired_comparisons_with_those_it_is_ranked_with(board, tmp_path):
    submit.submit(write_run(tmp_path / "second", [2, 3] * 6), str(board))
    submit.submit(write_run(tmp_path / "lexicon", 0, decoding="closed vocabulary"), str(board))
    [comparison] = json.loads((board / "rows/digits/second.json").read_text())["comparisons"]
    first = json.loads((board / "rows/digits/first.json").read_text())
    assert comparison["reference"] == "first"
    assert comparison["reference_checkpoint_sha256"] == first["checkpoint_sha256"]
    assert (comparison["metric"], comparison["value"]) == ("wer", pytest.approx(0.375))
    assert 0 < comparison["low"] < 0.375 < comparison["high"]
    assert json.loads((board / "rows/digits/lexicon.json").read_text())["comparisons"] == []


def test_rows_that_are_submitted_together_are_compared_with_one_another(board, tmp_path):
    results = tmp_path / "study" / "results"
    results.mkdir(parents=True)
    for name, wrong in (("second", [2, 3] * 6), ("third", 0)):
        source = write_run(tmp_path / name, wrong)
        source = source / "results" / "digits.json" if source.is_dir() else source
        for path in source.parent.glob("digits*"):
            path.rename(results / path.name.replace("digits", f"digits_{name}"))
        edit_row(results / f"digits_{name}.json", lambda row, name=name: row.update(system=name))
    submit.submit(results, str(board))
    rows = [json.loads((board / f"rows/digits/{name}.json").read_text()) for name in ("second", "third")]
    assert [[entry["reference"] for entry in row["comparisons"]] for row in rows] == [["first"], ["first", "second"]]


def test_a_forged_comparison_is_refused(board, tmp_path):
    submit.submit(write_run(tmp_path / "second", [2, 3] * 6), str(board))
    path = board / "rows/digits/second.json"
    submit.submit(path, str(board), check_only=True)
    edit_row(path, lambda row: row["comparisons"][0].update(low=-0.4, high=-0.3))
    with pytest.raises(SubmissionError, match="its comparison with 'first' is not what the items of both yield"):
        submit.submit(path, str(board), check_only=True)


def test_comparisons_over_one_group_have_no_interval_and_may_come_again(tmp_path):
    runs = {name: write_run(tmp_path / name, wrong, speakers=SPEAKERS[:1]) for name, wrong in (("a", 1), ("b", 2))}
    board = write_board(tmp_path / "board", runs)
    path = board / "rows/digits/b.json"
    [comparison] = json.loads(path.read_text())["comparisons"]
    assert comparison["low"] is None
    submit.submit(path, str(board), check_only=True)
    edit_row(path, lambda row: row["comparisons"][0].update(low=0.1))
    with pytest.raises(SubmissionError, match="its comparison with 'a' is not what the items of both yield"):
        submit.submit(path, str(board), check_only=True)


def test_checking_writes_nothing_and_takes_what_is_on_the_board(board, tmp_path, capsys):
    before = files_of(board)
    write_run(tmp_path / "second", 2)
    assert submit.main([str(tmp_path / "second"), "--to", str(board), "--check"]) == 0
    assert submit.main([str(board / "rows/digits/first.json"), "--to", str(board), "--check"]) == 0
    assert capsys.readouterr().out.count("is good") == 2
    assert files_of(board) == before


def test_a_failure_midway_shows_no_row_and_leaves_no_part(board, tmp_path, monkeypatch):
    path = write_run(tmp_path / "second", 2)
    replaced = []

    def full_disk(source, target, replace=os.replace):
        replaced.append(target.name)
        if len(replaced) == 3:
            raise OSError("no space left on device")
        replace(source, target)

    monkeypatch.setattr("antiphon.eval.result_rows.os.replace", full_disk)
    with pytest.raises(OSError, match="no space left"):
        submit.submit(path, str(board))
    monkeypatch.undo()
    assert not (board / "rows/digits/second.json").exists()
    assert not [path for path in board.rglob(".*") if path.is_file()], "temporary files are left"
    submit.submit(path, str(board))
    assert (board / "rows/digits/second.json").is_file()


def test_commands_say_what_they_cannot_do(board, tmp_path, capsys):
    run = write_run(tmp_path / "second").parents[1]
    assert submit.main([str(tmp_path / "nothing"), "--to", str(board)]) == 1
    assert "it holds no result row; name a row" in capsys.readouterr().err
    assert submit.main([str(run), "--to", str(board), "--pull-request"]) == 1
    assert "--pull-request is for the Hub" in capsys.readouterr().err
    assert submit.main([str(run), "--to", str(board), "--model", "no model"]) == 1
    assert "OWNER/MODEL on the Hub is expected" in capsys.readouterr().err


@pytest.mark.parametrize("script", [submit, define_benchmark], ids=["submit", "define_benchmark"])
def test_the_scripts_run_by_path(script, tmp_path):
    done = subprocess.run([sys.executable, script.__file__, "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--to" in done.stdout
