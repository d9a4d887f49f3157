"""Which pages a listener gets: a balanced incomplete block design, grown listener by listener, in random order."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
from definition import ListeningTest

Cell = tuple[str, tuple[str, ...]]  # an item and a condition


@dataclass(frozen=True)
class Page:
    """One page.

    Args:
        item: Its name; None on attention checks.
        shown: Systems in the order of the roles: (system,), (A, B) or (A, B, X); empty on attention checks.
        check: Number of the attention check; None on others.
    """

    item: str | None
    shown: tuple[str, ...] = ()
    check: int | None = None

    @property
    def cell(self) -> Cell:
        """The item and the condition that the page presents."""
        return self.item, tuple(sorted(self.shown[:2]))


def listener_seed(test_seed: int, number: int) -> int:
    """The seed of a listener's pages, from the test's seed and the number of the listener."""
    return int(np.random.SeedSequence([test_seed, number]).generate_state(1)[0])


def plan_pages(test: ListeningTest, counts: Mapping[Cell, int], seed: int) -> list[Page]:
    """Chooses the pages of one listener, in their order.

    Every condition comes equally often (within 1) to each listener, and as long as nobody leaves early, every item with
    every condition equally often (within 1) over listeners. A listener meets an item again only when all have come.

    Args:
        counts: How often each cell was given out before.
        seed: Of this listener.

    Source: after Cochran & Cox, "Experimental Designs", 1957, chapter 11 (incomplete blocks); greedy, so that it
    is balanced after any number of listeners.
    """
    generator = np.random.default_rng(seed)
    trials = []
    heard: Counter[str] = Counter()
    for condition, quota in _quotas(test, counts, generator).items():
        chosen = _shuffled(test.items, generator)
        chosen.sort(key=lambda item: (counts.get((item, condition), 0), heard[item]))
        heard.update(chosen[:quota])
        trials += _presentations(test.kind, condition, chosen[:quota], generator)
    pages = _shuffled(trials, generator)
    # Each check at a random place of its own stretch, so that they are spread out; never the first page of all.
    bounds = np.linspace(1, len(pages), len(test.checks) + 1).round().astype(int)
    places = [int(generator.integers(low, high + 1)) for low, high in pairwise(bounds)]
    for place, check in reversed(list(zip(places, generator.permutation(len(test.checks)).tolist()))):
        pages.insert(place, Page(None, check=check))
    return pages


def _quotas(test: ListeningTest, counts: Mapping[Cell, int], generator: np.random.Generator) -> dict:
    """Pages for each condition; one more for those that were given out least."""
    totals = Counter(dict.fromkeys(test.conditions, 0))
    for (_, condition), count in counts.items():
        totals[condition] += count
    conditions = _shuffled(test.conditions, generator)
    conditions.sort(key=totals.__getitem__)
    share, extra = divmod(test.pages_per_listener, len(conditions))
    return {condition: share + (place < extra) for place, condition in enumerate(conditions)}


def _presentations(kind: str, condition: tuple[str, ...], items: list, generator: np.random.Generator) -> list[Page]:
    """Pages of a condition; which system is A, and which one X, alternates from a random start."""
    if len(condition) == 1:
        return [Page(item, condition) for item in items]
    orders = [condition, condition[::-1]]
    if kind == "abx":
        orders = [(*order, x) for x, order in product(condition, orders)]
    orders = _shuffled(orders, generator)
    return [Page(item, orders[number % len(orders)]) for number, item in enumerate(items)]


def _shuffled(values, generator: np.random.Generator) -> list:
    return [values[index] for index in generator.permutation(len(values))]
