"""Runs a study: trains and measures every variant with every seed on every fold, then compares each with the baseline.

    python train_scripts/ablate.py STUDY.yaml --folder runs/mine
    python train_scripts/ablate.py STUDY.yaml --folder runs/mine --launcher "accelerate launch --num_processes 8"

Each training is a process of its own, by default with one thread, which on small models is faster than sharing one
process's threads. With a launcher of several processes, one training runs at a time unless `--processes` says more. Run
again after a kill, it goes on where it was. Several machines that share the folder may run the same command at once, if
file locks (flock) reach across them: a training belongs to whoever locks it first.
"""

import argparse
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

from tqdm.auto import tqdm

from antiphon.train_scripts.exclusive import claim
from antiphon.train_scripts.progress import trained_share
from antiphon.train_scripts.recipes import RecipeError
from antiphon.train_scripts.run_folder import describe_environment, write_json
from antiphon.train_scripts.study import Study, Trial
from antiphon.train_scripts.study_results import summarize_study

POLL_SECONDS = 2.0


class Workers:
    """The trainings of a study that this process has started.

    Args:
        study: Says what is to be run and what is done. Each training reads it from the study's folder, so that an edit
            of the original does not change half a study.
        launcher: Words before the script, such as those of `accelerate launch`.
        threads: Of each training.
    """

    def __init__(self, study: Study, launcher: list[str], threads: int):
        self.study = study
        source = str(study.folder / "study.yaml")
        self.command = [*launcher, str(Path(__file__)), source, "--folder", str(study.folder), "--trial"]
        self.environment = {
            **os.environ,
            "OMP_NUM_THREADS": str(threads),
            "TRACKIO_DIR": str((study.folder / "trackio").resolve()),
        }
        self.running: dict[Trial, subprocess.Popen] = {}

    def start(self, trial: Trial) -> bool:
        """Starts a training unless another process has it."""
        folder = self.study.run_folder(trial).path
        folder.mkdir(parents=True, exist_ok=True)
        lock = claim(folder / ".lock")
        if lock is None:
            return False
        command = [*self.command, trial.variant, trial.fold, str(trial.seed)]
        # The training inherits the lock and keeps it when this process is killed: no second one can begin beside it.
        with lock, open(folder / "log.txt", "a", encoding="utf-8") as log:
            self.running[trial] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                pass_fds=[lock.fileno()],
                start_new_session=True,
            )
        return True

    def collect(self) -> list[Trial]:
        """Removes the trainings that have ended from `running` and returns them."""
        ended = [trial for trial, process in self.running.items() if process.poll() is not None]
        for trial in ended:
            del self.running[trial]
        return ended

    def stop(self) -> None:
        """Ends all trainings; each goes on from its last checkpoint when the study is run again."""
        for process in self.running.values():
            os.killpg(process.pid, signal.SIGTERM)
        for process in self.running.values():
            process.wait()


def run_trials(study: Study, workers: Workers, processes: int) -> list[Trial]:
    """Runs what is not done yet, several trainings at a time, and returns those that failed."""
    trials = list(study.trials())
    waiting = [trial for trial in trials if not study.is_done(trial)]
    failed: list[Trial] = []
    deadline = time.monotonic() + 3600 * study.budget_hours if study.budget_hours else float("inf")
    # Shares of trainings are counted, so that speed and time left are right from the first minute.
    num_done = len(trials) - len(waiting)
    with tqdm(total=len(trials), initial=num_done, unit="training", disable=None) as bar:
        while waiting or workers.running:
            for trial in workers.collect():
                if not study.is_done(trial):
                    failed.append(trial)
                bar.write(f"{trial.folder} {'FAILED' if trial in failed else 'done'}", file=sys.stdout)
            if time.monotonic() > deadline and waiting:
                bar.write(
                    f"budget of {study.budget_hours} h spent; {len(waiting)} trainings not begun", file=sys.stdout
                )
                waiting = []
            waiting = [trial for trial in waiting if not study.is_done(trial)]  # by another machine
            for trial in list(waiting):
                if len(workers.running) >= processes:
                    break
                if workers.start(trial):
                    waiting.remove(trial)
            shares = sum(trained_share(study.run_folder(trial).path) for trial in workers.running)
            bar.n = round(sum(study.is_done(trial) for trial in trials) + shares, 2)
            bar.set_postfix(running=len(workers.running), failed=len(failed))
            time.sleep(POLL_SECONDS)
    return failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", help="a YAML file, or the name of a study that comes with the package")
    parser.add_argument("--folder", type=Path, required=True, help="where the study lives")
    parser.add_argument("--processes", type=int, help="trainings at a time; one for each core, or one with a launcher")
    parser.add_argument("--threads", type=int, default=1, help="threads of each training")
    parser.add_argument("--launcher", help="command that starts the script of a training, such as accelerate launch")
    parser.add_argument("--log", type=Path, default=Path("EXPERIMENTS.md"), help="log of experiments to grow")
    parser.add_argument("--summarize", action="store_true", help="train nothing, compare what is done")
    parser.add_argument("--trial", nargs=3, metavar=("VARIANT", "FOLD", "SEED"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    try:
        study = Study.load(options.study, options.folder)
        if options.trial:
            variant, fold, seed = options.trial
            study.run_trial(Trial(variant, fold, int(seed)))
            return
        study.write()
    except RecipeError as error:
        sys.exit(f"error: {error}")

    for variant in study.variants:
        if len(changes := study.changes(variant)) > 1:
            print(f"note: {variant} changes {len(changes)} things at once: {', '.join(changes)}")
    failed = []
    if not options.summarize:
        if missing := study.missing_checkpoints():
            starts = "; ".join(f"{variant} from {start}" for variant, start in missing.items())
            sys.exit(
                f"error: nothing to start from: {starts}. Train these checkpoints first; the study's head says how."
            )
        launcher = shlex.split(options.launcher) if options.launcher else [sys.executable]
        workers = Workers(study, launcher, options.threads)
        processes = options.processes or (1 if options.launcher else os.cpu_count() or 1)
        try:
            failed = run_trials(study, workers, processes)
        finally:
            workers.stop()
    command = ["ablate.py", options.study, "--folder", str(options.folder)]
    write_json(study.folder / "environment.json", {**describe_environment(), "command": command})
    try:
        print(summarize_study(study, options.log))
    except ValueError as error:
        sys.exit(f"error: {error}")
    if failed:
        logs = ", ".join(str(study.run_folder(trial).path / "log.txt") for trial in failed)
        sys.exit(f"error: {len(failed)} trainings failed; see {logs}")


if __name__ == "__main__":
    main()
