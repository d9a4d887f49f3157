"""Common Voice as an unpacked release and from the Hub, as small look-alikes."""

import json
import logging
import subprocess
import sys

import pytest
from datasets import concatenate_datasets
from loopback_hub import LoopbackHub
from small_common_voice import CLIP_SECONDS, clip_row, write_release
from small_hub_voices import common_voice_files, write_files

from antiphon.processing.corpora import STANDARD_FEATURES, CorpusError, decode, load_common_voice, load_corpus
from antiphon.processing.corpora.common_voice import COMMON_VOICE_ID

OWN_COLUMNS = ["up_votes", "down_votes", "accents", "age", "gender", "locale"]
TRAIN = [clip_row(1, "ann"), clip_row(2, "ann", '"हाँ", वह बोला', up_votes=5, down_votes=1)]
DEV, TEST = [clip_row(3, "bob")], [clip_row(4, "cid")]
TABLES = {
    "train.tsv": TRAIN,
    "dev.tsv": DEV,
    "test.tsv": TEST,
    "validated.tsv": [*TRAIN, *DEV, *TEST, clip_row(5, "cid", up_votes=3)],
}


@pytest.fixture
def release(tmp_path):
    def release(tables=TABLES, **options):
        return write_release(tmp_path / "cv-corpus-17.0" / "hi", tables, **options)

    return release


def test_a_release_has_the_columns_of_a_corpus_and_its_votes(release):
    corpus = load_corpus(release())
    assert corpus.column_names == [*STANDARD_FEATURES, *OWN_COLUMNS]
    assert corpus["split"][:] == ["train", "train", "validation", "test", "validated"]
    assert corpus["speaker_id"][:] == ["ann", "ann", "bob", "cid", "cid"]
    assert corpus["text"][1] == '"हाँ", वह बोला'
    assert corpus["up_votes"][:] == [2, 5, 2, 2, 3]
    assert corpus["file_name"][0] == "clips/common_voice_hi_1.mp3"
    assert set(corpus["license"]) == {"CC0-1.0"}
    assert set(corpus["source"]) == {"Common Voice cv-corpus-17.0/hi"}
    assert (set(corpus["locale"]), set(corpus["gender"])) == ({"hi"}, {None})


def test_its_mp3s_are_decoded_and_measured(release):
    for row in load_corpus(release()):
        waveform, sampling_rate = decode(row)
        assert sampling_rate == 8_000
        # The encoder pads; what it says of that, the decoder takes away.
        assert len(waveform) / sampling_rate == pytest.approx(CLIP_SECONDS, abs=0.15)
        assert row["duration_seconds"] == pytest.approx(len(waveform) / sampling_rate, abs=0.02)


def test_durations_are_those_of_the_release_where_it_tells_them(release):
    folder = release()
    (folder / "clip_durations.tsv").write_text(
        "clip\tduration[ms]\ncommon_voice_hi_1.mp3\t4321\ncommon_voice_hi_2.mp3\t0\n", encoding="utf-8"
    )
    told, zero, *measured = load_corpus(folder)["duration_seconds"][:]
    assert told == 4.321
    assert all(value == pytest.approx(CLIP_SECONDS, abs=0.15) for value in (zero, *measured))


def test_one_split_and_the_validated_rest(release):
    folder = release()
    assert load_corpus(folder, split="validation")["speaker_id"][:] == ["bob"]
    assert load_corpus(folder, split="validated")["file_name"][:] == ["clips/common_voice_hi_5.mp3"]
    with pytest.raises(CorpusError, match=r"`split` is 'dev' but .* has test, train, validated, validation"):
        load_corpus(folder, split="dev")


def test_clips_are_chosen_by_votes(release, caplog):
    folder = release()
    with caplog.at_level(logging.WARNING):
        assert load_corpus(folder, min_up_votes=3)["up_votes"][:] == [5, 3]
    assert "3 of 5 clips have not the votes" in caplog.text
    assert load_corpus(folder, min_up_votes=3, max_down_votes=0)["up_votes"][:] == [3]
    with pytest.raises(CorpusError, match="none of 5 clips has at least 9 votes for it"):
        load_corpus(folder, min_up_votes=9)


