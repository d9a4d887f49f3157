"""Training of the voice converter: two steps, a kill, parts that are put together, and mistakes in a recipe."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_voices import make_converter, voice, write_voices
from transformers import TrainerCallback

from antiphon.modeling import VoiceConverterModel
from antiphon.processing.audio_io import encode_audio
from antiphon.processing.corpora import decode, load_corpus
from antiphon.train_scripts import train_voice_converter as script
from antiphon.train_scripts import voice_features
from antiphon.train_scripts.recipes import RecipeError, load_recipe


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Five invented voices; what is computed of them is cached apart."""
    folder = tmp_path_factory.mktemp("voices")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANTIPHON_CACHE", str(folder / "cache"))
        yield write_voices(folder / "corpus")


def recipe_of(corpus, folder, *overrides):
    """The debug recipe, resolved."""
    given = [
        f"data.train=[{{name: {corpus}, where: [split=train]}}]",
        f"data.validation=[{{name: {corpus}, where: [split=validation]}}]",
        f"run.folder={folder}",
    ]
    return script.resolve(load_recipe("voice_converter_debug", [*given, *overrides]))


def weights(run):
    return load_file(run.checkpoint / "model.safetensors")


@pytest.fixture(scope="module")
def run(corpus, tmp_path_factory):
    return script.train(recipe_of(corpus, tmp_path_factory.mktemp("runs") / "run"))


def test_two_steps_leave_a_complete_run(run, corpus, capsys):
    files = {path.name for path in run.path.iterdir()}
    assert {"recipe.yaml", "environment.json", "training_data.json", "log_history.json", "checkpoint"} <= files
    checkpoint = {path.name for path in run.checkpoint.iterdir()}
    assert {"model.safetensors", "config.json", "modeling_voice_converter.py", "voice_prompt.py"} <= checkpoint
    log = json.loads((run.path / "log_history.json").read_text())
    [entry] = [entry for entry in log if "eval_mel_error" in entry]
    assert entry["eval_mel_error"] > 0
    assert -1 <= entry["eval_similarity"] <= 1
    assert "eval_converted_similarity" in entry
    script.train(recipe_of(corpus, run.path))
    assert "is trained already" in capsys.readouterr().out


def test_the_checkpoint_converts(run):
    model = VoiceConverterModel.from_pretrained(run.checkpoint).eval()
    source = voice(110.0, 0.8)
    assert model.convert(source, voice(200.0, 0.7)).shape == source.shape


class Kill(TrainerCallback):
    """Ends a training without warning."""

    def __init__(self, step: int):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    "more",
    [
        ["model.decoder=flow"],
        ["model.freeze_content=false", "data.speed_factors=[1.0, 1.2]", "data.perturbation={}"],
    ],
    ids=["flow", "content learns too"],
)
def test_killed_and_resumed_equals_uninterrupted(corpus, tmp_path, more):
    """With dropout of the reference; stopped in the middle of the second epoch."""
    more = [*more, "training.max_steps=4", "training.eval_steps=2", "training.save_steps=2"]
    whole = script.train(recipe_of(corpus, tmp_path / "whole", *more))
    recipe = recipe_of(corpus, tmp_path / "killed", *more)
    with pytest.raises(KeyboardInterrupt):
        script.train(recipe, callbacks=[Kill(3)])
    assert not (tmp_path / "killed" / "checkpoint").exists()
    resumed = script.train(recipe)
    expected, found = weights(whole), weights(resumed)
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0)


def test_only_the_decoder_learns(run, corpus):
    """The parts come out as they went in."""
    torch.manual_seed(0)
    script.set_seed(run.recipe["run"]["seed"])
    before = script.build_model(run.recipe).state_dict()
    changed = {name.partition(".")[0] for name, tensor in weights(run).items() if not torch.equal(before[name], tensor)}
    assert changed == {"decoder"}


def test_perturbation_needs_a_content_encoder_that_learns(corpus, tmp_path):
    with pytest.raises(RecipeError, match="frozen"):
        recipe_of(corpus, tmp_path, "data.perturbation={}")
    with pytest.raises(RecipeError, match="wrap"):
        recipe_of(corpus, tmp_path, "data.perturbation={wrap: 2}", "model.freeze_content=false")


