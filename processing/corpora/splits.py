"""Splits of a corpus as explicit lists of item ids: by group, never by listing order.

An item's id is its `file_name`.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from datasets import Dataset

from .schema import CorpusError


@dataclass(frozen=True)
class Fold:
    """One fold of leave-one-group-out: the group that is tested and the ids of both sides, sorted."""

    group: str
    train: list[str]
    test: list[str]


def item_ids(dataset: Dataset) -> list[str]:
    """The ids of the items, in the dataset's order.

    Raises:
        CorpusError: An item has no `file_name`, or two have the same.
    """
    ids = dataset["file_name"][:]
    if None in ids:
        raise CorpusError(f"item {ids.index(None)} has no `file_name`; splits need a stable name for every item.")
    if len(set(ids)) != len(ids):
        repeated = next(name for name in ids if ids.count(name) > 1)
        raise CorpusError(f"`file_name` {repeated!r} occurs more than once; splits need distinct names.")
    return ids


def select_ids(dataset: Dataset, ids: Iterable[str]) -> Dataset:
    """The items with these ids, in the order of the ids.

    Raises:
        CorpusError: An id is unknown, or listed twice.
    """
    ids = list(ids)
    position = {name: index for index, name in enumerate(item_ids(dataset))}
    unknown = [name for name in ids if name not in position]
    if unknown:
        raise CorpusError(f"{len(unknown)} of {len(ids)} ids are not in the corpus, the first is {unknown[0]!r}.")
    if len(set(ids)) != len(ids):
        raise CorpusError(f"{len(ids) - len(set(ids))} ids are listed twice; a split holds each item once.")
    return dataset.select([position[name] for name in ids])


def split_by_group(
    dataset: Dataset, fractions: Mapping[str, float], *, by: str = "speaker_id", seed: int = 0
) -> dict[str, list[str]]:
    """Divide a corpus so that no group is in two splits.

    Groups are drawn in an order that depends on the seed and their names alone, and each goes to the split that lacks
    most items.

    Args:
        dataset: The corpus.
        fractions: Share of the items of each split, such as {"train": 0.8, "validation": 0.1, "test": 0.1}. They sum
            to 1 and are approximated as whole groups allow; every split gets at least one group.
        by: Column of the groups.
        seed: Of the draw.

    Returns:
        The sorted ids of each split.

    Raises:
        CorpusError: The fractions do not sum to 1, a group is null, or there are fewer groups than splits.
    """
    if any(share <= 0 for share in fractions.values()) or not np.isclose(sum(fractions.values()), 1):
        raise CorpusError(f"`fractions` is {dict(fractions)} but must be positive and sum to 1.")
    ids_of = _ids_of_groups(dataset, by)
    if len(ids_of) < len(fractions):
        raise CorpusError(f"{by} has {len(ids_of)} groups, too few for {len(fractions)} splits; use fewer splits.")
    order = [sorted(ids_of)[index] for index in np.random.default_rng(seed).permutation(len(ids_of))]
    splits = {name: [] for name in fractions}
    for remaining, group in zip(range(len(order), 0, -1), order):
        # Near the end the splits that are still empty come first, so that none stays so.
        empty = [name for name in splits if not splits[name]]
        candidates = empty if len(empty) == remaining else list(splits)
        neediest = max(candidates, key=lambda name: fractions[name] * len(dataset) - len(splits[name]))
        splits[neediest] += ids_of[group]
    return {name: sorted(ids) for name, ids in splits.items()}


def leave_one_group_out(dataset: Dataset, by: str = "speaker_id") -> list[Fold]:
    """One fold per group, sorted by group: that group is the test, all others are for training.

    Raises:
        CorpusError: A group is null, or there is only one.
    """
    ids_of = _ids_of_groups(dataset, by)
    if len(ids_of) < 2:
        raise CorpusError(
            f"{by} has one group only ({next(iter(ids_of))!r}); leaving it out leaves nothing to train on."
        )
    return [
        Fold(group, train=sorted(id for other in ids_of if other != group for id in ids_of[other]), test=ids_of[group])
        for group in sorted(ids_of)
    ]


def save_split(path: str | os.PathLike, splits: Mapping[str, Iterable[str]]) -> None:
    """Write a split as JSON, {"train": [id, ...], ...}; ids are sorted, so that equal splits are equal files."""
    text = json.dumps({name: sorted(ids) for name, ids in splits.items()}, indent=1, ensure_ascii=False)
    Path(path).write_text(text + "\n", encoding="utf-8")


def load_split(path: str | os.PathLike) -> dict[str, list[str]]:
    """Read a split that `save_split` wrote, or a text file with one id per line (named by the file's stem).

    Raises:
        CorpusError: The file is no such split, or an id is in two splits or twice in one.
    """
    path = Path(path)
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        try:
            splits = json.loads(text)
        except json.JSONDecodeError as error:
            raise CorpusError(f"{path} is no JSON: {error}") from error
        if not isinstance(splits, dict) or not all(_is_id_list(ids) for ids in splits.values()):
            raise CorpusError(f"{path} must map split names to lists of ids.")
    else:
        splits = {path.stem: [line.strip() for line in text.splitlines() if line.strip()]}
    split_of = {}
    for name, ids in splits.items():
        for id in ids:
            if id in split_of:
                raise CorpusError(
                    f"{path}: id {id!r} is in {split_of[id]} and in {name}; an item is in one split, once."
                )
            split_of[id] = name
    return splits


def _is_id_list(value) -> bool:
    return isinstance(value, list) and all(isinstance(id, str) for id in value)


def _ids_of_groups(dataset: Dataset, by: str) -> dict[str, list[str]]:
    """Sorted ids of each group."""
    if by not in dataset.column_names:
        raise CorpusError(f"`by` is {by!r} but the corpus has {', '.join(dataset.column_names)}; name one of them.")
    ids_of = {}
    for id, group in zip(item_ids(dataset), dataset[by][:]):
        if group is None:
            raise CorpusError(f"item {id!r} has no {by}; drop such items or group by another column.")
        ids_of.setdefault(str(group), []).append(id)
    if not ids_of:
        raise CorpusError("the corpus is empty; there is nothing to split.")
    return {group: sorted(ids) for group, ids in ids_of.items()}
