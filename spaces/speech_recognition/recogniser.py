"""Loads a checkpoint with the Auto classes and transcribes with it."""

import copy
import inspect
import itertools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch
from checkpoints import CheckpointError
from recordings import Recording
from transformers import AutoModelForCTC, AutoProcessor

LONGEST_LIVE_CHUNK = 0.5  # seconds; a listener to live text hardly notices less
NUM_BEAMS = 16
DECIBELS_PER_LOG = 10 / math.log(10)  # log-mel features are natural logarithms of power


@dataclass(frozen=True)
class Emission:
    """A symbol that the model wrote.

    Args:
        symbol: The character; "|" between words.
        seconds: Middle of the frame in which it was surest.
        probability: Its posterior in that frame.
    """

    symbol: str
    seconds: float
    probability: float


@dataclass(frozen=True)
class Transcription:
    """Everything that the page shows of one recording.

    Args:
        text: The transcript; empty where no word was recognised.
        words: `{"word", "start_seconds", "end_seconds", "confidence"}` each, in order.
        emissions: The symbols that the sound alone says, in order.
        symbol_probabilities: (frames,), the probability of any symbol, which is 1 minus that of the CTC blank.
        frame_seconds: Seconds from one of these frames to the next.
        log_mel: (feature frames, mel bands) in dB, before any normalisation.
        processing_seconds: Time that features, model and decoding took.
        decoding: How the transcript was chosen, in words.
    """

    text: str
    words: list[dict]
    emissions: list[Emission]
    symbol_probabilities: np.ndarray
    frame_seconds: float
    log_mel: np.ndarray
    processing_seconds: float
    decoding: str = "the likeliest symbol of every moment"


