"""What judges and signal measures say of one converted recording, as columns of an item table.

Every measure has a column that counts (1 or 0), so that what a recording cannot be measured on adds nothing to either
sum; see `METRIC_COLUMNS` of `voice_scores`. Errors of words are counted there, from the transcripts.
"""

import os
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from antiphon.eval.metric_loading import load_metric
from antiphon.eval.voice_analysis import (
    VoiceAnalysis,
    analyse_voice,
    mel_cepstra,
    synthesise_voice,
    track_f0,
    warp_voice,
)
from antiphon.eval.voice_items import Conversion
from antiphon.eval.voice_judges import SAMPLING_RATE, Judge, ask


@dataclass(frozen=True)
class Judges:
    """Who judges, and where the answers are kept.

    Args:
        speaker: decides on similarity.
        recogniser: decides on words.
        own_speaker, second_recogniser, quality: further opinions, None to go without.
        cache: folder, as `cached_arrays` takes it.
    """

    speaker: Judge
    recogniser: Judge
    own_speaker: Judge | None = None
    second_recogniser: Judge | None = None
    quality: Judge | None = None
    cache: str | os.PathLike | None = None

    @property
    def names(self) -> dict[str, str]:
        """Name and version of each, by its role."""
        roles = ("speaker", "recogniser", "own_speaker", "second_recogniser", "quality")
        return {role: getattr(self, role).name for role in roles if getattr(self, role)}

    def embedding(self, judge: Judge, waveform: np.ndarray) -> np.ndarray:
        """Embedding of one recording."""
        return ask(judge, waveform, self.cache)["embedding"]

    def text(self, judge: Judge, waveform: np.ndarray) -> str:
        """Transcript of one recording."""
        return str(ask(judge, waveform, self.cache)["text"])


