"""Any texts, spoken by the synthetic voices. Synthesis itself needs the extra `synthesis`; the plan does not."""

import importlib.util
import logging
from collections import Counter

import pytest
from small_corpora import write_corpus

from antiphon.processing.corpora import CorpusError, decode, load_corpus, synthetic_shards
from antiphon.processing.corpora.synthetic import load_voices
from antiphon.processing.corpora.synthetic_sentences import plan_sentences, readable

needs_engine = pytest.mark.skipif(
    importlib.util.find_spec("espeakng_loader") is None,
    reason="espeakng-loader is not installed (pip install antiphon[synthesis])",
)
SENTENCES = ["The cat sat down.", "Where is it?", "We went home."]


@pytest.fixture
def sentences(tmp_path):
    (tmp_path / "sentences.txt").write_text("\n".join([*SENTENCES, "", "  "]), encoding="utf-8")
    return tmp_path / "sentences.txt"


@pytest.fixture
def load(tmp_path):
    def load(texts, **options):
        return load_corpus(
            "synthetic_sentences", texts=texts, **{"cache_dir": tmp_path / "cache", "num_proc": 1, **options}
        )

    return load


def folder_of(tmp_path, texts, splits):
    rows = [
        {"file_name": f"{index}.wav", "text": text, "split": split, "license": "CC-BY-4.0"}
        for index, (text, split) in enumerate(zip(texts, splits))
    ]
    return write_corpus(tmp_path / "spoken", rows)


def test_every_text_and_every_voice_occurs_equally_often_and_a_longer_plan_begins_alike():
    texts = [(text, "CC0-1.0") for text in ("one", "two", "three", "four")]
    plan = plan_sentences(texts, "here", 256, seed=0)
    assert set(Counter(row["text"] for row in plan).values()) == {64}
    assert set(Counter(row["speaker_id"] for row in plan).values()) == {2}
    assert plan[:100] == plan_sentences(texts, "here", 100, seed=0)
    assert plan != plan_sentences(texts, "here", 256, seed=1)


def test_no_voice_is_in_two_splits():
    plan = plan_sentences([("one", "CC0-1.0")], "here", 1000, seed=0)
    voices = load_voices()
    for split in ("train", "validation", "test"):
        spoken_by = {row["speaker_id"] for row in plan if row["split"] == split}
        assert spoken_by == set(voices[split])


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("I saw a cat.", "I saw a cat."),
        ("RUBOUT G M E F THREE NINE", "rubout g m e f three nine"),
        ("A R T", "ay r t"),
        ("ENTER A Z", "enter ay zee"),
        ("A CAT", "a cat"),
        ("Call the USA", "Call the USA"),
    ],
)
def test_texts_are_written_as_the_engine_must_read_them(text, spoken):
    assert readable(text) == spoken


@needs_engine
def test_lines_of_a_file_are_spoken(load, sentences):
    corpus = load(sentences, num_utterances=6, license="CC0-1.0")
    assert Counter(corpus["text"][:]) == dict.fromkeys(SENTENCES, 2)
    assert set(corpus["license"]) == {"CC0-1.0"}
    assert set(corpus["source"]) == {"eSpeak NG, texts of sentences.txt"}
    for row in corpus:
        waveform, sampling_rate = decode(row)
        assert (sampling_rate, row["duration_seconds"]) == (16_000, len(waveform) / 16_000)
        assert 0.3 < row["duration_seconds"] < 4


@needs_engine
def test_the_texts_of_a_split_are_spoken_under_their_licence(load, tmp_path, caplog):
    folder = folder_of(tmp_path, ["one", "room 12", "—", "два", "five"], ["train"] * 4 + ["validation"])
    with caplog.at_level(logging.WARNING):
        corpus = load({"name": str(folder), "split": "train"}, num_utterances=2)
    assert set(corpus["text"]) == {"one"}
    assert set(corpus["license"]) == {"CC-BY-4.0"}
    assert set(corpus["source"]) == {"eSpeak NG, texts of spoken train"}
    assert "3 of 4 texts of spoken train are left out: 1 in letters that the voices cannot read, 1 with digits" in (
        caplog.text
    )


@needs_engine
def test_it_is_spoken_once_and_other_texts_anew(load, sentences, monkeypatch):
    first = load(sentences, num_utterances=3, license="CC0-1.0")
    with monkeypatch.context() as patch:
        patch.setattr(synthetic_shards, "_synthesise", pytest.fail)
        assert load(sentences, num_utterances=3, license="CC0-1.0")["audio"][:] == first["audio"][:]
    sentences.write_text("Now it is something else.\n", encoding="utf-8")
    assert set(load(sentences, num_utterances=3, license="CC0-1.0")["text"]) == {"Now it is something else."}


def test_texts_of_a_test_are_refused_unless_asked_for(load, tmp_path):
    folder = folder_of(tmp_path, ["one", "two"], ["train", "test"])
    with pytest.raises(CorpusError, match="has the splits test, train; add the `split`"):
        load({"name": str(folder)})
    with pytest.raises(CorpusError, match="pass allow_test_texts=True"):
        load({"name": str(folder), "split": "test"})


@needs_engine
def test_texts_of_a_test_can_be_asked_for(load, tmp_path):
    folder = folder_of(tmp_path, ["one", "two"], ["train", "test"])
    corpus = load({"name": str(folder), "split": "test"}, allow_test_texts=True, num_utterances=2)
    assert set(corpus["text"]) == {"two"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"texts": "nowhere.txt"}, "'nowhere.txt', which is no file; give a text file"),
        ({"texts": {"split": "train"}}, "needs the `name` of a corpus"),
        ({"license": None}, r"licence of the texts in .* is not known; pass license="),
        ({"num_utterances": 0}, "`num_utterances` is 0"),
        ({"split": "dev"}, "`split` is 'dev' but synthetic_sentences has train, validation, test"),
    ],
)
def test_what_cannot_be_spoken_is_told(load, sentences, options, message):
    with pytest.raises(CorpusError, match=message):
        load(**{"texts": sentences, "license": "CC0-1.0", **options})


def test_nothing_that_can_be_spoken_is_an_error(load, sentences):
    sentences.write_text("42\n---\n", encoding="utf-8")
    with pytest.raises(CorpusError, match=r"no text of sentences\.txt can be spoken: 1 with digits .*, 1 without"):
        load(sentences, license="CC0-1.0")
