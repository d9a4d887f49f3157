"""Maps of an assessment: shares that add up, attributions that are complete, and what is silent counts for nothing."""

import numpy as np
import pytest
import torch
from small_assessor import SAMPLING_RATE, small_model

from antiphon.eval.piano_attributions import attention_rollout, by_patch, integrated_gradients, occlusion
from antiphon.processing.corpora.synthetic_piano import synthetic_performance
from antiphon.processing.feature_extraction_piano import PianoFeatureExtractor

PERCEPT = "pedal_sparse_saturated"


@pytest.fixture(scope="module")
def inputs():
    performance, score, _ = synthetic_performance(3, num_bars=2)
    noise = 0.1 * np.random.default_rng(0).normal(size=50_000)
    return PianoFeatureExtractor()(audio=noise, midi=performance, score=score, sampling_rate=SAMPLING_RATE)


@pytest.mark.parametrize("lattice", ["audio", "roll"])
def test_shares_of_a_rollout_add_up_to_one_and_patches_lie_side_by_side(inputs, lattice):
    rollout = attention_rollout(small_model(), inputs, lattice)
    frames = inputs["input_features" if lattice == "audio" else "roll_features"].shape[1]
    assert rollout.map.shape == (-(-frames // 16), 8)
    assert rollout.map.sum() == pytest.approx(1)
    assert (rollout.map > 0).all()
    assert rollout.frame_edges[[0, 1, -1]].tolist() == [0, 16, frames]


def test_attention_that_is_the_same_everywhere_rolls_out_evenly(inputs):
    model = small_model()
    with torch.no_grad():
        for layer in model.lattices["roll"].layers:
            layer.attention.input_projection.weight[:32] = 0  # queries and keys
            layer.attention.input_projection.bias[:32] = 0
    rollout = attention_rollout(model, inputs, "roll").map
    assert np.allclose(rollout, 1 / rollout.size)
    assert not np.allclose(attention_rollout(small_model(), inputs, "roll").map, 1 / rollout.size, rtol=1e-3)


def test_attention_to_one_patch_is_followed_through_the_layers(inputs, monkeypatch):
    model = small_model()
    count = 8 * -(-inputs["roll_features"].shape[1] // 16)
    towards = torch.zeros(1, 2, count, count)
    towards[..., 5] = 1  # all attend to the sixth patch, in both layers
    monkeypatch.setattr(
        type(model), "forward", lambda self, **_: type("Output", (), {"attentions": (towards, towards)})
    )
    rollout = attention_rollout(model, inputs, "roll").map.ravel()
    # Half of each layer stays where it is: a quarter after two, spread over all patches.
    assert rollout[5] == pytest.approx(0.75 + 0.25 / count)
    assert rollout[4] == pytest.approx(0.25 / count)


def test_the_model_is_left_as_it_was(inputs):
    model = small_model().train()
    implementation = model.config._attn_implementation
    attention_rollout(model, inputs, "audio")
    integrated_gradients(model, inputs, PERCEPT, "roll", 2)
    assert model.training
    assert model.config._attn_implementation == implementation != "eager"
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("lattice", ["audio", "roll"])
def test_gradients_add_up_to_the_difference_from_silence(inputs, lattice):
    attribution = integrated_gradients(small_model(), inputs, PERCEPT, lattice, 128)
    assert abs(attribution.difference) > 1e-3
    assert abs(attribution.gap) < 0.05 * abs(attribution.difference)
    assert attribution.map.sum() == pytest.approx(attribution.difference + attribution.gap, abs=1e-6)


def test_too_few_steps_show_in_the_gap(inputs):
    few, many = (abs(integrated_gradients(small_model(), inputs, PERCEPT, "roll", steps).gap) for steps in (1, 128))
    assert few > 5 * many


def test_keys_that_are_never_struck_count_for_nothing(inputs):
    attribution = integrated_gradients(small_model(), inputs, PERCEPT, "roll", 8)
    struck = inputs["roll_features"][0].view(-1, 3, 96).amax((0, 1)) > 0
    assert np.all(attribution.map[:, ~struck.numpy()] == 0)
    assert np.any(attribution.map[:, struck.numpy()] != 0)


def test_silencing_what_is_silent_changes_nothing(inputs):
    model = small_model()
    changes = occlusion(model, inputs, PERCEPT, "roll").map
    sounding = by_patch(inputs["roll_features"][0].view(-1, 3, 96).sum(1).numpy(), 16) > 0
    assert changes.shape == sounding.shape
    assert np.allclose(changes[~sounding], 0, atol=1e-6)
    silenced = inputs["roll_features"].clone()
    time, octave = np.argwhere(sounding)[0]
    silenced.view(1, -1, 3, 96)[:, 16 * time : 16 * (time + 1), :, 12 * octave : 12 * (octave + 1)] = 0
    with torch.no_grad():
        whole, without = (
            model(**{**inputs, "roll_features": roll}).percepts[0, 3] for roll in (inputs["roll_features"], silenced)
        )
    assert changes[time, octave] == pytest.approx(float(whole - without), abs=1e-6)


def test_points_are_summed_by_patch():
    assert by_patch(np.ones((5, 24)), 4).tolist() == [[48, 48], [12, 12]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"percept": "loveliness"}, "`percept` is 'loveliness'"),
        ({"lattice": "smell"}, "`lattice` is 'smell'; the model has audio, roll"),
        ({"steps": 0}, "`steps` is 0"),
    ],
)
def test_what_cannot_be_attributed_is_refused(inputs, change, message):
    with pytest.raises(ValueError, match=message):
        integrated_gradients(small_model(), inputs, **{"percept": PERCEPT, "lattice": "roll", **change})


def test_a_batch_or_a_missing_input_is_refused(inputs):
    twice = {name: tensor.repeat(2, *[1] * (tensor.ndim - 1)) for name, tensor in inputs.items()}
    with pytest.raises(ValueError, match="hold 2 performances"):
        attention_rollout(small_model(), twice, "roll")
    without = {name: tensor for name, tensor in inputs.items() if name != "input_features"}
    with pytest.raises(ValueError, match="lack 'input_features'"):
        attention_rollout(small_model(), without, "audio")
