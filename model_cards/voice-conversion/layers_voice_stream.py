"""Voice conversion of speech that arrives in pieces: what is remembered between them."""

import math
from dataclasses import dataclass

import torch

from .layers_spectrum_match import SpectrumMatch
from .layers_voice_decoder import ReferenceMemory, frame_energy
from .layers_voice_recording import SourceStatistics, as_waveform
from .modeling_vocoder import limit

# Frames decoded together, so that a long recording needs no more memory than a short one.
BLOCK_FRAMES = 2000
# What is assumed of a source of which nothing is known, and how many frames of evidence the assumption is worth.
PRIOR_PITCH_HZ, PRIOR_FRAMES = 150.0, 10
# Quieter stretches say nothing of the level at which somebody speaks.
ACTIVE_DBFS = -50.0


@dataclass
class TargetVoice:
    """How a conversion shall sound.

    Args:
        memory: Of the reference.
        speaker_embeddings: (1, speaker_size), unit norm.
        median_hz: Where the median of f0 goes; NaN leaves it where it is.
        strength: Share of the way to that median.
        shift_octaves: On top of it.
        features: (frames, num_mel_bins), log-mel of the reference.
    """

    memory: ReferenceMemory
    speaker_embeddings: torch.Tensor
    median_hz: float
    strength: float
    shift_octaves: float
    features: torch.Tensor


class RunningPitch:
    """Geometric mean of the f0 heard so far, in place of a median that only the end would tell."""

    def __init__(self):
        self.total, self.count = PRIOR_FRAMES * math.log2(PRIOR_PITCH_HZ), PRIOR_FRAMES

    def update(self, f0: torch.Tensor) -> torch.Tensor:
        """Takes f0 (frames,) and returns the mean after each frame, in Hz, (frames,)."""
        voiced = f0 > 0
        totals = self.total + torch.where(voiced, f0.double().clamp(min=1.0).log2(), 0.0).cumsum(0)
        counts = self.count + voiced.double().cumsum(0)
        if len(f0):
            self.total, self.count = float(totals[-1]), float(counts[-1])
        return (2 ** (totals / counts)).float()


class Leveller:
    """Brings a source to the model's level, and what was made of it back.

    Args:
        target_dbfs: The model's level.
        source_dbfs: The source's, or None to follow what was heard so far.
        hop_length: Samples for which one gain is found; gains are interpolated between.
    """

    def __init__(self, target_dbfs: float, source_dbfs: float | None, hop_length: int):
        self.target_power, self.hop_length = 10 ** (target_dbfs / 10), hop_length
        self.fixed_gain = None if source_dbfs is None else 10 ** ((target_dbfs - source_dbfs) / 20)
        self.power, self.count = PRIOR_FRAMES * self.target_power, PRIOR_FRAMES
        self.last_gain = 1.0
        self.gains = []

    def apply(self, samples: torch.Tensor) -> torch.Tensor:
        """Scales samples (samples,), whole hops of them."""
        if self.fixed_gain is not None:
            return samples * self.fixed_gain
        gains = self._follow(samples)
        self.gains.append(gains)
        return samples * gains

    def undo(self, samples: torch.Tensor) -> torch.Tensor:
        """Scales back the next samples (samples,) in the order in which they were taken."""
        if self.fixed_gain is not None:
            return samples / self.fixed_gain
        if not len(samples):
            return samples
        gains = torch.cat(self.gains)
        self.gains = [gains[len(samples) :]]
        return samples / gains[: len(samples)]

    def _follow(self, samples: torch.Tensor) -> torch.Tensor:
        powers = samples.unflatten(0, (-1, self.hop_length)).square().mean(1).double()
        active = powers > 10 ** (ACTIVE_DBFS / 10)
        totals = self.power + torch.where(active, powers, 0.0).cumsum(0)
        counts = self.count + active.double().cumsum(0)
        self.power, self.count = float(totals[-1]), float(counts[-1])
        ends = (self.target_power / (totals / counts)).sqrt().float()
        starts = torch.cat([ends.new_tensor([self.last_gain]), ends[:-1]])
        self.last_gain = float(ends[-1])
        steps = torch.arange(1, self.hop_length + 1, device=ends.device) / self.hop_length
        return torch.lerp(starts[:, None], ends[:, None], steps).flatten()


