"""Fixtures of the Hub tests."""

import shutil
from pathlib import Path

import pytest
from huggingface_hub import constants
from loopback_hub import LoopbackHub, loopback_hub
from tiny_checkpoint import write_run

__all__ = ["client", "loopback_hub", "published_run", "run"]


@pytest.fixture(scope="session")
def published_run(tmp_path_factory) -> Path:
    """A complete run folder that no test changes."""
    return write_run(tmp_path_factory.mktemp("runs") / "tiny")


@pytest.fixture
def run(published_run, tmp_path) -> Path:
    """A copy of the run folder for a test to spoil."""
    return Path(shutil.copytree(published_run, tmp_path / "tiny"))


@pytest.fixture
def client(loopback_hub, monkeypatch, tmp_path) -> LoopbackHub:
    """The loopback Hub, with the Hub client of this process signed in to it and not waiting between retries."""
    monkeypatch.setattr(constants, "ENDPOINT", loopback_hub.url)
    template = loopback_hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    monkeypatch.setenv("HF_TOKEN", loopback_hub.token)
    monkeypatch.chdir(tmp_path)
    return loopback_hub
