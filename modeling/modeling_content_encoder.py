"""The content encoder, what is said without who says it, and the heads that train it."""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.utils import ModelOutput
from transformers.utils.generic import can_return_tuple

from .configuration_content_encoder import ContentEncoderConfig
from .layers_envelope import RunningMean, SpectralEnvelope
from .layers_positions import RotaryPositions
from .layers_quantization import FiniteScalarQuantizer
from .losses_ctc import ctc_loss
from .modeling_conformer import ConformerModel


@dataclass
class ContentEncoderOutput(ModelOutput):
    """What the content encoder returns.

    Args:
        content: (batch, frames, content_size), one for every `subsampling_factor` feature frames, rounded up.
        attention_mask: (batch, frames), 1 where a frame stems from real input.
        codes: (batch, frames), int64, of a "vq" bottleneck.
    """

    content: torch.FloatTensor | None = None
    attention_mask: torch.LongTensor | None = None
    codes: torch.LongTensor | None = None


@dataclass
class ContentEncoderCTCOutput(ModelOutput):
    """What the content encoder returns in training.

    Args:
        loss: Weighted sum of the losses whose targets are given.
        logits: (batch, ceil(frames / text_stride), vocab_size), of characters.
        attention_mask: Of the logits.
        phone_logits: (batch, frames, phones).
        content, content_mask: As `ContentEncoderOutput` has them.
        losses: Each loss, unweighted and detached, by name.
    """

    loss: torch.FloatTensor | None = None
    logits: torch.FloatTensor | None = None
    attention_mask: torch.LongTensor | None = None
    phone_logits: torch.FloatTensor | None = None
    content: torch.FloatTensor | None = None
    content_mask: torch.LongTensor | None = None
    losses: dict[str, torch.FloatTensor] | None = None


