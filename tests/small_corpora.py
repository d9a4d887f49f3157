"""Small corpora that tests make for themselves."""

import csv
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import soundfile
from datasets import Audio, Dataset, Features, Value

SAMPLING_RATE = 8_000


def tone(seconds: float = 0.1, frequency: float = 440.0, seed: int = 0) -> np.ndarray:
    """A tone in a little noise, (samples,) float32; another seed is another recording."""
    time = np.arange(round(seconds * SAMPLING_RATE)) / SAMPLING_RATE
    noise = np.random.default_rng(seed).standard_normal(len(time))
    return (0.3 * np.sin(2 * np.pi * frequency * time) + 0.05 * noise).astype(np.float32)


def encoded(waveform: np.ndarray, format: str = "WAV", subtype: str = "PCM_16") -> bytes:
    """The waveform as the bytes of an audio file."""
    file = io.BytesIO()
    soundfile.write(file, waveform, SAMPLING_RATE, format=format, subtype=subtype)
    return file.getvalue()


def write_corpus(folder: Path, rows: list[dict], header: list[str] | None = None) -> Path:
    """Write a folder with a `metadata.csv` and one tone per row whose `file_name` ends in .wav."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, header or list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for seed, row in enumerate(rows):
        path = folder / next(iter(row.values()))
        if path.suffix == ".wav":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded(tone(seed=seed)))
    return folder


def corpus_of(waveforms: list[bytes | np.ndarray], **columns) -> Dataset:
    """A corpus in memory; texts and speakers are null unless given."""
    num_items = len(waveforms)
    sounds = [sound if isinstance(sound, bytes) else encoded(sound) for sound in waveforms]
    data = {
        "audio": [{"bytes": sound, "path": None} for sound in sounds],
        "text": [None] * num_items,
        "speaker_id": [None] * num_items,
        "file_name": [f"{index}.wav" for index in range(num_items)],
    } | columns
    features = {name: Value("string") for name in data} | {"audio": Audio(decode=False)}
    return Dataset(pa.Table.from_pydict(data, schema=Features(features).arrow_schema))
