"""The Conformer with chunks: a stream equals the whole, and nothing hears what it must not."""

import pytest
import torch
from tiny_conformer import NO_REGULARISATION, make_batch, make_config, make_model

from antiphon.modeling import ConformerForCTC, ConformerModel
from antiphon.modeling.layers_stream import draw_chunk_frames

STREAMING = {"causal_convolutions": True, "chunk_frames": 3}
DYNAMIC = {"causal_convolutions": True, "training_chunk_frames": [1, 4, None]}


def make_encoder(**changes) -> ConformerModel:
    torch.manual_seed(0)
    return ConformerModel(make_config(**(STREAMING | changes))).eval()


@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("left_chunks", [None, 0, 2])
@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_a_stream_equals_the_whole(factor, left_chunks, implementation):
    model = make_encoder(subsampling_factor=factor, left_chunks=left_chunks)
    model.set_attn_implementation(implementation)
    features = torch.randn(2, 115, 40)
    with torch.no_grad():
        expected = model(features).last_hidden_state
    stream = model.stream()
    pieces = [stream.push(piece) for piece in features.split([7, 1, 30, 40, 37], dim=1)]
    torch.testing.assert_close(torch.cat([*pieces, stream.finish()], dim=1), expected, rtol=1e-4, atol=1e-5)


def test_a_chunk_comes_out_with_its_last_feature_frame():
    stream = make_encoder(subsampling_factor=4).stream()
    assert stream.push(torch.randn(1, 11, 40)).shape == (1, 0, 48)
    assert stream.push(torch.randn(1, 1, 40)).shape == (1, 3, 48)
    assert stream.finish().shape == (1, 0, 48)
    with pytest.raises(ValueError, match="finished"):
        stream.push(torch.randn(1, 1, 40))


def test_later_chunks_and_chunks_beyond_the_left_ones_are_not_heard():
    model = make_encoder(num_hidden_layers=1, conv_kernel_size=1, left_chunks=1, subsampling_factor=2)
    features = torch.randn(1, 48, 40, requires_grad=True)
    # Chunks are six feature frames; this is an output frame of the fifth chunk, features 24 to 29.
    model(features).last_hidden_state[0, 13, 0].backward()
    heard = features.grad[0].abs().sum(-1).nonzero()[:, 0]
    # One frame before chunk four: the convolution that subsamples overlaps the edge.
    assert (heard.min().item(), heard.max().item()) == (17, 29)


def test_causal_convolutions_alone_see_no_later_frame():
    model = make_model(causal_convolutions=True)
    module = model.encoder.layers[0].convolution
    hidden_states = torch.randn(1, 30, 48, requires_grad=True)
    module(hidden_states, None)[0, 20].sum().backward()
    heard = hidden_states.grad[0].abs().sum(-1).nonzero()[:, 0]
    assert (heard.min().item(), heard.max().item()) == (6, 20)


def test_padded_item_equals_lone_item_with_chunks():
    model = make_model(**STREAMING, left_chunks=1, **NO_REGULARISATION)
    batch = make_batch()
    logits = model(batch["input_features"], attention_mask=batch["attention_mask"]).logits
    for item, length in enumerate(batch["attention_mask"].sum(-1).tolist()):
        alone = model(batch["input_features"][item : item + 1, :length]).logits[0]
        torch.testing.assert_close(logits[item, : len(alone)], alone, rtol=1e-4, atol=1e-5)


def test_a_model_that_looks_ahead_cannot_stream():
    with pytest.raises(ValueError, match="`causal_convolutions` is False"):
        make_encoder(causal_convolutions=False).stream()
    with pytest.raises(ValueError, match="`chunk_frames` is None"):
        make_encoder(chunk_frames=None).stream()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"chunk_frames": 0}, "`chunk_frames` is 0"),
        ({"left_chunks": 2}, "needs `chunk_frames`"),
        ({"training_chunk_frames": [4]}, "`causal_convolutions` is False: no chunk length"),
        ({"training_chunk_frames": [], "causal_convolutions": True}, r"`training_chunk_frames` is \[\] but must hold"),
        ({"training_chunk_frames": [0, 4], "causal_convolutions": True}, r"is \[0, 4\] but must hold"),
    ],
)
def test_impossible_chunks_are_refused(changes, message):
    with pytest.raises(Exception, match=message):
        make_config(**changes)


def test_attention_that_would_ignore_chunks_is_refused():
    model = make_encoder()
    model.config._attn_implementation = "flash_attention_2"
    with pytest.raises(ValueError, match="needs 'eager' or 'sdpa'"):
        model(torch.randn(1, 20, 40))


# ---------------------------------------------------------------- one model for every latency


def test_training_draws_every_length_and_repeats_with_the_generator():
    config = make_config(**DYNAMIC)
    torch.manual_seed(3)
    drawn = [draw_chunk_frames(config, is_training=True) for _ in range(300)]
    for length in (1, 4, None):
        assert 70 < drawn.count(length) < 130
    # A resumed training gets the state of the generator back, and goes on with the same lengths.
    state = torch.get_rng_state()
    later = [draw_chunk_frames(config, is_training=True) for _ in range(50)]
    torch.set_rng_state(state)
    assert [draw_chunk_frames(config, is_training=True) for _ in range(50)] == later
    assert later != drawn[:50]


def test_evaluation_draws_nothing():
    state = torch.get_rng_state()
    assert draw_chunk_frames(make_config(**DYNAMIC), is_training=False) is None
    assert draw_chunk_frames(make_config(**DYNAMIC, chunk_frames=5), is_training=False) == 5
    assert draw_chunk_frames(make_config(**STREAMING), is_training=True) == 3
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("length", [1, 4, None])
def test_a_batch_of_training_hears_what_its_length_allows(length):
    batch, losses = make_batch(), {}
    for drawn in (1, 4, None):
        model = make_model(causal_convolutions=True, training_chunk_frames=[drawn], **NO_REGULARISATION).train()
        losses[drawn] = model(**batch).loss.item()
    model = make_model(causal_convolutions=True, chunk_frames=length, **NO_REGULARISATION).train()
    assert losses[length] == pytest.approx(model(**batch).loss.item(), rel=1e-6)
    assert len(set(losses.values())) == 3


@pytest.mark.parametrize("left_chunks", [None, 2])
@pytest.mark.parametrize("chunk_frames", [1, 2, 4, 7, 16])
@torch.no_grad()
def test_one_checkpoint_streams_in_every_length(tmp_path, chunk_frames, left_chunks):
    make_model(**DYNAMIC).save_pretrained(tmp_path)
    model = ConformerForCTC.from_pretrained(tmp_path, chunk_frames=chunk_frames, left_chunks=left_chunks).eval()
    assert (model.config.chunk_frames, model.config.left_chunks) == (chunk_frames, left_chunks)
    features = torch.randn(1, 115, 40)
    stream = model.encoder.stream()
    pieces = [stream.push(piece) for piece in features.split([13, 2, 60, 40], dim=1)]
    streamed = torch.cat([*pieces, stream.finish()], dim=1)
    torch.testing.assert_close(streamed, model.encoder(features).last_hidden_state, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="load one whose convolutions are causal with"):
        ConformerForCTC.from_pretrained(tmp_path).encoder.stream()
