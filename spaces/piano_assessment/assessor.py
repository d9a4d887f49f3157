"""Loads a checkpoint and assesses performances with it: percepts, descriptors, and where attention went."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from checkpoints import CheckpointError
from tones import play_tones
from transformers import AutoFeatureExtractor, AutoModel
from uploads import Upload, UploadError

from antiphon.eval.piano_attributions import PatchMap, attention_rollout
from antiphon.eval.reference_population import Reference, find_reference, read_population
from antiphon.processing.audio_midi import Performance

DECIBELS_PER_LOG = 10 / np.log(10)


@dataclass(frozen=True)
class View:
    """What a lattice transformer sees of a performance, and what one hears of it.

    Args:
        lattice: "audio" or "roll".
        levels: (frames, bins), in dB of full scale, or of a roll 0 to 1.
        frame_rate: Frames a second.
        attention: None where the model has no such lattice.
        waveform: (samples,), to be played.
        start_seconds: Where in the waveform the first frame lies.
    """

    lattice: str
    levels: np.ndarray
    frame_rate: float
    attention: PatchMap | None
    waveform: np.ndarray
    start_seconds: float


@dataclass(frozen=True)
class Assessment:
    """All that the page shows of one performance.

    Args:
        percepts: (percepts,) on the scale of the labels, 0 to 1.
        reach: (percepts,) half the width of the 90 % intervals; NaN where none was calibrated.
        descriptors: By name, NaN = missing.
        reference: Performances to compare with; None where the checkpoint ships none.
        inputs: What it was judged by, of audio, midi and score.
        processing_seconds: Time that features, model and attention took.
    """

    percepts: np.ndarray
    reach: np.ndarray
    descriptors: dict[str, float]
    reference: Reference | None
    inputs: tuple[str, ...]
    view: View
    processing_seconds: float


class Assessor:
    """A model that judges piano performances, with its extractor and its reference population.

    Args:
        folder: Checkpoint folder. The code in it is run.

    Raises:
        CheckpointError: It does not load, or is no model of this kind.
    """

    def __init__(self, folder: Path):
        # Code of the checkpoint runs here and may raise anything.
        try:
            self.extractor = AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=True)
            self.model = AutoModel.from_pretrained(folder, trust_remote_code=True).eval()
            self.population = read_population(folder)
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            raise CheckpointError(f"The checkpoint {folder} does not load: {type(error).__name__}: {reason}") from error
        if not hasattr(self.model, "lattices"):
            raise CheckpointError(f"The checkpoint {folder} judges no piano performances; choose one that does.")

    @property
    def percepts(self) -> Sequence[str]:
        """Names of what is judged."""
        return self.model.config.percept_names

    @property
    def num_parameters(self) -> int:
        """Number of weights."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    @torch.inference_mode()
    def assess(self, upload: Upload, score: tuple[bytes, Performance] | None = None) -> Assessment:
        """Assesses one performance.

        Args:
            score: Content and notes of the MIDI file of what is written.

        Raises:
            UploadError: The model has no use for these files.
        """
        start = time.perf_counter()
        written, score_notes = score if score is not None else (None, None)
        try:
            inputs = self.extractor(
                audio=upload.waveform, midi=upload.midi, score=written, sampling_rate=self.extractor.sampling_rate
            )
            output = self.model(**inputs)
        except ValueError as error:
            raise UploadError(
                "This model cannot judge these files; give it a recording and its MIDI file, or check that they are "
                "not silent."
            ) from error
        given = {"audio": upload.waveform, "midi": upload.midi, "score": written}
        reference = None
        if self.population is not None:
            reference = find_reference(self.population, score_notes, upload.performance)
        view = self._view(upload, inputs)
        return Assessment(
            percepts=output.percepts[0].double().numpy(),
            reach=((output.high - output.low) / 2)[0].double().numpy(),
            descriptors=dict(zip(self.extractor.descriptor_names, inputs["descriptors"][0].tolist())),
            reference=reference,
            inputs=tuple(name for name, content in given.items() if content is not None),
            view=view,
            processing_seconds=time.perf_counter() - start,
        )

    def _view(self, upload: Upload, inputs: dict[str, torch.Tensor]) -> View:
        """The spectrogram where there is a recording, else the piano roll."""
        rate, extractor = self.extractor.sampling_rate, self.extractor
        if upload.waveform is not None:
            lattice, waveform = "audio", upload.waveform
            start_seconds = first_sound_seconds(waveform, extractor)
            log_power = inputs["input_features"][0].numpy() * extractor.standard_deviation + extractor.mean
            levels = DECIBELS_PER_LOG * log_power
        else:
            lattice, waveform, start_seconds = "roll", play_tones(upload.performance, rate), 0.0
            channels = inputs["roll_features"][0].unflatten(1, (-1, extractor.num_pitch_bins)).numpy()
            onsets, held, sounding = channels.swapaxes(0, 1)
            levels = np.maximum(np.maximum(onsets, 0.6 * held), 0.25 * sounding)
        attention = None
        if lattice in self.model.lattices:
            attention = attention_rollout(self.model, inputs, lattice)
        return View(lattice, levels, extractor.frame_rate, attention, waveform, start_seconds)


def first_sound_seconds(waveform: np.ndarray, extractor) -> float:
    """When the first frame that the extractor keeps lies; before it is silence."""
    half = extractor.n_fft // 2
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(waveform, half), extractor.n_fft)[:: extractor.hop_length]
    # By Parseval's theorem the energy of a window is the sum of its power over all frequencies.
    energy = np.square(frames * np.hanning(extractor.n_fft).astype(np.float32)).sum(1)
    first = int(np.argmax(energy > energy.max() * 10 ** (-extractor.silence_decibels / 10)))
    return first * extractor.hop_length / extractor.sampling_rate
