"""The figure of a comparison: the difference in every group, sorted, and their mean with its interval."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import pyplot
from matplotlib.axes import Axes

from antiphon.eval.figures import COLORS, INK, figure_style, save_figure

MAX_NAMED_GROUPS = 24  # beyond, names would overlap: dots stand closer and only their number is told
MAX_COLUMNS = 3
TITLE_CHARACTERS = 44  # as many as a panel is wide
PANEL_WIDTH, HEADER_HEIGHT = 4.0, 1.3  # inches
NAMED_HEIGHT, UNNAMED_HEIGHT = 0.22, 0.045  # inches per group


def draw_comparisons(comparisons: Sequence[Mapping], path: str | Path) -> list[Path]:
    """Draw one panel per compared system.

    Args:
        comparisons: as `antiphon.eval.comparison.compare_systems` returns them.
        path: without suffix.

    Returns:
        Paths of the SVG and the PNG.
    """
    num_groups = max(len(comparison["groups"]) for comparison in comparisons)
    num_columns = min(MAX_COLUMNS, len(comparisons))
    num_rows = -(-len(comparisons) // num_columns)
    height = HEADER_HEIGHT + num_groups * (NAMED_HEIGHT if num_groups <= MAX_NAMED_GROUPS else UNNAMED_HEIGHT)
    with figure_style():
        figure, axes = pyplot.subplots(
            num_rows,
            num_columns,
            figsize=(PANEL_WIDTH * num_columns + 1, max(2.6, height) * num_rows),
            squeeze=False,  # each panel has its own scale: one large difference would hide all small ones
        )
        for panel, comparison in zip(axes.flat, comparisons):
            _draw_panel(panel, comparison)
        for panel in axes.flat[len(comparisons) :]:
            panel.set_visible(False)
        return save_figure(figure, path)


def _draw_panel(axes: Axes, comparison: Mapping) -> None:
    scale, unit = (100, "points") if comparison["unit"] == "ratio" else (1, comparison["unit"] or "")
    names = sorted(comparison["groups"], key=comparison["groups"].get)
    values = scale * np.array([comparison["groups"][name] for name in names])
    heights = np.arange(len(names)) + 1
    named = len(names) <= MAX_NAMED_GROUPS
    group = comparison["group_by"][0].removesuffix("_id")
    axes.axvline(0, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.plot(values, heights, "o", color=COLORS["blue"], markersize=5 if named else 3)
    _draw_mean(axes, comparison, scale)
    axes.set_yticks([0, *heights] if named else [0], ["all", *names] if named else ["all"])
    axes.set_ylim(-0.03 * len(names) - 0.9, len(names) + 0.9)
    axes.set_ylabel(group if named else f"{len(names)} {group}s, sorted by difference")
    direction = "higher" if comparison["higher_is_better"] else "lower"
    axes.set_xlabel(f"{comparison['metric']} difference{f' ({unit})' if unit else ''}; {direction} is better")
    title = [f"{comparison['system']} minus {comparison['reference']}", comparison["sentence"]]
    axes.set_title("\n".join(textwrap.fill(line, TITLE_CHARACTERS) for line in title), loc="left")
    axes.tick_params(axis="y", length=0)


def _draw_mean(axes: Axes, comparison: Mapping, scale: float) -> None:
    """The value over all items, as a diamond on the bottom line, and its interval, as a bar and a band."""
    color = COLORS["vermillion"]
    if comparison["low"] is not None:
        ends = [scale * comparison[key] for key in ("low", "high")]
        axes.plot(ends, [0, 0], color=color, linewidth=2.5, solid_capstyle="butt")
        axes.axvspan(*ends, color=color, alpha=0.15, linewidth=0)
    axes.plot([scale * comparison["value"]], [0], "D", color=color, markersize=7)
