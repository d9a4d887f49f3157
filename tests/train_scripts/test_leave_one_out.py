import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tone_corpus import write_tone_corpus

from antiphon.train_scripts.leave_one_out import STUDY_KEYS, Fold, fold_recipe
from antiphon.train_scripts.recipes import RecipeError, load_study

SCRIPT = Path(__file__).parents[2] / "train_scripts" / "leave_one_out.py"


@pytest.fixture
def study_file(tmp_path):
    corpus = str(write_tone_corpus(tmp_path / "corpus"))
    study = {
        "recipe": "debug",
        "corpus": corpus,
        "held_out": "speaker_id",
        "seeds": [0],
        "overrides": {
            "data.train": [{"name": corpus, "where": ["split!=validation"]}],
            "data.validation": [{"name": corpus, "where": ["split=validation"]}],
        },
        "variants": {"plain": {}, "noisy": {"data.augmentation": {"noise": {"probability": 1.0}}}},
    }
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(study))
    return path


def test_a_fold_leaves_its_group_out_of_training_and_validation(study_file, tmp_path):
    study = load_study(study_file, STUDY_KEYS)
    plain = fold_recipe(study, Fold("plain", "speaker1", 3), tmp_path)
    noisy = fold_recipe(study, Fold("noisy", "speaker0", 3), tmp_path)
    assert plain["data"]["train"][0]["where"] == ["split!=validation", "speaker_id!=speaker1"]
    assert plain["data"]["validation"][0]["where"] == ["split=validation", "speaker_id!=speaker1"]
    assert noisy["data"]["train"][0]["where"] == ["split!=validation", "speaker_id!=speaker0"]
    assert plain["data"]["augmentation"] == {}
    assert noisy["data"]["augmentation"] == {"noise": {"probability": 1.0}}
    assert plain["run"]["seed"] == 3
    assert plain["run"]["folder"].endswith("plain/speaker1/seed3")


def test_an_unknown_variant_key_is_refused(study_file, tmp_path):
    study = load_study(study_file, STUDY_KEYS)
    study["variants"]["plain"] = {"modle.hidden_size": 3}
    with pytest.raises(RecipeError, match="did you mean `model`"):
        fold_recipe(study, Fold("plain", "speaker1", 0), tmp_path)


def test_every_fold_is_trained_and_measured_once(study_file, tmp_path):
    command = [sys.executable, str(SCRIPT), str(study_file), "--folder", str(tmp_path / "runs")]
    command += ["--groups", "speaker1", "speaker2", "--variants", "plain", "--processes", "2"]
    first = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    logs = "".join(path.read_text()[-2000:] for path in tmp_path.glob("runs/plain/*/seed0/log.txt"))
    assert first.returncode == 0, first.stderr + logs
    assert "2/2 plain/speaker2/seed0 done" in first.stdout
    rows = sorted((tmp_path / "runs").glob("plain/*/seed0/results/*_lexicon.json"))
    assert len(rows) == 2
    row = json.loads(rows[0].read_text())
    assert list(row["groups"]) == ["speaker1"]
    assert row["conditions"]["audit"]["num_shared_groups"] == 0
    assert row["conditions"]["decoding"].startswith("closed vocabulary")
    before = rows[0].stat().st_mtime_ns
    again = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert again.returncode == 0
    assert rows[0].stat().st_mtime_ns == before
