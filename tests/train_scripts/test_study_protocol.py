"""A study on a stored protocol, from its lists over trainings to rows, a comparison and the log of experiments."""

import json
from functools import partial

import pytest
import yaml
from tiny_piano import SOUNDFONT, sounding_percepiano

from antiphon.eval.result_rows import read_row
from antiphon.processing.corpora import load_corpus, protocols
from antiphon.train_scripts import tasks
from antiphon.train_scripts.study import Study, Trial
from antiphon.train_scripts.study_results import summarize_study

PLAYERS = {"1", "2"}  # who is tested under the protocol
NUM_PASSAGES = 8


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Two variants of the tiny model, trained and measured on lists of a look-alike of PercePiano."""
    folder = tmp_path_factory.mktemp("piano")
    with sounding_percepiano(folder, num_passages=NUM_PASSAGES) as corpus, pytest.MonkeyPatch.context() as patch:
        lists = protocols.tabulate(protocols.make_protocols(load_corpus(corpus)))
        lists.to_csv(folder / "lists.csv", index=False)
        patch.setattr(protocols, "STORED_LISTS", folder / "lists.csv")
        settings = {
            "goal": "Does it help to hear?",
            "task": "piano_assessment",
            "recipe": "piano_assessment_debug",
            "corpus": str(corpus),
            "folds": {"protocol": "performers"},
            "seeds": [0],
            "metric": "r2",
            "overrides": {
                "data.train": [{"name": str(corpus)}],
                "data.rendering": {"soundfont": str(folder / SOUNDFONT)},
            },
            "variants": {
                "baseline": {},
                "deaf": {"data.inputs": ["midi", "score"], "model.use_audio": False},
            },
        }
        (folder / "piano.yaml").write_text(yaml.safe_dump(settings))
        study = Study.load(folder / "piano.yaml", folder / "study")
        study.write()
        # Hundreds of trees of hand-crafted baselines are other tests' matter.
        quick = partial(tasks.benchmark_piano_assessment, baselines=("global_mean", "passage_mean"))
        patch.setattr(tasks, "benchmark_piano_assessment", quick)
        for trial in study.trials():
            study.run_trial(trial)
        yield study


@pytest.fixture(scope="module")
def summary(study):
    return summarize_study(study, study.folder / "EXPERIMENTS.md")


def test_a_training_sees_the_protocols_training_rows_alone(study):
    [fold] = study.fold_names
    assert fold == "players_1_2"
    assert set(study.splits[fold]) == {"train", "test"}  # the ensemble holds out a part by itself
    for trial in study.trials():
        trained = json.loads((study.run_folder(trial).checkpoint / "training_items.json").read_text())
        assert trained == sorted(study.splits[fold]["train"])
        player_of = dict(zip(study.rows["file_name"], study.rows["player_id"]))
        assert not {player_of[item] for item in trained} & PLAYERS


def test_a_row_says_what_it_was_measured_on(study):
    for variant, inputs in (("baseline", "audio, midi, score"), ("deaf", "midi, score")):
        row = read_row(study.run_folder(Trial(variant, "players_1_2", 0)).results / "piano.json")
        assert row["conditions"]["protocol"] == "performers"
        assert row["conditions"]["inputs"] == inputs
        assert (row["conditions"]["rendering"] is None) == (variant == "deaf")
        assert row["dataset"]["num_items"] == NUM_PASSAGES * len(PLAYERS)
        assert set(row["players"]) == PLAYERS


def test_variants_are_compared_and_logged(study, summary):
    assert summary.splitlines()[2].startswith("| deaf |")
    [comparison] = json.loads((study.folder / "comparisons.json").read_text())
    assert (comparison["system"], comparison["reference"], comparison["metric"]) == ("deaf", "baseline", "r2")
    log = (study.folder / "EXPERIMENTS.md").read_text()
    assert "Does it help to hear?" in log
    assert "`model.use_audio`" in log


def test_what_is_done_is_not_done_again(study, summary, capsys):
    trial = Trial("baseline", "players_1_2", 0)
    weights = study.run_folder(trial).checkpoint / "model.safetensors"
    before = weights.stat().st_mtime_ns
    study.run_trial(trial)
    assert weights.stat().st_mtime_ns == before
    assert "is trained already" in capsys.readouterr().out
    assert Study.load(study.folder / "study.yaml", study.folder).splits == study.splits
