"""The conditions that a number holds under: what was measured, on which machine, with which versions."""

import datetime
import hashlib
import importlib.metadata
import json
import math
import platform
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch

PACKAGES = (
    "antiphon",
    "datasets",
    "jiwer",
    "librosa",
    "mido",
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "pesq",
    "pocketsphinx",
    "pystoi",
    "pyworld",
    "resemblyzer",
    "scikit-learn",
    "scipy",
    "soundfile",
    "soxr",
    "speechmos",
    "torch",
    "transformers",
    "webrtcvad",
)
# what two rows must share to be compared
COMPARED_CONDITIONS = (
    "corpus_sha256",
    "split_sha256",
    "item_ids_sha256",
    "text_normalizer",
    "sampling_rate",
    "resample",
    "decoding",
    "judges",
    "protocol",
    "rendering",
)
COMPARED_PACKAGES = ("antiphon", "jiwer", "numpy", "torch", "transformers")


def condition_differences(first: Mapping, other: Mapping) -> dict[str, tuple]:
    """Return the conditions under which two result rows were measured differently; empty where they are comparable.

    A condition that a row does not state, as rows of older versions may not, counts as equal. The build of a package
    ("+cpu") is no condition, as the hardware is none.

    Args:
        first: the row that sets the conditions.
        other: the row that is held against it.

    Returns:
        By the name of each condition that differs, such as `decoding` or `packages.jiwer`, its value in `first` and
        that in `other`.
    """
    stated, others = _compared_conditions(first), _compared_conditions(other)
    return {
        name: (value, others[name])
        for name, value in stated.items()
        if value is not None and others[name] is not None and value != others[name]
    }


def _compared_conditions(row: Mapping) -> dict:
    dataset, conditions = row["dataset"], row["conditions"]
    versions = conditions.get("packages", {})
    return {
        "corpus": dataset.get("name"),
        "split": dataset.get("split"),
        **{name: conditions.get(name) for name in COMPARED_CONDITIONS},
        **{f"packages.{name}": _public_version(versions.get(name)) for name in COMPARED_PACKAGES},
    }


def _public_version(version: str | None) -> str | None:
    return None if version is None else version.split("+")[0]


def file_sha256(path: str | Path) -> str:
    """Return the hexadecimal SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe_weights(checkpoint: str | Path) -> dict:
    """Return digest and size of a checkpoint, from its `model.safetensors` alone, as a result row holds them."""
    weights = Path(checkpoint) / "model.safetensors"
    with open(weights, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    shapes = [entry["shape"] for name, entry in header.items() if name != "__metadata__"]
    return {
        "checkpoint_sha256": file_sha256(weights),
        "model": {"parameters": sum(map(math.prod, shapes)), "bytes": weights.stat().st_size},
    }


def records_sha256(records: Iterable[tuple[str | bytes, ...]]) -> str:
    """Return one SHA-256 for a set of records, whatever order they come in.

    Args:
        records: such as (item id, text), or (item id, text, audio file) to tie the audio too.
    """
    digests = []
    for record in records:
        digest = hashlib.sha256()
        for field in record:
            data = field.encode() if isinstance(field, str) else field
            # The length keeps ("ab", "c") and ("a", "bc") apart.
            digest.update(len(data).to_bytes(8, "big") + data)
        digests.append(digest.digest())
    return hashlib.sha256(b"".join(sorted(digests))).hexdigest()


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that can change a result."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # run from a source tree: the absence is visible in the row
    return versions


def hardware_name(device: torch.device) -> str:
    """Return what a speed was measured on, such as "AMD EPYC 7B13, 2 threads" or "NVIDIA H200"."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{_processor_name()}, {torch.get_num_threads()} threads"


def machine_conditions(device: torch.device) -> dict:
    """Return the packages, hardware and date of a measurement made now, as a result row holds them."""
    return {
        "packages": package_versions(),
        "hardware": hardware_name(device),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def _processor_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
