"""Draws where in the sound each word and each symbol was recognised."""

import html
import io
import re
from bisect import bisect

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator
from recogniser import Transcription
from transformers.audio_utils import hertz_to_mel

# Stands for the colour of the page's text while matplotlib draws, so that one picture suits light and dark pages.
TEXT_COLOUR = "#010203"
# Blue and vermilion of Okabe and Ito, a palette that colour-blind people tell apart, the blue lightened for dark pages.
WORD_COLOURS = ("#2f8fd0", "#d55e00")
DPI = 100
# Inches
LEFT, RIGHT, TOP, BOTTOM, GAP = 0.75, 0.95, 0.05, 0.5, 0.12
LABEL_HEIGHT, MEL_HEIGHT, SYMBOL_HEIGHT = 0.24, 2.2, 1.15
MIN_AXES_WIDTH = 4.0
MAX_ENLARGED_WIDTH = 760  # pixels to which the picture of a short recording may grow
SYMBOL_WIDTH, CHARACTER_WIDTH = 0.115, 0.095
DYNAMIC_RANGE = 70  # dB
FREQUENCY_TICKS = (250, 500, 1000, 2000, 4000, 8000)
STYLE = {
    "svg.fonttype": "none",  # text stays text: sharp at any size, and a screen reader finds it
    "font.family": "sans-serif",
    "font.size": 10,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), TEXT_COLOUR),
}
CAPTION = (
    "Above, the words from their first symbol to their last; in the middle, the log-mel spectrogram that the model "
    "hears; below, how sure it is of each symbol it writes (␣ ends a word) and, in grey, of any symbol at all. "
    "CTC marks where a symbol was recognised, not how long it sounded: times are good to some 0.1 s. "
    "Long recordings scroll sideways."
)


def draw_alignment(transcription: Transcription, feature_extractor, seconds: float) -> str:
    """Draws words, spectrogram and symbol posteriors over one time axis.

    Args:
        transcription: Of the recording.
        feature_extractor: The model's, for the scales of time and frequency.
        seconds: Duration of the recording.

    Returns:
        HTML: a figure with an inline SVG, which scrolls sideways where the page is narrower than the recording is long.
    """
    # The last frame of the model may reach past the end.
    words = [{**word, "end_seconds": min(word["end_seconds"], seconds)} for word in transcription.words]
    # Wide enough that symbols in neighbouring frames stand side by side.
    axes_width = max(MIN_AXES_WIDTH, seconds * SYMBOL_WIDTH / transcription.frame_seconds)
    levels = label_levels(words, seconds_per_inch=seconds / axes_width)
    label_height = LABEL_HEIGHT * (1.4 + max(levels, default=0))
    width = LEFT + axes_width + RIGHT
    height = TOP + label_height + MEL_HEIGHT + GAP + SYMBOL_HEIGHT + BOTTOM
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), dpi=DPI)

        def add_axes(bottom: float, inches: float, left: float = LEFT, across: float = axes_width) -> Axes:
            return figure.add_axes((left / width, bottom / height, across / width, inches / height))

        symbol_axes = add_axes(BOTTOM, SYMBOL_HEIGHT)
        mel_axes = add_axes(BOTTOM + SYMBOL_HEIGHT + GAP, MEL_HEIGHT)
        word_axes = add_axes(BOTTOM + SYMBOL_HEIGHT + GAP + MEL_HEIGHT, label_height)
        scale_axes = add_axes(BOTTOM + SYMBOL_HEIGHT + GAP, MEL_HEIGHT, left=LEFT + axes_width + 0.12, across=0.13)

        image = _draw_spectrogram(mel_axes, transcription.log_mel, feature_extractor)
        figure.colorbar(image, cax=scale_axes, label="power (dB below the loudest)")
        _draw_boundaries(mel_axes, words)
        _draw_words(word_axes, words, levels)
        _draw_symbols(symbol_axes, transcription)
        for axes in (word_axes, mel_axes, symbol_axes):
            axes.set_xlim(0, seconds)
        svg = io.StringIO()
        figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _as_html(svg.getvalue(), round(width * DPI), transcription.text)


def label_levels(words: list[dict], seconds_per_inch: float) -> list[int]:
    """On which line above the picture each word is written, 0 the lowest, so that no two words overlap."""
    line_ends: list[float] = []
    levels = []
    for word in words:
        centre = (word["start_seconds"] + word["end_seconds"]) / 2
        half = (len(word["word"]) + 1) * CHARACTER_WIDTH * seconds_per_inch / 2
        free = (level for level, end in enumerate(line_ends) if end <= centre - half)
        level = next(free, len(line_ends))
        line_ends[level : level + 1] = [centre + half]
        levels.append(level)
    return levels


