"""Configuration of the voice converter and of the parts that it is composed of."""

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from .configuration_content_encoder import ContentEncoderConfig
from .configuration_speaker_encoder import SpeakerEncoderConfig
from .configuration_vocoder import VocoderConfig

DECODERS = ("direct", "flow")


@strict
class VoiceConverterConfig(PreTrainedConfig):
    """Everything that decides the shape, the training objective and the latency of a voice converter.

    The defaults make a decoder of about 5 million parameters. The tiny one, for tests, has about 60 thousand:
    `hidden_size=32, intermediate_size=64, num_content_layers=1, num_hidden_layers=2, num_reference_layers=1`.

    Args:
        content_config, speaker_config, vocoder_config: Of the parts.
        sampling_rate, hop_length, win_length, mel_floor: Of the log-mel spectrogram that all parts read; rate in Hz,
            lengths in samples.
        level_dbfs: Level to which sources and references are brought, RMS relative to full scale.
        decoder: "direct" predicts the spectrogram, "flow" adds detail to that prediction by flow matching. Errors and
            similarities in training are of the prediction in both cases; what flows is heard in conversions alone.
        hidden_size, intermediate_size, kernel_size: Of the ConvNeXt layers.
        num_content_layers: Layers before the attention to the reference; they know no voice.
        num_hidden_layers: Layers after it, conditioned on the speaker embedding.
        num_reference_layers: Layers that encode the reference's spectrogram.
        num_attention_heads: Of the attention to the reference.
        lookahead: Frames to come that the decoder hears in all.
        min_pitch_hz, num_pitch_bins, pitch_bins_per_octave: Grid on which f0 is embedded.
        use_pitch: Whether the decoder is told the pitch; without it the melody is what the content lets guess.
        reference_dropout: How often training takes the reference away from the attention.
        flow_layers, flow_steps: Layers of the velocity network, and Euler steps from noise to detail.
        flow_scale: Natural log power that one unit of the flow stands for.
        flow_temperature: Deviation of the noise in conversion.
        flow_seed: Of that noise.
        reconstruction_weight, structure_weight, flow_weight: Of the losses on the spectrogram: absolute error,
            structural dissimilarity, flow matching.
        consistency_weight, converted_consistency_weight: Of the losses on the speaker embedding of what is decoded in
            the source's own voice, and in that of another speaker of the batch.
        triplet_weight, triplet_margin: Of the triplet loss of a speaker encoder that learns.
        freeze_content, freeze_speaker: Whether these parts keep their weights in training; the vocoder always does.
        spectrum_correction: Share, 0 to 1, of the way from mean and deviation of each band of decoded speech to
            those of the reference, which a conversion goes as they become known: see `SpectrumMatch`.
        detail_share: Share, 0 to 1, of what the decoder misses of a source when it says it in the source's own voice,
            which a conversion adds: the words that the content lost. A stream must know the source for that.
        max_reference_seconds: Of a longer reference, what comes later is not kept.
        layer_norm_eps: Added to the variance in layer normalisation.

    Source: Siuzdak 2023 for ConvNeXt over time; Baas et al. 2023, "Voice Conversion With Just Nearest Neighbors", for
        the reference as a memory, here with learned attention; Lipman et al. 2023, "Flow Matching for Generative
        Modeling".
    """

    model_type = "antiphon_voice_converter"
    sub_configs_defaults = {
        "content_config": ContentEncoderConfig,
        "speaker_config": SpeakerEncoderConfig,
        "vocoder_config": VocoderConfig,
    }

    content_config: PreTrainedConfig | dict | None = None
    speaker_config: PreTrainedConfig | dict | None = None
    vocoder_config: PreTrainedConfig | dict | None = None
    sampling_rate: int = 16_000
    hop_length: int = 160
    win_length: int = 640
    mel_floor: float = 1e-6
    level_dbfs: float = -27.0
    decoder: str = "direct"
    hidden_size: int = 256
    intermediate_size: int = 768
    kernel_size: int = 7
    num_content_layers: int = 2
    num_hidden_layers: int = 6
    num_reference_layers: int = 2
    num_attention_heads: int = 4
    lookahead: int = 1
    min_pitch_hz: float = 50.0
    num_pitch_bins: int = 96
    pitch_bins_per_octave: int = 24
    use_pitch: bool = True
    reference_dropout: float = 0.1
    flow_layers: int = 4
    flow_steps: int = 8
    flow_scale: float = 1.0
    flow_temperature: float = 0.7
    flow_seed: int = 0
    reconstruction_weight: float = 1.0
    structure_weight: float = 0.5
    flow_weight: float = 1.0
    consistency_weight: float = 0.1
    converted_consistency_weight: float = 0.1
    triplet_weight: float = 0.0
    triplet_margin: float = 0.3
    freeze_content: bool = True
    freeze_speaker: bool = True
    spectrum_correction: float = 0.0
    detail_share: float = 0.0
    max_reference_seconds: float = 30.0
    layer_norm_eps: float = 1e-5

    @property
    def num_mel_bins(self) -> int:
        """Mel bands, those of the vocoder."""
        return self.vocoder_config.num_mel_bins

    @property
    def chunk_frames(self) -> int | None:
        """Frames of content that come out of a stream together; None where the content needs the whole recording."""
        return self.content_config.encoder_config.chunk_frames

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.num_attention_heads

    @property
    def frame_rate(self) -> float:
        """Frames of the spectrogram per second."""
        return self.sampling_rate / self.hop_length

    def validate_parts(self):
        """All parts read one spectrogram."""
        bins = {name: getattr(self, f"{name}_config").num_mel_bins for name in ("content", "speaker", "vocoder")}
        if len(set(bins.values())) > 1:
            raise ValueError(f"`num_mel_bins` of the parts are {bins} but must be equal; train them on the same.")
        factor = self.content_config.encoder_config.subsampling_factor
        if factor != 2:
            raise ValueError(
                f"`subsampling_factor` of the content encoder is {factor} but must be 2: a frame of content stands for "
                "two of the spectrogram."
            )
        own = {name: getattr(self, name) for name in ("sampling_rate", "hop_length", "mel_floor")}
        own["n_fft"] = self.win_length
        for name, value in own.items():
            if getattr(self.vocoder_config, name) != value:
                raise ValueError(
                    f"`{name}` of the vocoder is {getattr(self.vocoder_config, name)} but the converter's spectrogram "
                    f"has {value}; give the converter the vocoder's."
                )

    def validate_stream(self):
        """Chunks promise a stream, which convolutions that see later frames cannot keep."""
        if self.chunk_frames is not None and not self.content_config.encoder_config.causal_convolutions:
            raise ValueError(
                f"`chunk_frames` of the content encoder is {self.chunk_frames} but `causal_convolutions` is false; "
                "set it, or `chunk_frames` to None."
            )

    def validate_decoder(self):
        """Names and shapes that there are."""
        if self.decoder not in DECODERS:
            raise ValueError(f"`decoder` is {self.decoder!r} but must be one of {', '.join(DECODERS)}.")
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"`hidden_size` is {self.hidden_size} but must be a multiple of `num_attention_heads` "
                f"({self.num_attention_heads})."
            )
        layers = self.num_content_layers + self.num_hidden_layers
        if not 0 <= self.lookahead <= layers:
            raise ValueError(
                f"`lookahead` is {self.lookahead} but each of the {layers} layers looks one frame ahead at most; "
                f"choose 0 to {layers}."
            )

    def validate_shares(self):
        """Shares lie between nothing and all."""
        for name in ("reference_dropout", "spectrum_correction", "detail_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"`{name}` is {getattr(self, name)} but must lie between 0 and 1.")


VoiceConverterConfig.register_for_auto_class()
