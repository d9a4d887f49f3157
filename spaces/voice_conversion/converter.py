"""Loads a checkpoint and converts voices with it."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from checkpoints import CheckpointError
from transformers import AutoModel

DECIBELS_PER_LOG = 10 / np.log(10)  # log-mel features are natural logarithms of power


class ConversionError(ValueError):
    """What the model cannot do with what was given; the message is one sentence for the visitor."""


@dataclass(frozen=True)
class Sound:
    """What the page shows of one recording.

    Args:
        waveform: (samples,) float32.
        levels: (frames, mel bands), in dB.
        f0: (frames,) in Hz, 0 = unvoiced.
        similarity: Cosine to the wanted voice, by the checkpoint's own speaker encoder; NaN where nothing is heard.
    """

    waveform: np.ndarray
    levels: np.ndarray
    f0: np.ndarray
    similarity: float


@dataclass(frozen=True)
class Conversion:
    """A recording before and after.

    Args:
        wanted_hz: Median pitch that was aimed at; NaN where the wanted voice has none.
        processing_seconds: Time that the conversion took, without the analysis of what came out.
    """

    before: Sound
    after: Sound
    wanted_hz: float
    processing_seconds: float


class Converter:
    """A voice converter.

    Args:
        folder: Checkpoint folder. The code in it is run.

    Raises:
        CheckpointError: It does not load, or is no voice converter.
    """

    def __init__(self, folder: Path):
        # Code of the checkpoint runs here and may raise anything.
        try:
            self.model = AutoModel.from_pretrained(folder, trust_remote_code=True).eval()
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            raise CheckpointError(f"The checkpoint {folder} does not load: {type(error).__name__}: {reason}") from error
        if not hasattr(self.model, "make_prompt"):
            raise CheckpointError(f"The checkpoint {folder} converts no voices; choose one that does.")

    @property
    def sampling_rate(self) -> int:
        """Rate of all waveforms, in Hz."""
        return self.model.config.sampling_rate

    @property
    def num_parameters(self) -> int:
        """Number of weights."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    @property
    def frame_rate(self) -> float:
        """Frames of levels and f0 a second."""
        return self.model.config.frame_rate

    @property
    def is_trained_on_similarity(self) -> bool:
        """Whether training rewarded the similarity that `Sound` tells."""
        config = self.model.config
        return bool(config.consistency_weight or config.converted_consistency_weight)

    def make_voice(self, recording: np.ndarray, consent: str, origin: str):
        """A `VoicePrompt` of a recording (samples,).

        Raises:
            ConversionError: The model finds no voice in it.
        """
        try:
            return self.model.make_prompt(torch.from_numpy(recording), consent, origin)
        except ValueError as error:
            raise ConversionError(f"No voice can be made of this recording: {error}") from error

    def read_voice(self, path: str | Path):
        """A `VoicePrompt` that was saved as a file.

        Raises:
            ConversionError: The file is none, is damaged, or is of another model.
        """
        # The class of the code that came with the checkpoint: the model takes no other.
        voice_prompt = sys.modules[type(self.model).__module__].VoicePrompt
        try:
            voice = voice_prompt.load(path)
        except (ValueError, KeyError, TypeError) as error:
            raise ConversionError(
                "This file is no saved voice, or it is damaged; choose one that was saved on this page."
            ) from error
        if voice.encoder_sha256 != self.model.speaker_encoder_sha256:
            raise ConversionError(
                "This voice was saved with another model, for which its numbers mean another voice; make it anew from "
                "a recording."
            )
        return voice

    def convert(self, source: np.ndarray, voice, semitones: float, strength: float) -> Conversion:
        """Converts a recording (samples,).

        Args:
            voice: `VoicePrompt`.
            semitones: On top of the shift to the pitch of the voice.
            strength: 0 is the source's own voice, 1 the wanted one.

        Raises:
            ConversionError: The model cannot convert it.
        """
        start = time.perf_counter()
        try:
            converted = self.model.convert(torch.from_numpy(source), voice, semitones, strength).numpy()
        except ValueError as error:
            raise ConversionError(f"This recording cannot be converted: {error}") from error
        processing_seconds = time.perf_counter() - start
        wanted_hz = voice.f0_median_hz * 2 ** (semitones / 12)
        return Conversion(self._hear(source, voice), self._hear(converted, voice), wanted_hz, processing_seconds)

    def open_stream(self, voice, source: np.ndarray | None, semitones: float):
        """Starts a conversion of speech that arrives in pieces.

        Args:
            source: The speaker's recording, where there is one, whose pitch and level are then known from the start.

        Raises:
            ConversionError: The model cannot convert piece by piece.
        """
        try:
            known = None if source is None else self.make_voice(source, "the source itself", "")
            return self.model.stream(voice, known, semitones)
        except ValueError as error:
            raise ConversionError(f"This model cannot convert live: {error}") from error

    @torch.inference_mode()
    def _hear(self, waveform: np.ndarray, voice) -> Sound:
        samples = torch.from_numpy(waveform)
        try:
            embedding = self.model.make_prompt(samples, "for comparison alone").speaker_embeddings
            similarity = float(embedding @ voice.speaker_embeddings)
        except ValueError:  # nothing is left to be heard
            similarity = float("nan")
        return Sound(
            waveform=waveform,
            levels=DECIBELS_PER_LOG * self.model.mel(samples[None])[0].numpy(),
            f0=self.model.pitch_tracker(samples[None])[0].numpy(),
            similarity=similarity,
        )