class LinearBottleneck(nn.Module):
    """A narrow linear map, brought to mean 0 and deviation 1 in each frame; noise in training limits what it holds."""

    def __init__(self, config: ContentEncoderConfig):
        super().__init__()
        self.projection = nn.Linear(config.encoder_config.hidden_size, config.content_size)
        self.noise = config.bottleneck_noise

    def forward(self, hidden_states: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Maps (batch, frames, hidden_size) to (batch, frames, content_size)."""
        content = self.projection(hidden_states)
        content = nn.functional.layer_norm(content, content.shape[-1:])
        if self.training and self.noise:
            content = content + self.noise * torch.randn_like(content)
        return content, None


class QuantizedBottleneck(nn.Module):
    """A code for each frame, and the vector that stands for it, which a small network makes of the code's place."""

    def __init__(self, config: ContentEncoderConfig):
        super().__init__()
        dimensions, hidden_size = len(config.quantization_levels), config.encoder_config.hidden_size
        self.contract = nn.Linear(hidden_size, dimensions)
        self.quantizer = FiniteScalarQuantizer(config.quantization_levels)
        self.expand = nn.Sequential(
            nn.Linear(dimensions, hidden_size), nn.SiLU(), nn.Linear(hidden_size, config.content_size)
        )

    def forward(self, hidden_states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Maps (batch, frames, hidden_size) to (batch, frames, content_size) and codes (batch, frames)."""
        vectors, codes = self.quantizer(self.contract(hidden_states))
        return self.expand(vectors), codes


class ContentEncoderPreTrainedModel(PreTrainedModel):
    """Loading, saving and initialisation shared by the content models."""

    config_class = ContentEncoderConfig
    base_model_prefix = "content_encoder"
    main_input_name = "input_features"
    input_modalities = "audio"
    _no_split_modules = ["ConformerLayer"]
    _supports_sdpa = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        if isinstance(module, (nn.Linear, nn.Conv1d)):
            init.kaiming_uniform_(module.weight, a=5**0.5)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, (RotaryPositions, SpectralEnvelope, FiniteScalarQuantizer)):
            module.reset_parameters()
        else:
            super()._init_weights(module)


class ContentEncoderModel(ContentEncoderPreTrainedModel):
    """Mel spectrogram to content: smooth envelope, Conformer, bottleneck."""

    def __init__(self, config: ContentEncoderConfig):
        super().__init__(config)
        self.envelope = SpectralEnvelope(
            config.num_mel_bins, config.num_bands, config.num_coefficients, config.prior_frames
        )
        self.encoder = ConformerModel._from_config(config.encoder_config)
        bottlenecks = {"linear": LinearBottleneck, "vq": QuantizedBottleneck}
        self.bottleneck = bottlenecks[config.bottleneck](config)
        self.post_init()

    @can_return_tuple
    def forward(
        self, input_features: torch.Tensor, attention_mask: torch.Tensor | None = None, **kwargs
    ) -> ContentEncoderOutput:
        """Encodes log-mel features.

        Args:
            input_features: (batch, frames, num_mel_bins), natural log of mel power, not normalised.
            attention_mask: (batch, frames), 1 = real; padding on the right. None means no padding.
        """
        envelope = self.envelope(input_features)
        if attention_mask is not None:
            envelope = envelope * attention_mask[:, :, None]
        encoded = self.encoder(envelope, attention_mask=attention_mask)
        content, codes = self.bottleneck(encoded.last_hidden_state)
        return ContentEncoderOutput(content=content, attention_mask=encoded.attention_mask, codes=codes)

    def stream(self) -> "ContentStream":
        """Starts a stream of features; its pieces, joined, equal the offline content.

        Raises:
            ValueError: the Conformer has no chunks, or convolutions that see later frames.
        """
        return ContentStream(self)


class ContentStream:
    """Log-mel features that arrive in pieces of any size; made by `ContentEncoderModel.stream`.

    Content comes out in chunks, as soon as the last feature frame of a chunk is in.
    """

    def __init__(self, model: ContentEncoderModel):
        self.model = model
        self.running_mean = RunningMean()
        self.encoder_stream = model.encoder.stream()

    @torch.no_grad()
    def push(self, input_features: torch.Tensor) -> torch.Tensor:
        """Takes (batch, frames, num_mel_bins) and returns complete chunks of content, (batch, frames, content_size)."""
        envelope = self.model.envelope(input_features, self.running_mean)
        return self.model.bottleneck(self.encoder_stream.push(envelope))[0]

    @torch.no_grad()
    def finish(self) -> torch.Tensor:
        """Ends the stream and returns the last content, (batch, frames, content_size)."""
        return self.model.bottleneck(self.encoder_stream.finish())[0]


class ReversedGradient(torch.autograd.Function):
    """The identity, whose gradient changes its sign.

    Source: Ganin and Lempitsky 2015, "Unsupervised Domain Adaptation by Backpropagation", equation 10.
    """

    @staticmethod
    def forward(context, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.view_as(tensor)

    @staticmethod
    def backward(context, gradient: torch.Tensor) -> torch.Tensor:
        return -gradient


class ContentEncoderForCTC(ContentEncoderPreTrainedModel):
    """A content encoder in training: heads on its bottleneck read characters, phones and the envelope.

    Characters are learnt by CTC, phones and the envelope of the unperturbed speech frame by frame. So the bottleneck
    holds words and articulation, while whatever the perturbation of the input changes is of no use to it. An optional
    adversary reads the speaker, and its gradient is reversed.
    """

    # The Trainer need not count symbols over several batches: each loss is a mean over its own batch.
    accepts_loss_kwargs = False

    def __init__(self, config: ContentEncoderConfig):
        super().__init__(config)
        self.content_encoder = ContentEncoderModel._from_config(config)
        self.text_head = nn.Linear(config.text_stride * config.content_size, config.vocab_size)
        envelope_size = config.encoder_config.subsampling_factor * config.num_bands
        self.envelope_head = nn.Conv1d(config.content_size, envelope_size, kernel_size=3, padding=1)
        self.phone_head = nn.Linear(config.content_size, len(config.phone_names)) if config.phone_names else None
        self.speaker_head = None
        if config.num_speakers:
            self.speaker_head = nn.Sequential(
                nn.Linear(2 * config.content_size, config.content_size),
                nn.SiLU(),
                nn.Linear(config.content_size, config.num_speakers),
            )
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_features: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        phone_labels: torch.Tensor | None = None,
        clean_features: torch.Tensor | None = None,
        speaker_labels: torch.Tensor | None = None,
        **kwargs,
    ) -> ContentEncoderCTCOutput:
        """Reads the content and, given targets, scores it.

        Args:
            input_features: (batch, frames, num_mel_bins), natural log of mel power, perturbed in training.
            attention_mask: (batch, frames), 1 = real; padding on the right.
            labels: (batch, symbols), characters, -100 = ignored.
            phone_labels: (batch, content frames), -100 = ignored.
            clean_features: As `input_features`, without perturbation.
            speaker_labels: (batch,), -100 = ignored.
        """
        encoded = self.content_encoder(input_features, attention_mask=attention_mask)
        content, mask = encoded.content, encoded.attention_mask
        stride = self.config.text_stride
        logits = self.text_head(whole_groups(content * mask[:, :, None], stride).flatten(2))
        text_mask = whole_groups(mask[:, :, None], stride)[:, :, 0, 0]
        phone_logits = None if self.phone_head is None else self.phone_head(content)
        losses = {}
        if labels is not None:
            losses["text"] = ctc_loss(logits, text_mask.sum(-1), labels, self.config.pad_token_id)
        if phone_labels is not None and self.phone_head is not None:
            losses["phone"] = frame_cross_entropy(phone_logits, phone_labels)
        if clean_features is not None:
            losses["envelope"] = self.envelope_loss(content, mask, clean_features, attention_mask)
        if speaker_labels is not None and self.speaker_head is not None:
            losses["speaker"] = self.speaker_loss(content, mask, speaker_labels)
        weights = {name: getattr(self.config, f"{name}_weight") for name in losses}
        return ContentEncoderCTCOutput(
            loss=sum(weights[name] * loss for name, loss in losses.items()) if losses else None,
            logits=logits,
            attention_mask=text_mask,
            phone_logits=phone_logits,
            content=content,
            content_mask=mask,
            losses={name: loss.detach() for name, loss in losses.items()} or None,
        )

    def envelope_loss(
        self,
        content: torch.Tensor,
        mask: torch.Tensor,
        clean_features: torch.Tensor,
        attention_mask: torch.Tensor | None,
    ) -> torch.Tensor:
        """Mean squared error of the normalised envelope that is read from the content, over real feature frames."""
        predicted = self.envelope_head((content * mask[:, :, None]).transpose(1, 2)).transpose(1, 2)
        envelope = self.content_encoder.envelope(clean_features)
        # The last content frame of an utterance may stand for fewer feature frames than the others.
        predicted = predicted.unflatten(2, (-1, self.config.num_bands)).flatten(1, 2)[:, : envelope.shape[1]]
        errors = (predicted - envelope).square().mean(-1)
        if attention_mask is None:
            return errors.mean()
        return (errors * attention_mask).sum() / attention_mask.sum()

    def speaker_loss(self, content: torch.Tensor, mask: torch.Tensor, speaker_labels: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of the adversary, which reads the mean and the deviation of the content over time."""
        content = ReversedGradient.apply(content)
        shares = (mask / mask.sum(-1, keepdim=True))[:, :, None]
        mean = (content * shares).sum(1)
        variance = ((content - mean[:, None]).square() * shares).sum(1)
        statistics = torch.cat([mean, (variance + 1e-5).sqrt()], dim=-1)
        return frame_cross_entropy(self.speaker_head(statistics)[:, None], speaker_labels[:, None])


def whole_groups(frames: torch.Tensor, group_size: int) -> torch.Tensor:
    """Groups successive frames, the last group filled with zeros: (batch, frames, size) to (batch, groups, n, size)."""
    frames = nn.functional.pad(frames, (0, 0, 0, -frames.shape[1] % group_size))
    return frames.unflatten(1, (-1, group_size))


def frame_cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of (batch, frames, classes) over labels that are not -100; zero where there are none."""
    total = nn.functional.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), reduction="sum")
    return total / (labels >= 0).sum().clamp(min=1)


ContentEncoderModel.register_for_auto_class("AutoModel")
ContentEncoderForCTC.register_for_auto_class("AutoModelForCTC")
