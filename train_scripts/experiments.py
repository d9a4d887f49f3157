"""The log of experiments: a Markdown file that grows by one entry per experiment and keeps what people write into it.

    python train_scripts/experiments.py EXPERIMENTS.md
    python train_scripts/experiments.py EXPERIMENTS.md --adopt E0007 yes --note E0007 "holds on the phone corpus too"

Studies write the entries, people the notes; an experiment that is run again updates its entry. What stands between the
markers of an entry's notes, and between entries, is kept to the letter. A line typed elsewhere in an entry moves to its
notes when the entry is updated.
"""

import argparse
import datetime
import hashlib
import html
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock

from antiphon.eval.result_formats import markdown_table
from antiphon.eval.result_rows import write_atomically
from antiphon.train_scripts.experiment_file import ANY_MARKER, Block, ExperimentsError, Text, join_parts, split_parts
from antiphon.train_scripts.recipe_diff import Change, describe_change

HEADING = "# Experiments\n"
UNDECIDED = "not decided"
DECISIONS = ("yes", "no")


@dataclass(frozen=True)
class Experiment:
    """One variant of a study, held against its baseline.

    Args:
        study, variant: Names that together say which experiment this is, run after run.
        goal: The question.
        changes: As `recipe_changes` gives them; a result can be put down to one change only.
        seeds: Of the trainings.
        result: The difference with its interval, such as "wer -1.20 points (-2.00 to -0.40)".
        verdict: The sentence of the comparison.
        git_commit: Of the code that trained.
        git_changes: Whether that code had changes outside the commit.
        folder: Where the runs live; stored relative to the log.
        date: ISO date of the result.
    """

    study: str
    variant: str
    goal: str
    changes: list[Change]
    seeds: list[int]
    result: str
    verdict: str
    git_commit: str | None
    folder: str | Path
    git_changes: bool = False
    date: str = field(default_factory=lambda: datetime.date.today().isoformat())

    @property
    def key(self) -> str:
        """Digest of study and variant: an experiment that is run again has the same."""
        return hashlib.sha256(f"{self.study}\n{self.variant}".encode()).hexdigest()[:12]


def record_experiment(path: str | Path, experiment: Experiment) -> str:
    """Adds an experiment to the log, or updates the entry that it has there.

    Any number of processes may do so at once. When the function returns, the entry is on the disk.

    Args:
        path: The log; made if absent.

    Returns:
        The entry's id, such as "E0007", which never changes.

    Raises:
        ExperimentsError: for a log whose markers are damaged; it is left as it is.
    """
    folder = os.path.relpath(experiment.folder, Path(path).resolve().parent)
    fields = {**vars(experiment), "folder": Path(folder).as_posix()}
    with _edit(path) as parts:
        entry = next((part for part in _entries(parts) if part.attributes["key"] == experiment.key), None)
        if entry is None:
            entry = Block(
                "experiment", {"id": _new_id(parts), "key": experiment.key, "adopted": None, **fields}, "", "\n"
            )
            entry.body = _render(entry)
            parts += [Text("\n"), entry]
        else:
            _update(entry, fields)
    return entry.attributes["id"]


def adopt(path: str | Path, id: str, decision: str) -> None:
    """Writes into an entry whether its change was adopted: "yes" or "no".

    Raises:
        ExperimentsError: for an unknown id, or a log whose markers are damaged.
    """
    with _edit(path) as parts:
        _update(_find(parts, id, path), {"adopted": decision})


def add_note(path: str | Path, id: str, text: str) -> None:
    """Appends a paragraph to the notes of an entry.

    Raises:
        ExperimentsError: for an unknown id, a text that holds a marker, or a log whose markers are damaged.
    """
    if ANY_MARKER.search(text):
        raise ExperimentsError("the note holds a marker of the log, `<!-- antiphon:`; write it without.")
    with _edit(path) as parts:
        entry = _find(parts, id, path)
        entry.notes = _with_paragraph(entry.notes, text)


def read_experiments(path: str | Path) -> list[dict]:
    """Returns the entries in the order of the log: the fields of `Experiment`, with `id`, `key`, `adopted` and `notes`.

    Raises:
        ExperimentsError: for a log whose markers are damaged.
    """
    return [{**entry.attributes, "notes": entry.notes} for entry in _entries(_read_parts(Path(path)))]


def _read_parts(path: Path) -> list[Text | Block]:
    # As bytes: newlines of any kind stay what they were.
    return split_parts(path.read_bytes().decode(), path)


@contextmanager
def _edit(path: str | Path) -> Iterator[list[Text | Block]]:
    """Yields the parts of the log to be changed in place, and writes them unless an error comes up."""
    path = Path(path).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        parts = _read_parts(path) if path.is_file() else [Text(HEADING)]
        if not any(isinstance(part, Block) and part.kind == "summary" for part in parts):
            first = next((index for index, part in enumerate(parts) if isinstance(part, Block)), len(parts))
            parts[first:first] = [Text("\n"), Block("summary", {"last_id": 0}, "")]
        yield parts
        _summary(parts).body = _summarize(_entries(parts))
        text = join_parts(parts)
        split_parts(text, path)  # whatever would damage the log is refused before it is written
        write_atomically(path, lambda file: file.write(text.encode()))


