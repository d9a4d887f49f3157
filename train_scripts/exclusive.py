"""A claim on a piece of work, which the system gives up when the last process that holds it ends, however it ends."""

import fcntl
from pathlib import Path
from typing import BinaryIO


def claim(path: Path) -> BinaryIO | None:
    """Locks a file without waiting.

    The lock belongs to the open file, so a child process that inherits its descriptor holds the lock as well.

    Returns:
        The open file, to be closed when the work is done; None if another process holds the lock.
    """
    file = open(path, "ab")  # noqa: SIM115, the caller closes it
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file
