import pytest
from small_corpora import encoded, tone, write_corpus

from antiphon.processing.corpora import CorpusError, decode, load_corpus, load_folder

ROWS = [
    {"file_name": "audio/a.wav", "text": "one", "speaker_id": "007", "split": "train", "license": "CC0-1.0"},
    {"file_name": "audio/b.wav", "text": "", "speaker_id": "008", "split": "test", "license": "CC0-1.0"},
]


def with_column(name, *cells):
    return [{**row, name: cell} for row, cell in zip(ROWS, cells)]


def test_loads_columns_nulls_and_audio(tmp_path):
    corpus = load_corpus(write_corpus(tmp_path / "mine", ROWS))
    assert (corpus["text"][:], corpus["speaker_id"][:]) == (["one", None], ["007", "008"])
    assert corpus["source"][:] == ["mine", "mine"]
    assert len(decode(corpus[1])[0]) == 800


def test_split_keeps_its_rows_and_an_unknown_one_is_told(tmp_path):
    folder = write_corpus(tmp_path, ROWS)
    assert load_folder(folder, split="test")["file_name"][:] == ["audio/b.wav"]
    with pytest.raises(CorpusError, match=r"`split` is 'dev' but .* has test, train"):
        load_folder(folder, split="dev")


def test_antiphon_data_names_a_folder(tmp_path, monkeypatch):
    write_corpus(tmp_path / "mine", ROWS)
    monkeypatch.setenv("ANTIPHON_DATA", str(tmp_path))
    assert len(load_corpus("mine")) == 2


def test_durations_are_computed_where_absent(tmp_path):
    folder = write_corpus(tmp_path, with_column("duration_seconds", "0.25", ""))
    assert load_folder(folder)["duration_seconds"][:] == [0.25, 0.1]


def test_a_score_has_no_duration(tmp_path):
    folder = write_corpus(tmp_path, [{"file_name": "a.mid", "license": "MIT"}])
    (folder / "a.mid").write_bytes(b"MThd")
    assert load_folder(folder)["duration_seconds"][:] == [None]


@pytest.mark.parametrize("cell", ["long", "-1", "nan"])
def test_a_bad_duration_names_its_row(tmp_path, cell):
    folder = write_corpus(tmp_path, with_column("duration_seconds", "0.25", cell))
    with pytest.raises(CorpusError, match=f"row 3: `duration_seconds` is '{cell}'"):
        load_folder(folder)


@pytest.mark.parametrize(("path", "text"), [("path", "sentence"), ("file_name", "transcription")])
def test_aliases(tmp_path, path, text):
    rows = [{path: row["file_name"], text: "two", "license": "MIT"} for row in ROWS]
    corpus = load_folder(write_corpus(tmp_path, rows))
    assert (corpus["file_name"][:], corpus["text"][:]) == (["audio/a.wav", "audio/b.wav"], ["two", "two"])
    assert path == "file_name" or path not in corpus.column_names


def test_an_ambiguous_alias_is_refused_unless_the_name_itself_is_there(tmp_path):
    rows = [{"file_name": "a.wav", "sentence": "one", "transcription": "two", "license": "MIT"}]
    with pytest.raises(CorpusError, match="could all be `text`"):
        load_folder(write_corpus(tmp_path, rows))
    corpus = load_folder(write_corpus(tmp_path, [{**rows[0], "text": "three"}]))
    assert (corpus[0]["text"], corpus[0]["sentence"]) == ("three", "one")


def test_own_columns_become_numbers_only_where_every_cell_is_one(tmp_path):
    cells = {
        "take": ("3", ""),
        "level": ("-2.5", "1"),
        "human": ("True", "False"),
        "code": ("003", "4"),
        "ratio": ("1.5", "n/a"),
        "age": ("", ""),
        "answer": ("nan", "1"),
    }
    rows = [{**row, **{name: pair[index] for name, pair in cells.items()}} for index, row in enumerate(ROWS)]
    corpus = load_folder(write_corpus(tmp_path, rows))
    assert corpus["take"][:] == [3, None]
    assert corpus["level"][:] == [-2.5, 1.0]
    assert corpus["human"][:] == [True, False]
    assert corpus["code"][:] == ["003", "4"]
    assert corpus["ratio"][:] == ["1.5", "n/a"]
    assert corpus["age"][:] == [None, None]
    assert corpus["answer"][:] == ["nan", "1"]


