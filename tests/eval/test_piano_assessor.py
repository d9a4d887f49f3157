"""A checkpoint as a function from performances to predictions; what it is given, and the command."""

import numpy as np
import pytest
import torch
from small_performances import small_performances

from antiphon.eval.benchmark_piano_assessment import main, refuse_known_items
from antiphon.eval.piano_assessor import TRAINING_ITEMS, load_assessor
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


def test_inputs_that_cannot_be_had_are_refused(checkpoint):
    with pytest.raises(ValueError, match="`inputs` is 'smell'"):
        load_assessor(checkpoint, inputs=("smell",))


def test_a_checkpoint_is_not_tested_on_what_it_was_trained_on(tmp_path):
    (tmp_path / TRAINING_ITEMS).write_text('["a.mid", "b.mid"]')
    with pytest.raises(SystemExit, match=r"was trained on 1 of the 2 test performances, such as b\.mid"):
        refuse_known_items(tmp_path, ["b.mid", "c.mid"])
    refuse_known_items(tmp_path, ["c.mid"])


def test_a_fold_must_be_named_where_there_are_several(tmp_path):
    with pytest.raises(SystemExit, match="`--fold` is None; the protocol works has"):
        main([str(tmp_path), "--protocol", "works"])