class ConversionJudge:
    """Judges what several systems made of one conversion; what they share is computed once.

    Args:
        conversion: what was to be made.
        judges: who judges.
    """

    def __init__(self, conversion: Conversion, judges: Judges):
        self.conversion, self.judges = conversion, judges
        self._voices: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def measure(self, waveform: np.ndarray | None, *, is_target: bool = False) -> dict:
        """Measure one output.

        Args:
            waveform: (samples,) float32; None where the system had nothing to work on.
            is_target: whether this is a recording of the target, which has the target's melody and, without a parallel
                recording, other words.

        Returns:
            The columns.
        """
        same_words = not is_target or self.conversion.parallel is not None
        columns = self._similarity("", self.judges.speaker, waveform)
        if self.judges.own_speaker:
            columns |= self._similarity("own_", self.judges.own_speaker, waveform)
        heard = waveform if same_words and self.conversion.facts["reference"] else None
        columns |= self._words("", self.judges.recogniser, heard)
        if self.judges.second_recogniser:
            columns |= self._words("second_", self.judges.second_recogniser, heard)
        if self.judges.quality:
            rated = waveform is not None
            score = float(ask(self.judges.quality, waveform, self.judges.cache)["ovrl"]) if rated else 0.0
            columns |= {"dnsmos": score, "rated": int(rated)}
        columns |= self._contour(None if is_target else waveform)
        return columns | self._parallel(waveform)

    def _similarity(self, prefix: str, judge: Judge, waveform: np.ndarray | None) -> dict:
        if waveform is None:
            similarity = source_similarity = 0.0
        else:
            embedding = self.judges.embedding(judge, waveform)
            target, source = self._embeddings(judge)
            similarity, source_similarity = _cosine(embedding, target), _cosine(embedding, source)
        return {
            f"{prefix}similarity": similarity,
            f"{prefix}source_similarity": source_similarity,
            f"{prefix}judged": int(waveform is not None),
        }

    def _embeddings(self, judge: Judge) -> tuple[np.ndarray, np.ndarray]:
        """Of the target, the mean over its recordings, and of the source."""
        if judge.name not in self._voices:
            own = [self.judges.embedding(judge, voice) for voice in self.conversion.voice]
            target = np.mean([embedding / max(np.linalg.norm(embedding), 1e-9) for embedding in own], axis=0)
            self._voices[judge.name] = target, self.judges.embedding(judge, self.conversion.source)
        return self._voices[judge.name]

    def _words(self, prefix: str, judge: Judge, waveform: np.ndarray | None) -> dict:
        """The transcript as it was heard; counts are made by `voice_scores`, for which None is no item."""
        return {f"{prefix}hypothesis": None if waveform is None else self.judges.text(judge, waveform)}

    @cached_property
    def _source_f0(self) -> np.ndarray:
        return track_f0(self.conversion.source, SAMPLING_RATE)

    def _contour(self, waveform: np.ndarray | None) -> dict:
        """Whether the source's melody was kept."""
        if waveform is None:
            return {"f0_correlation": 0.0, "correlated": 0, "voicing_error": 0.0, "followed": 0}
        f0 = self._source_f0 if waveform is self.conversion.source else track_f0(waveform, SAMPLING_RATE)
        measured = _metric("pitch_errors").compute(predictions=[f0], references=[self._source_f0])
        correlated = not np.isnan(measured["f0_correlation"])
        return {
            "f0_correlation": measured["f0_correlation"] if correlated else 0.0,
            "correlated": int(correlated),
            "voicing_error": measured["voicing_error"],
            "followed": 1,
        }

    @cached_property
    def _parallel_analysis(self) -> VoiceAnalysis:
        return analyse_voice(self.conversion.parallel, SAMPLING_RATE)

    def _parallel(self, waveform: np.ndarray | None) -> dict:
        """Distances from the target's own utterance of the same words, along the best alignment."""
        if waveform is None or self.conversion.parallel is None:
            return dict.fromkeys(("mcd", "f0_rmse", "stoi", "pesq"), 0.0) | dict.fromkeys(
                ("parallel", "met", "aligned"), 0
            )
        analysis, parallel = analyse_voice(waveform, SAMPLING_RATE), self._parallel_analysis
        distortion = _metric("mel_cepstral_distortion").compute(
            predictions=[mel_cepstra(analysis)], references=[mel_cepstra(parallel)]
        )
        path = np.array(distortion["paths"][0])
        pitch = _metric("pitch_errors").compute(
            predictions=[analysis.f0[path[:, 0]]], references=[parallel.f0[path[:, 1]]]
        )
        met = not np.isnan(pitch["f0_rmse"])
        return {
            "mcd": distortion["mcd"],
            "parallel": 1,
            "f0_rmse": pitch["f0_rmse"] if met else 0.0,
            "met": int(met),
            **_waveform_quality(waveform, synthesise_voice(warp_voice(parallel, in_time(path)), len(waveform))),
        }


def in_time(path: np.ndarray) -> np.ndarray:
    """Return the reference frame that goes with each frame of the prediction, (frames,): the last one paired with it.

    Args:
        path: (steps, 2) frames of prediction and reference.
    """
    frames = np.empty(path[-1, 0] + 1, dtype=int)
    frames[path[:, 0]] = path[:, 1]
    return frames


def _waveform_quality(waveform: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """PESQ and STOI against the parallel utterance in the output's timing; not counted where PESQ finds no speech."""
    options = {"predictions": [waveform], "references": [reference], "sampling_rate": SAMPLING_RATE}
    try:
        measured = _metric("waveform_quality").compute(**options)
    except ValueError:
        return {"stoi": 0.0, "pesq": 0.0, "aligned": 0}
    return {"stoi": measured["stoi"], "pesq": measured["pesq"], "aligned": 1}


def _cosine(embedding: np.ndarray, other: np.ndarray) -> float:
    """Similarity of two embeddings; 0 where either has no direction, as that of silence."""
    if not (np.linalg.norm(embedding) > 0 and np.linalg.norm(other) > 0):
        return 0.0
    return _metric("speaker_similarity").compute(predictions=[embedding], references=[other])["similarity"]


@cache
def _metric(name: str):
    return load_metric(name)
