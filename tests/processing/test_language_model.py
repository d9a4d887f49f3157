"""Language models that read letter by letter: they add up to 1 over all texts, and travel as files."""

import copy
import itertools
import json
import math

import pytest

from antiphon.processing.language_model import CharacterLanguageModel, WordLanguageModel, load_language_model
from antiphon.processing.language_ngram import BackoffNgrams

TEXTS = ["ab ba", "ab", "a ab ab", "ba"]


@pytest.fixture(scope="module", params=["word", "character"])
def model(request):
    if request.param == "word":
        return WordLanguageModel.train(TEXTS, order=3, spelling_order=3, weight=0.7, length_bonus=0.25)
    return CharacterLanguageModel.train(TEXTS, order=4, weight=0.7, length_bonus=0.25)


def test_a_word_is_as_likely_as_its_n_gram_and_its_spelling_together():
    model = WordLanguageModel.train(TEXTS, order=2, spelling_order=2)

    def probability(word, context=("<s>",)):
        spelled = math.exp(CharacterLanguageModel(model.spelling).log_probability(word))
        unknown = math.exp(model.ngrams.log_probability(context, "<unk>")) * spelled
        known = math.exp(model.ngrams.log_probability(context, word)) if word in model.ngrams.vocabulary else 0
        return known + unknown

    def end(word):
        return math.exp(model.ngrams.log_probability((word,), "</s>"))

    assert math.exp(model.log_probability("ab")) == pytest.approx(probability("ab") * end("ab"))
    assert math.exp(model.log_probability("bb")) == pytest.approx(probability("bb") * end("<unk>"))
    expected = probability("ab") * probability("bb", ("ab",)) * end("<unk>")
    assert math.exp(model.log_probability("ab bb")) == pytest.approx(expected)


def test_all_texts_add_up_to_one():
    # Of one word, since then few enough are likely: P(first word is w) summed over w, by what a space brings.
    model = WordLanguageModel.train(TEXTS, order=2, spelling_order=2)
    total = 0.0
    for length in range(1, 11):
        for word in map("".join, itertools.product("ab", repeat=length)):
            state, value = model.start(), 0.0
            for character in f"{word} ":
                state, gain = model.extend(state, character)
                value += gain
            total += math.exp(value)
    first_is_end = math.exp(model.ngrams.log_probability(("<s>",), "</s>"))
    letters_unheard = math.exp(model.ngrams.log_probability(("<s>",), "<unk>"))
    # The rest is left to longer words and to words with a letter that was never seen.
    assert 1 - letters_unheard < total + first_is_end < 1


def test_a_beginning_is_as_likely_as_all_words_that_begin_so():
    model = WordLanguageModel.train(["abc abd abd x"], order=1, spelling_order=2)
    state, value = model.start(), 0.0
    for character in "ab":
        state, gain = model.extend(state, character)
        value += gain
    words = sum(math.exp(model.ngrams.log_probability((), word)) for word in ("abc", "abd"))
    spelled = math.exp(model.ngrams.log_probability((), "<unk>") + state.spelled)
    assert math.exp(value) == pytest.approx(words + spelled)


def test_what_was_heard_is_likelier_than_what_was_not(model):
    assert model.log_probability("ab ba") > model.log_probability("ba bb") > model.log_probability("zz zzz")
    assert model.log_probability("ab") > model.log_probability("")
    assert math.isfinite(model.log_probability("q" * 2000))


def test_perplexity_is_per_word_with_the_end(model):
    expected = math.exp(-(model.log_probability("ab ba") + model.log_probability("ab")) / 5)
    assert model.perplexity(["ab ba", "ab"]) == pytest.approx(expected)


def test_a_model_comes_back_as_it_was_saved(model, tmp_path):
    model.save(tmp_path)
    loaded = load_language_model(tmp_path)
    assert type(loaded) is type(model)
    assert (loaded.weight, loaded.length_bonus, loaded.sha256) == (0.7, 0.25, model.sha256)
    assert loaded.log_probability("ab bb a") == model.log_probability("ab bb a")


def test_the_digest_is_of_the_tables_not_of_the_settings(model):
    other = copy.copy(model)
    other.weight = 2.0
    assert other.sha256 == model.sha256
    assert type(model).train([*TEXTS, "b"]).sha256 != model.sha256
    assert copy.deepcopy(model) is model


def test_another_model_in_the_same_folder_leaves_nothing_of_the_first(tmp_path):
    WordLanguageModel.train(TEXTS).save(tmp_path)
    assert len(list(tmp_path.iterdir())) == 3
    CharacterLanguageModel.train(TEXTS).save(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    assert load_language_model(tmp_path).level == "character"


def test_a_brought_arpa_file_learns_to_spell_from_its_words(tmp_path):
    ngrams = BackoffNgrams.witten_bell([text.split() for text in TEXTS], 2)
    model = WordLanguageModel.from_ngrams(ngrams)
    assert model.log_probability("bab") > model.log_probability("bqb")


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match="does not describe a language model"):
        load_language_model(tmp_path)
    (tmp_path / "language_model.json").write_text(json.dumps({"level": "sentence"}))
    with pytest.raises(ValueError, match=r"`level` in .* is 'sentence'; expected one of \['character', 'word'\]"):
        load_language_model(tmp_path)
