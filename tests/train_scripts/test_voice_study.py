"""Studies of voice conversion: they resolve, have one fold, and leave the choice of recordings to stored lists."""

import re
from pathlib import Path

import pytest
import yaml

from antiphon.train_scripts import study as studies
from antiphon.train_scripts import tasks
from antiphon.train_scripts.run_folder import RunFolder
from antiphon.train_scripts.study import STORED, Study, Trial

PACKAGED = sorted(path.stem for path in studies.PACKAGED_STUDIES.glob("voice_*.yaml"))


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """A working folder in which all parts that a recipe or a variant names seem to be trained."""
    texts = [path.read_text() for path in studies.PACKAGED_STUDIES.glob("voice_*.yaml")]
    texts.append((studies.PACKAGED_STUDIES.parent / "voice_converter.yaml").read_text())
    for folder in re.findall(r"(?:content_encoder|speaker_encoder|vocoder): (runs/[\w/]+)", "\n".join(texts)):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", PACKAGED)
def test_packaged_studies_resolve(name, parts, tmp_path):
    study = Study.load(name, tmp_path / "study")
    study.write()
    assert study.fold_names == [STORED]
    assert len(list(study.trials())) == len(study.seeds) * len(study.variants)
    for variant in study.variants:
        recipe = study.trial_recipe(Trial(variant, STORED, 1))
        assert recipe["run"]["seed"] == 1
        assert recipe["data"]["validation"] is None  # the stored side


def test_there_are_studies_of_losses_parts_and_scale():
    assert PACKAGED == ["voice_ablations", "voice_parts", "voice_scaling"]


def test_a_trial_is_measured_on_the_stored_pairs(parts, tmp_path, monkeypatch):
    settings = {
        "goal": "Does it help?",
        "task": "voice_conversion",
        "recipe": "voice_converter",
        "corpus": "conversion_pairs",
        "folds": {"protocol": STORED},
        "seeds": [3],
        "metric": "similarity",
        "variants": {"baseline": {}},
    }
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(settings))
    study = Study.load(tmp_path / "small.yaml", tmp_path / "study")
    study.write()

    def train(recipe):
        run = RunFolder(recipe["run"]["folder"])
        run.open(recipe)
        return run

    asked = {}
    task = tasks.Task(study.task_functions.resolve, train, tasks.measure_voice_conversion, ("similarity",))
    monkeypatch.setitem(tasks.TASKS, "voice_conversion", task)
    monkeypatch.setattr(tasks, "measure_checkpoint", lambda checkpoint, **options: asked.update(options, at=checkpoint))
    (trial,) = study.trials()
    study.run_trial(trial)
    assert (asked["name"], asked["training_seed"], asked["side"]) == ("small", 3, "validation")
    assert Path(asked["at"]) == study.run_folder(trial).checkpoint
    assert asked["out"] == study.run_folder(trial).results
