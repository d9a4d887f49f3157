"""Whether maps hang on what was learned: the model is shuffled part by part."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from small_assessor import small_model

from antiphon.eval.attribution_sanity import MAPS, UNCHANGED, cascade, randomisation_check, rank_correlation
from antiphon.processing.corpora.synthetic_piano import synthetic_performance
from antiphon.processing.feature_extraction_piano import PianoFeatureExtractor

PARTS = ["heads", "last norm", "layer 2", "layer 1", "embedding"]


def test_parts_are_shuffled_one_after_the_other_and_the_model_stays():
    model = small_model()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    changed = []
    for name, shuffled in cascade(model, "roll"):
        state = dict(shuffled.named_parameters())
        changed.append((name, {key for key, tensor in before.items() if not torch.equal(tensor, state[key])}))
    assert [name for name, _ in changed] == PARTS
    assert all(earlier < later for (_, earlier), (_, later) in pairwise(changed) if later != earlier)
    assert not any(key.startswith("lattices.audio") for key in changed[-1][1])
    weight = "lattices.roll.embed.weight"
    assert weight in changed[-1][1] - changed[-2][1]
    assert torch.equal(before[weight].flatten().sort().values, state[weight].flatten().sort().values)
    assert all(torch.equal(before[name], parameter) for name, parameter in model.named_parameters())


def test_rank_correlation_of_maps():
    first = np.arange(12.0).reshape(3, 4)
    assert rank_correlation(first, first**3) == pytest.approx(1)
    assert rank_correlation(first, -first) == pytest.approx(-1)
    assert rank_correlation(first, np.ones((3, 4))) == 0


@pytest.fixture(scope="module")
def check():
    extractor = PianoFeatureExtractor()
    performances = [extractor(midi=synthetic_performance(seed, num_bars=2)[0]) for seed in range(4)]
    clusters = ["a", "a", "b", "c"]
    return randomisation_check(small_model(), performances, clusters, "roll", "timbre_soft_loud", steps=4)


def test_gradients_follow_the_weights_and_attention_does_not_see_the_heads(check):
    assert set(check) == set(MAPS)
    assert list(check["rollout"]) == [UNCHANGED, *PARTS]
    assert check["rollout"][UNCHANGED]["value"] == pytest.approx(1)
    assert 0.5 < check["gradients"][UNCHANGED]["value"] < 1
    assert check["rollout"]["heads"]["value"] == pytest.approx(1)
    assert check["rollout"]["embedding"]["value"] < 0.9
    assert abs(check["gradients"]["embedding"]["value"]) < 0.6
    assert check["gradients"]["heads"]["value"] < 0.99


def test_sizes_of_gradients_show_the_input_whatever_the_weights(check):
    # Both vanish where no key is held: the caveat that the signed sums are there for.
    assert check["gradient_sizes"]["embedding"]["low"] > check["gradients"]["embedding"]["value"]
