"""A manifest names rows of corpora and loads them again."""

import csv

import pytest
from datasets import concatenate_datasets
from small_corpora import write_corpus

from antiphon.processing.corpora import STANDARD_FEATURES, CorpusError, load_corpus, manifest_text


def write(folder, texts):
    rows = [
        {"file_name": f"{index}.wav", "text": text, "speaker_id": "ann", "split": "train", "license": "CC0-1.0"}
        for index, text in enumerate(texts)
    ]
    return write_corpus(folder, rows)


@pytest.fixture
def folders(tmp_path):
    # Their files have the same names, and a text needs quotes.
    return [write(tmp_path / "here", ["one", 'he said "two, three"', "four"]), write(tmp_path / "there", ["five", ""])]


@pytest.fixture
def manifest(folders, tmp_path):
    here, there = map(load_corpus, folders)
    rows = concatenate_datasets([there, here.select([2, 0, 2, 1])])
    origins = [f'{{"name": "{folders[1]}"}}'] * 2 + [f'{{"name": "{folders[0]}", "license": null}}'] * 4
    path = tmp_path / "train.csv"
    path.write_text(manifest_text(rows, origins), encoding="utf-8")
    return path, rows


def test_a_manifest_is_loaded_as_it_was_written(manifest):
    path, rows = manifest
    loaded = load_corpus(str(path))
    assert loaded.column_names == list(STANDARD_FEATURES)
    for name in STANDARD_FEATURES:
        assert loaded[name][:] == rows[name][:]
    with path.open(encoding="utf-8", newline="") as file:
        header = next(csv.reader(file))
    assert header[:-1] == ["file_name", "text", "speaker_id", "duration_seconds", "source", "license", "split"]
    assert load_corpus(str(path), split="train")["text"][:] == rows["text"][:]
    with pytest.raises(CorpusError, match="`split` is 'test' but"):
        load_corpus(str(path), split="test")


def test_a_corpus_that_changed_since_is_told(manifest, folders):
    path, _ = manifest
    write(folders[0], ["one", "two", "four"])
    with pytest.raises(CorpusError, match=r"text of '1\.wav' is 'he said .* but 'two' in its corpus; correct it there"):
        load_corpus(str(path))
    write(folders[0], ["one"])
    with pytest.raises(CorpusError, match=r"3 rows are not in their corpus any more, the first is '2\.wav'"):
        load_corpus(str(path))


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("speaker_id", "speaker", "has no column speaker_id; is it a manifest"),
        ('"{""name""', '"[""name""', "expected the corpus of the row as JSON"),
        ('""name""', '""named""', "expected the corpus of the row as JSON"),
    ],
)
def test_a_table_that_is_no_manifest_is_told(manifest, before, after, message):
    path, _ = manifest
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after), encoding="utf-8")
    with pytest.raises(CorpusError, match=message):
        load_corpus(str(path))
