"""Figures: text stays text, both pages are served, and every group is drawn."""

import re
import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot
from PIL import Image

from antiphon.eval.comparison_figure import draw_comparisons
from antiphon.eval.figures import COLORS, INK, figure_style, save_figure


def luminance(color):
    channels = [int(color[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return np.dot(linear, [0.2126, 0.7152, 0.0722])


def make_comparison(num_groups, **changes):
    return {
        "system": "augmented",
        "reference": "plain",
        "metric": "wer",
        "unit": "ratio",
        "higher_is_better": False,
        "value": -0.02,
        "low": -0.05,
        "high": 0.01,
        "sentence": "cannot tell: about 40 more speakers would",
        "group_by": ["speaker_id"],
        "groups": {f"speaker{number:02d}": 0.01 * (number % 7 - 4) for number in range(num_groups)},
        **changes,
    }


def svg_texts(path):
    return [element.text for element in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")]


def test_ink_is_read_on_white_and_on_near_black():
    ink = luminance(INK)
    assert (luminance("#ffffff") + 0.05) / (ink + 0.05) >= 4.5
    assert (ink + 0.05) / (luminance("#050505") + 0.05) >= 4.4


def test_marks_stand_out_on_both_pages():
    for name in ("blue", "vermillion"):
        color = luminance(COLORS[name])
        assert min(1.05 / (color + 0.05), (color + 0.05) / (luminance("#111111") + 0.05)) >= 3


def test_style_ends_with_the_block():
    before = matplotlib.rcParams["text.color"]
    with figure_style():
        assert matplotlib.rcParams["text.color"] == INK
    assert matplotlib.rcParams["text.color"] == before


def test_saved_figures_are_transparent_and_repeatable(tmp_path):
    files = []
    for name in ("first", "second"):
        with figure_style():
            figure, axes = pyplot.subplots()
            axes.plot([0, 1], [1, 0])
            svg, png = save_figure(figure, tmp_path / name)
        files.append(svg.read_bytes())
        assert Image.open(png).convert("RGBA").getpixel((0, 0))[3] == 0
    assert files[0] == files[1]
    assert not pyplot.get_fignums()


@pytest.mark.parametrize("num_groups", [6, 80])
def test_every_group_is_drawn_and_few_are_named(num_groups, tmp_path):
    comparison = make_comparison(num_groups)
    svg, png = draw_comparisons([comparison, make_comparison(num_groups, system="larger")], tmp_path / "comparison")
    texts = svg_texts(svg)
    assert "augmented minus plain" in texts
    assert "larger minus plain" in texts
    assert "wer difference (points); lower is better" in texts
    assert ("speaker03" in texts) == (num_groups == 6)
    assert ("80 speakers, sorted by difference" in texts) == (num_groups == 80)
    markers = re.findall(rf"<use [^>]*fill: {COLORS['blue'].lower()}", svg.read_text())
    assert len(markers) == 2 * num_groups
    assert Image.open(png).width > 1000


def test_a_lone_group_has_no_interval_and_names_are_escaped(tmp_path):
    comparison = make_comparison(1, low=None, high=None, system="<b>&$x$", unit=None)
    svg, _ = draw_comparisons([comparison], tmp_path / "comparison")
    texts = svg_texts(svg)
    assert "<b>&$x$ minus plain" in texts
    assert "wer difference; lower is better" in texts
