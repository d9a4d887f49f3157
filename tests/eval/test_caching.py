"""The cache of arrays on the disk: computed once, read piece by piece, and bounded."""

import os

import numpy as np
import pytest

from antiphon.eval.caching import mapped_arrays


@pytest.fixture
def ask(tmp_path):
    """Asks for a thousand times a number; what was computed is remembered in `ask.computed`."""

    def ask(number: int, max_bytes: int = 10**6) -> np.ndarray:
        def compute():
            ask.computed.append(number)
            return {"numbers": np.full(1000, float(number))}

        found = mapped_arrays("numbers", [str(number)], compute, max_bytes=max_bytes, cache=tmp_path)
        return found["numbers"]

    ask.computed = []
    return ask


def test_arrays_are_computed_once_and_stay_on_the_disk(ask):
    first, again = ask(3), ask(3)
    assert ask.computed == [3]
    assert isinstance(again, np.memmap)
    np.testing.assert_array_equal(first, again)
    with pytest.raises(ValueError, match="read-only"):
        again[0] = 1.0


def test_what_was_used_longest_ago_goes(ask, tmp_path):
    # Each has 8 kB and a folder that may count for 4 kB; 30 kB hold two.
    for number in (1, 2):
        ask(number, 30_000)
    for age, entry in enumerate(sorted(tmp_path.glob("numbers/*/*"), key=lambda entry: entry.stat().st_mtime_ns)):
        os.utime(entry, (1000 + age, 1000 + age))
    kept = ask(1, 30_000)
    ask(3, 30_000)
    ask(1)
    assert ask.computed == [1, 2, 3]
    ask(2)
    assert ask.computed == [1, 2, 3, 2]
    assert kept.sum() == 1000  # also while somebody reads it


def test_one_entry_may_exceed_the_bound(ask):
    assert ask(5, 10).sum() == 5000
    assert ask(5, 10).sum() == 5000
    assert ask.computed == [5]
