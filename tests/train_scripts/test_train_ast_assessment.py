"""Training of the spectrogram transformer that ours is compared with: two steps, a kill, answers, and mistakes."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_piano import SOUNDFONT, sounding_percepiano
from transformers import TrainerCallback

from antiphon.processing.corpora import load_corpus, render_corpus
from antiphon.processing.percepts import PERCEPTS
from antiphon.train_scripts import train_ast_assessment as script
from antiphon.train_scripts.recipes import RecipeError, load_recipe

NUM_PASSAGES, NUM_PLAYERS = 4, 3
TINY = [
    "model.hidden_size=16",
    "model.intermediate_size=32",
    "model.num_hidden_layers=1",
    "model.num_attention_heads=2",
    "model.max_length=64",
    "training.report_to=none",
    "training.per_device_train_batch_size=6",
    "training.num_train_epochs=1",
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("piano")
    with sounding_percepiano(folder, num_passages=NUM_PASSAGES, num_players=NUM_PLAYERS) as corpus:
        yield corpus


def rendering(corpus):
    return {"soundfont": str(corpus.parent / SOUNDFONT)}


def recipe_of(corpus, folder, *overrides):
    given = [f"data.train=[{{name: {corpus}}}]", f"data.rendering={rendering(corpus)}", f"run.folder={folder}"]
    return script.resolve(load_recipe("piano_ast", [*given, *TINY, *overrides]))


@pytest.fixture(scope="module")
def run(corpus, tmp_path_factory):
    """Two steps: one epoch of two batches."""
    return script.train(recipe_of(corpus, tmp_path_factory.mktemp("runs") / "run"))


def weights(run):
    return load_file(run.checkpoint / "model.safetensors")


def test_two_steps_leave_a_complete_run(run, corpus, capsys):
    files = {path.name for path in run.path.iterdir()}
    assert {"recipe.yaml", "environment.json", "training_data.json", "log_history.json", "checkpoint"} <= files
    log = json.loads((run.path / "log_history.json").read_text())
    assert log[-1]["training_seconds"] > 0
    assert json.loads((run.path / "progress.json").read_text())["step"] == 2
    [source] = json.loads((run.path / "training_data.json").read_text())
    assert source["num_items"] == NUM_PASSAGES * NUM_PLAYERS
    script.train(recipe_of(corpus, run.path))
    assert "is trained already" in capsys.readouterr().out


def test_each_performance_is_heard_in_every_rendering(corpus, tmp_path, capsys):
    loud = {**rendering(corpus), "gain": 1.2}
    script.train(recipe_of(corpus, tmp_path / "run", f"data.rendering=[{rendering(corpus)}, {loud}]"))
    assert f"{2 * NUM_PASSAGES * NUM_PLAYERS} performances" in capsys.readouterr().out
    assert json.loads((tmp_path / "run" / "progress.json").read_text())["step"] == 4


def test_its_answers_begin_at_the_mean_of_training(run, corpus):
    rows = render_corpus(load_corpus(corpus), **rendering(corpus))
    answers = script.load_peer(run)(rows)
    labels = np.array(rows["percepts"][:])
    assert answers.percepts.shape == (len(rows), len(PERCEPTS))
    assert (answers.stds, answers.low, answers.high) == (None, None, None)
    np.testing.assert_allclose(answers.percepts.mean(0), labels.mean(0), atol=0.1)
    assert answers.percepts.std(0).max() > 0


def test_an_answer_hangs_on_the_recording_alone(run, corpus):
    rows = render_corpus(load_corpus(corpus), **rendering(corpus))
    assess = script.load_peer(run)
    swapped = rows.select(range(2)).remove_columns("audio").add_column("audio", rows["audio"][1::-1])
    np.testing.assert_allclose(assess(swapped).percepts, assess(rows.select([1, 0])).percepts, atol=1e-6)


def test_spectrograms_are_cut_and_filled_up_with_silence():
    """Of three pairs of frames; the quietest value of each item is its silence."""
    short, long = torch.tensor([[0.0, -9.0], [2.0, -9.0]]), torch.arange(20.0).reshape(10, 2)
    items = script.Spectrograms([{"input_features": short.half()}, {"input_features": long}], 3, 2)
    assert items[0]["input_values"].tolist() == [[1.0, -9.0], [-9.0, -9.0], [-9.0, -9.0]]
    assert items[1]["input_values"].tolist() == [[1.0, 2.0], [5.0, 6.0], [9.0, 10.0]]


class Kill(TrainerCallback):
    """Ends a training without warning."""

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 3:
            raise KeyboardInterrupt


def test_killed_and_resumed_equals_uninterrupted(corpus, tmp_path):
    """Stopped in the middle of the second epoch of two batches."""
    whole = script.train(recipe_of(corpus, tmp_path / "whole", "training.num_train_epochs=2"))
    recipe = recipe_of(corpus, tmp_path / "killed", "training.num_train_epochs=2")
    with pytest.raises(KeyboardInterrupt):
        script.train(recipe, callbacks=[Kill()])
    assert not (tmp_path / "killed" / "checkpoint").exists()
    expected, found = weights(whole), weights(script.train(recipe))
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.hiden_size=1", "did you mean `hidden_size`"),
        ("training.learning_rat=1", "did you mean `learning_rate`"),
        ("data.frames=1", "is not a key of `data`"),
        ("run.folder=null", "`run.folder` is missing"),
        ("data.inputs=[audio, midi]", r"`data.inputs` must be \[audio\]"),
        ("run.initialize_from=somewhere", "`run.initialize_from` null: this peer learns from scratch"),
    ],
)
def test_mistakes_are_told_before_anything_starts(corpus, tmp_path, override, message):
    with pytest.raises(RecipeError, match=message):
        recipe_of(corpus, tmp_path, override)
    assert list(tmp_path.iterdir()) == []
