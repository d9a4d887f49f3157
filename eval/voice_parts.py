"""Baselines that are made of the parts of a converter: its content encoder, its decoder and its vocoder."""

import copy
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from antiphon.eval.griffin_lim import griffin_lim
from antiphon.eval.voice_checkpoint import CheckpointConverter
from antiphon.eval.voice_systems import VoiceSystem

NUM_NEIGHBOURS = 4
SMALLEST_LEVEL = 1e-5


class TargetCopySynthesis:
    """An upper bound: a recording of the target through the vocoder.

    Args:
        model: a `VoiceConverterModel`.
    """

    def __init__(self, model: nn.Module):
        self.model = model

    @torch.inference_mode()
    def convert(self, source: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """Return the recording, given in place of a reference, synthesised anew."""
        return synthesise(self.model, log_mel(self.model, reference), reference)


class NearestNeighbours:
    """Every frame of the source becomes the mean of the reference's frames with the nearest content.

    Args:
        model: a `VoiceConverterModel`.

    Source: Baas, van Niekerk & Kamper, "Voice Conversion With Just Nearest Neighbors", 2023, with k = 4 and the cosine
        as distance; here over our content features instead of WavLM's, and the mean is of log-mel frames.
    """

    def __init__(self, model: nn.Module):
        self.model = model

    @torch.inference_mode()
    def convert(self, source: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """Convert by matching."""
        features, pool = (log_mel(self.model, waveform) for waveform in (source, reference))
        content, pool_content = (
            nn.functional.normalize(self.model.content_encoder(own).content[0], dim=-1) for own in (features, pool)
        )
        similarity = content @ pool_content.T
        nearest = similarity.topk(min(NUM_NEIGHBOURS, similarity.shape[1]), dim=1).indices
        # A content frame stands for two frames of the spectrogram; the last may stand for one.
        pairs = torch.stack([2 * nearest, 2 * nearest + 1], dim=-1).clamp(max=pool.shape[1] - 1)
        matched = pool[0, pairs].mean(dim=1).flatten(0, 1)  # (content frames, k, 2, bins) -> (frames, bins)
        return synthesise(self.model, matched[None, : features.shape[1]], source)


class WholeVocoder(nn.Module):
    """Stands where a vocoder stands and hears the whole spectrogram before it makes a sound.

    Args:
        make: turns log-mel features, (frames, bins), into a waveform, (samples,).
    """

    def __init__(self, make: Callable[[np.ndarray], np.ndarray]):
        super().__init__()
        self.make = make

    def stream(self) -> "WholeVocoder":
        """Start anew."""
        self.features: list[torch.Tensor] = []
        return self

    def push(self, input_features: torch.Tensor) -> torch.Tensor:
        """Keep (1, frames, bins) and return nothing yet, (1, 0)."""
        self.features.append(input_features)
        return input_features.new_zeros(1, 0)

    def finish(self) -> torch.Tensor:
        """Return the waveform, (1, samples)."""
        return torch.from_numpy(self.make(torch.cat(self.features, dim=1)[0].numpy()))[None]


def with_vocoder(model: nn.Module, make: Callable[[np.ndarray], np.ndarray]) -> nn.Module:
    """Return the converter with a `WholeVocoder` in place of its own, which the given one keeps."""
    changed = copy.copy(model)
    # A copy shares the table of its parts with the original.
    changed._modules = {**model._modules, "vocoder": WholeVocoder(make)}
    return changed


def part_baselines(model: nn.Module) -> dict[str, VoiceSystem]:
    """Baselines by their names in `BASELINES`.

    Args:
        model: a `VoiceConverterModel`.
    """
    return {
        "nearest_neighbours": NearestNeighbours(model),
        "griffin_lim": CheckpointConverter(with_vocoder(model, griffin_lim)),
        "target_copy_synthesis": TargetCopySynthesis(model),
    }


def log_mel(model: nn.Module, waveform: np.ndarray) -> torch.Tensor:
    """Log-mel spectrogram at the level that the model's parts know, (1, frames, bins)."""
    gain = 10 ** (model.config.level_dbfs / 20) / max(_level(waveform), SMALLEST_LEVEL)
    return model.mel(torch.from_numpy(waveform)[None] * gain)


def synthesise(model: nn.Module, input_features: torch.Tensor, like: np.ndarray) -> np.ndarray:
    """Sound of a spectrogram, as long and as loud as another recording."""
    made = model.vocoder(input_features).waveform[0].numpy()
    made = np.pad(made, (0, max(0, len(like) - len(made))))[: len(like)]  # a vocoder ends on a whole frame
    return (made * _level(like) / max(_level(made), SMALLEST_LEVEL)).astype(np.float32)


def _level(waveform: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(waveform, dtype=np.float64))))
