"""The figures of a report: learning curves and spectrograms."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.figure
import numpy as np
from matplotlib.ticker import PercentFormatter
from transformers.audio_utils import hertz_to_mel

from antiphon.eval.comparison_figure import draw_comparisons
from antiphon.eval.figures import figure_style, save_figure
from antiphon.eval.report_blocks import Figure
from antiphon.eval.report_source import ReportSource, Run
from antiphon.eval.result_formats import format_number
from antiphon.processing.feature_extraction_log_mel import LogMelFeatureExtractor

LINE_STYLES = ("-", "--", "-.", ":")
MAX_CURVE_POINTS = 200
NUM_MEL_BANDS = 80
DYNAMIC_RANGE_DB = 70.0
FREQUENCY_TICKS = (250, 500, 1000, 2000, 4000, 8000, 16000)


def figure_block(
    figure: matplotlib.figure.Figure, name: str, alt: str, caption: str, *, drawing: bool = True
) -> Figure:
    """Make a block of a figure.

    Args:
        figure: drawn within `figure_style`.
        name, alt, caption: of the block.
        drawing: whether it is lines and text; a picture is better off as PNG alone.
    """
    with TemporaryDirectory() as folder:
        save_figure(figure, Path(folder) / name)
        return _read_figure(Path(folder) / name, name, alt, caption, drawing)


def comparison_figure(comparisons: Sequence[Mapping]) -> Figure:
    """Draw the differences of every group, as `eval/compare.py` does."""
    names = ", ".join(f"{comparison['system']} minus {comparison['reference']}" for comparison in comparisons)
    alt = f"Differences with their intervals, and of each group: {names}. The table of verdicts holds the numbers."
    with TemporaryDirectory() as folder:
        draw_comparisons(list(comparisons), Path(folder) / "comparisons")
        caption = "Difference to the reference, over all items and in each group"
        return _read_figure(Path(folder) / "comparisons", "comparisons", alt, caption, True)


def _read_figure(path: Path, name: str, alt: str, caption: str, drawing: bool) -> Figure:
    svg = path.with_name(f"{path.name}.svg").read_text(encoding="utf-8") if drawing else None
    return Figure(name, alt, caption, path.with_name(f"{path.name}.png").read_bytes(), svg)


def learning_curves(source: ReportSource) -> Figure | None:
    """Draw training loss and validation metric over the steps; None where no run logged any.

    Runs of one variant are drawn as their median and, behind it, the range from the lowest to the highest.
    """
    metric = source.recipe.get("training", {}).get("metric_for_best_model") or "loss"
    metric = metric.removeprefix("eval_")
    variants: dict[str, list[Run]] = {}
    for run in source.runs:
        if run.log_history:
            variants.setdefault(run.variant or source.name, []).append(run)
    panels = {"loss": "training loss", f"eval_{metric}": f"{metric} on validation"}
    curves = {
        key: {variant: curve for variant, runs in variants.items() if len((curve := median_curve(runs, key))[0])}
        for key in panels
    }
    curves = {key: by_variant for key, by_variant in curves.items() if by_variant}
    if not curves:
        return None
    with figure_style():
        figure = matplotlib.figure.Figure(figsize=(4.2 * len(curves), 3.2), layout="constrained")
        for axes, (key, by_variant) in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves.items()):
            for index, variant in enumerate(variants):
                if variant in by_variant:
                    steps, low, middle, high = by_variant[variant]
                    style = {"color": f"C{index}", "linestyle": LINE_STYLES[index % len(LINE_STYLES)]}
                    axes.plot(steps, middle, label=variant, **style)
                    axes.fill_between(steps, low, high, color=f"C{index}", alpha=0.15, linewidth=0)
            unit = _unit(source, key.removeprefix("eval_"))
            axes.set(title=panels[key], xlabel="step", ylabel=f"{panels[key].split(' on ')[0]} ({unit})")
            if unit == "ratio":
                axes.set_ylabel(axes.get_ylabel().replace("ratio", "%"))
                axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=""))
                axes.set_ylim(bottom=0)
        if len(variants) > 1:
            figure.axes[-1].legend(frameon=False)
        number = sum(map(len, variants.values()))
        caption = f"Learning curves of {number} training{'s' if number > 1 else ''}"
        if number > len(variants):
            caption += "; lines are medians over folds and seeds, bands reach from the lowest to the highest"
        return figure_block(figure, "learning_curves", _curves_in_words(source, curves, panels), f"{caption}.")


def median_curve(runs: Sequence[Run], key: str) -> tuple[np.ndarray, ...]:
    """Steps, minimum, median and maximum of a logged value over runs, each (points,), points at most 200.

    A step counts where at least half of the runs logged it: folds of different size end at different steps.
    """
    by_step: dict[int, list[float]] = {}
    for run in runs:
        for entry in run.log_history:
            if entry.get(key) is not None and math.isfinite(entry[key]):
                by_step.setdefault(entry["step"], []).append(entry[key])
    steps = [step for step in sorted(by_step) if 2 * len(by_step[step]) >= len(runs)]
    if len(steps) > MAX_CURVE_POINTS:
        steps = [steps[index] for index in np.linspace(0, len(steps) - 1, MAX_CURVE_POINTS).round().astype(int)]
    low, middle, high = (np.array([reduce(by_step[step]) for step in steps]) for reduce in (min, np.median, max))
    return np.array(steps), low, middle, high


def _unit(source: ReportSource, metric: str) -> str:
    units = (row["metrics"].get(metric, {}).get("unit") for row in source.rows.values())
    return next(filter(None, units), "nats" if metric == "loss" else "its own unit")


def _curves_in_words(source: ReportSource, curves: Mapping, panels: Mapping[str, str]) -> str:
    parts = []
    for key, by_variant in curves.items():
        unit = _unit(source, key.removeprefix("eval_"))
        unit = unit if unit == "ratio" else None
        ends = (
            f"{variant} from {format_number(float(middle[0]), unit)} to {format_number(float(middle[-1]), unit)} at "
            f"step {steps[-1]}"
            for variant, (steps, _, middle, _) in by_variant.items()
        )
        parts.append(f"{panels[key]}: {', '.join(ends)}")
    return f"Learning curves. {'; '.join(parts)}."


def spectrogram_figure(waveform: np.ndarray, sampling_rate: int, name: str, label: str) -> Figure:
    """Draw the log-mel spectrogram of a recording.

    Args:
        waveform: (samples,) float32.
        sampling_rate: Hz.
        name: of the figure.
        label: of the recording.
    """
    decibels = log_mel_decibels(waveform, sampling_rate)
    seconds, highest = len(waveform) / sampling_rate, hertz_to_mel(sampling_rate / 2, mel_scale="slaney")
    with figure_style():
        figure = matplotlib.figure.Figure(figsize=(6.4, 2.2), layout="constrained")
        axes = figure.subplots()
        image = axes.imshow(
            decibels.T,
            origin="lower",
            aspect="auto",
            cmap="magma",
            extent=(0, seconds, 0, highest),
            interpolation="nearest",
        )
        ticks = [tick for tick in FREQUENCY_TICKS if tick <= sampling_rate / 2]
        axes.set_yticks(hertz_to_mel(np.array(ticks, dtype=float), mel_scale="slaney"), ticks)
        axes.set(xlabel="time (s)", ylabel="frequency (Hz)")
        axes.grid(False)
        figure.colorbar(image, ax=axes, label="level (dB)", pad=0.02)
        alt = f"Log-mel spectrogram of {label}: time to the right, frequency upwards on the mel scale, level in colour."
        return figure_block(figure, name, alt, f"Log-mel spectrogram of {label}", drawing=False)


def log_mel_decibels(waveform: np.ndarray, sampling_rate: int) -> np.ndarray:
    """Mel spectrogram in dB below its loudest point, (frames, 80), at least -70, with a frame every 10 ms."""
    window = round(0.025 * sampling_rate)
    extractor = LogMelFeatureExtractor(
        feature_size=NUM_MEL_BANDS,
        sampling_rate=sampling_rate,
        hop_length=round(0.01 * sampling_rate),
        win_length=window,
        # Padded, so that even the lowest of the narrow bands holds a frequency of the transform.
        n_fft=2 ** math.ceil(math.log2(2.5 * window)),
        normalize="none",
    )
    [features] = extractor(waveform, sampling_rate=sampling_rate, return_tensors="np")["input_features"]
    decibels = 10 / math.log(10) * features
    return np.maximum(decibels - decibels.max(), -DYNAMIC_RANGE_DB)
