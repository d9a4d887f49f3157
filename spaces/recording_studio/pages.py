"""What stands on the page, as HTML. Texts come from imported lists, so that every one of them is escaped."""

from collections.abc import Sequence
from html import escape

from prompts import Prompt
from session import Row
from takes import Problem, Take


def draw_progress(speaker: str, takes: Sequence[Row], num_prompts: int) -> str:
    """How much is recorded."""
    with_problem = sum(bool(row.problems) for row in takes)
    words = f"{len(takes)} of {num_prompts} prompts recorded, {format_minutes(takes)}"
    words += f", {with_problem} with a problem" if with_problem else ""
    return (
        f'<div class="progress"><span role="status">{escape(speaker)}: {words}</span>'
        f'<progress max="{num_prompts}" value="{len(takes)}" aria-label="recorded prompts"></progress></div>'
    )


def format_minutes(takes: Sequence[Row]) -> str:
    """The duration of all takes: "2.5 minutes"."""
    return f"{sum(float(row.duration_seconds) for row in takes) / 60:.1f} minutes"


def draw_prompt(prompt: Prompt, number: int, num_prompts: int, kept: Row | None) -> str:
    """What is to be read now."""
    state = "not recorded yet" if kept is None else f"kept, {float(kept.duration_seconds):.1f} s"
    if kept is not None and kept.problems:
        state += f", although {kept.problems.replace(' ', ', ')}"
    return (
        f'<p class="place">{number} of {num_prompts} · {escape(prompt.list_name)} · {state}</p>'
        f'<p class="prompt" aria-live="polite">{escape(prompt.text)}</p>'
    )


def draw_verdict(take: Take, problems: Sequence[Problem]) -> str:
    """Whether a take is good, what to do if not, and its measures."""
    measures = (
        f'<p class="measures">{take.seconds:.1f} s, of which speech {take.speech_seconds:.1f} s; speech at '
        f"{take.speech_dbfs:.0f} dBFS, {take.snr_db:.0f} dB above the noise; {take.sampling_rate} Hz.</p>"
    )
    if not problems:
        return f'<p class="good">✓ A good take. Listen to it, or keep it and go on.</p>{measures}'
    advice = "".join(f"<li>{escape(problem.advice)}</li>" for problem in problems)
    return f'<p class="bad">⚠️ Better record this again:</p><ul>{advice}</ul>{measures}'


def draw_notice(sentence: str, *, is_refusal: bool = False) -> str:
    """One sentence."""
    return f'<p role="alert">{"⚠️ " if is_refusal else ""}{escape(sentence)}</p>'
