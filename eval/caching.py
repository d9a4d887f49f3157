"""A folder for what is costly to compute and follows from its inputs alone: arrays by name, under a digest of those."""

import hashlib
import importlib.metadata
import inspect
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType

import numpy as np

from antiphon.eval.result_rows import write_atomically


def cached_arrays(
    kind: str,
    inputs: Iterable[str],
    compute: Callable[[], Mapping[str, np.ndarray]],
    *,
    modules: Iterable[ModuleType] = (),
    packages: Iterable[str] = (),
    cache: str | os.PathLike | None = None,
) -> dict[str, np.ndarray]:
    """Return what `compute` returns, from the cache where the same was computed before.

    Args:
        kind: name of the subfolder.
        inputs: texts, such as digests of files, that the result depends on, in order.
        compute: returns arrays of numbers by name.
        modules: whose source the result depends on; a change of it computes anew.
        packages: whose versions it depends on.
        cache: folder; by default `$ANTIPHON_CACHE`, or `~/.cache/antiphon`.
    """
    path = _place(kind, inputs, modules, packages, cache).with_suffix(".npz")
    if not path.is_file():
        arrays = compute()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda file: np.savez(file, **arrays))
    with np.load(path) as stored:
        return dict(stored)


def mapped_arrays(
    kind: str,
    inputs: Iterable[str],
    compute: Callable[[], Mapping[str, np.ndarray]],
    *,
    max_bytes: int,
    modules: Iterable[ModuleType] = (),
    packages: Iterable[str] = (),
    cache: str | os.PathLike | None = None,
) -> dict[str, np.ndarray]:
    """As `cached_arrays`, for large ones: they stay on the disk, and what is looked at is read, not to be written to.

    Args:
        max_bytes: of all that is kept of this kind; what was used longest ago goes, but never what was asked for.
    """
    folder = _place(kind, inputs, modules, packages, cache)
    if not folder.is_dir():
        arrays = compute()
        unfinished = folder.with_name(f"{folder.name}.{uuid.uuid4().hex}")
        unfinished.mkdir(parents=True)
        for name, array in arrays.items():
            np.save(unfinished / f"{name}.npy", array)
        try:
            unfinished.rename(folder)
        except OSError:  # another process was faster
            shutil.rmtree(unfinished)
    os.utime(folder)
    arrays = {path.stem: np.load(path, mmap_mode="r") for path in sorted(folder.glob("*.npy"))}
    _prune(folder.parents[1], max_bytes)
    return arrays


def _place(kind: str, inputs, modules, packages, cache: str | os.PathLike | None) -> Path:
    """Where a result lies, by the digest of all that it follows from."""
    parts = [*inputs, *map(inspect.getsource, modules), *map(importlib.metadata.version, packages)]
    digest = hashlib.sha256("".join(f"{len(part)}:{part}" for part in parts).encode()).hexdigest()
    root = Path(cache or os.environ.get("ANTIPHON_CACHE") or Path.home() / ".cache" / "antiphon")
    return root / kind / digest[:2] / digest


def _prune(folder: Path, max_bytes: int) -> None:
    """Deletes all but the entries used last, whose sizes together stay within `max_bytes`; the very last one stays."""
    entries = sorted(folder.glob("*/*"), key=lambda entry: entry.stat().st_mtime, reverse=True)
    total = 0
    for index, entry in enumerate(entries):
        total += sum(file.stat().st_size for file in (entry, *entry.glob("*")))
        if index and total > max_bytes:
            shutil.rmtree(entry, ignore_errors=True) if entry.is_dir() else entry.unlink(missing_ok=True)
