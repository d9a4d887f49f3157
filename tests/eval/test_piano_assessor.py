"""A checkpoint as a function from performances to predictions; what it is given, and the command."""

import numpy as np
import pytest
import torch
from small_performances import of_players, small_performances

from antiphon.eval.benchmark_piano_assessment import main
from antiphon.eval.piano_assessor import load_assessor
from antiphon.modeling import PianoAssessmentConfig, PianoAssessmentModel
from antiphon.processing.feature_extraction_piano import PianoFeatureExtractor
from antiphon.processing.percepts import PERCEPTS


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return small_performances(tmp_path_factory.mktemp("corpus"), num_passages=3)


@pytest.fixture(scope="module", params=["none", "passage"])
def checkpoint(request, tmp_path_factory):
    """A model of random weights, whose predictions are of no use."""
    folder, extractor = tmp_path_factory.mktemp("checkpoint"), PianoFeatureExtractor()
    config = PianoAssessmentConfig(
        percept_names=list(PERCEPTS), descriptor_names=extractor.descriptor_names, use_audio=False, hidden_size=16,
        intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, num_members=2, head_size=8,
        residual=request.param,
    )  # fmt: skip
    torch.manual_seed(0)
    PianoAssessmentModel(config).save_pretrained(folder)
    extractor.save_pretrained(folder)
    return folder


def test_every_performance_is_assessed_whatever_shares_its_batch(checkpoint, corpus):
    assess = load_assessor(checkpoint, inputs=("midi",))
    predictions = assess(corpus)
    assert predictions.percepts.shape == (len(corpus), len(PERCEPTS))
    assert np.isfinite(predictions.percepts).all()
    alone = assess(corpus.select([9]))
    assert alone.percepts[0] == pytest.approx(predictions.percepts[9], abs=1e-5)


def test_an_interval_that_was_not_calibrated_is_none(checkpoint, corpus):
    predictions = load_assessor(checkpoint, inputs=("midi",))(corpus.select(range(2)))
    assert predictions.low is None
    assert predictions.high is None


def test_the_mean_of_the_passage_is_given_where_asked_for(checkpoint, corpus):
    train, test = of_players(corpus, 0, 1), of_players(corpus, 2)
    given = load_assessor(checkpoint, inputs=("midi", "passage"), train=train)(test).percepts
    withheld = load_assessor(checkpoint, inputs=("midi",))(test).percepts
    reads_passages = "passage" in (checkpoint / "config.json").read_text()
    assert np.allclose(given, withheld) != reads_passages


@pytest.mark.parametrize(
    ("inputs", "message"), [(("smell",), "`inputs` is 'smell'"), (("passage",), "`train` is None")]
)
def test_inputs_that_cannot_be_had_are_refused(checkpoint, inputs, message):
    with pytest.raises(ValueError, match=message):
        load_assessor(checkpoint, inputs=inputs)


def test_a_fold_must_be_named_where_there_are_several(tmp_path):
    with pytest.raises(SystemExit, match="`--fold` is None; the protocol works has"):
        main([str(tmp_path), "--protocol", "works"])
