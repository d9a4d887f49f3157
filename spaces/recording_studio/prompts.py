"""What is to be read aloud: lists of the Space's own, and imported ones."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from files import to_csv
from spelling import normalise

HERE = Path(__file__).resolve().parent
OWN_LISTS = (HERE / "sentences.txt", HERE / "phrases.txt")
COLUMNS = ("text", "normalised_text", "list")
MAX_BYTES = 4_000_000
MAX_PROMPTS = 20_000
# What is longer takes more than a minute to read, which no take may last.
MAX_CHARACTERS = 600
MAX_NAME_LENGTH = 60


class PromptError(ValueError):
    """A list cannot be used; the message is one sentence with its remedy."""


@dataclass(frozen=True)
class Prompt:
    """A text to read.

    Args:
        text: As it is shown.
        normalised_text: As it is spoken: numbers in words.
        list_name: Of the list that it came with.
    """

    text: str
    normalised_text: str
    list_name: str


def read_list(path: Path) -> list[Prompt]:
    """Reads a list: a text file with a prompt a line, or a CSV with the column `text`, and `normalised_text` and `list`
    if it likes. Texts that come twice come once.

    Args:
        path: Ends in .csv, or is read as text; UTF-8. Lists are named as the file where no column `list` names them.

    Raises:
        PromptError: There is no such file, it is no text, too large or empty, or a prompt cannot be used.
    """
    content = _read_text(path)
    lines = _csv_rows(content, path.name) if path.suffix.lower() == ".csv" else _text_rows(content)
    prompts = {}
    for row, cells in lines:
        text = " ".join((cells.get("text") or "").split())
        _check(text, f"{path.name}, line {row}")
        normalised = " ".join((cells.get("normalised_text") or "").split()) or normalise(text)
        _check(normalised, f"{path.name}, line {row}")
        prompts.setdefault(text, Prompt(text, normalised, _list_name(cells.get("list") or path.stem)))
    if not prompts:
        raise PromptError(f"{path.name} holds no prompts; write one a line.")
    _check_number(len(prompts))
    return list(prompts.values())


def merge(first: Iterable[Prompt], more: Iterable[Prompt]) -> list[Prompt]:
    """Both lists, one after the other; of equal texts the first stays."""
    merged = {}
    for prompt in (*first, *more):
        merged.setdefault(prompt.text, prompt)
    return list(merged.values())


def to_table(prompts: Sequence[Prompt]) -> bytes:
    """The prompts as a CSV that `read_list` reads again.

    Raises:
        PromptError: They are too many for that.
    """
    _check_number(len(prompts))
    table = to_csv(COLUMNS, map(astuple, prompts))
    if len(table) > MAX_BYTES:
        raise PromptError(
            f"All prompts together would fill more than {MAX_BYTES // 1_000_000} MB; take a shorter list."
        )
    return table


def _read_text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise PromptError(f"{path.name} is larger than {MAX_BYTES // 1_000_000} MB; split it.")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise PromptError(f"{path.name} is no text in UTF-8; save it as such.") from None
    except OSError as error:
        raise PromptError(f"{path} cannot be read: {error.strerror}; name a text file or a CSV.") from None


def _text_rows(content: str) -> list[tuple[int, dict]]:
    return [(row, {"text": line}) for row, line in enumerate(content.splitlines(), start=1) if line.strip()]


def _csv_rows(content: str, name: str) -> list[tuple[int, dict]]:
    reader = csv.DictReader(io.StringIO(content, newline=""), strict=True)
    try:
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise PromptError(f"{name}, line {reader.line_num}: {error}; save it as CSV with commas.") from None
    if "text" not in (reader.fieldnames or ()):
        raise PromptError(f"{name} has no column `text`; name the column that holds the prompts so.")
    return rows


def _list_name(written: str) -> str:
    printable = "".join(character if character.isprintable() else " " for character in written)
    return " ".join(printable.split())[:MAX_NAME_LENGTH].rstrip() or "list"


def _check_number(number: int) -> None:
    if number > MAX_PROMPTS:
        raise PromptError(f"There would be {number} prompts, at most {MAX_PROMPTS} are taken; take a shorter list.")


def _check(text: str, where: str) -> None:
    if not 0 < len(text) <= MAX_CHARACTERS:
        raise PromptError(f"{where} has {len(text)} characters, expected 1 to {MAX_CHARACTERS}.")
    if "|" in text or not text.isprintable():
        raise PromptError(f"{where} holds “|” or a control character, which no export can keep; take it out.")
    if not any(character.isalnum() for character in text):
        raise PromptError(f"{where} holds nothing to read aloud; take it out.")
