"""Searches: what is tried, what is stopped, what is refused, and what a kill leaves to be done."""

import json
import os
import signal
import subprocess
import sys
from collections import deque
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
import yaml
from datasets import Dataset
from tone_corpus import write_tone_corpus

from antiphon.train_scripts import search as search_script
from antiphon.train_scripts.recipes import RecipeError, load_recipe
from antiphon.train_scripts.search import ReportToStudy, next_trial, run_search, settle, train_trial
from antiphon.train_scripts.search_report import write_report
from antiphon.train_scripts.search_study import Search
from antiphon.train_scripts.tasks import TASKS
from antiphon.train_scripts.train_conformer import resolve

SCRIPT = Path(search_script.__file__)
RATE = {"low": 1e-4, "high": 1e-2, "log": True}
LAYERS = {"low": 1, "high": 3, "int": True}
NOISE = {"choices": [{}, {"noise": {"probability": 0.5}}]}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return str(write_tone_corpus(tmp_path_factory.mktemp("tones") / "corpus"))


@pytest.fixture
def make_search(tmp_path, corpus):
    def make(folder="search", overrides=None, **fields):
        sources = {
            f"data.{section}": [{"name": corpus, "where": [f"split={section}"]}] for section in ("train", "validation")
        }
        study = {"recipe": "debug", "trials": 4, "space": {"training.learning_rate": RATE}, **fields}
        study["overrides"] = {**sources, **(overrides or {})}
        path = tmp_path / "tones_search.yaml"
        path.write_text(yaml.safe_dump(study, sort_keys=False))
        search = Search.load(path, tmp_path / folder)
        search.write()
        return search

    return make


def values_of(search, study):
    return [search.values(trial) for trial in study.trials]


def states_of(study):
    return [trial.state.name for trial in study.trials]


def rate_is_value(trial):
    return trial.params["training.learning_rate"]


# ---------------------------------------------------------------- what is tried


def test_a_grid_tries_every_combination_once(make_search):
    space = {"model.num_hidden_layers": LAYERS, "data.augmentation": NOISE}
    space["model.hidden_dropout"] = {"low": 0.0, "high": 0.3, "step": 0.1}
    search = make_search(sampler="grid", trials=24, space=space)
    study = run_search(search, lambda trial: 0.5)
    expected = [
        {
            "model.num_hidden_layers": layers,
            "data.augmentation": noise,
            "model.hidden_dropout": pytest.approx(tenths / 10),
        }
        for layers in (1, 2, 3)
        for noise in NOISE["choices"]
        for tenths in range(4)
    ]
    assert values_of(search, study) == expected
    assert states_of(run_search(search, pytest.fail)) == ["COMPLETE"] * 24


def test_a_random_search_depends_on_its_seed_alone(make_search):
    space = {"training.learning_rate": RATE, "model.num_hidden_layers": LAYERS, "data.augmentation": NOISE}
    drawn = [
        values_of(search, run_search(search, rate_is_value, processes))
        for folder, seed, processes in (("a", 1, 1), ("b", 1, 3), ("c", 2, 1))
        for search in [make_search(folder, seed=seed, trials=12, space=space)]
    ]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]
    rates = [values["training.learning_rate"] for values in drawn[0]]
    assert len(set(rates)) == 12
    assert all(1e-4 <= rate <= 1e-2 for rate in rates)
    assert {values["model.num_hidden_layers"] for values in drawn[0]} == {1, 2, 3}
    assert sum(rate < 1e-3 for rate in rates) >= 3, "not drawn on a logarithmic scale"


def test_tpe_draws_where_earlier_trials_were_good(make_search):
    search = make_search(sampler="tpe", trials=30, space={"model.hidden_dropout": {"low": 0.0, "high": 1.0}})
    study = run_search(search, lambda trial: (trial.params["model.hidden_dropout"] - 0.8) ** 2)
    late = [values["model.hidden_dropout"] for values in values_of(search, study)[15:]]
    assert sum(0.6 < value < 1.0 for value in late) >= 12


def test_a_trial_is_trained_with_its_values_and_kept_by_the_metric_of_the_search(make_search):
    search = make_search(metric="cer", direction="maximize", space={"data.augmentation": NOISE})
    recipe = search.trial_recipe({"data.augmentation": NOISE["choices"][1]}, number=3)
    assert recipe["data"]["augmentation"] == {"noise": {"probability": 0.5}}
    assert recipe["training"]["metric_for_best_model"] == "cer"
    assert recipe["training"]["greater_is_better"] is True
    assert Path(recipe["run"]["folder"]) == search.folder / "trials" / "0003"
    assert recipe["run"]["seed"] == 0


