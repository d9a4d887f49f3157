"""How much memory training a Whisper needs on one device, from its configuration alone."""

from dataclasses import dataclass, fields

import torch
from transformers import WhisperConfig, WhisperForConditionalGeneration

from .whisper_lora import add_lora

# Width, layers on each side and heads of published checkpoints, so that nothing is downloaded to learn what they need.
PUBLISHED = {
    "openai/whisper-tiny": (384, 4, 6),
    "openai/whisper-base": (512, 6, 8),
    "openai/whisper-small": (768, 12, 12),
    "openai/whisper-medium": (1024, 24, 16),
    "openai/whisper-large-v2": (1280, 32, 20),
}


@dataclass(frozen=True)
class Memory:
    """Bytes on one device at the end of the forward pass, where training needs the most.

    Args:
        weights: In float32.
        gradients: Of what learns.
        optimizer: The two moments of AdamW.
        casts: Copies of the weights in 16 bits, under mixed precision.
        activations: What the layers keep for the backward pass.
        logits: Of the text, the logarithms of their softmax and their gradients, in float32.
    """

    weights: int
    gradients: int
    optimizer: int
    casts: int
    activations: int
    logits: int

    @property
    def total(self) -> int:
        return sum(getattr(self, field.name) for field in fields(self))

    def __str__(self) -> str:
        parts = ", ".join(f"{field.name} {getattr(self, field.name) / 1e9:.3g}" for field in fields(self))
        return f"{self.total / 1e9:.3g} GB ({parts})"


def published_config(name: str) -> WhisperConfig | None:
    """Configuration of a checkpoint of OpenAI's by its name on the Hub, or None."""
    if name not in PUBLISHED:
        return None
    width, layers, heads = PUBLISHED[name]
    return WhisperConfig(
        vocab_size=51_865,
        d_model=width,
        encoder_layers=layers,
        decoder_layers=layers,
        encoder_attention_heads=heads,
        decoder_attention_heads=heads,
        encoder_ffn_dim=4 * width,
        decoder_ffn_dim=4 * width,
    )


def estimate_memory(
    config: WhisperConfig,
    *,
    batch_size: int,
    text_tokens: int,
    lora: dict | None = None,
    freeze_encoder: bool = False,
    mixed_precision: bool = False,
    gradient_checkpointing: bool = False,
) -> Memory:
    """Estimates what a step with AdamW needs; attention never stores its matrix (SDPA).

    Not counted: the device's context, the allocator's gaps and workspaces, together about 1 GB on a GPU, and what
    the model's own dropout keeps.

    Args:
        config: Of the checkpoint.
        batch_size: Items on the device at once.
        text_tokens: In the longest label of a batch.
        lora: `r`, `dropout` and `target_modules`; None where all weights learn.
        freeze_encoder: Whether the encoder stays as it is.
        mixed_precision: Whether training runs under bf16 or fp16 autocast.
        gradient_checkpointing: Whether layers are computed again in the backward pass.
    """
    all_weights, learned = count_parameters(config, lora=lora, freeze_encoder=freeze_encoder)
    kept = activation_bytes(
        config,
        text_tokens=text_tokens,
        lora=lora,
        freeze_encoder=freeze_encoder,
        mixed_precision=mixed_precision,
        gradient_checkpointing=gradient_checkpointing,
    )
    return Memory(
        weights=4 * all_weights,
        gradients=4 * learned,
        optimizer=8 * learned,
        casts=2 * all_weights if mixed_precision else 0,
        activations=batch_size * kept,
        logits=12 * batch_size * text_tokens * config.vocab_size,
    )


def count_parameters(
    config: WhisperConfig, *, lora: dict | None = None, freeze_encoder: bool = False
) -> tuple[int, int]:
    """All weights of the model as it is trained, and those that learn; on the meta device, which allocates nothing."""
    with torch.device("meta"):
        model = WhisperForConditionalGeneration(config)
        if freeze_encoder:
            model.freeze_encoder()
        if lora:
            model = add_lora(model, lora)
    parameters = list(model.parameters())
    return sum(each.numel() for each in parameters), sum(each.numel() for each in parameters if each.requires_grad)


