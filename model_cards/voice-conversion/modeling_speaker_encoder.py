"""The speaker encoder: a spectrogram to one unit vector that tells who speaks."""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.utils import ModelOutput
from transformers.utils.generic import can_return_tuple

from .configuration_speaker_encoder import SpeakerEncoderConfig
from .layers_spec_augment import SpecAugment
from .layers_time_delay import AttentiveStatisticsPooling, SERes2Layer, TimeDelayLayer, mean_over_time, real_frames


@dataclass
class SpeakerEncoderOutput(ModelOutput):
    """What the speaker encoder returns.

    Args:
        speaker_embeddings: (batch, speaker_size), unit norm; the inner product of two is their similarity.
    """

    speaker_embeddings: torch.FloatTensor | None = None


class SpeakerEncoderModel(PreTrainedModel):
    """Log-mel features to a unit-norm speaker embedding.

    The mean over time, of all bands or of each, is taken off first: the level does not count, as long as the floor of
    the features lies below the speech.

    Source: Desplanques et al. 2020, see `SpeakerEncoderConfig`.
    """

    config_class = SpeakerEncoderConfig
    base_model_prefix = "speaker_encoder"
    main_input_name = "input_features"
    input_modalities = "audio"

    def __init__(self, config: SpeakerEncoderConfig):
        super().__init__(config)
        dilations, hidden_size = config.layer_dilations, config.hidden_size
        self.spec_augment = SpecAugment(config)
        self.first = TimeDelayLayer(config.num_mel_bins, hidden_size, kernel_size=5, stride=config.time_stride)
        self.layers = nn.ModuleList(SERes2Layer(config, dilation) for dilation in dilations)
        self.aggregation = nn.Conv1d(len(dilations) * hidden_size, config.aggregation_size, 1)
        self.pooling = AttentiveStatisticsPooling(config)
        self.pooled_norm = nn.BatchNorm1d(2 * config.aggregation_size)
        self.projection = nn.Linear(2 * config.aggregation_size, config.speaker_size)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        # The fixed small deviation of transformers suits widths of a thousand; each layer here goes by its own fan-in.
        if isinstance(module, (nn.Linear, nn.Conv1d)):
            init.kaiming_uniform_(module.weight, a=5**0.5)
            if module.bias is not None:
                init.zeros_(module.bias)
        else:
            super()._init_weights(module)

    @can_return_tuple
    def forward(
        self, input_features: torch.Tensor, attention_mask: torch.Tensor | None = None, **kwargs
    ) -> SpeakerEncoderOutput:
        """Embeds voices.

        Args:
            input_features: (batch, frames, num_mel_bins), natural logarithm of mel power, not normalised.
            attention_mask: (batch, frames), 1 = real; padding must be on the right. None means no padding.
        """
        lengths = None if attention_mask is None else attention_mask.sum(-1)
        is_real = real_frames(lengths, input_features.shape[1])
        features = input_features.transpose(1, 2)
        mean = mean_over_time(features, is_real)
        features = features - (mean if self.config.remove_band_means else mean.mean(1, keepdim=True))
        features = self.spec_augment(features.transpose(1, 2), lengths).transpose(1, 2)
        hidden_states = self.first(features, is_real)

        stride = self.config.time_stride
        lengths = None if lengths is None else (lengths + stride - 1) // stride
        is_real = real_frames(lengths, hidden_states.shape[-1])
        outputs = []
        for layer in self.layers:
            hidden_states = layer(hidden_states, is_real)
            outputs.append(hidden_states)
        aggregated = nn.functional.relu(self.aggregation(torch.cat(outputs, dim=1)))
        pooled = self.pooled_norm(self.pooling(aggregated, is_real))
        embeddings = nn.functional.normalize(self.projection(pooled).float(), dim=-1)
        return SpeakerEncoderOutput(speaker_embeddings=embeddings)


SpeakerEncoderModel.register_for_auto_class("AutoModel")
