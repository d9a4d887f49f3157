"""How often a watermark is found in converted speech that was cut, made noisy or compressed, and how often without one.

    python eval/benchmark_voice_conversion.py runs/voice/checkpoint --audio runs/voice/conversions
    python eval/watermark_rate.py runs/voice/conversions

Each kept conversion gets the mark, goes through every change, and is asked for the mark, for that of another key, and
the same without a mark. Conversions too short to hold one are counted and left out.
"""

import sys
from pathlib import Path

if not __package__ and not sys.flags.safe_path:
    # Run as a script, this folder's `statistics` would hide the standard library's.
    del sys.path[0]

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import torch
from scipy.stats import binomtest
from tqdm.auto import tqdm

from antiphon.eval.result_formats import markdown_table
from antiphon.eval.voice_items import add_noise
from antiphon.eval.voice_judges import SAMPLING_RATE
from antiphon.eval.voice_runs import SYSTEM
from antiphon.modeling.layers_watermark import (
    check_room_for_watermark,
    embed_watermark,
    watermark_score,
    watermark_threshold,
)
from antiphon.processing.audio_io import encode_audio, read_audio, resample_audio

KEY, OTHER_KEY = "antiphon", "somebody else"
CUT_SAMPLES = 3210  # no multiple of a frame
TELEPHONE_RATE = 8_000
NOISE_DB = 30.0


def _telephone(waveform: np.ndarray) -> np.ndarray:
    narrow = resample_audio(waveform, SAMPLING_RATE, TELEPHONE_RATE)
    return resample_audio(narrow, TELEPHONE_RATE, SAMPLING_RATE)


def _mp3(waveform: np.ndarray) -> np.ndarray:
    encoded = encode_audio(waveform.clip(-1, 1), SAMPLING_RATE, "MP3")
    return read_audio(encoded, sampling_rate=SAMPLING_RATE)[0]


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as it was made": lambda waveform: waveform,
    "the first 0.2 s cut off": lambda waveform: waveform[CUT_SAMPLES:],
    "half as loud": lambda waveform: 0.5 * waveform,
    "pink noise at 30 dB": lambda waveform: add_noise(waveform, NOISE_DB, seed="watermark"),
    "through 8 kHz": _telephone,
    "as MP3": _mp3,
}


def detection_rates(recordings: Iterable[np.ndarray], changes: Mapping[str, Callable] = CHANGES) -> dict:
    """Count marks that are found, and marks that are not there and found all the same.

    Args:
        recordings: (samples,) float32 at 16 kHz each.
        changes: by name; each maps a recording to what became of it.

    Returns:
        `counts`: by change, how many were found of `marked` recordings, by `other_key` in them, and in `unmarked` ones;
        `num_recordings` that could hold a mark; `too_short`, how many could not.
    """
    threshold = watermark_threshold()
    found = {name: {"marked": 0, "other_key": 0, "unmarked": 0} for name in changes}
    num_recordings = too_short = 0
    for recording in recordings:
        try:
            check_room_for_watermark(len(recording), SAMPLING_RATE)
        except ValueError:
            too_short += 1
            continue
        num_recordings += 1
        marked = embed_watermark(torch.from_numpy(recording), KEY).numpy()
        for name, change in changes.items():
            changed, plain = (torch.from_numpy(change(one).astype(np.float32)) for one in (marked, recording))
            found[name]["marked"] += watermark_score(changed, KEY) > threshold
            found[name]["other_key"] += watermark_score(changed, OTHER_KEY) > threshold
            found[name]["unmarked"] += watermark_score(plain, KEY) > threshold
    return {"counts": found, "num_recordings": num_recordings, "too_short": too_short}


def format_rates(rates: Mapping) -> str:
    """A table of shares with 95 % intervals (Wilson) over recordings."""
    total = rates["num_recordings"]

    def share(count: int) -> str:
        interval = binomtest(count, total).proportion_ci(0.95, method="wilson")
        return f"{100 * count / total:.0f} % ({100 * interval.low:.0f} to {100 * interval.high:.0f})"

    lines = [
        [name, share(counts["marked"]), share(counts["other_key"]), share(counts["unmarked"])]
        for name, counts in rates["counts"].items()
    ]
    headings = ["what became of it", "mark found", "mark of another key found", "found where there is none"]
    remark = f"{total} conversions; {rates['too_short']} more were too short for a mark."
    return f"{markdown_table(headings, lines)}\n\n{remark}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("audio", type=Path, help="folder in which a benchmark kept its recordings")
    options = parser.parse_args(arguments)
    paths = sorted(options.audio.glob(f"*_{SYSTEM}.flac"))
    if not paths:
        parser.error(f"{options.audio} has no conversions; measure with `--audio {options.audio}` first")
    recordings = (read_audio(path, sampling_rate=SAMPLING_RATE)[0] for path in tqdm(paths, disable=None))
    rates = detection_rates(recordings)
    if not rates["num_recordings"]:
        parser.error(f"none of the {len(paths)} conversions in {options.audio} is long enough for a mark")
    print(format_rates(rates))


if __name__ == "__main__":
    main()
