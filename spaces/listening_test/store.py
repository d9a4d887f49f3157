"""Sessions and answers in one SQLite file. What `answer` has returned from is on the disk, whatever happens next."""

import json
import secrets
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from definition import DefinitionError, ListeningTest
from design import Cell, Page, listener_seed

CODE_LETTERS = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # none that are mistaken for one another
CODE_LENGTH = 8  # a trillion codes: nobody guesses another listener's
# Pages of a session that stood still for so long are given to others.
ABANDONED_AFTER = timedelta(hours=2)
SECONDS_TO_WAIT = 30
SCHEMA = """
CREATE TABLE IF NOT EXISTS test (sha256 TEXT NOT NULL, definition TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS listeners (
    number INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE, seed INTEGER NOT NULL, last_active TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS pages (
    listener INTEGER NOT NULL REFERENCES listeners (number), position INTEGER NOT NULL,
    item TEXT, shown TEXT NOT NULL, check_number INTEGER, expected TEXT,
    PRIMARY KEY (listener, position));
CREATE TABLE IF NOT EXISTS answers (
    listener INTEGER NOT NULL, position INTEGER NOT NULL, answer TEXT NOT NULL, answered_at TEXT NOT NULL,
    PRIMARY KEY (listener, position), FOREIGN KEY (listener, position) REFERENCES pages (listener, position));
"""
NEXT_PAGE = """
SELECT position, item, shown, check_number FROM pages LEFT JOIN answers USING (listener, position)
WHERE listener = ? AND answer IS NULL ORDER BY position LIMIT 1"""
GIVEN_OUT = """
SELECT item, shown FROM pages JOIN listeners ON listener = number LEFT JOIN answers USING (listener, position)
WHERE item IS NOT NULL AND (answer IS NOT NULL OR last_active > ?)"""


class SessionError(ValueError):
    """A listener cannot go on; the message is one sentence to show."""


@dataclass(frozen=True)
class Session:
    """Where a listener stands: `page` is None at the end."""

    code: str
    position: int
    num_pages: int
    page: Page | None


class Store:
    """The results of one test; any number of threads and processes may use the file at once."""

    def __init__(self, path: Path, test: ListeningTest):
        """Opens or creates the file.

        Raises:
            DefinitionError: The file holds the results of another test.
        """
        self.path, self.test = Path(path), test
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._open()
        except sqlite3.DatabaseError as error:
            raise DefinitionError(f"{self.path} cannot be used as results: {error}; choose another file.") from None

    def _open(self) -> None:
        with self._connect() as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(SCHEMA)
        with self._transaction() as connection:
            stored = connection.execute("SELECT sha256 FROM test").fetchone()
            if stored is None:
                values = (self.test.sha256, json.dumps(self.test.to_dict(), ensure_ascii=False))
                connection.execute("INSERT INTO test VALUES (?, ?)", values)
            elif stored[0] != self.test.sha256:
                raise DefinitionError(
                    f"{self.path} holds results of another test, or test.yaml or a sound has changed since; "
                    "name a new file for the results."
                )

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self.path, timeout=SECONDS_TO_WAIT, isolation_level=None)
        try:
            # With WAL the default of many builds, NORMAL, may lose the last commits when power fails.
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            yield connection
        finally:
            connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._connect() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def begin(self, plan: Callable[[ListeningTest, Mapping[Cell, int], int], list[Page]]) -> str:
        """Starts a session and returns its code; pages are planned while no other session can start.

        Raises:
            SessionError: The test has all its listeners.
        """
        with self._transaction() as connection:
            (number,) = connection.execute("SELECT COUNT(*) FROM listeners").fetchone()
            if number >= self.test.max_listeners:
                raise SessionError("This test has all the listeners it needs; thank you for coming.")
            rows = connection.execute(GIVEN_OUT, ((_now() - ABANDONED_AFTER).isoformat(),))
            counts = Counter(Page(item, tuple(json.loads(shown))).cell for item, shown in rows)
            seed = listener_seed(self.test.seed, number + 1)
            code = "".join(secrets.choice(CODE_LETTERS) for _ in range(CODE_LENGTH))
            listener = (number + 1, code, seed, _now().isoformat())
            connection.execute("INSERT INTO listeners VALUES (?, ?, ?, ?)", listener)
            for position, page in enumerate(plan(self.test, counts, seed)):
                expected = None if page.check is None else json.dumps(self.test.checks[page.check].expected)
                values = (number + 1, position, page.item, json.dumps(page.shown), page.check, expected)
                connection.execute("INSERT INTO pages VALUES (?, ?, ?, ?, ?, ?)", values)
        return code

    def session(self, code: str) -> Session:
        """Where the listener with this code stands.

        Raises:
            SessionError: There is no such code.
        """
        with self._connect() as connection:
            return self._session(connection, code)

    def answer(self, code: str, position: int, answer: str) -> Session:
        """Keeps an answer and returns where the listener then stands.

        Of two answers to one page the first counts: the second click of a double click, or a page left open in another
        window, changes nothing.

        Raises:
            SessionError: There is no such code, page or answer.
        """
        if answer not in self.test.answers:
            raise SessionError("Choose one of the answers first.")
        with self._transaction() as connection:
            current = self._session(connection, code)
            if position > current.position:
                raise SessionError("This page is not open yet; continue with your code.")
            if position == current.position and current.page is not None:
                number = self._number(connection, current.code)
                now = _now().isoformat()
                connection.execute("INSERT INTO answers VALUES (?, ?, ?, ?)", (number, position, answer, now))
                connection.execute("UPDATE listeners SET last_active = ? WHERE number = ?", (now, number))
        return self.session(code)

    def _session(self, connection: sqlite3.Connection, code: str) -> Session:
        code = normalise_code(code)
        number = self._number(connection, code)
        (num_pages,) = connection.execute("SELECT COUNT(*) FROM pages WHERE listener = ?", (number,)).fetchone()
        found = connection.execute(NEXT_PAGE, (number,)).fetchone()
        if found is None:
            return Session(code, num_pages, num_pages, None)
        position, item, shown, check = found
        return Session(code, position, num_pages, Page(item, tuple(json.loads(shown)), check))

    @staticmethod
    def _number(connection: sqlite3.Connection, code: str) -> int:
        found = connection.execute("SELECT number FROM listeners WHERE code = ?", (code,)).fetchone()
        if found is None:
            raise SessionError("There is no session with this code; compare it with your note, or begin anew.")
        return found[0]


def normalise_code(code: str) -> str:
    """The code as it was given out, however it was typed."""
    return "".join(letter for letter in str(code)[:40].upper() if letter in CODE_LETTERS)


def _now() -> datetime:
    return datetime.now(UTC)
