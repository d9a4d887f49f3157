"""One-shot voice conversion: the words and the melody of one speaker in the voice of another."""

import hashlib
import inspect
import json
import math
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.utils import ModelOutput
from transformers.utils.generic import can_return_tuple

from .configuration_voice_converter import VoiceConverterConfig
from .layers_convnext import ConvNeXtBlock
from .layers_pitch import PitchTracker
from .layers_spectrogram import LogMelSpectrogram
from .layers_voice_decoder import DetailFlow, ReferenceMemory, VoiceDecoder, frame_energy, relative_octaves
from .layers_voice_recording import SourceStatistics, as_waveform, audible_level, check_waveform, level_dbfs, median_f0
from .layers_voice_stream import PRIOR_PITCH_HZ, TargetVoice, VoiceStream, WholeContent
from .layers_watermark import check_room_for_watermark, embed_watermark
from .losses_speaker import batch_hard_triplet_loss
from .losses_voice import structural_dissimilarity
from .modeling_content_encoder import ContentEncoderModel
from .modeling_speaker_encoder import SpeakerEncoderModel
from .modeling_vocoder import VocoderModel, limit
from .voice_prompt import VoicePrompt, hash_samples

SHORTEST_REFERENCE_SECONDS = 0.5
# The content of longer sources is encoded chunk by chunk: slower, but in little memory.
LONGEST_WHOLE_SECONDS = 60.0
# A second dimension as small as this means channels.
MOST_CHANNELS = 8


@dataclass
class VoiceConverterOutput(ModelOutput):
    """What training reads. Errors and similarities are of the direct prediction, also where a flow adds detail to it.

    Args:
        loss: Weighted by the configuration.
        mel_errors: (batch,), mean absolute error of the spectrogram in the source's own voice, natural log power.
        similarities: (batch,), cosine between the voice of that spectrogram and of the reference.
        converted_similarities: (batch,), the same in the voice of the item before in the batch, for the first that of
            the last; NaN where that is the same speaker.
        predicted_features: (batch, frames, num_mel_bins).
    """

    loss: torch.FloatTensor | None = None
    mel_errors: torch.FloatTensor | None = None
    similarities: torch.FloatTensor | None = None
    converted_similarities: torch.FloatTensor | None = None
    predicted_features: torch.FloatTensor | None = None


