"""Rows and conditions: what is written is what is read, whole or not at all."""

import json

import pandas as pd
import pytest

from antiphon.eval import conditions, result_rows

ROW = {key: {} for key in result_rows.REQUIRED_KEYS} | {"benchmark": "digits"}
ITEMS = pd.DataFrame({"item_id": ["a", "b"], "errors": [0, 2]})


def test_a_row_and_its_items_come_back(tmp_path):
    path = result_rows.write_row(ROW, ITEMS, tmp_path / "new" / "results")
    assert result_rows.read_row(path) == ROW
    assert pd.read_parquet(result_rows.items_path(path.parent, "digits")).equals(ITEMS)
    assert result_rows.find_rows([path.parent.parent]) == result_rows.find_rows([path.parent]) == [path]


def test_undefined_numbers_become_null(tmp_path):
    row = ROW | {"metrics": {"wer": {"value": 0.5, "low": float("nan"), "high": [float("inf")]}}}
    path = result_rows.write_row(row, ITEMS, tmp_path)
    assert json.loads(path.read_text())["metrics"]["wer"] == {"value": 0.5, "low": None, "high": [None]}


def test_a_failed_write_leaves_the_old_row_and_nothing_else(tmp_path):
    path = result_rows.write_row(ROW, ITEMS, tmp_path)
    before = path.read_bytes()
    with pytest.raises(TypeError, match="JSON serializable"):
        result_rows.write_row(ROW | {"claims": [object()]}, ITEMS, tmp_path)
    assert path.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["digits.json", "digits_items.parquet"]


def test_a_write_that_stops_midway_leaves_the_old_file_and_nothing_else(tmp_path):
    def stop_midway(file):
        file.write(b"half")
        raise OSError("disk full")

    (tmp_path / "row").write_bytes(b"old")
    with pytest.raises(OSError, match="disk full"):
        result_rows.write_atomically(tmp_path / "row", stop_midway)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"old"]


def test_what_is_no_row_is_refused(tmp_path):
    (tmp_path / "a.json").write_text('{"benchmark": "x"}')
    with pytest.raises(ValueError, match="lacks task, dataset"):
        result_rows.read_row(tmp_path / "a.json")
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(ValueError, match="is not JSON"):
        result_rows.read_row(tmp_path / "b.json")


def test_hash_of_records_ignores_their_order_but_not_their_borders():
    assert conditions.records_sha256([("a", "x"), ("b", "y")]) == conditions.records_sha256([("b", "y"), ("a", "x")])
    assert conditions.records_sha256([("ab", "c")]) != conditions.records_sha256([("a", "bc")])
    assert conditions.records_sha256([("a", "x")]) != conditions.records_sha256([("a", "x"), ("a", "x")])
    assert conditions.records_sha256([("a", b"\x00")]) != conditions.records_sha256([("a", b"\x01")])


def test_hash_of_a_file_is_sha256(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    assert conditions.file_sha256(tmp_path / "file").startswith("ba7816bf8f01cfea414140de5dae2223")


def test_versions_name_what_can_change_a_result():
    versions = conditions.package_versions()
    assert {"python", "torch", "transformers", "jiwer", "numpy"} <= set(versions)


def row_under(**changes):
    named = {"dataset": {"name": "words", "split": "test"}}
    stated = {"split_sha256": "a", "decoding": "greedy", "judges": [], "packages": {"jiwer": "4.0.0", "torch": "2.13"}}
    return named | {"conditions": stated | changes}


@pytest.mark.parametrize(
    ("changes", "differences"),
    [
        ({}, {}),
        ({"decoding": "beam"}, {"decoding": ("greedy", "beam")}),
        ({"judges": [{"name": "j", "revision": "1"}]}, {"judges": ([], [{"name": "j", "revision": "1"}])}),
        ({"packages": {"jiwer": "3.0.0"}}, {"packages.jiwer": ("4.0.0", "3.0.0")}),
        ({"packages": {"torch": "2.13+cpu"}}, {}),
        ({"packages": {"torch": "2.12+cpu"}}, {"packages.torch": ("2.13", "2.12")}),
        ({"judges": None, "split_sha256": None, "item_ids_sha256": "new"}, {}),
        ({"hardware": "another", "date": "2027-01-01", "seed": 7}, {}),
    ],
)
def test_conditions_that_differ_are_named(changes, differences):
    assert conditions.condition_differences(row_under(), row_under(**changes)) == differences


def test_another_corpus_or_split_is_another_condition():
    other = row_under() | {"dataset": {"name": "words", "split": "validation"}}
    assert conditions.condition_differences(row_under(), other) == {"split": ("test", "validation")}
