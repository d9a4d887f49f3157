"""Measure the memory that a recogniser takes, in a process of its own, since the peak of a process never falls again.

    python eval/recognition_memory.py checkpoint model_cards/conformer-an4 CLIPS.npz --threads 1

prints one line of JSON. `CLIPS.npz` holds waveforms, each (samples,) float32 at the checkpoint's rate.
"""

import sys
from pathlib import Path

if not __package__ and not sys.flags.safe_path:
    # Run as a script, this folder's `statistics` would hide the standard library's.
    del sys.path[0]

import argparse
import json
import subprocess
import tempfile
from collections.abc import Sequence

import numpy as np
import torch

from antiphon.eval.recognition_contestants import KINDS, load_contestant
from antiphon.eval.speed_rounds import resident_bytes


def measure_memory(kind: str, checkpoint: Path, waveforms: Sequence[np.ndarray]) -> dict[str, int]:
    """Load a contestant and let it write down each waveform.

    Returns:
        `peak_bytes` of this process, and `growth_bytes`, by how much that exceeds what it had before: Python, torch,
        transformers and the waveforms. Libraries that a contestant needs beyond these count as its own.
    """
    before = resident_bytes("VmRSS")
    contestant = load_contestant(kind, checkpoint)
    for waveform in waveforms:
        contestant.transcribe(waveform)
    peak = resident_bytes("VmHWM")
    return {"peak_bytes": peak, "growth_bytes": peak - before}


def measure_memory_apart(kind: str, checkpoint: str | Path, waveforms: Sequence[np.ndarray]) -> dict[str, int]:
    """Do so in a fresh process, with as many threads as torch has here."""
    with tempfile.TemporaryDirectory() as folder:
        clips = Path(folder) / "clips.npz"
        np.savez(clips, *waveforms)
        command = [sys.executable, __file__, kind, str(checkpoint), str(clips)]
        command += ["--threads", str(torch.get_num_threads())]
        # What it complains about is for the reader: only its figures are caught.
        result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(result.stdout.splitlines()[-1])


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    with np.load(options.clips) as clips:
        waveforms = list(clips.values())
    print(json.dumps(measure_memory(options.kind, options.checkpoint, waveforms)))


if __name__ == "__main__":
    main()
