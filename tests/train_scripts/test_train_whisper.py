"""Fine-tuning a tiny Whisper with random weights from end to end: fully, by LoRA, killed, measured, published."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import torch
from safetensors.torch import load_file
from tiny_conformer import make_model as make_conformer
from tiny_whisper import NEEDS_PEFT, SAMPLING_RATE, write_whisper
from tone_corpus import write_tone_corpus
from transformers import AutoModelForSpeechSeq2Seq, AutoProcessor, TrainerCallback

from antiphon.eval.benchmark_recognition import benchmark_recognition
from antiphon.processing.corpora import load_corpus
from antiphon.train_scripts import train_whisper
from antiphon.train_scripts.publish import publish_to_folder
from antiphon.train_scripts.recipes import RecipeError
from antiphon.train_scripts.run_folder import RunFolder

SCRIPT = Path(__file__).parents[2] / "train_scripts" / "train_whisper.py"
LORA = {"r": 4, "alpha": 8, "dropout": 0.1}
FULL_AND_LOW_RANK = [pytest.param(None, id="full"), pytest.param(LORA, id="low rank", marks=NEEDS_PEFT)]
TRAINING = {
    "max_steps": 2,
    "per_device_train_batch_size": 4,
    "eval_strategy": "steps",
    "eval_steps": 2,
    "save_strategy": "steps",
    "save_steps": 2,
    "logging_steps": 1,
    "report_to": "none",
    "disable_tqdm": True,
    "use_cpu": True,
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_tone_corpus(tmp_path_factory.mktemp("tones") / "corpus")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_whisper(tmp_path_factory.mktemp("whisper") / "checkpoint")


@pytest.fixture(scope="module")
def learned(corpus, checkpoint, tmp_path_factory):
    """A run that learnt its twelve training items by heart, which it also validates on."""
    steps = {"max_steps": 240, "eval_steps": 80, "save_steps": 80, "learning_rate": 5e-3, "warmup_steps": 20}
    folder = tmp_path_factory.mktemp("learned") / "run"
    return train(corpus, checkpoint, folder, training={**steps, "per_device_train_batch_size": 6}, validation="train")


def train(corpus, checkpoint, folder, *, data=(), model=(), training=(), run=(), validation="validation", callbacks=()):
    recipe = {
        "data": {
            "train": [{"name": str(corpus), "where": ["split=train"]}],
            "validation": [{"name": str(corpus), "where": [f"split={validation}"]}],
            "resample": True,
            **dict(data),
        },
        "model": {"language": "en", **dict(model)},
        "training": {**TRAINING, **dict(training)},
        "run": {"folder": str(folder), "initialize_from": str(checkpoint), **dict(run)},
    }
    return train_whisper.train(train_whisper.resolve(recipe), callbacks)


def weights(run: RunFolder) -> dict:
    return load_file(run.checkpoint / "model.safetensors")


def largest_difference(first: dict, second: dict) -> float:
    assert first.keys() == second.keys()
    return max((first[name] - second[name]).abs().max().item() for name in first)


def read(run: RunFolder, name: str):
    return json.loads((run.path / name).read_text())


@pytest.mark.parametrize("lora", FULL_AND_LOW_RANK)
def test_two_steps_leave_a_complete_run(corpus, checkpoint, tmp_path, lora, capsys):
    run = train(corpus, checkpoint, tmp_path / "run", model={"lora": lora})
    printed = capsys.readouterr().out
    assert "learn; on each device about" in printed
    assert "training: 12 utterances kept" in printed
    files = {path.name for path in run.path.iterdir()}
    assert {"recipe.yaml", "environment.json", "training_data.json", "log_history.json", "validation.json"} <= files
    assert ("adapter" in files) == (lora is not None)
    assert {path.name for path in run.checkpoint.iterdir()} == {
        "model.safetensors", "config.json", "generation_config.json", "processor_config.json", "tokenizer.json",
        "tokenizer_config.json",
    }  # fmt: skip
    assert weights(run).keys() == load_file(checkpoint / "model.safetensors").keys()
    evaluated = next(entry for entry in read(run, "log_history.json") if "eval_wer" in entry)
    assert 0 <= evaluated["eval_loops"] <= 1
    own, base = read(run, "training_data.json")
    assert (own["name"], own["num_items"]) == ("tones", 12)
    assert base["name"].startswith("unknown, of"), "a card must say that the start had heard something too"
    used = load_corpus(str(run.path / "manifests" / "train.csv"))
    assert (len(used), set(used["split"])) == (12, {"train"})
    assert train(corpus, checkpoint, tmp_path / "run", model={"lora": lora}).is_trained
    assert "is trained already" in capsys.readouterr().out


def test_it_learns_and_the_benchmark_measures_what_it_learnt(learned, corpus, tmp_path):
    assert read(learned, "validation.json")["wer"] < 0.1
    items = load_corpus(str(corpus))
    known = items.filter(lambda row: row["split"] == "train")
    row = benchmark_recognition(learned.checkpoint, known, name="known", corpus="tones", out=tmp_path, resample=True)
    assert row["metrics"]["wer"]["value"] == read(learned, "validation.json")["wer"]
    assert row["repetition"]["looped"] == 0


def test_validation_looks_at_all_items_with_and_without_the_guard(corpus, checkpoint, tmp_path):
    report = read(train(corpus, checkpoint, tmp_path / "run"), "validation.json")
    assert report["repetition"]["items"] == 6
    assert report["repetition"]["looped"] == 6, "this random Whisper only loops"
    assert report["repetition"]["still_loop"] == 0
    fewer = read(train(corpus, checkpoint, tmp_path / "fewer", run={"check_items": 2}), "validation.json")
    assert fewer["repetition"]["items"] == 2


@NEEDS_PEFT
def test_low_rank_matrices_learn_alone_and_are_merged_into_what_they_said(learned, corpus, tmp_path):
    """From a start whose transcripts differ from item to item, so that the comparison can fail."""
    steps = {"max_steps": 30, "eval_steps": 10, "save_steps": 10, "learning_rate": 1e-2, "warmup_steps": 0}
    run = train(corpus, learned.checkpoint, tmp_path / "run", model={"lora": LORA}, training=steps)
    merging = read(run, "validation.json")["merging"]
    assert merging["items"] == 6
    assert merging["wer_merged"] == merging["wer_unmerged"]
    assert 0 < merging["logit_change"] < 1e-5
    before, after = weights(learned), weights(run)
    changed = {name for name in before if (before[name] - after[name]).abs().max() > 0}
    assert changed == {name for name in before if name.endswith(("q_proj.weight", "v_proj.weight"))}
    adapter = load_file(run.path / "adapter" / "adapter_model.safetensors")
    name = "model.encoder.layers.0.self_attn.q_proj"
    product = adapter[f"base_model.model.{name}.lora_B.weight"] @ adapter[f"base_model.model.{name}.lora_A.weight"]
    torch.testing.assert_close(after[f"{name}.weight"], before[f"{name}.weight"] + 8 / 4 * product)


@NEEDS_PEFT
def test_a_merge_that_fails_writes_no_checkpoint(corpus, checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr("antiphon.train_scripts.whisper_lora.MAX_LOGIT_CHANGE", -1.0)
    with pytest.raises(RecipeError, match="nothing was written but the adapter"):
        train(corpus, checkpoint, tmp_path / "run", model={"lora": LORA})
    run = RunFolder(tmp_path / "run")
    assert (run.path / "adapter" / "adapter_model.safetensors").is_file()
    assert not run.checkpoint.exists()
    assert not run.is_trained
    monkeypatch.undo()  # run again it does not train anew
    train(corpus, checkpoint, tmp_path / "run", model={"lora": LORA})
    assert run.is_trained


@NEEDS_PEFT
def test_gradient_checkpointing_takes_the_same_steps(corpus, checkpoint, tmp_path):
    """With LoRA, where a wrong way to do it leaves the encoder's matrices without gradients."""
    steps = {"max_steps": 4, "learning_rate": 1e-2, "warmup_steps": 0}
    plain = {"lora": {**LORA, "dropout": 0.0}}
    one = train(corpus, checkpoint, tmp_path / "one", model=plain, training=steps)
    other = train(
        corpus, checkpoint, tmp_path / "other", model=plain, training={**steps, "gradient_checkpointing": True}
    )
    before, after = load_file(checkpoint / "model.safetensors"), weights(one)
    assert all((before[name] - after[name]).abs().max() > 1e-4 for name in before if "q_proj.weight" in name)
    assert largest_difference(after, weights(other)) < 1e-5


