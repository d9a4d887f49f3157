"""A saved voice: what models need of a reference recording, whose voice it is said to be, and who allowed its use."""

import hashlib
import json
import math
import os
from dataclasses import dataclass, fields
from pathlib import Path
from uuid import uuid4

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

FORMAT = "antiphon_voice_prompt"
FORMAT_VERSION = 1
# By how much rounding may change the norm of an embedding.
NORM_TOLERANCE = 1e-3
_TENSORS = ("speaker_embeddings", "input_features", "f0")
_REMEDY = "make prompts with a model's `make_prompt`."


@dataclass(frozen=True, eq=False)
class VoicePrompt:
    """One voice, from one reference recording, in a form that any voice model can take.

    Args:
        speaker_embeddings: (speaker_size,), unit norm.
        input_features: (frames, num_mel_bins), log-mel of the reference at the level that models work at.
        f0: (frames,), in Hz, 0 = unvoiced.
        consent: Who allowed that this voice is used, and for what; never empty.
        origin: Where the recording comes from.
        reference_sha256: Of the reference's samples, see `hash_samples`.
        level_dbfs: Level of what is kept of the recording, before it was normalised; RMS relative to full scale.
        encoder_sha256: Of the speaker encoder that made the embedding, and of the spectrogram and the level that it
            heard; only models that share them may use the prompt.
        library_version: Of what made the prompt.

    Raises:
        ValueError: if there is no consent, or a type, a shape, a norm or a value does not fit.
    """

    speaker_embeddings: torch.Tensor
    input_features: torch.Tensor
    f0: torch.Tensor
    consent: str
    origin: str
    reference_sha256: str
    level_dbfs: float
    encoder_sha256: str
    library_version: str

    def __post_init__(self):
        self._check_texts()
        self._check_tensors()

    def _check_texts(self) -> None:
        for name in ("consent", "origin", "reference_sha256", "encoder_sha256", "library_version"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"`{name}` is {getattr(self, name)!r} but must be text; {_REMEDY}")
        is_number = isinstance(self.level_dbfs, (int, float)) and not isinstance(self.level_dbfs, bool)
        if not is_number or not math.isfinite(self.level_dbfs):
            raise ValueError(f"`level_dbfs` is {self.level_dbfs!r} but must be a finite number; {_REMEDY}")
        if not self.consent.strip():
            raise ValueError(
                "`consent` is empty; say who allowed that this voice is used, and for what, e.g. 'my own voice' or "
                "'A. Speaker, by e-mail of 2 May, for the museum guide'."
            )

    def _check_tensors(self) -> None:
        shapes = {"speaker_embeddings": 1, "input_features": 2, "f0": 1}
        for name, dimensions in shapes.items():
            tensor = getattr(self, name)
            if not isinstance(tensor, torch.Tensor):
                raise ValueError(f"`{name}` is {type(tensor).__name__} but must be a tensor; {_REMEDY}")
            fits = tensor.ndim == dimensions and tensor.dtype == torch.float32 and tensor.numel()
            if not fits or not tensor.isfinite().all():
                raise ValueError(
                    f"`{name}` is {tensor.dtype} of shape {tuple(tensor.shape)} but must be finite float32 with "
                    f"{dimensions} dimension(s), none of them empty; {_REMEDY}"
                )
        norm = float(self.speaker_embeddings.norm())
        if abs(norm - 1) > NORM_TOLERANCE:
            raise ValueError(f"`speaker_embeddings` has norm {norm:.4g} but must have norm 1; {_REMEDY}")
        if (self.f0 < 0).any():
            raise ValueError(f"`f0` goes down to {float(self.f0.min()):g} Hz but must not be negative; {_REMEDY}")
        if len(self.f0) != len(self.input_features):
            raise ValueError(
                f"`f0` has {len(self.f0)} frames but `input_features` {len(self.input_features)}; they must agree."
            )

    @property
    def f0_median_hz(self) -> float:
        """Median of the voiced frames; NaN where none is voiced."""
        return float(2 ** self._voiced_octaves().median()) if (self.f0 > 0).any() else float("nan")

    @property
    def f0_range_semitones(self) -> float:
        """Standard deviation of the voiced frames, in semitones; NaN where fewer than two are voiced."""
        return float(12 * self._voiced_octaves().std())

    def _voiced_octaves(self) -> torch.Tensor:
        return self.f0[self.f0 > 0].log2()

    def save(self, path: str | Path) -> None:
        """Writes one safetensors file whose metadata is JSON, at once or not at all."""
        tensors = {name: getattr(self, name).detach().cpu().contiguous() for name in _TENSORS}
        texts = {name: value for name, value in vars(self).items() if name not in _TENSORS}
        texts |= {"format_version": FORMAT_VERSION, "sha256": _digest(tensors, texts)}
        # One entry alone: safetensors writes several in any order, and the same voice shall give the same file.
        metadata = {FORMAT: json.dumps(texts, ensure_ascii=False, sort_keys=True)}
        path = Path(path)
        temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
        try:
            temporary.write_bytes(save(tensors, metadata))
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path) -> "VoicePrompt":
        """Reads what `save` wrote, bit by bit the same.

        Raises:
            ValueError: if the file is missing, foreign, of a newer format, or damaged.
        """
        tensors, metadata = _read(Path(path))
        if FORMAT not in metadata:
            raise ValueError(
                f"`path` {path} is a safetensors file but no voice prompt; give one that `VoicePrompt.save` wrote."
            )
        texts = _parse(path, metadata[FORMAT])
        version, expected = texts.pop("format_version", None), texts.pop("sha256", None)
        if not isinstance(version, int):
            raise ValueError(f"`path` {path} has format version {version!r}, which is no whole number; copy it again.")
        if version > FORMAT_VERSION:
            raise ValueError(
                f"`path` {path} has format version {version}, this code reads up to {FORMAT_VERSION}; update "
                "Antiphon, or the code of the checkpoint."
            )
        if expected != _digest(tensors, texts):
            raise ValueError(f"`path` {path} is damaged: its content does not match its own hash; copy it again.")
        names = {field.name for field in fields(cls)}
        if names != {*tensors, *texts}:
            raise ValueError(
                f"`path` {path} differs from a voice prompt in {', '.join(sorted(names ^ {*tensors, *texts}))}; save "
                "the voice anew."
            )
        return cls(**tensors, **texts)


def hash_samples(waveform: torch.Tensor) -> str:
    """SHA-256 of the samples of a recording, as 32-bit floats in little-endian order."""
    return hashlib.sha256(waveform.detach().cpu().float().contiguous().numpy().astype("<f4").tobytes()).hexdigest()


def _digest(tensors: dict[str, torch.Tensor], texts: dict) -> str:
    """Covers names, shapes and values of the tensors, and what is told in words and numbers."""
    digest = hashlib.sha256(json.dumps(texts, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}\n".encode())
        digest.update(tensors[name].contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _parse(path: Path, text: str) -> dict:
    try:
        texts = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"`path` {path} is damaged: its description is no JSON ({error}); copy it again.") from error
    if not isinstance(texts, dict):
        raise ValueError(f"`path` {path} describes its voice by {type(texts).__name__}, not by names and values.")
    return texts


def _read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    if not path.is_file():
        raise ValueError(f"`path` {path} is no file; give one that `VoicePrompt.save` wrote.")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(
            f"`path` {path} cannot be read as a voice prompt ({error}); it is cut off or of another kind."
        ) from error
