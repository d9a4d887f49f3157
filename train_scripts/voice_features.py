"""Spectrogram, pitch and content of every recording, computed once and kept: what a voice converter trains on."""

import hashlib
import inspect
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

import datasets
import numpy as np
import torch
from transformers import PreTrainedConfig

from antiphon.eval.caching import mapped_arrays
from antiphon.modeling.modeling_voice_converter import VoiceConverterModel, level_dbfs, weights_sha256
from antiphon.processing import audio_io
from antiphon.processing.audio_io import resample_audio
from antiphon.processing.corpora import decode

from .voice_data import VoiceTable

# Of spectrograms and pitch, and again of content, that stay in the cache.
MAX_CACHE_BYTES = 20 * 2**30
# Whose versions decide what is computed.
PACKAGES = ("torch", "transformers", "soxr", "soundfile")


def voice_table(rows: datasets.Dataset, model: VoiceConverterModel, speed_factors: Sequence[float]) -> VoiceTable:
    """What training reads of all recordings, brought to the model's level.

    Args:
        rows: With a speaker each.
        model: Gives spectrogram and pitch, and the content where that part is frozen.
        speed_factors: Each makes another voice of every speaker; 1 is the recording itself.
    """
    config, factors = model.config, [float(factor) for factor in speed_factors]
    mel = (config.sampling_rate, config.num_mel_bins, config.hop_length, config.win_length, config.mel_floor)
    inputs = [str(factors), str(mel), str(config.level_dbfs), inspect.getsource(level_dbfs), *map(audio_sha256, rows)]
    modules = [sys.modules[__name__], audio_io, *code_of(model.mel), *code_of(model.pitch_tracker)]
    kept = {"packages": PACKAGES, "max_bytes": MAX_CACHE_BYTES}
    arrays = mapped_arrays("voice_features", inputs, lambda: _features(rows, model, factors), modules=modules, **kept)
    if config.freeze_content:
        # Content is made of the features, and depends on all that they depend on.
        inputs += [weights_sha256(model.content_encoder), settings_of(config.content_config)]
        modules += code_of(model.content_encoder)
        arrays |= mapped_arrays("voice_content", inputs, lambda: _content(arrays, model), modules=modules, **kept)
    _, speakers = np.unique(rows["speaker_id"], return_inverse=True)
    num_speakers = speakers.max() + 1
    arrays["speakers"] = np.concatenate([speakers + place * num_speakers for place in range(len(factors))])
    return VoiceTable(arrays)


def audio_sha256(row: Mapping) -> str:
    """Digest of an encoded recording."""
    audio = row["audio"]
    encoded = Path(audio["path"]).read_bytes() if audio["bytes"] is None else audio["bytes"]
    return hashlib.sha256(encoded).hexdigest()


def settings_of(config: PreTrainedConfig) -> str:
    """All settings of a model, but not where it was loaded from."""

    def without_names(settings):
        if not isinstance(settings, dict):
            return settings
        return {name: without_names(value) for name, value in settings.items() if name != "_name_or_path"}

    return json.dumps(without_names(config.to_dict()), default=str)


def code_of(part: torch.nn.Module) -> list[ModuleType]:
    """Modules of this library that a network's layers are written in."""
    library = type(part).__module__.rpartition(".")[0]
    names = sorted({type(layer).__module__ for layer in part.modules()})
    return [sys.modules[name] for name in names if name.startswith(library)]


@torch.no_grad()
def _features(rows: datasets.Dataset, model: VoiceConverterModel, factors: Sequence[float]) -> dict[str, np.ndarray]:
    config, features, pitches = model.config, [], []
    for factor in factors:
        for row in rows:
            waveform, _ = decode(row, config.sampling_rate)
            waveform = resample_audio(waveform, round(config.sampling_rate * factor), config.sampling_rate)
            waveform = torch.from_numpy(waveform)
            waveform = (waveform * 10 ** ((config.level_dbfs - level_dbfs(waveform)) / 20))[None]
            features.append(model.mel(waveform)[0].half().numpy())
            pitches.append(model.pitch_tracker(waveform)[0].numpy())
    lengths = np.array([len(each) for each in pitches])
    return {"input_features": np.concatenate(features), "f0": np.concatenate(pitches), "lengths": lengths}


@torch.no_grad()
def _content(arrays: dict[str, np.ndarray], model: VoiceConverterModel) -> dict[str, np.ndarray]:
    ends = np.cumsum(arrays["lengths"])
    contents = []
    for features in np.split(arrays["input_features"], ends[:-1]):
        features = torch.from_numpy(features.astype(np.float32))[None]
        contents.append(model.content_encoder(features).content[0].half().numpy())
    return {"content": np.concatenate(contents)}
