"""Permutation importance: what is not read costs nothing, what is read does."""

import numpy as np
import pytest
import torch
from small_assessor import small_model

from antiphon.eval.descriptor_importance import importance_sources, permutation_importance
from antiphon.eval.performance_tensors import embed, judge
from antiphon.processing.corpora.synthetic_piano import synthetic_performance
from antiphon.processing.feature_extraction_piano import PianoFeatureExtractor
from antiphon.processing.percepts import PERCEPTS

CLUSTERS = [f"excerpt{index // 2}" for index in range(20)]


@pytest.fixture(scope="module")
def model():
    """Reads the piano roll and what the player does, but nothing of the score."""
    model = small_model(use_audio=False)
    with torch.no_grad():
        model.heads.project["score"].weight.zero_()
        model.heads.project["alignment"].weight.zero_()
    return model


@pytest.fixture(scope="module")
def tensors(model):
    extractor = PianoFeatureExtractor()
    pieces = [synthetic_performance(seed, num_bars=2) for seed in range(len(CLUSTERS))]
    return embed(model, [extractor(midi=performance, score=score) for performance, score, _ in pieces])


@pytest.fixture(scope="module")
def importance(model, tensors):
    labels = judge(model, tensors).percepts
    return permutation_importance(model, tensors, labels, CLUSTERS, num_permutations=3)


def test_what_the_heads_do_not_read_costs_nothing(importance):
    drop = importance["source"]["score descriptors"]["drop"]
    assert drop["value"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("source", ["roll lattice", "performance descriptors"])
def test_what_they_read_costs(importance, source):
    entry = importance["source"][source]
    assert entry["drop"]["low"] > 0.01
    values = [entry["percepts"][percept]["value"] for percept in PERCEPTS]
    assert np.mean(values) == pytest.approx(entry["drop"]["value"])


def test_topics_hold_what_is_played_and_none_of_what_is_written(model, tensors):
    sources = importance_sources(model, tensors)
    names = model.config.descriptor_names
    pedal = {names[place] for place in sources["topic"]["pedal"]["descriptors"]}
    assert {"performance.pedal_share", "deviation.pedal_share"} <= pedal
    assert not any(name.startswith(("score.", "audio.")) for name in pedal)
    places = [place for topic in sources["topic"].values() for place in topic["descriptors"]]
    assert len(places) == len(set(places))
    assert "means of the passage" not in sources["source"]


def test_means_of_the_passage_are_a_source_where_the_model_is_given_them(model, tensors):
    known = {**tensors, "passage_percepts": torch.zeros(len(CLUSTERS), len(PERCEPTS))}
    assert importance_sources(model, known)["source"]["means of the passage"] == {"passage_percepts": None}
