"""What one recipe changes against another, key by key."""

import json
import re
from collections.abc import Mapping

Change = tuple[str, object, object]

NOT_SET = "(not set)"
# Where a run lives and its seed tell trainings of one experiment apart; they are no part of the experiment.
NO_CHANGES = ("run.folder", "run.seed")


def recipe_changes(baseline: Mapping, variant: Mapping) -> list[Change]:
    """Compares two recipes.

    A list is one value, and so is a section that is empty or absent on one side: switching on an augmentation with all
    its settings is one change.

    Args:
        baseline: A resolved recipe, or a part of one.
        variant: The same with something changed.

    Returns:
        Dotted key, value before and value after, in the order of the baseline; `NOT_SET` where a side lacks the key.
    """
    return [change for change in _changes(baseline, variant, "") if change[0] not in NO_CHANGES]


def _changes(baseline: Mapping, variant: Mapping, prefix: str) -> list[Change]:
    changes = []
    for name in [*baseline, *(name for name in variant if name not in baseline)]:
        before, after = baseline.get(name, NOT_SET), variant.get(name, NOT_SET)
        key = f"{prefix}{name}"
        if before and after and isinstance(before, Mapping) and isinstance(after, Mapping):
            changes += _changes(before, after, f"{key}.")
        elif before != after:
            changes.append((key, before, after))
    return changes


def describe_change(change: Change) -> str:
    """A change as Markdown: `training.learning_rate`: `0.001` → `0.002`."""
    key, before, after = change
    return f"{_code(key)}: {_value(before)} → {_value(after)}"


def _value(value: object) -> str:
    return "not set" if value == NOT_SET else _code(json.dumps(value, ensure_ascii=False))


def _code(text: str) -> str:
    # A fence longer than any run of backticks inside keeps them from ending it.
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if "`" in text else ""
    return f"{fence}{space}{text}{space}{fence}"
