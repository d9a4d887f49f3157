"""Hot words: rewarded when complete, taken back when not."""

import random

import pytest

from antiphon.processing.decoding_hot_words import HotWords


def reward(hot_words: HotWords, text: str) -> float:
    state, total = hot_words.start, 0.0
    for character in text:
        state, change = hot_words.step(state, character)
        total += change
    return total + hot_words.finish(state)


@pytest.mark.parametrize(
    ("phrases", "text", "characters"),
    [
        (["ann"], "ann", 4),  # with the end of the word
        (["ann"], "hi ann you", 4),
        (["ann"], "ann ann", 8),
        (["ann"], "anne", 0),
        (["ann"], "joann", 0),
        (["ann"], "an", 0),
        (["ann"], "", 0),
        (["ann", "anne"], "anne ann", 5 + 4),
        (["new york"], "new york", 9),
        (["new york"], "new new york", 9),
        (["new york"], "new yolk", 0),
        (["new york"], "new", 0),
        (["new", "new york"], "new jersey", 4),
        (["new", "new york"], "new york", 9),
        (["new york", "yolk"], "new yolk", 5),
        (["new york city", "york"], "new york zoo", 5),
        (["new york city", "york"], "new york", 5),
        (["new york city", "york town"], "new york town", 10),
        (["new york city", "york", "zoo"], "new york zoo", 5 + 4),
        (["new york", "york city"], "new york city", 9 + 10),
    ],
)
def test_only_complete_phrases_are_rewarded(phrases, text, characters):
    assert reward(HotWords(phrases, 0.5), text) == pytest.approx(0.5 * characters)


def test_a_beginning_is_rewarded_until_it_breaks():
    hot_words = HotWords(["ann"], 1.0)
    state, first = hot_words.step(hot_words.start, "a")
    state, second = hot_words.step(state, "n")
    _, third = hot_words.step(state, "d")
    assert (first, second, third) == (1, 1, -2)


def test_each_occurrence_counts_in_any_text():
    generator = random.Random(0)
    words = ["ab", "ba", "aab", "b", "abab"]
    hot_words = HotWords(words, 1.0)
    for _ in range(500):
        text = " ".join("".join(generator.choices("ab", k=generator.randint(1, 4))) for _ in range(4))
        assert reward(hot_words, text) == sum(len(word) + 1 for word in text.split() if word in words)


def test_no_phrase_no_reward():
    assert reward(HotWords(["", " "], 1.0), "a b") == 0
