"""What listeners answered, from the SQLite file of `spaces/listening_test` or from its export, and who is left out."""

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

RATED = ("mos", "smos")
COLUMNS = ("listener_id", "position", "kind", "item", "system_a", "system_b", "system_x", "answer", "expected")
TRIAL, CHECK = "trial", "attention_check"
RATINGS_NAME, DEFINITION_NAME = "ratings.parquet", "test.json"
# What an answer is worth to the system that is A: a preference, half of one, or none.
PREFERENCE = {"A": 1.0, "none": 0.5, "B": 0.0}
QUERY = """
SELECT listener, position, item, shown, check_number, expected, answer FROM pages
JOIN answers USING (listener, position) ORDER BY listener, position"""


class ResultsError(ValueError):
    """The results cannot be analysed; the message names the remedy."""


@dataclass(frozen=True)
class ListeningResults:
    """Answers of a listening test.

    Args:
        definition: What was asked: `kind`, `systems`, `conditions`, `answers`, `pages_per_listener`, …
        ratings: One row an answer, with `COLUMNS`; `listener_id` is a number such as L0001.
        num_started: Listeners who began, including those without any answer.
    """

    definition: dict
    ratings: pd.DataFrame
    num_started: int

    @property
    def is_rated(self) -> bool:
        """Whether systems were rated one at a time, else compared in pairs."""
        return self.definition["kind"] in RATED

    @property
    def trials(self) -> pd.DataFrame:
        """Answers to pages of the test proper."""
        return self.ratings[self.ratings["kind"] == TRIAL]

    def without(self, listeners: Sequence[str]) -> "ListeningResults":
        """The same without some listeners."""
        return replace(self, ratings=self.ratings[~self.ratings["listener_id"].isin(list(listeners))])


def read_results(path: str | Path) -> ListeningResults:
    """Read the SQLite file of a test, or the folder that it was exported to.

    Raises:
        ResultsError: there is neither, or nobody has answered yet.
    """
    path = Path(path)
    if not path.exists():
        raise ResultsError(f"`path` {path} does not exist; pass the SQLite file of a test, or its export.")
    results = _read_export(path) if path.is_dir() else _read_sqlite(path)
    if not len(results.trials):
        raise ResultsError(f"{path} holds no answers yet; wait for listeners.")
    return results


def _read_sqlite(path: Path) -> ListeningResults:
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            definition = json.loads(connection.execute("SELECT definition FROM test").fetchone()[0])
            (num_started,) = connection.execute("SELECT COUNT(*) FROM listeners").fetchone()
            rows = connection.execute(QUERY).fetchall()
    except (sqlite3.DatabaseError, TypeError) as error:
        raise ResultsError(
            f"{path} is no file of a listening test ({error}); pass the one named by --results."
        ) from None
    records = []
    for listener, position, item, shown, check, expected, answer in rows:
        systems = (*json.loads(shown), None, None, None)[:3]
        kind = TRIAL if check is None else CHECK
        passing = None if expected is None else " ".join(json.loads(expected))
        records.append((f"L{listener:04d}", position, kind, item, *systems, answer, passing))
    return ListeningResults(definition, pd.DataFrame(records, columns=list(COLUMNS)), num_started)


def _read_export(folder: Path) -> ListeningResults:
    try:
        definition = json.loads((folder / DEFINITION_NAME).read_text(encoding="utf-8"))
        ratings = pd.read_parquet(folder / RATINGS_NAME)[list(COLUMNS)]
    except (OSError, KeyError, ValueError) as error:
        raise ResultsError(f"{folder} is no export of a listening test: {error}; write it again.") from None
    return ListeningResults(definition, ratings, definition["num_started"])


def failed_checks(results: ListeningResults) -> pd.Series:
    """How many attention checks each listener failed, by listener; only checks that were answered count."""
    checks = results.ratings[results.ratings["kind"] == CHECK]
    failed = [answer not in expected.split() for answer, expected in zip(checks["answer"], checks["expected"])]
    listeners = sorted(results.ratings["listener_id"].unique())
    return (
        pd.Series(failed, index=checks["listener_id"], dtype=float)
        .groupby(level=0)
        .sum()
        .reindex(listeners, fill_value=0)
    )


def inattentive_listeners(results: ListeningResults, max_failed_checks: int | None = None) -> list[str]:
    """Listeners who failed more attention checks than allowed.

    Args:
        max_failed_checks: as the definition of the test says, if None.
    """
    limit = results.definition["max_failed_checks"] if max_failed_checks is None else max_failed_checks
    failed = failed_checks(results)
    return failed.index[failed > limit].tolist()


def scores(results: ListeningResults) -> pd.DataFrame:
    """One row a trial with `listener`, `item`, `condition` and `score`.

    Returns:
        The score is the rating (MOS, SMOS); the preference for the first system of the condition, in alphabetical
        order, from 0 to 1 (A/B); or whether X was recognised, 0 or 1 (ABX).
    """
    trials = results.trials
    table = pd.DataFrame({"listener": trials["listener_id"], "item": trials["item"]})
    if results.is_rated:
        return table.assign(condition=trials["system_a"], score=trials["answer"].astype(float)).reset_index(drop=True)
    first = trials[["system_a", "system_b"]].min(axis=1)
    second = trials[["system_a", "system_b"]].max(axis=1)
    a_chosen = trials["answer"].map(PREFERENCE)
    wanted = trials["system_x"] if results.definition["kind"] == "abx" else first
    score = np.where(trials["system_a"] == wanted, a_chosen, 1 - a_chosen)
    return table.assign(condition=first + " | " + second, score=score).reset_index(drop=True)