def test_a_step_does_not_depend_on_how_it_is_divided(corpus, checkpoint, tmp_path):
    """Plain gradient descent, since Adam and clipping would hide gradients of a wrong size."""
    steps = {"max_steps": 4, "learning_rate": 0.1, "warmup_steps": 0, "optim": "sgd", "max_grad_norm": 1e9}
    whole = train(corpus, checkpoint, tmp_path / "whole", training={**steps, "per_device_train_batch_size": 6})
    halves = {**steps, "per_device_train_batch_size": 3, "gradient_accumulation_steps": 2}
    divided = train(corpus, checkpoint, tmp_path / "divided", training=halves)
    assert largest_difference(weights(whole), load_file(checkpoint / "model.safetensors")) > 0.01
    assert largest_difference(weights(whole), weights(divided)) < 1e-5


def test_a_frozen_encoder_stays_as_it_is(corpus, checkpoint, tmp_path):
    run = train(corpus, checkpoint, tmp_path / "run", model={"freeze_encoder": True}, training={"warmup_steps": 0})
    before, after = load_file(checkpoint / "model.safetensors"), weights(run)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert not any(name.startswith("model.encoder.") for name in changed)


@NEEDS_PEFT
def test_a_merge_is_compared_without_the_rounding_of_mixed_precision(corpus, checkpoint, tmp_path):
    training = {"bf16": True, "learning_rate": 1e-2, "warmup_steps": 0}
    run = train(corpus, checkpoint, tmp_path / "run", model={"lora": LORA}, training=training)
    assert read(run, "validation.json")["merging"]["logit_change"] < 1e-5
    assert {tensor.dtype for tensor in weights(run).values()} == {torch.float32}


