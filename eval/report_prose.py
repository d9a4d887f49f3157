"""Reads the prose of a report: a Markdown file with one `## Section` for each part that a person writes."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from antiphon.eval.report_numbers import Number, fill_numbers
from antiphon.eval.report_source import ReportError

# HTML in prose is shown as text; pictures come from result files alone, and a page must not fetch any.
MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")


@dataclass(frozen=True)
class ReportProse:
    """What a person wrote.

    Args:
        title: the `# heading`, or None.
        abstract: what stands before the first section.
        sections: Markdown by the title of its section.
        text: the whole file, its numbers not yet filled in.
    """

    title: str | None = None
    abstract: str = ""
    sections: Mapping[str, str] = field(default_factory=dict)
    text: str = ""


def read_prose(path: Path, titles: Sequence[str], numbers: Mapping[str, Number]) -> ReportProse:
    """Read prose and fill in its numbers.

    Args:
        path: the Markdown file.
        titles: of the sections that a report has.
        numbers: that the prose may quote, by key.

    Raises:
        ReportError: the file is missing, quotes a number that does not exist, or has a heading that no report has.
    """
    if not path.is_file():
        raise ReportError(
            f"`--prose` {path} does not exist; pass a Markdown file with sections such as ## {titles[0]}."
        )
    text = path.read_text(encoding="utf-8")
    filled = fill_numbers(text, numbers, where=str(path))
    lines, title, parts, current = filled.splitlines(), None, {"": []}, ""
    position, level_above = 0, 1
    for heading, content in _headings(MARKDOWN.parse(filled)):
        level, (first, after) = int(heading.tag[1]), heading.map
        if level > level_above + 1 or (level == 1 and first > 0 and any(lines[:first])):
            raise ReportError(
                f"{path}, line {first + 1}: the heading {content!r} is on level {level}; expected one title (#), "
                "sections (##) and below them ### without gaps."
            )
        level_above = level
        if level > 2:
            continue
        parts[current] += lines[position:first]
        position = after
        if level == 1:
            title = content
        else:
            current = _section_title(content, titles, path)
            parts.setdefault(current, [])
    parts[current] += lines[position:]
    sections = {name: "\n".join(part).strip() for name, part in parts.items()}
    return ReportProse(title=title, abstract=sections.pop(""), sections=sections, text=text)


def _headings(tokens: Sequence[Token]) -> list[tuple[Token, str]]:
    """Headings of the document itself, not those within lists or quotations, with their text."""
    return [
        (token, following.content)
        for token, following in pairwise(tokens)
        if token.type == "heading_open" and token.level == 0
    ]


def _section_title(heading: str, titles: Sequence[str], path: Path) -> str:
    by_name = {title.casefold(): title for title in titles}
    if heading.casefold() not in by_name:
        nearest = difflib.get_close_matches(heading.casefold(), by_name, n=1, cutoff=0.0)
        raise ReportError(
            f"{path} has a section {heading!r}, which no report has; the nearest is {by_name[nearest[0]]!r} of "
            f"{', '.join(titles)}."
        )
    return by_name[heading.casefold()]
