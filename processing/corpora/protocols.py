"""The protocols that PercePiano is assessed under: who and what is new in each test, as stored lists of ids.

`python -m antiphon.processing.corpora.protocols --check` makes the lists again from the corpus and compares.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from datasets import Dataset

from ..percepts import PERCEPTS
from . import load_corpus
from .audit import SplitAudit, audit_split
from .leakage_probe import LeakageProbe, file_features, leakage_probe, level_features
from .rendering import render_corpus
from .schema import CorpusError
from .splits import item_ids, select_ids
from .stored_lists import check_list, write_list

STORED_LISTS = Path(__file__).with_name("split_lists") / "percepiano.csv"
# Columns of the corpus whose values are on one side of each fold alone, besides `duplicate_group`.
PROTOCOLS = {
    "performers": ("player_id",),
    "works": ("work",),
    "passages": ("excerpt",),
    "performers_and_passages": ("player_id", "excerpt"),
    "random": (),
}
TEST_PLAYERS = ("1", "2")  # of the published split by performers
_GROUPS = ("player_id", "passage", "excerpt", "work", "duplicate_group")
_NUM_FOLDS = 4
_RANDOM_SEED, _RANDOM_TEST_SHARE = 0, 0.2

Folds = Mapping[str, Mapping[str, list[str]]]


def load_protocol(name: str) -> dict[str, dict[str, list[str]]]:
    """Read the stored lists of a protocol.

    Args:
        name: One of `PROTOCOLS`:
            performers: one fold; players 1 and 2 are tested. Their passages are all in training, by others.
            works: four folds; each tests one work.
            passages: four folds of whole excerpts, each of every work. Players are in training with other excerpts.
            performers_and_passages: four folds; each tests what one quarter of the players play of one quarter of the
                excerpts, and trains on the others' performances of the other excerpts. A quarter of the corpus is
                tested, each item once.
            random: one fold; every fifth item, drawn at random, is tested. Shows what such splits hide.

    Returns:
        For each fold the sorted ids of "train" and "test". Copies of a test item under another label are in neither.
    """
    table = pd.read_csv(STORED_LISTS, dtype=str, keep_default_na=False)
    columns = [column for column in table if column.startswith(f"{name}/")]
    if not columns:
        raise CorpusError(f"`name` is {name!r} but the stored protocols are {', '.join(PROTOCOLS)}.")
    return {
        column.partition("/")[2]: {side: table.loc[table[column] == side, "file_name"].tolist() for side in _SIDES}
        for column in columns
    }


_SIDES = ("train", "test")


def make_protocols(dataset: Dataset) -> dict[str, dict[str, dict[str, list[str]]]]:
    """Make every protocol from the corpus, whatever its order.

    Args:
        dataset: PercePiano, or what has its columns.

    Returns:
        Folds as of `load_protocol`, by protocol.
    """
    items = pd.DataFrame({name: dataset[name][:] for name in ("file_name", *_GROUPS)}).sort_values("file_name")
    players, excerpts = _balanced_folds(items, "player_id"), _balanced_folds(items, "excerpt")
    num_random = round(_RANDOM_TEST_SHARE * len(items))
    drawn = np.random.default_rng(_RANDOM_SEED).permutation(len(items)) < num_random
    folds = range(_NUM_FOLDS)
    return {
        "performers": {"players_" + "_".join(TEST_PLAYERS): _fold(items, items["player_id"].isin(TEST_PLAYERS))},
        "works": {work: _fold(items, items["work"] == work) for work in sorted(set(items["work"]))},
        "passages": {f"fold_{fold + 1}": _fold(items, excerpts == fold) for fold in folds},
        "performers_and_passages": {
            f"fold_{fold + 1}": _fold(
                items, (players == fold) & (excerpts == fold), (players != fold) & (excerpts != fold)
            )
            for fold in folds
        },
        "random": {f"seed_{_RANDOM_SEED}": _fold(items, drawn)},
    }


def _fold(items: pd.DataFrame, tested: np.ndarray, trained: np.ndarray | None = None) -> dict[str, list[str]]:
    """Both sides; `trained` is what is not tested if None. Training loses the duplicates of tested items."""
    trained = ~tested if trained is None else trained
    duplicates = items["duplicate_group"].isin(items.loc[tested, "duplicate_group"])
    return {
        "train": items.loc[trained & ~duplicates, "file_name"].tolist(),
        "test": items.loc[tested, "file_name"].tolist(),
    }


def _balanced_folds(items: pd.DataFrame, by: str) -> pd.Series:
    """Fold of each item: whole groups, the largest first, go where least is of the works that they are of."""
    counts = items.groupby([by, "work"]).size().unstack(fill_value=0)
    placed = np.zeros((_NUM_FOLDS, counts.shape[1]), dtype=np.int64)
    fold_of = {}
    for group in sorted(counts.index, key=lambda group: (-counts.loc[group].sum(), group)):
        sizes = counts.loc[group].to_numpy()
        fold = min(range(_NUM_FOLDS), key=lambda fold: (placed[fold] @ sizes, placed[fold].sum()))
        fold_of[group] = fold
        placed[fold] += sizes
    return items[by].map(fold_of)


def tabulate(protocols: Mapping[str, Folds]) -> pd.DataFrame:
    """One row an item, one column a fold ("protocol/fold") whose cells say "train", "test" or nothing."""
    sides = {
        f"{name}/{fold}": {item: side for side in _SIDES for item in lists[side]}
        for name, folds in protocols.items()
        for fold, lists in folds.items()
    }
    return pd.DataFrame(sides).fillna("").sort_index().rename_axis("file_name").reset_index()


@dataclass(frozen=True)
class FoldAudit:
    """What one fold of a protocol shares between its sides.

    `shared`: for each column how many of the test's values are in training too, and how many the test has. `probes`:
    what the outside of the files alone tells of the percepts.
    """

    fold: str
    num_left_out: int
    num_duplicates_left_out: int
    shared: dict[str, tuple[int, int]]
    sounds: SplitAudit
    probes: list[LeakageProbe]

    def __str__(self) -> str:
        return "\n".join(
            [
                f"fold {self.fold}: {self.num_left_out} items in neither side, {self.num_duplicates_left_out} of them "
                "copies of test items",
                *(f"  {name}: {both} of {total} in test also in train" for name, (both, total) in self.shared.items()),
                str(self.sounds),
                *(f"  {probe}" for probe in self.probes if probe.better_than_chance),
            ]
        )


def audit_protocol(dataset: Dataset, name: str, folds: Folds | None = None) -> list[FoldAudit]:
    """Compare the two sides of every fold: by their groups, their sounds, and what files tell from outside.

    Args:
        dataset: The rendered corpus.
        name: One of `PROTOCOLS`.
        folds: Lists to audit instead of the stored ones.

    Returns:
        A report a fold.

    Raises:
        CorpusError: A group that the protocol promises to be new in the test is in training.
        SplitLeakageError: A recording is on both sides.
    """
    folds = load_protocol(name) if folds is None else folds
    separated = (*PROTOCOLS[name], "duplicate_group")
    reports = []
    for fold, lists in folds.items():
        train, test = (select_ids(dataset, lists[side]) for side in _SIDES)
        shared = {
            column: (len(set(train[column][:]) & set(test[column][:])), len(set(test[column][:]))) for column in _GROUPS
        }
        leaking = [column for column in separated if shared[column][0]]
        if leaking:
            raise CorpusError(f"{name}, fold {fold}: {', '.join(leaking)} on both sides; make the lists again.")
        left_out = sorted(set(item_ids(dataset)) - {*lists["train"], *lists["test"]})
        copies = set(test["duplicate_group"][:])
        reports.append(
            FoldAudit(
                fold=fold,
                num_left_out=len(left_out),
                num_duplicates_left_out=sum(
                    group in copies for group in select_ids(dataset, left_out)["duplicate_group"]
                ),
                shared=shared,
                # Fingerprints take renderings of one soundfont for copies where they strike the same keys.
                sounds=audit_split(train, test, group_by=separated[0], allow_near_duplicates=True),
                probes=_probe_percepts(train, test),
            )
        )
    return reports


def _probe_percepts(train: Dataset, test: Dataset) -> list[LeakageProbe]:
    features = tuple(file_features(side) | level_features(side) for side in (train, test))
    probes = []
    for index, percept in enumerate(PERCEPTS):
        sides = [side.add_column(percept, np.array(side["percepts"][:])[:, index]) for side in (train, test)]
        probes += leakage_probe(*sides, label=percept, features=features, group_by="excerpt")
    return probes


def main() -> None:
    """Write or check the stored lists, or audit them."""
    parser = argparse.ArgumentParser(description=__doc__)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--check", action="store_true", help="fail if the stored lists are not those of the corpus")
    action.add_argument("--write", action="store_true", help="store the lists")
    action.add_argument("--audit", choices=PROTOCOLS, metavar="NAME", help="render the corpus and audit a protocol")
    arguments = parser.parse_args()
    corpus = load_corpus("percepiano")
    if arguments.audit:
        print(*audit_protocol(render_corpus(corpus), arguments.audit), sep="\n\n")
        return
    (write_list if arguments.write else check_list)(STORED_LISTS, tabulate(make_protocols(corpus)))


if __name__ == "__main__":
    main()
