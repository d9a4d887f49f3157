"""Configuration of the Conformer encoder and of its CTC recogniser."""

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

POSITION_EMBEDDINGS = ("rotary", "relative", "absolute", "none")


@strict
class ConformerConfig(PreTrainedConfig):
    """Everything that decides the shape and the regularisation of a Conformer.

    The defaults make the small recogniser, about 3 million parameters. The tiny one, for tests, has about 100 thousand:
    `hidden_size=48, intermediate_size=144, num_hidden_layers=2, subsampling_channels=8, num_mel_bins=40`. The base one
    has about 30 million: `hidden_size=384, intermediate_size=1536, num_hidden_layers=9, num_attention_heads=6`.

    Args:
        vocab_size: Number of output symbols, the CTC blank included.
        num_mel_bins: Mel bands of the input features.
        hidden_size: Width of the encoder.
        intermediate_size: Width inside the two feed-forward modules of each layer.
        num_hidden_layers: Number of Conformer layers.
        num_attention_heads: Number of attention heads; `hidden_size` must be a multiple of twice this number.
        conv_kernel_size: Frames seen by the depthwise convolution of each layer; odd.
        causal_convolutions: Whether these convolutions see no later frames.
        chunk_frames: Output frames of a chunk: attention sees its own chunk and earlier ones, so that with causal
            convolutions the model can run in a stream. None lets it see everything. It may be set when a checkpoint is
            loaded: `from_pretrained(folder, chunk_frames=8)`.
        left_chunks: How many chunks before its own attention sees; None means all of them.
        training_chunk_frames: Lengths of chunks, None for everything, of which each batch of training draws one, so
            that one model serves every latency. None trains with `chunk_frames` alone.
        position_embeddings_type: How attention knows where frames are. "rotary" and "relative" know distances alone;
            "absolute" adds the time since the beginning to the input: it computes beyond the longest training utterance
            too, but with times that it never learnt; "none" leaves it to the convolutions.
        subsampling_factor: Feature frames per output frame; a power of two.
        subsampling_channels: Channels of the convolutions that subsample.
        rope_theta: Base of the position frequencies, rotary or sinusoidal.
        hidden_dropout, activation_dropout, attention_dropout: Dropout after each module, inside the feed-forward
            modules and on the attention weights; applied in training only.
        layer_norm_eps: Added to the variance in layer normalisation.
        intermediate_ctc_layers: Layers (counted from 1) whose output also receives a CTC loss.
        intermediate_ctc_weight: Share of the loss that the intermediate layers carry together.
        apply_spec_augment: Whether training masks the features at all.
        num_time_masks, time_mask_ratio: SpecAugment: how many stretches of time are masked in training, and the
            longest one as a share of the utterance.
        num_frequency_masks, frequency_mask_bins: How many bands are masked, and the widest one in mel bins.
        pad_token_id: Id of the CTC blank, which also pads.

    Source: Gulati et al. 2020, "Conformer: Convolution-augmented Transformer for Speech Recognition". Deviations:
        rotary instead of relative sinusoidal positions by default; layer instead of batch normalisation in the
        convolution module, so that neither padding nor the number of processes changes what a batch computes.
        `training_chunk_frames` follows Zhang et al. 2020, "Unified Streaming and Non-streaming Two-pass End-to-end
        Model for Speech Recognition", whose chunks have any length up to 25 frames in half of the batches and no end
        in the others; here the lengths are listed, and each is drawn as often as it stands in the list.
    """

    model_type = "antiphon_conformer"

    vocab_size: int = 32
    num_mel_bins: int = 80
    hidden_size: int = 144
    intermediate_size: int = 576
    num_hidden_layers: int = 6
    num_attention_heads: int = 4
    conv_kernel_size: int = 15
    causal_convolutions: bool = False
    chunk_frames: int | None = None
    left_chunks: int | None = None
    training_chunk_frames: list[int | None] | None = None
    position_embeddings_type: str = "rotary"
    subsampling_factor: int = 4
    subsampling_channels: int = 64
    rope_theta: float = 10_000.0
    hidden_dropout: float = 0.1
    activation_dropout: float = 0.0
    attention_dropout: float = 0.0
    layer_norm_eps: float = 1e-5
    intermediate_ctc_layers: list[int] | None = None
    intermediate_ctc_weight: float = 0.3
    apply_spec_augment: bool = True
    num_time_masks: int = 2
    time_mask_ratio: float = 0.1
    num_frequency_masks: int = 2
    frequency_mask_bins: int = 15
    pad_token_id: int = 0

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.num_attention_heads

    def validate_heads(self):
        """Rotary positions rotate pairs, so every head needs an even width."""
        if self.hidden_size % (2 * self.num_attention_heads):
            raise ValueError(
                f"`hidden_size` is {self.hidden_size} but must be a multiple of 2 x `num_attention_heads` "
                f"({2 * self.num_attention_heads}); choose e.g. {2 * self.num_attention_heads * 16}."
            )

    def validate_convolutions(self):
        """An even kernel would shift the output; a factor that is no power of two cannot be made of strides of two."""
        if self.conv_kernel_size % 2 == 0:
            raise ValueError(
                f"`conv_kernel_size` is {self.conv_kernel_size} but must be odd; choose {self.conv_kernel_size + 1}."
            )
        factor = self.subsampling_factor
        if factor < 2 or factor & (factor - 1):
            raise ValueError(f"`subsampling_factor` is {factor} but must be 2, 4, 8 or another power of two.")

    def validate_chunks(self):
        """A chunk holds at least one frame, and only chunks have chunks before them."""
        if self.chunk_frames is not None and self.chunk_frames < 1:
            raise ValueError(f"`chunk_frames` is {self.chunk_frames} but must be at least 1, or None for no chunks.")
        has_chunks = self.chunk_frames is not None or self.training_chunk_frames is not None
        if self.left_chunks is not None and (not has_chunks or self.left_chunks < 0):
            raise ValueError(
                f"`left_chunks` is {self.left_chunks} but must be at least 0 and needs `chunk_frames` "
                f"({self.chunk_frames}) or `training_chunk_frames`; set both, or leave it None."
            )

    def validate_training_chunks(self):
        """Lengths are drawn for streams, and a stream needs convolutions that see no later frames."""
        lengths = self.training_chunk_frames
        if lengths is None:
            return
        if not lengths or any(length is not None and length < 1 for length in lengths):
            raise ValueError(
                f"`training_chunk_frames` is {lengths} but must hold numbers of at least 1, or None for no chunks; "
                "e.g. [4, 8, 16, 32, None]."
            )
        if not self.causal_convolutions:
            raise ValueError(
                f"`training_chunk_frames` is {lengths} but `causal_convolutions` is False: no chunk length would make "
                "such a model stream; set `causal_convolutions` to true."
            )

    def validate_positions(self):
        """Other kinds of positions do not exist here."""
        if self.position_embeddings_type not in POSITION_EMBEDDINGS:
            raise ValueError(
                f"`position_embeddings_type` is {self.position_embeddings_type!r} but must be one of "
                f"{', '.join(POSITION_EMBEDDINGS)}."
            )

    def validate_intermediate_ctc(self):
        """The last layer already carries the main loss."""
        for layer in self.intermediate_ctc_layers or []:
            if not 1 <= layer < self.num_hidden_layers:
                raise ValueError(
                    f"`intermediate_ctc_layers` names layer {layer} but must name layers from 1 to "
                    f"{self.num_hidden_layers - 1}; the last of the {self.num_hidden_layers} carries the main loss."
                )

    def validate_spec_augment(self):
        """A mask wider than the spectrogram would hide everything."""
        if not 0 <= self.frequency_mask_bins <= self.num_mel_bins:
            raise ValueError(
                f"`frequency_mask_bins` is {self.frequency_mask_bins} but must lie between 0 and `num_mel_bins` "
                f"({self.num_mel_bins})."
            )
        if not 0.0 <= self.time_mask_ratio <= 1.0:
            raise ValueError(f"`time_mask_ratio` is {self.time_mask_ratio} but must lie between 0 and 1.")


ConformerConfig.register_for_auto_class()
