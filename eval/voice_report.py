"""Show every conversion of a benchmark on one page, failures first: players, spectrograms, words and figures.

    python eval/benchmark_voice_conversion.py runs/voice/checkpoint --audio runs/voice/conversions
    python eval/voice_report.py runs/voice/results/voice_conversion.json --audio runs/voice/conversions

writes `voice_conversion.html` beside the row. Recordings are not ours to publish: `--without-audio` leaves the players
out and keeps the spectrograms.
"""

import sys
from pathlib import Path

if not __package__ and not sys.flags.safe_path:
    # Run as a script, this folder's `statistics` would hide the standard library's.
    del sys.path[0]

import argparse
import io
from collections.abc import Iterator, Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from PIL import Image

from antiphon.eval.report_blocks import Alignment, Details, Figure, Paragraph, Report, Section, Sound, Table
from antiphon.eval.report_failures import align
from antiphon.eval.report_figures import DYNAMIC_RANGE_DB, log_mel_decibels
from antiphon.eval.report_html import render_html
from antiphon.eval.result_formats import format_counted, format_difference, format_number
from antiphon.eval.result_rows import items_path, read_row, write_atomically
from antiphon.eval.voice_runs import REFERENCE, SOURCE, SYSTEM, audio_path, check_recordings
from antiphon.eval.voice_scores import METRIC_COLUMNS, baseline_names
from antiphon.processing.audio_io import encode_audio, read_audio

NUM_WORST = 20  # in each of the two lists at the head
GAP_PIXELS = 6
NUM_COLOURS = 24  # 3 dB each; more only make the page larger
SHOWN_METRICS = (
    "similarity",
    "reference_similarity",
    "own_similarity",
    "wer",
    "second_wer",
    "dnsmos",
    "f0_correlation",
    "voicing_error",
    "mcd",
)
HEARD = {SOURCE: "The source", REFERENCE: "The reference of the target's voice", SYSTEM: "The conversion"}


def build_voice_report(row: Mapping, items: pd.DataFrame, audio: Path | None, *, with_players: bool = True) -> Report:
    """Put the page together.

    Args:
        row: of a voice conversion benchmark.
        items: its item table.
        audio: folder that the benchmark kept the recordings in; None for neither players nor spectrograms.
        with_players: whether recordings come along.

    Raises:
        ValueError: the folder holds the recordings of another row.
    """
    if audio is not None:
        check_recordings(audio, row, items)
    places = items.reset_index(drop=True)
    ranked = places.sort_values(["judged", "similarity", "item_id"], ascending=[False, True, True])
    overview = [_metric_table(row), *(_scenario_table(row, metric) for metric in ("similarity", "wer"))]
    overview = [table for table in overview if table.rows]
    by_words = places[places["words"] > 0].sort_values(["errors", "item_id"], ascending=[False, True])
    by_words = by_words.loc[(by_words["errors"] / by_words["words"]).sort_values(ascending=False, kind="stable").index]
    worst = [
        _worst_table("Least like the target", ranked[ranked["judged"] > 0].head(NUM_WORST)),
        _worst_table("Most words lost", by_words.head(NUM_WORST)),
    ]
    every = [
        Details(_headline(item), list(_conversion(item, index, audio, with_players)))
        for index, item in ranked.iterrows()
    ]
    note = (
        "All conversions of the benchmark, not a choice; those least like the target come first, and last those whose "
        "target has no recording but the reference."
    )
    return Report(
        title=f"Every conversion of {row.get('system') or row['benchmark']}",
        abstract="",
        summary=row["claims"] or ["nothing to remark"],
        sections=[
            Section("Results", overview),
            Section("Failures first", worst),
            Section("Every conversion", [Paragraph(note), *every]),
        ],
    )


def _metric_table(row: Mapping) -> Table:
    systems = {"this system": row, **{name.replace("_", " "): entry for name, entry in row["baselines"].items()}}
    names = list(row["metrics"])
    lines = [
        [name, *(format_counted(entry["metrics"].get(metric)) for metric in names)] for name, entry in systems.items()
    ]
    for name, entry in row["baselines"].items():
        differences = [_difference(entry["difference"].get(metric), row["metrics"][metric]["unit"]) for metric in names]
        lines.append([f"this system minus {name.replace('_', ' ')}", *differences])
    arrows = [f"{name} {'↑' if row['metrics'][name]['higher_is_better'] else '↓'}" for name in names]
    return Table("All scenarios, with 95 % intervals over target and source speakers", ["", *arrows], lines)


def _difference(difference: Mapping | None, unit: str | None) -> str:
    """A paired difference with the number of items that both are measured on."""
    cell = format_difference(difference, unit)
    return cell if difference is None else f"{cell}, n {difference['n']}"


def _scenario_table(row: Mapping, metric: str) -> Table:
    """One metric of every system in every scenario, and of this system under each of its conditions."""
    names = list(row["baselines"])
    lines = []
    for scenario, entry in row["scenarios"].items():
        if metric not in entry["metrics"]:
            continue
        others = (entry["baselines"].get(name, {"metrics": {}})["metrics"].get(metric) for name in names)
        figures = [entry["metrics"][metric], *others]
        lines.append([f"{scenario} ({entry['n']})", *map(format_counted, figures)])
        for condition, own in entry.get("conditions", {}).items():
            cells = [format_counted(own["metrics"].get(metric)), *("" for _ in names)]
            lines.append([f"{scenario}: {condition} ({own['n']})", *cells])
    return Table(f"{metric} by scenario", ["", "this system", *(name.replace("_", " ") for name in names)], lines)


