"""What judges and signal measures say of one converted recording, as columns of an item table.

Every measure has a column that counts (1 or 0), so that what a conversion cannot be measured on adds nothing to either
sum; see `METRIC_COLUMNS` of `voice_statistics`. Source and recordings of the target decide on that, never the output: a
silent one gets the lowest score there is. Two measures have none and leave out what they cannot be taken on:
`source_similarity`, where silence, and `f0_rmse`, where an output without any voiced frame in common has no value.
Errors of words are counted in `voice_counts`, from the transcripts.
"""

from functools import cache, cached_property

import numpy as np

from antiphon.eval.judge_packages import import_judge
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
from antiphon.eval.voice_judges import SAMPLING_RATE, Judge, ask, is_silent
from antiphon.eval.voice_panel import Judges

LOWEST_OPINION = 1.0  # of DNSMOS and of PESQ
LOWEST_QUALITY = {"stoi": 0.0, "pesq": LOWEST_OPINION}


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
            waveform: (samples,) float32 within full scale, zeros where the system failed; None where an upper bound
                has no recording of the target to work on, which alone is measured nowhere.
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
            columns |= self._opinion(self.judges.quality, waveform)
        columns |= self._contour(None if is_target else waveform)
        columns |= self._parallel(waveform)
        return columns | {"silent": int(waveform is not None and is_silent(waveform))}

    def _similarity(self, prefix: str, judge: Judge, waveform: np.ndarray | None) -> dict:
        held_out = not self.conversion.facts["voice_is_reference"]
        audible = waveform is not None and not is_silent(waveform)
        similarity = source_similarity = 0.0
        if audible:
            embedding = self.judges.embedding(judge, waveform)
            target, source = self._embeddings(judge)
            similarity, source_similarity = _cosine(embedding, target), _cosine(embedding, source)
        return {
            f"{prefix}similarity": similarity if held_out else 0.0,
            f"{prefix}judged": int(waveform is not None and held_out),
            f"{prefix}reference_similarity": 0.0 if held_out else similarity,
            f"{prefix}judged_by_reference": int(waveform is not None and not held_out),
            f"{prefix}source_similarity": source_similarity,
            f"{prefix}compared": int(audible),
        }

    def _embeddings(self, judge: Judge) -> tuple[np.ndarray, np.ndarray]:
        """Of the target, the mean over its recordings, and of the source."""
        if judge.name not in self._voices:
            own = [self.judges.embedding(judge, voice) for voice in self.conversion.voice]
            target = np.mean([embedding / max(np.linalg.norm(embedding), 1e-9) for embedding in own], axis=0)
            self._voices[judge.name] = target, self.judges.embedding(judge, self.conversion.source)
        return self._voices[judge.name]

    def _words(self, prefix: str, judge: Judge, waveform: np.ndarray | None) -> dict:
        """The transcript as it was heard; counts are made by `voice_counts`, for which None is no item."""
        if waveform is None:
            return {f"{prefix}hypothesis": None}
        return {f"{prefix}hypothesis": "" if is_silent(waveform) else self.judges.text(judge, waveform)}

    def _opinion(self, judge: Judge, waveform: np.ndarray | None) -> dict:
        if waveform is None:
            return {"dnsmos": 0.0, "rated": 0}
        silent = is_silent(waveform)
        opinion = LOWEST_OPINION if silent else float(ask(judge, waveform, self.judges.cache)["ovrl"])
        return {"dnsmos": opinion, "rated": 1}

    @cached_property
    def _source_f0(self) -> np.ndarray:
        return track_f0(self.conversion.source, SAMPLING_RATE)

    @cached_property
    def _source_has_melody(self) -> bool:
        """Whether a correlation with the source's pitch is defined."""
        f0 = self._source_f0
        return not np.isnan(_metric("pitch_errors").compute(predictions=[f0], references=[f0])["f0_correlation"])

    def _contour(self, waveform: np.ndarray | None) -> dict:
        """Whether the source's melody was kept."""
        if waveform is None:
            return {"f0_correlation": 0.0, "correlated": 0, "voicing_error": 0.0, "followed": 0}
        f0 = self._source_f0 if waveform is self.conversion.source else track_f0(waveform, SAMPLING_RATE)
        measured = _metric("pitch_errors").compute(predictions=[f0], references=[self._source_f0])
        correlation = measured["f0_correlation"]
        return {
            "f0_correlation": 0.0 if np.isnan(correlation) or not self._source_has_melody else correlation,
            "correlated": int(self._source_has_melody),
            "voicing_error": 1.0 if is_silent(waveform) else measured["voicing_error"],
            "followed": 1,
        }

    @cached_property
    def _parallel_analysis(self) -> VoiceAnalysis:
        return analyse_voice(self.conversion.parallel, SAMPLING_RATE)

    @cached_property
    def _parallel_is_speech(self) -> bool:
        """Whether PESQ finds speech in the parallel recording."""
        return waveform_quality(self.conversion.parallel, self.conversion.parallel) is not None

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
            **self._quality(waveform, path),
        }

    def _quality(self, waveform: np.ndarray, path: np.ndarray) -> dict[str, float]:
        """PESQ and STOI against the parallel utterance in the output's timing."""
        if not self._parallel_is_speech:
            return {**LOWEST_QUALITY, "aligned": 0}
        reference = synthesise_voice(warp_voice(self._parallel_analysis, in_time(path)), len(waveform))
        return {**(waveform_quality(waveform, reference) or LOWEST_QUALITY), "aligned": 1}


def in_time(path: np.ndarray) -> np.ndarray:
    """Return the reference frame that goes with each frame of the prediction, (frames,): the last one paired with it.

    Args:
        path: (steps, 2) frames of prediction and reference.
    """
    frames = np.empty(path[-1, 0] + 1, dtype=int)
    frames[path[:, 0]] = path[:, 1]
    return frames


def waveform_quality(waveform: np.ndarray, reference: np.ndarray) -> dict[str, float] | None:
    """PESQ and STOI against a recording in the same time, both (samples,); None where either has no speech for PESQ."""
    if is_silent(waveform) or is_silent(reference):
        return None
    package = import_judge("pesq")
    try:
        measured = _metric("waveform_quality").compute(
            predictions=[waveform], references=[reference], sampling_rate=SAMPLING_RATE
        )
    except ValueError as error:
        if isinstance(error.__cause__, (package.NoUtterancesError, package.BufferTooShortError)):
            return None
        raise
    return {name: measured[name] for name in LOWEST_QUALITY}


def _cosine(embedding: np.ndarray, other: np.ndarray) -> float:
    """Similarity of two embeddings; 0 where either has no direction, as that of silence."""
    if not (np.linalg.norm(embedding) > 0 and np.linalg.norm(other) > 0):
        return 0.0
    return _metric("speaker_similarity").compute(predictions=[embedding], references=[other])["similarity"]


@cache
def _metric(name: str):
    return load_metric(name)
