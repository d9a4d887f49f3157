"""Measures whether a training that reads a stream takes more memory the longer the stream is.

    python train_scripts/measure_stream_memory.py

Reads corpora of 1,000 and 20,000 rows to their end, as a training does, each in a process of its own, and prints the
largest resident memory of each. The rows are made here: 50 recordings of noise, listed again and again.
"""

import argparse
import csv
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile

from antiphon.processing import CharacterTokenizer, ConformerProcessor, LogMelFeatureExtractor
from antiphon.processing.corpora import CorpusStream
from antiphon.train_scripts.recognition_data import RecognitionCollator
from antiphon.train_scripts.streamed_data import StreamedUtterances

SAMPLING_RATE, NUM_RECORDINGS, SECONDS, BATCH_SIZE = 16_000, 50, 2.0, 16
TEXTS = ["a few words to be read aloud", "some more of them, and again others"]


def write_rows(folder: Path, num_rows: int) -> None:
    """Writes a corpus folder in which the same recordings are listed again and again."""
    generator = np.random.default_rng(0)
    for index in range(NUM_RECORDINGS):
        noise = generator.normal(0, 0.1, int(SECONDS * SAMPLING_RATE))
        soundfile.write(folder / f"{index}.flac", noise, SAMPLING_RATE)
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["file_name", "text", "speaker_id", "duration_seconds", "license"])
        for index in range(num_rows):
            row = [f"{index % NUM_RECORDINGS}.flac", TEXTS[index % 2], f"speaker{index % 7}", SECONDS, "CC0-1.0"]
            table.writerow(row)


def read_rows(folder: Path) -> tuple[int, int]:
    """Reads a corpus to its end; returns how many utterances there were and the peak of resident memory in bytes."""
    processor = ConformerProcessor(LogMelFeatureExtractor(), CharacterTokenizer.from_corpus(TEXTS))
    stream = StreamedUtterances(
        CorpusStream(folder), processor, batch_size=BATCH_SIZE, buffer_size=256, max_seconds=20.0
    )
    collate, batch, num_read = RecognitionCollator(processor), [], 0
    for item in stream:
        batch.append(item)
        if len(batch) == BATCH_SIZE:
            collate(batch)
            num_read, batch = num_read + len(batch), []
    # Linux counts in kibibytes, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return num_read + len(batch), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 20_000])
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.read:
        print(*read_rows(options.read))
        return
    first = None
    for num_rows in options.rows:
        with tempfile.TemporaryDirectory() as folder:
            write_rows(Path(folder), num_rows)
            command = [sys.executable, __file__, "--read", folder]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        num_read, peak = map(int, done.stdout.split())
        first = first or peak
        print(f"{num_read:,} rows: {peak / 2**20:.0f} MiB at the peak ({peak / first - 1:+.1%})")


if __name__ == "__main__":
    main()
