"""Draws a conversion: the spectrograms before and after, both pitch contours, and how similar the voices are."""

import io
import math
import re

import matplotlib as mpl
import numpy as np
from converter import Conversion, Converter, Sound
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter
from transformers.audio_utils import hertz_to_mel

# Stands for the colour of the page's text while matplotlib draws, so that one picture suits light and dark pages.
TEXT_COLOUR = "#010203"
# Blue and vermilion of Okabe and Ito, a palette that colour-blind people tell apart, the blue lightened for dark pages.
BEFORE_COLOUR, AFTER_COLOUR = "#2f8fd0", "#d55e00"
WIDTH, HEIGHT, DPI = 9.0, 6.2, 100
DYNAMIC_RANGE = 70  # dB
MAX_COLUMNS = 1500
FREQUENCY_TICKS = (250, 500, 1000, 2000, 4000)
STYLE = {
    "svg.fonttype": "none",  # text stays text: sharp at any size, and a screen reader finds it
    "font.family": "sans-serif",
    "font.size": 10,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), TEXT_COLOUR),
}
CAPTION = (
    "Log-mel spectrograms before and after, over one scale of loudness, and the pitch of both; the dashed line is the "
    "median pitch that was aimed at."
)
SIMILARITY_CAPTION = (
    "Cosine between the voice that is heard and the wanted one, by this model's own speaker encoder; 1 is the same. "
)
# By whether training rewarded the number.
FLATTERY = {
    True: "The model was trained towards this number, so it flatters; the card has that of an independent judge.",
    False: "The same encoder told the model what voice to make, so it may flatter; the card has an independent one's.",
}


def draw_conversion(conversion: Conversion, converter: Converter) -> str:
    """HTML: the similarity scores, and a figure with an inline SVG, which scrolls sideways on narrow pages.

    Args:
        conversion: What to draw.
        converter: That made it.
    """
    frame_rate, sampling_rate = converter.frame_rate, converter.sampling_rate
    before, after = conversion.before, conversion.after
    loudest = max(before.levels.max(), after.levels.max())
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, layout="constrained")
        rows = figure.subplots(3, sharex=True, height_ratios=(1, 1, 0.9))
        for axes, sound, title in zip(rows, (before, after), ("before", "after")):
            _draw_spectrogram(axes, sound, loudest, frame_rate, sampling_rate)
            axes.set_ylabel(f"{title}\nfrequency (Hz)")
        _draw_pitch(rows[2], conversion, frame_rate)
        rows[2].set_xlim(0, len(before.waveform) / sampling_rate)
        svg = io.StringIO()
        figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return f'<div class="conversion">{_draw_similarity(conversion, converter)}{_as_html(svg.getvalue())}</div>'


def band_of_frequency(hertz: float, num_bands: int, sampling_rate: int) -> float:
    """Index of the mel band centred on a frequency: band k is centred on the k + 1st of n + 2 equal steps in mel."""
    here, highest = (hertz_to_mel(frequency, mel_scale="slaney") for frequency in (hertz, sampling_rate / 2))
    return float(here / highest * (num_bands + 1) - 1)


def _draw_spectrogram(axes: Axes, sound: Sound, loudest: float, frame_rate: float, sampling_rate: int) -> None:
    num_frames, num_bands = sound.levels.shape
    step = math.ceil(num_frames / MAX_COLUMNS)
    axes.imshow(
        (sound.levels[::step] - loudest).T,
        origin="lower",
        aspect="auto",
        interpolation="none",
        cmap="viridis",
        vmin=-DYNAMIC_RANGE,
        vmax=0,
        # Frame t is centred on t / frame_rate, band k on k.
        extent=(-0.5 / frame_rate, (num_frames - 0.5) / frame_rate, -0.5, num_bands - 0.5),
    )
    ticks = {hertz: band_of_frequency(hertz, num_bands, sampling_rate) for hertz in FREQUENCY_TICKS}
    axes.set_yticks(list(ticks.values()), [str(hertz) for hertz in ticks])


def _draw_pitch(axes: Axes, conversion: Conversion, frame_rate: float) -> None:
    for sound, colour, label in (
        (conversion.before, BEFORE_COLOUR, "before"),
        (conversion.after, AFTER_COLOUR, "after"),
    ):
        # A gap in the line where nothing is voiced.
        axes.plot(
            np.arange(len(sound.f0)) / frame_rate, np.where(sound.f0 > 0, sound.f0, np.nan), color=colour, label=label
        )
    if not math.isnan(conversion.wanted_hz):
        axes.axhline(conversion.wanted_hz, color=TEXT_COLOUR, linestyle="--", linewidth=1, label="aim")
    axes.set_yscale("log")
    axes.set_ylim(60, 500)
    axes.set_yticks((75, 100, 150, 200, 300, 400))
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel("pitch (Hz)")
    axes.set_xlabel("time (s)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper right", ncols=3, frameon=False)


def _draw_similarity(conversion: Conversion, converter: Converter) -> str:
    scores = (("before", conversion.before.similarity), ("after", conversion.after.similarity))
    cells = "".join(
        f'<div><dt>{name}</dt><dd id="similarity-{name}">{"–" if math.isnan(score) else f"{score:.2f}"}</dd></div>'
        for name, score in scores
    )
    caption = SIMILARITY_CAPTION + FLATTERY[converter.is_trained_on_similarity]
    return f'<h3>Similarity to the wanted voice</h3><dl>{cells}</dl><p class="caption">{caption}</p>'


def _as_html(svg: str) -> str:
    svg = svg[svg.index("<svg") :].replace(TEXT_COLOUR, "currentColor")
    svg = svg.replace("*{", ".conversion svg *{")  # a rule for the whole page, once the SVG is inline
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    label = "Spectrograms and pitch before and after"
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
    return f'<figure><div tabindex="0">{svg}</div><figcaption class="caption">{CAPTION}</figcaption></figure>'
