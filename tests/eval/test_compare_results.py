"""Systems compared on the same items."""

import pytest
from measured_rows import measure

from antiphon.eval.compare_results import compare_results, main

SPEAKERS = ["ann", "bea", "cat", "dot", "eve", "fay"]


@pytest.fixture
def systems(tmp_path):
    wrong = {"plain": 3, "better": 1, "same": 3}
    return [measure(tmp_path, name, dict.fromkeys(SPEAKERS, count), SPEAKERS) for name, count in wrong.items()]


def test_differences_by_hand(systems):
    better, same = compare_results(systems)
    # Two of four words fewer, for every speaker alike.
    assert (better["value"], better["low"], better["high"]) == pytest.approx((-0.5, -0.5, -0.5))
    assert better["p_value"] == better["smallest_p_value"] == pytest.approx(2 / 64)
    assert better["holm_p_value"] == pytest.approx(4 / 64)
    assert (same["value"], same["p_value"], same["holm_p_value"]) == (0.0, 1.0, 1.0)


def test_other_items_are_refused(systems, tmp_path):
    fewer = measure(tmp_path, "fewer", dict.fromkeys(SPEAKERS, 0), SPEAKERS[:5])
    with pytest.raises(ValueError, match="other items or references"):
        compare_results([systems[0], fewer])


def test_command_line_prints_a_table(systems, capsys):
    main([str(path) for path in systems])
    line = next(line for line in capsys.readouterr().out.splitlines() if "better.json |" in line)
    assert "-50.00 points (-50.00 to -50.00) | 0.03125 | 0.0625 | 0.03125" in line
