"""The values that one key of a recipe may take in a search: choices of any kind, or a range of numbers."""

import json

import optuna

from .recipes import RecipeError, check_keys

RANGE_KEYS = ("low", "high", "log", "int", "step")


def check_entry(key: str, entry: dict) -> None:
    """Refuses what is neither a list of `choices` nor a range.

    Args:
        key: The recipe key, for error messages.
        entry: `choices`, or `low` and `high` with `log`, `int` and `step`.

    Raises:
        RecipeError: naming the key and what it lacks.
    """
    if not isinstance(entry, dict):
        raise RecipeError(f"`space.{key}` is {entry!r}; expected `choices`, or `low` and `high`.")
    check_keys(entry, ("choices",) if "choices" in entry else RANGE_KEYS, f"`space.{key}`")
    if "choices" in entry:
        if not isinstance(entry["choices"], list) or not entry["choices"]:
            raise RecipeError(f"`choices` of `space.{key}` is {entry['choices']!r}; expected a list of values.")
        if len(set(axis(key, entry))) < len(entry["choices"]):
            raise RecipeError(f"`choices` of `space.{key}` holds a value twice; keep one of them.")
        return
    for name in ("low", "high"):
        value = entry.get(name)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise RecipeError(f"`{name}` of `space.{key}` is {value!r}; expected a number.")
    try:
        # Optuna itself says what a range may be.
        suggest(optuna.create_study().ask(), key, entry)
    except ValueError as error:
        raise RecipeError(f"`space.{key}` is no range: {error}") from None


def suggest(trial: optuna.Trial, key: str, entry: dict):
    """The value of a trial: drawn now, or drawn before and read from the storage."""
    if "choices" in entry:
        # As JSON, since Optuna stores no lists and sections.
        return json.loads(trial.suggest_categorical(key, [json.dumps(choice) for choice in entry["choices"]]))
    low, high, log, step = entry["low"], entry["high"], entry.get("log", False), entry.get("step")
    if entry.get("int"):
        return trial.suggest_int(key, low, high, step=step or 1, log=log)
    return trial.suggest_float(key, low, high, step=step, log=log)


def extremes(entry: dict) -> list:
    """Every choice, or the ends of the range."""
    return entry["choices"] if "choices" in entry else [entry["low"], entry["high"]]


def decode(entry: dict, stored):
    """A value as a recipe has it, from a value as Optuna stores it."""
    return json.loads(stored) if "choices" in entry else stored


def axis(key: str, entry: dict) -> list:
    """Every value, as Optuna stores it.

    Raises:
        RecipeError: for a range without steps.
    """
    if "choices" in entry:
        return [json.dumps(choice) for choice in entry["choices"]]
    step = entry.get("step") or (1 if entry.get("int") else None)
    if step is None:
        raise RecipeError(f"`space.{key}` has no end of values for a grid; give `choices` or a `step`.")
    count = int((entry["high"] - entry["low"]) / step + 1e-9) + 1
    # Rounded: ten steps of 0.1 shall end at 1.
    return [round(entry["low"] + index * step, 12) for index in range(count)]