def _worst_table(caption: str, items: pd.DataFrame) -> Table:
    lines = [
        [
            str(item["item_id"]),
            _value(item, "", "similarity"),
            _value(item, "", "wer"),
            _recognised(item) or "",
        ]
        for _, item in items.iterrows()
    ]
    return Table(caption, ["conversion", "similarity", "WER", "recognised"], lines)


def _recognised(item: pd.Series) -> str | None:
    """What was recognised; None where nothing was asked, which a table from a file holds as NaN."""
    return None if pd.isna(item["hypothesis"]) else item["hypothesis"]


def _headline(item: pd.Series) -> str:
    return f"similarity {_value(item, '', 'similarity')}, WER {_value(item, '', 'wer')}: {item['item_id']}"


def _value(item: pd.Series, prefix: str, metric: str) -> str:
    """A metric of one item; a dash where it cannot be measured on it."""
    numerator, denominator = (prefix + column for column in METRIC_COLUMNS[metric])
    if numerator not in item or not item[denominator]:
        return "–"
    is_rate = metric.endswith("wer") or metric == "voicing_error"
    return format_number(float(item[numerator] / item[denominator]), "ratio" if is_rate else None)


def _conversion(item: pd.Series, index: int, audio: Path | None, with_players: bool) -> Iterator:
    """What is shown of one conversion."""
    systems = {"this system": "", **{name.replace("_", " "): f"{name}." for name in baseline_names(item.to_frame().T)}}
    shown = [name for name in SHOWN_METRICS if METRIC_COLUMNS[name][0] in item]
    lines = [[name, *(_value(item, prefix, metric) for metric in shown)] for name, prefix in systems.items()]
    yield Table(f"Figures of {item['item_id']}", ["", *shown], lines)
    if item["reference"] and _recognised(item) is not None:
        yield Alignment("Word by word", align(item["reference"].split(), _recognised(item).split()))
    if audio is None:
        return
    waveforms = {name: read_audio(audio_path(audio, index, name))[0] for name in HEARD}
    if with_players:
        for name, label in HEARD.items():
            yield Paragraph(f"{label}:")
            yield _player(waveforms[name], f"conversion_{index:04d}_{name}", f"{label} of {item['item_id']}")
    caption = "Log-mel spectrograms: the source above, its conversion below"
    yield Figure(
        f"conversion_{index:04d}_spectrograms",
        f"{caption}, of {item['item_id']}.",
        caption,
        stacked_spectrograms([waveforms[SOURCE], waveforms[SYSTEM]]),
    )


def _player(waveform: np.ndarray, name: str, label: str) -> Sound:
    """Opus at a twentieth of the size: a page of two hundred conversions stays one that a browser opens."""
    return Sound(name, label, encode_audio(waveform, 16_000, "OGG", "OPUS"), "ogg")


def stacked_spectrograms(waveforms: Sequence[np.ndarray], sampling_rate: int = 16_000) -> bytes:
    """Draw recordings below one another, a pixel for each frame of 10 ms and each of 80 mel bands, as PNG.

    Args:
        waveforms: each (samples,) float32.
        sampling_rate: Hz.
    """
    drawn = [log_mel_decibels(waveform, sampling_rate).T[::-1] for waveform in waveforms]
    width = max(picture.shape[1] for picture in drawn)
    gap = np.full((GAP_PIXELS, width), 0.0)
    rows = []
    for picture in drawn:
        padded = np.pad(picture, ((0, 0), (0, width - picture.shape[1])), constant_values=-DYNAMIC_RANGE_DB)
        rows += [gap, padded] if rows else [padded]
    levels = np.round((NUM_COLOURS - 1) * (1 + np.vstack(rows) / DYNAMIC_RANGE_DB)).astype(np.uint8)
    image = Image.fromarray(levels, mode="P")
    palette = matplotlib.colormaps["magma"](np.linspace(0, 1, NUM_COLOURS))[:, :3]
    image.putpalette(np.round(255 * palette).astype(np.uint8).tobytes())
    file = io.BytesIO()
    image.save(file, format="PNG", optimize=True)
    return file.getvalue()


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the page of the row named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row", type=Path, help="of a voice conversion benchmark, its item table beside it")
    parser.add_argument("--audio", type=Path, help="folder that the benchmark kept the recordings in")
    parser.add_argument("--without-audio", action="store_true", help="leave recordings out, e.g. to publish the page")
    parser.add_argument("--out", type=Path, help="the page; beside the row if left out")
    options = parser.parse_args(arguments)
    row = read_row(options.row)
    items = pd.read_parquet(items_path(options.row.parent, options.row.stem))
    report = build_voice_report(row, items, options.audio, with_players=not options.without_audio)
    out = options.out or options.row.with_suffix(".html")
    page = render_html(report).encode()
    write_atomically(out, lambda file: file.write(page))
    print(f"{out}: {len(items)} conversions, {len(page) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
