"""Low-rank adaptation: what learns, and a merge that is written only if the merged model says the same."""

import json
from dataclasses import replace

import pytest
import torch
from tiny_whisper import NEEDS_PEFT, make_model, make_processor

from antiphon.train_scripts.recipes import RecipeError
from antiphon.train_scripts.whisper_answers import Answers
from antiphon.train_scripts.whisper_lora import add_lora, complete_lora, merge

pytestmark = NEEDS_PEFT
LORA = {"r": 4, "alpha": 8, "dropout": 0.0, "target_modules": ["q_proj", "v_proj"]}


@pytest.fixture
def adapted():
    """A model whose adapter does something: the second of its matrices is zero at first."""
    model = add_lora(make_model(make_processor()), LORA).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1, generator=torch.Generator().manual_seed(len(name)))
    return model


def answer(model):
    features = torch.randn(2, 16, 200, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = model(input_features=features, decoder_input_ids=torch.tensor([[257, 3, 4], [257, 5, 6]])).logits
    return Answers(texts=["a", "b"], wer=0.25, repetition={}, logits=logits)


def test_the_merge_says_what_the_adapter_said(adapted):
    with_adapter = answer(adapted).logits
    with adapted.disable_adapter():
        assert (answer(adapted).logits - with_adapter).abs().max() > 0.05, "else the adapter would say nothing"
    merged, said, report = merge(adapted, answer)
    torch.testing.assert_close(said.logits, with_adapter, atol=1e-5, rtol=1e-5)
    assert type(merged).__name__ == "WhisperForConditionalGeneration"
    assert not any("lora" in name for name in merged.state_dict())
    assert report["logit_change"] < 1e-5
    assert (report["items"], report["changed_transcripts"], report["wer_merged"]) == (2, 0, 0.25)
    json.dumps(report)


def test_a_merge_that_changes_the_model_is_refused(adapted, monkeypatch):
    honest = adapted.base_model.merge_and_unload

    def scaled_twice(**options):
        for module in adapted.modules():
            if hasattr(module, "lora_A"):
                module.scaling = {name: 2 * value for name, value in module.scaling.items()}
        return honest(**options)

    monkeypatch.setattr(adapted.base_model, "merge_and_unload", scaled_twice)
    with pytest.raises(RecipeError, match=r"the merged model is not the trained one: .*logits moved by 0"):
        merge(adapted, answer)


@pytest.mark.parametrize("broken", [{"wer": 0.26}, {"logits": torch.full((2, 3, 267), float("nan"))}])
def test_a_changed_wer_or_broken_numbers_are_refused(adapted, broken):
    def changing(model):
        said = answer(model)
        return said if model is adapted else replace(said, **broken)

    with pytest.raises(RecipeError, match="nothing was written but the adapter"):
        merge(adapted, changing)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 4}, "`rank` is not a key of `model.lora`"),
        ({"r": 0}, "`model.lora.r` is 0 but must be a whole number"),
        ({"target_modules": "q_proj"}, "`model.lora.target_modules` is 'q_proj' but must be a list"),
        ({"r": "many"}, "`model.lora.r` is 'many'"),
    ],
)
def test_mistakes_in_a_recipe_are_refused(options, message):
    with pytest.raises(RecipeError, match=message):
        complete_lora(options)


def test_nothing_asked_for_is_all_weights():
    assert complete_lora(None) is None
    assert complete_lora({})["target_modules"] == ["q_proj", "v_proj"]


def test_without_peft_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RecipeError, match=r"pip install 'antiphon\[lora\]'"):
        complete_lora({})


def test_layers_that_no_whisper_has_are_refused():
    with pytest.raises(RecipeError, match=r"`model.lora` cannot be used: .*nowhere"):
        add_lora(make_model(make_processor()), LORA | {"target_modules": ["nowhere"]})
