"""The constant transcript: hand-computed cases and a brute-force search."""

import jiwer
import numpy as np
import pytest

from antiphon.eval.baselines import best_constant_transcript


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], ""),
        (["nine"], "nine"),
        (["one", "two", "two"], "two"),
        (["two", "one"], "one"),  # equals: the alphabetically first
        (["a b c", "d e f", "g h"], "a b c"),  # 0 + 3 + 3 errors; the empty transcript has 8, "g h" 6 and comes later
        (["a a b", "a a c", "a a d", "x"], "a a b"),  # errors 0 + 1 + 1 + 3
        (["  on   it ", "on it", "off"], "on it"),
    ],
)
def test_by_hand(texts, expected):
    assert best_constant_transcript(texts) == expected


def test_the_empty_transcript_wins_where_every_word_would_be_an_insertion():
    assert best_constant_transcript(["", "", "", "one two three four"]) == ""


@pytest.mark.parametrize("chunk_size", [1, 7, 256])
def test_equals_brute_force(chunk_size):
    generator = np.random.default_rng(0)
    words = np.array(["red", "green", "blue"])
    texts = [" ".join(generator.choice(words, generator.integers(1, 6), p=[0.6, 0.3, 0.1])) for _ in range(60)]
    wer = {text: jiwer.wer(texts, [text] * len(texts)) for text in {*texts, ""}}
    assert wer[best_constant_transcript(texts, chunk_size=chunk_size)] == min(wer.values())
