"""How many rows of each source are in a mixture, and which."""

import hashlib
from collections import defaultdict

from datasets import Dataset

from antiphon.processing.corpora import item_ids

from .recipes import RecipeError

MIXING_DEFAULTS = {"count": None, "repeat": False, "balance": None, "seed": 0}


def choose_rows(
    corpus: Dataset, name: str, *, count: int | None, repeat: bool = False, balance: str | None = None, seed: int = 0
) -> Dataset:
    """Draws rows at random. The draw is a function of the seed and of `file_name` alone, whatever order rows come in.

    A larger count keeps the rows of a smaller one, and a row that is added to the corpus displaces at most one other.

    Args:
        corpus: Rows of `load_corpus`.
        name: Of the source, for error messages.
        count: How many; None takes all as they are.
        repeat: Whether rows come again where there are too few: each of them once more before any comes a third time.
        balance: A column, such as `speaker_id`: its values get as many rows each as there are.
        seed: Of the draw.

    Raises:
        RecipeError: if there are too few rows, or an option has no meaning.
    """
    if count is None:
        if repeat or balance:
            raise RecipeError(f"`repeat` and `balance` of {name} need a `count`; say how many rows to take.")
        return corpus
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise RecipeError(f"`count` of {name} is {count!r}; expected a number of rows, such as 450.")
    if count > len(corpus) and not repeat:
        raise RecipeError(
            f"`count` of {name} is {count} but there are {len(corpus)} rows; take fewer, or let them come again with "
            "`repeat: true`."
        )
    order = _drawn(corpus, name, balance, seed)
    return corpus.select([order[position % len(order)] for position in range(count)])


def _drawn(corpus: Dataset, name: str, balance: str | None, seed: int) -> list[int]:
    """All rows in the order in which they are drawn."""
    ids = item_ids(corpus)
    draw = [hashlib.blake2b(f"{seed} {id}".encode(), digest_size=16).digest() for id in ids]
    order = sorted(range(len(ids)), key=draw.__getitem__)
    if balance is None:
        return order
    if balance not in corpus.column_names:
        raise RecipeError(f"`balance` of {name} is {balance!r}; expected one of {', '.join(corpus.column_names)}.")
    groups = corpus[balance][:]
    if None in groups:
        raise RecipeError(f"`balance` of {name} is {balance!r}, which {groups.count(None)} rows do not have.")
    turn, turns = {}, defaultdict(int)
    for index in order:
        turn[index] = turns[groups[index]]
        turns[groups[index]] += 1
    # In every turn each group gives one row, as long as it has any.
    return sorted(order, key=turn.__getitem__)
