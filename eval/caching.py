"""A folder for what is costly to compute and follows from its inputs alone: arrays by name, under a digest of those."""

import hashlib
import importlib.metadata
import inspect
import os
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
    parts = [*inputs, *map(inspect.getsource, modules), *map(importlib.metadata.version, packages)]
    digest = hashlib.sha256("".join(f"{len(part)}:{part}" for part in parts).encode()).hexdigest()
    root = Path(cache or os.environ.get("ANTIPHON_CACHE") or Path.home() / ".cache" / "antiphon")
    path = root / kind / digest[:2] / f"{digest}.npz"
    if not path.is_file():
        arrays = compute()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda file: np.savez(file, **arrays))
    with np.load(path) as stored:
        return dict(stored)
