import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from datasets import Dataset
from small_corpora import encoded, tone
from small_percepiano import write_percepiano

from antiphon.processing.corpora import CorpusError, SplitLeakageError, load_percepiano, protocols
from antiphon.processing.corpora.protocols import (
    PROTOCOLS,
    audit_protocol,
    load_protocol,
    make_protocols,
    tabulate,
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return load_percepiano(write_percepiano(tmp_path_factory.mktemp("data") / "percepiano"))


@pytest.fixture(scope="module")
def made(corpus):
    return make_protocols(corpus)


@pytest.fixture(scope="module")
def items(corpus):
    columns = ("file_name", "player_id", "passage", "excerpt", "work", "duplicate_group")
    return pd.DataFrame({name: corpus[name][:] for name in columns}).set_index("file_name")


@pytest.fixture(scope="module")
def sounding(corpus):
    """The corpus with a recording of its own for each group of duplicates."""
    numbers = {group: number for number, group in enumerate(sorted(set(corpus["duplicate_group"])))}
    sounds = [
        {"bytes": encoded(tone(1.0, 200 + 7 * numbers[group], seed=numbers[group])), "path": None}
        for group in corpus["duplicate_group"]
    ]
    audio = pa.array(sounds, corpus.features["audio"].pa_type)
    return Dataset(corpus.data.table.set_column(0, "audio", audio), info=corpus.info)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_no_fold_shares_what_the_protocol_separates(made, items, name):
    for lists in made[name].values():
        train, test = items.loc[lists["train"]], items.loc[lists["test"]]
        assert len(train)
        assert len(test)
        for column in (*PROTOCOLS[name], "duplicate_group"):
            assert not set(train[column]) & set(test[column]), column


@pytest.mark.parametrize("name", PROTOCOLS)
def test_an_item_is_tested_once_at_most(made, name):
    tested = [item for lists in made[name].values() for item in lists["test"]]
    assert len(tested) == len(set(tested))


@pytest.mark.parametrize("name", ["works", "passages"])
def test_every_item_is_tested(made, items, name):
    assert {item for lists in made[name].values() for item in lists["test"]} == set(items.index)


def test_the_published_players_are_tested_and_all_others_trained(made, items):
    lists = made["performers"]["players_1_2"]
    is_tested = items["player_id"].isin(["1", "2"])
    assert set(lists["test"]) == set(items.index[is_tested])
    assert set(lists["train"]) == set(items.index[~is_tested])


def test_one_work_is_tested_in_each_fold(made, items):
    assert {fold: set(items.loc[lists["test"], "work"]) for fold, lists in made["works"].items()} == {
        "D960_mv2": {"D960_mv2"},
        "WoO80": {"WoO80"},
    }


def test_folds_of_passages_are_balanced(made, items):
    largest = items.groupby("excerpt").size().max()
    sizes = [len(lists["test"]) for lists in made["passages"].values()]
    assert max(sizes) - min(sizes) <= largest


def test_the_training_copy_of_a_tested_performance_is_dropped(corpus):
    pairs = {name: str(index // 2) for index, name in enumerate(sorted(corpus["file_name"]))}
    column = [pairs[name] for name in corpus["file_name"]]
    paired = corpus.remove_columns("duplicate_group").add_column("duplicate_group", column)
    lists = make_protocols(paired)["random"]["seed_0"]
    tested = {pairs[name] for name in lists["test"]}
    assert len(lists["test"]) == round(0.2 * len(corpus))
    assert set(lists["train"]) == {name for name in pairs if pairs[name] not in tested}


def test_the_order_of_the_corpus_does_not_matter(corpus, made):
    order = np.random.default_rng(1).permutation(len(corpus))
    assert make_protocols(corpus.select(order)) == made


def test_what_is_stored_is_what_was_made(made, tmp_path, monkeypatch):
    monkeypatch.setattr(protocols, "STORED_LISTS", tmp_path / "lists.csv")
    tabulate(made).to_csv(tmp_path / "lists.csv", index=False)
    assert {name: load_protocol(name) for name in PROTOCOLS} == made


def test_the_stored_lists_hold_what_they_promise():
    sizes = {
        name: {fold: (len(lists["train"]), len(lists["test"])) for fold, lists in load_protocol(name).items()}
        for name in PROTOCOLS
    }
    assert sizes["performers"] == {"players_1_2": (996, 193)}
    assert sizes["works"] == {
        "D935_no3": (1073, 116),
        "D960_mv2": (901, 288),
        "D960_mv3": (630, 559),
        "WoO80": (963, 226),
    }
    assert sum(test for _, test in sizes["passages"].values()) == 1189
    assert sum(test for _, test in sizes["performers_and_passages"].values()) == 296
    assert sizes["random"] == {"seed_0": (936, 238)}


def test_an_unknown_protocol_is_told():
    with pytest.raises(CorpusError, match="`name` is 'pieces' but the stored protocols are performers, works"):
        load_protocol("pieces")


def test_an_audit_says_what_is_shared(sounding, made):
    report = audit_protocol(sounding, "performers", made["performers"])[0]
    assert report.shared["player_id"] == (0, 2)
    assert report.shared["passage"] == (13, 13)
    assert report.sounds.num_duplicate_audio == 0
    assert report.num_left_out == 0
    assert "passage: 13 of 13 in test also in train" in str(report)


def test_an_audit_refuses_lists_that_break_the_promise(sounding, made):
    with pytest.raises(CorpusError, match="passages, fold players_1_2: excerpt on both sides"):
        audit_protocol(sounding, "passages", made["performers"])


def test_an_audit_refuses_equal_recordings_under_other_names(sounding, made):
    same = encoded(tone(1.0, 333.0))
    equal = sounding.map(lambda row: {"audio": {"bytes": same, "path": None}})
    with pytest.raises(SplitLeakageError, match="test recordings are in training too"):
        audit_protocol(equal, "performers", made["performers"])
