"""Beam search: equal to the sum over all alignments where all can be listed, never worse with more beams, and so on."""

import itertools
import math

import numpy as np
import pytest

from antiphon.processing.decoding_beam import BeamSearch
from antiphon.processing.decoding_hot_words import HotWords
from antiphon.processing.language_model import CharacterLanguageModel, WordLanguageModel

# The second id stands for <unk>, which is never written.
SYMBOLS = ["", None, " ", "a", "b"]
TEXTS = ["a b", "ab a", "b", "ba ab"]
LANGUAGE_MODELS = {
    "none": None,
    "word": WordLanguageModel.train(TEXTS, order=2, spelling_order=2, weight=0.8, length_bonus=0.3),
    "character": CharacterLanguageModel.train(TEXTS, order=3, weight=0.8, length_bonus=0.3),
}
EXHAUSTIVE = {"num_beams": 10_000, "min_log_probability": -math.inf, "max_score_distance": math.inf}


def make_scores(frames: int, seed: int = 0, sharpness: float = 1.5) -> np.ndarray:
    """Log-probabilities of random sounds."""
    logits = sharpness * np.random.default_rng(seed).normal(size=(frames, len(SYMBOLS)))
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def sum_over_alignments(scores: np.ndarray) -> dict[str, float]:
    """Log-probability of every text, by listing all alignments."""
    totals: dict[str, float] = {}
    ids = [index for index, symbol in enumerate(SYMBOLS) if symbol is not None]
    for path in itertools.product(ids, repeat=len(scores)):
        written = "".join(SYMBOLS[symbol] for symbol, _ in itertools.groupby(path))
        text = " ".join(written.split())
        totals[text] = totals.get(text, 0.0) + math.exp(scores[range(len(scores)), path].sum())
    return {text: math.log(total) for text, total in totals.items()}


def count_tokens(language_model, text: str) -> int:
    return len(text) if language_model and language_model.level == "character" else len(text.split())


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
@pytest.mark.parametrize("frames", [1, 2, 5])
def test_without_pruning_it_equals_the_sum_over_all_alignments(name, frames):
    language_model = LANGUAGE_MODELS[name]
    scores = make_scores(frames, seed=frames)
    hot_words = HotWords(["ab"], bonus=0.7)
    search = BeamSearch(SYMBOLS, language_model=language_model, hot_words=hot_words, **EXHAUSTIVE)
    found = search(scores, num_hypotheses=10_000)
    expected = sum_over_alignments(scores)
    assert len(found) == len(expected)
    assert {hypothesis.text for hypothesis in found} == set(expected)
    for hypothesis in found:
        text = hypothesis.text
        assert hypothesis.acoustic_score == pytest.approx(expected[text])
        bonus = 0.7 * 3 * text.split().count("ab")
        language = 0.0
        if language_model:
            language = language_model.log_probability(text)
            bonus += 0.3 * count_tokens(language_model, text)
        assert hypothesis.language_score == pytest.approx(language)
        assert hypothesis.bonus == pytest.approx(bonus)
        assert hypothesis.score == pytest.approx(expected[text] + 0.8 * language + bonus)
    assert [hypothesis.score for hypothesis in found] == sorted((item.score for item in found), reverse=True)


def test_it_equals_greedy_decoding_where_nothing_is_in_doubt():
    generator = np.random.default_rng(0)
    for _ in range(20):
        path = generator.choice([0, 2, 3, 4], size=30)
        scores = np.full((30, len(SYMBOLS)), math.log(0.001 / 4))
        scores[range(30), path] = math.log(0.999)
        text = "".join(SYMBOLS[symbol] for symbol, _ in itertools.groupby(path))
        assert BeamSearch(SYMBOLS, num_beams=4)(scores)[0].text == " ".join(text.split())


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_more_beams_score_no_worse_on_average(name):
    means = []
    for num_beams in (1, 2, 4, 16):
        search = BeamSearch(SYMBOLS, num_beams=num_beams, language_model=LANGUAGE_MODELS[name])
        means.append(np.mean([search(make_scores(25, seed, sharpness=0.7))[0].score for seed in range(30)]))
    assert means == sorted(means)
    assert means[-1] > means[0]


