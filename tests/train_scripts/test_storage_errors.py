"""Which errors mean that a run could not be written."""

import errno
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from antiphon.train_scripts.storage_errors import explain_storage_failure, storage_failure


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded", "elsewhere/cache.bin"),
        PermissionError(errno.EACCES, "Permission denied", "runs/mine/recipe.yaml"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0"),
    ],
)
def test_failed_writing_is_told(error):
    assert storage_failure(error, "runs/mine")


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(errno.EACCES, "Permission denied", "data/recording.wav"),
        FileNotFoundError(errno.ENOENT, "No such file", "runs/mine/checkpoint"),
        SafetensorError("Error while deserializing header: InvalidHeaderDeserialization"),
        RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"),
        ValueError("no space left on device"),
    ],
)
def test_other_mistakes_are_not_taken_for_it(error):
    assert storage_failure(error, "runs/mine") is None


def test_what_libraries_raise_on_a_full_device():
    """The real thing where the system has a device that is always full."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises((OSError, RuntimeError)) as raised, open("/dev/full", "wb") as file:
        torch.save({"weight": torch.zeros(100_000)}, file)
    assert storage_failure(raised.value, "runs/mine")


def test_the_explanation_says_where_the_run_goes_on():
    told = explain_storage_failure("No space left on device", "runs/mine", "runs/mine/trainer/checkpoint-200")
    assert "checkpoint-200" in told
    assert "No space left" in told
    assert "no complete checkpoint" in explain_storage_failure("Read-only file system", "runs/mine", None)
