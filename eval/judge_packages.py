"""Packages of the extra `judges`, imported where they are used, so that the rest of `eval` works without them."""

import importlib
from types import ModuleType


class MissingJudgeError(ImportError):
    """A package of the extra `judges` is not installed."""


def import_judge(name: str) -> ModuleType:
    """Import a package of the extra `judges`.

    Raises:
        MissingJudgeError: if it, or what it needs, is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingJudgeError(
            f"judging voices needs {name}, which cannot be imported ({error}); run `pip install antiphon[judges]`."
        ) from error
