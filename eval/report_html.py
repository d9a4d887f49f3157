"""Writes a report as one HTML page that needs nothing else: no script, no font, no picture from anywhere."""

import base64
import html
import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from antiphon.eval.report_blocks import Figure, Report
from antiphon.eval.report_prose import MARKDOWN

TEMPLATES = Path(__file__).parent / "report_templates"
ERRORS_IN_WORDS = {"": "right", "S": "substituted", "D": "deleted", "I": "inserted"}


def render_html(report: Report) -> str:
    """Render a report as a page; every text in it is escaped."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        prose=_prose,
        drawing=inline_svg,
        data_uri=_data_uri,
        slug=slug,
        width=_width,
        error_in_words=ERRORS_IN_WORDS.get,
    )
    return environment.get_template("report.html").render(report=report)


def _prose(markdown: str) -> Markup:
    """HTML of Markdown; HTML within it is shown as text, and wide tables scroll."""
    rendered = MARKDOWN.render(markdown)
    rendered = rendered.replace("<table>", '<div class="scroll" tabindex="0" role="group"><table>')
    return Markup(rendered.replace("</table>", "</table></div>"))


def inline_svg(figure: Figure) -> Markup:
    """The drawing of a figure as an element of the page.

    Its ids become distinct from those of other drawings, since all share the page; what only a file needs is cut off.
    """
    svg = figure.svg[figure.svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|url\(#|xlink:href="#)', rf"\g<1>{figure.name}-", svg)
    opening, rest = svg.split(">", 1)
    # The page decides on the size; the drawing's own would not shrink.
    opening = re.sub(r' (?:width|height)="[^"]*"', "", opening)
    return Markup(f'{opening} role="img" aria-label="{html.escape(figure.alt)}">{rest}')


def _data_uri(content: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def _width(cell: str) -> Markup:
    """Room for long cells, which browsers squeeze in favour of many short ones."""
    return Markup(' class="long"' if len(cell) > 60 else ' class="medium"' if len(cell) > 14 else "")


def slug(title: str) -> str:
    """The title as an id."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
