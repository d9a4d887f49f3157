"""The vocoder: mel features to a waveform, through filtered pulses and noise and an inverse Fourier transform."""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.utils import ModelOutput

from .configuration_vocoder import LATE_BLOCKS, VocoderConfig
from .layers_convnext import ConvNeXtBlock
from .layers_excitation import Excitation, PitchClasses
from .layers_spectrogram import InverseSpectrogram, LogMelSpectrogram, Spectrogram, in_float32

# Log-mel features of speech lie about this mean, this far from it.
MEL_MEAN, MEL_DEVIATION = -6.0, 4.0
# Powers below this are as good as silence, and their square root would have too steep a slope.
LEAST_POWER = 1e-12
# exp(4) is 35 dB: no filter needs to correct the spectral envelope by more.
LARGEST_LOG_GAIN = 4.0
# An excitation counts as having at least this power in every band: what leaks into the gaps between pulses is not to be
# amplified until it fills them.
LEAST_BAND_POWER = 0.1
# Below it the waveform passes unchanged; above it is bent so that it never reaches full scale.
LIMITER_KNEE = 0.9


@dataclass
class VocoderOutput(ModelOutput):
    """What the vocoder returns.

    Args:
        waveform: (batch, hop_length * (frames - 1)), in (-1, 1).
        pitch_logits: (batch, frames, num_pitch_bins); None where the input was worked off in pieces.
        f0: (batch, frames) in Hz: the pitch of the pulses, also where nothing of them is heard; None likewise.
    """

    waveform: torch.FloatTensor | None = None
    pitch_logits: torch.FloatTensor | None = None
    f0: torch.FloatTensor | None = None


class FrameNetwork(nn.Module):
    """A linear map, ConvNeXt blocks and a linear map over frames; only the first block looks ahead.

    Args:
        input_size, hidden_size, intermediate_size, output_size: Widths.
        num_layers, kernel_size: Of the blocks.
        lookahead: Frames ahead that an output frame depends on.
        late_size: Width of frames of which later ones are not yet known, so that they enter only before the last
            `LATE_BLOCKS` blocks; 0 for none.
    """

    def __init__(
        self, input_size, hidden_size, intermediate_size, output_size, num_layers, kernel_size, lookahead, late_size=0
    ):
        super().__init__()
        self.lookbehind = num_layers * (kernel_size - 1) - lookahead
        self.late_embedding = nn.Linear(late_size, hidden_size) if late_size else None
        self.embedding = nn.Linear(input_size, hidden_size)
        self.embedding_norm = nn.LayerNorm(hidden_size, eps=1e-6)
        self.blocks = nn.ModuleList(
            ConvNeXtBlock(hidden_size, intermediate_size, kernel_size, lookahead if index == 0 else 0)
            for index in range(num_layers)
        )
        self.output_norm = nn.LayerNorm(hidden_size, eps=1e-6)
        self.head = nn.Linear(hidden_size, output_size)

    def forward(self, frames: torch.Tensor, late_frames: torch.Tensor | None = None) -> torch.Tensor:
        """Maps (batch, frames, input_size), and (batch, frames, late_size), to (batch, frames, output_size)."""
        hidden_states = self.embedding_norm(self.embedding(frames))
        for index, block in enumerate(self.blocks):
            if late_frames is not None and index == len(self.blocks) - LATE_BLOCKS:
                hidden_states = hidden_states + self.late_embedding(late_frames)
            hidden_states = block(hidden_states)
        return self.head(self.output_norm(hidden_states))


def limit(waveform: torch.Tensor) -> torch.Tensor:
    """Bends what exceeds the knee towards full scale, k + (1 - k) u / (1 + u) with u = (|x| - k) / (1 - k).

    Identity below the knee k, once continuously differentiable, and below 1 everywhere.
    """
    excess = (waveform.abs() - LIMITER_KNEE).clamp(min=0) / (1 - LIMITER_KNEE)
    bent = LIMITER_KNEE + (1 - LIMITER_KNEE) * excess / (1 + excess)
    return torch.where(excess > 0, waveform.sign() * bent, waveform)


