"""Configuration of the vocoder."""

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

# Blocks of the filter network that know the excitation.
LATE_BLOCKS = 2


@strict
class VocoderConfig(PreTrainedConfig):
    """Everything that decides the shape of the vocoder.

    The tiny one, for tests: `hidden_size=32, intermediate_size=64, num_hidden_layers=2, pitch_hidden_size=16,
    num_pitch_layers=1`.

    Args:
        num_mel_bins: Mel bands of the input features.
        sampling_rate: Samples per second of the waveform, in Hz.
        hop_length: Samples from one frame to the next.
        n_fft: Samples of the Fourier transforms and of their windows; a multiple of twice `hop_length`.
        mel_floor: Smallest mel power of the input features; at it there is silence.
        hidden_size, intermediate_size, num_hidden_layers: Width, inner width and number of the ConvNeXt blocks.
        pitch_hidden_size, num_pitch_layers: Width and number of the blocks that read the pitch from the features.
        num_pitch_bins, min_hz, max_hz: The pitch is one of so many classes, at equal musical distances in this range.
        kernel_size: Frames under the depthwise convolution of each block.
        lookahead: Feature frames ahead of a frame of the output's spectrum that it depends on; everything else lies
            behind, so this and the transform's own half window are the delay of a stream.
        chunk_frames: Without gradients, longer inputs are worked off in pieces of so many frames, to the same result.

    Source: Siuzdak 2023, "Vocos: Closing the gap between time-domain and Fourier-based neural vocoders for high-quality
        audio synthesis". Deviations: see `VocoderModel`.
    """

    model_type = "antiphon_vocoder"

    num_mel_bins: int = 80
    sampling_rate: int = 16_000
    hop_length: int = 160
    n_fft: int = 640
    mel_floor: float = 1e-6
    hidden_size: int = 256
    intermediate_size: int = 768
    num_hidden_layers: int = 8
    pitch_hidden_size: int = 128
    num_pitch_layers: int = 4
    num_pitch_bins: int = 120
    min_hz: float = 55.0
    max_hz: float = 550.0
    kernel_size: int = 7
    lookahead: int = 3
    chunk_frames: int = 1000

    @property
    def overlap(self) -> int:
        """Frames on either side that half a window reaches."""
        return self.n_fft // (2 * self.hop_length)

    def validate_lookahead(self):
        """The spectrum of the excitation needs the pitch half a window ahead."""
        if not self.overlap <= self.lookahead < self.kernel_size:
            raise ValueError(
                f"`lookahead` is {self.lookahead} but must lie between n_fft / (2 hop_length) ({self.overlap}) and "
                f"`kernel_size` - 1 ({self.kernel_size - 1})."
            )

    def validate_blocks(self):
        """The excitation enters before the last blocks."""
        if self.num_hidden_layers < LATE_BLOCKS:
            raise ValueError(f"`num_hidden_layers` is {self.num_hidden_layers} but must be at least {LATE_BLOCKS}.")

    def validate_pitch_range(self):
        """Harmonics must fit below half the sampling rate."""
        if not 0 < self.min_hz < self.max_hz < self.sampling_rate / 4:
            raise ValueError(
                f"`min_hz` is {self.min_hz} and `max_hz` is {self.max_hz}, expected 0 < min_hz < max_hz < "
                f"{self.sampling_rate / 4:g} (a quarter of the sampling rate)."
            )


VocoderConfig.register_for_auto_class()
