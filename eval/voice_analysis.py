"""WORLD's view of a voice: fundamental frequency, spectral envelope, aperiodicity, and the way back to sound.

Source: Morise, Yokomori & Ozawa, "WORLD: A Vocoder-Based High-Quality Speech Synthesis System", 2016, through pyworld.
The pitch is DIO's, refined by StoneMask, between 60 and 500 Hz, which is twenty times as fast as Harvest.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.fft import dct
from transformers.audio_utils import hertz_to_mel, mel_to_hertz

from antiphon.eval.judge_packages import import_judge

FRAME_SECONDS = 0.005
MIN_HZ, MAX_HZ = 60.0, 500.0
NUM_CEPSTRA = 24
NUM_MEL_POINTS = 257
SMALLEST_POWER = 1e-16  # digital silence has no logarithm


@dataclass(frozen=True)
class VoiceAnalysis:
    """A recording as WORLD describes it, with a frame every 5 ms.

    Args:
        f0: (frames,) Hz, 0 where unvoiced.
        envelope: (frames, bins) power.
        aperiodicity: (frames, bins) share of noise, 0 to 1.
        sampling_rate: Hz.
    """

    f0: np.ndarray
    envelope: np.ndarray
    aperiodicity: np.ndarray
    sampling_rate: int


def analyse_voice(waveform: np.ndarray, sampling_rate: int) -> VoiceAnalysis:
    """Analyse a recording.

    Args:
        waveform: (samples,).
        sampling_rate: Hz.

    Raises:
        MissingJudgeError: pyworld is not installed.
    """
    world = _world()
    samples = np.ascontiguousarray(waveform, dtype=np.float64)
    f0, times = _f0(world, samples, sampling_rate)
    envelope = world.cheaptrick(samples, f0, times, sampling_rate, f0_floor=MIN_HZ)
    aperiodicity = world.d4c(samples, f0, times, sampling_rate, fft_size=2 * (envelope.shape[1] - 1))
    return VoiceAnalysis(f0, envelope, aperiodicity, sampling_rate)


def track_f0(waveform: np.ndarray, sampling_rate: int) -> np.ndarray:
    """Return the fundamental frequency in Hz every 5 ms, (frames,), 0 where unvoiced."""
    f0, _ = _f0(_world(), np.ascontiguousarray(waveform, dtype=np.float64), sampling_rate)
    return f0


def synthesise_voice(analysis: VoiceAnalysis, num_samples: int) -> np.ndarray:
    """Turn an analysis into sound, (num_samples,) float32."""
    waveform = _world().synthesize(
        analysis.f0, analysis.envelope, analysis.aperiodicity, analysis.sampling_rate, 1000 * FRAME_SECONDS
    )
    waveform = np.pad(waveform, (0, max(0, num_samples - len(waveform))))  # WORLD ends on a whole frame
    return waveform[:num_samples].astype(np.float32)


def warp_voice(analysis: VoiceAnalysis, frames: Sequence[int]) -> VoiceAnalysis:
    """Return the analysis at the given frames, in their order, so that its timing becomes that of another utterance."""
    return replace(
        analysis,
        f0=analysis.f0[frames],
        envelope=analysis.envelope[frames],
        aperiodicity=analysis.aperiodicity[frames],
    )


def mel_cepstra(analysis: VoiceAnalysis) -> np.ndarray:
    """Return c_1 to c_24 of each frame, (frames, 24), where the log amplitude is c_0 + sum of c_m cos(m w).

    w runs from 0 to pi in equal steps of the (HTK) mel scale from 0 Hz to half the sampling rate, at which the envelope
    is read by linear interpolation of its logarithm.
    """
    highest = analysis.sampling_rate / 2
    mels = np.linspace(0.0, hertz_to_mel(highest, mel_scale="htk"), NUM_MEL_POINTS)
    positions = mel_to_hertz(mels, mel_scale="htk") / highest * (analysis.envelope.shape[1] - 1)
    below = np.minimum(positions.astype(int), analysis.envelope.shape[1] - 2)
    share = positions - below
    log_amplitude = 0.5 * np.log(np.maximum(analysis.envelope, SMALLEST_POWER))
    warped = (1 - share) * log_amplitude[:, below] + share * log_amplitude[:, below + 1]
    return dct(warped, type=1, axis=1)[:, 1 : NUM_CEPSTRA + 1] / (NUM_MEL_POINTS - 1)


def _f0(world, samples: np.ndarray, sampling_rate: int) -> tuple[np.ndarray, np.ndarray]:
    f0, times = world.dio(samples, sampling_rate, MIN_HZ, MAX_HZ, frame_period=1000 * FRAME_SECONDS)
    return world.stonemask(samples, f0, times, sampling_rate), times


def _world():
    return import_judge("pyworld")