# ---------------------------------------------------------------- what is stopped


def test_successive_halving_stops_what_lags_behind(make_search):
    def train(trial):
        """Errors fall by the evaluation; the first two trials are the good ones."""
        level = (0.1, 0.2, 0.9, 0.8)[trial.number]
        for evaluation in range(1, 10):
            trial.report(level + 1 / evaluation, evaluation)
            if trial.should_prune():
                raise optuna.TrialPruned
        return level

    study = run_search(make_search("plain", pruner="none"), train)
    assert states_of(study) == ["COMPLETE"] * 4
    study = run_search(make_search("halving", pruner="successive_halving"), train)
    assert states_of(study) == ["COMPLETE", "PRUNED", "PRUNED", "PRUNED"]
    assert [len(trial.intermediate_values) for trial in study.trials] == [9, 1, 1, 1]
    study = run_search(make_search("late", pruner="successive_halving", min_evaluations=2), train)
    assert [len(trial.intermediate_values) for trial in study.trials] == [9, 2, 2, 2]


def evaluate(callback, rows, **metrics):
    state = SimpleNamespace(log_history=[metrics])
    loader = SimpleNamespace(dataset=SimpleNamespace(corpus=Dataset.from_dict(rows)))
    callback.on_evaluate(None, state, None, metrics=metrics, eval_dataloader=loader)


def test_evaluations_reach_the_study_and_its_verdict_the_training(make_search):
    search = make_search(pruner="successive_halving")
    study = search.open()
    rows = {"split": ["validation"], "file_name": ["a.wav"], "text": ["a"]}
    first, second = (next_trial(search, study, deque()) for _ in range(2))
    evaluate(ReportToStudy(first, "wer"), rows, eval_wer=0.25)
    with pytest.raises(optuna.TrialPruned):
        evaluate(ReportToStudy(second, "wer"), rows, eval_wer=0.5)
    assert [trial.intermediate_values for trial in study.trials] == [{1: 0.25}, {1: 0.5}]
    with pytest.raises(RecipeError, match="`metric` is 'accuracy' but an evaluation gives cer, wer"):
        evaluate(ReportToStudy(first, "accuracy"), rows, eval_wer=0.5, eval_cer=0.1)


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, "`space` is empty"),
        ({"training.learning_rat": RATE}, "did you mean `learning_rate`"),
        ({"modle.hidden_size": {"choices": [64]}}, "did you mean `model`"),
        ({"data.train": {"choices": [[]], "low": 0}}, "`low` is not a key of `space.data.train`"),
        ({"model.hidden_size": {"choices": []}}, "expected a list of values"),
        ({"model.hidden_size": {"choices": [64, 64]}}, "holds a value twice"),
        ({"training.learning_rate": {"low": 1e-4}}, "`high` of `space.training.learning_rate` is None"),
        ({"training.learning_rate": {"low": 1, "high": 0}}, "`space.training.learning_rate` is no range"),
        ({"training.learning_rate": {"low": 0.0, "high": 1.0, "log": True}}, "is no range"),
        ({"training.learning_rate": 3}, "expected `choices`, or `low` and `high`"),
        ({"data.validation": {"choices": [[]]}}, "`data.validation` cannot be searched"),
        ({"run.seed": {"low": 0, "high": 9, "int": True}}, "`run.seed` cannot be searched"),
    ],
)
def test_a_space_that_cannot_be_searched_is_found_at_once(make_search, space, message):
    with pytest.raises(RecipeError, match=message):
        make_search(space=space)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sampler": "bayes"}, "`bayes` is not a key of `sampler`; known keys: grid, random, tpe"),
        ({"sampler": "grid"}, "has no end of values for a grid; give `choices` or a `step`"),
        ({"sampler": "grid", "space": {"data.augmentation": NOISE}}, "the grid has 2 combinations; set it to 2"),
        ({"direction": "down"}, "`down` is not a key of `direction`"),
        ({"trials": 0}, "`trials` is 0"),
        ({"sampeler": "grid"}, "did you mean `sampler`"),
    ],
)
def test_a_search_that_cannot_be_run_is_found_at_once(make_search, fields, message):
    with pytest.raises(RecipeError, match=message):
        make_search(**fields)


def test_a_folder_of_another_search_is_not_continued(make_search):
    make_search(seed=1)
    make_search(seed=1, trials=9, goal="more trials are the same search")
    with pytest.raises(RecipeError, match="`seed` differs"):
        make_search(seed=2)


