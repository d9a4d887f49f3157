"""Beam search in benchmarks: a row names its decoding, tuning refuses test rows and stores its choice."""

import argparse
import json

import numpy as np
import pytest
from tiny_checkpoint import write_checkpoint
from tone_corpus import write_tone_corpus
from transformers import AutoProcessor

from antiphon.eval import benchmark_recognition as benchmark
from antiphon.eval import tune_decoding
from antiphon.eval.beam_decoding import (
    BeamOptions,
    add_beam_arguments,
    describe_search,
    read_beam_arguments,
    score_hot_words,
)
from antiphon.eval.conditions import condition_differences
from antiphon.eval.selection import select_split
from antiphon.processing.corpora import load_corpus
from antiphon.processing.language_model import CharacterLanguageModel, WordLanguageModel, load_language_model

TEXTS = ["one two", "two two three", "one"]


@pytest.fixture(scope="module")
def language_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("language")
    WordLanguageModel.train(TEXTS, order=2, weight=0.4, length_bonus=0.5).save(folder)
    return folder


@pytest.fixture(scope="module")
def corpus_folder(tmp_path_factory):
    return write_tone_corpus(tmp_path_factory.mktemp("tones") / "corpus")


@pytest.fixture(scope="module")
def corpus(corpus_folder):
    return load_corpus(str(corpus_folder))


