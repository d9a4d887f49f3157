"""Trains and measures a recipe once for every held-out speaker, variant and seed.

    python train_scripts/leave_one_out.py train_scripts/recipes/studies/fsdd_speakers.yaml --folder runs/fsdd_speakers

Each training is a process of its own with one thread, which on small models is faster than sharing one process's
threads. Run again after a kill, it skips what is done.
"""

import argparse
import copy
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from antiphon.eval.benchmark_recognition import benchmark_recognition
from antiphon.eval.selection import where
from antiphon.processing.corpora import load_corpus
from antiphon.train_scripts.recipes import RecipeError, load_recipe, load_study, set_value
from antiphon.train_scripts.recognition_data import load_sources
from antiphon.train_scripts.train_conformer import resolve, train

STUDY_KEYS = ("recipe", "corpus", "held_out", "seeds", "overrides", "variants")


@dataclass(frozen=True)
class Fold:
    """One training of the study: `group` is held out of it and tests it."""

    variant: str
    group: str
    seed: int

    @property
    def folder(self) -> str:
        return f"{self.variant}/{self.group}/seed{self.seed}"


def benchmark_name(study: dict) -> str:
    """Name of what a fold is measured on, such as `fsdd_unseen_speaker`."""
    return f"{Path(study['corpus']).name}_unseen_{study['held_out'].removesuffix('_id')}"


def fold_recipe(study: dict, fold: Fold, folder: Path) -> dict:
    """The study's recipe with the overrides of a variant, without the held-out group, resolved."""
    recipe = load_recipe(study["recipe"])
    for overrides in (study["overrides"], study["variants"][fold.variant] or {}):
        for key, value in copy.deepcopy(overrides).items():
            set_value(recipe, key, value)
    for section in ("train", "validation"):
        for source in recipe["data"][section]:
            if source["name"] == study["corpus"]:
                source["where"] = [*source.get("where", []), f"{study['held_out']}!={fold.group}"]
    set_value(recipe, "run.seed", fold.seed)
    set_value(recipe, "run.folder", str(folder / fold.folder))
    return resolve(recipe)


def run_fold(study: dict, fold: Fold, folder: Path) -> None:
    """Trains one fold and measures it on the held-out group: greedily, and by choosing among the training texts."""
    recipe = fold_recipe(study, fold, folder)
    run = train(recipe)
    test = where(load_corpus(study["corpus"]), [f"{study['held_out']}={fold.group}"])
    sources = load_sources(recipe["data"]["train"], "data.train")
    for suffix, lexicon in (("", ()), ("_lexicon", sorted(set(sources["text"])))):
        benchmark_recognition(
            run.checkpoint,
            test,
            name=benchmark_name(study) + suffix,
            corpus=Path(study["corpus"]).name,
            split=f"{study['held_out']}={fold.group}",
            train=sources,
            out=run.results,
            lexicon=lexicon,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", help="a YAML file, or the name of a study that comes with the package")
    parser.add_argument("--folder", type=Path, required=True, help="where the runs live")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="trainings at a time")
    parser.add_argument("--variants", nargs="+", help="only these")
    parser.add_argument("--groups", nargs="+", help="hold out only these")
    parser.add_argument("--seeds", nargs="+", type=int, help="only these")
    parser.add_argument("--one", nargs=3, metavar=("VARIANT", "GROUP", "SEED"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    try:
        study = load_study(options.study, STUDY_KEYS)
    except RecipeError as error:
        sys.exit(f"error: {error}")
    if options.one:
        variant, group, seed = options.one
        run_fold(study, Fold(variant, group, int(seed)), options.folder)
        return

    groups = options.groups or sorted(set(load_corpus(study["corpus"])[study["held_out"]][:]))
    folds = [
        Fold(variant, group, seed)
        for seed in options.seeds or study["seeds"]
        for variant in options.variants or study["variants"]
        for group in groups
    ]

    def run(fold: Fold) -> bool:
        folder = options.folder / fold.folder
        if (folder / "results" / f"{benchmark_name(study)}_lexicon.json").is_file():
            return True
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, __file__, options.study, "--folder", str(options.folder)]
        command += ["--one", fold.variant, fold.group, str(fold.seed)]
        with open(folder / "log.txt", "w", encoding="utf-8") as log:
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            return subprocess.run(command, stdout=log, stderr=log, env=environment, check=False).returncode == 0

    with ThreadPoolExecutor(options.processes) as pool:
        outcomes = pool.map(run, folds)
        failed = []
        for number, (fold, done) in enumerate(zip(folds, outcomes), start=1):
            print(f"{number}/{len(folds)} {fold.folder} {'done' if done else 'FAILED'}", flush=True)
            failed += [] if done else [fold.folder]
    if failed:
        sys.exit(f"error: {len(failed)} trainings failed; see log.txt in {', '.join(failed)}")


if __name__ == "__main__":
    main()
