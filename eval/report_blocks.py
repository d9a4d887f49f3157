"""What a report is made of: blocks that know nothing of HTML or Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Paragraph:
    """Plain text."""

    kind: ClassVar[str] = "paragraph"
    text: str


@dataclass(frozen=True)
class Prose:
    """Markdown that a person wrote, its numbers filled in."""

    kind: ClassVar[str] = "prose"
    markdown: str


@dataclass(frozen=True)
class Bullets:
    """A list of plain texts."""

    kind: ClassVar[str] = "bullets"
    items: Sequence[str]


@dataclass(frozen=True)
class Code:
    """Text to be copied as it is."""

    kind: ClassVar[str] = "code"
    text: str
    language: str


@dataclass(frozen=True)
class Table:
    """A table; the first cell of each row names the row."""

    kind: ClassVar[str] = "table"
    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Figure:
    """A picture.

    Args:
        name: of its file, without suffix; unique within a report.
        alt: what it shows, for those who cannot see it.
        caption: below it.
        png: the picture; HTML shows it where there is no SVG, Markdown always.
        svg: the same as a drawing whose text stays text.
    """

    kind: ClassVar[str] = "figure"
    name: str
    alt: str
    caption: str
    png: bytes
    svg: str | None = None


@dataclass(frozen=True)
class Sound:
    """A recording.

    Args:
        name: of its file, without suffix; unique within a report.
        label: what is heard.
        data: the file.
        format: what it is, such as "flac" or "ogg"; ends its name.
    """

    kind: ClassVar[str] = "sound"
    name: str
    label: str
    data: bytes
    format: str = "flac"


@dataclass(frozen=True)
class AlignedWord:
    """A word of the reference over the word that was recognised for it; `error` is "", "S", "D" or "I"."""

    reference: str
    hypothesis: str
    error: str


@dataclass(frozen=True)
class Alignment:
    """Reference and hypothesis word by word."""

    kind: ClassVar[str] = "alignment"
    label: str
    words: Sequence[AlignedWord]


@dataclass(frozen=True)
class Details:
    """Blocks that are folded away until somebody asks for them."""

    kind: ClassVar[str] = "details"
    summary: str
    blocks: Sequence


@dataclass(frozen=True)
class Section:
    """Blocks under a heading; a section within a section has a heading one level lower."""

    kind: ClassVar[str] = "section"
    title: str
    blocks: Sequence


@dataclass(frozen=True)
class Report:
    """A whole report.

    Args:
        title: of the page.
        abstract: Markdown that a person wrote, its numbers filled in; may be empty.
        summary: what was found, in sentences.
        sections: in order.
    """

    title: str
    abstract: str
    summary: Sequence[str]
    sections: Sequence[Section]
