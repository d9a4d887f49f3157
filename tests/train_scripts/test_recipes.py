import pytest

from antiphon.train_scripts.recipes import RecipeError, check_keys, load_recipe, load_study, set_value, with_defaults
from antiphon.train_scripts.train_conformer import resolve


def write(tmp_path, text):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    return path


def test_numbers_words_and_overrides(tmp_path):
    path = write(tmp_path, "training: {learning_rate: 1e-4, eval_strategy: no, bf16: true}\nrun: {folder: 'x'}\n")
    recipe = load_recipe(path, ["training.learning_rate=2.5E-3", "data.features.n_fft=256", "run.seed=3"])
    assert recipe["training"] == {"learning_rate": 0.0025, "eval_strategy": "no", "bf16": True}
    assert recipe["data"] == {"features": {"n_fft": 256}}
    assert recipe["run"] == {"folder": "x", "seed": 3}
    assert load_recipe(path)["training"]["learning_rate"] == 0.0001


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        ("trainign: {}", [], "`trainign` is not a key of the recipe; did you mean `training`"),
        ("run: {folder: a, folder: b}", [], "`folder` stands twice"),
        ("run: [", [], "is not valid YAML"),
        ("just text", [], "must hold the sections"),
        ("run: {}", ["run.folder"], "must read section.key=value"),
        ("run: {}", ["folder=x"], "must read section.key"),
        ("run: {}", ["rum.folder=x"], "did you mean `run`"),
        ("run: {seed: 1}", ["run.seed.deep=2"], "looks inside `seed`"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path, text, overrides, message):
    with pytest.raises(RecipeError, match=message):
        load_recipe(write(tmp_path, text), overrides)


def test_a_missing_recipe_names_those_that_exist():
    with pytest.raises(RecipeError, match=r"`nowhere.yaml` is no file; .*debug, .*quickstart"):
        load_recipe("nowhere.yaml")


def test_recipes_load_by_name():
    assert load_recipe("debug")["run"]["folder"] == "runs/debug"


def test_defaults_are_copied_and_keys_checked():
    defaults = {"options": {}, "name": None}
    first = with_defaults({"name": "x"}, defaults, "`data`")
    first["options"]["changed"] = True
    assert with_defaults(None, defaults, "`data`") == {"options": {}, "name": None}
    with pytest.raises(RecipeError, match="`nmae` is not a key of `data`; did you mean `name`"):
        with_defaults({"nmae": 1}, defaults, "`data`")
    with pytest.raises(RecipeError, match="known keys: a, b"):
        check_keys(["zzzzzz"], ["b", "a"], "x")


def test_set_value_reaches_deep_places():
    recipe = {"data": {}}
    set_value(recipe, "data.augmentation.speed", {"probability": 1})
    assert recipe == {"data": {"augmentation": {"speed": {"probability": 1}}}}


def test_a_study_needs_its_keys(tmp_path):
    with pytest.raises(RecipeError, match="lacks variants"):
        load_study(write(tmp_path, "recipe: debug"), ["recipe", "variants"])
    assert load_study(write(tmp_path, "recipe: debug"), ["recipe", "variants"], ["recipe"]) == {"recipe": "debug"}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.features={feature_sice: 40}", "did you mean `feature_size`"),
        ("data.augmentation={nois: {}}", "`data.augmentation` cannot be used: .*did you mean `noise`"),
        ("data.augmentation={noise: {probability: 3}}", "expected a number within 0 and 1"),
        ("model.hidden_size=13", "`model` cannot be used: .*must be a multiple"),
        ("model.hidden_size=wide", "`model` cannot be used: .*expected int"),
    ],
)
def test_values_that_nothing_can_be_built_from_are_found_before_the_data_is_loaded(override, message):
    with pytest.raises(RecipeError, match=f"(?s){message}"):
        resolve(load_recipe("debug", [override]))