def test_settings_as_the_first_checkpoints_have_them(corpus, checkpoint, tmp_path):
    """OpenAI say in the configuration what generation shall do, with prompt tokens by place; some tell no length."""
    old = write_whisper(tmp_path / "old")
    for name, changes in (
        (
            "config.json",
            {"forced_decoder_ids": [[1, 259], [2, 262], [3, 266]], "max_length": 448, "suppress_tokens": []},
        ),
        ("generation_config.json", {"forced_decoder_ids": [[1, None], [2, 262]], "max_length": None}),
    ):
        (old / name).write_text(json.dumps({**json.loads((old / name).read_text()), **changes}))
    run = train(corpus, old, tmp_path / "run")
    settings = read(run, "checkpoint/generation_config.json")
    assert (settings["language"], settings["task"], settings["max_length"]) == ("en", "transcribe", 32)
    assert settings.get("forced_decoder_ids") is None
    plain = train(corpus, checkpoint, tmp_path / "plain")
    assert read(run, "validation.json") == read(plain, "validation.json")
    assert largest_difference(weights(run), weights(plain)) == 0.0


# ---------------------------------------------------------------- kills

LONGER = {"max_steps": 12, "eval_steps": 4, "save_steps": 4, "learning_rate": 1e-3, "warmup_steps": 2}
RANDOM = {
    "data": {"augmentation": {"noise": {"probability": 1.0}, "speed": {"probability": 0.5}}},
    "model": {"dropout": 0.1, "apply_spec_augment": True, "mask_time_prob": 0.2, "mask_time_length": 5},
}


