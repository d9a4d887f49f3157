"""Spectrogram, pitch and content of every recording, computed once and kept: what a voice converter trains on."""

from collections.abc import Sequence

import datasets
import numpy as np
import torch

from antiphon.eval.caching import cached_arrays
from antiphon.modeling import layers_pitch, layers_spectrogram
from antiphon.modeling.modeling_voice_converter import VoiceConverterModel, level_dbfs, weights_sha256
from antiphon.processing.audio_io import resample_audio
from antiphon.processing.corpora import decode

from .voice_data import VoiceTable


def voice_table(rows: datasets.Dataset, model: VoiceConverterModel, speed_factors: Sequence[float]) -> VoiceTable:
    """What training reads of all recordings, brought to the model's level.

    Args:
        rows: With a speaker each.
        model: Gives spectrogram and pitch, and the content where that part is frozen.
        speed_factors: Each makes another voice of every speaker; 1 is the recording itself.
    """
    config, factors = model.config, [float(factor) for factor in speed_factors]
    inputs = [str(factors), f"{config.sampling_rate} {config.hop_length} {config.win_length} {config.mel_floor}"]
    inputs += [str(config.level_dbfs), *rows["file_name"], *map(str, rows["duration_seconds"])]
    arrays = cached_arrays(
        "voice_features",
        inputs,
        lambda: _features(rows, model, factors),
        modules=[layers_pitch, layers_spectrogram],
        packages=["torch"],
    )
    if config.freeze_content:
        own = [weights_sha256(model.content_encoder), str(config.content_config.to_dict())]
        arrays |= cached_arrays("voice_content", [*inputs, *own], lambda: _content(arrays, model))
    _, speakers = np.unique(rows["speaker_id"], return_inverse=True)
    num_speakers = speakers.max() + 1
    arrays["speakers"] = np.concatenate([speakers + place * num_speakers for place in range(len(factors))])
    return VoiceTable(arrays)


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
