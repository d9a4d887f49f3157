"""The Conformer as a whole: padding, gradients, learning, attention implementations, losses."""

import itertools

import pytest
import torch
from tiny_conformer import LENGTHS, NO_REGULARISATION, SYMBOLS, make_batch, make_config, make_model

from antiphon.modeling import ConformerModel
from antiphon.modeling.losses_ctc import ctc_loss


def forward_without_labels(model, batch):
    return model(batch["input_features"], attention_mask=batch["attention_mask"])


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_shapes_with_lengths_that_no_stride_divides(factor):
    outputs = forward_without_labels(make_model(subsampling_factor=factor), make_batch())
    lengths = [-(-length // factor) for length in LENGTHS]
    assert outputs.logits.shape == (len(LENGTHS), lengths[0], 12)
    assert outputs.attention_mask.sum(-1).tolist() == lengths
    assert (outputs.attention_mask.diff(dim=1) <= 0).all()  # real frames come first
    assert outputs.loss is None


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("factor", [4, 8])
def test_padded_item_equals_lone_item(training, implementation, factor):
    model = make_model(subsampling_factor=factor, **NO_REGULARISATION)
    model.set_attn_implementation(implementation)
    model.train(training)
    batch = make_batch()
    logits = forward_without_labels(model, batch).logits
    for item, length in enumerate(LENGTHS):
        alone = model(batch["input_features"][item : item + 1, :length]).logits[0]
        torch.testing.assert_close(logits[item, : len(alone)], alone, rtol=1e-4, atol=1e-5)


def test_more_padding_changes_nothing():
    model, batch = make_model(), make_batch()
    wide = {
        "input_features": torch.nn.functional.pad(batch["input_features"], (0, 0, 0, 30)),
        "attention_mask": torch.nn.functional.pad(batch["attention_mask"], (0, 30)),
        "labels": batch["labels"],
    }
    torch.testing.assert_close(model(**wide).loss, model(**batch).loss)


def test_every_parameter_gets_a_gradient():
    model = make_model(intermediate_ctc_layers=[1]).train()
    model(**make_batch()).loss.backward()
    without = [name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()]
    assert without == []


def test_one_batch_is_learnt_by_heart():
    torch.manual_seed(0)
    model, batch = make_model(**NO_REGULARISATION).train(), make_batch()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(80):
        loss = model(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    outputs = forward_without_labels(model.eval(), batch)
    for item, (frames, symbols) in enumerate(zip(outputs.attention_mask.sum(-1).tolist(), SYMBOLS)):
        best = outputs.logits[item, :frames].argmax(-1).tolist()
        spelt = [symbol for symbol, _ in itertools.groupby(best) if symbol != 0]
        assert spelt == batch["labels"][item, :symbols].tolist()


def test_eager_equals_sdpa_and_returns_weights():
    model, batch = make_model(), make_batch()
    model.set_attn_implementation("sdpa")
    expected = forward_without_labels(model, batch).logits
    model.set_attn_implementation("eager")
    outputs = model(
        batch["input_features"],
        attention_mask=batch["attention_mask"],
        output_attentions=True,
        output_hidden_states=True,
    )
    real = outputs.attention_mask.bool()
    torch.testing.assert_close(outputs.logits[real], expected[real], rtol=1e-4, atol=1e-5)
    assert [tuple(weights.shape) for weights in outputs.attentions] == [(4, 4, 15, 15)] * 2
    torch.testing.assert_close(
        outputs.attentions[0].sum(-1)[real[:, None].expand(-1, 4, -1)], torch.ones(int(real.sum()) * 4)
    )
    assert not outputs.attentions[0][3, :, :, 3:].any()  # nobody listens to padding
    assert len(outputs.hidden_states) == 3


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_attention_dropout_acts_in_training_and_never_hears_padding(implementation):
    model = make_model(attention_dropout=0.5)
    model.set_attn_implementation(implementation)
    module, positions = model.encoder.layers[0].attention.train(), model.encoder.positions(torch.zeros(1, 8, 48))
    hidden_states, heard = torch.randn(1, 8, 48), (torch.arange(8) < 6).expand(1, 1, 8, 8)
    other_padding = torch.cat([hidden_states[:, :6], torch.randn(1, 2, 48)], dim=1)
    outputs = []
    with torch.no_grad():
        for states in (hidden_states, other_padding):
            torch.manual_seed(1)
            outputs.append(module(states, positions, heard)[0][:, :6])
        torch.testing.assert_close(outputs[0], outputs[1])
        # With every decision averaged out, training says what evaluation says.
        mean = torch.stack([module(hidden_states, positions, heard)[0] for _ in range(4000)]).mean(0)
        expected, _ = module.eval()(hidden_states, positions, heard)
    assert (outputs[0] - expected[:, :6]).abs().max() > 0.05
    torch.testing.assert_close(mean, expected, atol=0.05, rtol=0)


def test_intermediate_losses_join_the_main_one():
    model = make_model(
        num_hidden_layers=3, intermediate_ctc_layers=[1, 2], intermediate_ctc_weight=0.4, **NO_REGULARISATION
    ).train()
    batch, states = make_batch(), []
    for layer in model.encoder.layers:
        layer.register_forward_hook(lambda module, inputs, output: states.append(output))
    outputs = model(**batch)
    lengths = outputs.attention_mask.sum(-1)
    first, second, main = (ctc_loss(model.head(state), lengths, batch["labels"], 0) for state in states[:3])
    torch.testing.assert_close(outputs.loss, 0.6 * main + 0.4 * (first + second) / 2)
    torch.testing.assert_close(model.eval()(**batch).loss, main)


@pytest.mark.parametrize("intermediate", [None, [1]])
def test_half_batches_add_up_to_the_whole(intermediate):
    model = make_model(intermediate_ctc_layers=intermediate, **NO_REGULARISATION).train()
    batch = make_batch()
    num_symbols = (batch["labels"] >= 0).sum()
    model(**batch).loss.backward()
    expected = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    total = 0.0
    for half in ([0, 3], [1, 2]):
        loss = model(**{name: value[half] for name, value in batch.items()}, num_items_in_batch=num_symbols).loss
        loss.backward()
        total += loss.item()
    assert total == pytest.approx(model(**batch).loss.item(), rel=1e-4)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-3, atol=1e-5)


def test_gradient_checkpointing_changes_no_gradient():
    gradients = []
    for checkpointing in (False, True):
        model = make_model(intermediate_ctc_layers=[1]).train()
        if checkpointing:
            model.gradient_checkpointing_enable()
            assert all(layer.gradient_checkpointing for layer in model.encoder.layers)
        torch.manual_seed(1)  # dropout and SpecAugment are on: the layers run again with the same masks
        model(**make_batch()).loss.backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for plain, checkpointed in zip(*gradients):
        torch.testing.assert_close(checkpointed, plain)


def test_bfloat16_autocast_comes_near_float32():
    model = make_model(intermediate_ctc_layers=[1], **NO_REGULARISATION).train()
    expected = model(**make_batch()).loss
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model(**make_batch()).loss
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=0.02)
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_training_follows_the_seed():
    model = make_model().train()
    losses = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        losses.append(model(**make_batch()).loss.item())
    assert losses[0] == losses[1] != losses[2]


def test_encoder_alone():
    torch.manual_seed(0)
    outputs = ConformerModel(make_config()).eval()(torch.randn(2, 30, 40))
    assert outputs.last_hidden_state.shape == (2, 8, 48)
    assert outputs.attention_mask.tolist() == [[1] * 8] * 2
    assert outputs.intermediate_hidden_states is None
