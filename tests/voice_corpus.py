"""A corpus of made-up voices: each speaker has a pitch and a resonance of its own, each utterance a melody."""

import csv
from pathlib import Path

import numpy as np
import soundfile

SAMPLING_RATE = 16_000


def speak(speaker: int, generator: np.random.Generator, seconds: float) -> np.ndarray:
    """Harmonics of a wandering pitch under one broad resonance, (samples,), float32."""
    num_samples = round(seconds * SAMPLING_RATE)
    wander = np.repeat(generator.uniform(0.9, 1.1, num_samples // 1600 + 1), 1600)[:num_samples]
    phase = 2 * np.pi * np.cumsum(100 * 1.15**speaker * wander) / SAMPLING_RATE
    centre = 500 + 350 * speaker
    waveform = np.zeros(num_samples)
    for harmonic in range(1, 25):
        frequency = harmonic * 100 * 1.15**speaker
        waveform += np.exp(-(((frequency - centre) / 600) ** 2)) * np.sin(harmonic * phase)
    waveform += 0.01 * generator.standard_normal(num_samples)
    return (0.3 * waveform / np.abs(waveform).max()).astype(np.float32)


def write_voice_corpus(folder: Path, num_speakers: int = 10, num_utterances: int = 4, seed: int = 0) -> Path:
    """Writes a folder with `metadata.csv`: every third speaker validates, the last of the others has one utterance."""
    generator = np.random.default_rng(seed)
    (folder / "audio").mkdir(parents=True)
    with open(folder / "metadata.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["file_name", "speaker_id", "split", "source", "license", "duration_seconds", "gender"])
        for speaker in range(num_speakers):
            split = "validation" if speaker % 3 == 2 else "train"
            for index in range(1 if speaker == num_speakers - 1 else num_utterances):
                name, seconds = f"audio/{speaker}_{index}.wav", 0.5 + 0.13 * index
                soundfile.write(folder / name, speak(speaker, generator, seconds), SAMPLING_RATE, subtype="PCM_16")
                source = f"studio {speaker % 2}" if split == "train" else "studio 0"
                table.writerow([name, f"speaker{speaker}", split, source, "CC0-1.0", seconds, "FM"[speaker % 2]])
    return folder
