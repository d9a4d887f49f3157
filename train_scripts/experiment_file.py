"""The file behind the log of experiments: free text, and blocks between markers that carry their data as JSON.

<!-- antiphon:summary begin {"last_id": 1} -->      generated
<!-- antiphon:summary end -->
<!-- antiphon:experiment begin {"id": "E0001", ...} -->      generated
<!-- antiphon:notes begin -->      typed
<!-- antiphon:notes end -->
<!-- antiphon:experiment end -->
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ANY_MARKER = re.compile(r"^.*<!--\s*antiphon:.*$", re.MULTILINE)
MARKER = re.compile(r"<!-- antiphon:(?P<kind>summary|experiment|notes) (?P<end>begin|end)(?: (?P<data>\{.*\}))? -->")
REQUIRED = {
    "summary": {"last_id"},
    "experiment": {
        "id", "key", "adopted", "study", "variant", "goal", "changes", "seeds", "result", "verdict", "git_commit",
        "git_changes", "folder", "date",
    },
}  # fmt: skip


class ExperimentsError(ValueError):
    """A log that cannot be read, or an entry that it lacks; the message says which line and what to do."""


@dataclass
class Text:
    """What people wrote outside the blocks, to the letter."""

    text: str


@dataclass
class Block:
    """The summary, or an experiment with its notes.

    Args:
        kind: "summary" or "experiment".
        attributes: The data that the marker carries.
        body: Text that is generated of the data.
        notes: Text that people typed; None in a summary.
    """

    kind: str
    attributes: dict
    body: str
    notes: str | None = None


@dataclass
class _Marker:
    kind: str
    is_begin: bool
    attributes: dict
    line: int
    start: int
    stop: int


def split_parts(text: str, path: str | Path) -> list[Text | Block]:
    """Cuts a log into free text and blocks; `join_parts` gives the same text again.

    Raises:
        ExperimentsError: for a damaged, missing, repeated or displaced marker.
    """
    parts, position, ids, markers = [], 0, set(), _markers(text, path)
    for begin in markers:
        if begin.kind not in REQUIRED:
            raise _error(path, begin.line, f"expected the begin of an experiment, found {_name(begin)}")
        missing = REQUIRED[begin.kind] - set(begin.attributes)
        if not begin.is_begin or missing:
            lacks = f" without {', '.join(sorted(missing))}" if begin.is_begin else ""
            raise _error(path, begin.line, f"expected the begin of an experiment, found {_name(begin)}{lacks}")
        id = begin.attributes.get("id", begin.kind)
        if id in ids or (begin.kind == "experiment" and not re.fullmatch(r"E\d{4,}", str(id))):
            raise _error(path, begin.line, f"{id} stands twice or is no id")
        ids.add(id)
        parts.append(Text(text[position : begin.start]))
        body_stop = notes = None
        if begin.kind == "experiment":
            first = _expect(markers, "notes", True, begin, path)
            last = _expect(markers, "notes", False, begin, path)
            body_stop, notes = first.start, text[first.stop : last.start]
        end = _expect(markers, begin.kind, False, begin, path)
        body = text[begin.stop : end.start if body_stop is None else body_stop]
        parts.append(Block(begin.kind, begin.attributes, body, notes))
        position = end.stop
    return [*parts, Text(text[position:])]


def join_parts(parts: list[Text | Block]) -> str:
    """Writes the parts of a log one after the other."""
    return "".join(part.text if isinstance(part, Text) else _block_text(part) for part in parts)


def _line(kind: str, end: str, attributes: dict | None = None) -> str:
    # Without these signs, data can end neither the comment nor its line.
    data = json.dumps(attributes, ensure_ascii=False).replace("<", "\\u003c").replace(">", "\\u003e")
    return f"<!-- antiphon:{kind} {end}{' ' + data if attributes else ''} -->\n"


def _block_text(block: Block) -> str:
    notes = "" if block.notes is None else _line("notes", "begin") + block.notes + _line("notes", "end")
    return _line(block.kind, "begin", block.attributes) + block.body + notes + _line(block.kind, "end")


def _markers(text: str, path: str | Path) -> Iterator[_Marker]:
    for found in ANY_MARKER.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        match = MARKER.fullmatch(found.group().rstrip())
        if match is None:
            raise _error(path, line, f"{found.group().strip()!r} is no marker")
        try:
            attributes = json.loads(match["data"] or "{}")
        except json.JSONDecodeError as error:
            raise _error(path, line, f"the data of the marker are not JSON ({error})") from None
        stop = min(found.end() + 1, len(text))
        yield _Marker(match["kind"], match["end"] == "begin", attributes, line, found.start(), stop)


def _expect(markers: Iterator[_Marker], kind: str, is_begin: bool, block: _Marker, path: str | Path) -> _Marker:
    found = next(markers, None)
    if found is None or (found.kind, found.is_begin) != (kind, is_begin):
        expected = f"antiphon:{kind} {'begin' if is_begin else 'end'}"
        what = "the end of the file" if found is None else f"{_name(found)} in line {found.line}"
        raise _error(path, block.line, f"the block that begins here lacks its marker {expected}; found {what}")
    return found


def _name(marker: _Marker) -> str:
    return f"antiphon:{marker.kind} {'begin' if marker.is_begin else 'end'}"


def _error(path: str | Path, line: int, what: str) -> ExperimentsError:
    return ExperimentsError(f"{path}, line {line}: {what}. Nothing was written; restore the marker by hand.")
