"""CharacterTokenizer: its normaliser, round trips, the CTC collapse, saving."""

import pytest
import torch

from antiphon.processing import CharacterTokenizer

PANGRAM = "the quick brown fox jumps over the lazy dog's 0123456789"


@pytest.fixture(scope="module")
def tokenizer():
    return CharacterTokenizer.from_corpus([PANGRAM])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello World", "hello world"),
        ("Don’t", "don't"),
        ("‘tis rock ʼn` roll", "'tis rock 'n' roll"),
        ("ＡＢＣ　１２", "abc 12"),
        ("oﬃce", "office"),
        ("x²", "x2"),
        ("Café au lait", "caf au lait"),
        ("naïve—yet; so: (very) good!", "na ve yet so very good"),
        ("  two\t\nlines  ", "two lines"),
        ("a|b", "a b"),
        ("room 101", "room 101"),
        ("日本", ""),
        ("", ""),
    ],
)
def test_normaliser(tokenizer, text, expected):
    assert tokenizer.normalize_text(text) == expected
    # What is normal stays as it is.
    assert tokenizer.normalize_text(expected) == expected


@pytest.mark.parametrize("text", [PANGRAM, "hello", "a", "", "Aa  BB--cc", "bookkeeper's 1100"])
def test_round_trip_of_labels(tokenizer, text):
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids, group_tokens=False) == tokenizer.normalize_text(text)
    assert len(ids) == len(tokenizer.normalize_text(text))


def test_ctc_decoding_merges_repeats_and_drops_blanks(tokenizer):
    h, e, ell, o, space = (tokenizer.convert_tokens_to_ids(symbol) for symbol in "helo|")
    path = [0, h, h, 0, e, ell, ell, 0, ell, o, o, 0, 0, space, space, 0, h, 0]
    assert tokenizer.decode(path) == "hello h"
    assert tokenizer.decode(torch.tensor(path)) == "hello h"
    assert tokenizer.batch_decode([path, [0, 0]]) == ["hello h", ""]
    assert tokenizer.decode([]) == ""


def test_vocabulary_holds_what_occurs_and_nothing_else():
    tokenizer = CharacterTokenizer.from_corpus(["Bad cab!", "Ace"])
    assert tokenizer.convert_ids_to_tokens(range(len(tokenizer))) == ["<blank>", "<unk>", "|", "a", "b", "c", "d", "e"]
    assert tokenizer.pad_token_id == 0


def test_characters_not_seen_in_the_corpus_are_unknown():
    tokenizer = CharacterTokenizer.from_corpus(["abc"])
    ids = tokenizer("cab z")["input_ids"]
    assert ids == [5, 3, 4, 2, tokenizer.unk_token_id]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "cab "


def test_padding_uses_the_blank(tokenizer):
    batch = tokenizer(["one", "three"], padding=True, return_tensors="pt")
    assert batch["input_ids"].shape == (2, 5)
    assert batch["input_ids"][0, 3:].tolist() == [0, 0]
    assert batch["attention_mask"].sum(-1).tolist() == [3, 5]


@pytest.mark.parametrize("alphabet", ["abcäöü", "ab[c", "ab]c", "a^b-c", "a\\b", "a&&b", "абв"])
def test_alphabet_decides_what_is_kept(alphabet):
    tokenizer = CharacterTokenizer.from_corpus([alphabet], alphabet=alphabet)
    assert set(tokenizer.get_vocab()) == {"<blank>", "<unk>", "|", *alphabet}
    assert tokenizer.normalize_text(f"{alphabet}z!{alphabet.upper()}") == f"{alphabet} {alphabet}"


def test_given_alphabet_is_kept_whole_for_later_trainings():
    later = "it's by my own"
    tokenizer = CharacterTokenizer.from_corpus(["one two"], alphabet="abcdefghijklmnopqrstuvwxyz '")
    assert tokenizer.unk_token_id not in tokenizer(later)["input_ids"]
    assert tokenizer.decode(tokenizer(later)["input_ids"], group_tokens=False) == later
    assert len(tokenizer) == 3 + 27
    assert len(CharacterTokenizer.from_corpus(["one two"])) == 3 + len(set("onetw"))


def test_save_and_load_keeps_vocabulary_and_normaliser(tmp_path):
    tokenizer = CharacterTokenizer.from_corpus(["über öde"], alphabet="abcdeöüß'r")
    tokenizer.save_pretrained(tmp_path)
    loaded = CharacterTokenizer.from_pretrained(tmp_path)
    assert loaded.get_vocab() == tokenizer.get_vocab()
    assert loaded.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()
    for text in ("ÜBER", "ode’r", "xyz", PANGRAM):
        assert loaded.normalize_text(text) == tokenizer.normalize_text(text)
        assert loaded(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert loaded.decode([5, 5, 0, 5]) == tokenizer.decode([5, 5, 0, 5])


@pytest.mark.parametrize("texts", [[], ["", "—"], ["日本"]])
def test_corpus_without_a_known_character_is_refused(texts):
    with pytest.raises(ValueError, match=r"`texts` holds no character of `alphabet`"):
        CharacterTokenizer.from_corpus(texts)
