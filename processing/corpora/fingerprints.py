"""Acoustic fingerprints: find copies of a recording among many, whatever was done to their encoding, gain or ends.

Landmarks propose, waveforms decide. A landmark is a pair of nearby peaks of the spectrogram; an index of them says
which recordings share many of them at one offset. Such a candidate counts as a copy if the two waveforms, laid on each
other at that offset, agree in most frequency bands. Nobody says a word twice with equal waveforms.

Source: Wang, "An industrial-strength audio search algorithm", ISMIR 2003, for landmarks, index and offset voting. There
the votes decide; here the waveforms do, since short clips offer few votes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..audio_io import resample_audio

SAMPLING_RATE = 8_000  # of the comparison; copies at lower rates keep most of this band
_WINDOW, _HOP = 512, 64
_LOWEST_BIN, _HIGHEST_BIN = 6, 240  # 94 to 3,750 Hz
_PEAK_FRAMES, _PEAK_BINS = 2, 4  # a peak is the largest value that many frames and bins around
_PEAK_RANGE = 1e-5  # of the power of the largest: 50 dB
_PAIR_FRAMES, _PAIR_BINS = 24, 24  # farthest second peak of a landmark

_MIN_VOTES = 3
_MIN_SHARE = 0.004  # of the landmarks looked up: long recordings share some with any other by chance
_MAX_QUERIES = 2_000  # landmarks of a recording that are looked up; a long one needs no more to be found
_MAX_CANDIDATES = 5

_BAND_EDGES = (100, 300, 500, 800, 1200, 1700, 2300, 3000, 3800)  # Hz
_ENVELOPE_SAMPLES = 240  # 30 ms, over which loudness is evened out
_ENVELOPE_FLOOR = 0.01  # of the largest power: 20 dB below it, noise is not raised any further
_SHORTEST_OVERLAP = 1_000  # samples: 0.125 s
_SHORT_OVERLAP = 8_000
# Mean agreement of the bands. Different recordings reach 0.70 in 0.4 s and 0.35 in 2 s; copies 0.8 and more.
_SAME_RECORDING, _SAME_SHORT_RECORDING = 0.5, 0.72


@dataclass(frozen=True)
class Landmarks:
    """Landmarks of one recording: (landmarks,) code of each and (landmarks,) frame at which it begins."""

    codes: np.ndarray
    frames: np.ndarray


def comparable(waveform: np.ndarray, sampling_rate: int) -> np.ndarray:
    """Return a waveform, (samples,), at the sampling rate of the comparison."""
    return waveform if sampling_rate == SAMPLING_RATE else resample_audio(waveform, sampling_rate, SAMPLING_RATE)


def find_landmarks(waveform: np.ndarray) -> Landmarks:
    """Find the landmarks of a recording; silence has none.

    Args:
        waveform: (samples,), at `SAMPLING_RATE`.
    """
    frames, bins = _spectral_peaks(waveform)
    # each peak with every later one in reach: peaks are ordered by frame
    last = np.searchsorted(frames, frames + _PAIR_FRAMES, side="right")
    first = np.searchsorted(frames, frames, side="right")
    anchors, targets = _ranges(first, last)
    distances = bins[targets] - bins[anchors]
    near = np.abs(distances) <= _PAIR_BINS
    anchors, targets, distances = anchors[near], targets[near], distances[near] + _PAIR_BINS
    durations = frames[targets] - frames[anchors]
    codes = (bins[anchors] * (2 * _PAIR_BINS + 1) + distances) * (_PAIR_FRAMES + 1) + durations
    return Landmarks(codes.astype(np.int32), frames[anchors].astype(np.int32))


def _spectral_peaks(waveform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frames and bins of the local maxima of the spectrogram, ordered by frame."""
    padded = np.pad(waveform, _WINDOW // 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP]
    spectrum = np.fft.rfft(windows * np.hanning(_WINDOW).astype(np.float32))[:, _LOWEST_BIN:_HIGHEST_BIN]
    power = spectrum.real**2 + spectrum.imag**2
    largest = _running_maximum(_running_maximum(power, _PEAK_FRAMES, 0), _PEAK_BINS, 1)
    return np.nonzero((power == largest) & (power > _PEAK_RANGE * power.max()))


def _running_maximum(values: np.ndarray, reach: int, axis: int) -> np.ndarray:
    """Largest of each value and its neighbours up to `reach` away along an axis."""
    largest = values.copy()
    source, target = np.moveaxis(values, axis, 0), np.moveaxis(largest, axis, 0)
    for shift in range(1, min(reach, len(source) - 1) + 1):
        np.maximum(target[shift:], source[:-shift], out=target[shift:])
        np.maximum(target[:-shift], source[shift:], out=target[:-shift])
    return largest


def _ranges(first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of all ranges first[i]:last[i] in a row, preceded by the i of each."""
    counts = last - first
    owners = np.repeat(np.arange(len(first)), counts)
    return owners, np.arange(counts.sum()) + np.repeat(first - np.cumsum(counts) + counts, counts)


class LandmarkIndex:
    """Finds the recordings that share landmarks with another one.

    It takes 12 bytes a landmark, about 60 MB an hour of speech.

    Args:
        recordings: landmarks of each.
    """

    def __init__(self, recordings: Sequence[Landmarks]):
        codes = np.concatenate([recording.codes for recording in recordings])
        order = np.argsort(codes, kind="stable")
        self._codes = codes[order]
        self._frames = np.concatenate([recording.frames for recording in recordings])[order]
        counts = [len(recording.codes) for recording in recordings]
        self._recordings = np.repeat(np.arange(len(recordings), dtype=np.int32), counts)[order]

    def candidates(self, recording: Landmarks) -> list[tuple[int, int]]:
        """Return possible copies, most shared landmarks first.

        Returns:
            Index of each candidate, and the sample of it, at `SAMPLING_RATE`, at which `recording` would begin;
            negative where `recording` begins earlier.
        """
        step = -(-len(recording.codes) // _MAX_QUERIES) or 1
        codes, frames = recording.codes[::step], recording.frames[::step]
        first, last = (np.searchsorted(self._codes, codes, side=side) for side in ("left", "right"))
        mine, theirs = _ranges(first, last)
        offsets = self._frames[theirs].astype(np.int64) - frames[mine]
        span = 1 << 32
        votes = self._recordings[theirs] * np.int64(span) + (offsets + span // 2)
        places, counts = np.unique(votes, return_counts=True)
        # A copy cut between two frames spreads its votes over two offsets.
        following = np.searchsorted(places, places + 1)
        following_counts = np.append(counts, 0)[following]
        counts = counts + np.where(np.append(places, -1)[following] == places + 1, following_counts, 0)
        needed = max(_MIN_VOTES, _MIN_SHARE * len(codes))
        best = {}
        for place in places[np.argsort(-counts, kind="stable")][: np.sum(counts >= needed)]:
            best.setdefault(int(place // span), int(place % span - span // 2) * _HOP)
            if len(best) == _MAX_CANDIDATES:
                break
        return list(best.items())


def is_copy(waveform: np.ndarray, other: np.ndarray, offset: int) -> bool:
    """Whether two waveforms are the same recording.

    Copies are recognised after MP3, Vorbis or Opus at usual bit rates, another gain or polarity, resampling, noise
    about 20 dB below the sound, and cuts that leave at least an eighth of a second. Not recognised are copies at
    another speed or pitch, with reverberation, or from codecs that keep no waveform.

    Args:
        waveform: (samples,), at `SAMPLING_RATE`.
        other: likewise.
        offset: sample of `waveform` at which `other` begins, right to two frames of the landmarks.
    """
    agreement, overlap = band_agreement(waveform, other, offset)
    return agreement > (_SAME_SHORT_RECORDING if overlap < _SHORT_OVERLAP else _SAME_RECORDING)


def band_agreement(waveform: np.ndarray, other: np.ndarray, offset: int) -> tuple[float, int]:
    """Return how well two waveforms agree where they overlap: 0 (nothing in common) to 1 (a copy), and the overlap.

    The agreement is the mean over eight bands of the normalised correlation, so that neither hum nor a single loud band
    decides. Loudness is evened out over time before: else one glottal pulse would stand for a whole word.
    """
    waveform, other = _even_out(waveform), _even_out(other)
    offset = _refine(waveform, other, offset)
    start, end = max(0, offset), min(len(waveform), offset + len(other))
    if end - start < _SHORTEST_OVERLAP:
        return 0.0, max(0, end - start)
    spectrum, others = np.fft.rfft(waveform[start:end]), np.fft.rfft(other[start - offset : end - offset])
    edges = np.searchsorted(np.fft.rfftfreq(end - start, 1 / SAMPLING_RATE), _BAND_EDGES)
    cross, power, others_power = (
        np.add.reduceat(product, edges)[:-1]
        for product in (spectrum * others.conj(), np.abs(spectrum) ** 2, np.abs(others) ** 2)
    )
    agreements = np.abs(cross) / np.sqrt(np.maximum(power * others_power, np.finfo(np.float64).tiny))
    return float(agreements.mean()), end - start


def _even_out(waveform: np.ndarray) -> np.ndarray:
    """Emphasise high frequencies, as speech lacks them, and divide by the envelope."""
    emphasised = np.diff(waveform.astype(np.float64), prepend=0.0) + 0.1 * waveform
    total = np.cumsum(np.pad(emphasised**2, (_ENVELOPE_SAMPLES // 2 + 1, _ENVELOPE_SAMPLES // 2 - 1)))
    power = np.maximum(total[_ENVELOPE_SAMPLES:] - total[:-_ENVELOPE_SAMPLES], 0)
    return emphasised / np.sqrt(power + _ENVELOPE_FLOOR * power.max() + np.finfo(np.float64).tiny)


def _refine(waveform: np.ndarray, other: np.ndarray, offset: int) -> int:
    """The offset near the given one at which the waveforms correlate most."""
    size = 1 << (len(waveform) + len(other) - 1).bit_length()
    correlation = np.fft.irfft(np.fft.rfft(waveform, size) * np.fft.rfft(other, size).conj(), size)
    nearby = offset + np.arange(-2 * _HOP, 2 * _HOP + 1)
    return int(nearby[np.abs(correlation[nearby % size]).argmax()])
