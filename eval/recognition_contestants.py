"""Recognisers that are measured for speed beside one another: ours, models of transformers, and pocketsphinx.

This module imports little, since the memory of a process that uses it is measured.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import soxr
import torch
from transformers import AutoConfig, AutoModelForCTC, AutoProcessor

from antiphon.eval.peer_models import PEERS

CHECKPOINT, POCKETSPHINX = "checkpoint", "pocketsphinx"
KINDS = (CHECKPOINT, *PEERS, POCKETSPHINX)


class Contestant(Protocol):
    """Writes down a waveform in two steps, of which the second is the model's alone."""

    num_parameters: int | None

    def prepare(self, waveform: np.ndarray) -> Mapping:
        """Returns what `run` takes, from (samples,) float32 at the checkpoint's rate."""

    def run(self, inputs: Mapping) -> object:
        """Does the model's work."""

    def transcribe(self, waveform: np.ndarray) -> str:
        """Returns the text, both steps and decoding included."""


class CTCContestant:
    """A CTC model, greedily decoded.

    Args:
        model: in evaluation mode; takes features or samples.
        processor: of the checkpoint, which makes the features and decodes.
    """

    def __init__(self, model, processor):
        self.model, self.processor = model, processor
        self.num_parameters = model.num_parameters()

    def prepare(self, waveform: np.ndarray) -> Mapping:
        if self.model.main_input_name == "input_values":
            return {"input_values": torch.from_numpy(waveform)[None]}
        return self.processor(audio=waveform, sampling_rate=self.processor.feature_extractor.sampling_rate)

    @torch.inference_mode()
    def run(self, inputs: Mapping) -> torch.Tensor:
        return self.model(**inputs).logits

    def transcribe(self, waveform: np.ndarray) -> str:
        return self.processor.decode_logits(self.run(self.prepare(waveform)))[0]["text"]


class PocketsphinxContestant:
    """Pocketsphinx with its own English model and its own, large vocabulary.

    Args:
        sampling_rate: of the waveforms; another than 16 kHz is resampled to that, in the measured time.
    """

    num_parameters = None

    def __init__(self, sampling_rate: int):
        # Here and not above: it is an extra.
        from antiphon.eval.voice_judges import SAMPLING_RATE, PocketsphinxRecogniser

        self.recogniser, self.rates = PocketsphinxRecogniser(), (sampling_rate, SAMPLING_RATE)
        self.name = self.recogniser.name

    def prepare(self, waveform: np.ndarray) -> Mapping:
        source, target = self.rates
        return {"waveform": waveform if source == target else soxr.resample(waveform, source, target, quality="HQ")}

    def run(self, inputs: Mapping) -> str:
        return str(self.recogniser(inputs["waveform"])["text"])

    def transcribe(self, waveform: np.ndarray) -> str:
        return self.run(self.prepare(waveform))


def load_contestant(kind: str, checkpoint: str | Path) -> Contestant:
    """Load a contestant.

    Args:
        kind: of `KINDS`; a peer gets random weights and the checkpoint's size and processor.
        checkpoint: folder of a CTC model with its processor, exported or not.
    """
    processor = AutoProcessor.from_pretrained(checkpoint, trust_remote_code=True)
    if kind == CHECKPOINT:
        return CTCContestant(AutoModelForCTC.from_pretrained(checkpoint, trust_remote_code=True).eval(), processor)
    extractor = processor.feature_extractor
    if kind == POCKETSPHINX:
        return PocketsphinxContestant(extractor.sampling_rate)
    config = AutoConfig.from_pretrained(checkpoint, trust_remote_code=True)
    torch.manual_seed(0)
    if kind == "Wav2Vec2ConformerForCTC":
        model = PEERS[kind](config, frame_samples=config.subsampling_factor * extractor.hop_length)
    else:
        model = PEERS[kind](config)
    return CTCContestant(model.eval(), processor)
