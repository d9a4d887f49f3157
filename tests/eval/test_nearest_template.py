"""The nearest template: a recogniser that must know its own training, whatever its rate, level and speed."""

import numpy as np
import pytest
from small_corpora import corpus_of

from antiphon.eval import nearest_template
from antiphon.eval.nearest_template import nearest_template_transcripts

RATE = 8_000
SWEEPS = {"up": (300, 2_000), "down": (2_000, 300), "flat": (900, 1_000)}


def sweep(word: str, seconds: float = 0.4, seed: int = 0) -> np.ndarray:
    """A sound that glides between two frequencies, in a little noise."""
    start, end = SWEEPS[word]
    time = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * (start * time + (end - start) * time**2 / (2 * seconds))
    noise = np.random.default_rng(seed).standard_normal(len(time))
    return (0.3 * np.sin(phase) + 0.01 * noise).astype(np.float32)


@pytest.fixture(scope="module")
def train():
    return corpus_of([sweep(word, seed=index) for index, word in enumerate(SWEEPS)])


@pytest.mark.parametrize("sampling_rate", [8_000, 16_000])
def test_words_are_recognised_at_other_speeds_levels_and_rates(train, sampling_rate):
    words = ["down", "flat", "up", "down"]
    test = corpus_of([0.3 * sweep(word, 0.3 + 0.1 * index, seed=9 + index) for index, word in enumerate(words)])
    assert nearest_template_transcripts(train, list(SWEEPS), test, sampling_rate=sampling_rate) == words


def test_among_equals_the_first_training_item_wins():
    twice = corpus_of([sweep("up"), sweep("up")])
    assert nearest_template_transcripts(twice, ["first", "second"], twice, sampling_rate=RATE) == ["first", "first"]


def test_more_templates_than_the_limit_are_drawn_by_the_seed(monkeypatch, train):
    monkeypatch.setattr(nearest_template, "MAX_TEMPLATES", 1)
    answers = {
        seed: nearest_template_transcripts(train, list(SWEEPS), train, sampling_rate=RATE, seed=seed)
        for seed in range(8)
    }
    assert all(len(set(answer)) == 1 for answer in answers.values())
    assert len({answer[0] for answer in answers.values()}) > 1
    assert answers[3] == nearest_template_transcripts(train, list(SWEEPS), train, sampling_rate=RATE, seed=3)


def test_silence_is_answered_too(train):
    silence = corpus_of([np.zeros(800, dtype=np.float32)])
    assert nearest_template_transcripts(train, list(SWEEPS), silence, sampling_rate=RATE)[0] in SWEEPS