def activation_bytes(
    config: WhisperConfig,
    *,
    text_tokens: int,
    lora: dict | None = None,
    freeze_encoder: bool = False,
    mixed_precision: bool = False,
    gradient_checkpointing: bool = False,
) -> int:
    """What one item's layers keep for the backward pass, the logits aside.

    A layer norm keeps its input; a linear layer keeps its input where its weight learns; GELU keeps its input;
    attention keeps queries, keys, values and output. Under autocast the residual stream stays in float32 and each
    linear layer keeps a 16-bit copy of its input, as CUDA's rules have it.
    """
    kept = _Kept(config.d_model, 2 if mixed_precision else 4, lora)
    width, frames = config.d_model, config.max_source_positions
    encoder_layer = frames * kept.self_attention(config.encoder_attention_heads)
    encoder_layer += frames * kept.feed_forward(config.encoder_ffn_dim)
    decoder_layer = text_tokens * kept.self_attention(config.decoder_attention_heads)
    decoder_layer += text_tokens * kept.cross_attention(config.decoder_attention_heads)
    decoder_layer += text_tokens * kept.feed_forward(config.decoder_ffn_dim)
    decoder_layer += frames * kept.cross_sources()
    recomputed, shared = 0, frames * kept.shared_source()
    if gradient_checkpointing:  # a layer keeps its input alone; one at a time is computed again
        recomputed = decoder_layer if freeze_encoder else max(encoder_layer, decoder_layer)
        encoder_layer, decoder_layer, shared = frames * 4 * width, text_tokens * 4 * width, frames * 4 * width
    encoder = config.encoder_layers * encoder_layer + frames * kept.norm
    decoder = config.decoder_layers * decoder_layer + text_tokens * kept.norm
    if lora:  # nothing learns before the first layers, whose norms then keep nothing
        encoder -= frames * kept.norm
        decoder -= text_tokens * kept.norm
    else:  # features and two convolutions, the first at twice the frames; and what the output layer reads
        encoder += frames * kept.bytes_each * (2 * config.num_mel_bins + 5 * width)
        decoder += text_tokens * kept.bytes_each * width
    return (0 if freeze_encoder else encoder) + decoder + shared + recomputed


@dataclass(frozen=True)
class _Kept:
    """Bytes per position that the parts of a layer keep.

    Args:
        width: Of the residual stream.
        bytes_each: Of a number outside the residual stream.
        lora: As in `estimate_memory`.
    """

    width: int
    bytes_each: int
    lora: dict | None

    @property
    def norm(self) -> int:
        """A layer norm's input, in float32, with its mean and deviation."""
        return 4 * self.width + 8

    @property
    def copies(self) -> bool:
        """Whether layers that read the same input keep a copy each: casts of it, or what dropout left of it."""
        return self.bytes_each == 2 or bool(self.lora and self.lora["dropout"])

    def learning(self, *layers: str) -> int:
        """How many of these linear layers keep their input, or have a low-rank one beside them that does."""
        return len(layers) if self.lora is None else len(set(self.lora["target_modules"]).intersection(layers))

    def inputs(self, width: int, *layers: str) -> int:
        """One input that these layers read, with what LoRA keeps between its matrices and dropout's masks."""
        learning = self.learning(*layers)
        kept = self.bytes_each * width * (learning if self.copies else min(learning, 1))
        if self.lora:
            kept += learning * (self.lora["r"] * self.bytes_each + (width if self.lora["dropout"] else 0))
        return kept

    def output(self) -> int:
        """What the output layer of attention reads, where attention's own copy does not serve it."""
        own = self.bytes_each * self.width if self.learning("out_proj") and not (self.lora and self.copies) else 0
        return self.inputs(self.width, "out_proj") - own

    def self_attention(self, heads: int) -> int:
        projected = 4 * self.bytes_each * self.width + 4 * heads
        return self.norm + self.inputs(self.width, "q_proj", "k_proj", "v_proj") + projected + self.output()

    def cross_attention(self, heads: int) -> int:
        projected = 2 * self.bytes_each * self.width + 4 * heads
        return self.norm + self.inputs(self.width, "q_proj") + projected + self.output()

    def cross_sources(self) -> int:
        """Keys and values of the encoder's output, and that output where each layer copies it."""
        sources = self.inputs(self.width, "k_proj", "v_proj")
        return 2 * self.bytes_each * self.width + sources - self.shared_source()

    def shared_source(self) -> int:
        """The encoder's output where all layers share it."""
        return 0 if self.copies or not self.learning("k_proj", "v_proj") else self.bytes_each * self.width

    def feed_forward(self, inner: int) -> int:
        return self.norm + self.inputs(self.width, "fc1") + self.bytes_each * inner + self.inputs(inner, "fc2")
