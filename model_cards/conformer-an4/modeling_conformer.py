"""The Conformer encoder and the CTC recogniser on top of it."""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.masking_utils import create_bidirectional_mask
from transformers.utils import ModelOutput
from transformers.utils.generic import can_return_tuple, merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .configuration_conformer import ConformerConfig
from .layers_attention import RelativeAttention, SelfAttention
from .layers_conformer import ConformerLayer
from .layers_dropout import Dropout
from .layers_positions import RotaryPositions, make_positions
from .layers_spec_augment import SpecAugment
from .layers_stream import ConformerStream, CTCStream, chunk_mask_function, draw_chunk_frames
from .layers_subsampling import ConvolutionSubsampling, subsampled_lengths
from .losses_ctc import ctc_loss


@dataclass
class ConformerOutput(ModelOutput):
    """What the encoder returns.

    Args:
        last_hidden_state: (batch, frames, hidden_size), at `subsampling_factor` times fewer frames than the features.
        attention_mask: (batch, frames), 1 where an output frame stems from real input.
        intermediate_hidden_states: The outputs of `intermediate_ctc_layers`, in training.
        hidden_states, attentions: Per layer, when asked for.
    """

    last_hidden_state: torch.FloatTensor | None = None
    attention_mask: torch.LongTensor | None = None
    intermediate_hidden_states: tuple[torch.FloatTensor, ...] | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    attentions: tuple[torch.FloatTensor, ...] | None = None


@dataclass
class ConformerCTCOutput(ModelOutput):
    """What the recogniser returns.

    Args:
        loss: CTC loss, when labels are given.
        logits: (batch, frames, vocab_size).
        attention_mask: (batch, frames), 1 where an output frame stems from real input.
        hidden_states, attentions: Per layer, when asked for.
    """

    loss: torch.FloatTensor | None = None
    logits: torch.FloatTensor | None = None
    attention_mask: torch.LongTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    attentions: tuple[torch.FloatTensor, ...] | None = None


class ConformerPreTrainedModel(PreTrainedModel):
    """Loading, saving and initialisation shared by the Conformer models."""

    config_class = ConformerConfig
    base_model_prefix = "encoder"
    main_input_name = "input_features"
    input_modalities = "audio"
    supports_gradient_checkpointing = True
    _no_split_modules = ["ConformerLayer"]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True
    _can_record_outputs = {"hidden_states": ConformerLayer, "attentions": SelfAttention}

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        # The fixed small deviation that transformers uses suits widths of a thousand; these models are narrower, so
        # each layer is scaled by its own fan-in.
        if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d)):
            init.kaiming_uniform_(module.weight, a=5**0.5)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, (RotaryPositions, RelativeAttention)):
            module.reset_parameters()
        else:
            super()._init_weights(module)


class ConformerModel(ConformerPreTrainedModel):
    """Spectrogram to a shorter sequence of vectors."""

    def __init__(self, config: ConformerConfig):
        super().__init__(config)
        self.spec_augment = SpecAugment(config)
        self.subsampling = ConvolutionSubsampling(config)
        self.positions = make_positions(config)
        self.dropout = Dropout(config.hidden_dropout)
        self.layers = nn.ModuleList(ConformerLayer(config) for _ in range(config.num_hidden_layers))
        self.post_init()

    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self, input_features: torch.Tensor, attention_mask: torch.Tensor | None = None, **kwargs
    ) -> ConformerOutput:
        """Encodes log-mel features.

        Args:
            input_features: (batch, frames, num_mel_bins), normalised, zero where padded.
            attention_mask: (batch, frames), 1 = real; padding must be on the right. None means no padding.
        """
        lengths = None if attention_mask is None else attention_mask.sum(-1)
        input_features = self.spec_augment(input_features, lengths)
        hidden_states = self.dropout(self.positions.enter(self.subsampling(input_features, lengths)))

        frames = torch.arange(hidden_states.shape[1], device=hidden_states.device)
        if lengths is None:
            output_mask = torch.ones(hidden_states.shape[:2], dtype=torch.long, device=hidden_states.device)
            is_padding = None
        else:
            output_mask = frames < subsampled_lengths(lengths, self.config.subsampling_factor)[:, None]
            is_padding = ~output_mask[:, :, None]
            output_mask = output_mask.long()
        chunk_frames = draw_chunk_frames(self.config, self.training)
        layer_mask = create_bidirectional_mask(
            config=self.config,
            inputs_embeds=hidden_states,
            attention_mask=None if is_padding is None else output_mask,
            and_mask_function=chunk_mask_function(self.config, chunk_frames),
        )
        position_embeddings = self.positions(hidden_states)
        intermediate = []
        for index, layer in enumerate(self.layers, start=1):
            hidden_states = layer(hidden_states, position_embeddings, layer_mask, is_padding, **kwargs)
            if self.training and index in (self.config.intermediate_ctc_layers or ()):
                intermediate.append(hidden_states)
        return ConformerOutput(
            last_hidden_state=hidden_states,
            attention_mask=output_mask,
            intermediate_hidden_states=tuple(intermediate) or None,
        )

    def stream(self) -> ConformerStream:
        """Starts a stream of features; its pieces, joined, equal the offline output.

        Raises:
            ValueError: the configuration has no chunks, or convolutions that see later frames.
        """
        return ConformerStream(self)


class ConformerForCTC(ConformerPreTrainedModel):
    """A Conformer that writes: each output frame votes for a symbol or for the blank.

    In training, layers named in `intermediate_ctc_layers` are read through the same head, and their losses join the
    main one: (1 - w) * main + w * mean(intermediate), w = `intermediate_ctc_weight`.

    Source: Lee and Watanabe 2021, "Intermediate Loss Regularization for CTC-based Speech Recognition", equation 12.
    """

    def __init__(self, config: ConformerConfig):
        super().__init__(config)
        self.encoder = ConformerModel._from_config(config)
        self.head = nn.Linear(config.hidden_size, config.vocab_size)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_features: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        **kwargs,
    ) -> ConformerCTCOutput:
        """Scores symbols per frame and, given labels, the loss.

        Args:
            input_features: (batch, frames, num_mel_bins), normalised, zero where padded.
            attention_mask: (batch, frames), 1 = real; padding on the right.
            labels: (batch, symbols), -100 = ignored.
            num_items_in_batch: Target symbols that share one optimiser step; passed by the Trainer.
        """
        encoded = self.encoder(input_features, attention_mask=attention_mask, **kwargs)
        logits = self.head(encoded.last_hidden_state)
        loss = None
        if labels is not None:
            lengths = encoded.attention_mask.sum(-1)
            blank = self.config.pad_token_id
            loss = ctc_loss(logits, lengths, labels, blank, num_items_in_batch)
            if encoded.intermediate_hidden_states:
                weight = self.config.intermediate_ctc_weight
                extra = [
                    ctc_loss(self.head(states), lengths, labels, blank, num_items_in_batch)
                    for states in encoded.intermediate_hidden_states
                ]
                loss = (1 - weight) * loss + weight * torch.stack(extra).mean()
        return ConformerCTCOutput(
            loss=loss,
            logits=logits,
            attention_mask=encoded.attention_mask,
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )

    def stream(self) -> CTCStream:
        """Starts a stream of features; its pieces, joined, equal the offline logits.

        Raises:
            ValueError: the configuration has no chunks, or convolutions that see later frames.
        """
        return CTCStream(self)


ConformerModel.register_for_auto_class("AutoModel")
ConformerForCTC.register_for_auto_class("AutoModelForCTC")
