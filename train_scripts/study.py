"""Studies: a baseline recipe, variants that each change one thing, seeds, and folds of a corpus to measure them on."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path

import yaml
from accelerate import PartialState
from datasets import Dataset

from antiphon.eval.hub_errors import is_repository_id
from antiphon.eval.selection import where
from antiphon.processing.corpora import (
    item_ids,
    leave_one_group_out,
    load_corpus,
    load_split,
    save_split,
    select_ids,
    split_by_group,
)
from antiphon.processing.corpora.protocols import load_protocol

from .recipes import (
    RecipeError,
    apply_overrides,
    check_keys,
    field_names,
    load_recipe,
    load_study,
    set_value,
    with_defaults,
)
from .run_folder import RunFolder, write_text
from .tasks import DECODINGS, TASKS, benchmark_name

FOLD_DEFAULTS = {"by": "speaker_id", "number": None, "seed": 0, "protocol": None, "own": [], "groups": None}
VALIDATION_DEFAULTS = {"fraction": None, "where": []}
PACKAGED_STUDIES = Path(__file__).parent / "recipes" / "studies"
FOLDER_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
STORED = "stored"  # the one fold of a task whose training and benchmark have lists of their own
SET_BY_STUDY = ("run.seed", "run.folder", "data.validation", "training.run_name", "training.project")


def _check_folder_name(name, what: str) -> None:
    """Variants and folds become folders."""
    if not isinstance(name, str) or not FOLDER_NAME.fullmatch(name):
        raise RecipeError(f"the {what} {name!r} must be a word of letters, digits, dots, dashes and underscores.")


@dataclass(frozen=True)
class Trial:
    """One training of a study."""

    variant: str
    fold: str
    seed: int

    @property
    def folder(self) -> str:
        return f"runs/{self.variant}/{self.fold}/seed{self.seed}"


def _placeless(recipe: dict, trial: Trial) -> str:
    """A trial's recipe wherever its study lies."""
    return json.dumps(recipe, sort_keys=True).replace(recipe["run"]["folder"].removesuffix(trial.folder), "")


