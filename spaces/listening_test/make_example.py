"""Writes an example of a listening test, of synthetic voices, to try the page with.

python make_example.py FOLDER [--kind smos]
"""

import argparse
from pathlib import Path

import numpy as np
import soundfile
import yaml
from definition import KINDS

SAMPLING_RATE = 16_000
SYSTEMS = {"clean": 0.0, "hoarse": 0.1, "noisy": 0.5}  # noise relative to the voice
PITCHES = {"item_1": 110.0, "item_2": 150.0, "item_3": 200.0, "item_4": 240.0}  # Hz
HARMONICS = 12


def voice(pitch: float, noise: float, seconds: float, generator: np.random.Generator) -> np.ndarray:
    """A sustained vowel-like sound with some noise: (samples,), peak 0.5."""
    time = np.arange(round(seconds * SAMPLING_RATE)) / SAMPLING_RATE
    phase = 2 * np.pi * pitch * (time + 0.002 * np.sin(2 * np.pi * 5 * time))
    waveform = sum(np.sin(number * phase) / number for number in range(1, HARMONICS + 1))
    waveform = waveform + noise * generator.normal(size=len(time))
    return 0.5 * waveform / np.abs(waveform).max()


def make_example(folder: Path, kind: str, seconds: float = 1.5, **changes) -> Path:
    """Writes the folder of a test.

    Args:
        kind: One of `KINDS`.
        seconds: Of each sound.
        changes: Keys of test.yaml, instead of those chosen here.
    """
    generator = np.random.default_rng(0)

    def write(name: str, pitch: float, noise: float) -> str:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, voice(pitch, noise, seconds, generator), SAMPLING_RATE, subtype="PCM_16")
        return name

    for item, pitch in PITCHES.items():
        write(f"references/{item}.wav", pitch, 0.0)
        for system, noise in SYSTEMS.items():
            write(f"systems/{system}/{item}.wav", pitch, noise)
    clean, noise = write("checks/clean.wav", 130.0, 0.0), write("checks/noise.wav", 130.0, 20.0)
    definition = {"kind": kind, "pages_per_listener": 6, "seed": 0}
    if kind in ("mos", "smos"):
        reference = {"reference": clean} if kind == "smos" else {}
        definition["anchors"] = [
            {**reference, "sample": clean, "answer": 5},
            {**reference, "sample": noise, "answer": 1},
        ]
        definition["attention_checks"] = [{**reference, "sample": noise, "expected": [1, 2]}]
    else:
        last = {"X": clean} if kind == "abx" else {}
        definition["attention_checks"] = [{"A": clean, "B": noise, **last, "expected": "A"}]
    text = yaml.safe_dump(definition | changes, sort_keys=False, allow_unicode=True)
    (folder / "test.yaml").write_text(text, encoding="utf-8")
    return folder


def main(arguments: list[str] | None = None) -> None:
    """Writes the example named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kind", choices=KINDS, default="mos")
    options = parser.parse_args(arguments)
    print(f"python app.py {make_example(options.folder, options.kind)}")


if __name__ == "__main__":
    main()
