"""Submitting to a leaderboard on the Hub, over HTTP, with the real client: one commit or none, and said so."""

import json
import subprocess
import sys

import pytest
import yaml
from huggingface_hub import constants
from leaderboards import write_run

import antiphon.eval.submit as submit
from antiphon.eval.define_benchmark import define
from antiphon.eval.hub_errors import HubError

BOARD = "tester/board"
ROW = "rows/digits/system.json"


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "system", 1).parents[1]


@pytest.fixture
def board(client, tmp_path):
    """The Hub with a leaderboard that defines the benchmark and has no rows."""
    define(write_run(tmp_path / "trusted", 2), BOARD)
    return client


def visible(hub, repo_id=BOARD) -> set[str]:
    """What a visitor sees, beside the file that the Hub itself writes."""
    return set(hub.files(repo_id, "dataset")) - {".gitattributes"}


def commits(hub, repo_id=BOARD, kind="dataset") -> list[str]:
    return list(hub.repositories[kind, repo_id].commits)


def test_a_definition_makes_the_dataset(board):
    assert visible(board) == {"README.md", "eval.yaml"}
    assert len(commits(board)) == 2, "the empty repository and one push"


def test_a_submission_is_one_commit(board, run):
    before = commits(board)
    assert submit.submit(run, BOARD) == [f"{board.url}/datasets/{BOARD}"]
    assert len(commits(board)) == len(before) + 1
    added = {ROW, "rows/digits/system_items.parquet", "rows/digits/system.md", ".eval_results/digits/system.yaml"}
    assert visible(board) == {"README.md", "eval.yaml"} | added
    files = board.files(BOARD, "dataset")
    assert files["rows/digits/system_items.parquet"] == (run / "results/digits_items.parquet").read_bytes()
    entry = yaml.safe_load(files[".eval_results/digits/system.yaml"])[0]
    assert entry["dataset"] == {"id": BOARD, "task_id": "digits_wer"}
    assert entry["source"]["url"] == f"{board.url}/datasets/{BOARD}/blob/main/{ROW}"


def test_submitting_again_changes_nothing(board, run):
    submit.submit(run, BOARD)
    before = commits(board)
    submit.submit(run, BOARD)
    assert commits(board) == before


def test_a_refused_row_sends_nothing(board, run):
    text = (run / "results/digits.json").read_text()
    (run / "results/digits.json").write_text(text.replace('"value": 0.25', '"value": 0.2'))
    before, writes = commits(board), [request for request in board.requests if request[0] != "GET"]
    assert submit.main([str(run), "--to", BOARD]) == 1
    assert commits(board) == before
    assert [request for request in board.requests if request[0] not in ("GET", "HEAD") and "commit" in request[1]] == [
        request for request in writes if "commit" in request[1]
    ]


@pytest.mark.parametrize("status", [500, None], ids=["error", "connection lost"])
@pytest.mark.parametrize("request_pattern", ["/preupload/main", "/objects/batch", "PUT /lfs/upload/", "/commit/main"])
def test_a_hub_that_fails_midway_shows_nothing_and_a_retry_completes(board, run, capsys, request_pattern, status):
    before = board.files(BOARD, "dataset")
    board.fail(request_pattern, status=status, times=20)
    assert submit.main([str(run), "--to", BOARD]) == 1
    output = capsys.readouterr()
    message = f"submit: error: the Hub failed: nothing was published, {BOARD} is unchanged; run the same command again"
    assert message in output.err
    assert output.out == ""
    assert board.files(BOARD, "dataset") == before
    assert any(answer == (status or 0) for *_, answer in board.requests), "the fault never happened"

    board.faults.clear()
    assert submit.main([str(run), "--to", BOARD]) == 0
    assert capsys.readouterr().out == f"submitted {run} to {board.url}/datasets/{BOARD}\n"
    assert ROW in visible(board)


@pytest.mark.parametrize("status", [500, None], ids=["error", "connection lost"])
def test_a_lost_answer_to_a_commit_that_happened_is_found_out(board, run, status):
    board.fail(r"POST .*/commit/main", status=status, after=True)
    submit.submit(run, BOARD)
    assert ROW in visible(board)