def test_a_licence_can_be_stated_for_all_items_but_not_twice(tmp_path):
    folder = write_corpus(tmp_path / "bare", [{"file_name": "a.wav"}])
    with pytest.raises(CorpusError, match=r"1 of 1 items state no licence.*license="):
        load_folder(folder)
    assert load_folder(folder, license="private")["license"][:] == ["private"]
    with pytest.raises(CorpusError, match="has that column"):
        load_folder(write_corpus(tmp_path / "stated", ROWS), license="private")


@pytest.mark.parametrize("name", ["../outside.wav", "/etc/hostname", "audio/../../outside.wav"])
def test_paths_stay_inside_the_folder(tmp_path, name):
    (tmp_path / "outside.wav").write_bytes(encoded(tone()))
    folder = write_corpus(tmp_path / "mine", [ROWS[0]])
    (folder / "metadata.csv").write_text(f"file_name,license\n{name},MIT\n")
    with pytest.raises(CorpusError, match=r"row 2: .* leads out of the folder"):
        load_folder(folder)


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    (tmp_path / "outside.wav").write_bytes(encoded(tone()))
    folder = write_corpus(tmp_path / "mine", [{"file_name": "a.flac", "license": "MIT"}])
    (folder / "a.flac").symlink_to(tmp_path / "outside.wav")
    with pytest.raises(CorpusError, match="leads out of the folder"):
        load_folder(folder)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", "no column `file_name`"),
        ("file_name,license\n", "lists no files"),
        ("text,license\none,MIT\n", "no column `file_name`"),
        ("file_name,text,text\na.wav,one,two\n", "column 'text' occurs twice"),
        ("file_name,audio\na.wav,b\n", "column `audio` is made from `file_name`"),
        ("file_name,license\na.wav,MIT\na.wav,MIT\n", "row 3: 'a.wav' is already listed in row 2"),
        ("file_name,license\na.wav,MIT\nmissing.wav,MIT\n", "row 3: 'missing.wav' does not exist"),
        ("file_name,license\n,MIT\n", "row 2: `file_name` is empty"),
        ("file_name,text,license\na.wav,one, two,MIT\n", "row 2: 4 cells but the header has 3"),
        ('file_name,license\na.wav,"MIT\n', "near line"),
        ("file_name,license\nbroken.wav,MIT\n", "row 2: 'broken.wav' is no readable audio file"),
    ],
)
def test_a_malformed_table_is_told(tmp_path, table, message):
    (tmp_path / "a.wav").write_bytes(encoded(tone()))
    (tmp_path / "broken.wav").write_bytes(b"RIFF no sound")
    (tmp_path / "metadata.csv").write_text(table)
    with pytest.raises(CorpusError, match=message):
        load_folder(tmp_path)


def test_a_table_in_another_encoding_is_told(tmp_path):
    (tmp_path / "metadata.csv").write_bytes("file_name,text\na.wav,café\n".encode("latin-1"))
    with pytest.raises(CorpusError, match="expected CSV in UTF-8"):
        load_folder(tmp_path)


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path):
    (tmp_path / "a.wav").write_bytes(encoded(tone()))
    (tmp_path / "metadata.csv").write_text("file_name,license\na.wav,MIT\n", encoding="utf-8-sig")
    assert len(load_folder(tmp_path)) == 1


def test_an_unknown_name_tells_all_ways(tmp_path, monkeypatch):
    monkeypatch.delenv("ANTIPHON_DATA", raising=False)
    with pytest.raises(CorpusError, match=r"metadata\.csv.*synthetic_commands.*ANTIPHON_DATA \(not set\).*owner/name"):
        load_corpus("nothing")
    with pytest.raises(CorpusError, match="no corpus"):
        load_corpus(tmp_path)
