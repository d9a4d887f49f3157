"""Training a speaker encoder from a recipe: two steps, a kill, learning, mistakes in one sentence."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import EvalPrediction
from voice_corpus import write_voice_corpus

from antiphon.modeling import SpeakerEncoderModel
from antiphon.train_scripts import train_speaker_encoder as script
from antiphon.train_scripts.recipes import RecipeError, load_recipe


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_voice_corpus(tmp_path_factory.mktemp("voices") / "corpus")


def overrides(corpus, folder, *more):
    return [
        f"data.train=[{{name: {corpus}, where: [split=train]}}]",
        f"data.validation=[{{name: {corpus}, where: [split=validation]}}]",
        f"run.folder={folder}",
        *more,
    ]


def train(corpus, folder, *more):
    return script.train(script.resolve(load_recipe("speaker_encoder_debug", overrides(corpus, folder, *more))))


def test_two_steps_leave_a_complete_run(corpus, tmp_path, capsys):
    run = train(corpus, tmp_path / "run")
    assert "7 speakers, 21 with their speeds" in capsys.readouterr().out
    files = {path.name for path in run.checkpoint.iterdir()}
    assert {"model.safetensors", "config.json", "preprocessor_config.json", "modeling_speaker_encoder.py"} <= files
    # What only training needs, such as a vector for each training speaker, stays out of the checkpoint.
    weights = load_file(run.checkpoint / "model.safetensors")
    assert set(weights) == set(SpeakerEncoderModel.from_pretrained(run.checkpoint).state_dict())
    extractor = json.loads((run.checkpoint / "preprocessor_config.json").read_text())
    assert (extractor["win_length"], extractor["n_fft"], extractor["normalize"]) == (640, 640, "none")
    log = json.loads((run.path / "log_history.json").read_text())
    assert any("eval_eer" in entry for entry in log)
    assert [entry["num_speakers"] for entry in json.loads((run.path / "training_data.json").read_text())] == [3, 4]
    train(corpus, tmp_path / "run")
    assert "trained already" in capsys.readouterr().out


def test_killed_and_resumed_equals_uninterrupted(corpus, tmp_path):
    more = ["training.max_steps=6", "training.eval_steps=3", "training.save_steps=3"]
    whole = train(corpus, tmp_path / "whole", *more)
    code = (
        "import os, sys\n"
        "from transformers import Trainer, TrainerCallback\n"
        "class Kill(TrainerCallback):\n"
        "    def on_step_end(self, args, state, control, **kwargs):\n"
        "        if state.global_step == 5: os._exit(9)\n"
        "from antiphon.train_scripts import train_speaker_encoder as script\n"
        "from antiphon.train_scripts.recipes import load_recipe\n"
        "script.train(script.resolve(load_recipe('speaker_encoder_debug', sys.argv[1:])), [Kill()])\n"
    )
    killed = overrides(corpus, tmp_path / "killed", *more)
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    done = subprocess.run([sys.executable, "-c", code, *killed], capture_output=True, env=environment, check=False)
    assert done.returncode == 9, done.stderr[-2000:]
    command = [sys.executable, str(Path(script.__file__)), "speaker_encoder_debug", *killed]
    subprocess.run(command, capture_output=True, env=environment, check=True)
    first, second = (load_file(path / "checkpoint" / "model.safetensors") for path in (whole.path, tmp_path / "killed"))
    assert first.keys() == second.keys()
    assert max((first[name].float() - second[name].float()).abs().max() for name in first) < 1e-5


@pytest.mark.parametrize("loss", ["margin_softmax", "triplet", "ge2e"])
def test_every_loss_alone_teaches_unknown_voices(corpus, tmp_path, loss):
    none = {name: {"weight": 0.0} for name in script.LOSS_DEFAULTS}
    losses = json.dumps(none | {loss: {"weight": 1.0}})
    steps = ["training.max_steps=40", "training.eval_steps=40", "training.save_steps=40", "data.augmentation={}"]
    run = train(corpus, tmp_path / "run", f"run.losses={losses}", "data.balance=1.0", *steps)
    [measured] = [entry for entry in json.loads((run.path / "log_history.json").read_text()) if "eval_eer" in entry]
    assert measured["eval_eer"] < 0.3


def test_weights_add_up_and_rivals_are_of_the_same_corpus():
    losses = {name: dict(options) for name, options in script.LOSS_DEFAULTS.items()}
    for options in losses.values():
        options["weight"] = 1.0
    recipe = load_recipe("speaker_encoder_debug")
    encoder = SpeakerEncoderModel(script.SpeakerEncoderConfig(**recipe["model"], apply_spec_augment=False))
    rivals = torch.tensor([[True, True, False, False], [False, False, True, True]])
    model = script.SpeakerTraining(encoder, losses, rivals).train()
    features, speakers = torch.randn(4, 30, 80), torch.tensor([0, 0, 2, 2])
    domains = torch.tensor([0, 0, 1, 1])
    embeddings = model(features, speakers, domains)["speaker_embeddings"]
    expected = (
        model.margin_softmax(embeddings, speakers, rivals[domains])
        + script.batch_hard_triplet_loss(embeddings, speakers, 0.3, domains)
        + model.ge2e(embeddings, speakers, domains)
    )
    torch.testing.assert_close(model(features, speakers, domains)["loss"], expected)
    model.margin_softmax.vectors.data[3] += 5
    assert not torch.allclose(model(features, speakers, domains)["loss"], expected)
    model.margin_softmax.vectors.data[3] -= 5
    model(features[:2], speakers[:2], domains[:2])["loss"].backward()
    assert not model.margin_softmax.vectors.grad[2:].any()


def test_validation_pairs_stay_within_a_corpus():
    speakers, domains = np.array([0, 0, 1, 2, 2, 3, 4]), np.array([0, 0, 0, 1, 1, 1, 2])
    angles = np.deg2rad([0, 10, 90, 0, 100, 10, 0])  # speakers of corpus 0 told apart, those of corpus 1 confused
    embeddings = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    names = ["a", "b", "alone"]
    rates = script.validation_eer(EvalPrediction(embeddings, (speakers, domains)), names)
    assert rates == {"eer": 0.5, "eer_a": 0.0, "eer_b": 1.0}
    with pytest.raises(RecipeError, match=r"no corpus with both"):
        script.validation_eer(EvalPrediction(embeddings[:1], (speakers[:1], domains[:1])), names)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.learning_rat=1", "did you mean `learning_rate`"),
        ("model.hiden_size=1", "did you mean `hidden_size`"),
        ("model.hidden_size=33", "`model` cannot be used"),
        ("data.crop_second=1", "did you mean `crop_seconds`"),
        ("data.augmentation={nois: {}}", "`data.augmentation` cannot be used"),
        ("run.folder=null", "`run.folder` is missing"),
        ("run.losses={triplets: {}}", "did you mean `triplet`"),
        ("run.losses={triplet: {margn: 1}}", "did you mean `margin`"),
        ("run.losses={}", "`run.losses` weighs nothing"),
        ("training.per_device_train_batch_size=4", "follows from `data.speakers_per_batch`"),
    ],
)
def test_mistakes_are_one_sentence(override, message):
    with pytest.raises(RecipeError, match=message):
        script.resolve(load_recipe("speaker_encoder_debug", [override]))


def test_the_recipe_can_be_used():
    recipe = script.resolve(load_recipe("speaker_encoder"))
    assert recipe["run"]["losses"]["ge2e"]["weight"] > 0
