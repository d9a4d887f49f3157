"""The memory estimate: parameters counted by hand, activations by what autograd keeps."""

import pytest
import torch
from tiny_whisper import NEEDS_PEFT, make_config, make_processor
from transformers import WhisperForConditionalGeneration

from antiphon.train_scripts.train_whisper import memory, resolve
from antiphon.train_scripts.whisper_lora import LORA_DEFAULTS, add_lora
from antiphon.train_scripts.whisper_memory import activation_bytes, count_parameters, estimate_memory, published_config

pytestmark = NEEDS_PEFT
WIDTH, INNER, FRAMES, PLACES, MELS, VOCABULARY = 32, 64, 100, 32, 16, 267
BATCH, TOKENS = 2, 20
EVERYWHERE = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]


@pytest.fixture(scope="module")
def config():
    return make_config(make_processor().tokenizer)


def low_rank(dropout=0.0, target_modules=("q_proj", "v_proj"), r=4):
    return {"r": r, "alpha": 8, "dropout": dropout, "target_modules": list(target_modules)}


def test_parameters_counted_by_hand(config):
    attention = 4 * WIDTH * WIDTH + 3 * WIDTH  # keys have no bias
    feed_forward = 2 * WIDTH * INNER + INNER + WIDTH
    norm = 2 * WIDTH
    convolutions = 3 * MELS * WIDTH + WIDTH + 3 * WIDTH * WIDTH + WIDTH
    encoder = convolutions + FRAMES * WIDTH + 2 * (attention + feed_forward + 2 * norm) + norm
    decoder = (VOCABULARY + PLACES) * WIDTH + 2 * (2 * attention + feed_forward + 3 * norm) + norm
    sinusoids = FRAMES * WIDTH
    assert count_parameters(config) == (encoder + decoder, encoder + decoder - sinusoids)
    assert count_parameters(config, freeze_encoder=True) == (encoder + decoder, decoder)
    # Two matrices beside queries and values of two encoder and four decoder attentions.
    learned = 6 * 2 * 2 * 4 * WIDTH
    assert count_parameters(config, lora=low_rank()) == (encoder + decoder + learned, learned)


def test_bytes_of_weights_gradients_and_moments(config):
    everything, learned = count_parameters(config)
    full = estimate_memory(config, batch_size=BATCH, text_tokens=TOKENS)
    assert (full.weights, full.gradients, full.optimizer, full.casts) == (4 * everything, 4 * learned, 8 * learned, 0)
    assert full.logits == BATCH * TOKENS * VOCABULARY * 12
    assert full.total == 4 * everything + 12 * learned + full.activations + full.logits
    mixed = estimate_memory(config, batch_size=BATCH, text_tokens=TOKENS, mixed_precision=True)
    assert mixed.casts == 2 * everything
    assert mixed.activations < 0.75 * full.activations
    twice = estimate_memory(config, batch_size=2 * BATCH, text_tokens=TOKENS)
    assert twice.activations == 2 * full.activations


def test_activations_counted_by_hand(config):
    """Numbers of 4 bytes, of one item."""
    norm = WIDTH + 2
    attention = 5 * WIDTH + 2  # what is read, queries, keys, values, output; a normaliser for each of two heads
    feed_forward = norm + WIDTH + 2 * INNER
    encoder = FRAMES * (2 * MELS + 5 * WIDTH + 2 * (norm + attention + feed_forward) + norm)
    cross = norm + 3 * WIDTH + 2
    decoder = TOKENS * (2 * (norm + attention + cross + feed_forward) + norm + WIDTH)
    sources = FRAMES * (2 * 2 * WIDTH + WIDTH)
    assert activation_bytes(config, text_tokens=TOKENS) == 4 * (encoder + decoder + sources)
    inputs = FRAMES * WIDTH * (2 + 1) + TOKENS * WIDTH * 2
    again = FRAMES * (norm + attention + feed_forward)
    rest = FRAMES * (2 * MELS + 5 * WIDTH + norm) + TOKENS * (norm + WIDTH)
    assert activation_bytes(config, text_tokens=TOKENS, gradient_checkpointing=True) == 4 * (inputs + again + rest)


def kept_by_autograd(config, freeze_encoder=False, lora=None) -> int:
    """Bytes of the distinct tensors that a training forward pass saves, parameters aside."""
    torch.manual_seed(0)
    model = WhisperForConditionalGeneration(config).train()
    if freeze_encoder:
        model.freeze_encoder()
    if lora:
        model = add_lora(model, lora)
    parameters = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    saved = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            saved[storage.data_ptr()] = tensor  # alive, so that no other tensor gets its place
        return tensor

    features = torch.randn(BATCH, MELS, 2 * FRAMES)
    labels = torch.randint(0, VOCABULARY, (BATCH, TOKENS))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(input_features=features, labels=labels)
    return sum(tensor.untyped_storage().nbytes() for tensor in saved.values())


@pytest.mark.parametrize(
    "options",
    [{}, {"freeze_encoder": True}, {"lora": low_rank()}, {"lora": low_rank(target_modules=EVERYWHERE)}],
    ids=["full", "decoder", "low rank", "low rank everywhere"],
)
def test_activations_are_what_autograd_keeps(config, options):
    estimate = BATCH * activation_bytes(config, text_tokens=TOKENS, **options)
    estimate += BATCH * TOKENS * VOCABULARY * 4  # logarithms of the softmax
    # On CPUs attention returns its output in another order than the next layer reads, which copies it; GPUs do not.
    lora = options.get("lora")
    if lora is None or "out_proj" in lora["target_modules"]:
        encoder_layers = 0 if options.get("freeze_encoder") else 2
        estimate += BATCH * 4 * WIDTH * (encoder_layers * FRAMES + 4 * TOKENS)
    # Ids and labels, of 8 bytes each, are not counted.
    assert kept_by_autograd(config, **options) == pytest.approx(estimate, abs=1000)


def test_whisper_small_is_as_large_as_published():
    config = published_config("openai/whisper-small")
    assert count_parameters(config)[0] == 241_734_912
    assert published_config("somebody/else") is None


def recipe(*, lora=None, **training):
    return resolve(
        {
            "data": {},
            "model": {"lora": lora},
            "training": training,
            "run": {"folder": "x", "initialize_from": "openai/whisper-small"},
        }
    )


def test_a_recipe_is_asked_without_a_download():
    full = memory(recipe(per_device_train_batch_size=16))
    low = memory(recipe(lora={}, per_device_train_batch_size=16))
    assert full.weights == 4 * 241_734_912
    assert low.gradients == 4 * 2 * 768 * 2 * LORA_DEFAULTS["r"] * (12 + 24)
    assert low.total < 0.8 * full.total
    assert memory(recipe(gradient_checkpointing=True)).activations < 0.2 * full.activations
    assert str(full).startswith(f"{full.total / 1e9:.3g} GB (weights 0.967, ")
