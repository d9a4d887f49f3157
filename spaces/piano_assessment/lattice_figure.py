"""Draws what the model sees of a performance, with its attention on top, a player, and a cursor that runs with it."""

import base64
import html
import io
from collections.abc import Sequence

import numpy as np
from assessor import View
from matplotlib.image import imsave

from antiphon.processing.audio_io import encode_audio

DYNAMIC_RANGE = 70  # dB
TICK_SECONDS = (1, 2, 5, 10)
MAX_TICKS = 10
CAPTIONS = {
    "audio": "The spectrogram in semitones that the model hears, the lowest key at the bottom.",
    "roll": "The piano roll that the model reads. What you hear is a plain stand-in for a piano; the model reads notes "
    "only.",
}
ATTENTION_CAPTION = (
    "Turquoise: where its attention goes (rollout over all layers), from the least attended patch, clear, to the most "
    "attended, dense. It is the same for all percepts, and shows where the model looks, not why it judges so. "
    "Click into the picture to listen from there."
)
NO_ATTENTION = "This checkpoint judges by descriptors alone here: there is no attention to show."


def draw_lattice(view: View, title: str, sampling_rate: int) -> str:
    """Draws one performance.

    Args:
        title: Which one it is, plain text.
        sampling_rate: Of the waveform, in Hz.

    Returns:
        HTML: a figure that `playback.js` sets in motion.
    """
    seconds = len(view.levels) / view.frame_rate
    audio = base64.b64encode(encode_audio(np.clip(view.waveform, -1, 1), sampling_rate, "FLAC")).decode()
    switch = '<label><input type="checkbox" checked> show attention</label>' if view.attention else ""
    return f"""<figure class="lattice" data-start="{view.start_seconds:.3f}" data-seconds="{seconds:.3f}">
<h3>{html.escape(title)}</h3>
<div class="player"><audio controls preload="auto" src="data:audio/flac;base64,{audio}"></audio>{switch}</div>
<div class="plot"><div class="keys">{_pitch_ticks(view.levels.shape[1])}</div>
<div class="field"><img alt="{html.escape(CAPTIONS[view.lattice])}" src="{_image(view)}">
{_attention(view)}<div class="cursor"></div></div>
<div class="seconds">{_time_ticks(seconds)}</div></div></figure>"""


def caption(views: Sequence[View]) -> str:
    """HTML: what the figures of these views show, each thing once."""
    parts = [CAPTIONS[view.lattice] for view in views]
    parts += [ATTENTION_CAPTION if view.attention else NO_ATTENTION for view in views]
    return f'<p class="caption">{" ".join(dict.fromkeys(parts))}</p>'


def _image(view: View) -> str:
    """The lattice as a PNG in a data URL."""
    highest = float(view.levels.max())
    lowest = highest - DYNAMIC_RANGE if view.lattice == "audio" else 0.0
    png = io.BytesIO()
    imsave(png, view.levels.T, vmin=lowest, vmax=highest, cmap="magma", origin="lower", format="png")
    return f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}"


def _attention(view: View) -> str:
    """A rectangle for each patch, as dense as it is attended to; those of one time in a group."""
    if view.attention is None:
        return ""
    shares, edges = view.attention.map, view.attention.frame_edges
    span = np.ptp(shares)
    density = (shares - shares.min()) / span if span > 0 else np.zeros_like(shares)
    num_octaves = shares.shape[1]
    columns = []
    for column, start, end in zip(density, edges, edges[1:]):
        patches = "".join(
            f'<rect x="{start}" y="{num_octaves - 1 - octave}" width="{end - start}" height="1" '
            f'fill-opacity="{0.75 * value:.2f}"/>'
            for octave, value in enumerate(column)
        )
        times = f'data-start="{start / view.frame_rate:.3f}" data-end="{end / view.frame_rate:.3f}"'
        columns.append(f"<g {times}>{patches}</g>")
    frame = f'viewBox="0 0 {edges[-1]} {num_octaves}" preserveAspectRatio="none"'
    return f'<svg class="attention" {frame} aria-hidden="true">{"".join(columns)}</svg>'


def _pitch_ticks(num_bins: int) -> str:
    octaves = range(num_bins // 12)
    return "".join(
        f'<span style="bottom: {100 * (12 * octave + 0.5) / num_bins:.1f}%">A{octave}</span>' for octave in octaves
    )


def _time_ticks(seconds: float) -> str:
    step = next((step for step in TICK_SECONDS if seconds / step <= MAX_TICKS), TICK_SECONDS[-1])
    ticks = np.arange(0, seconds, step)
    return "".join(f'<span style="left: {100 * tick / seconds:.1f}%">{tick:g} s</span>' for tick in ticks)
