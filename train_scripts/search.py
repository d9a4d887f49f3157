"""Searches the values of a recipe's keys: at random, on a grid, or learning from earlier trials; laggards are stopped.

    python train_scripts/search.py quickstart_search --folder runs/quickstart_search

Each trial is a training in a process of its own with one thread; it is judged by the validation items alone, and test
rows are refused. Run again after a kill, it goes on where it was. The values that a random search draws depend on its
seed only; what the others draw and what is stopped depends on the order of the trials too, which `--processes 1` fixes.
"""

import argparse
import math
import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path

import optuna
from filelock import FileLock
from optuna.trial import TrialState
from tqdm.auto import tqdm
from transformers import TrainerCallback

from antiphon.eval.conditions import records_sha256
from antiphon.train_scripts.exclusive import claim
from antiphon.train_scripts.recipes import RecipeError
from antiphon.train_scripts.search_report import write_report
from antiphon.train_scripts.search_study import Search
from antiphon.train_scripts.tasks import TASKS
from antiphon.train_scripts.validation_only import WARNING, refuse_test_rows

MAX_FAILURES_IN_A_ROW = 3
PRUNED = "pruned"
ITEMS = "validation_sha256"


class TrialError(RuntimeError):
    """A trial that came to no value; the message says where its log lies."""


class ReportToStudy(TrainerCallback):
    """Tells the study each evaluation of a training, and stops it where the study says so.

    Args:
        trial: Of the study.
        metric: Name of the metric, without the Trainer's `eval_`.
    """

    def __init__(self, trial: optuna.Trial, metric: str):
        self.trial = trial
        self.metric = metric

    def on_train_begin(self, args, state, control, train_dataloader=None, **kwargs):
        refuse_test_rows(train_dataloader.dataset.corpus, "data.train")

    def on_evaluate(self, args, state, control, metrics=None, eval_dataloader=None, **kwargs):
        rows, name = eval_dataloader.dataset.corpus, f"eval_{self.metric}"
        refuse_test_rows(rows, "data.validation")
        if name not in metrics:
            known = ", ".join(sorted(key.removeprefix("eval_") for key in metrics))
            raise RecipeError(f"`metric` is {self.metric!r} but an evaluation gives {known}.")
        self.trial.set_user_attr(ITEMS, records_sha256(zip(rows["file_name"], rows["text"])))
        # Counted in the log, which a resumed training has from before the kill.
        self.trial.report(metrics[name], step=sum(name in entry for entry in state.log_history))
        if self.trial.should_prune():
            self.trial.set_user_attr(PRUNED, True)
            raise optuna.TrialPruned


def stored_trial(study: optuna.Study, number: int) -> optuna.Trial:
    """A trial that some process has begun, to go on with it."""
    return optuna.Trial(study, study.trials[number]._trial_id)


def train_trial(search: Search, number: int) -> None:
    """Trains one trial; this runs in a process of its own."""
    trial = stored_trial(search.open(), number)
    recipe = search.trial_recipe(search.suggest(trial), number)
    # A training that outlived a killed search is waited for, and its work taken over.
    with FileLock(search.trial_folder(number) / ".lock"):
        if PRUNED in stored_trial(trial.study, number).user_attrs:
            return
        try:
            TASKS[search.task].train(recipe, callbacks=[ReportToStudy(trial, search.metric)])
        except optuna.TrialPruned:
            print("stopped: other trials are ahead")


