"""The command line of comparisons, end to end."""

import json

import pytest
from measured_rows import measure

from antiphon.eval.compare import main
from antiphon.eval.pool_runs import pool_runs
from antiphon.eval.result_rows import write_row

SPEAKERS = [f"speaker{number:02d}" for number in range(12)]


@pytest.fixture
def study(tmp_path):
    """Pooled rows of two variants, each trained with three seeds."""
    for variant, wrong in (("plain", 3), ("augmented", 1)):
        paths = [
            measure(
                tmp_path / variant / str(seed),
                "words",
                {speaker: wrong - (number + seed) % 2 for number, speaker in enumerate(SPEAKERS)},
                SPEAKERS,
                seeds=[seed],
            )
            for seed in (1, 2, 3)
        ]
        row, items = pool_runs(paths, "words", system=variant)
        write_row(row, items, tmp_path / "study" / "results")
    return tmp_path / "study" / "results"


def test_table_files_and_figure(study, tmp_path, capsys):
    out = tmp_path / "out"
    main([f"{study}:plain", f"{study}:augmented", "--out", str(out)])
    printed = capsys.readouterr().out
    assert "| augmented | -50.00 points (-50.00 to -50.00) |" in printed
    assert "| 3 and 3 | better |" in printed
    assert (out / "comparison.md").read_text() == printed
    (comparison,) = json.loads((out / "comparisons.json").read_text())
    assert (comparison["system"], comparison["reference"], comparison["verdict"]) == ("augmented", "plain", "better")
    assert {path.name for path in out.iterdir()} == {
        "comparisons.json", "comparison.md", "comparison.svg", "comparison.png",
    }  # fmt: skip


def test_options_reach_the_comparison(study, capsys):
    main([f"{study}:plain", f"{study}:augmented", "--metric", "accuracy", "--group-by", "speaker_id", "reference"])
    printed = capsys.readouterr().out
    assert "accuracy ↑ minus plain" in printed
    assert "cannot tell (4 references)" in printed


def test_what_cannot_be_compared_ends_with_a_sentence(study, tmp_path):
    other = measure(tmp_path, "words", dict.fromkeys(SPEAKERS, 1), SPEAKERS, decoding="closed vocabulary")
    with pytest.raises(SystemExit, match="different conditions: decoding: 'greedy' and 'closed vocabulary'"):
        main([f"{study}:plain", str(other)])
