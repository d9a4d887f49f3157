"""Tells when a generating recogniser got stuck: it then says one word or phrase again and again until it is cut off."""

import zlib
from collections.abc import Sequence

import numpy as np

# People say a word three times, and digits can be all alike; four copies that fill eight tokens are rarely speech.
MIN_COPIES = 4
MIN_TOKENS = 8
# A shorter text compresses as well when a word is said a few times.
MIN_COMPRESSED_BYTES = 100
MAX_COMPRESSION_RATIO = 2.4


def is_loop(tokens: Sequence[int], text: str) -> bool:
    """Whether a transcript repeats itself as speech does not.

    Args:
        tokens: (tokens,) ids as they were generated, without special ones.
        text: That they stand for.

    Source: Radford et al. 2023, "Robust Speech Recognition via Large-Scale Weak Supervision", section 4.5, takes a
    compression ratio above 2.4 for a loop. Here only texts of `MIN_COMPRESSED_BYTES` are judged by that, and the
    longest run of copies judges all.
    """
    copies, length = longest_run(tokens)
    is_run = copies >= MIN_COPIES and length >= MIN_TOKENS
    return is_run or (len(text.encode()) >= MIN_COMPRESSED_BYTES and compression_ratio(text) > MAX_COMPRESSION_RATIO)


def longest_run(tokens: Sequence[int]) -> tuple[float, int]:
    """Find the phrase whose copies, one right after another, fill the most tokens.

    Args:
        tokens: (tokens,) ids.

    Returns:
        Number of copies, the last of which may be begun only, and the tokens that all of them fill; a phrase that has
        fewer than `MIN_COPIES` is passed over, and (1.0, 0) tells that there is none.
    """
    tokens, best = np.asarray(tokens), (1.0, 0)
    for period in range(1, len(tokens) // MIN_COPIES + 1):
        same = np.concatenate([[False], tokens[period:] == tokens[:-period], [False]])
        starts, ends = np.flatnonzero(np.diff(same.astype(int)) == 1), np.flatnonzero(np.diff(same.astype(int)) == -1)
        length = period + int((ends - starts).max(initial=0))
        if length >= MIN_COPIES * period and length > best[1]:
            best = (length / period, length)
    return best


def compression_ratio(text: str) -> float:
    """Bytes of a text over those that zlib needs for it; near 1 for speech of some length, 0 for an empty text."""
    data = text.encode()
    return len(data) / len(zlib.compress(data))
