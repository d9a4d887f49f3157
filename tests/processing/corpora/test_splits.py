import json

import pytest
from datasets import Dataset

from antiphon.processing.corpora import (
    CorpusError,
    item_ids,
    leave_one_group_out,
    load_split,
    save_split,
    select_ids,
    split_by_group,
)

FRACTIONS = {"train": 0.6, "validation": 0.2, "test": 0.2}


def corpus(num_speakers=10, num_items=4, order=1):
    rows = [
        {"file_name": f"{speaker}_{item}.wav", "speaker_id": f"s{speaker}"}
        for speaker in range(num_speakers)
        for item in range(num_items)
    ]
    return Dataset.from_list(rows[::order])


def speakers_of(splits):
    return {name: {id.split("_")[0] for id in ids} for name, ids in splits.items()}


def test_split_by_group_is_disjoint_complete_and_of_the_asked_size():
    splits = split_by_group(corpus(), FRACTIONS)
    assert {name: len(ids) for name, ids in splits.items()} == {"train": 24, "validation": 8, "test": 8}
    assert {name: len(speakers) for name, speakers in speakers_of(splits).items()} == {
        "train": 6,
        "validation": 2,
        "test": 2,
    }
    assert sorted(id for ids in splits.values() for id in ids) == sorted(item_ids(corpus()))


def test_split_by_group_depends_on_the_seed_but_not_on_the_order_of_the_items():
    assert split_by_group(corpus(), FRACTIONS) == split_by_group(corpus(order=-1), FRACTIONS)
    assert split_by_group(corpus(), FRACTIONS) != split_by_group(corpus(), FRACTIONS, seed=1)


def test_every_split_gets_a_group_even_when_one_wants_nearly_all():
    splits = split_by_group(corpus(num_speakers=3), {"train": 0.98, "validation": 0.01, "test": 0.01})
    assert {name: len(ids) for name, ids in splits.items()} == {"train": 4, "validation": 4, "test": 4}


@pytest.mark.parametrize("fractions", [{"train": 0.5, "test": 0.4}, {"train": 1.2, "test": -0.2}])
def test_fractions_must_be_positive_and_sum_to_one(fractions):
    with pytest.raises(CorpusError, match="positive and sum to 1"):
        split_by_group(corpus(), fractions)


def test_split_by_group_refuses_unknown_missing_and_too_few_groups():
    with pytest.raises(CorpusError, match="`by` is 'piece' but the corpus has file_name, speaker_id"):
        split_by_group(corpus(), FRACTIONS, by="piece")
    with pytest.raises(CorpusError, match=r"item 'b\.wav' has no speaker_id"):
        split_by_group(Dataset.from_dict({"file_name": ["a.wav", "b.wav"], "speaker_id": ["s", None]}), FRACTIONS)
    with pytest.raises(CorpusError, match="2 groups, too few for 3 splits"):
        split_by_group(corpus(num_speakers=2), FRACTIONS)
    with pytest.raises(CorpusError, match="the corpus is empty"):
        split_by_group(corpus().select([]), FRACTIONS)


def test_leave_one_group_out_tests_every_group_once():
    folds = leave_one_group_out(corpus(num_speakers=3, num_items=2))
    assert [fold.group for fold in folds] == ["s0", "s1", "s2"]
    assert folds[1].test == ["1_0.wav", "1_1.wav"]
    assert folds[1].train == ["0_0.wav", "0_1.wav", "2_0.wav", "2_1.wav"]


def test_leave_one_group_out_needs_two_groups():
    with pytest.raises(CorpusError, match=r"one group only \('s0'\)"):
        leave_one_group_out(corpus(num_speakers=1))


def test_select_ids_follows_the_ids():
    assert item_ids(select_ids(corpus(), ["3_1.wav", "0_0.wav"])) == ["3_1.wav", "0_0.wav"]


def test_select_ids_refuses_unknown_and_repeated_ids():
    with pytest.raises(CorpusError, match=r"1 of 2 ids are not in the corpus, the first is 'x\.wav'"):
        select_ids(corpus(), ["0_0.wav", "x.wav"])
    with pytest.raises(CorpusError, match="1 ids are listed twice"):
        select_ids(corpus(), ["0_0.wav", "0_0.wav"])


def test_item_ids_must_exist_and_be_distinct():
    with pytest.raises(CorpusError, match="item 1 has no `file_name`"):
        item_ids(Dataset.from_dict({"file_name": ["a.wav", None]}))
    with pytest.raises(CorpusError, match=r"'a\.wav' occurs more than once"):
        item_ids(Dataset.from_dict({"file_name": ["a.wav", "a.wav"]}))


def test_a_saved_split_comes_back_and_equal_splits_are_equal_files(tmp_path):
    splits = split_by_group(corpus(), FRACTIONS)
    save_split(tmp_path / "a.json", splits)
    save_split(tmp_path / "b.json", {name: reversed(ids) for name, ids in splits.items()})
    assert load_split(tmp_path / "a.json") == splits
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_a_text_file_is_one_split(tmp_path):
    (tmp_path / "test.txt").write_text("a.wav\n\n b.wav\n")
    assert load_split(tmp_path / "test.txt") == {"test": ["a.wav", "b.wav"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no JSON"),
        (json.dumps(["a.wav"]), "must map split names to lists of ids"),
        (json.dumps({"test": [1]}), "must map split names to lists of ids"),
        (json.dumps({"train": ["a.wav"], "test": ["a.wav"]}), r"'a\.wav' is in train and in test"),
        (json.dumps({"train": ["a.wav", "a.wav"]}), r"'a\.wav' is in train and in train"),
    ],
)
def test_a_malformed_split_is_told(tmp_path, content, message):
    (tmp_path / "split.json").write_text(content)
    with pytest.raises(CorpusError, match=message):
        load_split(tmp_path / "split.json")
