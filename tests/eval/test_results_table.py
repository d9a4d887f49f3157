"""The README's tables come from rows, one table for each set of conditions."""

import re

import pytest
from measured_rows import measure

from antiphon.eval.result_formats import format_difference, format_interval, format_number, markdown_table
from antiphon.eval.result_rows import find_rows, read_row
from antiphon.eval.results_table import BEGIN, END, main, results_section, results_table

SPEAKERS = ["ann", "bea", "cat", "dot", "eve", "fay"]
FEW_ERRORS = dict.fromkeys(SPEAKERS, 0) | {"dot": 1}


@pytest.fixture
def cards(tmp_path):
    """Two models under the same conditions, one of them also with a lexicon."""
    measure(tmp_path / "small" / "results", "words_test", FEW_ERRORS, SPEAKERS)
    measure(tmp_path / "plain" / "results", "words_test", dict.fromkeys(SPEAKERS, 3), SPEAKERS)
    measure(tmp_path / "small" / "results", "words_closed", FEW_ERRORS, SPEAKERS, decoding="closed vocabulary")
    return [tmp_path / "plain", tmp_path / "small"]


@pytest.fixture
def readme(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(f"# Title\n\n{BEGIN}\nold\n{END}\n\nThe end.\n")
    return path


def rows_named(cards, benchmark):
    paths = [path for path in find_rows(cards) if path.stem == benchmark]
    return {path.parent.parent.name: read_row(path) for path in paths}


def test_a_table_holds_intervals_baseline_and_difference(cards):
    lines = results_table(rows_named(cards, "words_test")).splitlines()
    assert lines[0].startswith("| model | wer ↓ | cer ↓ | accuracy ↑ | wer minus best baseline |")
    plain, small, baseline = lines[2:]
    assert small.startswith("| small | 4.17 % (")
    assert re.search(r"\| -70.83 points \(.* to .*\), p = 0.0312 \|", small)
    assert plain.startswith("| plain | 75.00 % (75.00 to 75.00) |")
    assert 'always answers "one"' in baseline
    assert "| 75.00 % (75.00 to 75.00) |" in baseline


def test_rows_of_other_conditions_are_refused_or_footnoted(cards):
    rows = {"greedy": rows_named(cards, "words_test")["small"], "closed": rows_named(cards, "words_closed")["small"]}
    with pytest.raises(
        ValueError, match=r"'closed' under other conditions .*: decoding is closed vocabulary instead of greedy; put it"
    ):
        results_table(rows)
    table = results_table(rows, mix_conditions=True)
    assert "| closed [1] |" in table
    assert "| greedy |" in table
    assert table.endswith(
        "\n\n[1] under other conditions than the first row: decoding is closed vocabulary instead of greedy"
    )


def test_conditions_are_mixed_only_when_asked(cards, readme, tmp_path):
    measure(tmp_path / "other" / "results", "words_test", FEW_ERRORS, SPEAKERS, packages={"jiwer": "3", "torch": "2"})
    folders = [str(folder) for folder in (*cards, tmp_path / "other")]
    main([str(readme), *folders])
    assert readme.read_text().count("### words_test") == 2
    assert "[1]" not in readme.read_text()
    main([str(readme), *folders, "--mix-conditions"])
    assert readme.read_text().count("### words_test") == 1
    # The rows come in the order of their paths: other, plain, small.
    assert "[2] under other conditions than the first row: packages.jiwer is 4 instead of 3" in readme.read_text()


def test_simple_baselines_have_a_line_but_the_difference_is_to_hearing_nothing(tmp_path):
    measure(tmp_path / "m" / "results", "words_test", FEW_ERRORS, SPEAKERS, nearest=["one", "two", "three", "one"])
    table = results_section(find_rows([tmp_path / "m"]))
    assert "| wer minus best no-input baseline |" in table
    assert "-70.83 points" in table
    assert "| baseline: answers the transcript of the training recording that sounds most alike | 25.00 % " in table


@pytest.mark.parametrize(
    "change",
    [
        {"split_sha256": "0"},
        {"item_ids_sha256": "0"},
        {"text_normalizer": "none"},
        {"sampling_rate": 16000},
        {"decoding": "beam"},
        {"judges": [{"name": "judge", "revision": "1"}]},
        {"packages": {"jiwer": "5", "torch": "2"}},
    ],
)
def test_each_condition_separates_tables(cards, tmp_path, change):
    measure(tmp_path / "other" / "results", "words_test", FEW_ERRORS, SPEAKERS, **change)
    section = results_section(find_rows([*cards, tmp_path / "other"]))
    assert section.count("### words_test") == 2
    assert section.count("### words_closed") == 1


def test_few_speakers_are_all_shown_with_their_mean(cards):
    section = results_section(find_rows(cards))
    assert "| wer per group | ann | bea | cat | dot | eve | fay | mean of groups |" in section
    assert "| small | 0.00 % | 0.00 % | 0.00 % | 25.00 % | 0.00 % | 0.00 % | 4.17 % |" in section
    assert "| small | 100.00 % | 100.00 % | 100.00 % | 75.00 % | 100.00 % | 100.00 % | 95.83 % |" in section
    assert "- small: cannot tell about a population from 6 speakers" in section
    assert "- plain: NOT BETTER THAN HEARING NOTHING" in section


def test_the_baseline_of_a_study_is_told_from_those_of_the_table(tmp_path):
    path = measure(tmp_path / "baseline" / "results", "words_test", dict.fromkeys(SPEAKERS, 3), SPEAKERS)
    section = results_section([path])
    assert "\n| baseline (study) | 75.00 % " in section
    assert "- baseline (study): NOT BETTER THAN HEARING NOTHING" in section


def test_several_trainings_widen_the_intervals(cards, tmp_path):
    assert "intervals resample each speaker as a whole; " in results_section(find_rows(cards))
    measure(tmp_path / "twice" / "results", "words_test", FEW_ERRORS, SPEAKERS, seeds=[1, 2])
    section = results_section(find_rows([tmp_path / "twice"]))
    assert "intervals resample each speaker as a whole and are widened for training anew; " in section


def test_many_speakers_are_not_listed(tmp_path):
    many = [f"s{index}" for index in range(12)]
    measure(tmp_path / "m" / "results", "words_test", dict.fromkeys(many, 0), many)
    assert "per group" not in results_section(find_rows([tmp_path / "m"]))


def test_only_the_text_between_the_markers_changes(cards, readme, capsys):
    main([str(readme), *map(str, cards)])
    text = readme.read_text()
    assert text.startswith(f"# Title\n\n{BEGIN}\n### words_closed")
    assert text.endswith(f"{END}\n\nThe end.\n")
    assert "old" not in text
    main([str(readme), *map(str, cards), "--check"])
    assert "is up to date" in capsys.readouterr().out


def test_check_fails_on_a_stale_file_and_leaves_it(cards, readme):
    before = readme.read_text()
    with pytest.raises(SystemExit, match="out of date; run the same command without --check"):
        main([str(readme), *map(str, cards), "--check"])
    assert readme.read_text() == before


def test_a_readme_without_markers_is_refused(cards, readme):
    readme.write_text(f"{END}\n{BEGIN}\n")
    with pytest.raises(ValueError, match="must hold <!-- results:begin --> once"):
        main([str(readme), *map(str, cards)])


def test_no_rows_say_so(readme):
    main([str(readme)])
    assert f"{BEGIN}\nNo results yet.\n{END}" in readme.read_text()


def test_formats():
    assert format_number(0.12345, "ratio") == "12.35 %"
    assert (format_number(None), format_number(3.14159, "dB")) == ("–", "3.142 dB")
    assert format_interval({"value": 0.5, "low": None, "high": None, "unit": "ratio"}) == "50.00 %"
    assert format_interval({"value": 2.0, "low": 1.0, "high": 3.0, "unit": "dB"}) == "2 dB (1 to 3)"
    assert format_interval(None) == "–"
    difference = {"value": -0.1, "low": -0.2, "high": 0.0, "p_value": 1e-5}
    assert format_difference(difference, "ratio") == "-10.00 points (-20.00 to 0.00), p < 0.0001"
    assert markdown_table(["a"], [["x | y"]]) == "| a |\n| --- |\n| x \\| y |"
