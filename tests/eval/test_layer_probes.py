"""Probes of the layers: what is there is found, and only there; groups are kept apart."""

import numpy as np
import pytest
import torch
from small_assessor import small_model

from antiphon.eval.layer_probes import TARGETS, layer_states, probe_layers, probe_scores, random_twin
from antiphon.processing.corpora.synthetic_piano import synthetic_performance
from antiphon.processing.feature_extraction_piano import PianoFeatureExtractor


@pytest.fixture(scope="module")
def features():
    extractor = PianoFeatureExtractor()
    pieces = [synthetic_performance(seed, num_bars=2) for seed in range(12)]
    return [extractor(midi=performance, score=score) for performance, score, _ in pieces]


def test_a_probe_finds_what_is_in_the_states_and_nothing_else():
    generator = np.random.default_rng(0)
    states, groups = generator.normal(size=(80, 6)), np.repeat(np.arange(20), 4)
    assert probe_scores(states, states @ np.arange(6), groups).mean() > 0.99
    assert probe_scores(states, generator.normal(size=80), groups).mean() < 0.2


def test_a_probe_does_not_profit_from_knowing_the_group():
    groups = np.repeat(np.arange(20), 4)
    targets = np.random.default_rng(0).normal(size=20)[groups]
    assert probe_scores(np.eye(20)[groups], targets, groups).mean() < 0.1


def test_states_are_those_of_each_layer_whatever_shares_the_batch(features):
    model = small_model(use_audio=False)
    states = layer_states(model, features, "roll")
    assert list(states) == ["patches", "layer 1", "layer 2"]
    alone = layer_states(model, features[4:5], "roll")
    for name, values in states.items():
        assert values.shape == (12, 32)
        assert values[4] == pytest.approx(alone[name][0], abs=1e-4)
    assert not np.allclose(states["layer 1"], states["layer 2"])
    assert not any(
        layer._forward_hooks or layer._forward_pre_hooks for layer in random_twin(model).lattices["roll"].layers
    )
    with torch.no_grad():
        patches = model.lattices["roll"].embed(model.lattices["roll"].patches(features[4]["roll_features"]))
    assert states["patches"][4, :16] == pytest.approx(patches.mean((0, 1, 2)).numpy(), abs=1e-4)


def test_a_random_twin_has_other_weights_and_leaves_the_generator_alone():
    model = small_model(seed=1)
    before = torch.get_rng_state()
    twin = random_twin(model)
    assert torch.equal(torch.get_rng_state(), before)
    name = "lattices.roll.embed.weight"
    assert twin.state_dict()[name].shape == model.state_dict()[name].shape
    assert not torch.equal(twin.state_dict()[name], model.state_dict()[name])
    assert torch.equal(twin.state_dict()[name], random_twin(model).state_dict()[name])


def test_every_target_is_probed_and_items_without_it_are_left_out(features):
    lacking = dict(features[0])
    place = small_model().config.descriptor_names.index(TARGETS["tempo"])
    lacking["descriptors"] = lacking["descriptors"].clone()
    lacking["descriptors"][0, place] = float("nan")
    groups = [f"excerpt{index // 2}" for index in range(12)]
    probes = probe_layers(small_model(use_audio=False), [lacking, *features[1:]], groups, "roll")
    assert list(probes) == list(TARGETS)
    assert probes["tempo"]["num_items"] == 11
    assert probes["pedal"]["num_items"] == 12
    layer = probes["pedal"]["layers"]["layer 1"]
    assert layer["difference"]["value"] == pytest.approx(layer["r2"]["value"] - layer["random_r2"]["value"])