def band_of_frequency(hertz: float, feature_extractor) -> float:
    """Index of the mel band centred on a frequency: band k is centred on the k + 1st of n + 2 equal steps in mel."""
    highest = feature_extractor.max_frequency or feature_extractor.sampling_rate / 2
    low, high, here = (
        hertz_to_mel(frequency, mel_scale="slaney") for frequency in (feature_extractor.min_frequency, highest, hertz)
    )
    return float((here - low) / (high - low) * (feature_extractor.feature_size + 1) - 1)


def word_colour(index: int) -> str:
    """Neighbouring words differ in colour."""
    return WORD_COLOURS[index % len(WORD_COLOURS)]


def _draw_spectrogram(axes: Axes, log_mel: np.ndarray, feature_extractor):
    hop_seconds = feature_extractor.hop_length / feature_extractor.sampling_rate
    num_frames, num_bands = log_mel.shape
    image = axes.imshow(
        (log_mel - log_mel.max()).T,
        origin="lower",
        aspect="auto",
        interpolation="none",
        cmap="viridis",
        vmin=-DYNAMIC_RANGE,
        vmax=0,
        # Frame t is centred on t * hop_seconds, band k on k.
        extent=(-hop_seconds / 2, (num_frames - 0.5) * hop_seconds, -0.5, num_bands - 0.5),
    )
    bands = {hertz: band_of_frequency(hertz, feature_extractor) for hertz in FREQUENCY_TICKS}
    ticks = {hertz: band for hertz, band in bands.items() if 0 <= band <= num_bands - 0.5}
    axes.set_yticks(list(ticks.values()), [str(hertz) for hertz in ticks])
    axes.set_ylabel("frequency (Hz)")
    axes.tick_params(labelbottom=False)
    return image


def _draw_boundaries(axes: Axes, words: list[dict]) -> None:
    # A white line with a dark rim shows on every colour of the map.
    for word in words:
        for seconds in (word["start_seconds"], word["end_seconds"]):
            axes.axvline(seconds, color="black", alpha=0.6, linewidth=3)
            axes.axvline(seconds, color="white", linewidth=1.2)


def _draw_words(axes: Axes, words: list[dict], levels: list[int]) -> None:
    axes.set_axis_off()
    axes.set_ylim(0, 1.4 + max(levels, default=0))
    for index, (word, level) in enumerate(zip(words, levels)):
        start, end = word["start_seconds"], word["end_seconds"]
        axes.axvspan(start, end, ymax=0.22 / axes.get_ylim()[1], color=word_colour(index))
        axes.text((start + end) / 2, 0.34 + level, word["word"], ha="center", va="bottom", fontsize=11)


def _draw_symbols(axes: Axes, transcription: Transcription) -> None:
    probabilities = transcription.symbol_probabilities
    # Frame t is centred on t * frame_seconds.
    edges = (np.arange(len(probabilities) + 1) - 0.5) * transcription.frame_seconds
    axes.stairs(probabilities, edges, fill=True, color=TEXT_COLOUR, alpha=0.2)
    starts = [word["start_seconds"] for word in transcription.words]
    for emission in transcription.emissions:
        is_space = emission.symbol == "|"
        colour = TEXT_COLOUR if is_space else word_colour(bisect(starts, emission.seconds) - 1)
        axes.vlines(emission.seconds, 0, emission.probability, color=colour, linewidth=2.5)
        axes.text(
            emission.seconds,
            emission.probability + 0.04,
            "␣" if is_space else emission.symbol,
            color=colour,
            ha="center",
        )
    axes.set_ylim(0, 1.3)
    axes.set_yticks((0, 0.5, 1))
    axes.set_ylabel("probability")
    axes.set_xlabel("time (s)")
    axes.xaxis.set_major_locator(MultipleLocator(0.5))
    axes.xaxis.set_minor_locator(MultipleLocator(0.1))
    axes.spines[["top", "right"]].set_visible(False)


def _as_html(svg: str, width: int, text: str) -> str:
    svg = svg[svg.index("<svg") :].replace(TEXT_COLOUR, "currentColor")
    svg = svg.replace("*{", ".alignment *{")  # a rule for the whole page, once the SVG is inline
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    # Between three quarters of its natural size, still readable, and somewhat more than that it fits the page.
    style = f"min-width: {0.75 * width:.0f}px; max-width: {max(width, MAX_ENLARGED_WIDTH)}px"
    label = html.escape(f"Spectrogram with the words: {text}" if text else "Spectrogram; no word was recognised")
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{label}" style="{style}"', 1)
    return f'<figure class="alignment"><div tabindex="0">{svg}</div><figcaption>{CAPTION}</figcaption></figure>'
