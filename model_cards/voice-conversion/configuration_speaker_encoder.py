"""Configuration of the speaker encoder."""

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig


@strict
class SpeakerEncoderConfig(PreTrainedConfig):
    """Everything that decides the shape and the regularisation of a speaker encoder.

    The defaults make an encoder of about 1.4 million parameters. The tiny one, for tests, has about 70 thousand:
    `hidden_size=64, dilations=[2], aggregation_size=128, speaker_size=32, attention_size=16`.

    Args:
        num_mel_bins: Mel bands of the input features.
        hidden_size: Channels of the frame-level layers; a multiple of `res2_scale`.
        dilations: Distance, in output frames, between the three taps of each layer's convolutions; one layer each.
        res2_scale: Groups of channels that a layer passes on one to the next.
        squeeze_size: Width of the bottleneck that gates a layer's channels.
        aggregation_size: Channels whose mean and deviation over time are taken.
        attention_size: Width inside the attention over time.
        speaker_size: Numbers in an embedding.
        time_stride: Feature frames per frame of the network.
        remove_band_means: Whether the mean over time is taken off each band, so that no fixed colouring of the channel
            counts, nor the mean spectrum of the voice; else one mean off all bands, so that only the level does not.
        apply_spec_augment, num_time_masks, time_mask_ratio, num_frequency_masks, frequency_mask_bins: SpecAugment, in
            training only; see `ConformerConfig`.

    Source: Desplanques et al. 2020, "ECAPA-TDNN: Emphasized Channel Attention, Propagation and Aggregation in TDNN
        Based Speaker Verification". Deviations: half the channels, four instead of eight groups and a stride of two at
        the first layer, for a CPU; unit-norm embeddings.
    """

    model_type = "antiphon_speaker_encoder"

    num_mel_bins: int = 80
    hidden_size: int = 256
    dilations: list[int] | None = None
    res2_scale: int = 4
    squeeze_size: int = 64
    aggregation_size: int = 512
    attention_size: int = 64
    speaker_size: int = 192
    time_stride: int = 2
    remove_band_means: bool = False
    apply_spec_augment: bool = True
    num_time_masks: int = 1
    time_mask_ratio: float = 0.1
    num_frequency_masks: int = 1
    frequency_mask_bins: int = 8

    @property
    def layer_dilations(self) -> list[int]:
        """Dilation of each layer, the paper's where none are given."""
        return [2, 3, 4] if self.dilations is None else self.dilations

    def validate_groups(self):
        """Every group needs the same number of channels, and one group alone passes nothing on."""
        if self.res2_scale < 2 or self.hidden_size % self.res2_scale:
            raise ValueError(
                f"`hidden_size` is {self.hidden_size} and `res2_scale` {self.res2_scale}, but the first must be a "
                "multiple of the second, which must be at least 2; choose e.g. 256 and 4."
            )

    def validate_layers(self):
        """Without a layer there is nothing to aggregate."""
        if not self.layer_dilations or min(self.layer_dilations) < 1:
            raise ValueError(f"`dilations` is {self.dilations} but must name at least one layer, each 1 or more.")
        if self.time_stride < 1:
            raise ValueError(f"`time_stride` is {self.time_stride} but must be 1 or more.")

    def validate_spec_augment(self):
        """A mask wider than the spectrogram would hide everything."""
        if not 0 <= self.frequency_mask_bins <= self.num_mel_bins or not 0.0 <= self.time_mask_ratio <= 1.0:
            raise ValueError(
                f"`frequency_mask_bins` is {self.frequency_mask_bins} and `time_mask_ratio` {self.time_mask_ratio}, "
                f"but must lie between 0 and {self.num_mel_bins} bands, and between 0 and 1."
            )


SpeakerEncoderConfig.register_for_auto_class()
