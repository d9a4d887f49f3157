"""Configuration of the content encoder."""

from math import prod

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from .configuration_conformer import ConformerConfig

BOTTLENECKS = ("linear", "vq")


@strict
class ContentEncoderConfig(PreTrainedConfig):
    """Everything that decides the shape and the training of a content encoder.

    The defaults make a model of about 1.3 million parameters at 50 frames per second, which runs in a stream.

    Args:
        encoder_config: The Conformer; a `ConformerConfig`, or a mapping of what differs from the content encoder's own
            defaults. Its `num_mel_bins` is always `num_bands`.
        num_mel_bins: Mel bands of the input.
        num_bands: Points at which the smooth spectral envelope is read.
        num_coefficients: Cosines that the envelope is made of; fewer hide more of the pitch.
        prior_frames: Weight, in frames, of the training mean in the running mean of an utterance.
        content_size: Width of the output.
        bottleneck: "linear", or "vq": the nearest of `num_codes` codes.
        bottleneck_noise: Standard deviation of the noise on the "linear" bottleneck in training, whose own is 1.
        quantization_levels: Levels of each dimension of the "vq" bottleneck.
        vocab_size: Symbols of the training head for text, the CTC blank included.
        pad_token_id: Id of the blank.
        text_stride: Frames that the head for text reads together.
        phone_names: What the training head for phones tells apart; None for no such head.
        num_speakers: Speakers whom an adversary tells apart in training; 0 for no adversary.
        phone_weight, text_weight, envelope_weight, speaker_weight: Of the training losses.
    """

    model_type = "antiphon_content_encoder"
    sub_configs = {"encoder_config": ConformerConfig}

    encoder_config: ConformerConfig | dict | None = None
    num_mel_bins: int = 80
    num_bands: int = 40
    num_coefficients: int = 20
    prior_frames: float = 100.0
    content_size: int = 64
    bottleneck: str = "linear"
    bottleneck_noise: float = 0.2
    quantization_levels: list[int] | None = None
    vocab_size: int = 32
    pad_token_id: int = 0
    text_stride: int = 2
    phone_names: list[str] | None = None
    num_speakers: int = 0
    phone_weight: float = 1.0
    text_weight: float = 0.5
    envelope_weight: float = 0.5
    speaker_weight: float = 0.0

    def __post_init__(self, **kwargs):
        given = self.encoder_config or {}
        if not isinstance(given, dict):
            given = given.to_diff_dict()
        own = {
            "hidden_size": 128,
            "intermediate_size": 384,
            "num_hidden_layers": 4,
            "subsampling_factor": 2,
            "subsampling_channels": 16,
            "causal_convolutions": True,
            "chunk_frames": 8,
            "left_chunks": 16,
            "frequency_mask_bins": 6,
        }
        self.encoder_config = ConformerConfig(**{**own, **given, "num_mel_bins": self.num_bands})
        self.quantization_levels = self.quantization_levels or [4, 4, 4, 4, 4]
        super().__post_init__(**kwargs)

    @property
    def num_codes(self) -> int:
        """Codes of the "vq" bottleneck."""
        return prod(self.quantization_levels)

    def validate_bottleneck(self):
        """One level alone tells nothing apart."""
        if self.bottleneck not in BOTTLENECKS:
            raise ValueError(f"`bottleneck` is {self.bottleneck!r} but must be one of {', '.join(BOTTLENECKS)}.")
        if min(self.quantization_levels) < 2:
            raise ValueError(f"`quantization_levels` is {self.quantization_levels} but each must be at least 2.")

    def validate_envelope(self):
        """Cosines beyond the number of bands do not exist."""
        if not 1 <= self.num_coefficients <= min(self.num_mel_bins, self.num_bands):
            raise ValueError(
                f"`num_coefficients` is {self.num_coefficients} but must lie between 1 and `num_mel_bins` "
                f"({self.num_mel_bins}) and `num_bands` ({self.num_bands})."
            )


ContentEncoderConfig.register_for_auto_class()
