"""What judges converted voices: whose voice it is, what it says, how it sounds. No model here is trained against them.

A judge has a `name` with its version, for the conditions of a row, may name the `packages` that its answers depend on,
and turns a waveform at 16 kHz into arrays by name: a speaker judge into `embedding`, a recogniser into `text`, a
quality judge into mean opinion scores.
"""

import hashlib
import importlib.metadata
import os
import string
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from transformers import AutoModel, AutoModelForCTC, AutoProcessor

from antiphon.eval.caching import cached_arrays
from antiphon.eval.conditions import file_sha256, records_sha256
from antiphon.eval.judge_packages import import_judge
from antiphon.processing.feature_extraction_log_mel import LogMelFeatureExtractor
from antiphon.processing.tokenization_character import make_normalizer

SAMPLING_RATE = 16_000
SILENT_PEAK = 1e-4  # below it there is nothing to judge
RECOGNISED_DBFS, DITHER_DBFS = -27.0, -75.0
TEXT_ALPHABET = string.ascii_lowercase + string.digits + "'"
TEXT_NORMALIZER = f"lower case, {TEXT_ALPHABET} and single spaces"


class Judge(Protocol):
    """Turns a waveform, (samples,) float32 at 16 kHz, into arrays by name."""

    name: str

    def __call__(self, waveform: np.ndarray) -> Mapping[str, np.ndarray]:
        """Judge one recording."""


def ask(judge: Judge, waveform: np.ndarray, cache: str | os.PathLike | None = None) -> dict[str, np.ndarray]:
    """Return a judge's answer, from the cache where it heard the same samples before.

    Args:
        cache: folder, as `cached_arrays` takes it.
    """
    digest = hashlib.sha256(np.ascontiguousarray(waveform, dtype=np.float32).tobytes()).hexdigest()
    return cached_arrays(
        "voice_judges",
        [judge.name, digest],
        lambda: judge(waveform),
        modules=[sys.modules[type(judge).__module__]],
        packages=getattr(judge, "packages", ()),
        cache=cache,
    )


def is_silent(waveform: np.ndarray) -> bool:
    """Whether there is nothing to judge."""
    return bool(np.abs(waveform).max(initial=0.0) < SILENT_PEAK)


class ResemblyzerJudge:
    """The speaker encoder of Resemblyzer: 256 numbers of unit norm, zeros for silence.

    Source: Wan et al., "Generalized End-to-End Loss for Speaker Verification", 2018.
    """

    packages = ("resemblyzer", "librosa", "numpy", "torch", "webrtcvad")

    def __init__(self):
        package = import_judge("resemblyzer")
        self.name = f"resemblyzer {importlib.metadata.version('resemblyzer')}"
        self._prepare = package.preprocess_wav
        self._encoder = package.VoiceEncoder("cpu", verbose=False)

    def __call__(self, waveform: np.ndarray) -> dict[str, np.ndarray]:
        """Embed the parts with speech; all of it where its detector finds none."""
        if is_silent(waveform):
            return {"embedding": np.zeros(256, np.float32)}
        speech = self._prepare(waveform, source_sr=SAMPLING_RATE)
        return {"embedding": self._encoder.embed_utterance(speech if len(speech) else waveform)}


class SpeakerEncoderJudge:
    """Our own speaker encoder, a checkpoint of `SpeakerEncoderModel`.

    Args:
        checkpoint: folder.
    """

    packages = ("antiphon", "numpy", "torch", "transformers")

    def __init__(self, checkpoint: str | Path):
        self.name = checkpoint_name(checkpoint)
        self.model = AutoModel.from_pretrained(checkpoint, trust_remote_code=True).eval()
        self._extractor = LogMelFeatureExtractor(win_length=640, n_fft=640, mel_floor=1e-6, normalize="none")

    @torch.inference_mode()
    def __call__(self, waveform: np.ndarray) -> dict[str, np.ndarray]:
        """Embed all of the recording."""
        features = self._extractor(waveform, sampling_rate=SAMPLING_RATE, return_tensors="pt")["input_features"]
        return {"embedding": self.model(features).speaker_embeddings[0].numpy()}