class VocoderModel(PreTrainedModel):
    """Mel features to a waveform.

    One network reads the pitch. Pulses at that pitch, and noise, are brought to the spectral envelope of the features
    by a fixed linear map. Another network says for each frame and frequency by how much to change the gain of either,
    and the phase of the pulses. Their spectra are added and go through an inverse short-time Fourier transform. Silence
    (features at their floor) stays digital silence, and a limiter keeps the waveform within (-1, 1).

    Source: Siuzdak 2023, "Vocos". Deviations: it gets its phase from the pulses, as in Wang et al. 2019, "Neural
        source-filter waveform models", and Li et al. 2023, "HiFTNet", and learns a correction, since phase from nothing
        is what a vocoder learns last. Every convolution but the first is causal.
    """

    config_class = VocoderConfig
    base_model_prefix = "vocoder"
    main_input_name = "input_features"
    input_modalities = "audio"

    def __init__(self, config: VocoderConfig):
        super().__init__(config)
        num_frequencies = 1 + config.n_fft // 2
        self.pitch_network = FrameNetwork(
            config.num_mel_bins,
            config.pitch_hidden_size,
            3 * config.pitch_hidden_size,
            config.num_pitch_bins,
            config.num_pitch_layers,
            config.kernel_size,
            # The spectrum of the pulses reaches half a window further.
            config.lookahead - config.overlap,
        )
        self.filter_network = FrameNetwork(
            config.num_mel_bins,
            config.hidden_size,
            config.intermediate_size,
            3 * num_frequencies,
            config.num_hidden_layers,
            config.kernel_size,
            config.lookahead,
            late_size=2 * config.num_mel_bins,
        )
        self.pitch_classes = PitchClasses(config.num_pitch_bins, config.min_hz, config.max_hz)
        self.excitation = Excitation(config.sampling_rate, config.hop_length)
        self.mel = LogMelSpectrogram(
            config.num_mel_bins, config.sampling_rate, config.hop_length, config.n_fft, config.n_fft, config.mel_floor
        )
        self.spectrogram = Spectrogram(config.n_fft, config.hop_length)
        self.inverse_spectrogram = InverseSpectrogram(config.n_fft, config.hop_length)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        if isinstance(module, nn.Linear):
            init.trunc_normal_(module.weight, std=0.02)
            init.zeros_(module.bias)
        elif isinstance(module, nn.Conv1d):
            init.kaiming_uniform_(module.weight, a=5**0.5)
            init.zeros_(module.bias)
        elif isinstance(module, (ConvNeXtBlock, Excitation, InverseSpectrogram, LogMelSpectrogram, Spectrogram)):
            module.reset_parameters()
        else:
            super()._init_weights(module)

    @property
    def context_frames(self) -> tuple[int, int]:
        """How many frames behind and ahead of a hop of waveform it depends on, apart from the pulses' phase."""
        overlap = self.config.overlap
        late_behind = LATE_BLOCKS * (self.config.kernel_size - 1)
        pitch_behind = late_behind + overlap + self.pitch_network.lookbehind
        behind = max(self.filter_network.lookbehind, pitch_behind) + overlap - 1
        return behind, self.config.lookahead + overlap

    def band_power(self, mel_power: torch.Tensor) -> torch.Tensor:
        """Scales mel power, (..., num_mel_bins), so that white noise of unit power has 1 in every band."""
        return mel_power / (self.mel.mel_filters.float().sum(0) * self.spectrogram.window.float().square().sum())

    @in_float32
    def gain(self, wanted: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
        """Gain at each frequency that brings an excitation to a wanted spectral envelope.

        Each frequency takes the mean of the bands that hear it, by how much they hear it.

        Args:
            wanted, given: (batch, frames, num_mel_bins), power in each band.

        Returns:
            (batch, frames, 1 + n_fft / 2), amplitudes, 0 where nothing is wanted.
        """
        filters = self.mel.mel_filters.float()
        shares = filters / filters.sum(1, keepdim=True).clamp(min=1e-9)
        return ((wanted / given) @ shares.T).clamp(min=LEAST_POWER).sqrt() - LEAST_POWER**0.5

    def forward(self, input_features: torch.Tensor, f0: torch.Tensor | None = None) -> VocoderOutput:
        """Makes a waveform.

        Args:
            input_features: (batch, frames, num_mel_bins), natural logarithm of mel power, not normalised, as of
                `LogMelSpectrogram` with the configuration's sizes; at least two frames.
            f0: (batch, frames) in Hz, 0 where unknown: the pitch to use instead of the one that is read from the
                features. Without it, in evaluation mode and without gradients, the input is worked off in pieces
                of `config.chunk_frames`, to the same result in bounded memory.

        Raises:
            ValueError: features of another width, or less than two frames.
        """
        if input_features.ndim != 3 or input_features.shape[2] != self.config.num_mel_bins:
            raise ValueError(
                f"`input_features` has shape {tuple(input_features.shape)} but must be (batch, frames, "
                f"{self.config.num_mel_bins}): the log-mel features of {self.config.sampling_rate} Hz audio; resample "
                "other recordings first, e.g. with `processing.audio_io.resample_audio`."
            )
        if input_features.shape[1] < 2:
            raise ValueError(
                f"`input_features` has {input_features.shape[1]} frames but a waveform needs 2; pad with the mel floor."
            )
        if f0 is None and not self.training and not torch.is_grad_enabled():
            stream = self.stream()
            pieces = [stream.push(chunk) for chunk in input_features.split(self.config.chunk_frames, dim=1)]
            return VocoderOutput(waveform=torch.cat([*pieces, stream.finish()], dim=1))
        pitch_logits = self.read_pitch(input_features)
        own = self.pitch_classes.decode(pitch_logits.detach())
        f0 = own if f0 is None else torch.where(f0 > 0, f0, own)
        waveform = self.synthesize(input_features, f0, self.excitation.phases(f0))
        return VocoderOutput(waveform=waveform, pitch_logits=pitch_logits, f0=f0)

    def read_pitch(self, input_features: torch.Tensor) -> torch.Tensor:
        """Returns a logit for each class of pitch, (batch, frames, num_pitch_bins), float32."""
        return self.pitch_network(self._scale(input_features)).float()

    def _scale(self, input_features: torch.Tensor) -> torch.Tensor:
        """Brings features to about zero mean and unit deviation, in the precision of the networks."""
        return ((input_features - MEL_MEAN) / MEL_DEVIATION).to(self.dtype)

    def synthesize(
        self, input_features: torch.Tensor, f0: torch.Tensor, phases: torch.Tensor, first_sample: int = 0
    ) -> torch.Tensor:
        """Filters pulses and noise.

        Args:
            input_features: (batch, frames, num_mel_bins).
            f0: (batch, frames) in Hz.
            phases: (batch, frames) of the pulses, in turns.
            first_sample: Place of the first frame in the whole, for the noise.

        Returns:
            (batch, hop_length * (frames - 1)).
        """
        pulses = self.excitation.pulses(f0, phases)
        noise = self.excitation.noise(*pulses.shape, first_sample)
        excitation = self.spectrogram(torch.cat([pulses, noise]))
        given = self.band_power(self.mel.power(excitation)).clamp(min=LEAST_BAND_POWER)
        (pulses, noise), (pulse_power, noise_power) = excitation.chunk(2), given.chunk(2)
        late_frames = torch.cat([pulse_power, noise_power], dim=-1).log().to(self.dtype)
        filters = self.filter_network(self._scale(input_features), late_frames).float()
        pulse_gain, noise_gain, phase = filters.chunk(3, dim=-1)
        wanted = self.band_power((input_features.float().exp() - self.config.mel_floor).clamp(min=0))
        pulse_gain = self.gain(wanted, pulse_power) * pulse_gain.clamp(max=LARGEST_LOG_GAIN).exp()
        noise_gain = self.gain(wanted, noise_power) * noise_gain.clamp(max=LARGEST_LOG_GAIN).exp()
        spectrum = torch.polar(pulse_gain, phase) * pulses + noise_gain * noise
        return limit(self.inverse_spectrogram(spectrum))

    def stream(self) -> "VocoderStream":
        """Starts a stream; its pieces, joined, equal the waveform of the whole."""
        return VocoderStream(self)


class VocoderStream:
    """A waveform made while its features arrive; from `VocoderModel.stream`.

    Every piece is made together with the frames that it depends on, and only the phase of the pulses is carried over.

    Args:
        model: In evaluation mode.
    """

    def __init__(self, model: VocoderModel):
        if model.training:
            raise ValueError("`model` is in training mode, whose noise never repeats; call `model.eval()` first.")
        self.model = model
        self.behind, self.ahead = model.context_frames
        self.features = None
        self.first_frame = 0
        self.next_hop = 0
        self.anchor = None
        self.finished = False

    @torch.no_grad()
    def push(self, input_features: torch.Tensor) -> torch.Tensor:
        """Takes (batch, frames, num_mel_bins) and returns what is complete by now, (batch, samples), perhaps nothing.

        Raises:
            ValueError: the stream is finished.
        """
        if self.finished:
            raise ValueError("This stream is finished; start another with `stream()`.")
        self.features = input_features if self.features is None else torch.cat([self.features, input_features], dim=1)
        return self._make(self.first_frame + self.features.shape[1] - self.ahead)

    @torch.no_grad()
    def finish(self) -> torch.Tensor:
        """Ends the features and returns the last of the waveform, (batch, samples)."""
        if self.finished or self.features is None:
            raise ValueError("There is nothing to finish; push features first, and finish once.")
        self.finished = True
        return self._make(self.first_frame + self.features.shape[1] - 1)

    def _make(self, end_hop: int) -> torch.Tensor:
        """Makes the hops from `next_hop` to before `end_hop`, and forgets the features that no later hop needs."""
        if end_hop <= self.next_hop:
            return self.features.new_zeros(len(self.features), 0)
        model, hop_length = self.model, self.model.config.hop_length
        f0 = model.pitch_classes.decode(model.read_pitch(self.features))
        phases = model.excitation.phases(f0)
        if self.anchor is not None:
            anchor_place, anchor_phase = self.anchor
            phases = phases + (anchor_phase - phases[:, anchor_place - self.first_frame])[:, None]
        waveform = model.synthesize(self.features, f0, phases, self.first_frame * hop_length)
        start, end = (hop_length * (hop - self.first_frame) for hop in (self.next_hop, end_hop))

        first_frame = max(0, end_hop - self.behind)
        # The first frame whose pitch the next piece reads as the whole would.
        anchor_place = first_frame + (model.pitch_network.lookbehind if first_frame else 0)
        self.anchor = (anchor_place, phases[:, anchor_place - self.first_frame])
        self.features = self.features[:, first_frame - self.first_frame :]
        self.first_frame, self.next_hop = first_frame, end_hop
        return waveform[:, start:end]


VocoderModel.register_for_auto_class("AutoModel")
