"""Pushing to the Hub, over HTTP, with the real client: all or nothing, and said so."""

import json
import subprocess
import sys

import pytest
from huggingface_hub import constants
from tiny_checkpoint import result_row, write_checkpoint, write_row

import antiphon.train_scripts.publish as publish
from antiphon.eval.hub_errors import HubError
from antiphon.train_scripts.trained_run import PublishError

REPOSITORY = "tester/tiny"


def visible(hub) -> set[str]:
    """What a visitor sees, beside the file that the Hub itself writes."""
    return set(hub.files(REPOSITORY)) - {".gitattributes"}


def test_a_push_is_one_commit_with_every_file(client, published_run, tmp_path):
    url = publish.publish_to_hub(published_run, REPOSITORY)
    assert url == f"{client.url}/{REPOSITORY}"
    assert len(client.repositories["model", REPOSITORY].commits) == 2, "the empty repository and one push"
    folder = publish.publish_to_folder(published_run, tmp_path / "card")
    assert visible(client) == {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    weights = (published_run / "checkpoint" / "model.safetensors").read_bytes()
    assert client.files(REPOSITORY)["model.safetensors"] == weights


def test_pushing_the_same_run_again_changes_nothing(client, published_run):
    publish.publish_to_hub(published_run, REPOSITORY)
    before = list(client.repositories["model", REPOSITORY].commits)
    publish.publish_to_hub(published_run, REPOSITORY)
    assert list(client.repositories["model", REPOSITORY].commits) == before


def test_a_new_version_replaces_the_old_one_completely(client, run):
    publish.publish_to_hub(run, REPOSITORY)
    (run / "results" / "digits_test.json").unlink()
    write_checkpoint(run / "checkpoint", seed=1)
    write_row(run, result_row(run / "checkpoint", benchmark="other_test"))
    publish.publish_to_hub(run, REPOSITORY)
    assert {"results/other_test.json", ".eval_results/other_test.yaml"} <= visible(client)
    assert not {"results/digits_test.json", ".eval_results/digits_test.yaml"} & visible(client)


def test_a_passing_fault_is_survived(client, published_run):
    client.fail(r"POST .*/objects/batch")
    client.fail(r"PUT /lfs/upload/", status=503)
    publish.publish_to_hub(published_run, REPOSITORY)
    assert "model.safetensors" in visible(client)


@pytest.mark.parametrize(
    ("request_pattern", "times"),
    [
        (r"POST /api/repos/create", 1),
        (r"POST /api/validate-yaml", 1),
        (r"POST .*/preupload/main", 10),
        (r"POST .*/objects/batch", 10),
        (r"PUT /lfs/upload/", 10),
        (r"POST .*/commit/main", 1),
    ],
)
def test_a_hub_that_fails_midway_shows_nothing_and_a_retry_completes(
    client, published_run, capsys, request_pattern, times
):
    client.fail(request_pattern, status=500, times=times)
    assert publish.main([str(published_run), "--to", REPOSITORY]) == 1
    output = capsys.readouterr()
    message = output.err.splitlines()[-1]
    assert message.startswith(
        "publish: error: the Hub failed: nothing was published, tester/tiny is unchanged; run the"
    )
    assert "published" not in output.out
    assert visible(client) == set()
    assert any(status == 500 for *_, status in client.requests), "the fault never happened"

    client.faults.clear()
    assert publish.main([str(published_run), "--to", REPOSITORY]) == 0
    assert capsys.readouterr().out == f"published {published_run} to {client.url}/{REPOSITORY}\n"
    assert "model.safetensors" in visible(client)


def test_a_failed_new_version_leaves_the_old_one_visible(client, run):
    publish.publish_to_hub(run, REPOSITORY)
    before = client.files(REPOSITORY)
    write_checkpoint(run / "checkpoint", seed=1)
    write_row(run, result_row(run / "checkpoint"))
    client.fail(r"POST .*/commit/main")
    with pytest.raises(HubError, match="nothing was published"):
        publish.publish_to_hub(run, REPOSITORY)
    assert client.files(REPOSITORY) == before


def test_a_lost_answer_to_a_commit_that_happened_is_found_out(client, published_run):
    client.fail(r"POST .*/commit/main", after=True)
    publish.publish_to_hub(published_run, REPOSITORY)
    assert "model.safetensors" in visible(client)


def test_what_cannot_be_read_back_is_not_called_published(client, published_run, capsys):
    client.fail(r"GET .*/tree/[0-9a-f]{40}", times=20)
    assert publish.main([str(published_run), "--to", REPOSITORY]) == 1
    output = capsys.readouterr()
    assert "could not be read back" in output.err
    assert output.out == ""


def test_a_file_that_arrived_damaged_is_not_called_published(client, published_run):
    class Damaging(dict):
        def __setitem__(self, oid, data):
            super().__setitem__(oid, data[:-1] + b"?")

    client.large_files = Damaging()
    with pytest.raises(PublishError, match=r"does not hold what was sent \(model\.safetensors\)"):
        publish.publish_to_hub(published_run, REPOSITORY)


def test_a_repository_of_other_content_is_left_alone(client, published_run):
    client.create(REPOSITORY, {"README.md": b"years of work"})
    with pytest.raises(PublishError, match=r"holds README\.md, which publish did not write"):
        publish.publish_to_hub(published_run, REPOSITORY)
    assert visible(client) == {"README.md"}


def test_private_means_private(client, published_run):
    publish.publish_to_hub(published_run, REPOSITORY, private=True)
    assert client.repositories["model", REPOSITORY].private
    client.create("tester/open")
    with pytest.raises(PublishError, match="exists and is public"):
        publish.publish_to_hub(published_run, "tester/open", private=True)
    assert client.files("tester/open") == {}


@pytest.mark.parametrize(
    ("repository", "token", "message"),
    [
        ("tester/tiny", "hf_wrong", "sign in with `hf auth login`"),
        ("someone-else/tiny", None, "may write to this account"),
    ],
)
def test_a_token_without_the_right_to_write_is_explained(
    client, published_run, monkeypatch, repository, token, message
):
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(HubError, match=f"nothing was published.*{message}"):
        publish.publish_to_hub(published_run, repository)


def test_without_a_token_nothing_is_sent(client, published_run, monkeypatch, tmp_path, capsys):
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token-file"))
    assert publish.main([str(published_run), "--to", REPOSITORY]) == 1
    assert "no access token for the Hub; run `hf auth login` or set HF_TOKEN" in capsys.readouterr().err
    assert client.requests == []


def test_the_command_publishes(loopback_hub, published_run, tmp_path):
    done = subprocess.run(
        [sys.executable, publish.__file__, str(published_run), "--to", REPOSITORY, "--license", "cc-by-4.0"],
        env=loopback_hub.environment(tmp_path / "home"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"to {loopback_hub.url}/{REPOSITORY}\n")
    assert b"license: cc-by-4.0" in loopback_hub.files(REPOSITORY)["README.md"]
    manifest = json.loads(loopback_hub.files(REPOSITORY)[publish.MANIFEST])
    assert set(manifest["files"]) == visible(loopback_hub) - {publish.MANIFEST}