class Kill(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 10:
            raise KeyboardInterrupt


@pytest.mark.parametrize("lora", FULL_AND_LOW_RANK)
def test_stopped_and_resumed_equals_uninterrupted(corpus, checkpoint, tmp_path, lora):
    """With dropout, masks and augmentation on; stopped in the middle of an epoch of three batches."""
    options = {"data": RANDOM["data"], "model": {**RANDOM["model"], "lora": lora}, "training": LONGER}
    whole = train(corpus, checkpoint, tmp_path / "whole", **options)
    with pytest.raises(KeyboardInterrupt):
        train(corpus, checkpoint, tmp_path / "stopped", **options, callbacks=[Kill()])
    assert not (tmp_path / "stopped" / "checkpoint").exists()
    # What a kill in the middle of writing leaves behind must not be resumed from.
    (tmp_path / "stopped" / "trainer" / "checkpoint-11").mkdir()
    stopped = train(corpus, checkpoint, tmp_path / "stopped", **options)
    assert largest_difference(weights(whole), weights(stopped)) == 0.0
    assert largest_difference(weights(whole), load_file(checkpoint / "model.safetensors")) > 1e-4
    assert read(whole, "validation.json") == read(stopped, "validation.json")


def command(corpus, checkpoint, folder, *more):
    return [
        "whisper_debug",
        f"data.train=[{{name: {corpus}, where: [split=train]}}]",
        f"data.validation=[{{name: {corpus}, where: [split=validation]}}]",
        f"run.initialize_from={checkpoint}",
        f"run.folder={folder}",
        *more,
    ]


def run_python(*arguments):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, env=environment, check=False
    )


@NEEDS_PEFT
def test_the_command_line_survives_a_kill(corpus, checkpoint, tmp_path):
    more = ["training.max_steps=6", "training.save_steps=2", "model.lora={r: 4}", "training.learning_rate=1e-2"]
    killed = command(corpus, checkpoint, tmp_path / "killed", *more)
    code = (
        "import os, sys\n"
        "from transformers import TrainerCallback\n"
        "from antiphon.train_scripts import train_whisper\n"
        "from antiphon.train_scripts.recipes import load_recipe\n"
        "class Kill(TrainerCallback):\n"
        "    def on_step_end(self, args, state, control, **kwargs):\n"
        "        if state.global_step == 5: os._exit(9)\n"
        "recipe = load_recipe(sys.argv[1], sys.argv[2:])\n"
        f"whole = {{**recipe, 'run': {{**recipe['run'], 'folder': '{tmp_path / 'whole'}'}}}}\n"
        "train_whisper.train(train_whisper.resolve(whole))\n"
        "train_whisper.train(train_whisper.resolve(recipe), [Kill()])\n"
    )
    done = run_python("-c", code, *killed)
    assert done.returncode == 9, done.stderr[-2000:]
    done = run_python(SCRIPT, *killed)
    assert done.returncode == 0, done.stderr[-2000:]
    assert f"checkpoint: {tmp_path / 'killed' / 'checkpoint'}" in done.stdout
    assert largest_difference(weights(RunFolder(tmp_path / "killed")), weights(RunFolder(tmp_path / "whole"))) == 0.0


