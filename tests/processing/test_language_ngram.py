"""N-grams: a case by hand, probabilities that sum to 1, ARPA files of ours and of others."""

import math

import pytest

from antiphon.processing.language_ngram import END, START, UNKNOWN, BackoffNgrams

SENTENCES = ["one two three", "one two two", "three", "", "two one two three four"]


@pytest.fixture(scope="module", params=[1, 2, 3, 5])
def ngrams(request):
    return BackoffNgrams.witten_bell([sentence.split() for sentence in SENTENCES], request.param)


def contexts_of(ngrams):
    """Every context that was seen, and some that were not."""
    return {(), *ngrams.backoffs, ("four", "one"), (UNKNOWN,), ("one", UNKNOWN), (START, "four")}


def test_a_case_by_hand():
    # Of <s> a b </s> and <s> a </s>: 5 tokens of 3 types; after a came b and </s>, once each.
    ngrams = BackoffNgrams.witten_bell([["a", "b"], ["a"]], order=2)

    def probability(context, token):
        return math.exp(ngrams.log_probability(context, token))

    assert probability((), "a") == pytest.approx(2 / 8)
    assert probability((), UNKNOWN) == pytest.approx(3 / 8)
    assert probability(("a",), "b") == pytest.approx(2 / 4 * 1 / 2 + 2 / 4 * 1 / 8)
    assert probability(("a",), "a") == pytest.approx(2 / 4 * 2 / 8)
    assert probability((START,), "a") == pytest.approx(2 / 3 * 1 + 1 / 3 * 2 / 8)
    assert probability(("b",), END) == pytest.approx(1 / 2 * 1 + 1 / 2 * 2 / 8)
    assert probability(("a",), "never heard") == pytest.approx(2 / 4 * 3 / 8)


def test_probabilities_sum_to_one_after_every_context(ngrams):
    assert {UNKNOWN, END} < ngrams.vocabulary
    for context in contexts_of(ngrams):
        total = sum(math.exp(ngrams.log_probability(context, token)) for token in ngrams.vocabulary)
        assert total == pytest.approx(1, abs=1e-12), context


def test_an_arpa_file_comes_back_unchanged(ngrams, tmp_path):
    (tmp_path / "model.arpa").write_text(ngrams.to_arpa())
    loaded = BackoffNgrams.read_arpa(tmp_path / "model.arpa")
    assert (loaded.probabilities, loaded.backoffs) == (ngrams.probabilities, ngrams.backoffs)
    assert (loaded.order, loaded.vocabulary) == (ngrams.order, ngrams.vocabulary)


def test_contexts_keep_what_matters_and_no_more(ngrams):
    context = (START,)[: ngrams.order - 1]
    for token in ("one", "unheard", "two", "three", "one"):
        context = ngrams.extend_context(context, token)
    full = (START, "one", UNKNOWN, "two", "three", "one")
    full = full[len(full) - ngrams.order + 1 :]
    assert context == full[len(full) - len(context) :]
    assert len(context) == min(ngrams.order - 1, 1), '"three one" was never seen'
    for token in ngrams.vocabulary:
        assert ngrams.log_probability(context, token) == ngrams.log_probability(full, token)


def test_a_file_of_another_tool_is_read(tmp_path):
    # As KenLM writes: tabs, the highest order without back-off weights, 0 for the start.
    (tmp_path / "other.arpa").write_text(
        "\\data\\\nngram 1=4\nngram 2=2\n\n\\1-grams:\n-1.0\t<unk>\t0\n0\t<s>\t-0.5\n-0.3\t</s>\t0\n-0.6\thi\t-0.25\n\n"
        "\\2-grams:\n-0.1\t<s> hi\n-0.2\thi </s>\n\n\\end\\\n"
    )
    ngrams = BackoffNgrams.read_arpa(tmp_path / "other.arpa")
    assert ngrams.order == 2
    assert ngrams.log_probability((START,), "hi") == pytest.approx(-0.1 * math.log(10))
    assert ngrams.log_probability((START,), END) == pytest.approx((-0.5 - 0.3) * math.log(10))
    assert ngrams.log_probability(("hi",), "unheard") == pytest.approx((-0.25 - 1.0) * math.log(10))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "announces no n-grams"),
        ("Dear diary,\n", "line 1 is 'Dear diary,'"),
        ("\\data\\\nngram 1=2\n\n\\1-grams:\n-1\ta\n\\end\\\n", r"announces {1: 2} n-grams but holds {1: 1}"),
        ("\\data\\\nngram 2=1\n\n\\2-grams:\n-1\ta\n\\end\\\n", "line 5 is"),
    ],
    ids=["empty", "text", "short", "tokens"],
)
def test_other_files_are_refused(tmp_path, text, sentence):
    (tmp_path / "bad.arpa").write_text(text)
    with pytest.raises(ValueError, match=sentence):
        BackoffNgrams.read_arpa(tmp_path / "bad.arpa")


def test_nothing_to_learn_from_is_refused():
    with pytest.raises(ValueError, match="`sequences` is empty"):
        BackoffNgrams.witten_bell([], 3)
    with pytest.raises(ValueError, match="`order` is 0; expected 1 or more"):
        BackoffNgrams.witten_bell([["a"]], 0)