@pytest.mark.parametrize("section", ["train", "validation"])
def test_test_rows_are_refused_before_the_first_trial(make_search, corpus, section, tmp_path):
    search = make_search(overrides={f"data.{section}": [{"name": corpus}]})
    with pytest.raises(SystemExit, match=rf"`data.{section}` holds 6 rows of a test split; a search never sees them"):
        search_script.main([str(tmp_path / "tones_search.yaml"), "--folder", str(search.folder)])
    assert not (search.folder / "trials").exists()


def test_test_rows_are_refused_wherever_they_hide(make_search, corpus, tmp_path):
    make_search().check_rows()
    choices = [[{"name": corpus, "where": ["split=train"]}], [{"name": corpus, "where": ["split!=validation"]}]]
    with pytest.raises(RecipeError, match=r"`data.train` holds 6 rows"):
        make_search("choice", space={"data.train": {"choices": choices}}).check_rows()
    ids = {"file": str(tmp_path / "fold0.json"), "split": "test"}
    with pytest.raises(RecipeError, match=r"`data.validation` takes the ids of a test split"):
        make_search("ids", overrides={"data.validation": [{"name": corpus, "ids": ids}]}).check_rows()


def test_a_training_refuses_test_rows_itself(make_search):
    """Whatever the recipe says: the rows that the Trainer was given are what counts."""
    search = make_search()
    callback = ReportToStudy(next_trial(search, search.open(), deque()), "wer")
    rows = {"split": ["validation", "test-clean"], "file_name": ["a.wav", "b.wav"], "text": ["a", "b"]}
    with pytest.raises(RecipeError, match=r"`data.validation` holds 1 rows of a test split"):
        evaluate(callback, rows, eval_wer=0.5)
    loader = SimpleNamespace(dataset=SimpleNamespace(corpus=Dataset.from_dict({"split": [None, "test"]})))
    with pytest.raises(RecipeError, match=r"`data.train` holds 1 rows of a test split"):
        callback.on_train_begin(None, None, None, train_dataloader=loader)
    assert search.open().trials[0].intermediate_values == {}


# ---------------------------------------------------------------- failures and kills