class PocketsphinxRecogniser:
    """Pocketsphinx with its own English model: independent of everything here, and weak.

    It takes the logarithm of the power of each frame, and digital silence, which vocoders make and rooms do not, throws
    its features off: 345 words through our vocoder had 47 % errors, and 32 % with a noise that nobody hears, as many as
    the recordings themselves. So everything is brought to one level and gets that noise.
    """

    packages = ("numpy", "pocketsphinx")

    def __init__(self):
        package = import_judge("pocketsphinx")
        version = importlib.metadata.version("pocketsphinx")
        self.name = (
            f"pocketsphinx {version} en-us, batch mean, features begun anew for each recording, at "
            f"{RECOGNISED_DBFS:g} dBFS with white noise at {DITHER_DBFS:g}"
        )
        self._decoder = package.Decoder(samprate=SAMPLING_RATE, loglevel="FATAL", cmn="batch")

    def __call__(self, waveform: np.ndarray) -> dict[str, np.ndarray]:
        """Recognise one recording."""
        samples = np.asarray(waveform, np.float64)
        samples = samples * 10 ** (RECOGNISED_DBFS / 20) / max(np.sqrt(np.mean(samples**2)), SILENT_PEAK)
        samples = samples + 10 ** (DITHER_DBFS / 20) * np.random.default_rng(0).standard_normal(len(samples))
        samples = np.round(np.clip(samples, -1, 1) * 32767).astype(np.int16)
        # Its normalisation carries what it heard over to the next recording, even with the mean of a batch.
        self._decoder.reinit_feat()
        self._decoder.start_utt()
        self._decoder.process_raw(samples.tobytes(), full_utt=True)
        self._decoder.end_utt()
        hypothesis = self._decoder.hyp()
        return {"text": np.array(hypothesis.hypstr if hypothesis else "")}


class CheckpointRecogniser:
    """A recogniser trained here, greedily decoded.

    Args:
        checkpoint: folder of a CTC model with its processor.
    """

    packages = ("antiphon", "numpy", "tokenizers", "torch", "transformers")

    def __init__(self, checkpoint: str | Path):
        self.name = checkpoint_name(checkpoint)
        self._processor = AutoProcessor.from_pretrained(checkpoint, trust_remote_code=True)
        self.model = AutoModelForCTC.from_pretrained(checkpoint, trust_remote_code=True).eval()

    @torch.inference_mode()
    def __call__(self, waveform: np.ndarray) -> dict[str, np.ndarray]:
        """Recognise one recording."""
        output = self.model(**self._processor(audio=waveform, sampling_rate=SAMPLING_RATE, return_tensors="pt"))
        return {"text": np.array(self._processor.decode_logits(output.logits, output.attention_mask)[0]["text"])}


class DnsmosJudge:
    """Microsoft's DNSMOS P.835 by speechmos: predicted opinion of speech, background and both, 1 to 5.

    Source: Reddy, Gopal & Cutler, "DNSMOS P.835: A Non-Intrusive Perceptual Objective Speech Quality Metric to Evaluate
    Noise Suppressors", 2022.
    """

    packages = ("librosa", "numpy", "onnxruntime", "speechmos")

    def __init__(self):
        self._dnsmos = import_judge("speechmos.dnsmos")
        self.name = f"dnsmos of speechmos {importlib.metadata.version('speechmos')}"

    def __call__(self, waveform: np.ndarray) -> dict[str, np.ndarray]:
        """Rate one recording within full scale."""
        scores = self._dnsmos.run(waveform, sr=SAMPLING_RATE)
        return {name: np.array(scores[f"{name}_mos"]) for name in ("ovrl", "sig", "bak")}


def checkpoint_name(checkpoint: str | Path) -> str:
    """Return the name of a checkpoint folder with a digest of all its files: code and settings answer too."""
    path = Path(checkpoint).resolve()
    folder = path.parent.name if path.name == "checkpoint" else path.name
    files = (file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    digest = records_sha256((file.relative_to(path).as_posix(), file_sha256(file)) for file in files)
    return f"{folder} ({digest[:12]})"


def normalize_text(text: str) -> str:
    """Return a transcript as it is compared: `TEXT_NORMALIZER`."""
    return make_normalizer(TEXT_ALPHABET).normalize_str(text)
