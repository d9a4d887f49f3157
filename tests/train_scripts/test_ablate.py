"""Studies from the command line, once undisturbed and once killed again and again."""

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest
import yaml
from tone_corpus import write_tone_corpus

from antiphon.train_scripts.exclusive import claim

SCRIPT = Path(__file__).parents[2] / "train_scripts" / "ablate.py"


@pytest.fixture(scope="module")
def study_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    corpus = str(write_tone_corpus(folder / "corpus"))
    study = {
        "goal": "Does noise help?",
        "recipe": "debug",
        "corpus": corpus,
        "folds": {"number": 2},
        "validation": {"fraction": 0.5},
        "seeds": [0],
        "overrides": {
            "data.train": [{"name": corpus}],
            "training.max_steps": 6,
            "training.save_steps": 2,
            "training.report_to": "trackio",
        },
        "variants": {
            "baseline": {},
            "noisy": {"data.augmentation": {"noise": {"probability": 1.0}}, "training.learning_rate": 2e-3},
        },
    }
    path = folder / "tones.yaml"
    path.write_text(yaml.safe_dump(study))
    return path


def command(study_file, folder, *options):
    return [
        sys.executable,
        str(SCRIPT),
        str(study_file),
        "--folder",
        str(folder / "study"),
        "--processes",
        "2",
        *options,
    ]


def finish(study_file, folder, *options):
    done = subprocess.run(
        [*command(study_file, folder, *options)], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    logs = "".join(path.read_text()[-2000:] for path in folder.glob("study/runs/*/*/*/log.txt"))
    assert done.returncode == 0, done.stdout + done.stderr[-3000:] + logs
    return done.stdout


@pytest.fixture(scope="module")
def undisturbed(study_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    return folder, finish(study_file, folder)


def test_a_study_trains_measures_compares_and_logs(undisturbed):
    folder, output = undisturbed
    assert "note: noisy changes 2 things at once: data.augmentation, training.learning_rate" in output
    (comparison,) = json.loads((folder / "study" / "comparisons.json").read_text())
    assert (comparison["system"], comparison["reference"]) == ("noisy", "baseline")
    assert comparison["verdict"] == "cannot tell"
    assert "4 speakers" in comparison["sentence"]
    assert set(comparison["groups"]) == {f"speaker{index}" for index in range(4)}
    assert (folder / "study" / "comparison.md").read_text().strip() in output
    assert (folder / "study" / "comparison.svg").is_file()
    items = pd.read_parquet(folder / "study" / "results" / "tones_baseline_items.parquet")
    assert len(items) == 24
    assert any((folder / "study" / "trackio").iterdir()), "trackio logged nothing"
    log = (folder / "EXPERIMENTS.md").read_text()
    assert "Does noise help?" in log
    assert "noisy" in log


def test_a_finished_study_trains_nothing_again(undisturbed, study_file):
    folder, _ = undisturbed
    before = {path: path.stat().st_mtime_ns for path in folder.glob("study/runs/*/*/*/checkpoint/model.safetensors")}
    assert len(before) == 4
    finish(study_file, folder)
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_a_study_that_has_not_begun_says_so(study_file, tmp_path):
    output = finish(study_file, tmp_path, "--summarize")
    assert "nothing to compare yet: done with a seed on every fold are none" in output
    assert not (tmp_path / "EXPERIMENTS.md").exists()


def kill_with_trainings(process):
    """Ends a study as a power cut would."""
    family = [process, *psutil.Process(process.pid).children(recursive=True)]
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()


def test_a_study_killed_three_times_ends_in_the_same_table(undisturbed, study_file, tmp_path):
    generator = random.Random(0)
    for number in range(1, 4):
        process = subprocess.Popen(
            command(study_file, tmp_path), cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        # somewhere after the first, the second and the third checkpoint, of ten or more
        while len(list(tmp_path.glob("study/runs/*/*/*/trainer/checkpoint-*/trainer_state.json"))) < number:
            assert process.poll() is None, "the study ended before it could be killed"
            time.sleep(0.05)
        time.sleep(generator.uniform(0, 1))
        assert process.poll() is None, "the study ended before it could be killed"
        kill_with_trainings(process)
    assert not (tmp_path / "study" / "comparisons.json").exists()
    finish(study_file, tmp_path)
    folder, _ = undisturbed
    for name in ("comparison.md", "comparisons.json"):
        assert (tmp_path / "study" / name).read_text() == (folder / "study" / name).read_text()


def test_a_failed_training_is_named_and_the_others_are_compared(undisturbed, study_file, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(undisturbed[0], folder)
    study = yaml.safe_load(study_file.read_text())
    study["variants"]["broken"] = {
        "run.initialize_from": "nobody/nothing"
    }  # might be on the Hub, which is out of reach
    broken = tmp_path / "tones.yaml"
    broken.write_text(yaml.safe_dump(study))
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        command(broken, folder), cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode != 0
    assert "2 trainings failed" in done.stderr
    assert "runs/broken/fold0/seed0/log.txt" in done.stderr
    assert "broken: not all seeds are done" in done.stdout
    assert [entry["system"] for entry in json.loads((folder / "study" / "comparisons.json").read_text())] == ["noisy"]


def test_processes_that_train_together_measure_once(study_file, tmp_path):
    launcher = f"{sys.executable} -m torch.distributed.run --standalone --nproc_per_node 2"
    study = {**yaml.safe_load(study_file.read_text()), "variants": {"baseline": {}}}
    path = tmp_path / "tones.yaml"
    path.write_text(yaml.safe_dump(study))
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true"}
    arguments = command(path, tmp_path, "--processes", "1", "--launcher", launcher)
    done = subprocess.run(
        arguments, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    logs = "".join(log.read_text()[-3000:] for log in tmp_path.glob("study/runs/*/*/*/log.txt"))
    assert done.returncode == 0, done.stdout + done.stderr[-3000:] + logs
    rows = sorted(tmp_path.glob("study/runs/baseline/*/seed0/results/tones.json"))
    assert len(rows) == 2
    environments = [json.loads((row.parents[1] / "environment.json").read_text()) for row in rows]
    assert [environment["processes"] for environment in environments] == [2, 2]


def test_a_claim_outlives_its_owner_in_a_child(tmp_path):
    lock = claim(tmp_path / "lock")
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[lock.fileno()])
    lock.close()
    assert claim(tmp_path / "lock") is None
    child.communicate(os.linesep.encode())
    claim(tmp_path / "lock").close()
