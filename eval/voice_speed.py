"""Measure what a conversion costs, in a process of its own: time per second of speech, latency, and memory.

python eval/voice_speed.py runs/voice/checkpoint --seconds 10 --threads 2
"""

import sys
from pathlib import Path

if not __package__ and not sys.flags.safe_path:
    # Run as a script, this folder's `statistics` would hide the standard library's.
    del sys.path[0]

import argparse
import json
import subprocess
import time
from collections.abc import Sequence

import numpy as np
import torch

from antiphon.eval.conditions import hardware_name
from antiphon.eval.speed_rounds import resident_bytes
from antiphon.eval.voice_checkpoint import load_converter
from antiphon.eval.voice_judges import SAMPLING_RATE

ROUNDS = 5
PIECE_SECONDS = 0.08  # what a microphone hands over at once


def measure_speed(checkpoint: Path, seconds: float) -> dict:
    """Convert noise with the tempo of syllables, as long as `seconds`, from a reference of 3 s.

    Returns:
        `real_time_factor`, the median of five conversions after an untimed one; `stream`, as `measure_stream` returns
        it, None where the checkpoint needs the whole source; `peak_bytes` of the process and `loaded_bytes` before the
        first conversion; `seconds` and `hardware`.
    """
    converter = load_converter(checkpoint)
    source, reference = (_syllables(length, seed) for seed, length in enumerate((seconds, 3.0)))
    loaded = resident_bytes("VmRSS")
    converter.convert(source, reference)
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        converter.convert(source, reference)
        times.append(time.perf_counter() - start)
    return {
        "real_time_factor": float(np.median(times)) / seconds,
        "stream": measure_stream(converter.model, source, reference),
        "peak_bytes": resident_bytes("VmHWM"),
        "loaded_bytes": loaded,
        "seconds": seconds,
        "hardware": hardware_name(torch.device("cpu")),
    }


@torch.inference_mode()
def measure_stream(model: torch.nn.Module, source: np.ndarray, reference: np.ndarray) -> dict | None:
    """Convert a source as it comes from a microphone, and compare the work on each piece with its length.

    The stream knows whose voice it hears, without which a model would leave out the detail that it can add.

    Args:
        model: a `VoiceConverterModel`.
        source, reference: (samples,).

    Returns:
        `real_time_factor`; `algorithmic_latency_seconds`, from a sample's arrival to its conversion's departure if
        nothing took time; `work_seconds_95`, what 95 % of the pieces take at most, which comes on top; `piece_seconds`.
        None where the model cannot stream.
    """
    if model.config.chunk_frames is None:
        return None
    prompt, own = (
        model.make_prompt(torch.from_numpy(waveform), "given for this measurement alone")
        for waveform in (reference, source)
    )
    pieces = torch.from_numpy(source).split(round(PIECE_SECONDS * SAMPLING_RATE))
    model.stream(prompt, own).push(pieces[0])  # untimed
    stream, times = model.stream(prompt, own), []
    for piece in pieces:
        start = time.perf_counter()
        stream.push(piece)
        times.append(time.perf_counter() - start)
    start = time.perf_counter()
    stream.finish()
    return {
        "real_time_factor": (sum(times) + time.perf_counter() - start) * SAMPLING_RATE / len(source),
        "algorithmic_latency_seconds": model.latency_seconds,
        "work_seconds_95": float(np.quantile(times, 0.95)),
        "piece_seconds": PIECE_SECONDS,
    }


def measure_speed_apart(checkpoint: Path, seconds: float = 10.0) -> dict:
    """Measure in a fresh process, since the peak of a process never falls again."""
    command = [sys.executable, __file__, str(checkpoint), "--seconds", str(seconds)]
    command += ["--threads", str(torch.get_num_threads())]
    # What it complains about is for the reader: only its figures are caught.
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(result.stdout.splitlines()[-1])


def _syllables(seconds: float, seed: int) -> np.ndarray:
    """A buzz of 120 Hz and breath under four bursts a second, (samples,) float32."""
    times = np.arange(round(seconds * SAMPLING_RATE)) / SAMPLING_RATE
    buzz = sum(np.sin(2 * np.pi * 120 * harmonic * times) / harmonic for harmonic in range(1, 30))
    breath = np.random.default_rng(seed).standard_normal(len(times))
    return (0.1 * (buzz + 0.1 * breath) * np.sin(4 * np.pi * times) ** 2).astype(np.float32)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--seconds", type=float, default=10.0, help="of speech to be converted")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    print(json.dumps(measure_speed(options.checkpoint, options.seconds)))


if __name__ == "__main__":
    main()
