"""The loopback Hub must be strict where the real one is: a test that passes on a lenient server proves nothing."""

import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

WEIGHTS = bytes(range(256)) * 40


@pytest.fixture
def api(loopback_hub, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    return HfApi(endpoint=loopback_hub.url, token=loopback_hub.token)


def push(api, files, repo_id="tester/model", **options):
    operations = [CommitOperationAdd(path, content) for path, content in files.items()]
    return api.create_commit(repo_id, operations, commit_message="push", **options)


def test_large_and_regular_files_come_back_as_they_were(api, loopback_hub, tmp_path):
    api.create_repo("tester/model")
    api.create_repo("tester/model", exist_ok=True)
    push(api, {"a/b/config.json": b"{}", "model.safetensors": WEIGHTS})
    paths = {entry.path: getattr(entry, "lfs", None) for entry in api.list_repo_tree("tester/model", recursive=True)}
    assert set(paths) == {".gitattributes", "a", "a/b", "a/b/config.json", "model.safetensors"}
    assert paths["model.safetensors"].size == len(WEIGHTS)
    assert [entry.path for entry in api.list_repo_tree("tester/model", "a")] == ["a/b"]
    options = {"endpoint": loopback_hub.url, "token": loopback_hub.token, "cache_dir": tmp_path}
    downloaded = hf_hub_download("tester/model", "model.safetensors", **options)
    assert Path(downloaded).read_bytes() == WEIGHTS


def test_a_client_configured_by_environment_alone_needs_no_other_hub(loopback_hub, tmp_path):
    loopback_hub.create("tester/data", {"train.jsonl": b'{"a": 1}\n{"a": 2}\n'}, kind="dataset", private=True)
    code = "import datasets; print(datasets.load_dataset('tester/data', split='train')['a'][:])"
    environment = loopback_hub.environment(tmp_path / "home")
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "[1, 2]\n", done.stderr


def test_part_of_a_file_is_served(loopback_hub):
    loopback_hub.create("tester/model", {"model.safetensors": WEIGHTS})
    request = urllib.request.Request(
        f"{loopback_hub.url}/tester/model/resolve/main/model.safetensors", headers={"Range": "bytes=10-19"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert (answer.status, answer.read()) == (206, WEIGHTS[10:20])


def test_a_commit_is_visible_as_a_whole_or_not_at_all(api, loopback_hub):
    api.create_repo("tester/model")
    before = loopback_hub.files("tester/model")
    with pytest.raises(HfHubHTTPError, match=r"cannot apply deletedFile to missing\.txt"):
        api.create_commit(
            "tester/model",
            [CommitOperationAdd("config.json", b"{}"), CommitOperationDelete("missing.txt")],
            commit_message="half",
        )
    assert loopback_hub.files("tester/model") == before


def test_a_commit_on_an_outdated_parent_is_refused(api):
    api.create_repo("tester/model")
    parent = api.repo_info("tester/model").sha
    push(api, {"config.json": b"{}"}, parent_commit=parent)
    with pytest.raises(HfHubHTTPError, match="412"):
        push(api, {"config.json": b"[]"}, parent_commit=parent)


def test_a_transient_fault_is_retried_by_the_client_and_a_lasting_one_is_raised(api, loopback_hub):
    api.create_repo("tester/model")
    loopback_hub.fail("PUT /lfs/upload/", times=1)
    push(api, {"model.safetensors": WEIGHTS})
    assert loopback_hub.files("tester/model")["model.safetensors"] == WEIGHTS
    loopback_hub.fail("POST .*/commit/main", status=500)
    with pytest.raises(HfHubHTTPError, match="500"):
        push(api, {"config.json": b"{}"})
    assert "config.json" not in loopback_hub.files("tester/model")


def test_strangers_are_turned_away(api, loopback_hub):
    api.create_repo("tester/secret", private=True)
    with pytest.raises(HfHubHTTPError, match="403"):
        api.create_repo("someone-else/model")
    with pytest.raises(HfHubHTTPError, match="401"):
        HfApi(endpoint=loopback_hub.url, token="hf_wrong").create_repo("tester/other")
    with pytest.raises(RepositoryNotFoundError):
        HfApi(endpoint=loopback_hub.url, token=False).repo_info("tester/secret")
    with pytest.raises(RevisionNotFoundError):
        api.repo_info("tester/secret", revision="no-such-branch")
