"""Telling a full disk or a folder that cannot be written from a mistake in the code."""

import errno
import os
import re
from pathlib import Path

from safetensors import SafetensorError

# What a system answers where nothing more can be written: full, over a quota or a size limit, read-only.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
# What it also answers to someone who reads, so that only the run's own files tell.
_REFUSED = (errno.EACCES, errno.EPERM, errno.EIO, errno.ENOTDIR, errno.EEXIST)
# torch says of a failed write only where in its own code it happened.
_TORCH_WRITERS = ("PytorchStreamWriter failed", "unexpected pos")


def storage_failure(error: Exception, folder: str | Path) -> str | None:
    """Says in a few words why a run could not be written; None for an error of another kind.

    Args:
        error: An OSError, or what safetensors or torch raise in its place.
        folder: Of the run.
    """
    if isinstance(error, OSError):
        inside = Path(folder).absolute() in (file := Path(error.filename or "").absolute(), *file.parents)
        if error.errno not in _FULL and not (error.errno in _REFUSED and inside):
            return None
        return os.strerror(error.errno) + (f": {error.filename}" if error.filename else "")
    if isinstance(error, SafetensorError):
        number = re.search(r"\(os error (\d+)\)", str(error))
        return os.strerror(int(number[1])) if number and int(number[1]) in (*_FULL, *_REFUSED) else None
    if isinstance(error, RuntimeError) and any(writer in str(error) for writer in _TORCH_WRITERS):
        return "a file could not be written whole; the disk may be full"
    return None


def explain_storage_failure(reason: str, folder: str | Path, checkpoint: str | None) -> str:
    """What to tell someone whose training could not be written.

    Args:
        reason: As `storage_failure` gives it.
        folder: Of the run.
        checkpoint: The last complete one of the Trainer, from which the run can go on; None where there is none.
    """
    kept = (
        f"Its last complete checkpoint is {checkpoint}" if checkpoint else "It has no complete checkpoint of steps yet"
    )
    return (
        f"the run in {folder} could not be written ({reason}). {kept}. Make room or let the folder be written, then "
        "start the same command again; it goes on from there."
    )
