import pandas as pd
import pytest
from small_percepiano import melody, write_midi

from antiphon.processing.corpora.note_overlap import find_duplicates, find_excerpts


def test_passages_hang_together_through_a_third(tmp_path):
    pieces = {"a|8|1": melody(1), "a|8|2": melody(2), "a|16|1": melody(1) + melody(2), "a|8|10": melody(3)}
    scores = {name: tmp_path / f"{index}.mid" for index, name in enumerate(pieces)}
    for name, path in scores.items():
        write_midi(path, pieces[name])
    assert find_excerpts(scores) == {"a|8|1": "a|8|1", "a|8|2": "a|8|1", "a|16|1": "a|8|1", "a|8|10": "a|8|10"}


def test_some_bars_in_common_suffice_and_a_motif_does_not(tmp_path):
    pieces = {"first": melody(1), "half": melody(1)[15:] + melody(2)[:15], "motif": melody(1)[:12] + melody(3)[:18]}
    scores = {name: tmp_path / f"{name}.mid" for name in pieces}
    for name, path in scores.items():
        write_midi(path, pieces[name])
    # runs of 12 among 30 notes: 19; "half" shares 4 of them, "motif" one
    assert find_excerpts(scores) == {"first": "first", "half": "half", "motif": "motif"}
    write_midi(scores["half"], melody(1)[13:] + melody(2)[:13])
    assert find_excerpts(scores) == {"first": "first", "half": "first", "motif": "motif"}


@pytest.mark.parametrize(
    ("change", "is_equal"),
    [({"start": 2.0}, True), ({"velocity": 65}, False), ({"seconds": 0.101}, True), ({"seconds": 0.11}, False)],
)
def test_duplicates_are_equal_note_for_note_but_for_a_shift(tmp_path, change, is_equal):
    rows = []
    for name, options in {"first": {}, "second": change}.items():
        path = tmp_path / f"{name}.mid"
        write_midi(path, melody(1), **options)
        seconds = 30 * options.get("seconds", 0.1)
        rows.append(
            {"file_name": name, "midi": path, "excerpt": "a", "player": "1", "num_notes": 30, "seconds": seconds}
        )
    found = find_duplicates(pd.DataFrame(rows))
    assert found == {"first": "first", "second": "first" if is_equal else "second"}
