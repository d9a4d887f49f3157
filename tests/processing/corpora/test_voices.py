import pandas as pd
import pytest
from small_corpora import write_corpus

from antiphon.processing.corpora import CorpusError, audit_split, voices
from antiphon.processing.corpora.voices import (
    SIDES,
    STORED_VOICES,
    VOICE_CORPORA,
    load_conversion_pairs,
    load_speaker_trials,
    load_voices,
)


@pytest.fixture(scope="module")
def listed():
    return pd.read_csv(STORED_VOICES, dtype=str)


@pytest.fixture(scope="module")
def speaker_of(listed):
    return dict(zip(listed["corpus"] + "/" + listed["file_name"], listed["speaker_id"]))


@pytest.fixture(scope="module")
def side_of(listed):
    return dict(zip(listed["speaker_id"], listed["side"]))


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Two small corpora, and a stored list of them."""
    rows = [
        {"file_name": "a.wav", "speaker_id": "ann", "gender": "F", "text": "one", "license": "CC0"},
        {"file_name": "b.wav", "speaker_id": "bob", "gender": "M", "text": "two", "license": "CC0"},
        {"file_name": "c.wav", "speaker_id": "cid", "gender": "male", "text": "three", "license": "CC0"},
    ]
    write_corpus(tmp_path / "an4", rows)
    write_corpus(tmp_path / "librispeech_speakers", [{**row, "gender": "other"} for row in rows[:1]])
    lines = ["an4,a.wav,ann,train", "an4,b.wav,bob,test", "an4,c.wav,cid,train", "librispeech_speakers,a.wav,ann,train"]
    (tmp_path / "voices.csv").write_text("\n".join(["corpus,file_name,speaker_id,side", *lines, ""]))
    monkeypatch.setenv("ANTIPHON_DATA", str(tmp_path))
    monkeypatch.setattr(voices, "STORED_VOICES", tmp_path / "voices.csv")
    return tmp_path


def test_no_stored_speaker_is_on_two_sides_and_no_recording_is_listed_twice(listed):
    assert listed.groupby("speaker_id")["side"].nunique().max() == 1
    assert not listed.duplicated(["corpus", "file_name"]).any()
    assert set(listed["side"]) == set(SIDES)
    assert set(listed["corpus"]) == set(VOICE_CORPORA)


def test_the_stored_sides_are_those_that_were_promised(listed):
    sides = listed.groupby("corpus")["side"].agg(set)
    assert sides["kathleen_arctic"] == {"train"}
    assert sides["vctk_parallel"] == sides["emodb4"] == {"test"}
    speakers = listed.groupby(["corpus", "side"])["speaker_id"].nunique()
    assert speakers["mini_librispeech"].to_dict() == {"test": 4, "train": 18, "validation": 3}
    assert speakers["an4"].to_dict() == {"test": 10, "train": 64, "validation": 10}
    assert speakers["common_voice_en"].to_dict() == {"test": 20, "train": 50, "validation": 6}
    assert speakers["librispeech_speakers"].to_dict() == {"test": 24, "train": 193, "validation": 11}


@pytest.mark.parametrize("side", ["validation", "test"])
def test_the_stored_trials_are_what_they_say(side, speaker_of, side_of):
    trials = load_speaker_trials(side)
    assert (trials["is_same"] == (trials["speaker_1"] == trials["speaker_2"])).all()
    assert (trials["speaker_1"] == trials["file_1"].map(speaker_of)).all()
    assert {side_of[speaker] for speaker in (*trials["speaker_1"], *trials["speaker_2"])} == {side}
    assert (trials["file_1"] != trials["file_2"]).all()
    assert not pd.Series(map(frozenset, zip(trials["file_1"], trials["file_2"]))).duplicated().any()
    assert (trials["file_2"].str.partition("/")[0] == trials["corpus"]).all()


@pytest.mark.parametrize(("side", "number"), [("validation", 1300), ("test", 3022)])
def test_the_stored_trials_are_balanced_in_every_corpus(side, number):
    trials = load_speaker_trials(side)
    different = trials[~trials["is_same"]]
    assert len(trials) == number
    assert (trials.groupby("corpus")["is_same"].mean() == 0.5).all()
    assert different.groupby("corpus")["same_gender"].mean().between(0.5, 0.55).all()


@pytest.mark.parametrize("side", ["validation", "test"])
def test_the_stored_pairs_are_among_strangers(side, speaker_of, side_of):
    pairs = load_conversion_pairs(side)
    assert {side_of[speaker] for speaker in (*pairs["source_speaker"], *pairs["target_speaker"])} == {side}
    for pair in pairs.itertuples():
        assert pair.source_speaker == speaker_of[pair.source_file] != pair.target_speaker
        assert {speaker_of[name] for name in pair.reference_files} == {pair.target_speaker}
        if isinstance(pair.parallel_file, str):
            assert speaker_of[pair.parallel_file] == pair.target_speaker
            assert pair.parallel_file not in pair.reference_files


def test_the_stored_pairs_fill_every_scenario():
    pairs = load_conversion_pairs("test")
    assert pairs.groupby("scenario").size().to_dict() == {
        "same_gender": 32,
        "cross_gender": 32,
        "accent": 20,
        "cross_language": 24,
        "expressive": 32,
        "parallel": 36,
        "noisy_reference": 24,
        "reference_seconds": 24,
    }
    assert pairs["text"].notna().all()
    assert pairs.loc[pairs["scenario"].isin(["parallel", "expressive"]), "parallel_file"].notna().all()
    assert set(pairs.loc[pairs["scenario"] == "noisy_reference", "reference_snr_db"]) == {0, 10, 20}
    assert set(pairs.loc[pairs["scenario"] == "reference_seconds", "reference_seconds"]) == {1, 3, 10}
    assert set(load_conversion_pairs("test", quick=True).groupby("scenario").size()) == {6}


def test_validation_has_pairs_of_read_english():
    pairs = load_conversion_pairs("validation")
    counts = {"same_gender": 12, "cross_gender": 12, "noisy_reference": 9, "reference_seconds": 9}
    assert pairs.groupby("scenario").size().to_dict() == counts
    assert set(load_conversion_pairs("validation", quick=True).groupby("scenario").size()) == {6}


@pytest.mark.parametrize("side", ["validation", "test"])
def test_every_target_but_rare_accents_has_recordings_that_no_pair_gives(side, listed, speaker_of):
    pairs = load_conversion_pairs(side)
    given = {*pairs["reference_files"].explode(), *pairs["parallel_file"].dropna()}
    held_out = {speaker for name, speaker in speaker_of.items() if name not in given}
    without = pairs[~pairs["target_speaker"].isin(held_out)]
    assert set(without["scenario"]) <= {"accent"}
    assert (without["target_speaker"].str.startswith("cv")).all()
    utterances = {name: name.rpartition("/")[2] for name in speaker_of}
    listed_twice = pd.Series(utterances).duplicated(keep=False)
    assert not listed_twice[pairs["reference_files"].explode()].any()


def test_longer_references_begin_with_the_shorter():
    pairs = load_conversion_pairs("test")
    for _, own in pairs[pairs["scenario"] == "reference_seconds"].groupby("source_file"):
        names = own.sort_values("reference_seconds")["reference_files"].tolist()
        assert names[1] == names[2][: len(names[1])]


def test_one_side_is_loaded_with_names_that_tell_the_corpus(data):
    train = load_voices("train")
    assert train["file_name"][:] == ["an4/a.wav", "an4/c.wav", "librispeech_speakers/a.wav"]
    assert train["gender"][:] == ["F", "M", None]
    assert train["corpus"][:] == ["an4", "an4", "librispeech_speakers"]
    assert set(train["split"]) == {"train"}
    assert audit_split(train, load_voices("test")).num_shared_groups == 0


def test_corpora_are_chosen(data):
    assert load_voices("train", ["librispeech_speakers"])["file_name"][:] == ["librispeech_speakers/a.wav"]


def test_a_list_that_names_a_missing_recording_is_refused(data):
    with (data / "voices.csv").open("a") as file:
        file.write("an4,lost.wav,ann,train\n")
    with pytest.raises(CorpusError, match=r"an4, as voices.csv lists it for train: 1 of 3 ids .* 'lost.wav'"):
        load_voices("train")


def test_whoever_lacks_a_corpus_is_told_where_it_may_be(data, monkeypatch):
    monkeypatch.delenv("ANTIPHON_DATA")
    with pytest.raises(CorpusError, match=r"an4, .*: no corpus 'an4'. It can be a folder with a metadata.csv"):
        load_voices("test")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("dev",), "`side` is 'dev' but the stored list has train, validation, test"),
        (("test", ["librispeech_speakers"]), "`corpora` is .* but test has recordings of an4; name some"),
        (("test", []), r"`corpora` is \[\] but test has recordings of an4"),
    ],
)
def test_what_no_list_has_is_told(data, options, message):
    with pytest.raises(CorpusError, match=message):
        load_voices(*options)


def test_no_trials_of_training_speakers():
    with pytest.raises(CorpusError, match="`side` is 'train' but there are trials of test, validation"):
        load_speaker_trials("train")
    with pytest.raises(CorpusError, match="`side` is 'train' but there are pairs of test, validation"):
        load_conversion_pairs("train")
