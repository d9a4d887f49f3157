import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Audio, Features, Value
from loopback_hub import LoopbackHub
from small_corpora import encoded, tone

from antiphon.processing.corpora import STANDARD_FEATURES, CorpusError, decode, load_hub

CARD = "---\nlicense: cc-by-4.0\nconfigs:\n{configs}---\n"
CONFIG = """- config_name: {name}
  data_files:
  - split: train
    path: {name}/train-*
  - split: test
    path: {name}/test-*
"""


def table(num_items, first=0, paths=True, **columns):
    data = {
        "audio": [
            {"bytes": encoded(tone(0.1 * (index + 1))), "path": f"{first + index}.wav" if paths else None}
            for index in range(num_items)
        ]
    } | columns
    features = {name: Value("string") for name in columns} | {"audio": Audio()}
    return pa.Table.from_pydict(data, schema=Features({name: features[name] for name in data}).arrow_schema)


def parquet(table):
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


def dataset_files():
    train = table(2, sentence=["one", "two"], client=["ann", "bob"])
    test = table(1, first=2, sentence=["three"], client=["cid"])
    configs = "".join(CONFIG.format(name=name) for name in ("english", "german"))
    return {
        "README.md": CARD.format(configs=configs).encode(),
        "english/train-0.parquet": parquet(train),
        "english/test-0.parquet": parquet(test),
        "german/train-0.parquet": parquet(table(1, sentence=["eins"], client=["dora"])),
        "german/test-0.parquet": parquet(table(1, sentence=["zwei"], client=["emil"])),
    }


def write_files(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return str(folder)


@pytest.fixture
def load(tmp_path):
    def load(files=None, config="", **options):
        folder = write_files(tmp_path / "data", files or dataset_files())
        return load_hub(folder + config, cache_dir=tmp_path / "cache", **options)

    return load


def test_columns_are_mapped_and_audio_is_decoded(load):
    corpus = load(config=":english", speaker_column="client")
    assert corpus.column_names == list(STANDARD_FEATURES)
    assert corpus["text"][:] == ["one", "two", "three"]
    assert corpus["speaker_id"][:] == ["ann", "bob", "cid"]
    assert corpus["split"][:] == ["train", "train", "test"]
    assert corpus["file_name"][:] == ["train/0.wav", "train/1.wav", "test/2.wav"]
    assert corpus["duration_seconds"][:] == [0.1, 0.2, 0.1]
    assert set(corpus["license"]) == {"cc-by-4.0"}
    assert [len(decode(row)[0]) for row in corpus] == [800, 1600, 800]


def test_a_configuration_and_a_split_are_chosen(load):
    corpus = load(config=":german", split="test", text_column="client")
    assert (corpus["text"][:], corpus["sentence"][:]) == (["emil"], ["zwei"])


def test_items_without_names_are_numbered(load):
    corpus = load({"train.parquet": parquet(table(2, paths=False, text=["one", "two"]))}, license="MIT")
    assert corpus["file_name"][:] == ["train/00000000", "train/00000001"]
    assert set(corpus["license"]) == {"MIT"}


def test_a_dataset_without_licence_is_refused(load):
    with pytest.raises(CorpusError, match=r"1 of 1 items state no licence"):
        load({"train.parquet": parquet(table(1))})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"config": ":french"}, "could not be loaded: .*french"),
        ({"config": ":english", "split": "dev"}, "`split` is 'dev' but .* has train, test"),
        (
            {"config": ":english", "audio_column": "sound"},
            "`audio_column` is 'sound' but .* has audio, sentence",
        ),
        ({"config": ":english", "speaker_column": "who"}, "no column 'who' to become `speaker_id`"),
    ],
)
def test_what_is_not_there_is_told(load, options, message):
    with pytest.raises(CorpusError, match=message):
        load(**options)


def test_a_broken_recording_is_told(load):
    broken = pa.Table.from_pydict(
        {"audio": [{"bytes": b"no sound", "path": "a.wav"}]}, schema=Features({"audio": Audio()}).arrow_schema
    )
    with pytest.raises(CorpusError, match=r"audio 'a\.wav' cannot be read by soundfile"):
        load({"train.parquet": parquet(broken)}, license="MIT")


def test_a_dataset_comes_over_http(tmp_path):
    code = (
        "import json; from antiphon.processing.corpora import CorpusError, decode, load_corpus\n"
        "corpus = load_corpus('tester/digits:english', split='test', speaker_column='client')\n"
        "row = corpus[0]\n"
        "print(json.dumps([row['text'], row['speaker_id'], row['license'], len(decode(row)[0])]))\n"
        "try: load_corpus('tester/nothing')\n"
        "except CorpusError as error: print(error)\n"
    )
    with LoopbackHub() as hub:
        hub.create("tester/digits", dataset_files(), kind="dataset")
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=hub.environment(tmp_path / "home"),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )
    loaded, refused = done.stdout.splitlines() or [done.stderr, ""]
    assert json.loads(loaded) == ["three", "cid", "cc-by-4.0", 800]
    assert "dataset 'tester/nothing' could not be loaded" in refused
