"""Where to cut a long recording: in silences between words, so that all pieces have a length that a training wants."""

from dataclasses import dataclass

import numpy as np

from .ctc_alignment import Alignment

# Levels are measured in windows of 25 ms, every 10 ms.
_LEVEL_SECONDS, _STEP_SECONDS = 0.025, 0.010
# Below this share of the way from the noise to the speech of a recording, in dB, it is silent.
_SILENT_SHARE = 0.4
# Of a silence at an edge a piece keeps at most this much.
MARGIN_SECONDS = 0.3


@dataclass
class Silence:
    """A silence between the word `after` and the next; -1 is before the first word."""

    after: int
    start_seconds: float
    end_seconds: float

    @property
    def middle_seconds(self) -> float:
        return (self.start_seconds + self.end_seconds) / 2


@dataclass
class Piece:
    """Words from `first` to `last` and the sound that holds them."""

    first: int
    last: int
    start_seconds: float
    end_seconds: float


def find_silences(
    alignment: Alignment, waveform: np.ndarray, sampling_rate: int, min_seconds: float = 0.2
) -> list[Silence]:
    """The longest silence between every two words, where there is one, and those before and after all words.

    CTC tells some time within a word, not where it ends; the sound tells where it is silent.

    Args:
        alignment: Of the recording.
        waveform: (samples,).
        sampling_rate: Hz.
        min_seconds: Shortest silence between two words; the closure before a `t` is silent for half of it.
    """
    is_silent = _silent_steps(waveform, sampling_rate)
    duration = len(waveform) / sampling_rate
    words, frame_seconds = alignment.words, alignment.frame_seconds
    silences = []
    for after in range(-1, len(words)):
        start = words[after].last_frame * frame_seconds if after >= 0 else 0.0
        end = words[after + 1].first_frame * frame_seconds if after + 1 < len(words) else duration
        first, last = _longest_run(is_silent[round(start / _STEP_SECONDS) : round(end / _STEP_SECONDS)])
        run = Silence(after, start + first * _STEP_SECONDS, start + last * _STEP_SECONDS)
        if after == -1:
            # Without a silence before the first word the recording begins with it; so at the end.
            silences.append(run if last else Silence(after, 0.0, 0.0))
        elif after + 1 == len(words):
            silences.append(run if last else Silence(after, duration, duration))
        elif run.end_seconds - run.start_seconds >= min_seconds:
            silences.append(run)
    return silences


def choose_pieces(silences: list[Silence], min_seconds: float, max_seconds: float) -> list[Piece]:
    """The pieces that hold most words of a recording, and of those that hold as many, few that end in long silences.

    Args:
        silences: Of `find_silences`.
        min_seconds, max_seconds: Of a piece.
    """
    # best[j]: the value of the best pieces up to silence j, and the piece that ends there, None for a gap.
    best: list[tuple[float, int, Piece | None]] = [(0.0, 0, None)]
    for end in range(1, len(silences)):
        value, before, chosen = best[end - 1][0], end - 1, None
        for start in range(end - 1, -1, -1):
            piece = _between(silences[start], silences[end])
            seconds = piece.end_seconds - piece.start_seconds
            if seconds > max_seconds:
                break
            # A cut in less than half a second of silence is not worth it if it can be spared.
            silence = silences[end].end_seconds - silences[end].start_seconds
            reached = best[start][0] + piece.last - piece.first + 1 + 0.01 * (min(silence, 1.0) - 0.5)
            if seconds >= min_seconds and reached > value:
                value, before, chosen = reached, start, piece
        best.append((value, before, chosen))
    pieces, position = [], len(silences) - 1
    while position > 0:
        _, before, piece = best[position]
        pieces += [piece] if piece else []
        position = before
    return pieces[::-1]


def _between(left: Silence, right: Silence) -> Piece:
    return Piece(
        first=left.after + 1,
        last=right.after,
        start_seconds=max(left.middle_seconds, left.end_seconds - MARGIN_SECONDS),
        end_seconds=min(right.middle_seconds, right.start_seconds + MARGIN_SECONDS),
    )


def _silent_steps(waveform: np.ndarray, sampling_rate: int) -> np.ndarray:
    """(steps,) whether the sound around each step is silent."""
    window, step = round(_LEVEL_SECONDS * sampling_rate), round(_STEP_SECONDS * sampling_rate)
    padded = np.pad(waveform.astype(np.float64) ** 2, (window // 2, window))
    power = np.convolve(padded, np.ones(window) / window, mode="valid")[: len(waveform) : step]
    level = 10 * np.log10(power + 1e-10)
    noise, speech = np.percentile(level, [5, 95])
    return level < noise + _SILENT_SHARE * (speech - noise)


def _longest_run(is_silent: np.ndarray) -> tuple[int, int]:
    """First step of the longest run of True, and the step after its last; (0, 0) where there is none."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_silent, [False]]).astype(int)))
    runs = list(zip(edges[::2], edges[1::2]))
    return max(runs, key=lambda run: run[1] - run[0], default=(0, 0))
