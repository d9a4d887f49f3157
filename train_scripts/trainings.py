"""What trainings by recipe share from the recipe's sections to the log, which says that a run is trained."""

import dataclasses
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import Trainer, TrainingArguments

from .recipes import RecipeError, check_keys, with_defaults
from .run_folder import RunFolder, write_json

TRAINER_KEYS = tuple(item.name for item in dataclasses.fields(TrainingArguments))


def complete_sections(
    recipe: Mapping, *, data: Mapping, run: Mapping, training: Mapping, training_keys: Iterable[str] = TRAINER_KEYS
) -> dict:
    """Fills defaults into a recipe's sections but the model's, and refuses keys that nothing reads.

    Args:
        recipe: As it was loaded; it stays as it is.
        data, run, training: Defaults of the sections.
        training_keys: What `training` may hold; by default any argument of transformers' TrainingArguments.

    Raises:
        RecipeError: for a key that is unknown, or without `run.folder`.
    """
    given = recipe["training"] or {}
    check_keys(given, training_keys, "`training`")
    completed = {
        **recipe,
        "data": with_defaults(recipe["data"], data, "`data`"),
        "run": with_defaults(recipe["run"], run, "`run`"),
        "training": {**training, **given},
    }
    if not completed["run"]["folder"]:
        raise RecipeError("`run.folder` is missing; say where the run shall live, e.g. run.folder=runs/first.")
    return completed


def check_buildable(builders: Mapping[str, Callable[[], object]]) -> None:
    """Builds what is cheap to build, so that a wrong value is found before the first corpus is loaded.

    Args:
        builders: By the place in the recipe.

    Raises:
        RecipeError: naming the place, and what building said.
    """
    for place, build in builders.items():
        try:
            build()
        except (TypeError, ValueError, StrictDataclassError) as error:
            # Some of these errors take several lines.
            raise RecipeError(f"`{place}` cannot be used: {' '.join(str(error).split())}") from error


def check_checkpoints(run: Mapping, names: Iterable[str]) -> None:
    """Looks for the checkpoints that a recipe's section `run` names, those that it leaves empty aside.

    Raises:
        RecipeError: for a folder without one.
    """
    for name in names:
        folder = run[name]
        if folder and not os.path.isfile(os.path.join(folder, "config.json")):
            raise RecipeError(f"`run.{name}` is {folder}, which holds no config.json; train that part first.")


def open_run(recipe: dict) -> RunFolder:
    """Opens the folder of a resolved recipe, and tells where it is trained already, so that nothing is left to do."""
    run = RunFolder(recipe["run"]["folder"])
    run.open(recipe)
    if run.is_trained:
        print(f"{run.path} is trained already; delete it to train anew")
    return run


def training_arguments(
    run: RunFolder, recipe: dict, kind: type[TrainingArguments] = TrainingArguments, **settings
) -> TrainingArguments:
    """The Trainer's arguments, of its `kind`: what the script needs as `settings`, and what the recipe says.

    Trackio writes into the run's folder, unless `TRACKIO_DIR` names another. transformers takes bfloat16 on a CPU only
    where it is told to use the CPU.
    """
    if recipe["training"].get("bf16") and not torch.accelerator.is_available():
        settings.setdefault("use_cpu", True)
    os.environ.setdefault("TRACKIO_DIR", str(run.path / "trackio"))
    return kind(
        output_dir=str(run.trainer),
        seed=recipe["run"]["seed"],
        **{**settings, "project": "antiphon", "run_name": run.path.name, **recipe["training"]},
    )


@contextmanager
def trained(trainer: Trainer, run: RunFolder) -> Iterator[None]:
    """Trains, or goes on where a kill ended it; the body saves what came of it; then comes the log.

    The log is written last, since it says that the run is trained.
    """
    start = time.perf_counter()
    trainer.train(resume_from_checkpoint=run.last_trainer_checkpoint())
    yield
    if trainer.is_world_process_zero():
        log = trainer.state.log_history
        write_json(run.path / "log_history.json", [*log, {"training_seconds": time.perf_counter() - start}])
