"""Training from a recipe: two steps, a kill, several processes, DeepSpeed. Each training is a process of its own."""

import csv
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file
from tone_corpus import write_tone_corpus

from antiphon.processing.corpora import load_corpus

SCRIPTS = Path(__file__).parents[2] / "train_scripts"
# Deterministic but for the order of additions: no dropout, no masks.
PLAIN = ["model.hidden_dropout=0.0", "model.num_time_masks=0", "model.num_frequency_masks=0"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_tone_corpus(tmp_path_factory.mktemp("tones") / "corpus")


def overrides(corpus, folder, *more):
    return [
        f"data.train=[{{name: {corpus}, where: [split=train]}}]",
        f"data.validation=[{{name: {corpus}, where: [split=validation]}}]",
        f"run.folder={folder}",
        *more,
    ]


def launch(command, **environment):
    """Runs a command and fails with its output unless it succeeds."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **environment}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def train(arguments, prefix=(sys.executable,), **environment):
    return launch([*prefix, str(SCRIPTS / "train_conformer.py"), "debug", *arguments], **environment)


def weights(folder):
    return load_file(folder / "checkpoint" / "model.safetensors")


def largest_difference(first, second):
    assert first.keys() == second.keys()
    return max((first[name] - second[name]).abs().max().item() for name in first)


def test_two_steps_leave_a_complete_run(corpus, tmp_path):
    folder = tmp_path / "run"
    output = train(overrides(corpus, folder, "training.report_to=trackio"), TRACKIO_DIR=str(tmp_path / "trackio"))
    assert "parameters" in output
    assert "12 utterances kept" in output
    files = {path.name for path in folder.iterdir()}
    assert {"recipe.yaml", "environment.json", "training_data.json", "log_history.json", "checkpoint"} <= files
    checkpoint = {path.name for path in (folder / "checkpoint").iterdir()}
    assert {"model.safetensors", "config.json", "processor_config.json", "tokenizer.json"} <= checkpoint
    assert {"modeling_conformer.py", "processing_conformer.py", "layers_attention.py"} <= checkpoint
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["packages"]["torch"]
    assert environment["hardware"]
    log = json.loads((folder / "log_history.json").read_text())
    assert any("eval_wer" in entry for entry in log)
    assert log[-1]["training_seconds"] > 0
    assert any((tmp_path / "trackio").iterdir()), "trackio logged nothing"
    assert "trained already" in train(overrides(corpus, folder, "training.report_to=trackio"))


def test_manifests_say_which_rows_were_used_and_load_them_again(corpus, tmp_path):
    folder = tmp_path / "run"
    counted = [f"data.train=[{{name: {corpus}, where: [split=train], count: 10}}]", "data.max_seconds=1.0"]
    output = train([*overrides(corpus, folder), *counted])
    used, validated = (load_corpus(str(folder / "manifests" / name)) for name in ("train.csv", "val.csv"))
    assert f"training: {len(used)} utterances kept; dropped: 0 without text" in output
    assert set(validated["split"]) == {"validation"}
    assert (set(used["split"]), max(used["duration_seconds"]) <= 1) == ({"train"}, True)
    with (folder / "manifests" / "dropped.csv").open(encoding="utf-8", newline="") as file:
        dropped = [row for row in csv.DictReader(file) if row["side"] == "train"]
    assert len(used) + len(dropped) == len({*used["file_name"], *(row["file_name"] for row in dropped)}) == 10
    assert {(row["source"], row["reason"]) for row in dropped} == {("tones", "too long")}


def test_tensorboard_can_take_the_place_of_trackio(corpus, tmp_path):
    pytest.importorskip("tensorboard")
    folder = tmp_path / "run"
    train(overrides(corpus, folder, "training.report_to=tensorboard"))
    (events,) = folder.rglob("events.out.tfevents.*")
    assert b"train/loss" in events.read_bytes()
    assert json.loads((folder / "progress.json").read_text())["step"] == 2


def test_a_folder_of_another_recipe_is_not_overwritten(corpus, tmp_path):
    folder = tmp_path / "run"
    train(overrides(corpus, folder))
    command = [sys.executable, str(SCRIPTS / "train_conformer.py"), "debug"]
    done = subprocess.run(
        command + overrides(corpus, folder, "training.learning_rate=0.5"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "holds a run of another recipe" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.learning_rat=1", "did you mean `learning_rate`"),
        ("model.hiden_size=1", "did you mean `hidden_size`"),
        ("data.trian=1", "did you mean `train`"),
        ("run.folder=null", "`run.folder` is missing"),
        ("run.keep_best=-1", "`run.keep_best` is -1"),
        ("run.architecture=parakeat", "did you mean `parakeet`"),
        ("run.folder=pyproject.toml", "could not be written (File exists: pyproject.toml)"),
    ],
)
def test_mistakes_are_one_sentence(override, message):
    command = [sys.executable, str(SCRIPTS / "train_conformer.py"), "debug", override]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=SCRIPTS.parent)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def train_until(step, what, arguments):
    """Trains, and does something to the process after a step; returns what came of it."""
    code = (
        "import os, resource, sys\n"
        "from transformers import TrainerCallback, Trainer\n"
        "class Accident(TrainerCallback):\n"
        "    def on_step_end(self, args, state, control, **kwargs):\n"
        f"        if state.global_step == {step}: {what}\n"
        "from antiphon.train_scripts import train_conformer\n"
        "original = Trainer.__init__\n"
        "def patched(self, *args, **kwargs):\n"
        "    original(self, *args, **kwargs)\n"
        "    self.add_callback(Accident())\n"
        "Trainer.__init__ = patched\n"
        "train_conformer.main(sys.argv[1:])\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, "debug", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_killed_and_resumed_equals_uninterrupted(corpus, tmp_path):
    """With dropout, masks, augmentation and chunks drawn; stopped in the middle of an epoch of three batches."""
    more = [
        "training.max_steps=12", "training.eval_steps=2", "training.save_steps=4", "run.keep_best=2", "run.keep_last=3",
        "data.augmentation={noise: {probability: 1.0}, speed: {probability: 0.5}}",
        "model.causal_convolutions=true", "model.training_chunk_frames=[2, 5, null]",
    ]  # fmt: skip
    train(overrides(corpus, tmp_path / "whole", *more))
    killed = overrides(corpus, tmp_path / "killed", *more)
    done = train_until(10, "os._exit(9)", killed)
    assert done.returncode == 9, done.stderr[-2000:]
    assert not (tmp_path / "killed" / "checkpoint").exists()
    # What a kill in the middle of writing leaves behind must not be resumed from.
    (tmp_path / "killed" / "trainer" / "checkpoint-11").mkdir()
    train(killed)
    assert largest_difference(weights(tmp_path / "whole"), weights(tmp_path / "killed")) == 0.0
    whole, again = (
        {path.name: path.read_bytes() for path in (tmp_path / name / "weights").iterdir()}
        for name in ("whole", "killed")
    )
    assert whole == again
    assert {"index.json", "selection.json", "step-0000012.safetensors"} <= whole.keys()


def test_a_disk_that_is_full_costs_no_earlier_checkpoint(corpus, tmp_path):
    """Its stand-in: the system refuses to let any file grow beyond 20 kB, so that no weights can be written."""
    more = ["training.max_steps=6", "training.eval_steps=2", "training.save_steps=2"]
    train(overrides(corpus, tmp_path / "whole", *more))
    arguments = overrides(corpus, tmp_path / "full", *more)
    done = train_until(3, "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))", arguments)
    assert done.returncode == 1
    assert "could not be written" in done.stderr
    assert "trainer/checkpoint-2. Make room" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "full" / "log_history.json").exists()
    train(arguments)
    assert largest_difference(weights(tmp_path / "whole"), weights(tmp_path / "full")) == 0.0


def test_two_processes_give_the_result_of_one(corpus, tmp_path):
    """One process with batches of 6 and two with batches of 3 take the same steps but for rounding."""
    steps = ["training.max_steps=6", "training.eval_steps=6", "training.save_steps=6", *PLAIN]
    train(overrides(corpus, tmp_path / "one", *steps, "training.per_device_train_batch_size=6"))
    two = overrides(corpus, tmp_path / "two", *steps, "training.per_device_train_batch_size=3")
    prefix = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "0"]
    prefix += ["--rdzv_backend", "c10d", "--rdzv_endpoint", "localhost:0"]
    train(two, prefix, ACCELERATE_USE_CPU="true")
    log = json.loads((tmp_path / "two" / "environment.json").read_text())
    assert log["processes"] == 2
    assert largest_difference(weights(tmp_path / "one"), weights(tmp_path / "two")) < 2e-4


def test_a_stream_is_resumed_and_divided_among_processes(corpus, tmp_path):
    """Over several passes, each of two batches and a rest; the corpus is never held."""

    def streamed(folder, batch_size):
        return [
            f"data.stream={{name: {corpus}, buffer_size: 5, options: {{split: train}}}}", "data.train=[]",
            f"data.validation=[{{name: {corpus}, where: [split=validation]}}]", "data.alphabet=aeio",
            "data.augmentation={noise: {probability: 1.0}}", f"training.per_device_train_batch_size={batch_size}",
            "training.max_steps=8", "training.eval_steps=2", "training.save_steps=2", f"run.folder={folder}", *PLAIN,
        ]  # fmt: skip

    assert "a stream" in train(streamed(tmp_path / "whole", 6))
    (heard,) = json.loads((tmp_path / "whole" / "training_data.json").read_text())
    assert (heard["name"], heard["split"], heard["num_speakers"], heard["num_items"]) == ("tones", "train", 2, 12)
    done = train_until(5, "os._exit(9)", streamed(tmp_path / "killed", 6))
    assert done.returncode == 9, done.stderr[-2000:]
    train(streamed(tmp_path / "killed", 6))
    assert largest_difference(weights(tmp_path / "whole"), weights(tmp_path / "killed")) == 0.0
    prefix = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "0"]
    prefix += ["--rdzv_backend", "c10d", "--rdzv_endpoint", "localhost:0"]
    train(streamed(tmp_path / "two", 3), prefix, ACCELERATE_USE_CPU="true")
    assert largest_difference(weights(tmp_path / "whole"), weights(tmp_path / "two")) < 2e-4


def test_a_run_can_start_from_a_checkpoint(corpus, tmp_path):
    train(
        overrides(corpus, tmp_path / "first", "training.max_steps=4", "training.save_steps=4", "training.eval_steps=4")
    )
    start = f"run.initialize_from={tmp_path / 'first' / 'checkpoint'}"
    train(overrides(corpus, tmp_path / "second", start, "training.learning_rate=1e-9", "model.num_time_masks=0"))
    assert largest_difference(weights(tmp_path / "first"), weights(tmp_path / "second")) < 1e-6
    config = json.loads((tmp_path / "second" / "checkpoint" / "config.json").read_text())
    assert config["num_time_masks"] == 0
    wrong = [sys.executable, str(SCRIPTS / "train_conformer.py"), "debug"]
    mistakes = {
        "data.sampling_rate=16000": "expects 8000 Hz",
        "model.position_embeddings_type=absolute": "learnt with rotary ones",
    }
    for number, (mistake, message) in enumerate(mistakes.items()):
        third = overrides(corpus, tmp_path / f"third-{number}", start, mistake)
        done = subprocess.run([*wrong, *third], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert message in done.stderr


@pytest.mark.parametrize("stage", ["zero2", "zero3"])
def test_deepspeed_takes_a_few_steps(corpus, tmp_path, stage):
    if importlib.util.find_spec("deepspeed") is None:
        pytest.skip("deepspeed is not installed: pip install antiphon[deepspeed]")
    if not shutil.which("g++") or not shutil.which("ninja"):
        pytest.skip("DeepSpeed compiles an operator on first use, which needs g++ and ninja")
    arguments = overrides(corpus, tmp_path / "run", "training.max_steps=3", "training.use_cpu=true", *PLAIN)
    config = SCRIPTS / "accelerate" / f"{stage}.yaml"
    prefix = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config)]
    prefix += ["--main_process_port", "0"]
    train(arguments, prefix, ACCELERATE_USE_CPU="false", DS_ACCELERATOR="cpu")
    assert len(weights(tmp_path / "run")) > 50
    losses = [
        entry["loss"] for entry in json.loads((tmp_path / "run" / "log_history.json").read_text()) if "loss" in entry
    ]
    assert len(losses) == 3
    assert losses[-1] < losses[0]