def _entries(parts: list[Text | Block]) -> list[Block]:
    return [part for part in parts if isinstance(part, Block) and part.kind == "experiment"]


def _summary(parts: list[Text | Block]) -> Block:
    return next(part for part in parts if isinstance(part, Block) and part.kind == "summary")


def _find(parts: list[Text | Block], id: str, path: str | Path) -> Block:
    for entry in _entries(parts):
        if entry.attributes["id"] == id:
            return entry
    ids = ", ".join(entry.attributes["id"] for entry in _entries(parts))
    raise ExperimentsError(f"`{id}` is no experiment of {path}; there are: {ids or 'none'}.")


def _new_id(parts: list[Text | Block]) -> str:
    """The next number; an entry that somebody deleted does not give its number away."""
    summary = _summary(parts)
    numbers = [int(entry.attributes["id"][1:]) for entry in _entries(parts)]
    summary.attributes["last_id"] = max([summary.attributes["last_id"], *numbers]) + 1
    return f"E{summary.attributes['last_id']:04d}"


def _update(entry: Block, fields: dict) -> None:
    """Renders an entry anew; lines that somebody typed among the rendered ones move to the notes."""
    rendered = _render(entry).splitlines()
    typed = [line for line in entry.body.splitlines() if line not in rendered]
    entry.attributes.update(fields)
    entry.body = _render(entry)
    if typed:
        entry.notes = _with_paragraph(entry.notes, "\n".join(typed))


def _with_paragraph(notes: str, text: str) -> str:
    space = "" if not notes.strip() else "\n" if notes.endswith("\n") else "\n\n"
    return f"{notes}{space}{text}\n"


def _render(entry: Block) -> str:
    values = _texts(entry)
    changes = [describe_change(change) for change in entry.attributes["changes"]]
    lines = ["", f"## {values['id']}: {values['study']}, {values['variant']}", ""]
    lines += [f"- **Date**: {values['date']}", f"- **Goal**: {values['goal']}"]
    lines += [f"- **Change**: {change}" for change in changes or ["none"]]
    if len(changes) > 1:
        lines.append(f"- **{len(changes)} changes at once**: the result cannot be put down to one of them")
    uncommitted = ", with changes outside the commit" if entry.attributes["git_changes"] else ""
    lines += [
        f"- **Seeds**: {', '.join(map(str, entry.attributes['seeds']))}",
        f"- **Result**: {values['result']}",
        f"- **Verdict**: {values['verdict']}",
        f"- **Adopted**: {values['adopted'] or UNDECIDED}",
        f"- **Commit**: {values['git_commit'] or 'unknown'}{uncommitted}",
        f"- **Run folder**: {values['folder']}",
        "",
        "### Notes",
        "",
    ]
    return "\n".join(lines) + "\n"


def _summarize(entries: list[Block]) -> str:
    headings = ("id", "date", "study", "variant", "seeds", "result", "verdict", "adopted")
    lines = []
    for entry in entries:
        seeds = str(len(entry.attributes["seeds"]))
        values = {**_texts(entry), "seeds": seeds, "adopted": entry.attributes["adopted"] or UNDECIDED}
        lines.append([values[heading] for heading in headings])
    return f"\n{markdown_table(headings, lines)}\n\n"


def _texts(entry: Block) -> dict[str, str]:
    """What an entry says in words, each on one line and without HTML."""
    words = {name: value or "" for name, value in entry.attributes.items() if isinstance(value, str | None)}
    return {name: html.escape(" ".join(value.split()), quote=False) for name, value in words.items()}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", type=Path, help="such as EXPERIMENTS.md")
    parser.add_argument("--adopt", nargs=2, metavar=("ID", "DECISION"), help="whether the change is kept: yes or no")
    parser.add_argument("--note", nargs=2, metavar=("ID", "TEXT"), help="append a paragraph to an entry's notes")
    options = parser.parse_args(arguments)
    if options.adopt and options.adopt[1] not in DECISIONS:
        parser.error(f"`--adopt` takes an id and one of {', '.join(DECISIONS)}, not {options.adopt[1]!r}")
    if not options.log.is_file():
        sys.exit(f"error: {options.log} is no file; a study writes it, e.g. train_scripts/ablate.py.")
    try:
        if options.adopt:
            adopt(options.log, *options.adopt)
        if options.note:
            add_note(options.log, *options.note)
        for entry in read_experiments(options.log):
            decision = entry["adopted"] or UNDECIDED
            print(f"{entry['id']} {entry['date']} {entry['variant']}: {entry['verdict']} (adopted: {decision})")
    except ExperimentsError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