def test_a_failed_trial_is_marked_and_the_search_goes_on(make_search):
    def train(trial):
        if trial.number in (0, 1, 3):
            raise RuntimeError(f"see trials/{trial.number:04d}/log.txt")
        return 0.5

    search = make_search(trials=6)
    study = run_search(search, train)
    assert states_of(study) == ["FAIL", "FAIL", "COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    text = write_report(search, study)
    assert "- trial 3 failed: see trials/0003/log.txt" in text


def test_three_failures_in_a_row_stop_a_search(make_search):
    def train(trial):
        if 1 <= trial.number <= 3:
            raise RuntimeError("no space left")
        return 0.5

    search = make_search(trials=8)
    assert states_of(run_search(search, train)) == ["COMPLETE", "FAIL", "FAIL", "FAIL"]
    assert states_of(run_search(search, train))[4:] == ["COMPLETE"] * 4


def test_a_killed_search_goes_on_with_the_same_values_and_repeats_nothing(make_search):
    whole = make_search("whole", trials=6)
    expected = values_of(whole, run_search(whole, rate_is_value))
    search = make_search("killed", trials=6)
    study = search.open()
    for number in range(2):
        trial = next_trial(search, study, deque())
        study.tell(trial, rate_is_value(trial)) if number == 0 else None
    # The second trial was running when the process died.
    assert states_of(study) == ["COMPLETE", "RUNNING"]
    trained = []

    def train(trial):
        trained.append(trial.number)
        return rate_is_value(trial)

    assert values_of(search, run_search(search, train)) == expected
    assert trained == [1, 2, 3, 4, 5]


def test_a_trial_that_was_stopped_before_a_kill_is_not_trained_again(make_search, monkeypatch):
    search = make_search()
    trial = next_trial(search, search.open(), deque())
    search.trial_folder(0).mkdir(parents=True)
    trained = []
    task = SimpleNamespace(resolve=resolve, train=lambda recipe, callbacks: trained.append(recipe["run"]["folder"]))
    monkeypatch.setitem(TASKS, "recognition", task)
    train_trial(search, 0)
    trial.set_user_attr("pruned", True)
    train_trial(search, 0)
    assert trained == [str(search.trial_folder(0))]


def test_values_of_other_items_are_not_compared(make_search):
    search = make_search()
    study = search.open()
    for number, items in enumerate(("same", "same", "other")):
        trial = next_trial(search, study, deque())
        trial.set_user_attr("validation_sha256", items)
        settle(study, trial, SimpleNamespace(exception=lambda: None, result=lambda number=number: 0.5 - number / 10))
    assert states_of(study) == ["COMPLETE", "COMPLETE", "FAIL"]
    assert "other validation items" in study.trials[2].user_attrs["error"]


# ---------------------------------------------------------------- report


def test_the_best_recipe_is_ready_to_be_trained(make_search):
    search = make_search(space={"training.learning_rate": RATE, "data.augmentation": NOISE}, goal="Which rate?")
    study = run_search(search, rate_is_value)
    text = write_report(search, study)
    summary = json.loads((search.folder / "search.json").read_text())
    best = min(summary["trials"], key=lambda trial: trial["value"])
    assert summary["best"] == best
    assert "optimistic" in summary["warning"]
    assert summary["warning"] in text
    assert text == (search.folder / "search.md").read_text()
    table = [line for line in text.splitlines() if line.startswith("| ")][2:]
    assert len(table) == 4
    assert table[0].startswith(f"| {best['number']} | complete | {best['value']:.4g} |")
    recipe = resolve(load_recipe(search.folder / "best_recipe.yaml", ["run.folder=x"]))
    trained = search.trial_recipe(best["values"])
    assert recipe["training"]["learning_rate"] == best["values"]["training.learning_rate"]
    assert (recipe["data"], recipe["model"]) == (trained["data"], trained["model"])
    for suffix in ("svg", "png"):
        assert (search.folder / f"search.{suffix}").stat().st_size > 1000
    assert "training.learning_rate" in (search.folder / "search.svg").read_text()


def test_the_largest_value_is_best_where_larger_is_better(make_search):
    search = make_search(direction="maximize")
    study = run_search(search, rate_is_value)
    write_report(search, study)
    summary = json.loads((search.folder / "search.json").read_text())
    assert summary["best"]["value"] == max(trial["value"] for trial in summary["trials"])


def test_packaged_searches_can_be_run(tmp_path):
    studies = (SCRIPT.parent / "recipes" / "studies").glob("*_search.yaml")
    names = [path.stem for path in studies]
    assert "quickstart_search" in names
    for name in names:
        assert Search.load(name, tmp_path).trials > 1


# ---------------------------------------------------------------- real trainings


def test_a_real_search_survives_a_kill(make_search, tmp_path):
    """One trial learns, one cannot be built, one lags behind and is stopped; the search dies after the first."""
    steps = {"training.max_steps": 9, "training.eval_steps": 3, "training.save_steps": 3}
    space = {"training.learning_rate": {"choices": [1e-2, "fast", 1e-9]}}
    search = make_search(
        sampler="grid",
        trials=3,
        pruner="successive_halving",
        min_evaluations=2,
        metric="loss",
        space=space,
        overrides=steps,
    )
    command = [sys.executable, str(SCRIPT), str(tmp_path / "tones_search.yaml"), "--folder", str(search.folder)]
    command += ["--processes", "1"]
    killed = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    said = [killed.stdout.readline(), killed.stdout.readline()]
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate(timeout=60)
    logs = "".join(path.read_text()[-2000:] for path in search.folder.glob("trials/*/log.txt"))
    assert "optimistic" in said[0]
    assert said[1].startswith("trial 0 complete: loss "), logs
    trained = search.trial_folder(0) / "log_history.json"
    before = trained.stat().st_mtime_ns

    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    logs = "".join(path.read_text()[-2000:] for path in search.folder.glob("trials/*/log.txt"))
    assert done.returncode == 0, done.stderr + logs
    assert "trial 0 " not in done.stdout.partition("# Search")[0]
    assert trained.stat().st_mtime_ns == before
    trials = json.loads((search.folder / "search.json").read_text())["trials"]
    assert [trial["state"] for trial in trials] == ["complete", "failed", "pruned"], logs
    assert [len(trial["evaluations"]) for trial in trials] == [3, 0, 2]
    assert trials[0]["value"] == min(trials[0]["evaluations"].values())
    assert (search.folder / trials[1]["log"]).is_file()
    assert trials[1]["error"] == "the training ended with code 1; see trials/0001/log.txt"
    assert (search.trial_folder(0) / "checkpoint" / "model.safetensors").is_file()
    assert not (search.trial_folder(2) / "checkpoint").exists()