@pytest.fixture
def checkpoint(tmp_path):
    write_checkpoint(tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def measure(checkpoint, corpus, folder, **options):
    test = select_split(corpus, "test")
    return benchmark.benchmark_recognition(
        checkpoint, test, name="tones", corpus="tones", out=folder, resample=True, **options
    )


def test_a_row_names_its_decoding_and_is_not_mixed_with_others(checkpoint, corpus, language_model, tmp_path):
    digest = load_language_model(language_model).sha256[:12]
    greedy = measure(checkpoint, corpus, tmp_path / "greedy")
    options = BeamOptions(4, language_model, hot_words=("OI", "e", "nine"), hot_word_bonus=0.5)
    row = measure(checkpoint, corpus, tmp_path / "beams", beams=options)
    assert row["conditions"]["decoding"].startswith(
        f"beam search of 4 beams, word 2-gram ({digest}) weighted 0.4, length bonus 0.5, 3 hot words ("
    )
    assert row["conditions"]["decoding"].endswith(") at 0.5")
    words = " ".join(select_split(corpus, "test")["text"]).split()
    assert row["hot_words"]["said"] == words.count("oi") + words.count("e") > 0
    assert "hot words: found" in benchmark.format_row(row)
    assert "decoding" in condition_differences(greedy, row)
    other = measure(checkpoint, corpus, tmp_path / "other", beams=BeamOptions(4, language_model, weight=0.5))
    assert "decoding" in condition_differences(row, other)


def test_a_batch_is_searched_like_each_item_alone(checkpoint, corpus, language_model):
    options = BeamOptions(4, language_model)
    model, processor = benchmark.load_recogniser(checkpoint)
    search = options.make_search(checkpoint, processor.tokenizer)
    test = select_split(corpus, "test")
    together = benchmark.transcribe(model, processor, test, [1.0] * len(test), search=search, resample=True).texts
    alone = [
        benchmark.transcribe(model, processor, test.select([index]), [1.0], search=search, resample=True).texts[0]
        for index in range(len(test))
    ]
    assert together == alone
    assert len(set(together)) > 1, "else equality would say little"


def test_the_checkpoints_own_language_model_is_used(checkpoint):
    processor = AutoProcessor.from_pretrained(checkpoint, trust_remote_code=True)
    tokenizer = processor.tokenizer
    assert describe_search(BeamOptions(8).make_search(checkpoint, tokenizer)) == "beam search of 8 beams"
    CharacterLanguageModel.train(TEXTS, order=3, weight=0.25).save(checkpoint)
    assert "character 3-gram" in describe_search(BeamOptions(8).make_search(checkpoint, tokenizer))


def test_options_that_need_beams_are_refused_without(tmp_path):
    parser = argparse.ArgumentParser()
    add_beam_arguments(parser)
    assert read_beam_arguments(parser.parse_args([])) is None
    with pytest.raises(ValueError, match=r"`--language-model` needs beam search; add e\.g\. --beams 32"):
        read_beam_arguments(parser.parse_args(["--language-model", "folder"]))
    (tmp_path / "words.txt").write_text("Ann\n\n new york \n")
    options = read_beam_arguments(parser.parse_args(["--beams", "8", "--hot-words", str(tmp_path / "words.txt")]))
    assert (options.num_beams, options.hot_words) == (8, ("Ann", "new york"))


def test_a_lexicon_and_beams_exclude_each_other(checkpoint, corpus, tmp_path):
    with pytest.raises(ValueError, match="two ways of decoding"):
        measure(checkpoint, corpus, tmp_path, lexicon=["one"], beams=BeamOptions(4))


def test_hot_words_are_counted_within_their_items():
    references = ["call ann now", "ann and ann", "new york", "nobody"]
    hypotheses = ["call ann now", "ann and and", "new yolk", "new york ann"]
    assert score_hot_words(references, hypotheses, ["ann", "new york"]) == {
        "said": 4, "found": 2, "false_alarms": 2, "recall": 0.5,
    }  # fmt: skip
    assert score_hot_words(["a"], ["a"], ["b"])["recall"] is None


# ---------------------------------------------------------------- tuning


def test_the_lowest_wer_is_chosen_then_the_lowest_cer_then_the_smallest_weight():
    def setting(wer, cer, weight):
        return {"wer": wer, "cer": cer, "weight": weight, "length_bonus": 0.0}

    settings = [setting(0.2, 0.1, 0.1), setting(0.1, 0.3, 0.1), setting(0.1, 0.2, 0.5), setting(0.1, 0.2, 0.4)]
    assert tune_decoding.best_setting(settings) == settings[3]


def test_settings_are_measured_on_what_was_heard(checkpoint):
    _, processor = benchmark.load_recogniser(checkpoint)
    tokenizer = processor.tokenizer
    # Sure of "one two", but for its last letter.
    ids = tokenizer.convert_tokens_to_ids(list("one|two"))
    heard = np.full((14, len(tokenizer)), -9.0)
    heard[::2, tokenizer.pad_token_id] = 0
    heard[range(1, 14, 2), ids] = 0
    heard[13, tokenizer.convert_tokens_to_ids("x")] = 0.2
    model = WordLanguageModel.train(TEXTS, order=2)
    results = tune_decoding.try_settings(
        [heard], ["one two"], tokenizer, [model], weights=[0.0, 0.5], bonuses=[0.0], num_beams=8
    )
    assert [result["wer"] for result in results] == [0.5, 0.5, 0.0]
    assert [result["language_model"] for result in results] == [None, 0, 0]
    assert results[1]["cer"] == pytest.approx(1 / 7)


def tune(checkpoint, corpus_folder, language_model, out, *options):
    tune_decoding.main(
        [str(checkpoint), "--corpus", str(corpus_folder), "--language-model", str(language_model), "--beams", "2",
         "--weights", "0.5", "--bonuses", "0", "2", "--out", str(out), *options]
    )  # fmt: skip


def test_test_rows_are_refused(checkpoint, corpus_folder, language_model, tmp_path):
    for split in ("test", "all"):
        with pytest.raises(SystemExit, match="of a test split: nothing may be learnt"):
            tune(checkpoint, corpus_folder, language_model, tmp_path / "out", "--split", split)
    assert not (tmp_path / "out").exists()


def test_the_choice_is_stored_in_the_checkpoint(checkpoint, corpus_folder, language_model, monkeypatch, capsys):
    # Random weights are helped by no language model, and this is about what follows.
    monkeypatch.setattr(tune_decoding, "best_setting", lambda results: results[-1])
    tune(checkpoint, corpus_folder, language_model, checkpoint, "--split", "train")
    assert "whose WER is therefore optimistic" in capsys.readouterr().out
    processor = AutoProcessor.from_pretrained(checkpoint, trust_remote_code=True)
    stored = processor.language_model
    assert (stored.weight, stored.length_bonus) == (0.5, 2.0)
    assert stored.sha256 == load_language_model(language_model).sha256
    assert stored.origin["tuned"]["split"] == "train"
    assert len(json.loads((checkpoint / "tuning.json").read_text())) == 3
