"""One recording through a recogniser's stream: what was written when, how long each chunk took, how late words came."""

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

import numpy as np


@dataclass(frozen=True)
class Step:
    """What stood there after one piece of sound.

    Args:
        heard_seconds: Sound that had arrived.
        processing_seconds: Time that this piece took.
        words: The text so far.
        is_chunk: Whether the piece made exactly one chunk; the first may be shorter, and the last.
    """

    heard_seconds: float
    processing_seconds: float
    words: list[str]
    is_chunk: bool


def stream_recording(processor, model, waveform: np.ndarray) -> tuple[list[Step], str]:
    """Feeds a recording to `processor.stream(model)`, each chunk as soon as it could be heard in full.

    Args:
        processor: A `ConformerProcessor`.
        model: A `ConformerForCTC` that can stream.
        waveform: (samples,).

    Returns:
        The steps, and the text in the end.
    """
    extractor, stream = processor.feature_extractor, processor.stream(model)
    sampling_rate = extractor.sampling_rate
    size = stream.chunk_length * extractor.hop_length
    # The first chunk is complete when the last sample under its last transform is in.
    first = size - extractor.hop_length + extractor.n_fft // 2
    edges = [0, *range(first, len(waveform), size), len(waveform)]
    steps = []
    for begin, end in itertools.pairwise(edges):
        start = time.perf_counter()
        result = stream.push(waveform[begin:end])
        seconds = time.perf_counter() - start
        steps.append(Step(end / sampling_rate, seconds, _words(result), end - begin in (first, size)))
    start = time.perf_counter()
    result = stream.finish()
    seconds = time.perf_counter() - start
    steps.append(Step(len(waveform) / sampling_rate, seconds, _words(result), is_chunk=False))
    return steps, result["text"]


def word_delays(steps: Sequence[Step], heard_words: Sequence[dict]) -> list[float]:
    """Seconds from the end of each word to the moment from which its text stood there unchanged.

    Args:
        steps: Of one recording.
        heard_words: What the same model wrote with the whole recording before it, with times; words of the stream that
            are not among them, in order, are left out.

    Returns:
        (words,), the wait for sound and the work on the last piece; negative where a word was guessed early.
    """
    final = steps[-1].words
    heard = [word["word"] for word in heard_words]
    delays = []
    for block in SequenceMatcher(None, final, heard, autojunk=False).get_matching_blocks():
        for offset in range(block.size):
            place = block.a + offset
            stood = _first_standing(steps, place)
            ready = stood.heard_seconds + stood.processing_seconds
            delays.append(ready - heard_words[block.b + offset]["end_seconds"])
    return delays


def _first_standing(steps: Sequence[Step], place: int) -> Step:
    """The step from which on the word at a place is the final one."""
    final, first = steps[-1].words[place], steps[-1]
    for step in reversed(steps):
        if len(step.words) <= place or step.words[place] != final:
            break
        first = step
    return first


def _words(result: dict) -> list[str]:
    return [word["word"] for word in result["words"]]