def test_missing_and_empty_clips_are_counted_and_left_out(release, caplog):
    folder = release(without_clips=(2,))
    (folder / "clips" / "common_voice_hi_3.mp3").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        corpus = load_corpus(folder)
    assert corpus["speaker_id"][:] == ["ann", "cid", "cid"]
    assert "2 of 5 listed clips are not in" in caplog.text
    assert "the first is common_voice_hi_2.mp3" in caplog.text


@pytest.mark.parametrize(
    ("tables", "without", "message"),
    [
        ({"train.tsv": TRAIN}, (1, 2), "none of the 2 clips that the tables list is in .*unpack the release's clips"),
        ({"train.tsv": TRAIN, "test.tsv": TRAIN}, (), r"'common_voice_hi_1\.mp3' is in two of train\.tsv"),
        ({"train.tsv": [{**TRAIN[0], "up_votes": "many"}]}, (), "`up_votes` is 'many' but must be a number"),
        ({"validated.tsv": [{**TRAIN[0], "up_votes": ""}]}, (), "has no up_votes to choose clips by"),
    ],
)
def test_what_is_wrong_is_told(release, tables, without, message):
    with pytest.raises(CorpusError, match=message):
        load_corpus(release(tables, without_clips=without), min_up_votes=1)


def test_a_table_without_its_columns_is_told(release):
    folder = release({"train.tsv": TRAIN})
    (folder / "train.tsv").write_text("path\tsentence\na.mp3\tb\n", encoding="utf-8")
    with pytest.raises(CorpusError, match=r"train\.tsv has no column client_id; it has path, sentence"):
        load_corpus(folder)


def test_a_release_is_found_among_the_data(release, monkeypatch):
    monkeypatch.setenv("ANTIPHON_DATA", str(release().parent))
    assert len(load_corpus("hi", split="test")) == 1


def test_files_of_the_hub_have_the_same_columns_and_join_a_release(release, tmp_path):
    repository = write_files(tmp_path / "hub", common_voice_files(["de", "hi"]))
    corpus = load_common_voice(language="hi", repository=repository, cache_dir=tmp_path / "cache", min_up_votes=2)
    assert corpus.column_names == [*STANDARD_FEATURES, *OWN_COLUMNS]
    assert (corpus["speaker_id"][:], corpus["text"][:], corpus["split"][:]) == (["hi-train"], ["हाँ"], ["train"])
    assert corpus["up_votes"][:] == [2]
    assert len(concatenate_datasets([corpus, load_corpus(release())])) == 6
    with pytest.raises(CorpusError, match="none of 1 clips has at least 3 votes"):
        load_common_voice(language="hi", repository=repository, cache_dir=tmp_path / "cache", min_up_votes=3)


def test_it_comes_by_name_and_by_id_over_http_and_only_the_language_that_was_asked_for(tmp_path):
    code = (
        "import json; from antiphon.processing.corpora import decode, load_corpus\n"
        "named = load_corpus('common_voice', language='hi', split='test')\n"
        "files = {'test': 'hi/test-*.parquet'}\n"
        f"by_id = load_corpus('{COMMON_VOICE_ID}', split='test', data_files=files, license='CC0-1.0')\n"
        "told = [[c['speaker_id'][:], c['text'][:], len(decode(c[0])[0]) > 1000] for c in (named, by_id)]\n"
        "print(json.dumps(told))\n"
    )
    with LoopbackHub() as hub:
        hub.create(COMMON_VOICE_ID, common_voice_files(["de", "hi"]), kind="dataset")
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=hub.environment(tmp_path / "home"),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )
        requests = list(hub.requests)
    assert done.returncode == 0, done.stderr[-3000:]
    named, by_id = json.loads(done.stdout)
    assert named == by_id == [["hi-test"], ["हाँ"], True]
    fetched = [path for method, path, _ in requests if method == "GET" and path.endswith(".parquet")]
    assert any("hi/test-" in path for path in fetched)
    assert not any("de/" in path or "train-" in path for path in fetched)
