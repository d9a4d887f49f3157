"""A recogniser of transformers trained by a recipe of ours: what a peer of the same size makes of the same data."""

import torch
from transformers import ParakeetCTCConfig, ParakeetEncoderConfig, ParakeetForCTC

from antiphon.modeling import ConformerConfig
from antiphon.modeling.layers_spec_augment import SpecAugment
from antiphon.modeling.losses_ctc import ctc_loss
from antiphon.modeling.modeling_conformer import ConformerCTCOutput

from .recipes import RecipeError

CONFORMER, PARAKEET = ARCHITECTURES = ("conformer", "parakeet")


class ParakeetPeer(ParakeetForCTC):
    """transformers' Parakeet under our SpecAugment and our loss, which its recipe asks for.

    The weights are Parakeet's own: saved, they load as `ParakeetForCTC`.

    Args:
        config: Of the model.
        conformer: The recogniser of ours whose place it takes; says how features are masked in training.
    """

    def __init__(self, config: ParakeetCTCConfig, conformer: ConformerConfig):
        super().__init__(config)
        self.spec_augment = SpecAugment(conformer)

    def forward(
        self,
        input_features: torch.Tensor,
        attention_mask: torch.Tensor,
        labels: torch.Tensor | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> ConformerCTCOutput:
        """Takes and returns what `ConformerForCTC` does."""
        input_features = self.spec_augment(input_features, attention_mask.sum(-1))
        encoded = self.encoder(input_features, attention_mask=attention_mask, output_attention_mask=True)
        logits = self.ctc_head(encoded.last_hidden_state)
        loss = None
        if labels is not None:
            lengths = encoded.attention_mask.sum(-1)
            loss = ctc_loss(logits, lengths, labels, self.config.pad_token_id, num_items_in_batch)
        return ConformerCTCOutput(loss=loss, logits=logits, attention_mask=encoded.attention_mask)


def parakeet_config(conformer: ConformerConfig) -> ParakeetCTCConfig:
    """The Parakeet of the same width, depth, heads, kernel, subsampling and dropout as a Conformer of ours.

    It has relative positions and batch normalisation where ours has rotary ones and layer normalisation, and its size
    comes out within a tenth of ours.

    Raises:
        RecipeError: for what it cannot do.
    """
    if conformer.chunk_frames is not None or conformer.causal_convolutions or conformer.intermediate_ctc_layers:
        raise RecipeError(
            "`run.architecture` is 'parakeet', which has no chunks, no causal convolutions and no intermediate CTC; "
            "leave `chunk_frames`, `causal_convolutions` and `intermediate_ctc_layers` out of `model`."
        )
    encoder = ParakeetEncoderConfig(
        num_mel_bins=conformer.num_mel_bins,
        hidden_size=conformer.hidden_size,
        intermediate_size=conformer.intermediate_size,
        num_hidden_layers=conformer.num_hidden_layers,
        num_attention_heads=conformer.num_attention_heads,
        conv_kernel_size=conformer.conv_kernel_size,
        subsampling_factor=conformer.subsampling_factor,
        subsampling_conv_channels=conformer.subsampling_channels,
        dropout=conformer.hidden_dropout,
        activation_dropout=conformer.activation_dropout,
        attention_dropout=conformer.attention_dropout,
        layerdrop=0.0,
    )
    return ParakeetCTCConfig(
        vocab_size=conformer.vocab_size, pad_token_id=conformer.pad_token_id, encoder_config=encoder
    )


def build_peer(conformer: ConformerConfig) -> ParakeetPeer:
    """Makes the peer of a Conformer, with random weights."""
    return ParakeetPeer(parakeet_config(conformer), conformer)