def test_memory_is_told_without_a_training(tmp_path, capsys):
    train_whisper.main(["whisper_small_common_voice", "--memory", f"run.folder={tmp_path / 'run'}"])
    assert "GB (weights 0.967, gradients 0.962, optimizer 1.92, " in capsys.readouterr().out
    assert not (tmp_path / "run").exists()


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("section", "value", "message"),
    [
        ("model", {"langauge": "en"}, "`langauge` is not a key of `model`; did you mean `language`"),
        ("model", {"dropout": "much"}, "`model` cannot be used: "),
        pytest.param(
            "model", {"lora": LORA, "freeze_encoder": True}, "`model.freeze_encoder` says nothing", marks=NEEDS_PEFT
        ),
        ("model", {"language": None}, "`model.language` is missing; this checkpoint knows de, en, zh"),
        ("model", {"language": "fr"}, "`model.language` is fr but this checkpoint knows de, en, zh"),
        ("model", {"task": "sing"}, "`model.task` cannot be used: .*sing"),
        ("run", {"initialize_from": None}, "`run.initialize_from` is missing; name a Whisper"),
        ("run", {"initialize_from": "no/such/folder"}, "`run.initialize_from` no/such/folder cannot be loaded"),
        ("data", {"max_seconds": 31}, "`data.max_seconds` is 31 but this checkpoint hears 2 s"),
        ("data", {"augmentation": {"nois": {}}}, "`data.augmentation` cannot be used: .*did you mean `noise`"),
        ("training", {"learning_rat": 1}, "did you mean `learning_rate`"),
    ],
)
def test_mistakes_are_one_sentence(corpus, checkpoint, tmp_path, section, value, message):
    with pytest.raises(RecipeError, match=message) as refused:
        train(corpus, checkpoint, tmp_path / "run", **{section: value})
    assert "\n" not in str(refused.value)


def test_another_kind_of_checkpoint_is_refused(corpus, tmp_path):
    make_conformer().save_pretrained(tmp_path / "conformer")
    with pytest.raises(
        RecipeError, match="holds a model of the type antiphon_conformer, but this script trains a Whisper"
    ):
        train(corpus, tmp_path / "conformer", tmp_path / "run")


def test_a_checkpoint_of_one_language_has_no_language(corpus, checkpoint, tmp_path):
    english = write_whisper(tmp_path / "english")
    settings = json.loads((english / "generation_config.json").read_text())
    settings = {name: value for name, value in settings.items() if name not in ("lang_to_id", "task_to_id")}
    (english / "generation_config.json").write_text(json.dumps({**settings, "is_multilingual": False}))
    with pytest.raises(RecipeError, match=r"`model.language` is en but this checkpoint knows one language"):
        train(corpus, english, tmp_path / "refused")
    run = train(corpus, english, tmp_path / "run", model={"language": None})
    assert read(run, "validation.json")["repetition"]["items"] == 6


# ---------------------------------------------------------------- use


def test_a_published_run_is_used_as_its_card_says(learned, corpus, tmp_path, monkeypatch):
    items = load_corpus(str(corpus))
    benchmark_recognition(
        learned.checkpoint,
        items.filter(lambda row: row["split"] == "test"),
        name="tones",
        corpus="tones",
        resample=True,
    )
    monkeypatch.chdir(tmp_path)
    card = (publish_to_folder(learned.path, tmp_path / "whisper-tones") / "README.md").read_text()
    program = card.split("```python\n")[1].split("```")[0]
    known = next(row for row in items if row["split"] == "train")
    waveform, rate = soundfile.read(known["audio"]["path"])
    soundfile.write(tmp_path / "speech.wav", waveform.repeat(SAMPLING_RATE // rate), SAMPLING_RATE)
    done = run_python("-c", program)
    assert done.returncode == 0, done.stderr[-2000:]
    model = AutoModelForSpeechSeq2Seq.from_pretrained(learned.checkpoint)
    processor = AutoProcessor.from_pretrained(learned.checkpoint)
    inputs = processor(audio=waveform.repeat(2), sampling_rate=SAMPLING_RATE, return_tensors="pt")
    expected = processor.batch_decode(model.generate(**inputs), skip_special_tokens=True)[0]
    assert expected
    assert done.stdout.strip() == expected.strip()
    assert "trust_remote_code" not in program
    assert "loops" in card.split("## Limits")[1]
