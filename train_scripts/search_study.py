"""Searches: a recipe, the values that some of its keys may take, and how they are tried on the validation items."""

import itertools
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import optuna
import yaml

from .recipes import RecipeError, apply_overrides, check_keys, field_names, load_recipe, load_study, set_value
from .run_folder import write_text
from .search_space import axis, check_entry, decode, extremes, suggest
from .tasks import TASKS
from .validation_only import refuse_test_sources

DIRECTIONS = ("minimize", "maximize")
SAMPLERS = ("random", "grid", "tpe")
PRUNERS = ("none", "successive_halving")
# Successive halving lets the best third of the trials go on at each of its evaluations.
REDUCTION_FACTOR = 3
# What must be the same in all trials for their values to be comparable, or belongs to the search itself.
FIXED_KEYS = (
    "data.validation",
    "run.folder",
    "run.seed",
    "training.load_best_model_at_end",
    "training.metric_for_best_model",
    "training.greater_is_better",
)


@dataclass(frozen=True)
class Search:
    """A search and the folder that it fills.

    Args:
        name: The stem of the YAML file.
        folder: Where the search lives.
        recipe: The recipe that all trials share, with `overrides` that hold for each of them.
        space: By dotted recipe key, either `choices`, a list of values of any kind, or a range from `low` to `high`:
            of integers where `int` is true, in steps of `step`, on a logarithmic scale where `log` is true.
        trials: Number of trainings; for a grid, its size.
        metric: What the validation items are measured with; a trial counts with its best evaluation.
        direction: "minimize" or "maximize".
        sampler: "random"; "grid", every combination; "tpe", which learns from the trials before.
        pruner: "none", or "successive_halving", which lets the best third of the trials go on after `min_evaluations`,
            the best third of those after three times as many, and so on.
        min_evaluations: Before the first trials are stopped; more where the first evaluations say little.
        seed: Of the sampler. The seed of the trainings is the recipe's.
        goal: The question, for the report.
        task: Kind of model.
    """

    name: str
    folder: Path
    recipe: str
    space: dict[str, dict]
    trials: int
    overrides: dict = field(default_factory=dict)
    metric: str = "wer"
    direction: str = "minimize"
    sampler: str = "random"
    pruner: str = "none"
    min_evaluations: int = 1
    seed: int = 0
    goal: str = ""
    task: str = "recognition"

    @classmethod
    def load(cls, source: str | Path, folder: str | Path) -> "Search":
        """Reads and checks a search; every key of the space is tried on the recipe at once.

        Args:
            source: A YAML file, or the name of a search that comes with the package.
            folder: Where the search lives or shall live.

        Raises:
            RecipeError: for a key or a value that cannot be used.
        """
        given = load_study(source, *field_names(cls, without=["name", "folder"]))
        search = cls(name=Path(source).stem, folder=Path(folder), **given)
        search._check()
        return search

    def _check(self) -> None:
        check_keys([self.task], TASKS, "the tasks")
        check_keys([self.direction], DIRECTIONS, "`direction`")
        check_keys([self.sampler], SAMPLERS, "`sampler`")
        check_keys([self.pruner], PRUNERS, "`pruner`")
        if not isinstance(self.space, dict) or not self.space:
            raise RecipeError("`space` is empty; name a recipe key and its values, e.g. training.learning_rate.")
        for key, entry in self.space.items():
            if any(key == fixed or key.startswith(f"{fixed}.") for fixed in FIXED_KEYS):
                raise RecipeError(
                    f"`{key}` cannot be searched: trials are compared under one and the same value of it."
                )
            check_entry(key, entry)
        for name in ("trials", "min_evaluations"):
            if not isinstance(value := getattr(self, name), int) or value < 1:
                raise RecipeError(f"`{name}` is {value!r}; expected a whole number of at least 1.")
        if self.sampler == "grid" and self.trials != (size := len(self.grid())):
            raise RecipeError(f"`trials` is {self.trials} but the grid has {size} combinations; set it to {size}.")
        for values in self._probes():
            self.trial_recipe(values)

    def _probes(self) -> Iterator[dict]:
        """The recipe as it is, then with every choice and every end of a range alone."""
        yield {}
        for key, entry in self.space.items():
            yield from ({key: value} for value in extremes(entry))

    def grid(self) -> list[dict]:
        """Every combination of values, as Optuna stores them."""
        axes = [axis(key, entry) for key, entry in self.space.items()]
        return [dict(zip(self.space, combination)) for combination in itertools.product(*axes)]

    def suggest(self, trial: optuna.Trial) -> dict:
        """The values of a trial by recipe key: drawn now, or drawn before and read from the storage."""
        return {key: suggest(trial, key, entry) for key, entry in self.space.items()}

    def values(self, trial: optuna.trial.FrozenTrial) -> dict:
        """The values of a stored trial by recipe key."""
        return {key: decode(self.space[key], value) for key, value in trial.params.items()}

    def unresolved_recipe(self, values: dict) -> dict:
        """The recipe with the values of a trial; its folder is left to whoever trains it."""
        recipe = load_recipe(self.recipe)
        # The checkpoint that is kept is the one that the trial counts with.
        choose = {
            "training.load_best_model_at_end": True,
            "training.metric_for_best_model": self.metric,
            "training.greater_is_better": self.direction == "maximize",
        }
        apply_overrides(recipe, {**self.overrides, **choose, **values})
        recipe["run"].pop("folder", None)
        return recipe

    def trial_recipe(self, values: dict, number: int = 0) -> dict:
        """The resolved recipe of a trial."""
        recipe = self.unresolved_recipe(values)
        set_value(recipe, "run.folder", str(self.trial_folder(number)))
        set_value(recipe, "training.run_name", f"trial{number:04d}")
        set_value(recipe, "training.project", self.name)
        return TASKS[self.task].resolve(recipe)

    def trial_folder(self, number: int) -> Path:
        return self.folder / "trials" / f"{number:04d}"

    @property
    def file(self) -> Path:
        """The folder's own copy, which trials and later starts hold to."""
        return self.folder / f"{self.name}.yaml"

    def write(self) -> None:
        """Stores the search and its recipe, or checks that the folder's are the same.

        Another goal or number of trials is no other search.

        Raises:
            RecipeError: if the folder holds another search.
        """
        given = {name: value for name, value in asdict(self).items() if name not in ("name", "folder")}
        recipe, recipe_file = self.unresolved_recipe({}), self.folder / "recipe.yaml"
        if self.file.is_file():
            before = yaml.safe_load(self.file.read_text(encoding="utf-8"))
            changed = [name for name in given if name not in ("goal", "trials") and before.get(name) != given[name]]
            if yaml.safe_load(recipe_file.read_text(encoding="utf-8")) != recipe:
                changed.append("recipe")
            if changed:
                raise RecipeError(
                    f"`{changed[0]}` differs from that of {self.file}; choose another folder, or delete it."
                )
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(recipe_file, yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True))
        write_text(self.file, yaml.safe_dump(given, sort_keys=False, allow_unicode=True))

    def check_rows(self) -> None:
        """Loads the training and validation rows of the recipe and of every choice, and refuses test rows.

        Raises:
            RecipeError: if a row of the test split is among them.
        """
        checked = []
        for values in self._probes():
            data = self.trial_recipe(values)["data"]
            for section in ("train", "validation"):
                if data[section] not in checked:
                    checked.append(data[section])
                    refuse_test_sources(data[section], f"data.{section}")

    def open(self) -> optuna.Study:
        """Opens the storage of the trials in the folder; made if absent."""
        storage = optuna.storages.RDBStorage(
            f"sqlite:///{self.folder.resolve() / 'trials.db'}", engine_kwargs={"connect_args": {"timeout": 60}}
        )
        halving = optuna.pruners.SuccessiveHalvingPruner(self.min_evaluations, REDUCTION_FACTOR)
        return optuna.create_study(
            study_name=self.name,
            storage=storage,
            pruner=halving if self.pruner == "successive_halving" else optuna.pruners.NopPruner(),
            direction=self.direction,
            load_if_exists=True,
        )

    def sampler_of(self, number: int) -> optuna.samplers.BaseSampler:
        """The sampler of one trial, seeded by its number, so that a search killed in between draws the same values."""
        seed = int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0])
        if self.sampler == "tpe":
            return optuna.samplers.TPESampler(seed=seed)
        return optuna.samplers.RandomSampler(seed=seed)
