"""A system's card as HTML that nobody can harm a visitor with: no raw HTML, no images, links to the web only."""

import html
import re
from pathlib import PurePosixPath

from markdown_it import MarkdownIt

MAX_CARD_BYTES = 50_000
METADATA = re.compile(r"\A\s*---\r?\n.*?\r?\n---\s*(?:\r?\n|\Z)", re.DOTALL)


def card_paths(row_path: str) -> list[str]:
    """Where the card of a row may lie: beside a row of a leaderboard, else beside the folder `results`."""
    path = PurePosixPath(row_path)
    return [str(path.with_suffix(".md") if path.parts[0] == "rows" else path.parent.parent / "README.md")]


def render_card(data: bytes) -> str:
    """Renders a card without its metadata block.

    Args:
        data: Markdown in UTF-8.
    """
    text = METADATA.sub("", data.decode("utf-8", errors="replace"), count=1)
    return _renderer().render(text)


def paragraph(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{html.escape(text)}</p>"


def _renderer() -> MarkdownIt:
    # Deep nesting costs time without end.
    renderer = MarkdownIt("commonmark", {"html": False, "maxNesting": 20}).enable("table")
    renderer.add_render_rule("image", _render_image)
    renderer.add_render_rule("link_open", _render_link)
    return renderer


def _render_image(renderer, tokens, index, options, environment) -> str:
    # An image would tell its owner who looks at this page.
    return f"[image: {html.escape(tokens[index].content)}]"


def _render_link(renderer, tokens, index, options, environment) -> str:
    address = str(tokens[index].attrGet("href") or "")
    if not address.startswith(("https://", "http://")):
        return "<a>"  # what lies beside the card does not lie beside this page
    return f'<a href="{html.escape(address)}" target="_blank" rel="noopener noreferrer nofollow">'
