"""Draws the percepts of one or two performances against the reference population, as rows that fit any window."""

import html
from collections.abc import Sequence

import numpy as np
from assessor import Assessment

from antiphon.eval.piano_explanations import MIN_PERFORMANCES, POINTS
from antiphon.eval.reference_population import Reference
from antiphon.processing.percepts import PERCEPT_POLES

LOWEST_POINT = 1
MARKS = ("first", "second")
BAND = (0.1, 0.5, 0.9)
WITHOUT_INTERVAL = "No intervals were calibrated for these inputs."


def draw_percepts(percepts: Sequence[str], assessments: Sequence[Assessment]) -> str:
    """Draws a row for each percept: both poles, the population, and each performance with its 90 % interval.

    Args:
        percepts: Names, in the order of the judgements.
        assessments: One or two. The reference population is that of the first.
    """
    reference = assessments[0].reference
    rows = [_row(index, percept, assessments, reference) for index, percept in enumerate(percepts)]
    return f'<div class="percepts"><p class="legend">{_legend(assessments, reference)}</p>{"".join(rows)}</div>'


def _legend(assessments: Sequence[Assessment], reference: Reference | None) -> str:
    names = [f"{mark} performance" for mark in MARKS] if len(assessments) > 1 else ["judged"]
    parts = [_key(f"dot {mark}", name) for mark, name in zip(MARKS, names)]
    if any(np.isnan(item.reach).all() for item in assessments):
        parts.append(WITHOUT_INTERVAL)
    else:
        parts.append(_key("line first", "90 % interval"))
    parts.append(_describe(reference))
    return " ".join([*parts, f"From {LOWEST_POINT} on the left to {POINTS} on the right."])


def _describe(reference: Reference | None) -> str:
    count = 0 if reference is None else max(reference.counts.values(), default=0)
    if count < MIN_PERFORMANCES:
        return f"No band: fewer than {MIN_PERFORMANCES} performances are known to compare with."
    whose = f"all {count} performances"
    if reference.passage is not None:
        whose = f"{count} performances of this passage ({reference.passage})"
    return _key("band", f"middle 80 % and median of listeners' judgements of {whose}")


def _key(mark: str, text: str) -> str:
    return f'<span class="key"><i class="{mark}"></i>{html.escape(text)}</span>'


def _row(index: int, percept: str, assessments: Sequence[Assessment], reference: Reference | None) -> str:
    low_pole, high_pole = map(html.escape, PERCEPT_POLES[percept])
    aspect = html.escape(_aspect(percept))
    band, spoken = "", []
    name = f"percept.{percept}"
    if reference is not None and reference.counts.get(name, 0) >= MIN_PERFORMANCES:
        low, median, high = (POINTS * reference.quantile(name, share) for share in BAND)
        band = f'<i class="band" style="{_span(low, high)}"></i><i class="median" style="left: {_place(median)}"></i>'
        spoken.append(f"population {low:.1f} to {high:.1f}")
    marks = []
    for mark, item in zip(MARKS, assessments):
        value, reach = POINTS * item.percepts[index], POINTS * item.reach[index]
        text = f"{mark} {value:.1f}"
        if np.isfinite(reach):
            marks.append(f'<i class="line {mark}" style="{_span(value - reach, value + reach)}"></i>')
            text += f", 90 % interval {value - reach:.1f} to {value + reach:.1f}"
        marks.append(f'<i class="dot {mark}" style="left: {_place(value)}"></i>')
        spoken.append(text)
    label = html.escape(f"{percept.replace('_', ' ')}: {'; '.join(spoken)}; of {POINTS} points")
    values = " · ".join(
        f'<b class="{mark}">{POINTS * item.percepts[index]:.1f}</b>' for mark, item in zip(MARKS, assessments)
    )
    return (
        f'<div class="percept" role="img" aria-label="{label}" title="{label}">'
        f'<span class="pole low"><small>{aspect}</small> {low_pole}</span>'
        f'<span class="track">{band}{"".join(marks)}</span>'
        f'<span class="pole high">{high_pole}</span><span class="value">{values}</span></div>'
    )


def _aspect(percept: str) -> str:
    return "music making" if percept.startswith("music_making") else percept.partition("_")[0]


def _place(points: float) -> str:
    share = (points - LOWEST_POINT) / (POINTS - LOWEST_POINT)
    return f"{100 * min(max(share, 0.0), 1.0):.1f}%"


def _span(low: float, high: float) -> str:
    return f"left: {_place(low)}; right: calc(100% - {_place(high)})"