def test_parts_are_put_together(corpus, tmp_path):
    parts = make_converter(seed=7)
    for name in script.PARTS:
        getattr(parts, name).save_pretrained(tmp_path / name)
    overrides = [f"run.{name}={tmp_path / name}" for name in script.PARTS]
    model = script.build_model(recipe_of(corpus, tmp_path / "run", *overrides))
    for name in script.PARTS:
        for key, tensor in getattr(parts, name).state_dict().items():
            assert torch.equal(getattr(model, name).state_dict()[key], tensor), key


def test_a_converter_gets_another_vocoder_and_keeps_the_rest(run, corpus, tmp_path):
    other = make_converter(seed=8, vocoder_config={"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2})
    other.vocoder.save_pretrained(tmp_path / "vocoder")
    parts = [f"run.initialize_from={run.checkpoint}", f"run.vocoder={tmp_path / 'vocoder'}"]
    model = script.build_model(recipe_of(corpus, tmp_path / "run", *parts, "model.decoder=flow"))
    assert model.config.vocoder_config.hidden_size == 24
    assert model.flow is not None
    state, before = model.state_dict(), weights(run)
    for name, tensor in before.items():
        if not name.startswith("vocoder."):
            assert torch.equal(state[name], tensor), name


def test_a_flow_can_be_left_away(corpus, tmp_path):
    """As the recipe voice_converter_joint does with what voice_converter_further leaves."""
    before = make_converter(seed=9, decoder="flow")
    before.save_pretrained(tmp_path / "flowing")
    start = f"run.initialize_from={tmp_path / 'flowing'}"
    model = script.build_model(recipe_of(corpus, tmp_path / "run", start, "model.decoder=direct"))
    assert model.flow is None
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before.state_dict()[name]), name


def test_features_are_computed_anew_for_other_audio_under_the_same_name(corpus, monkeypatch, tmp_path):
    """And not for the same audio again; content follows them."""
    monkeypatch.setenv("ANTIPHON_CACHE", str(tmp_path))
    computed = []
    for name in ("_features", "_content"):
        compute = getattr(voice_features, name)
        monkeypatch.setattr(
            voice_features, name, lambda *inputs, name=name, compute=compute: computed.append(name) or compute(*inputs)
        )
    rows = load_corpus(corpus, split="validation")
    other = [{"bytes": encode_audio(0.3 * decode(row)[0][::-1], 16_000), "path": None} for row in rows]
    model = make_converter()
    first, again = (voice_features.voice_table(rows, model, [1.0]) for _ in range(2))
    assert computed == ["_features", "_content"]
    assert np.array_equal(first.arrays["content"], again.arrays["content"])
    changed = rows.remove_columns("audio").add_column("audio", other)
    assert voice_features.voice_table(changed, model, [1.0]).lengths.tolist() == first.lengths.tolist()
    assert computed == ["_features", "_content"] * 2
    voice_features.voice_table(rows, make_converter(seed=1), [1.0])
    assert computed == ["_features", "_content"] * 2 + ["_content"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.learning_rat=1", "did you mean `learning_rate`"),
        ("model.hiden_size=1", "did you mean `hidden_size`"),
        ("data.segment_second=1", "did you mean `segment_seconds`"),
        ("run.folder=null", "`run.folder` is missing"),
        ("run.vocoder=nowhere", r"`run\.vocoder` is nowhere, which holds no config\.json"),
        ("model.speaker_config=null", r"`run\.speaker_encoder` is missing; .*`model\.speaker_config`"),
        ("model.decoder=gan", r"(?s)`model` cannot be used: .*must be one of direct, flow"),
    ],
)
def test_mistakes_are_told_before_anything_starts(corpus, tmp_path, override, message):
    with pytest.raises(RecipeError, match=message):
        recipe_of(corpus, tmp_path, override)
    assert list(tmp_path.iterdir()) == []
