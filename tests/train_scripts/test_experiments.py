"""The log of experiments: what people typed survives, and so does every entry, whoever else writes or dies."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from antiphon.train_scripts.experiment_file import ExperimentsError
from antiphon.train_scripts.experiments import (
    Experiment,
    add_note,
    adopt,
    main,
    read_experiments,
    record_experiment,
)
from antiphon.train_scripts.recipe_diff import NOT_SET, describe_change, recipe_changes

# Records `count` experiments, or goes on for ever, and says the id of each once the log has it.
WRITER = """
import itertools, sys
from antiphon.train_scripts.experiments import Experiment, record_experiment
log, study, count = sys.argv[1:]
for number in range(int(count)) if count != "endless" else itertools.count():
    experiment = Experiment(study, f"v{number}", "goal", [], [0], "result", "cannot tell", None, "runs")
    print(record_experiment(log, experiment), study, f"v{number}", flush=True)
"""


def start_writer(log, study, count):
    command = [sys.executable, "-c", WRITER, str(log), study, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def entries_of(log):
    return {(entry["id"], entry["study"], entry["variant"]) for entry in read_experiments(log)}


@pytest.fixture
def log(tmp_path):
    return tmp_path / "EXPERIMENTS.md"


@pytest.fixture
def experiment(tmp_path):
    return Experiment(
        study="digits",
        variant="noise",
        goal="Does noise in training help?",
        changes=[("data.augmentation", {}, {"noise": {"probability": 1.0}})],
        seeds=[0, 1, 2],
        result="wer -1.20 points (-2.00 to -0.40)",
        verdict="better",
        git_commit="94e0682",
        folder=tmp_path / "runs" / "digits",
        date="2026-01-02",
    )


# ---------------------------------------------------------------- recipe diff


def test_a_diff_names_every_key_that_changed_and_no_other():
    baseline = {
        "data": {"augmentation": {}, "features": {"n_fft": 256, "hop_length": 80}, "train": [{"name": "fsdd"}]},
        "model": {"hidden_size": 64},
        "run": {"folder": "runs/a", "seed": 0, "initialize_from": None},
    }
    variant = {
        "data": {
            "augmentation": {"noise": {"probability": 1.0}, "speed": {"probability": 0.5}},
            "features": {"n_fft": 512, "hop_length": 80},
            "train": [{"name": "fsdd"}, {"name": "digits"}],
        },
        "model": {"hidden_size": 64, "num_hidden_layers": 3},
        "run": {"folder": "runs/b", "seed": 1},
    }
    assert recipe_changes(baseline, variant) == [
        ("data.augmentation", {}, {"noise": {"probability": 1.0}, "speed": {"probability": 0.5}}),
        ("data.features.n_fft", 256, 512),
        ("data.train", [{"name": "fsdd"}], [{"name": "fsdd"}, {"name": "digits"}]),
        ("model.num_hidden_layers", NOT_SET, 3),
        ("run.initialize_from", None, NOT_SET),
    ]
    assert recipe_changes(baseline, baseline) == []


def test_a_change_in_markdown_survives_backticks():
    assert describe_change(("a.b", NOT_SET, None)) == "`a.b`: not set → `null`"
    assert describe_change(("a.b", 1, "x``y")) == '`a.b`: `1` → ``` "x``y" ```'


# ---------------------------------------------------------------- entries


def test_an_entry_says_everything(log, experiment):
    assert record_experiment(log, experiment) == "E0001"
    text = log.read_text()
    table, _, entry = text.partition("antiphon:summary end")
    change = '`data.augmentation`: `{}` → `{"noise": {"probability": 1.0}}`'
    assert "| E0001 | 2026-01-02 | digits | noise | 3 | wer -1.20 points (-2.00 to -0.40) | better |" in table
    assert "## E0001: digits, noise" in entry
    assert "- **Goal**: Does noise in training help?" in entry
    for line in (
        f"- **Change**: {change}",
        "- **Seeds**: 0, 1, 2",
        "- **Result**: wer -1.20 points (-2.00 to -0.40)",
        "- **Verdict**: better",
        "- **Adopted**: not decided",
        "- **Commit**: 94e0682",
        "- **Run folder**: runs/digits",
    ):
        assert f"\n{line}\n" in entry
    assert "changes at once" not in text
    [read] = read_experiments(log)
    assert read["seeds"] == [0, 1, 2]
    assert read["changes"] == [["data.augmentation", {}, {"noise": {"probability": 1.0}}]]


def test_more_than_one_change_and_uncommitted_code_are_flagged(log, experiment):
    changes = [("model.hidden_size", 64, 96), ("training.learning_rate", 0.001, 0.002)]
    record_experiment(log, replace(experiment, changes=changes, git_changes=True))
    assert "**2 changes at once**" in log.read_text()
    assert "94e0682, with changes outside the commit" in log.read_text()


def test_an_experiment_run_again_updates_its_entry(log, experiment):
    first = record_experiment(log, experiment)
    other = record_experiment(log, replace(experiment, variant="speed"))
    adopt(log, first, "yes")
    again = record_experiment(log, replace(experiment, seeds=[0, 1, 2, 3], verdict="cannot tell"))
    assert (first, other, again) == ("E0001", "E0002", "E0001")
    entries = read_experiments(log)
    assert [(entry["id"], entry["verdict"], entry["adopted"]) for entry in entries] == [
        ("E0001", "cannot tell", "yes"),
        ("E0002", "better", None),
    ]
    assert log.read_text().count("\n## E0001") == 1
    assert "- **Seeds**: 0, 1, 2, 3\n" in log.read_text()


def test_a_deleted_entry_does_not_give_its_id_away(log, experiment):
    record_experiment(log, experiment)
    record_experiment(log, replace(experiment, variant="speed"))
    text = log.read_text()
    log.write_text(text[: text.index('<!-- antiphon:experiment begin {"id": "E0002"')])
    assert record_experiment(log, replace(experiment, variant="trim")) == "E0003"


def test_text_of_an_experiment_is_neither_html_nor_a_marker(log, experiment):
    goal = "<script>x</script> | a\nb --> <!-- antiphon:experiment end -->"
    record_experiment(log, replace(experiment, goal=goal, variant="a | b", verdict="<b>"))
    text = log.read_text()
    assert "<script>" not in text
    assert "<b>" not in text
    assert "- **Goal**: &lt;script&gt;x&lt;/script&gt; | a b " in text
    assert "| a \\| b |" in text
    assert read_experiments(log)[0]["goal"] == goal


# ---------------------------------------------------------------- what people typed


def test_notes_are_kept_to_the_letter(log, experiment):
    record_experiment(log, experiment)
    typed = "  two spaces\t\n\n\n| a | table |\r\n- ümläut “quotes”  \n<b>bold</b>\n"
    data = log.read_bytes().decode()
    before, marker, after = data.partition("<!-- antiphon:notes begin -->\n")
    log.write_bytes((before + marker + typed + after.removeprefix("\n")).encode())
    add_note(log, "E0001", "holds on the phone corpus too")
    adopt(log, "E0001", "no")
    record_experiment(log, replace(experiment, verdict="worse"))
    record_experiment(log, replace(experiment, variant="speed"))
    assert read_experiments(log)[0]["notes"] == f"{typed}\nholds on the phone corpus too\n"
    assert typed in log.read_bytes().decode()


def test_text_around_the_entries_is_kept(log, experiment):
    log.write_bytes(b"# My lab book\r\n\r\nAn introduction without a newline at its end.")
    record_experiment(log, experiment)
    record_experiment(log, replace(experiment, variant="speed"))
    data = log.read_bytes().decode()
    between = "A thought between entries.\n\n\n"
    at = data.index('<!-- antiphon:experiment begin {"id": "E0002"')
    log.write_bytes((data[:at] + between + data[at:] + "The last word").encode())
    record_experiment(log, experiment)
    record_experiment(log, replace(experiment, variant="trim"))
    data = log.read_bytes().decode()
    assert data.startswith("# My lab book\r\n\r\nAn introduction without a newline at its end.\n<!-- antiphon:summary")
    assert data.index('{"id": "E0001"') < data.index(between) < data.index('{"id": "E0002"')
    assert data.index('{"id": "E0002"') < data.index("The last word\n") < data.index('{"id": "E0003"')


def test_lines_typed_outside_the_notes_move_there(log, experiment):
    record_experiment(log, experiment)
    text = log.read_text().replace("- **Verdict**: better\n", "- **Verdict**: better\nBut only for women!\n")
    log.write_text(text)
    record_experiment(log, replace(experiment, variant="speed"))
    assert log.read_text().index("But only for women!") < log.read_text().index("antiphon:notes begin")
    record_experiment(log, experiment)
    assert read_experiments(log)[0]["notes"].strip() == "But only for women!"


# ---------------------------------------------------------------- damage


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "<!-- antiphon:experiment end -->\n",
            "",
            "lacks its marker antiphon:experiment end; found the end of the file",
        ),
        (
            "<!-- antiphon:notes begin -->\n",
            "",
            "lacks its marker antiphon:notes begin; found antiphon:notes end in line",
        ),
        ("<!-- antiphon:notes end -->", "<!-- antiphon:notes END -->", "is no marker"),
        ('"key": ', '"key" ', "the data of the marker are not JSON"),
        ('"seeds": [0, 1, 2], ', "", "without seeds"),
        ("<!-- antiphon:summary end -->", "words <!-- antiphon:summary end -->", "is no marker"),
        ('begin {"id": "E0001"', 'begin {"id": "first"', "stands twice or is no id"),
    ],
)
def test_damaged_markers_are_named_and_nothing_is_written(log, experiment, old, new, message):
    record_experiment(log, experiment)
    text = log.read_text()
    assert old in text
    log.write_text(text.replace(old, new))
    with pytest.raises(ExperimentsError, match=rf"line \d+: .*{message}"):
        record_experiment(log, replace(experiment, variant="speed"))
    assert log.read_text() == text.replace(old, new)


def test_an_entry_that_was_copied_is_refused(log, experiment):
    record_experiment(log, experiment)
    text = log.read_text()
    log.write_text(text + text[text.index("<!-- antiphon:experiment") :])
    with pytest.raises(ExperimentsError, match="E0001 stands twice"):
        read_experiments(log)


def test_an_entry_that_would_damage_the_log_is_not_written(log, experiment):
    record_experiment(log, experiment)
    text = log.read_text()
    with pytest.raises(ExperimentsError, match="is no marker"):
        record_experiment(log, replace(experiment, changes=[("data.alphabet", None, "<!-- antiphon:notes end -->")]))
    assert log.read_text() == text


def test_a_note_cannot_forge_an_entry(log, experiment):
    record_experiment(log, experiment)
    with pytest.raises(ExperimentsError, match="holds a marker"):
        add_note(log, "E0001", "x\n<!-- antiphon:notes end -->")
    with pytest.raises(ExperimentsError, match=r"`E0009` is no experiment .* there are: E0001"):
        add_note(log, "E0009", "x")


# ---------------------------------------------------------------- many writers, killed writers


def test_parallel_writers_lose_no_entry(log):
    writers = [start_writer(log, f"study{number}", 6) for number in range(8)]
    said = [line for writer in writers for line in writer.communicate(timeout=240)[0].splitlines()]
    assert all(writer.returncode == 0 for writer in writers)
    assert len(said) == 48
    assert entries_of(log) == {tuple(line.split()) for line in said}
    assert len({entry["id"] for entry in read_experiments(log)}) == 48


def test_a_killed_writer_loses_no_entry_that_it_had_acknowledged(log):
    generator = np.random.default_rng(0)
    said = set()
    for number in range(6):
        writer = start_writer(log, f"study{number}", "endless")
        first = writer.stdout.readline()
        time.sleep(generator.uniform(0, 0.3))
        writer.kill()
        rest, _ = writer.communicate(timeout=60)
        said |= {tuple(line.split()) for line in [first, *rest.splitlines(keepends=True)] if line.endswith("\n")}
        assert said <= entries_of(log)
    assert len(said) > 6, "every writer died before it had written twice"


# ---------------------------------------------------------------- command line


def test_the_command_line_lists_decides_and_notes(log, experiment, capsys):
    record_experiment(log, experiment)
    main([str(log), "--adopt", "E0001", "yes", "--note", "E0001", "kept for the release"])
    assert capsys.readouterr().out == "E0001 2026-01-02 noise: better (adopted: yes)\n"
    [entry] = read_experiments(log)
    assert (entry["adopted"], entry["notes"].strip()) == ("yes", "kept for the release")
    with pytest.raises(SystemExit):
        main([str(log), "--adopt", "E0001", "maybe"])
    with pytest.raises(SystemExit, match="`E0002` is no experiment"):
        main([str(log), "--adopt", "E0002", "no"])
    with pytest.raises(SystemExit, match="is no file"):
        main([str(log.with_name("OTHER.md"))])


def test_the_script_runs_by_path(log, experiment):
    record_experiment(log, experiment)
    script = Path(__file__).parents[2] / "train_scripts" / "experiments.py"
    done = subprocess.run([sys.executable, str(script), str(log)], capture_output=True, text=True, check=False)
    assert done.stdout == "E0001 2026-01-02 noise: better (adopted: not decided)\n", done.stderr
