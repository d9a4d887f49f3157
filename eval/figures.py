"""The style that all figures share: legible on light and dark pages, told apart by colour-blind readers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib

matplotlib.use("agg")

from matplotlib import pyplot
from matplotlib.figure import Figure

from antiphon.eval.result_rows import write_atomically

# Okabe & Ito, "Color Universal Design", 2008, less black and yellow, which vanish on a dark or a light page
COLORS = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "vermillion": "#D55E00",
    "sky": "#56B4E9",
    "purple": "#CC79A7",
}
INK = "#767676"  # a contrast of 4.5 to 1 against white and of 4.6 to 1 against black
RESOLUTION = 150  # dots per inch of the PNG

STYLE = {
    "axes.prop_cycle": matplotlib.cycler(color=list(COLORS.values())),
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": "medium",
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "savefig.transparent": True,
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "svg.fonttype": "none",  # text stays text: it can be searched, read aloud and scaled
    "svg.hashsalt": "antiphon",  # the same figure gives the same file
}


@contextmanager
def figure_style() -> Iterator[None]:
    """Draw in the shared style; whatever was set before holds again afterwards."""
    with matplotlib.rc_context(STYLE):
        yield


def save_figure(figure: Figure, path_stem: str | Path) -> list[Path]:
    """Write a figure as SVG and PNG with a transparent background, then close it.

    Args:
        figure: drawn within `figure_style`.
        path_stem: path without suffix; its folder must exist.

    Returns:
        The two paths.
    """
    stem, paths = Path(path_stem), []
    with figure_style():
        for suffix, metadata in ((".svg", {"Date": None}), (".png", {})):
            path = stem.with_name(stem.name + suffix)
            write_atomically(
                path,
                lambda file, suffix=suffix, metadata=metadata: figure.savefig(
                    file, format=suffix[1:], dpi=RESOLUTION, metadata=metadata
                ),
            )
            paths.append(path)
    pyplot.close(figure)
    return paths