class FrameAnalysis:
    """Log-mel features and f0 of samples that arrive in pieces.

    Args:
        model: With `mel` and `pitch_tracker`.
    """

    def __init__(self, model):
        self.model = model
        self.hop_length = model.config.hop_length
        self.margin = model.analysis_lookahead_hops
        self.samples = torch.zeros(0, device=model.device)
        self.first_frame = 0
        self.next_frame = 0

    def push(self, samples: torch.Tensor, is_last: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Takes whole hops of samples; returns the features (frames, bins) and f0 (frames,) complete by now."""
        self.samples = torch.cat([self.samples, samples])
        # A recording of n hops has n + 1 frames; the last need what lies behind its end, which is nothing.
        known = self.first_frame + len(self.samples) // self.hop_length + 1
        end = known if is_last else known - self.margin
        if end <= self.next_frame:
            return samples.new_zeros(0, self.model.config.num_mel_bins), samples.new_zeros(0)
        wanted = slice(self.next_frame - self.first_frame, end - self.first_frame)
        features = self.model.mel(self.samples[None])[0, wanted]
        f0 = self.model.pitch_tracker(self.samples[None])[0, wanted]
        self.next_frame = end
        first_frame = max(0, end - self.margin)
        self.samples = self.samples[(first_frame - self.first_frame) * self.hop_length :]
        self.first_frame = first_frame
        return features, f0


class WholeContent:
    """Stands for a stream of a content encoder and encodes everything at once, at the end: faster than in chunks."""

    def __init__(self, content_encoder):
        self.content_encoder = content_encoder
        self.features = []

    def push(self, input_features: torch.Tensor) -> torch.Tensor:
        self.features.append(input_features)
        return input_features.new_zeros(1, 0, self.content_encoder.config.content_size)

    def finish(self) -> torch.Tensor:
        return self.content_encoder(torch.cat(self.features, dim=1)).content


class VoiceStream:
    """Speech in one voice, piece by piece, to speech in another; from `VoiceConverterModel.stream`.

    Whatever the sizes of the pieces, the samples are the same: those of `convert` where it knows the same of the
    source.

    Args:
        model: A `VoiceConverterModel` in evaluation mode.
        target: The voice to convert to.
        source: What is known of the source; None follows its pitch and level as they are heard.
        content: A stream of the content encoder.
    """

    def __init__(self, model, target: TargetVoice, source: SourceStatistics | None, content):
        if model.training:
            raise ValueError("`model` is in training mode; call `model.eval()` before converting.")
        self.model, self.target, self.source, self.content_stream = model, target, source, content
        config = model.config
        self.leveller = Leveller(config.level_dbfs, source and source.level_dbfs, config.hop_length)
        self.running_pitch = RunningPitch()
        self.analysis = FrameAnalysis(model)
        self.vocoder = model.vocoder.stream()
        self.pending = torch.zeros(0, device=model.device)
        self.num_samples = 0
        # Where the samples come from, and go to.
        self.source_device = model.device
        # From frame `first_frame` on: content at half the rate; f0, the speaker's median and energy as rows; features.
        self.content = torch.zeros(1, 0, config.content_config.content_size, device=model.device, dtype=model.dtype)
        self.frames = torch.zeros(3, 0, device=model.device)
        self.features = torch.zeros(1, 0, config.num_mel_bins, device=model.device)
        self.first_frame = 0
        self.next_frame = 0
        self.match_spectrum = SpectrumMatch(
            target.features, target.strength * config.spectrum_correction, math.log(config.mel_floor)
        )
        self.finished = False

    @torch.no_grad()
    def push(self, samples: torch.Tensor) -> torch.Tensor:
        """Takes samples (samples,) at the model's rate and returns those converted by now, perhaps none.

        What is returned lies on the device on which the samples lie.

        Raises:
            ValueError: the stream is finished, or the samples are not (samples,).
        """
        samples = as_waveform(samples).float()
        if self.finished:
            raise ValueError("This stream is finished; start another with `stream()`.")
        if samples.ndim != 1:
            raise ValueError(
                f"`samples` has shape {tuple(samples.shape)} but must be (samples,); average the channels first."
            )
        self.num_samples += len(samples)
        self.source_device = samples.device
        self.pending = torch.cat([self.pending, samples.to(self.model.device)])
        block = BLOCK_FRAMES * self.model.config.hop_length
        whole = len(self.pending) // self.model.config.hop_length * self.model.config.hop_length
        hops, self.pending = self.pending[:whole], self.pending[whole:]
        pieces = [self._convert(piece, is_last=False) for piece in hops.split(block) if len(piece)]
        return torch.cat(pieces) if pieces else samples.new_zeros(0)

    @torch.no_grad()
    def finish(self) -> torch.Tensor:
        """Ends the source and returns the rest, so that all pieces together are as long as the source."""
        if self.finished or not self.num_samples:
            raise ValueError("There is nothing to finish; push samples first, and finish once.")
        self.finished = True
        # Zeros fill the last hop; what they become is cut off.
        missing = -len(self.pending) % self.model.config.hop_length
        hops = torch.nn.functional.pad(self.pending, (0, missing))
        rest = self._convert(hops, is_last=True)
        return rest[: len(rest) - missing] if missing else rest

    def _convert(self, samples: torch.Tensor, is_last: bool) -> torch.Tensor:
        levelled = self.leveller.apply(samples) if len(samples) else samples
        features, f0 = self.analysis.push(levelled, is_last)
        if len(features):
            self._listen(features, f0)
        if is_last:
            self.content = torch.cat([self.content, self.content_stream.finish()], dim=1)
        waveforms = [self.vocoder.push(block) for block in self._decode(is_last)]
        if is_last:
            waveforms.append(self.vocoder.finish())
        waveform = torch.cat(waveforms, dim=1)[0] if waveforms else samples.new_zeros(0)
        return limit(self.leveller.undo(waveform)).to(self.source_device)

    def _listen(self, features: torch.Tensor, f0: torch.Tensor) -> None:
        """Keeps content, pitch and energy of new frames."""
        content = self.content_stream.push(features[None].to(self.model.dtype))
        self.content = torch.cat([self.content, content], dim=1)
        if self.source is None:
            median = self.running_pitch.update(f0)
        else:
            median = torch.full_like(f0, self.source.median_hz)
        # Where nothing is voiced no median is needed.
        rows = torch.stack([f0, median.nan_to_num(PRIOR_PITCH_HZ), frame_energy(features)])
        self.frames = torch.cat([self.frames, rows], dim=1)
        self.features = torch.cat([self.features, features[None]], dim=1)

    def _decode(self, is_last: bool):
        """Yields blocks of features (1, frames, num_mel_bins) that are complete by now."""
        model = self.model
        # Content stands for two frames each; the last one perhaps for one.
        known = min(self.first_frame + 2 * self.content.shape[1], self.first_frame + self.frames.shape[1])
        end = known if is_last else known - model.config.lookahead
        while self.next_frame < end:
            stop = min(end, self.next_frame + BLOCK_FRAMES)
            heard = min(known, stop + model.config.lookahead) - self.first_frame
            features, hidden_states = self._decode_frames(heard)
            if model.flow is not None:
                features = model.flow(features, hidden_states, self.first_frame)
            wanted = slice(self.next_frame - self.first_frame, stop - self.first_frame)
            self.next_frame = stop
            self._forget(max(0, stop - model.left_context) // 2 * 2)
            yield self.match_spectrum(features[:, wanted])

    def _decode_frames(self, num_frames: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Decodes the first frames of those that are remembered."""
        f0, median, energy = self.frames[:, None, :num_frames]
        content = self.content[:, : (num_frames + 1) // 2]
        octaves = torch.where(f0 > 0, (f0.clamp(min=1.0) / median).log2(), 0.0)
        decoder, target = self.model.decoder, self.target
        states = decoder.encode_content(content, octaves, f0, energy)
        shift = target.shift_octaves
        if not math.isnan(target.median_hz):
            shift = shift + target.strength * (target.median_hz / median).log2()
        features, hidden_states = decoder(states, target.memory, target.speaker_embeddings, f0 * 2**shift, energy)
        if self.adds_detail:
            own, _ = decoder(states, ReferenceMemory.nothing(states), self.source.speaker_embeddings, f0, energy)
            missed = self.features[:, :num_frames] - own
            features = features + self.model.config.detail_share * missed
            features = features.clamp(min=math.log(self.model.config.mel_floor))
        return features, hidden_states

    @property
    def adds_detail(self) -> bool:
        """Whether what the decoder misses of the source is known and wanted."""
        is_known = self.source is not None and self.source.speaker_embeddings is not None
        return is_known and self.model.config.detail_share > 0

    def _forget(self, first_frame: int) -> None:
        """Drops what no later frame depends on; `first_frame` is even."""
        gone = first_frame - self.first_frame
        self.content = self.content[:, gone // 2 :]
        self.frames, self.features = self.frames[:, gone:], self.features[:, gone:]
        self.first_frame = first_frame
