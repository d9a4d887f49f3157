"""Rotary, relative, absolute and no positions: each against a reference, in padding, in chunks and in a stream."""

import json

import pytest
import torch
from tiny_conformer import LENGTHS, NO_REGULARISATION, make_batch, make_config, make_model

from antiphon.modeling import ConformerForCTC, ConformerModel
from antiphon.modeling.configuration_conformer import POSITION_EMBEDDINGS
from antiphon.modeling.layers_attention import ATTENTIONS, RelativeAttention, shift_relative
from antiphon.modeling.layers_positions import make_positions, sinusoids

CHUNKS = {"causal_convolutions": True, "chunk_frames": 3, "left_chunks": 1}


@pytest.fixture(params=POSITION_EMBEDDINGS)
def kind(request) -> str:
    return request.param


def make_settled_model(kind: str, **changes) -> ConformerForCTC:
    """A model without dropout whose relative biases are not zero, as they are in the beginning."""
    model = make_model(position_embeddings_type=kind, **NO_REGULARISATION, **changes)
    for module in model.modules():
        if isinstance(module, RelativeAttention):
            torch.nn.init.normal_(module.content_bias)
            torch.nn.init.normal_(module.position_bias)
    return model


def test_every_kind_has_its_attention():
    assert set(ATTENTIONS) == set(POSITION_EMBEDDINGS)
    with pytest.raises(Exception, match="`position_embeddings_type` is 'sung' but must be one of rotary, relative"):
        make_config(position_embeddings_type="sung")


# ---------------------------------------------------------------- references


def test_sinusoids_are_those_of_their_definition():
    table = sinusoids(torch.tensor([0, 3, -700]), 8, 10_000.0)
    for row, time in zip(table.double(), (0.0, 3.0, -700.0)):
        angles = torch.tensor([time / 10_000 ** (2 * pair / 8) for pair in range(4)], dtype=torch.float64)
        torch.testing.assert_close(row, torch.cat([angles.sin(), angles.cos()]), rtol=0, atol=1e-4)


def test_a_shift_brings_every_distance_to_its_key():
    # Two queries, the last of four frames: distances 3 to -1, each written as ten times the query plus the distance.
    scores = torch.tensor([[3.0, 2, 1, 0, -1], [13, 12, 11, 10, 9]])
    assert shift_relative(scores, num_keys=4).tolist() == [[2, 1, 0, -1], [13, 12, 11, 10]]


