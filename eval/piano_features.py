"""Features of piano performances, computed once and kept: what trainings and benchmarks read again and again."""

import hashlib
import inspect
import json
import os
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from tqdm.auto import tqdm

from antiphon.eval.result_rows import write_atomically
from antiphon.processing import PianoFeatureExtractor
from antiphon.processing.audio_io import read_audio

LATTICES = {"input_features": "attention_mask", "roll_features": "roll_attention_mask"}
# What decides the features besides their inputs and the code of the extractor. A checkpoint carries a copy of that
# code; as long as nothing has changed, it shares the features with the installed one.
FEATURE_SETTINGS = (
    *("sampling_rate", "hop_length", "n_fft", "num_pitch_bins", "power_floor", "mean", "standard_deviation"),
    "silence_decibels",
)
SIBLING = re.compile(r"^from \.(\w+) import", flags=re.MULTILINE)


@dataclass(frozen=True)
class PianoFiles:
    """The files of one performance; what is None is missing."""

    audio: str | None = None
    midi: str | None = None
    score: str | None = None


def feature_cache() -> Path:
    """Where features are kept: `$ANTIPHON_CACHE/features`, or below `~/.cache/antiphon`."""
    root = os.environ.get("ANTIPHON_CACHE")
    return (Path(root) if root else Path.home() / ".cache" / "antiphon") / "features"


def piano_features(files: Iterable[PianoFiles], extractor: PianoFeatureExtractor) -> list[dict[str, torch.Tensor]]:
    """Features of performances in order: `input_features`, `roll_features` (frames, ...) in half precision, and
    `descriptors`, as far as an item has their sources."""
    files = list(files)
    compute = partial(_cached, extractor=extractor, version=_version(extractor), folder=feature_cache())
    workers = max(1, min(os.cpu_count() or 1, len(files)))
    with ProcessPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        paths = tqdm(pool.map(compute, files, chunksize=8), total=len(files), desc="features", disable=None)
        return [load_file(path) for path in paths]


def stack_features(items: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """A batch of a model's inputs from the features of several performances, padded on the right."""
    batch = {"descriptors": torch.stack([item["descriptors"] for item in items])}
    for name, mask_name in LATTICES.items():
        known = [item[name].float() for item in items if name in item]
        if known:
            nothing = known[0][:0]
            lattices = [item[name].float() if name in item else nothing for item in items]
            batch[name], batch[mask_name] = pad_lattices(lattices)
    return batch


def pad_lattices(items: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Pads items of (frames, bins) with zeros on the right: (items, frames, bins), and (items, frames), 1 = real."""
    lengths = torch.tensor([len(item) for item in items])
    padded = torch.nn.utils.rnn.pad_sequence([item.float() for item in items], batch_first=True)
    return padded, (torch.arange(padded.shape[1]) < lengths[:, None]).long()


def _version(extractor: PianoFeatureExtractor) -> str:
    # What it knows of passages is looked up anew each time.
    settings = {name: value for name, value in extractor.to_dict().items() if name in FEATURE_SETTINGS}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for path in sorted(_own_code(Path(inspect.getfile(type(extractor))))):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _own_code(path: Path) -> set[Path]:
    """A file and, however deep, the siblings that it imports."""
    found, waiting = set(), {path}
    while waiting:
        file = waiting.pop()
        found.add(file)
        siblings = {file.with_name(f"{name}.py") for name in SIBLING.findall(file.read_text(encoding="utf-8"))}
        waiting |= siblings - found
    return found


def _cached(files: PianoFiles, extractor: PianoFeatureExtractor, version: str, folder: Path) -> Path:
    """Path of an item's features; they are computed where nothing lies there yet."""
    digest = hashlib.sha256(version.encode())
    for path in (files.audio, files.midi, files.score):
        digest.update(hashlib.sha256(Path(path).read_bytes()).digest() if path else b"none")
    path = folder / digest.hexdigest()[:2] / f"{digest.hexdigest()}.safetensors"
    if path.is_file():
        return path
    audio = read_audio(files.audio, sampling_rate=extractor.sampling_rate)[0] if files.audio else None
    inputs = extractor(audio=audio, midi=files.midi, score=files.score, sampling_rate=extractor.sampling_rate)
    kept = {name: inputs[name][0].half().contiguous() for name in ("input_features", "roll_features") if name in inputs}
    content = save({**kept, "descriptors": inputs["descriptors"][0]})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda file: file.write(content))
    return path