class Recogniser:
    """A speech recogniser with its processor.

    Args:
        folder: Checkpoint folder, exported or not. The code in it is run.

    Raises:
        CheckpointError: It does not load, or is no recogniser of this kind.
    """

    def __init__(self, folder: Path):
        # Code of the checkpoint runs here and may raise anything.
        try:
            self.processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
            model = AutoModelForCTC.from_pretrained(folder, trust_remote_code=True)
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            raise CheckpointError(f"The checkpoint {folder} does not load: {type(error).__name__}: {reason}") from error
        if not hasattr(self.processor, "decode_logits"):
            raise CheckpointError(f"The checkpoint {folder} gives no word timings; choose one trained with Antiphon.")
        self.folder = folder
        self.model = model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
        # An exported model stays on the CPU.
        self.device = self.model.device.type

    @property
    def sampling_rate(self) -> int:
        """Rate in Hz of the audio that the model expects."""
        return self.processor.feature_extractor.sampling_rate

    @property
    def num_parameters(self) -> int:
        """Number of weights."""
        return self.model.num_parameters()

    def open_stream(self):
        """Starts a stream of audio, with `push` and `finish`.

        Raises:
            ValueError: The checkpoint needs to hear what comes later.
        """
        if not (hasattr(self.processor, "stream") and hasattr(self.model, "stream")):
            raise ValueError("it was published before streams existed.")
        return self.processor.stream(self.live_model)

    @cached_property
    def live_model(self):
        """The model itself where it has chunks; one that trained with several lengths is loaded again with one."""
        config = self.model.config
        lengths = [length for length in getattr(config, "training_chunk_frames", None) or () if length]
        if getattr(config, "chunk_frames", None) is not None or not lengths:
            return self.model
        fitting = [length for length in lengths if length * self.processor.frame_seconds <= LONGEST_LIVE_CHUNK]
        chunk_frames = max(fitting) if fitting else min(lengths)
        model = AutoModelForCTC.from_pretrained(self.folder, trust_remote_code=True, chunk_frames=chunk_frames)
        return model.eval().to(self.device)

    @cached_property
    def why_not_live(self) -> str | None:
        """Why there is no live text with this checkpoint; None where there is."""
        try:
            self.open_stream()
        except ValueError as error:
            return f"No live text with this checkpoint, which hears the whole before it writes: {error}"
        return None

    @property
    def has_beam_search(self) -> bool:
        """Whether the checkpoint can favour expected words; older ones decode greedily only."""
        return "num_beams" in inspect.signature(self.processor.decode_logits).parameters

    @property
    def has_language_model(self) -> bool:
        """Whether the checkpoint brings a language model."""
        return self.has_beam_search and self.processor.language_model is not None

    def choose_decoding(self, use_language_model: bool, hot_words: Sequence[str]) -> tuple[dict, str]:
        """Options of `decode_logits` and what they do, in words; what the checkpoint cannot do is left out.

        Args:
            use_language_model: Whether the checkpoint's language model has a say.
            hot_words: Words and phrases to favour.
        """
        use_language_model = use_language_model and self.has_language_model
        hot_words = list(hot_words) if self.has_beam_search else []
        if not (use_language_model or hot_words):
            return {}, Transcription.decoding
        options = {"num_beams": NUM_BEAMS, "hot_words": hot_words}
        parts = ["the sound"]
        if use_language_model:
            parts.append(f"a {self.processor.language_model.level} language model")
        else:
            options |= {"language_model_weight": 0.0, "length_bonus": 0.0}
        if hot_words:
            parts.append("the words you expect")
        return options, f"{NUM_BEAMS} transcripts at a time, weighing {', '.join(parts)}"

    @torch.inference_mode()
    def transcribe(
        self, recording: Recording, use_language_model: bool = False, hot_words: Sequence[str] = ()
    ) -> Transcription:
        """Recognises one recording at `sampling_rate`; see `choose_decoding`."""
        options, decoding = self.choose_decoding(use_language_model, hot_words)
        start = time.perf_counter()
        inputs = self.processor(audio=recording.waveform, sampling_rate=recording.sampling_rate)
        outputs = self.model(**inputs.to(self.device))
        logits = outputs.logits.float().cpu()
        [decoded] = self.processor.decode_logits(logits, outputs.attention_mask.cpu(), **options)
        processing_seconds = time.perf_counter() - start
        posteriors = logits[0].softmax(-1).numpy()
        blank = self.model.config.pad_token_id
        return Transcription(
            text=decoded["text"],
            words=decoded["words"],
            emissions=self._emissions(posteriors, blank),
            symbol_probabilities=1 - posteriors[:, blank],
            frame_seconds=self.processor.frame_seconds,
            log_mel=self._log_mel(recording),
            processing_seconds=processing_seconds,
            decoding=decoding,
        )

    def _emissions(self, posteriors: np.ndarray, blank: int) -> list[Emission]:
        """The path of the greedy decoder: of each run of one symbol its surest frame."""
        path = posteriors.argmax(-1)
        emissions = []
        for symbol, run in itertools.groupby(range(len(path)), key=lambda frame: path[frame]):
            if symbol == blank:
                continue
            surest = max(run, key=lambda frame: posteriors[frame, symbol])
            emissions.append(
                Emission(
                    symbol=self.processor.tokenizer.convert_ids_to_tokens(int(symbol)),
                    seconds=surest * self.processor.frame_seconds,
                    probability=float(posteriors[surest, symbol]),
                )
            )
        return emissions

    def _log_mel(self, recording: Recording) -> np.ndarray:
        """The features as power, since those normalised for the model hide how loud a band is."""
        extractor = copy.copy(self.processor.feature_extractor)
        extractor.normalize = "none"
        features = extractor(recording.waveform, sampling_rate=recording.sampling_rate, return_tensors="np")
        return features["input_features"][0] * DECIBELS_PER_LOG


@lru_cache(maxsize=2)
def load_recogniser(folder: Path) -> Recogniser:
    """The recogniser of a folder; the two used last stay in memory."""
    return Recogniser(folder)