@dataclass(frozen=True)
class Study:
    """A study and the folder that it fills.

    Args:
        name: Of the study and its benchmark; the stem of the YAML file where it gives none.
        folder: Where the study lives.
        recipe: The recipe that all variants share, with `overrides` that hold for each of them.
        corpus, where: The corpus, and conditions on the rows that the study may see at all.
        folds: Those of a stored `protocol`, which is `stored` where training and benchmark of the task read lists of
            their own; else `number` of them or, without it, one for every group of the column `by`, drawn with `seed`.
            With `own`, conditions such as `split=test`, a model is made for one group, of `groups` or of all: its rows
            that hold them test, its other rows are the split `train`, and those of the other groups are `others`, for
            a source with `ids: {split: others}`.
        validation: What of each fold's training items chooses checkpoints: a `fraction` of its groups, or the items
            `where` conditions hold. A stored protocol needs none where the training holds out a part by itself.
        seeds: Of the trainings.
        variants: By name, dotted recipe keys and their values; the `baseline` may have none.
        goal: The question, for the log and the report.
        task: Kind of model.
        metric: The metric that decides.
        decodings: What each checkpoint is measured with, the deciding one first.
        budget_hours: After so long no training begins.
        peers, prose: For the report: related numbers, and a Markdown file by this path or beside the packaged studies.
    """

    name: str
    folder: Path
    recipe: str
    corpus: str
    folds: dict
    seeds: list[int]
    variants: dict[str, dict | None]
    validation: dict = field(default_factory=dict)
    where: list[str] = field(default_factory=list)
    overrides: dict = field(default_factory=dict)
    baseline: str = "baseline"
    goal: str = ""
    task: str = "recognition"
    metric: str = "wer"
    decodings: list[str] = field(default_factory=lambda: ["greedy"])
    budget_hours: float | None = None
    peers: str | None = None
    prose: str | None = None

    @classmethod
    def load(cls, source: str | Path, folder: str | Path) -> "Study":
        """Reads and checks a study.

        Every variant is resolved at once, so that the last one does not fail after a night.

        Args:
            source: A YAML file, or the name of a study that comes with the package.
            folder: Where the study lives or shall live.

        Raises:
            RecipeError: for a key, variant, fold or value that cannot be used.
        """
        keys, required = field_names(cls, without=["folder"])
        given = load_study(source, keys, set(required) - {"name"})
        given["folds"] = with_defaults(given["folds"], FOLD_DEFAULTS, "`folds`")
        given["validation"] = with_defaults(given.get("validation"), VALIDATION_DEFAULTS, "`validation`")
        study = cls(**{"name": Path(source).stem, **given, "folder": Path(folder)})
        study._check()
        return study

    def _check(self) -> None:
        check_keys([self.task], TASKS, "the tasks")
        check_keys(self.decodings, DECODINGS, "the decodings")
        check_keys([self.metric], TASKS[self.task].metrics, "the metrics")
        if not isinstance(self.variants, dict) or self.baseline not in self.variants:
            raise RecipeError(
                f"`baseline` is {self.baseline!r} but `variants` are {', '.join(map(str, self.variants))}."
            )
        chosen = [key for key in VALIDATION_DEFAULTS if self.validation[key]]
        if len(chosen) > 1 or (not chosen and not self.folds["protocol"]):
            raise RecipeError("`validation` needs either a `fraction` of the training groups or a `where` condition.")
        if self.folds["own"] and not self.validation["where"]:
            raise RecipeError(
                "`folds.own` makes a model for one group, so that `validation` needs a `where` condition."
            )
        is_list = isinstance(self.seeds, list) and all(type(seed) is int for seed in self.seeds)
        if not is_list or not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise RecipeError(f"`seeds` is {self.seeds!r} but must list different whole numbers, such as [0, 1, 2].")
        if not self.decodings:
            raise RecipeError(f"`decodings` is empty; name one or more of {', '.join(DECODINGS)}.")
        if self.budget_hours is not None and not isinstance(self.budget_hours, int | float):
            raise RecipeError(f"`budget_hours` is {self.budget_hours!r} but must be a number.")
        baseline = self.variant_recipe(self.baseline)
        for variant in self.variants:
            _check_folder_name(variant, "variant")
            for key in self.changes(variant):
                if key.startswith(SET_BY_STUDY):
                    raise RecipeError(f"`{key}` cannot be a variant: the study sets it for every training.")
            if self.variant_recipe(variant) == baseline and variant != self.baseline:
                raise RecipeError(f"the variant `{variant}` trains what the baseline trains; change or delete it.")

    @property
    def task_functions(self):
        """How models of this task are resolved, trained and measured."""
        return TASKS[self.task]

    @property
    def benchmarks(self) -> list[str]:
        """Names of what a trial is measured on, the deciding one first."""
        return [benchmark_name(self.name, decoding) for decoding in self.decodings]

    @cached_property
    def rows(self) -> Dataset:
        """The rows of the corpus that the study may see."""
        return where(load_corpus(self.corpus), self.where)

    @cached_property
    def fold_names(self) -> list[str]:
        """Folds in order."""
        return sorted(self.splits)

    @cached_property
    def splits(self) -> dict[str, dict[str, list[str]]]:
        """Ids of each fold's training, validation and test items."""
        by, number, seed, protocol = (self.folds[key] for key in ("by", "number", "seed", "protocol"))
        if protocol == STORED:
            return {STORED: {}}
        if protocol is not None:
            return self._stored_splits(protocol)
        if self.folds["own"]:
            return self._own_splits()
        if number is None:
            tests = {fold.group: fold.test for fold in leave_one_group_out(self.rows, by)}
        else:
            tests = split_by_group(self.rows, {f"fold{index}": 1 / number for index in range(number)}, by=by, seed=seed)
        for name in tests:
            _check_folder_name(name, "fold")
        return {name: self._split(test, by, seed) for name, test in tests.items()}

    def _stored_splits(self, protocol: str) -> dict[str, dict[str, list[str]]]:
        """Folds of a stored protocol, of the rows that the study may see."""
        known = set(item_ids(self.rows))
        return {
            name: {side: [id for id in ids if id in known] for side, ids in fold.items()}
            for name, fold in load_protocol(protocol).items()
        }

    def _own_splits(self) -> dict[str, dict[str, list[str]]]:
        """A fold for each group that a model is made for: its own rows to learn and to test, and those of others."""
        by, seed, own = (self.folds[key] for key in ("by", "seed", "own"))
        groups = {fold.group: set(fold.test) for fold in leave_one_group_out(self.rows, by)}
        chosen = groups if self.folds["groups"] is None else self.folds["groups"]
        check_keys(chosen, groups, f"`folds.groups` of {self.corpus}")
        tests, splits = set(item_ids(where(self.rows, own))), {}
        for name in chosen:
            _check_folder_name(name, "fold")
            others = [id for id in item_ids(self.rows) if id not in groups[name]]
            splits[name] = {
                **self._split(sorted(tests & groups[name]), by, seed, without=others),
                "others": sorted(set(others) - tests),
            }
        return splits

    def _split(self, test: list[str], by: str, seed: int, without: Iterable[str] = ()) -> dict[str, list[str]]:
        tested = {*test, *without}
        rest = select_ids(self.rows, [id for id in item_ids(self.rows) if id not in tested])
        if fraction := self.validation["fraction"]:
            shares = {"train": 1 - fraction, "validation": fraction}
            return {**split_by_group(rest, shares, by=by, seed=seed), "test": test}
        validation = set(item_ids(where(rest, self.validation["where"])))
        train = [id for id in item_ids(rest) if id not in validation]
        return {"train": sorted(train), "validation": sorted(validation), "test": test}

    def split_file(self, fold: str) -> Path:
        """Where a fold's ids are stored."""
        return self.folder / "splits" / f"{fold}.json"

    def write(self) -> None:
        """Stores the study, its baseline recipe and its splits.

        More seeds, variants or hours may be asked for later than at first. What is trained already must be what the
        study says now, or its results would stand under a description that is not theirs.

        Raises:
            RecipeError: if the folder holds a study of other data or with another baseline, or a training by another
                recipe.
        """
        self._refuse_other_content()
        (self.folder / "splits").mkdir(parents=True, exist_ok=True)
        for name, content in (("study.yaml", self._settings()), ("recipe.yaml", self.variant_recipe(self.baseline))):
            write_text(self.folder / name, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
        for name, split in self.splits.items():
            if not self.split_file(name).is_file():
                save_split(self.split_file(name), split)

    def _settings(self) -> dict:
        return {item.name: getattr(self, item.name) for item in fields(self) if item.name != "folder"}

    def _refuse_other_content(self) -> None:
        """Holds what is in the folder against the study before any of it is written over."""
        file, settings = self.folder / "study.yaml", self._settings()
        if file.is_file():
            before = yaml.safe_load(file.read_text(encoding="utf-8"))
            before["folds"] = {**FOLD_DEFAULTS, **before["folds"]}  # written before there were all of these keys
            for key in ("corpus", "where", "folds", "validation", "baseline"):
                if before[key] != settings[key]:
                    raise RecipeError(f"`{key}` differs from that of {file}; choose another folder, or delete it.")
        for name, split in self.splits.items():
            if self.split_file(name).is_file() and load_split(self.split_file(name)) != split:
                raise RecipeError(f"{self.split_file(name)} holds another split; choose another folder, or delete it.")
        for trial in self.trials():
            run = self.run_folder(trial)
            if not run.is_trained:
                continue
            # Resolved again: a default that did not exist then was followed all the same.
            trained = self.task_functions.resolve(run.recipe)
            if _placeless(trained, trial) != _placeless(self.trial_recipe(trial), trial):
                raise RecipeError(
                    f"{run.path} was trained with another recipe than the study has now; rename the variant, or delete "
                    "that folder."
                )

    def variant_recipe(self, variant: str) -> dict:
        """The resolved recipe of a variant, of no fold and seed yet."""
        recipe = load_recipe(self.recipe)
        for overrides in (self.overrides, self.variants[variant] or {}):
            apply_overrides(recipe, overrides)
        set_value(recipe, "run.folder", str(self.folder))
        return self.task_functions.resolve(recipe)

    @property
    def prose_file(self) -> Path | None:
        """What a person wrote for the report."""
        if self.prose is None:
            return None
        return Path(self.prose) if Path(self.prose).is_file() else PACKAGED_STUDIES / self.prose

    def missing_checkpoints(self) -> dict[str, str]:
        """Variants that start from a checkpoint that is neither here nor named like one on the Hub."""
        starts = {variant: self.variant_recipe(variant)["run"]["initialize_from"] for variant in self.variants}
        return {
            variant: start
            for variant, start in starts.items()
            if start and not Path(start, "config.json").is_file() and not is_repository_id(start)
        }

    def changes(self, variant: str) -> list[str]:
        """Dotted keys that a variant changes; a comparison can blame its outcome on one only."""
        return list(self.variants[variant] or {})

    def trials(self) -> Iterator[Trial]:
        """All trainings, seed by seed, so that an interrupted study has complete seeds to compare."""
        for seed in self.seeds:
            for variant in self.variants:
                for fold in self.fold_names:
                    yield Trial(variant, fold, seed)

    def trial_recipe(self, trial: Trial) -> dict:
        """The recipe of one training: the corpus' rows are those of the fold.

        Raises:
            RecipeError: if the recipe does not train on the study's corpus.
        """
        recipe = self.variant_recipe(trial.variant)
        if self.folds["protocol"] != STORED:
            self._choose_rows(recipe, trial)
        set_value(recipe, "run.seed", trial.seed)
        set_value(recipe, "run.folder", str(self.folder / trial.folder))
        set_value(recipe, "training.run_name", trial.folder.removeprefix("runs/").replace("/", "-"))
        set_value(recipe, "training.project", self.name)
        return recipe

    def _choose_rows(self, recipe: dict, trial: Trial) -> None:
        """Puts the rows of the fold into a recipe."""
        sources = [source for source in recipe["data"]["train"] if source["name"] == self.corpus]
        if not sources:
            raise RecipeError(f"`data.train` of {trial.variant} does not name {self.corpus}, the corpus of the study.")
        for source in sources:
            split = (source.get("ids") or {}).get("split", "train")
            source["ids"] = {"file": str(self.split_file(trial.fold)), "split": split}
        if "validation" in self.splits[trial.fold]:
            validation = {"file": str(self.split_file(trial.fold)), "split": "validation"}
            recipe["data"]["validation"] = [{"name": self.corpus, "ids": validation}]

    def run_folder(self, trial: Trial) -> RunFolder:
        return RunFolder(self.folder / trial.folder)

    def is_done(self, trial: Trial) -> bool:
        """Whether a trial is trained and measured."""
        results = self.run_folder(trial).results
        return all((results / f"{benchmark}.json").is_file() for benchmark in self.benchmarks)

    def run_trial(self, trial: Trial) -> None:
        """Trains and measures, going on from wherever an earlier attempt was killed.

        Of several processes that train together the first one measures, when all have written what they write.
        """
        run = self.task_functions.train(self.trial_recipe(trial))
        state = PartialState()
        state.wait_for_everyone()
        if not state.is_main_process:
            return
        stored = self.folds["protocol"] == STORED
        self.task_functions.measure(
            run,
            None if stored else select_ids(self.rows, self.splits[trial.fold]["test"]),
            name=self.name,
            corpus=self.corpus,
            split=f"{trial.fold} of {len(self.fold_names)}",
            decodings=self.decodings,
            protocol=self.folds["protocol"],
            speaker_dependent=bool(self.folds["own"]),
        )
