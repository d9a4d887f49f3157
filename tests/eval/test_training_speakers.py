import json

import pytest

from antiphon.eval.training_speakers import audit_speakers, speakers_of_training


@pytest.mark.parametrize("place", ["training_data.json", "checkpoint/training/training_data.json"])
def test_speakers_are_read_beside_a_checkpoint_or_in_it(place, tmp_path):
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([{"name": "a", "speakers": ["bob", "ann"]}, {"name": "b", "speakers": ["ann"]}]))
    assert speakers_of_training(tmp_path / "checkpoint") == ["ann", "bob"]


def test_speakers_are_unknown_without_a_file_or_where_one_corpus_names_none(tmp_path):
    assert speakers_of_training(tmp_path / "checkpoint") is None
    (tmp_path / "training_data.json").write_text('[{"name": "a", "speakers": ["ann"]}, {"name": "b"}]')
    assert speakers_of_training(tmp_path / "checkpoint") is None


def test_known_voices_are_refused():
    assert audit_speakers(None, ["ann"]) is None
    assert audit_speakers(["bob", "bob"], ["ann"]) == {"num_known": 1, "num_shared_groups": 0}
    with pytest.raises(ValueError, match=r"has 1 of those measured, e.g. 'ann'"):
        audit_speakers(["ann", "bob"], ["ann", "cid"])
