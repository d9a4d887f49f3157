"""Files that are there whole or not at all, whatever happens meanwhile."""

import contextlib
import csv
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

PART = ".part"  # how the names of files end that are still being written


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file or replaces it; when this returns, name and content are on the disk.

    Raises:
        OSError: The disk is full, or the folder cannot be written; what stood there before still does.
    """
    part = path.with_name(path.name + PART)
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def remove_parts(folder: Path) -> None:
    """Removes what a killed process had not finished writing."""
    for part in folder.glob(f"*{PART}"):
        part.unlink()


def to_csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """A table as CSV in UTF-8."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue().encode()


def _sync_folder(folder: Path) -> None:
    # The new name is in the folder, which is written on its own; Windows cannot open folders and needs no such thing.
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
