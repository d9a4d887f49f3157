"""Pretraining on invented pieces: two steps, a kill, and lattices that an assessment model takes over."""

import json

import pytest
import torch
from safetensors.torch import load_file
from tiny_piano import render_with_sines
from transformers import Trainer, TrainerCallback

from antiphon.processing import PianoFeatureExtractor
from antiphon.processing.corpora import rendering
from antiphon.train_scripts import pretrain_piano_lattices as script
from antiphon.train_scripts import train_piano_assessment
from antiphon.train_scripts.recipes import RecipeError, load_recipe

TINY = [
    *("data.num_pieces=6", "data.num_bars=1", "data.seconds=1.5", "model.hidden_size=16", "model.intermediate_size=32"),
    *("model.num_hidden_layers=1", "model.num_attention_heads=2", "model.hidden_dropout=0.1", "training.max_steps=2"),
    *("training.per_device_train_batch_size=3", "training.save_steps=2", "training.eval_steps=2"),
    *("training.logging_steps=1", "training.report_to=none"),
]


@pytest.fixture(scope="module")
def soundfonts(tmp_path_factory):
    """Two soundfonts of nothing, and sines in place of FluidSynth; all is cached apart."""
    folder = tmp_path_factory.mktemp("lattices")
    paths = [folder / "First.sf2", folder / "Second.sf2"]
    for path in paths:
        path.write_bytes(path.name.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANTIPHON_CACHE", str(folder / "cache"))
        patch.setattr(rendering, "_synthesise", render_with_sines)
        patch.setattr(rendering, "fluidsynth_version", lambda: "0.0")
        yield paths


def recipe_of(soundfonts, folder, *overrides):
    fonts = f"data.soundfonts=[{', '.join(map(str, soundfonts))}]"
    return script.resolve(load_recipe("piano_lattices", [*TINY, fonts, f"run.folder={folder}", *overrides]))


@pytest.fixture(scope="module")
def run(soundfonts, tmp_path_factory):
    """Two steps."""
    return script.train(recipe_of(soundfonts, tmp_path_factory.mktemp("runs") / "run"))


def weights(run):
    return load_file(run.checkpoint / "model.safetensors")


def test_two_steps_leave_a_complete_run(run, soundfonts, capsys):
    files = {path.name for path in run.path.iterdir()}
    assert {"recipe.yaml", "environment.json", "log_history.json", "checkpoint", "pieces"} <= files
    assert sorted(path.name for path in (run.path / "pieces").iterdir()) == [f"{seed}.mid" for seed in range(6)]
    log = json.loads((run.path / "log_history.json").read_text())
    assert any("eval_loss" in entry for entry in log)
    assert log[-1]["training_seconds"] > 0
    script.train(recipe_of(soundfonts, run.path))
    assert "is trained already" in capsys.readouterr().out


def test_an_assessment_model_starts_from_these_lattices(run, tmp_path):
    overrides = [*("model.num_hidden_layers=1", "model.num_attention_heads=2"), f"run.folder={tmp_path / 'other'}"]
    recipe = load_recipe("piano_assessment_debug", [*overrides, f"run.initialize_from={run.checkpoint}"])
    model = train_piano_assessment.build_model(train_piano_assessment.resolve(recipe), PianoFeatureExtractor())
    learned = {name: tensor for name, tensor in weights(run).items() if name.startswith("lattices.")}
    assert len(learned) > 20
    for name, tensor in learned.items():
        torch.testing.assert_close(model.state_dict()[name], tensor)


def test_killed_and_resumed_equals_uninterrupted(soundfonts, tmp_path, monkeypatch):
    """With dropout, masks and windows drawn anew for each epoch; stopped in the middle of an epoch of two batches."""
    more = ["training.max_steps=6", "training.save_steps=3", "training.eval_steps=3"]
    whole = script.train(recipe_of(soundfonts, tmp_path / "whole", *more))
    recipe = recipe_of(soundfonts, tmp_path / "killed", *more)

    class Kill(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 5:
                raise KeyboardInterrupt

    original = Trainer.__init__
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "__init__", lambda self, *args, **kwargs: (
            original(self, *args, **kwargs), self.add_callback(Kill()))[0])  # fmt: skip
        with pytest.raises(KeyboardInterrupt):
            script.train(recipe)
    resumed = script.train(recipe)
    for name, tensor in weights(whole).items():
        torch.testing.assert_close(weights(resumed)[name], tensor, rtol=0, atol=0)


def test_soundfonts_take_turns(soundfonts, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        script, "render_midi", lambda midi, soundfont: asked.append((midi.stem, soundfont)) or f"{midi.stem}.flac"
    )
    data = {"first_seed": 4, "num_pieces": 3, "num_bars": 1, "soundfonts": ["one", "two"]}
    files = script.invent(data, tmp_path / "pieces")
    assert sorted(asked) == [("4", "one"), ("5", "two"), ("6", "one")]
    assert [file.audio for file in files] == ["4.flac", "5.flac", "6.flac"]
    assert all(file.score is None for file in files)


def test_windows_lie_anywhere_in_training_and_at_the_beginning_in_validation():
    frames = torch.arange(50.0)[:, None].half()
    pieces = [
        {"input_features": frames, "roll_features": frames[:40]},
        {"input_features": frames[:7], "roll_features": frames},
    ]
    validation, training = script.Windows(pieces, frames=10), script.Windows(pieces, frames=10, seed=1)
    assert len(training) == 2
    assert validation[0]["input_features"].flatten().tolist() == list(range(10))
    starts = set()
    for epoch in range(40):
        training.set_epoch(epoch)
        window = training[0]
        torch.testing.assert_close(window["input_features"], window["roll_features"])
        torch.testing.assert_close(training[0]["input_features"], window["input_features"])
        starts.add(int(window["input_features"][0]))
    assert len(starts) > 10
    assert max(starts) <= 30
    assert training[1]["roll_features"].flatten().tolist() == list(range(7))  # what both lattices have
    batch = script.collate([validation[0], validation[1]])
    assert batch["attention_mask"].sum(1).tolist() == batch["roll_attention_mask"].sum(1).tolist() == [10, 7]
    assert batch["input_features"].shape == (2, 10, 1)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.num_piece=1", "did you mean `num_pieces`"),
        ("model.hiden_size=1", "did you mean `hidden_size`"),
        ("training.max_step=1", "did you mean `max_steps`"),
        ("run.folder=null", "`run.folder` is missing"),
        ("model.hidden_size=30", r"(?s)`model` cannot be used: .*`hidden_size` is 30"),
    ],
)
def test_mistakes_are_told_before_anything_starts(soundfonts, tmp_path, override, message):
    with pytest.raises(RecipeError, match=message):
        recipe_of(soundfonts, tmp_path, override)
