"""Draws the values of a ranking with their 95 % intervals, one line for each system."""

import html
import io
import re

import matplotlib as mpl
from matplotlib.figure import Figure
from ranking import Line, Ranking
from rows import clip
from tables import METRIC_NAMES

# Stands for the colour of the page's text while matplotlib draws, so that one picture suits light and dark pages.
TEXT_COLOUR = "#010203"
# Of Okabe and Ito, a palette that colour-blind people tell apart, the blue lightened for dark pages; shapes differ too.
KINDS = {
    "system": ("#2f8fd0", "o", "system"),
    "warned": ("#d55e00", "X", "not shown to be better than hearing nothing"),
    "baseline": ("#009e73", "D", "strongest baseline that hears nothing"),
}
MAX_LINES = 40
WIDTH, LINE_HEIGHT, MARGIN = 8.0, 0.32, 1.15  # inches
STYLE = {
    "svg.fonttype": "none",  # text stays text: sharp at any size, and a screen reader finds it
    "text.parse_math": False,  # a name may hold dollar signs
    "font.family": "sans-serif",
    "font.size": 10,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), TEXT_COLOUR),
}


def draw_ranking(ranking: Ranking) -> str:
    """HTML of a figure with an inline SVG: values as points, intervals as bars, best at the top."""
    lines = ranking.lines[:MAX_LINES]
    result = lines[0].result
    scale = 100 if result.get("unit") == "ratio" else 1
    unit = "%" if scale == 100 else clip(result.get("unit") or "no unit", 20)
    better = "right" if result["higher_is_better"] else "left"
    name = METRIC_NAMES.get(ranking.metric, clip(ranking.metric, 40))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, MARGIN + LINE_HEIGHT * len(lines)), layout="constrained")
        axes = figure.subplots()
        for kind, (colour, marker, label) in KINDS.items():
            own = [(place, line) for place, line in enumerate(lines) if _kind(line) == kind]
            if not own:
                continue
            places = [place for place, _ in own]
            values = [scale * line.result["value"] for _, line in own]
            for place, line in own:
                low, high = (line.result.get(end) for end in ("low", "high"))
                if low is not None and high is not None:
                    axes.hlines(place, scale * low, scale * high, color=colour, linewidth=2.5)
                    axes.vlines((scale * low, scale * high), place - 0.15, place + 0.15, color=colour, linewidth=1.5)
            axes.plot(values, places, linestyle="", marker=marker, markersize=8, color=colour, label=label)
        axes.set_yticks(range(len(lines)), [clip(line.name, 36) for line in lines])
        axes.set_ylim(len(lines) - 0.4, -0.6)
        axes.set_xlabel(f"{name} ({unit}), further {better} is better; bars are 95 % intervals")
        axes.grid(axis="x", color=TEXT_COLOUR, alpha=0.15)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        figure.legend(loc="outside upper left", ncols=len(KINDS), frameon=False, fontsize=9)
        svg = io.StringIO()
        figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _as_html(
        svg.getvalue(), f"{name} of {len(lines)} systems and baselines with 95 % intervals: {ranking.label}"
    )


def _kind(line: Line) -> str:
    if line.entry is None:
        return "baseline"
    return "warned" if line.warning else "system"


def _as_html(svg: str, label: str) -> str:
    svg = svg[svg.index("<svg") :].replace(TEXT_COLOUR, "currentColor")
    svg = svg.replace("*{", ".intervals *{")  # a rule for the whole page, once the SVG is inline
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{html.escape(label)}"', 1)
    return f'<figure class="intervals"><div tabindex="0">{svg}</div></figure>'
