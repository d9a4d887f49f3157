"""The command line that all training scripts share: a recipe, and values that override it."""

import argparse
import sys
from collections.abc import Callable, Mapping

from safetensors import SafetensorError

from .recipes import RecipeError, load_recipe
from .run_folder import RunFolder
from .storage_errors import explain_storage_failure, storage_failure


def train_by_recipe(
    description: str,
    resolve: Callable[[dict], dict],
    train: Callable[[dict], RunFolder],
    arguments: list[str] | None = None,
    questions: Mapping[str, Callable[[dict], str]] | None = None,
) -> None:
    """Trains what the command line asks for and prints where the checkpoint is; a wrong recipe ends with a sentence.

    Args:
        description: The script's docstring, shown by `--help`.
        resolve: Fills in a recipe's defaults and refuses what nothing reads.
        train: Trains a resolved recipe.
        arguments: Of the command line; None for those of this process.
        questions: What else can be asked of a resolved recipe, by the option that asks instead of training.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", help="a YAML file, or the name of a recipe that comes with the package")
    parser.add_argument("overrides", nargs="*", help="section.key=value, e.g. training.max_steps=100")
    for option, answer in (questions or {}).items():
        parser.add_argument(f"--{option}", action="append_const", dest="asked", const=answer, help=answer.__doc__)
    options = parser.parse_intermixed_args(arguments)
    try:
        recipe = resolve(load_recipe(options.recipe, options.overrides))
    except RecipeError as error:
        sys.exit(f"error: {error}")
    try:
        if questions and options.asked:
            print(*(answer(recipe) for answer in options.asked), sep="\n")
            return
        run = train(recipe)
    except RecipeError as error:
        sys.exit(f"error: {error}")
    except (OSError, SafetensorError, RuntimeError) as error:
        folder = recipe["run"]["folder"]
        reason = storage_failure(error, folder)
        if reason is None:
            raise
        sys.exit(f"error: {explain_storage_failure(reason, folder, RunFolder(folder).last_trainer_checkpoint())}")
    print(f"checkpoint: {run.checkpoint}")