def test_pruning_as_usual_costs_little():
    for name, language_model in LANGUAGE_MODELS.items():
        for seed in range(5):
            scores = make_scores(8, seed, sharpness=3)
            best = BeamSearch(SYMBOLS, language_model=language_model, **EXHAUSTIVE)(scores)[0]
            found = BeamSearch(SYMBOLS, language_model=language_model)(scores)[0]
            assert found.text == best.text, (name, seed)
            assert found.score == pytest.approx(best.score, abs=0.05)


def ambiguous_scores(symbols: str, doubt: float) -> np.ndarray:
    """Sure of every symbol but "b", which is taken for "a" with a probability of 1 - `doubt`."""
    rows = []
    for symbol in symbols:
        row = np.full(len(SYMBOLS), 1e-4)
        row[SYMBOLS.index(symbol)] = 1
        if symbol == "b":
            row[SYMBOLS.index("b")], row[SYMBOLS.index("a")] = doubt, 1 - doubt
        rows += [np.log(row / row.sum()), np.log(np.eye(len(SYMBOLS))[0] + 1e-4)]
    return np.array(rows)


def test_the_language_model_decides_where_the_sound_does_not():
    scores = ambiguous_scores("a ab", doubt=0.4)
    assert BeamSearch(SYMBOLS)(scores)[0].text == "a aa"
    trained = WordLanguageModel.train(["a ab", "ab ab", "a"], order=2, weight=1.0)
    assert BeamSearch(SYMBOLS, language_model=trained)(scores)[0].text == "a ab"
    assert BeamSearch(SYMBOLS, language_model=trained, weight=0.0)(scores)[0].text == "a aa"


def test_a_hot_word_is_found_where_the_sound_is_ambiguous_and_only_there():
    hot_words = HotWords(["ab"], bonus=0.5)
    search = BeamSearch(SYMBOLS, hot_words=hot_words)
    assert BeamSearch(SYMBOLS)(ambiguous_scores("a ab", 0.4))[0].text == "a aa"
    assert search(ambiguous_scores("a ab", 0.4))[0].text == "a ab"
    # Said clearly otherwise; and a beginning of the word is no reason to end it so.
    assert search(ambiguous_scores("a aa", 0.4))[0].text == "a aa"
    assert search(ambiguous_scores("ba a", 0.9))[0].text == "ba a"


def test_the_length_bonus_makes_texts_longer():
    scores = make_scores(20, seed=3, sharpness=0.5)
    lengths = [len(BeamSearch(SYMBOLS, length_bonus=bonus)(scores)[0].text.split()) for bonus in (-20.0, 0.0, 2.0)]
    assert lengths == sorted(lengths)
    assert lengths[0] < lengths[-1]


def test_long_sound_does_not_underflow():
    scores = make_scores(5000, seed=0, sharpness=3)
    hypothesis = BeamSearch(SYMBOLS, num_beams=4)(scores)[0]
    assert math.isfinite(hypothesis.score)
    assert hypothesis.score < -745, "or a plain probability would have done"


def test_a_frame_of_unknown_symbols_is_survived():
    scores = np.full((4, len(SYMBOLS)), -2000.0)
    scores[:, 1] = 0.0
    scores[2, 3] = -1000.0
    assert BeamSearch(SYMBOLS)(scores)[0].text == "a"


def test_silence_and_nothing_are_empty_texts():
    assert BeamSearch(SYMBOLS)(np.log(np.eye(len(SYMBOLS))[[0, 2, 0]] + 1e-6))[0].text == ""
    assert [item.text for item in BeamSearch(SYMBOLS)(np.zeros((0, len(SYMBOLS))))] == [""]


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match=r"`num_beams` is 0; expected 1 or more"):
        BeamSearch(SYMBOLS, num_beams=0)
    with pytest.raises(ValueError, match=r"`symbols` must hold the blank"):
        BeamSearch(["a", "b"])
