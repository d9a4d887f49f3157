"""Recordings beside the spectrograms that a voice converter makes of them: what its vocoder learns to read."""

import math
import sys
from collections.abc import Iterable

import datasets
import numpy as np
import torch
from tqdm.auto import tqdm

from antiphon.eval import voice_parts
from antiphon.eval.caching import mapped_arrays
from antiphon.modeling import (
    VoiceConverterModel,
    layers_spectrum_match,
    layers_voice_recording,
    layers_voice_stream,
)
from antiphon.modeling.layers_voice_recording import level_dbfs
from antiphon.modeling.modeling_voice_converter import weights_sha256
from antiphon.processing import audio_io
from antiphon.processing.corpora import decode

from .recipes import RecipeError
from .voice_features import MAX_CACHE_BYTES, PACKAGES, audio_sha256, code_of, settings_of

REFERENCE_SECONDS = 6.0
# What conversion does besides the layers of the model.
CODE = (audio_io, voice_parts, layers_spectrum_match, layers_voice_recording, layers_voice_stream)
INT16_SCALE = 32_768.0


class DecodedSegments(torch.utils.data.Dataset):
    """Random segments of recordings and of the spectrograms that a converter made of them; item i follows from i alone.

    Each recording was converted to its own speaker's voice as another recording tells it; speakers of one recording
    alone are left out.

    Args:
        corpus: With the columns of `load_voices`.
        converter: A `VoiceConverterModel` in evaluation mode.
        segment_samples: Length of a segment, rounded down to whole hops.
        gain_db: Range of a gain on top of the converter's level.
        seed: Of the places and gains.

    Raises:
        RecipeError: if no recording is long enough and has another of its speaker beside it.
    """

    def __init__(
        self,
        corpus: datasets.Dataset,
        converter: VoiceConverterModel,
        segment_samples: int,
        gain_db: tuple[float, float],
        seed: int,
    ):
        self.hop_length, self.floor = converter.config.hop_length, float(np.log(converter.config.mel_floor))
        self.segment_hops, self.gain_db, self.seed = segment_samples // self.hop_length, gain_db, seed
        # Who speaks decides which recording stands beside which.
        inputs = [weights_sha256(converter), settings_of(converter.config), str(corpus["speaker_id"][:])]
        inputs += map(audio_sha256, corpus)
        arrays = mapped_arrays(
            "decoded_segments",
            inputs,
            lambda: decode_corpus(corpus, converter),
            modules=[sys.modules[__name__], *CODE, *code_of(converter)],
            packages=PACKAGES,
            max_bytes=MAX_CACHE_BYTES,
        )
        self.samples, self.features, self.hops = arrays["samples"], arrays["input_features"], arrays["hops"]
        # A recording of n hops has n + 1 frames.
        self.first_hops = np.cumsum(self.hops) - self.hops
        self.first_frames = self.first_hops + np.arange(len(self.hops))
        rooms = np.maximum(self.hops - self.segment_hops + 1, 0)
        if not rooms.any():
            raise RecipeError(
                f"No recording of {len(corpus)} lasts {segment_samples} samples and has another one of its speaker "
                "beside it; lower `data.segment_seconds`, or name other corpora."
            )
        self.shares = rooms / rooms.sum()

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """Returns `waveform` (samples,) and `input_features` (1 + samples / hop_length, num_mel_bins)."""
        generator = np.random.default_rng([self.seed, index])
        recording = generator.choice(len(self.hops), p=self.shares)
        start = int(generator.integers(0, self.hops[recording] - self.segment_hops + 1))
        first = self.hop_length * (self.first_hops[recording] + start)
        samples = self.samples[first : first + self.hop_length * self.segment_hops].astype(np.float32) / INT16_SCALE
        first = self.first_frames[recording] + start
        features = self.features[first : first + self.segment_hops + 1].astype(np.float32)
        gain = 10 ** (generator.uniform(*self.gain_db) / 20)
        # A gain that would clip is lowered.
        gain = min(gain, 1 / max(np.abs(samples).max(), 1e-4))
        features = np.maximum(features + 2 * np.log(gain), self.floor)
        return {
            "waveform": torch.from_numpy((samples * gain).astype(np.float32)),
            "input_features": torch.from_numpy(features.astype(np.float32)),
        }


@torch.no_grad()
def decode_corpus(corpus: datasets.Dataset, converter: VoiceConverterModel) -> dict[str, np.ndarray]:
    """Converts every recording to its own speaker's voice, at its own pitch: it is what the vocoder shall sound like.

    Returns:
        `samples`, 16-bit at the converter's level, and `input_features`, half precision, both joined over recordings;
        `hops` of each recording. One that is short of its level's headroom is lowered as a whole, with its features.
    """
    config, heard = converter.config, []

    def keep(input_features: np.ndarray) -> np.ndarray:
        heard.append(input_features)
        return np.zeros(config.hop_length * (len(input_features) - 1), np.float32)

    silent = voice_parts.with_vocoder(converter, keep)
    samples, features, hops = [], [], []
    for place, other in tqdm(with_another(corpus["speaker_id"]), desc="decoding"):
        rows = (corpus[place], corpus[other])
        waveform, reference = (torch.from_numpy(decode(row, config.sampling_rate)[0]) for row in rows)
        waveform = waveform[: len(waveform) // config.hop_length * config.hop_length]
        try:
            prompt = silent.make_prompt(reference[: round(REFERENCE_SECONDS * config.sampling_rate)], "to train on")
            shift = 12 * math.log2(converter.describe_source(waveform).median_hz / prompt.f0_median_hz)
            silent.convert(waveform, prompt, pitch_shift_semitones=0.0 if math.isnan(shift) else shift)
        except ValueError as error:  # silence, or too short for a voice
            print(f"{rows[0]['file_name']} is left out: {error}", flush=True)
            continue
        levelled = waveform * 10 ** ((config.level_dbfs - level_dbfs(waveform)) / 20)
        headroom = max(1.0, float(levelled.abs().max()))
        samples.append(np.round(levelled.numpy() / headroom * (INT16_SCALE - 1)).astype(np.int16))
        features.append((heard.pop() - 2 * np.log(headroom)).astype(np.float16))
        hops.append(len(waveform) // config.hop_length)
    if not hops:
        return {
            "samples": np.zeros(0, np.int16),
            "input_features": np.zeros((0, 1), np.float16),
            "hops": np.zeros(0, int),
        }
    return {"samples": np.concatenate(samples), "input_features": np.concatenate(features), "hops": np.array(hops)}


def with_another(speakers: Iterable[str | None]) -> list[tuple[int, int]]:
    """Each recording of a known speaker who has several, with the next one of that speaker, the last with the first."""
    of_speaker: dict[str, list[int]] = {}
    for place, speaker in enumerate(speakers):
        if speaker is not None:
            of_speaker.setdefault(speaker, []).append(place)
    return sorted(
        (place, places[(rank + 1) % len(places)])
        for places in of_speaker.values()
        if len(places) > 1
        for rank, place in enumerate(places)
    )
