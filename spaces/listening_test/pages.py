"""What a listener sees, as HTML: the sounds of a page, and examples of each rating. Nothing in it names a system."""

import base64
from collections.abc import Mapping
from html import escape
from pathlib import Path

from definition import ListeningTest
from design import Page
from loudness import Levels, matched_wav

LABELS = {"reference": "Reference", "sample": "Sample", "A": "Sound A", "B": "Sound B", "X": "Sound X"}


def page_sounds(test: ListeningTest, page: Page) -> dict[str, Path]:
    """Paths of a page's sounds by role."""
    if page.check is not None:
        return dict(test.checks[page.check].sounds)
    shown = iter(page.shown)
    return {
        role: test.reference_sound(page.item) if role == "reference" else test.system_sound(next(shown), page.item)
        for role in test.roles
    }


def draw_sounds(test: ListeningTest, page: Page, levels: Levels) -> str:
    """The players of a page."""
    sounds = page_sounds(test, page)
    return f'<div class="sounds">{_players({role: sounds[role] for role in test.roles}, levels)}</div>'


def draw_anchors(test: ListeningTest, levels: Levels) -> str:
    """Examples of ratings with their players, the best rating first; empty without any."""
    order = list(test.answers)
    entries = [
        f"<li><p>{escape(test.answers[anchor.answer])}</p>{_players(anchor.sounds, levels)}</li>"
        for anchor in sorted(test.anchors, key=lambda anchor: order.index(anchor.answer))
    ]
    return f'<ul class="anchors">{"".join(entries)}</ul>' if entries else ""


def draw_text(title: str, text: str) -> str:
    """A heading and paragraphs of a test's own text."""
    paragraphs = "".join(f"<p>{escape(part)}</p>" for part in text.split("\n") if part.strip())
    return f"<h1>{escape(title)}</h1>{paragraphs}"


def draw_progress(code: str, position: int, num_pages: int) -> str:
    """How far the session is, and the code to continue with."""
    return (
        f'<div class="progress"><p role="status">Page {position + 1} of {num_pages}</p>'
        f'<progress max="{num_pages}" value="{position}" aria-label="answered pages"></progress>'
        f"<p>To continue later, note your code: <strong>{format_code(code)}</strong></p></div>"
    )


def format_code(code: str) -> str:
    """A code in two halves, to read and to type."""
    return f"{code[:4]}-{code[4:]}"


def _players(sounds: Mapping[str, Path], levels: Levels) -> str:
    # The sound itself stands in the page: an address could tell which system it is, or that X is A.
    return "".join(
        f'<div class="sound"><span>{LABELS[role]}</span><audio controls preload="auto" aria-label="{LABELS[role]}" '
        f'src="data:audio/wav;base64,{base64.b64encode(matched_wav(path, levels.gains[path])).decode()}"></audio></div>'
        for role, path in sounds.items()
    )