def reference_relative_attention(module: RelativeAttention, hidden_states: torch.Tensor) -> torch.Tensor:
    """One item, head by head and pair by pair: the four terms of Transformer-XL's score."""
    size, dim, length = module.config.hidden_size, module.config.head_dim, len(hidden_states)
    weights, biases = module.input_projection.weight.split(size), module.input_projection.bias.split(size)
    query, key, value = (
        (hidden_states @ weight.T + bias).view(length, -1, dim) for weight, bias in zip(weights, biases)
    )
    outputs = torch.zeros(length, size)
    for head in range(module.config.num_attention_heads):
        scores = torch.zeros(length, length)
        for i in range(length):
            for j in range(length):
                angles = (i - j) / 10_000 ** (torch.arange(0, size, 2) / size)
                distance = module.position_projection.weight @ torch.cat([angles.sin(), angles.cos()])
                distance = distance.view(-1, dim)[head]
                content, position = query[i, head] @ key[j, head], query[i, head] @ distance
                u, v = module.content_bias[head, 0], module.position_bias[head, 0]
                scores[i, j] = (content + position + u @ key[j, head] + v @ distance) / dim**0.5
        outputs[:, head * dim : (head + 1) * dim] = scores.softmax(-1) @ value[:, head]
    return module.output_projection(outputs)


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@torch.no_grad()
def test_relative_attention_equals_its_four_terms(implementation):
    model = make_settled_model("relative")
    model.set_attn_implementation(implementation)
    module = model.encoder.layers[0].attention
    hidden_states = torch.randn(2, 9, 48)
    output, _ = module(hidden_states, model.encoder.positions(hidden_states))
    for item in range(2):
        expected = reference_relative_attention(module, hidden_states[item])
        torch.testing.assert_close(output[item], expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_absolute_positions_are_added_to_the_scaled_input():
    positions = make_positions(make_config(position_embeddings_type="absolute"))
    hidden_states = torch.randn(1, 6, 48)
    entered = positions.enter(hidden_states, past_frames=4)
    expected = hidden_states[0, 2] * 48**0.5 + sinusoids(torch.tensor([6]), 48, 10_000.0)[0]
    torch.testing.assert_close(entered[0, 2], expected)
    assert positions(hidden_states) is None


@torch.no_grad()
def test_only_without_positions_is_the_order_of_frames_unheard(kind):
    encoder = make_settled_model(kind).encoder
    attention, order = encoder.layers[0].attention, torch.randperm(12)
    hidden_states = torch.randn(1, 12, 48)

    def attend(frames):
        entered = encoder.positions.enter(frames)
        return attention(entered, encoder.positions(entered))[0]

    difference = (attend(hidden_states[:, order]) - attend(hidden_states)[:, order]).abs().max()
    assert (difference < 1e-5) == (kind == "none")


@pytest.mark.parametrize("kind", ["rotary", "relative"])
@torch.no_grad()
def test_distances_alone_count(kind):
    model = make_settled_model(kind)
    model.set_attn_implementation("eager")
    encoder = model.encoder
    same = torch.randn(1, 1, 48).expand(1, 30, 48)
    _, weights = encoder.layers[0].attention(same, encoder.positions(same))
    # The softmax divides each row by a number of its own; ratios of neighbours are free of it.
    ratios = weights[0, :, :, 1:] / weights[0, :, :, :-1]
    for distance in range(-20, 20):
        diagonal = ratios.diagonal(distance, dim1=1, dim2=2)
        torch.testing.assert_close(diagonal, diagonal[:, :1].expand_as(diagonal), rtol=1e-3, atol=1e-4)
    assert ratios.std() > 0.01


# ---------------------------------------------------------------- masks and streams


@pytest.mark.parametrize("changes", [{}, CHUNKS], ids=["whole", "chunks"])
@pytest.mark.parametrize("training", [False, True])
def test_eager_equals_sdpa_in_output_and_gradient(kind, changes, training):
    model, batch = make_settled_model(kind, **changes).train(training), make_batch()
    outputs, gradients = [], []
    for implementation in ("eager", "sdpa"):
        model.set_attn_implementation(implementation)
        model.zero_grad()
        output = model(**batch)
        output.loss.backward()
        outputs.append(output.logits[output.attention_mask.bool()])
        gradients.append({name: value.grad for name, value in model.named_parameters()})
    torch.testing.assert_close(*outputs, rtol=1e-4, atol=1e-5)
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients[1].values())
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("changes", [{}, CHUNKS], ids=["whole", "chunks"])
@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@torch.no_grad()
def test_padded_item_equals_lone_item(kind, changes, implementation):
    model, batch = make_settled_model(kind, **changes), make_batch()
    model.set_attn_implementation(implementation)
    logits = model(batch["input_features"], attention_mask=batch["attention_mask"]).logits
    for item, length in enumerate(LENGTHS):
        alone = model(batch["input_features"][item : item + 1, :length]).logits[0]
        torch.testing.assert_close(logits[item, : len(alone)], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("left_chunks", [None, 0, 2])
@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@torch.no_grad()
def test_a_stream_equals_every_prefix_and_the_whole(kind, left_chunks, implementation):
    model = make_settled_model(kind, causal_convolutions=True, chunk_frames=3, left_chunks=left_chunks)
    model.set_attn_implementation(implementation)
    features, stream, heard, streamed = torch.randn(2, 115, 40), model.encoder.stream(), 0, []
    for piece in features.split([7, 1, 30, 40, 37], dim=1):
        streamed.append(stream.push(piece))
        heard += piece.shape[1]
        whole_chunks = heard // 12 * 12
        if whole_chunks:
            expected = model.encoder(features[:, :whole_chunks]).last_hidden_state
            torch.testing.assert_close(torch.cat(streamed, dim=1), expected, rtol=1e-4, atol=1e-5)
    expected = model.encoder(features).last_hidden_state
    torch.testing.assert_close(torch.cat([*streamed, stream.finish()], dim=1), expected, rtol=1e-4, atol=1e-5)


def test_relative_scores_are_refused_to_attention_that_takes_none():
    model = make_model(position_embeddings_type="relative")
    model.config._attn_implementation = "flash_attention_2"
    with pytest.raises(
        ValueError, match="`position_embeddings_type` is 'relative', whose scores need 'eager' or 'sdpa'"
    ):
        model(torch.randn(1, 20, 40))


# ---------------------------------------------------------------- training and checkpoints


def test_every_parameter_gets_a_gradient(kind):
    model = make_model(position_embeddings_type=kind).train()
    model(**make_batch()).loss.backward()
    assert [name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()] == []


def test_bfloat16_autocast_comes_near_float32(kind):
    model, batch = make_settled_model(kind).train(), make_batch()
    expected = model(**batch).loss
    for implementation in ("eager", "sdpa"):
        model.set_attn_implementation(implementation)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert model(**batch).loss.item() == pytest.approx(expected.item(), rel=0.02)


@torch.no_grad()
def test_a_saved_model_says_the_same(kind, tmp_path):
    model, features = make_settled_model(kind), torch.randn(1, 33, 40)
    model.save_pretrained(tmp_path)
    again = ConformerForCTC.from_pretrained(tmp_path).eval()
    assert again.config.position_embeddings_type == kind
    assert torch.equal(again(features).logits, model(features).logits)
    alone = ConformerModel.from_pretrained(tmp_path).eval()
    assert torch.equal(alone(features).last_hidden_state, model.encoder(features).last_hidden_state)


@torch.no_grad()
def test_a_checkpoint_from_before_stays_rotary(tmp_path):
    model, features = make_model(), torch.randn(1, 33, 40)
    model.save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    for key in ("position_embeddings_type", "training_chunk_frames"):
        config.pop(key, None)
    path.write_text(json.dumps(config))
    assert torch.equal(ConformerForCTC.from_pretrained(tmp_path).eval()(features).logits, model(features).logits)


def test_biases_that_a_checkpoint_lacks_begin_at_zero(tmp_path):
    make_model().save_pretrained(tmp_path)
    model = ConformerForCTC.from_pretrained(tmp_path, position_embeddings_type="relative")
    for layer in model.encoder.layers:
        assert not layer.attention.content_bias.any()
        assert not layer.attention.position_bias.any()
        assert 0.01 < layer.attention.position_projection.weight.std() < 1
