"""CTC models of transformers with random weights, of the width, depth and frame rate of a Conformer of ours."""

from collections.abc import Callable

import torch
from transformers import (
    ParakeetCTCConfig,
    ParakeetEncoderConfig,
    ParakeetForCTC,
    Wav2Vec2ConformerConfig,
    Wav2Vec2ConformerForCTC,
)

from antiphon.modeling import ConformerConfig


def parakeet_config(config: ConformerConfig) -> ParakeetCTCConfig:
    """Parakeet with relative positions and batch normalisation where ours has rotary ones and layer normalisation.

    Its dropout is after the subsampling, inside the feed-forward modules and on the attention weights. Its size comes
    out within a tenth of ours.
    """
    encoder = ParakeetEncoderConfig(
        num_mel_bins=config.num_mel_bins,
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_hidden_layers=config.num_hidden_layers,
        num_attention_heads=config.num_attention_heads,
        conv_kernel_size=config.conv_kernel_size,
        subsampling_factor=config.subsampling_factor,
        subsampling_conv_channels=config.subsampling_channels,
        dropout=config.hidden_dropout,
        activation_dropout=config.activation_dropout,
        attention_dropout=config.attention_dropout,
        layerdrop=0.0,
    )
    return ParakeetCTCConfig(vocab_size=config.vocab_size, encoder_config=encoder, pad_token_id=config.pad_token_id)


def parakeet_like(config: ConformerConfig) -> ParakeetForCTC:
    """Parakeet of our size; see `parakeet_config`."""
    return ParakeetForCTC(parakeet_config(config))


def wav2vec2_like(config: ConformerConfig, frame_samples: int = 640) -> Wav2Vec2ConformerForCTC:
    """Wav2Vec2Conformer from the waveform, strides of its own making one frame of `frame_samples`, rotary too.

    Raises:
        ValueError: if the strides that it can have do not make such a frame.
    """
    strides = _strides(frame_samples)
    # Longer kernels first, as in the original.
    kernels = (10, 4, 3, 3, 3, 2, 2)[: len(strides)]
    return Wav2Vec2ConformerForCTC(
        Wav2Vec2ConformerConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            num_hidden_layers=config.num_hidden_layers,
            num_attention_heads=config.num_attention_heads,
            conv_depthwise_kernel_size=config.conv_kernel_size,
            conv_dim=(config.subsampling_channels,) * len(strides),
            conv_stride=strides,
            conv_kernel=kernels,
            position_embeddings_type="rotary",
            hidden_act="silu",
            num_conv_pos_embeddings=1,  # made but never used by the encoder
            hidden_dropout=config.hidden_dropout,
            activation_dropout=config.activation_dropout,
            attention_dropout=config.attention_dropout,
            feat_proj_dropout=0.0,
            conformer_conv_dropout=config.hidden_dropout,
            final_dropout=0.0,
            layerdrop=0.0,
            apply_spec_augment=False,
        )
    )


def _strides(frame_samples: int) -> tuple[int, ...]:
    """A stride of five and as many of two as it takes, the first two of them joined where there would be eight."""
    halvings = (frame_samples // 5).bit_length() - 1
    if frame_samples != 5 * 2**halvings or not 1 <= halvings <= 7:
        raise ValueError(
            f"`frame_samples` is {frame_samples} but the strides here make 10, 20, 40, 80, 160, 320 or 640 samples."
        )
    return (5, 4) + (2,) * 5 if halvings == 7 else (5,) + (2,) * halvings


PEERS: dict[str, Callable[[ConformerConfig], torch.nn.Module]] = {
    "ParakeetForCTC": parakeet_like,
    "Wav2Vec2ConformerForCTC": wav2vec2_like,
}
