"""The form in which transcripts are scored."""

import pytest

from antiphon.eval.text_normalization import text_normalizer
from antiphon.processing import CharacterTokenizer


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" Hello, World! ", "hello world"),
        ("Don’t STOP -- it's 9 o'clock…", "don't stop it's 9 o'clock"),
        ("Äpfel\tund Öl", "äpfel und öl"),
        # The vowel signs of Hindi are marks, not letters.
        ("हिन्दी में।", "हिन्दी में"),
        ("?!", ""),
    ],
)
def test_words_of_any_script_in_lower_case(text, expected):
    normalize, name = text_normalizer(object())
    assert normalize(text) == expected
    assert name.startswith("words in lower case (")


def test_a_tokenizer_with_a_form_of_its_own_is_asked():
    normalize, name = text_normalizer(CharacterTokenizer.from_corpus(["ab"]))
    assert normalize("Äb, A1") == "b a1"
    other = text_normalizer(CharacterTokenizer.from_corpus(["ab"], alphabet="ab"))[1]
    assert name.startswith("CharacterTokenizer.normalize_text (")
    assert name != other, "the digest must tell the rules apart"