class VoiceConverterModel(PreTrainedModel):
    """A content encoder, a speaker encoder, a decoder and a vocoder: waveform and reference in, waveform out."""

    config_class = VoiceConverterConfig
    base_model_prefix = "voice_converter"
    main_input_name = "input_features"
    input_modalities = "audio"
    _supports_sdpa = True
    _supports_attention_backend = True

    def __init__(self, config: VoiceConverterConfig):
        super().__init__(config)
        self.content_encoder = ContentEncoderModel._from_config(config.content_config)
        self.speaker_encoder = SpeakerEncoderModel._from_config(config.speaker_config)
        self.vocoder = VocoderModel._from_config(config.vocoder_config)
        self.decoder = VoiceDecoder(config)
        self.flow = DetailFlow(config) if config.decoder == "flow" else None
        spectrogram = (config.hop_length, config.win_length, config.win_length, config.mel_floor)
        self.mel = LogMelSpectrogram(config.num_mel_bins, config.sampling_rate, *spectrogram)
        self.pitch_tracker = PitchTracker(config.sampling_rate, config.hop_length)
        self.post_init()
        self.train(self.training)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        if isinstance(module, (nn.Linear, nn.Conv1d)):
            init.kaiming_uniform_(module.weight, a=5**0.5)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, ConvNeXtBlock) or (
            hasattr(module, "reset_parameters") and not list(module.parameters(recurse=False))
        ):
            module.reset_parameters()
        else:
            super()._init_weights(module)

    @property
    def frozen_parts(self) -> list[nn.Module]:
        """The parts whose weights training leaves alone."""
        frozen = {self.content_encoder: self.config.freeze_content, self.speaker_encoder: self.config.freeze_speaker}
        return [self.vocoder, *(part for part, is_frozen in frozen.items() if is_frozen)]

    def train(self, mode: bool = True) -> "VoiceConverterModel":
        """Frozen parts get no gradient, and stay in evaluation mode: neither dropout nor statistics move in them."""
        super().train(mode)
        for part in self.frozen_parts:
            part.eval().requires_grad_(False)
        return self

    # ------------------------------------------------------------ training

    @can_return_tuple
    def forward(
        self,
        input_features: torch.Tensor,
        f0: torch.Tensor,
        reference_features: torch.Tensor,
        reference_f0: torch.Tensor,
        reference_attention_mask: torch.Tensor | None = None,
        content: torch.Tensor | None = None,
        reference_content: torch.Tensor | None = None,
        speaker_ids: torch.Tensor | None = None,
        content_features: torch.Tensor | None = None,
    ) -> VoiceConverterOutput:
        """Decodes segments in their own voice, as their references tell it, and in that of the item before.

        Args:
            input_features, f0: Segments, (batch, frames, num_mel_bins) and (batch, frames) in Hz, 0 = unvoiced.
            reference_features, reference_f0: Other segments of the same speakers, likewise.
            reference_attention_mask: (batch, reference frames), 1 = real; padding on the right.
            content, reference_content: (batch, ceil(frames / 2), content_size), where they were computed before.
            speaker_ids: (batch,) numbers; without them all speakers are taken for different.
            content_features: As `input_features`, which they stand for where the content encoder shall hear something
                else: perturbed speech, of whose voice it is of no use to tell anything.
        """
        if reference_attention_mask is None:
            reference_attention_mask = torch.ones_like(reference_f0, dtype=torch.long)
        if content is None:
            content = self._encode_content(input_features if content_features is None else content_features)
            reference_content = self._encode_content(reference_features, reference_attention_mask)
        median_hz = median_f0(torch.cat([reference_f0, f0], dim=1)).nan_to_num(PRIOR_PITCH_HZ)
        energy = frame_energy(input_features)
        states = self.decoder.encode_content(content, relative_octaves(f0, median_hz), f0, energy)
        is_heard = is_real = reference_attention_mask.bool()
        if self.training:
            is_heard = is_real & (torch.rand(len(f0), 1, device=f0.device) >= self.config.reference_dropout)
        memory = self._memory(reference_features, reference_f0, reference_content, median_hz, is_real, is_heard)
        voices = self._embed(reference_features, reference_attention_mask)
        predicted, hidden_states = self.decoder(states, memory, voices, f0, energy)

        loss = self._reconstruction_loss(input_features, predicted, hidden_states)
        loss = loss + self._triplet_loss(input_features, voices, speaker_ids)
        own = other = None
        if self.config.consistency_weight or not self.training:
            own = self._similarities(predicted, voices)
            loss = loss - self.config.consistency_weight * own.mean()
        if self.config.converted_consistency_weight or not self.training:
            shifted = f0 * (median_hz.roll(1, 0) / median_hz)[:, None]
            converted, _ = self.decoder(states, memory.roll(), voices.roll(1, 0), shifted, energy)
            other = self._similarities(converted, voices.roll(1, 0))
            if speaker_ids is not None:
                other = torch.where(speaker_ids != speaker_ids.roll(1, 0), other, torch.nan)
            if not other.isnan().all():
                loss = loss - self.config.converted_consistency_weight * other.nanmean()
        return VoiceConverterOutput(
            loss=loss,
            mel_errors=(predicted - input_features).abs().mean((1, 2)),
            similarities=own,
            converted_similarities=other,
            predicted_features=predicted,
        )

    def _similarities(self, features: torch.Tensor, voices: torch.Tensor) -> torch.Tensor:
        """Cosines (batch,) between the voices heard in features and those wanted, which take no gradient.

        Nor does the speaker encoder that judges: it would learn to call alike what the decoder makes.
        """
        judge, was_training = self.speaker_encoder, self.speaker_encoder.training
        weights = {name: parameter.detach() for name, parameter in judge.named_parameters()}
        judge.eval()
        heard = torch.func.functional_call(judge, weights, (features.to(self.dtype),)).speaker_embeddings
        judge.train(was_training)
        return (heard * voices.detach()).sum(-1)

    def _encode_content(self, features: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        return self.content_encoder(features.to(self.dtype), attention_mask).content

    def _embed(self, features: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        return self.speaker_encoder(features.to(self.dtype), attention_mask).speaker_embeddings

    def _reconstruction_loss(self, target, predicted, hidden_states) -> torch.Tensor:
        config = self.config
        loss = config.reconstruction_weight * (predicted - target).abs().mean()
        loss = loss + config.structure_weight * structural_dissimilarity(predicted, target)
        if self.flow is not None:
            loss = loss + config.flow_weight * self.flow.loss(target, predicted, hidden_states)
        return loss

    def _triplet_loss(self, input_features, voices, speaker_ids) -> torch.Tensor | float:
        """On the embeddings of segments and references, where the speaker encoder learns."""
        if self.config.freeze_speaker or not self.config.triplet_weight or speaker_ids is None:
            return 0.0
        embeddings = torch.cat([self._embed(input_features), voices])
        loss = batch_hard_triplet_loss(embeddings, speaker_ids.repeat(2), self.config.triplet_margin)
        return self.config.triplet_weight * loss

    def _memory(self, features, f0, content, median_hz, is_real, is_heard) -> ReferenceMemory:
        octaves = relative_octaves(f0, median_hz)
        states = self.decoder.encode_content(content, octaves, f0, frame_energy(features), is_real)
        return self.decoder.remember(states, features, is_heard)

    # ------------------------------------------------------------ conversion

    def make_prompt(
        self,
        reference: torch.Tensor | np.ndarray,
        consent: str,
        origin: str = "",
        sampling_rate: int | None = None,
    ) -> VoicePrompt:
        """Makes a voice of a recording; its tensors lie on the CPU.

        Args:
            reference: (samples,), mono, at the model's rate; at least half a second with speech in it. What comes after
                `config.max_reference_seconds` counts for nothing.
            consent: Who allowed that this voice is used, and for what.
            origin: Where the recording comes from.
            sampling_rate: Of the recording in Hz; checked where it is given.

        Raises:
            ValueError: another rate, not one channel, NaN, silence, too short, or no consent.
        """
        return self._make_prompt("reference", reference, consent, origin, sampling_rate)

    @torch.no_grad()
    def _make_prompt(self, name: str, recording, consent: str, origin: str, sampling_rate: int | None) -> VoicePrompt:
        recording = check_waveform(name, recording, sampling_rate, self.config.sampling_rate)
        seconds = len(recording) / self.config.sampling_rate
        if seconds < SHORTEST_REFERENCE_SECONDS:
            raise ValueError(
                f"`{name}` lasts {seconds:.2f} s but a voice needs {SHORTEST_REFERENCE_SECONDS} s at least, and "
                "gets better with up to 10; give a longer recording."
            )
        kept = recording[: round(self.config.max_reference_seconds * self.config.sampling_rate)].to(self.device)
        level = audible_level(name, kept)
        levelled = (kept * 10 ** ((self.config.level_dbfs - level) / 20))[None]
        features, f0 = self.mel(levelled), self.pitch_tracker(levelled)
        try:
            library_version = version("antiphon")
        except PackageNotFoundError:  # the code came with the checkpoint
            library_version = "not installed"
        return VoicePrompt(
            speaker_embeddings=self._embed(features)[0].cpu(),
            input_features=features[0].cpu(),
            f0=f0[0].cpu(),
            consent=consent,
            origin=origin,
            reference_sha256=hash_samples(recording),
            level_dbfs=level,
            encoder_sha256=self.speaker_encoder_sha256,
            library_version=library_version,
        )

    def convert(
        self,
        source: torch.Tensor | np.ndarray,
        reference: torch.Tensor | np.ndarray | VoicePrompt,
        pitch_shift_semitones: float = 0.0,
        strength: float = 1.0,
        sampling_rate: int | None = None,
        watermark: str | None = None,
    ) -> torch.Tensor:
        """Says in the voice of `reference` what `source` says, at the same pace, with the same melody and level.

        Args:
            source: (samples,), float, in [-1, 1], at the model's rate; or (batch, samples), mono recordings of one
                length. Two channels as rows look like a batch of two, and are converted one by one: average them first.
            reference: (samples,) likewise, at least half a second, or a prompt.
            pitch_shift_semitones: On top of the shift to the reference's median pitch.
            strength: 1 is the voice of the reference, 0 the source's own; between lies a mixture, for which the source
                must last half a second too.
            sampling_rate: Of the waveforms in Hz; checked where it is given.
            watermark: Key of a mark in the result that nobody hears and `layers_watermark.watermark_score` finds by the
                same key; None leaves no mark. Of 224 conversions of real speech 87 % were known by their mark, all of
                those of 6 s and more, 75 % after they went through 8 kHz; none was that had no mark.

        Returns:
            Waveform of the source's shape, on the source's device.

        Raises:
            ValueError: another rate, more channels, NaN, silence, a reference that is too short, a strength outside
                0 to 1, a prompt of another speaker encoder, or a source too short for the watermark.
        """
        prompt = reference
        if not isinstance(prompt, VoicePrompt):
            prompt = self.make_prompt(reference, "given for this conversion alone", sampling_rate=sampling_rate)
        source = as_waveform(source)
        if source.ndim == 2 and source.shape[1] > MOST_CHANNELS:
            return torch.stack(
                [
                    self.convert(item, prompt, pitch_shift_semitones, strength, sampling_rate, watermark)
                    for item in source
                ]
            )
        source = check_waveform("source", source, sampling_rate, self.config.sampling_rate)
        audible_level("source", source)
        if watermark is not None:
            check_room_for_watermark(len(source), self.config.sampling_rate)
        own = self._make_prompt("source", source, "the source itself", "", sampling_rate) if strength < 1 else None
        is_short = len(source) <= LONGEST_WHOLE_SECONDS * self.config.sampling_rate
        known = self.describe_source(source)
        stream = self._open(prompt, own, known, pitch_shift_semitones, strength, is_whole=is_short)
        converted = torch.cat([stream.push(source), stream.finish()])
        return converted if watermark is None else limit(embed_watermark(converted, watermark))

    def stream(
        self,
        prompt: VoicePrompt,
        source: VoicePrompt | None = None,
        pitch_shift_semitones: float = 0.0,
        strength: float = 1.0,
    ) -> VoiceStream:
        """Starts a conversion of speech that arrives in pieces; see `latency_seconds`.

        Args:
            prompt: The voice to convert to.
            source: The voice to convert from, whose median pitch and level are then known from the start; without it
                they are followed, and the first second may be off. A strength below 1 needs it, and so does
                `config.detail_share`, which keeps words.
            pitch_shift_semitones, strength: As in `convert`.

        Raises:
            ValueError: if the content encoder needs the whole recording, or as in `convert`.
        """
        if self.config.chunk_frames is None:
            raise ValueError(
                "`chunk_frames` of the content encoder is None: it needs the whole recording; use `convert`, or a "
                "converter whose content encoder was trained in chunks."
            )
        known = None
        if source is not None:
            own_voice = source.speaker_embeddings[None].to(self.device)
            known = SourceStatistics(source.f0_median_hz, source.level_dbfs, own_voice)
        return self._open(prompt, source, known, pitch_shift_semitones, strength, is_whole=False)

    @torch.no_grad()
    def _open(self, prompt, own, known, pitch_shift_semitones, strength, is_whole: bool) -> VoiceStream:
        """Starts a stream to a voice, from one's own where strength is below 1, of which statistics may be known."""
        if not 0.0 <= strength <= 1.0:
            raise ValueError(f"`strength` is {strength} but must lie between 0 (the source's voice) and 1.")
        if strength < 1 and own is None:
            raise ValueError(f"`strength` is {strength}, which mixes two voices; give `source` as a prompt.")
        memory, voice = self._read_prompt(prompt)
        if strength < 1:
            own_memory, own_voice = self._read_prompt(own)
            memory, voice = memory.join(own_memory, strength), slerp(own_voice, voice, strength)
        target = TargetVoice(
            memory=memory,
            speaker_embeddings=voice,
            median_hz=prompt.f0_median_hz,
            strength=strength,
            shift_octaves=pitch_shift_semitones / 12,
            features=prompt.input_features.to(self.device),
        )
        is_whole = is_whole or self.config.chunk_frames is None
        content = WholeContent(self.content_encoder) if is_whole else self.content_encoder.stream()
        return VoiceStream(self, target, known, content)

    def _read_prompt(self, prompt: VoicePrompt) -> tuple[ReferenceMemory, torch.Tensor]:
        if prompt.encoder_sha256 != self.speaker_encoder_sha256:
            raise ValueError(
                "`prompt` was made by another speaker encoder or from another spectrogram, so that its numbers mean "
                "another voice here; make it anew from the recording with this model's `make_prompt`."
            )
        most_frames = 1 + round(self.config.max_reference_seconds * self.config.frame_rate)
        widths = (len(prompt.speaker_embeddings), prompt.input_features.shape[1])
        expected = (self.config.speaker_config.speaker_size, self.config.num_mel_bins)
        if widths != expected or len(prompt.f0) > most_frames:
            raise ValueError(
                f"`prompt` has an embedding and features of widths {widths} in {len(prompt.f0)} frames but this model "
                f"expects {expected} in up to {most_frames}; make it anew with this model's `make_prompt`."
            )
        features, f0 = prompt.input_features[None].to(self.device), prompt.f0[None].to(self.device)
        median_hz = median_f0(f0).nan_to_num(PRIOR_PITCH_HZ)
        is_real = torch.ones_like(f0, dtype=torch.bool)
        memory = self._memory(features, f0, self._encode_content(features), median_hz, is_real, is_real)
        return memory, prompt.speaker_embeddings[None].to(self.device)

    @torch.no_grad()
    def describe_source(self, source: torch.Tensor) -> SourceStatistics:
        """Median pitch and level of a whole source (samples,), and whose voice it is, if it is long enough to tell."""
        source, rate = source.to(self.device), self.config.sampling_rate
        level = level_dbfs(source)
        levelled = (source * 10 ** ((self.config.level_dbfs - level) / 20))[None]
        voice = None
        if len(source) >= SHORTEST_REFERENCE_SECONDS * rate:
            voice = self._embed(self.mel(levelled[:, : round(self.config.max_reference_seconds * rate)]))
        return SourceStatistics(float(median_f0(self.pitch_tracker(levelled))[0]), level, voice)

    # ------------------------------------------------------------ what follows from the parts

    @property
    def left_context(self) -> int:
        """Frames behind that one frame of the converted spectrogram depends on, besides its content."""
        return self.decoder.left_context + (self.flow.left_context if self.flow is not None else 0)

    @property
    def analysis_lookahead_hops(self) -> int:
        """Hops that must be in after the centre of a frame before its features and pitch are known."""
        longest = max(self.config.win_length, self.pitch_tracker.window_length)
        return math.ceil(longest / 2 / self.config.hop_length)

    @property
    def latency_seconds(self) -> float:
        """Longest time from when a sample goes into a stream to when its conversion comes out, without computing."""
        if self.config.chunk_frames is None:
            return math.inf
        # The first frame of a chunk waits for the last.
        waiting = 2 * self.config.chunk_frames - 1
        _, ahead = self.vocoder.context_frames
        hops = waiting + self.config.lookahead + ahead + self.analysis_lookahead_hops
        return hops * self.config.hop_length / self.config.sampling_rate

    @property
    def speaker_encoder_sha256(self) -> str:
        """Digest of what decides an embedding: the speaker encoder's weights and settings, and what it hears."""
        config = self.config
        heard = ("sampling_rate", "hop_length", "win_length", "mel_floor", "num_mel_bins", "level_dbfs")
        settings = [(name, getattr(config, name)) for name in heard]
        settings += [
            (name, getattr(config.speaker_config, name))
            for name in inspect.get_annotations(type(config.speaker_config))
        ]
        told = json.dumps([*settings, weights_sha256(self.speaker_encoder)])
        return hashlib.sha256(told.encode()).hexdigest()


def weights_sha256(part: nn.Module) -> str:
    """Digest of a part's weights, in bfloat16 so that it is the same in both precisions."""
    digest = hashlib.sha256()
    for name, tensor in sorted(part.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().to(torch.bfloat16).view(torch.int16).numpy().tobytes())
    return digest.hexdigest()


def slerp(start: torch.Tensor, end: torch.Tensor, share: float) -> torch.Tensor:
    """The unit vector at a share of the way from `start` to `end` (batch, size) on the sphere.

    Source: Shoemake 1985, "Animating Rotation with Quaternion Curves", section 3.3.
    """
    angle = (start * end).sum(-1, keepdim=True).clamp(-1, 1).acos()
    if (angle < 1e-4).all():
        return end
    return (((1 - share) * angle).sin() * start + (share * angle).sin() * end) / angle.sin()


VoiceConverterModel.register_for_auto_class("AutoModel")