def test_someone_elses_commit_meanwhile_is_not_taken_for_this_one(board, run, monkeypatch):
    def read_then_race(path, read=submit.read_submission):
        result = read(path)
        repository = board.repositories["dataset", BOARD]
        repository.commit(dict(repository.commits[repository.head]))
        return result

    monkeypatch.setattr(submit, "read_submission", read_then_race)
    with pytest.raises(HubError, match=r"does not hold what was sent \(.*system\.json.*\); run the same command again"):
        submit.submit(run, BOARD)
    assert ROW not in visible(board)


def test_what_cannot_be_read_back_is_not_called_submitted(board, run, capsys):
    board.fail(rf"POST .*/paths-info/(?!{commits(board)[-1]})", times=20)
    assert submit.main([str(run), "--to", BOARD]) == 1
    assert "was pushed but could not be read back" in capsys.readouterr().err


def test_a_pull_request_leaves_main_alone_even_for_strangers(client, run, tmp_path):
    define(write_run(tmp_path / "trusted", 2), BOARD)
    files = client.files(BOARD, "dataset")
    client.create("someone-else/board", files, kind="dataset")
    [place] = submit.submit(run, "someone-else/board", pull_request=True)
    assert place == f"{client.url}/datasets/someone-else/board/discussions/1"
    assert client.files("someone-else/board", "dataset") == files
    _, proposed = client.repositories["dataset", "someone-else/board"].pull_requests["refs/pr/1"]
    assert ROW in proposed
    with pytest.raises(HubError, match=r"nothing was published.*may write to this account"):
        submit.submit(run, "someone-else/board")


def test_a_pull_request_whose_answer_is_lost_is_called_unknown(board, run):
    board.fail(r"POST .*/commit/main", after=True)
    with pytest.raises(HubError, match=r"unknown whether the pull request was opened, see .*discussions"):
        submit.submit(run, BOARD, pull_request=True)


def test_the_models_repository_gets_its_results_as_a_pull_request(board, run):
    board.create("tester/model", {"README.md": b"# A model"})
    places = submit.submit(run, BOARD, model_id="tester/model")
    assert places[1] == f"{board.url}/tester/model/discussions/1"
    assert set(board.files("tester/model")) == {"README.md"}
    _, proposed = board.repositories["model", "tester/model"].pull_requests["refs/pr/1"]
    [entry, *_] = yaml.safe_load(proposed[".eval_results/digits.yaml"].data)
    assert (entry["dataset"]["id"], entry["value"]) == (BOARD, 0.25)
    assert json.loads(board.files(BOARD, "dataset")[ROW])["model"]["id"] == "tester/model"


def test_rows_without_a_model_repository_are_said_to_be_there(board, run):
    with pytest.raises(HubError, match=r"the rows are in .*/board, but tester/model got no pull request: .*no model"):
        submit.submit(run, BOARD, model_id="tester/model")
    assert ROW in visible(board)


def test_what_is_missing_on_the_hub_is_said(client, run, monkeypatch, tmp_path):
    with pytest.raises(HubError, match="the Hub has no dataset 'tester/nowhere'"):
        submit.submit(run, "tester/nowhere")
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token-file"))
    with pytest.raises(HubError, match="no access token for the Hub; run `hf auth login` or set HF_TOKEN"):
        submit.submit(run, BOARD)


def test_the_commands_define_and_submit(loopback_hub, run, tmp_path):
    def call(script, *arguments):
        return subprocess.run(
            [sys.executable, script, *arguments],
            env=loopback_hub.environment(tmp_path / "home"), cwd=tmp_path, capture_output=True, text=True,
        )  # fmt: skip

    row = str(run / "results/digits.json")
    defined = call(submit.__file__.replace("submit.py", "define_benchmark.py"), row, "--to", BOARD)
    assert defined.returncode == 0, defined.stderr
    submitted = call(submit.__file__, str(run), "--to", BOARD)
    assert submitted.returncode == 0, submitted.stderr
    assert ROW in visible(loopback_hub)
