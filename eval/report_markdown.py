"""Writes a report as Markdown, with its pictures and sounds as files in a folder beside it."""

import re
from collections.abc import Sequence

from antiphon.eval.report_blocks import Alignment, Report
from antiphon.eval.result_formats import markdown_table

FILES = "report_files"


def render_markdown(report: Report) -> tuple[str, dict[str, bytes]]:
    """Render a report.

    Returns:
        The Markdown, and the files that it links to, by their path beside it.
    """
    files: dict[str, bytes] = {}
    parts = [f"# {escape(report.title)}", report.abstract, _bullets(report.summary)]
    parts += [_block(section, 2, files) for section in report.sections]
    return "\n\n".join(filter(None, parts)) + "\n", files


def _block(block, level: int, files: dict[str, bytes]) -> str:
    match block.kind:
        case "paragraph":
            return _line(block.text)
        case "prose":
            return block.markdown
        case "bullets":
            return _bullets(block.items)
        case "code":
            return _fenced(block.text, block.language)
        case "table":
            rows = [[escape(cell) for cell in row] for row in block.rows]
            return f"**{escape(block.caption)}**\n\n{markdown_table([escape(cell) for cell in block.headings], rows)}"
        case "figure":
            path = f"{FILES}/{block.name}.png"
            files[path] = block.png
            return f"![{escape(block.alt)}]({path})\n\n*{escape(block.caption)}*"
        case "sound":
            path = f"{FILES}/{block.name}.{block.format}"
            files[path] = block.data
            return f"[Listen: {escape(block.label)}]({path})"
        case "alignment":
            return f"{escape(block.label)}:\n\n{_fenced(aligned_text(block), 'text')}"
        case "details":
            inside = "\n\n".join(_block(inner, level, files) for inner in block.blocks)
            return f"<details><summary>{escape(block.summary)}</summary>\n\n{inside}\n\n</details>"
        case "section":
            inside = [_block(inner, level + 1, files) for inner in block.blocks]
            return "\n\n".join([f"{'#' * level} {escape(block.title)}", *inside])
    raise TypeError(f"`block` is {type(block).__name__}; expected a block of report_blocks.")


def escape(text: str) -> str:
    """Text as Markdown shows it unchanged within a line."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # `_` within words is harmless, and names are full of it.
    return re.sub(r"[\\`*\[\]~]|(?<!\w)_|_(?!\w)", lambda match: f"\\{match[0]}", text)


def _line(text: str) -> str:
    """Text as Markdown shows it on a line of its own, where some first characters would begin a heading or a list."""
    return re.sub(r"^(\d*)([#+\-=.)])", lambda match: f"{match[1]}\\{match[2]}", escape(text))


def _bullets(items: Sequence[str]) -> str:
    return "\n".join(f"- {_line(item)}" for item in items)


def _fenced(text: str, language: str) -> str:
    """A code block whose fence no line of the text can end."""
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall(r"`+", text)), 3)
    return f"{fence}{language}\n{text}\n{fence}"


def aligned_text(alignment: Alignment) -> str:
    """Reference, hypothesis and errors on three lines, words under words."""
    lines = {"reference": [], "hypothesis": [], "error": []}
    for word in alignment.words:
        cells = (word.reference or "*" * len(word.hypothesis), word.hypothesis or "*" * len(word.reference), word.error)
        width = max(map(len, cells))
        for line, cell in zip(lines.values(), cells):
            line.append(cell.ljust(width))
    return "\n".join(f"{name:<11}{' '.join(cells)}".rstrip() for name, cells in lines.items())
