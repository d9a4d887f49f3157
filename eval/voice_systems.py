"""Ways to turn a voice into another that need no trained converter, or only its parts: what a converter must beat.

Each has `convert(source, reference)`: two waveforms, (samples,) float32 at 16 kHz, to one as long as the source.
"""

from dataclasses import replace
from typing import Protocol

import numpy as np

from antiphon.eval.voice_analysis import VoiceAnalysis, analyse_voice, synthesise_voice, track_f0

SAMPLING_RATE = 16_000
SPEECH_RANGE_DB = 40.0  # frames further below the loudest one say nothing of a voice
SMALLEST_POWER = 1e-16


class VoiceSystem(Protocol):
    """Converts a voice."""

    def convert(self, source: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """Say what the source says in the voice of the reference."""


class UnchangedInput:
    """The source as it is."""

    def convert(self, source: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """Return the source."""
        return source


class WorldPitchShift:
    """The source's pitch times the ratio of the median pitches; spectrum and aperiodicity kept."""

    def convert(self, source: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """Convert through WORLD."""
        return synthesise_voice(shift_pitch(analyse_voice(source, SAMPLING_RATE), reference), len(source))


class WorldPitchAndEnvelope:
    """The pitch moved as by `WorldPitchShift`, and the mean log spectrum of speech made that of the reference."""

    def convert(self, source: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """Convert through WORLD."""
        analysis = shift_pitch(analyse_voice(source, SAMPLING_RATE), reference)
        difference = mean_speech_spectrum(analyse_voice(reference, SAMPLING_RATE)) - mean_speech_spectrum(analysis)
        difference -= difference.mean()  # the source's level stays
        return synthesise_voice(replace(analysis, envelope=analysis.envelope * np.exp(difference)), len(source))


def shift_pitch(analysis: VoiceAnalysis, reference: np.ndarray) -> VoiceAnalysis:
    """Move a pitch to the median of the reference; unchanged where nothing is voiced in either."""
    voiced, aimed = (f0[f0 > 0] for f0 in (analysis.f0, track_f0(reference, SAMPLING_RATE)))
    if not len(voiced) or not len(aimed):
        return analysis
    return replace(analysis, f0=analysis.f0 * (np.median(aimed) / np.median(voiced)))


def mean_speech_spectrum(analysis: VoiceAnalysis) -> np.ndarray:
    """Mean log power spectrum, (bins,), over frames not too far below the loudest."""
    levels = 10 * np.log10(np.maximum(analysis.envelope.mean(axis=1), SMALLEST_POWER))
    speech = levels >= levels.max() - SPEECH_RANGE_DB
    return np.log(np.maximum(analysis.envelope[speech], SMALLEST_POWER)).mean(axis=0)


class GivenRecording:
    """An upper bound: the recording of the target that it is given in place of a reference."""

    def convert(self, source: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """Return the recording, which is not as long as the source."""
        return reference


# By their names in `BASELINES`: what needs no checkpoint.
MODEL_FREE: dict[str, type[VoiceSystem]] = {
    "unchanged_input": UnchangedInput,
    "world_pitch_shift": WorldPitchShift,
    "world_pitch_and_envelope": WorldPitchAndEnvelope,
    "target_recording": GivenRecording,
}
