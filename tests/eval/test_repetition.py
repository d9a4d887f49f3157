"""Loops are told from speech: by copies that follow one another, and by how well a text compresses."""

import zlib

import pytest

from antiphon.eval.repetition import MAX_COMPRESSION_RATIO, compression_ratio, is_loop, longest_run

SENTENCE = "the quick brown fox jumps over the lazy dog and sleeps until the evening comes"


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ([], (1.0, 0)),
        ([7], (1.0, 0)),
        ([1, 2, 3, 4, 5, 6, 7, 8], (1.0, 0)),
        ([1, 1, 1], (1.0, 0)),
        ([5, 1, 1, 1, 1, 1, 6], (5.0, 5)),
        ([9, 1, 2, 1, 2, 1, 2, 1, 2, 8], (4.0, 8)),
        ([1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2], (14 / 3, 14)),
        # Twice the same phrase, and a second time after something else, is no run of four.
        ([1, 2, 1, 2, 9, 1, 2, 1, 2], (1.0, 0)),
    ],
)
def test_the_longest_run_of_copies_counted_by_hand(tokens, expected):
    assert longest_run(tokens) == pytest.approx(expected)


def test_runs_are_those_of_a_search_over_all_phrases():
    """Every text of eleven letters of two, against all phrases and places."""

    def slowly(tokens):
        best = 0
        for period in range(1, len(tokens) // 4 + 1):
            for start in range(len(tokens)):
                end = start + period
                while end < len(tokens) and tokens[end] == tokens[end - period]:
                    end += 1
                if end - start >= 4 * period:
                    best = max(best, end - start)
        return best

    for number in range(2**11):
        tokens = [number >> place & 1 for place in range(11)]
        assert longest_run(tokens)[1] == slowly(tokens), tokens


def test_speech_is_no_loop():
    assert not is_loop(SENTENCE.split(), SENTENCE)
    # Somebody who reads a number of equal digits, or says a word three times.
    assert not is_loop([7] * 7, "seven seven seven seven seven seven seven")
    assert not is_loop([1, 2, 3] * 3, "on and on and on and on")
    assert not is_loop([], "")


def test_words_and_phrases_without_end_are_loops():
    assert is_loop([7] * 8, "no no no no no no no no")
    phrase = [11, 12, 13, 14, 15]
    assert is_loop([1, 2, 3, *phrase, *phrase, *phrase, *phrase], "any text")


def test_a_text_that_repeats_with_changes_is_found_by_its_compression():
    text = " ".join(f"{SENTENCE} {number}" for number in range(12))
    tokens = list(range(500))  # as if no token came twice
    assert compression_ratio(text) == len(text) / len(zlib.compress(text.encode())) > MAX_COMPRESSION_RATIO
    assert is_loop(tokens, text)
    assert compression_ratio(SENTENCE) < 1.2
