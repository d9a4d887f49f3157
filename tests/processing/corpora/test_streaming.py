"""Corpora that are read row by row."""

import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Audio, Features, Value
from loopback_hub import LoopbackHub
from small_corpora import encoded, tone
from tone_corpus import write_tone_corpus

from antiphon.processing.corpora import STANDARD_FEATURES, CorpusError, CorpusStream, load_corpus


@pytest.fixture
def folder(tmp_path):
    return write_tone_corpus(tmp_path / "corpus")


def test_a_streamed_folder_has_the_rows_of_the_loaded_one(folder):
    stream = CorpusStream(folder)
    rows = list(stream)
    assert list(rows[0]) == list(STANDARD_FEATURES)
    assert rows == list(load_corpus(folder).select_columns(list(STANDARD_FEATURES)))
    assert list(stream) == rows, "a second pass reads the same"
    train = list(CorpusStream(folder, split="train"))
    assert {row["split"] for row in train} == {"train"}
    assert 0 < len(train) < len(rows)


def test_a_folder_is_found_under_the_data_root(folder, monkeypatch):
    monkeypatch.setenv("ANTIPHON_DATA", str(folder.parent))
    assert next(iter(CorpusStream("corpus")))["text"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("audio/000.wav,a,b,train,tones,", "row 2 states no licence"),
        ("../outside.wav,a,b,train,tones,MIT", "leads out of the folder"),
        ("audio/nothing.wav,a,b,train,tones,MIT", "does not exist"),
        ("audio/000.wav,a", "2 cells but the header has 6"),
    ],
)
def test_a_malformed_row_is_named_when_it_is_reached(folder, line, message):
    table = folder / "metadata.csv"
    header = table.read_text().splitlines()[0]
    table.write_text(f"{header}\n{line}\n")
    stream = CorpusStream(folder)
    with pytest.raises(CorpusError, match=message):
        next(iter(stream))


def test_a_licence_can_be_given(folder):
    table = folder / "metadata.csv"
    table.write_text("file_name,text\naudio/000.wav,a\n")
    (row,) = CorpusStream(folder, license="MIT")
    assert (row["license"], row["source"], row["split"]) == ("MIT", "corpus", None)
    assert row["duration_seconds"] == pytest.approx(load_corpus(folder, license="MIT")[0]["duration_seconds"])


def test_what_is_no_corpus_is_refused():
    with pytest.raises(CorpusError, match="no corpus 'nowhere' to stream"):
        CorpusStream("nowhere")
    with pytest.raises(CorpusError, match="needs one, such as 'train'"):
        CorpusStream("owner/name")


def test_a_dataset_is_streamed_over_http(tmp_path):
    sounds = [{"bytes": encoded(tone(0.1 * (index + 1))), "path": f"{index}.wav"} for index in range(3)]
    features = Features({"audio": Audio(), "sentence": Value("string"), "client_id": Value("string")})
    data = {"audio": sounds, "sentence": ["one", "two", "three"], "client_id": ["ann", "bob", "ann"]}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pydict(data, schema=features.arrow_schema), sink)
    files = {"README.md": b"---\nlicense: cc-by-4.0\n---\n", "data/train-0.parquet": sink.getvalue().to_pybytes()}
    code = (
        "import json; from antiphon.processing.corpora import CorpusError, CorpusStream, decode\n"
        "rows = list(CorpusStream('tester/digits', split='train'))\n"
        "names = ('text', 'speaker_id', 'license', 'split', 'source')\n"
        "print(json.dumps([[*(row[name] for name in names), len(decode(row)[0])] for row in rows]))\n"
        "try: list(CorpusStream('tester/digits', split='train', text_column='words'))\n"
        "except CorpusError as error: print(error)\n"
        "try: list(CorpusStream('tester/nothing', split='train'))\n"
        "except CorpusError as error: print(error)\n"
    )
    with LoopbackHub() as hub:
        hub.create("tester/digits", files, kind="dataset")
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=hub.environment(tmp_path / "home"),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
        )
    rows, column, missing = done.stdout.splitlines() or [done.stderr, "", ""]
    source = ["cc-by-4.0", "train", "tester/digits"]
    assert json.loads(rows) == [
        ["one", "ann", *source, 800],
        ["two", "bob", *source, 1600],
        ["three", "ann", *source, 2400],
    ]
    assert "no column 'words' to become `text`" in column
    assert "dataset 'tester/nothing' could not be streamed" in missing
