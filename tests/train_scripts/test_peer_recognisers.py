"""A recogniser of transformers trained by a recipe of ours: same size, same loss, same way into a benchmark."""

import pytest
import torch
from tiny_conformer import make_batch, make_config, make_model
from tone_corpus import write_tone_corpus
from transformers import AutoModelForCTC, ParakeetForCTC

from antiphon.eval.benchmark_recognition import benchmark_recognition
from antiphon.modeling import ConformerConfig, ConformerForCTC
from antiphon.processing.corpora import load_corpus
from antiphon.train_scripts import train_conformer
from antiphon.train_scripts.peer_recognisers import build_peer
from antiphon.train_scripts.recipes import RecipeError, load_recipe


@pytest.mark.parametrize("size", [{}, {"hidden_size": 192, "intermediate_size": 576, "num_hidden_layers": 4}])
def test_a_peer_is_of_our_size(size):
    config = ConformerConfig(**size)
    ours, theirs = ConformerForCTC(config).num_parameters(), build_peer(config).num_parameters()
    assert theirs == pytest.approx(ours, rel=0.1)


def test_a_peer_answers_as_ours_does():
    batch = make_batch()
    ours, theirs = make_model().eval()(**batch), build_peer(make_config()).eval()(**batch)
    assert theirs.logits.shape == ours.logits.shape
    assert torch.equal(theirs.attention_mask.long(), ours.attention_mask)
    assert theirs.loss.item() == pytest.approx(ours.loss.item(), rel=1.0)


def test_features_are_masked_in_training_alone():
    peer = build_peer(make_config(num_frequency_masks=2, frequency_mask_bins=30, hidden_dropout=0.0))
    batch = make_batch()
    del batch["labels"]
    first, second = (peer.eval()(**batch).logits for _ in range(2))
    assert torch.equal(first, second)
    masked = [peer.spec_augment.train()(batch["input_features"], None) for _ in range(2)]
    assert not torch.equal(*masked)


@pytest.mark.parametrize(
    "change", [{"chunk_frames": 4}, {"causal_convolutions": True}, {"intermediate_ctc_layers": [1]}]
)
def test_what_a_peer_lacks_is_refused(change):
    with pytest.raises(RecipeError, match=r"`run\.architecture` is 'parakeet'"):
        build_peer(make_config(**change))


def test_a_trained_peer_is_measured_like_ours(tmp_path):
    corpus = str(write_tone_corpus(tmp_path / "corpus"))
    recipe = load_recipe("debug", ["run.architecture=parakeet", f"run.folder={tmp_path / 'run'}"])
    for split in ("train", "validation"):
        recipe["data"][split] = [{"name": corpus, "where": [f"split={split}"]}]
    run = train_conformer.train(train_conformer.resolve(recipe))
    assert type(AutoModelForCTC.from_pretrained(run.checkpoint)) is ParakeetForCTC
    rows = load_corpus(corpus)
    test = rows.select([index for index, split in enumerate(rows["split"]) if split == "validation"])
    row = benchmark_recognition(run.checkpoint, test, name="tones", corpus="tones")
    assert row["conditions"]["decoding"] == "greedy"
    assert row["metrics"]["wer"]["n"] == len(test)
