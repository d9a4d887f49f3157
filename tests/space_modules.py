"""The modules of a Space: imported as its app.py does, and what they import themselves."""

import ast
import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest


@contextmanager
def modules_of(space: Path) -> Iterator[Callable[[str], ModuleType]]:
    """Yields a function that imports a module of a Space by its bare name, and forgets all of them afterwards."""
    names = [path.stem for path in space.glob("*.py")]
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.syspath_prepend(space)
        for name in names:
            monkeypatch.delitem(sys.modules, name, raising=False)
        yield importlib.import_module
        for name in names:
            sys.modules.pop(name, None)


def imported_packages(space: Path) -> set[str]:
    """Packages that a Space imports, without the standard library and its own modules."""
    imported = set()
    for path in space.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module.split(".")[0])
    return imported - {path.stem for path in space.glob("*.py")} - set(sys.stdlib_module_names)
