"""Recipes: YAML files that say everything about a training, checked before anything starts."""

import copy
import dataclasses
import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml

SECTIONS = ("data", "model", "training", "run")


class RecipeError(ValueError):
    """A recipe that cannot be used; the message says which key and what to do."""


class _RecipeLoader(yaml.SafeLoader):
    """YAML as people expect it: `1e-4` is a number, `no` and `on` are words, and a key stands once."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise RecipeError(f"`{key}` stands twice{node.start_mark}; keep one of them.")
        return super().construct_mapping(node, deep)


_RecipeLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+0123456789.")
)
_RecipeLoader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(true|false|True|False)$"), list("tTfF"))


def load_recipe(path: str | Path, overrides: Iterable[str] = ()) -> dict:
    """Reads a recipe and applies overrides.

    Args:
        path: A YAML file with the sections `data`, `model`, `training` and `run`; or the name of a recipe that comes
            with the package.
        overrides: Texts such as `training.learning_rate=1e-3`; the value is YAML.

    Raises:
        RecipeError: for a missing file, broken YAML, an unknown section or an override without a place.
    """
    recipe = _read_yaml(path, "recipes")
    if not isinstance(recipe, dict):
        raise RecipeError(f"`{path}` must hold the sections {', '.join(SECTIONS)}.")
    check_keys(recipe, SECTIONS, "the recipe")
    for section in SECTIONS:
        recipe.setdefault(section, {})
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator:
            raise RecipeError(f"`{override}` must read section.key=value, e.g. training.learning_rate=1e-3.")
        set_value(recipe, key, _parse(value, override))
    return recipe


def load_study(path: str | Path, keys: Iterable[str], required: Iterable[str] | None = None) -> dict:
    """Reads a study: a YAML file that names a recipe and the ways to vary it.

    Args:
        keys: All keys that it may have.
        required: Those that it must have; all if None.

    Raises:
        RecipeError: for a missing file, broken YAML, a missing or an unknown key.
    """
    study = _read_yaml(path, "recipes/studies")
    if not isinstance(study, dict):
        raise RecipeError(f"`{path}` must hold the keys {', '.join(keys)}.")
    check_keys(study, keys, "the study")
    missing = [key for key in (keys if required is None else required) if key not in study]
    if missing:
        raise RecipeError(f"`{path}` lacks {', '.join(missing)}.")
    return study


def _read_yaml(path: str | Path, packaged_folder: str):
    path, folder = Path(path), Path(__file__).parent / packaged_folder
    packaged = folder / f"{path.stem}.yaml"
    if not path.is_file() and packaged.is_file():
        path = packaged
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
        raise RecipeError(f"`{path}` is no file; give a path or one of: {names}.")
    return _parse(path.read_text(encoding="utf-8"), str(path))


def _parse(text: str, origin: str):
    try:
        return yaml.load(text, Loader=_RecipeLoader)
    except yaml.YAMLError as error:
        raise RecipeError(f"`{origin}` is not valid YAML: {error}") from error


def apply_overrides(recipe: dict, overrides: Mapping) -> None:
    """Sets dotted keys of a recipe to copies of their values, so that no two recipes share a list or section.

    Raises:
        RecipeError: as `set_value`.
    """
    for key, value in copy.deepcopy(dict(overrides)).items():
        set_value(recipe, key, value)


def field_names(cls: type, without: Iterable[str]) -> tuple[list[str], list[str]]:
    """Names of a dataclass's fields, as keys of the YAML that fills it: all of them, and those without a default."""
    keys = [item for item in dataclasses.fields(cls) if item.name not in without]
    missing = dataclasses.MISSING
    required = [item.name for item in keys if item.default is missing and item.default_factory is missing]
    return [item.name for item in keys], required


def set_value(recipe: dict, key: str, value) -> None:
    """Sets `section.key`, with more dots for deeper places.

    Raises:
        RecipeError: if the key names no section, or looks inside something that is none.
    """
    *parents, last = key.split(".")
    if not parents:
        raise RecipeError(f"`{key}` must read section.key, e.g. training.learning_rate.")
    check_keys(parents[:1], SECTIONS, f"`{key}`")
    section = recipe
    for parent in parents:
        section = section.setdefault(parent, {})
        if not isinstance(section, dict):
            raise RecipeError(f"`{key}` looks inside `{parent}`, which is not a section.")
    section[last] = value


def check_keys(keys: Iterable[str], allowed: Iterable[str], where: str) -> None:
    """Refuses keys that nobody reads, and suggests the nearest one that somebody does.

    Raises:
        RecipeError: naming the key, the place and the suggestion.
    """
    allowed = list(allowed)
    for key in keys:
        if key not in allowed:
            nearest = difflib.get_close_matches(str(key), allowed, n=1, cutoff=0.5)
            hint = f"did you mean `{nearest[0]}`?" if nearest else f"known keys: {', '.join(sorted(allowed))}."
            raise RecipeError(f"`{key}` is not a key of {where}; {hint}")


def with_defaults(section: Mapping | None, defaults: Mapping, where: str) -> dict:
    """Checks a section against its defaults' keys and fills what it leaves out."""
    section = section or {}
    check_keys(section, defaults, where)
    return copy.deepcopy({**defaults, **section})
