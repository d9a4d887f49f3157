"""A recogniser of transformers trained by a recipe of ours: what a peer of the same size makes of the same data."""

import torch
from transformers import ParakeetCTCConfig, ParakeetForCTC

from antiphon.eval.peer_models import parakeet_config
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


def check_peer(conformer: ConformerConfig) -> None:
    """Looks whether a Parakeet can take the place of a Conformer.

    Raises:
        RecipeError: for what it cannot do.
    """
    if conformer.chunk_frames or conformer.causal_convolutions or conformer.intermediate_ctc_layers:
        raise RecipeError(
            "`run.architecture` is 'parakeet', which has no chunks, no causal convolutions and no intermediate CTC; "
            "leave `chunk_frames`, `causal_convolutions` and `intermediate_ctc_layers` out of `model`."
        )


def build_peer(conformer: ConformerConfig) -> ParakeetPeer:
    """Makes the peer of a Conformer, with random weights; raises what `check_peer` does."""
    check_peer(conformer)
    return ParakeetPeer(parakeet_config(conformer), conformer)
