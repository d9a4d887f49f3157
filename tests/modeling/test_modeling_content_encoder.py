"""The content encoder as a whole: padding, streaming, invariance, learning, losses, checkpoints."""

import pytest
import torch
from clean_process import run_python
from tiny_content import LENGTHS, make_batch, make_config, make_model
from torch.nn import functional

from antiphon.modeling.layers_envelope import cosine_basis
from antiphon.modeling.modeling_content_encoder import ContentEncoderModel, ReversedGradient

BOTTLENECKS = pytest.mark.parametrize("bottleneck", ["linear", "vq"])


@BOTTLENECKS
def test_shapes_with_lengths_that_no_chunk_divides(bottleneck):
    model, batch = make_model(bottleneck=bottleneck), make_batch()
    encoded = model.content_encoder(batch["input_features"], batch["attention_mask"])
    assert encoded.content.shape == (3, 49, 16)
    assert encoded.attention_mask.sum(-1).tolist() == [-(-length // 2) for length in LENGTHS]
    assert (encoded.codes is not None) == (bottleneck == "vq")
    outputs = model(batch["input_features"], batch["attention_mask"])
    assert outputs.loss is None
    assert outputs.logits.shape == (3, 25, 9)
    assert outputs.attention_mask.sum(-1).tolist() == [-(-length // 4) for length in LENGTHS]
    assert outputs.phone_logits.shape == (3, 49, 5)


@BOTTLENECKS
def test_a_stream_equals_the_whole(bottleneck):
    model = make_model(bottleneck=bottleneck).content_encoder
    features = make_batch()["input_features"][:2, :97]
    model.envelope.fit(features)
    with torch.no_grad():
        expected = model(features).content
    stream = model.stream()
    pieces = [stream.push(piece) for piece in features.split([5, 1, 50, 41], dim=1)]
    torch.testing.assert_close(torch.cat([*pieces, stream.finish()], dim=1), expected, rtol=1e-4, atol=1e-5)


def test_padded_item_equals_lone_item():
    model, batch = make_model(), make_batch()
    content = model.content_encoder(batch["input_features"], batch["attention_mask"]).content
    for item, length in enumerate(LENGTHS):
        alone = model.content_encoder(batch["input_features"][item : item + 1, :length]).content[0]
        torch.testing.assert_close(content[item, : len(alone)], alone, rtol=1e-4, atol=1e-5)


def test_harmonics_do_not_reach_the_content():
    """Whatever lies beyond the cosines of the envelope cannot be heard."""
    model, features = make_model().content_encoder, make_batch()["input_features"][:1]
    hidden = cosine_basis(80, 80)[20:]
    harmonics = torch.randn(1, features.shape[1], len(hidden)) @ hidden
    torch.testing.assert_close(model(features + harmonics).content, model(features).content, rtol=1e-3, atol=1e-4)


def test_every_parameter_gets_a_gradient():
    model = make_model(num_speakers=2, speaker_weight=0.1).train()
    model(**make_batch()).loss.backward()
    without = [name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()]
    assert without == []


def test_the_loss_is_the_weighted_sum():
    model = make_model(num_speakers=2, speaker_weight=0.3, text_weight=0.7, envelope_weight=0.2)
    outputs = model(**make_batch())
    losses = outputs.losses
    expected = losses["phone"] + 0.7 * losses["text"] + 0.2 * losses["envelope"] + 0.3 * losses["speaker"]
    torch.testing.assert_close(outputs.loss.detach(), expected)
    batch = make_batch()
    real = batch["phone_labels"] >= 0
    torch.testing.assert_close(
        losses["phone"], functional.cross_entropy(outputs.phone_logits[real], batch["phone_labels"][real]).detach()
    )


def test_padding_does_not_change_the_losses():
    model, batch = make_model(num_speakers=2, speaker_weight=0.1), make_batch()
    wide = dict(batch)
    for name in ("input_features", "clean_features"):
        wide[name] = functional.pad(batch[name], (0, 0, 0, 20))
    wide["attention_mask"] = functional.pad(batch["attention_mask"], (0, 20))
    wide["phone_labels"] = functional.pad(batch["phone_labels"], (0, 10), value=-100)
    expected, losses = model(**batch).losses, model(**wide).losses
    for name, loss in losses.items():
        torch.testing.assert_close(loss, expected[name], rtol=1e-4, atol=1e-5)


def test_the_envelope_loss_of_a_padded_batch_is_that_of_its_utterances():
    """Odd lengths among them, whose last content frame stands for one feature frame; each frame counts alike."""
    model, batch = make_model(), make_batch()
    total = 0.0
    for item, length in enumerate(LENGTHS):
        features, clean = (batch[name][item : item + 1, :length] for name in ("input_features", "clean_features"))
        total += length * model(features, clean_features=clean).losses["envelope"]
    names = ("input_features", "attention_mask", "clean_features")
    found = model(**{name: batch[name] for name in names}).losses["envelope"]
    torch.testing.assert_close(found, total / sum(LENGTHS), rtol=1e-5, atol=0)


@BOTTLENECKS
def test_one_batch_is_learnt_by_heart(bottleneck):
    model, batch = make_model(bottleneck=bottleneck).train(), make_batch(lengths=(48, 40))
    model.content_encoder.envelope.fit(list(batch["input_features"]))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(150):
        outputs = model(**batch)
        optimizer.zero_grad()
        outputs.loss.backward()
        optimizer.step()
    known = batch["phone_labels"] >= 0
    assert (outputs.phone_logits.argmax(-1) == batch["phone_labels"])[known].float().mean() > 0.9


def test_the_adversary_pushes_the_other_way():
    tensor = torch.ones(3, requires_grad=True)
    ReversedGradient.apply(2 * tensor).sum().backward()
    assert tensor.grad.tolist() == [-2.0] * 3


def test_wrong_options_are_refused():
    with pytest.raises(Exception, match="`bottleneck` is 'narrow'"):
        make_config(bottleneck="narrow")
    with pytest.raises(Exception, match="`num_coefficients` is 41"):
        make_config(num_coefficients=41)
    with pytest.raises(Exception, match="each must be at least 2"):
        make_config(quantization_levels=[8, 1])


def test_the_configuration_survives_saving(tmp_path):
    config = make_config(bottleneck="vq", quantization_levels=[4, 4])
    config.save_pretrained(tmp_path)
    loaded = type(config).from_pretrained(tmp_path)
    assert loaded.to_dict() == config.to_dict()
    assert loaded.encoder_config.hidden_size == 32
    assert loaded.num_codes == 16


@BOTTLENECKS
def test_loads_where_antiphon_is_not_installed(bottleneck, tmp_path):
    model = make_model(bottleneck=bottleneck).content_encoder
    features = make_batch()["input_features"]
    model.envelope.fit(features)
    model.save_pretrained(tmp_path / "checkpoint")
    torch.save({"features": features, "content": model(features).content.detach()}, tmp_path / "expected.pt")
    run_python(
        """
import torch
from transformers import AutoModel

model = AutoModel.from_pretrained("checkpoint", trust_remote_code=True).eval()
expected = torch.load("expected.pt", weights_only=True)
torch.testing.assert_close(model(expected["features"]).content, expected["content"])
model.stream()
""",
        tmp_path,
    )


def test_the_trained_model_gives_its_encoder(tmp_path):
    model = make_model()
    model.save_pretrained(tmp_path)
    encoder = ContentEncoderModel.from_pretrained(tmp_path).eval()
    features = make_batch()["input_features"]
    torch.testing.assert_close(encoder(features).content, model.content_encoder(features).content)
