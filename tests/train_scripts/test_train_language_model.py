"""Training a language model from a corpus, a file of lines or an ARPA file."""

import pytest
from tiny_checkpoint import write_checkpoint
from tone_corpus import write_tone_corpus

from antiphon.processing.language_model import load_language_model
from antiphon.processing.language_ngram import BackoffNgrams
from antiphon.train_scripts.train_language_model import main


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return str(write_tone_corpus(tmp_path_factory.mktemp("tones") / "corpus"))


def test_from_a_corpus_with_perplexity_on_other_rows(corpus, tmp_path, capsys):
    main([corpus, "--out", str(tmp_path / "model"), "--order", "2", "--validation-where", "split=train"])
    output = capsys.readouterr().out
    assert "word 2-gram (" in output
    assert "perplexity per word: " in output
    model = load_language_model(tmp_path / "model")
    assert model.ngrams.order == 2
    assert model.origin["split"] == "train"
    assert model.origin["num_texts"] > 0


@pytest.mark.parametrize("split", ["test", "all"])
def test_test_rows_are_refused(corpus, tmp_path, split):
    with pytest.raises(SystemExit, match="of a test split: nothing may be learnt"):
        main([corpus, "--split", split, "--out", str(tmp_path / "model")])
    with pytest.raises(SystemExit, match="of a test split: nothing may be learnt"):
        main([corpus, "--out", str(tmp_path / "model"), "--validation-split", split])
    assert not (tmp_path / "model").exists()


def test_from_lines_in_the_form_of_a_checkpoint(tmp_path, capsys):
    write_checkpoint(tmp_path / "checkpoint")
    (tmp_path / "lines.txt").write_text("One, TWO!\n\n...\ntwo\n")
    main(
        [str(tmp_path / "lines.txt"), "--level", "character", "--order", "4", "--out", str(tmp_path / "model"),
         "--text-like", str(tmp_path / "checkpoint")]
    )  # fmt: skip
    assert "left out: 2 of 4 texts" in capsys.readouterr().out
    model = load_language_model(tmp_path / "model")
    assert model.level == "character"
    assert model.log_probability("one two") > model.log_probability("two one")


def test_an_arpa_file_is_taken_over(tmp_path, capsys):
    ngrams = BackoffNgrams.witten_bell([["hello", "World"], ["hello"]], 2)
    (tmp_path / "brought.arpa").write_text(ngrams.to_arpa())
    main([str(tmp_path / "brought.arpa"), "--out", str(tmp_path / "model")])
    assert "never recognised: 1 of 2 words" in capsys.readouterr().out
    model = load_language_model(tmp_path / "model")
    assert model.ngrams.probabilities == ngrams.probabilities
    (tmp_path / "loud.arpa").write_text(BackoffNgrams.witten_bell([["HELLO"]], 1).to_arpa())
    with pytest.raises(SystemExit, match=r"\['HELLO'\] would be \['hello'\]"):
        main([str(tmp_path / "loud.arpa"), "--out", str(tmp_path / "other")])
    (tmp_path / "broken.arpa").write_text("nothing\n")
    with pytest.raises(SystemExit, match="is no ARPA file"):
        main([str(tmp_path / "broken.arpa"), "--out", str(tmp_path / "other")])


def test_texts_of_nothing_are_refused(tmp_path):
    (tmp_path / "lines.txt").write_text("...\n")
    with pytest.raises(SystemExit, match="holds no text"):
        main([str(tmp_path / "lines.txt"), "--out", str(tmp_path / "model")])