def run_in_process(search: Search, trial: optuna.Trial) -> float:
    """Trains a trial in a process of its own and returns its best evaluation.

    Raises:
        TrialPruned: if the study stopped it.
        TrialError: if the process failed, or reported no finite number.
    """
    log_file = search.trial_folder(trial.number) / "log.txt"
    log_file.parent.mkdir(parents=True, exist_ok=True)
    see = f"see {log_file.relative_to(search.folder)}"
    command = [sys.executable, __file__, str(search.file), "--folder", str(search.folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TRACKIO_DIR": str((search.folder / "trackio").resolve())}
    with open(log_file, "a", encoding="utf-8") as log:
        done = subprocess.run(
            [*command, "--trial", str(trial.number)], stdout=log, stderr=log, env=environment, check=False
        )
    if done.returncode:
        raise TrialError(f"the training ended with code {done.returncode}; {see}")
    stored = trial.study.trials[trial.number]
    if PRUNED in stored.user_attrs:
        raise optuna.TrialPruned
    values = [value for value in stored.intermediate_values.values() if math.isfinite(value)]
    if not values:
        raise TrialError(f"no evaluation gave a finite {search.metric}; {see}")
    return min(values) if search.direction == "minimize" else max(values)


def next_trial(search: Search, study: optuna.Study, unfinished: deque[int]) -> optuna.Trial | None:
    """A trial that a kill interrupted, else a new one, else None."""
    trials = study.trials
    if unfinished:
        number = unfinished.popleft()
        study.sampler = search.sampler_of(number)
        trial = stored_trial(study, number)
    elif len(trials) < search.trials or any(trial.state == TrialState.WAITING for trial in trials):
        study.sampler = search.sampler_of(len(trials))
        trial = study.ask()
    else:
        return None
    search.suggest(trial)
    return trial


def settle(study: optuna.Study, trial: optuna.Trial, outcome: Future) -> TrialState:
    """Stores what came of a trial."""
    error = outcome.exception()
    if error is None:
        # Values of other items, as a limit on the length of utterances would make them, cannot be compared.
        items = study.trials[trial.number].user_attrs.get(ITEMS)
        if study.user_attrs.get(ITEMS, items) == items:
            study.set_user_attr(ITEMS, items)
            return study.tell(trial, outcome.result()).state
        error = TrialError("it kept other validation items than the trials before; its values let others be dropped")
    if isinstance(error, optuna.TrialPruned):
        return study.tell(trial, state=TrialState.PRUNED).state
    trial.set_user_attr("error", str(error))
    return study.tell(trial, state=TrialState.FAIL).state


def run_search(search: Search, objective: Callable[[optuna.Trial], float], processes: int = 1) -> optuna.Study:
    """Runs the trials that are not done yet.

    Args:
        search: Says what is tried; its folder holds what was done before.
        objective: Gives the value of a trial, whose values are in the storage already. It may raise `TrialPruned`;
            with any other error the trial has failed.
        processes: Trials at a time.

    Returns:
        The study. After `MAX_FAILURES_IN_A_ROW` no trial begins, and some are missing.
    """
    study = search.open()
    if search.sampler == "grid":
        for combination in search.grid():
            study.enqueue_trial(combination, skip_if_exists=True)
    unfinished = deque(trial.number for trial in study.get_trials(states=[TrialState.RUNNING]))
    failures, running = 0, {}
    with ThreadPoolExecutor(processes) as pool, tqdm(total=search.trials, unit="trial", disable=None) as bar:
        bar.update(sum(trial.state.is_finished() for trial in study.trials))
        while True:
            while len(running) < processes and failures < MAX_FAILURES_IN_A_ROW:
                trial = next_trial(search, study, unfinished)
                if trial is None:
                    break
                running[pool.submit(objective, trial)] = trial
            if not running:
                return study
            for outcome in wait(running, return_when=FIRST_COMPLETED).done:
                trial = running.pop(outcome)
                state = settle(study, trial, outcome)
                failures = failures + 1 if state == TrialState.FAIL else 0
                stored = study.trials[trial.number]
                what = stored.user_attrs.get("error") or f"{search.metric} {stored.value}"
                bar.write(f"trial {trial.number} {state.name.lower()}: {what}", file=sys.stdout)
                sys.stdout.flush()
                bar.update()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("search", help="a YAML file, or the name of a search that comes with the package")
    parser.add_argument("--folder", type=Path, required=True, help="where the search lives")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="trials at a time")
    parser.add_argument("--trial", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        search = Search.load(options.search, options.folder)
        if options.trial is not None:
            train_trial(search, options.trial)
            return
        search.check_rows()
        search.write()
    except RecipeError as error:
        sys.exit(f"error: {error}")
    lock = claim(search.folder / ".lock")
    if lock is None:
        sys.exit(f"error: another search works in {search.folder}; wait for it, or choose another folder.")
    with lock:
        print(WARNING, flush=True)
        study = run_search(search, partial(run_in_process, search), options.processes)
        print(write_report(search, study))
    if (missing := search.trials - len(study.trials)) > 0:
        sys.exit(f"error: {MAX_FAILURES_IN_A_ROW} trials in a row failed; {missing} have not begun.")


if __name__ == "__main__":
    main()
