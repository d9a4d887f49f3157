"""Recordings and MIDI files of a piano on one lattice of time and pitch, with hand-crafted descriptors beside them."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import torch
from transformers import BatchFeature, FeatureExtractionMixin

from .audio_descriptors import audio_descriptors
from .audio_midi import Performance, read_midi
from .descriptors_performance import alignment_descriptors, performance_descriptors
from .midi_alignment import chords

LOWEST_FREQUENCY = 27.5  # Hz, A0, the lowest key
LOWEST_PITCH = 21  # its MIDI number
BINS_PER_OCTAVE = 12
ROLL_CHANNELS = 3  # velocity at the onset, key held, string sounding
MAX_SECONDS = 300.0
GROUPS = ("audio", "performance", "alignment", "score", "deviation")


class PianoFeatureExtractor(FeatureExtractionMixin):
    """Turns a performance on a piano into tensors: from its recording, its MIDI file, or both, and perhaps the score.

    Spectrogram and piano roll share frames and bins: frame t lies t * hop_length samples after the first sound, bin b
    is the key b semitones above the lowest. Levels are absolute, since loudness is part of what is judged.

    Args:
        sampling_rate: Of the recordings, in Hz.
        hop_length: Samples from one frame to the next.
        n_fft: Samples of the Hann window and the Fourier transform.
        num_pitch_bins: Semitones from A0 on; a multiple of 12.
        power_floor: Smallest power before the natural logarithm.
        mean, standard_deviation: Of the log power in general, which bring it near 0 and 1.
        silence_decibels: What lies so far below the loudest frame before the first and after the last sound is cut off.
        passages: What training knows of a passage, by the `score_fingerprint` of its score: the mean `percepts` and
            `descriptors` of its performances.

    Source: Brown 1991, "Calculation of a constant Q spectral transform", for semitone bins; here triangular filters on
        one Fourier transform, never narrower than its resolution, which in the lowest octaves blurs neighbours.
    """

    model_input_names = [
        "input_features",
        "attention_mask",
        "roll_features",
        "roll_attention_mask",
        "descriptors",
        "passage_percepts",
        "passage_descriptors",
    ]

    def __init__(
        self,
        sampling_rate: int = 16_000,
        hop_length: int = 400,
        n_fft: int = 2048,
        num_pitch_bins: int = 96,
        power_floor: float = 1e-10,
        mean: float = -17.0,
        standard_deviation: float = 4.0,
        silence_decibels: float = 50.0,
        passages: dict[str, dict[str, list[float | None]]] | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.sampling_rate = sampling_rate
        self.hop_length = hop_length
        self.n_fft = n_fft
        self.num_pitch_bins = num_pitch_bins
        self.power_floor = power_floor
        self.mean = mean
        self.standard_deviation = standard_deviation
        self.silence_decibels = silence_decibels
        self.passages = passages or {}
        if num_pitch_bins % BINS_PER_OCTAVE:
            raise ValueError(f"`num_pitch_bins` is {num_pitch_bins} but must be a multiple of 12, whole octaves.")
        highest = LOWEST_FREQUENCY * 2 ** (num_pitch_bins / BINS_PER_OCTAVE)
        if highest > sampling_rate / 2:
            raise ValueError(
                f"`num_pitch_bins` is {num_pitch_bins}, which reaches {highest:.0f} Hz, but `sampling_rate` is "
                f"{sampling_rate} Hz; use fewer octaves or a rate above {2 * highest:.0f} Hz."
            )

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.sampling_rate / self.hop_length

    @property
    def descriptor_groups(self) -> dict[str, list[str]]:
        """By group, the names of the descriptors, in the order of `descriptors`."""
        return {group: list(names) for group, names in _descriptor_names(self.num_pitch_bins).items()}

    @property
    def descriptor_names(self) -> list[str]:
        """Names of all descriptors, in order, each after its group: `performance.velocity_mean`."""
        return [f"{group}.{name}" for group, names in self.descriptor_groups.items() for name in names]

    def __call__(
        self,
        audio: np.ndarray | torch.Tensor | Sequence | None = None,
        midi=None,
        score=None,
        sampling_rate: int | None = None,
        return_tensors: str | None = "pt",
    ) -> BatchFeature:
        """Computes the inputs of one performance or of a batch; what is not given is missing.

        Args:
            audio: Mono waveform (samples,), float in [-1, 1], or a list of them; an item of a list may be None.
            midi: Path, bytes or `Performance`, or a list of them, likewise.
            score: The score as the performance of a machine, likewise; it is used beside `midi`, for what was played
                against what is written, and alone, for what is written.
            sampling_rate: Of `audio`, in Hz.
            return_tensors: "pt" or "np".

        Returns:
            `input_features` (batch, frames, num_pitch_bins) and `attention_mask` (batch, frames) where any item has
            audio; `roll_features` (batch, frames, 3 * num_pitch_bins) and `roll_attention_mask` where any has MIDI;
            `descriptors` (batch, descriptors), NaN where their source is missing; and where the extractor knows
            passages, `passage_percepts` (batch, percepts) and `passage_descriptors`, NaN for unknown ones.

        Raises:
            ValueError: for nothing at all, another sampling rate, a recording that is silent or broken, or too long a
                recording or MIDI file.
            MidiError: for a MIDI file that cannot be read.
        """
        items = _as_batch(audio, midi, score)
        if any(item["audio"] is not None for item in items) and sampling_rate != self.sampling_rate:
            raise ValueError(
                f"`sampling_rate` is {sampling_rate} but this extractor expects {self.sampling_rate} Hz; resample "
                "first, e.g. with `processing.audio_io.resample_audio`."
            )
        spectrograms, rolls, descriptors = zip(*(self._item(**item) for item in items))
        outputs = {
            **_padded("input_features", "attention_mask", spectrograms),
            **_padded("roll_features", "roll_attention_mask", rolls),
            "descriptors": torch.stack(descriptors),
            **self.known_passages([item["score"] for item in items]),
        }
        if return_tensors != "pt":
            outputs = {name: tensor.numpy() for name, tensor in outputs.items()}
        return BatchFeature(outputs, tensor_type=return_tensors)

    def _item(self, audio, midi, score) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor]:
        """Spectrogram, roll and descriptors of one performance."""
        described: dict[str, Mapping[str, float]] = {}
        spectrogram = roll = None
        performance = _as_performance(midi)
        written = _as_performance(score)
        if audio is not None:
            log_power = self.log_power(torch.as_tensor(audio, dtype=torch.float32))
            described["audio"] = audio_descriptors(log_power, self.frame_rate)
            spectrogram = (log_power - self.mean) / self.standard_deviation
        if performance is not None:
            roll = self.roll(performance)
            described["performance"] = performance_descriptors(performance)
            described["alignment"] = alignment_descriptors(performance, written) if written is not None else {}
        if written is not None:
            described["score"] = performance_descriptors(written)
        if performance is not None and written is not None:
            described["deviation"] = _difference(described["performance"], described["score"])
        values = [
            described.get(group, {}).get(name, math.nan)
            for group, names in _descriptor_names(self.num_pitch_bins).items()
            for name in names
        ]
        return spectrogram, roll, torch.tensor(values, dtype=torch.float32)

    def known_passages(self, scores: Sequence) -> dict[str, torch.Tensor]:
        """What training knows of passages: `passage_percepts` and `passage_descriptors`, NaN where it knows nothing.

        Args:
            scores: Path, bytes or `Performance` of each passage's score, or None.

        Returns:
            Nothing at all if the extractor knows no passage.
        """
        if not self.passages:
            return {}
        unknown = {name: [math.nan] * len(values) for name, values in next(iter(self.passages.values())).items()}
        known = [
            unknown if score is None else self.passages.get(score_fingerprint(_as_performance(score)), unknown)
            for score in scores
        ]
        return {
            f"passage_{name}": torch.tensor(
                [[math.nan if value is None else value for value in passage[name]] for passage in known]
            )
            for name in unknown
        }

    def log_power(self, waveform: torch.Tensor) -> torch.Tensor:
        """Log power in semitones, (frames, num_pitch_bins), from the first to the last sound.

        Args:
            waveform: (samples,), float32.
        """
        if waveform.ndim != 1 or len(waveform) == 0:
            raise ValueError(
                f"`audio` has shape {tuple(waveform.shape)} but must be (samples,) with at least one sample; average "
                "the channels of a stereo recording first."
            )
        if len(waveform) < self.hop_length:
            raise ValueError(
                f"`audio` has {len(waveform)} samples, less than one frame; pass a stereo recording as its mean over "
                "channels, (samples,), not as (samples, channels)."
            )
        if len(waveform) > MAX_SECONDS * self.sampling_rate:
            raise ValueError(
                f"`audio` lasts {len(waveform) / self.sampling_rate:.0f} s but at most {MAX_SECONDS:.0f} s are "
                "assessed at once; cut the passage out first."
            )
        if not waveform.isfinite().all():
            raise ValueError("`audio` holds NaN or infinity; look for a broken file or a division by zero.")
        spectrum = torch.stft(
            waveform,
            self.n_fft,
            self.hop_length,
            window=torch.hann_window(self.n_fft),
            pad_mode="constant",
            return_complex=True,
        )
        # A sine of amplitude 1 has a power near 1, whatever the window.
        power = spectrum.abs().square().T / (self.n_fft / 4) ** 2
        features = (power @ _semitone_filters(self.sampling_rate, self.n_fft, self.num_pitch_bins)).clamp(
            min=self.power_floor
        )
        loudness = features.sum(1)
        silence = 2 * self.power_floor * self.num_pitch_bins
        threshold = max(float(loudness.max()) * 10 ** (-self.silence_decibels / 10), silence)
        heard = torch.nonzero(loudness > threshold)[:, 0]
        if len(heard) < 2:
            raise ValueError("`audio` is silent; check the microphone, the file, or the channel that was taken.")
        return features[heard[0] : heard[-1] + 1].log()

    def roll(self, performance: Performance) -> torch.Tensor:
        """Piano roll, (frames, 3 * num_pitch_bins) in [0, 1]: velocities at onsets, keys held, strings sounding.

        Keys outside the bins are left out.
        """
        start, ends = performance.onsets[0], performance.sounding_offsets()
        if ends.max() - start > MAX_SECONDS:
            raise ValueError(
                f"`midi` lasts {ends.max() - start:.0f} s but at most {MAX_SECONDS:.0f} s are assessed at once; cut "
                "the passage out first."
            )
        frames = 1 + int((ends.max() - start) * self.frame_rate)
        roll = torch.zeros(frames, ROLL_CHANNELS, self.num_pitch_bins)
        inside = (performance.pitches >= LOWEST_PITCH) & (performance.pitches < LOWEST_PITCH + self.num_pitch_bins)
        for index in np.flatnonzero(inside):
            first, released, last = (
                int((seconds - start) * self.frame_rate)
                for seconds in (performance.onsets[index], performance.offsets[index], ends[index])
            )
            key = performance.pitches[index] - LOWEST_PITCH
            roll[first, 0, key] = max(roll[first, 0, key], performance.velocities[index] / 127)
            roll[first : released + 1, 1, key] = 1
            roll[first : last + 1, 2, key] = 1
        return roll.flatten(1)


def score_fingerprint(score: Performance) -> str:
    """A name of the passage that a score holds: a digest of its pitches in the order in which they are read."""
    order = np.lexsort((score.pitches, chords(score.onsets)))
    return hashlib.sha256(score.pitches[order].astype("<u2").tobytes()).hexdigest()[:16]


@cache
def _semitone_filters(sampling_rate: int, n_fft: int, num_bins: int) -> torch.Tensor:
    """Triangles around each semitone, (1 + n_fft / 2, num_bins), wide enough to hold a line of the transform."""
    resolution = sampling_rate / n_fft
    lines = np.arange(1 + n_fft // 2)[:, None] * resolution
    centres = LOWEST_FREQUENCY * 2 ** (np.arange(num_bins) / BINS_PER_OCTAVE)
    half_width = np.maximum(centres * (2 ** (1 / BINS_PER_OCTAVE) - 1), resolution)
    return torch.from_numpy(np.clip(1 - np.abs(lines - centres) / half_width, 0, None)).float()


@cache
def _descriptor_names(num_pitch_bins: int) -> dict[str, tuple[str, ...]]:
    """Names by group, taken from the descriptors of a scale, so that they cannot disagree with what is computed."""
    steps = np.arange(16)
    scale = Performance(steps * 0.5, steps * 0.5 + 0.4, 60 + steps, 50 + steps)
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=(64, num_pitch_bins)))
    groups = {
        "audio": audio_descriptors(noise, 1.0),
        "performance": performance_descriptors(scale),
        "alignment": alignment_descriptors(scale, scale),
        "score": performance_descriptors(scale),
        "deviation": performance_descriptors(scale),
    }
    return {group: tuple(groups[group]) for group in GROUPS}


def _difference(performance: Mapping[str, float], score: Mapping[str, float]) -> dict[str, float]:
    """By how much what was played exceeds what is written, descriptor by descriptor."""
    return {name: value - score[name] for name, value in performance.items()}


def _as_performance(source) -> Performance | None:
    return source if source is None or isinstance(source, Performance) else read_midi(source)


def _as_batch(audio, midi, score) -> list[dict]:
    """One dictionary an item, whether one performance was given or a list."""
    given = {"audio": audio, "midi": midi, "score": score}
    lists = {name: value for name, value in given.items() if _is_batch(value)}
    if len({len(value) for value in lists.values()}) > 1:
        lengths = ", ".join(f"`{name}` {len(value)}" for name, value in lists.items())
        raise ValueError(
            f"the inputs have different numbers of items ({lengths}); pass None for an item's missing one."
        )
    size = len(next(iter(lists.values()))) if lists else 1
    items = [{name: value[index] if name in lists else value for name, value in given.items()} for index in range(size)]
    if not items or any(item["audio"] is None and item["midi"] is None for item in items):
        raise ValueError("`audio` and `midi` are both missing; pass a recording, a MIDI file, or both.")
    return items


def _is_batch(value) -> bool:
    """Whether several performances were given: as a list, never as an array, which may be a stereo recording."""
    return isinstance(value, (list, tuple)) and not (value and isinstance(value[0], (int, float)))


def _padded(name: str, mask_name: str, items: Sequence[torch.Tensor | None]) -> dict[str, torch.Tensor]:
    """Pads items of (frames, bins) on the right; a missing one has no real frame."""
    known = [item for item in items if item is not None]
    if not known:
        return {}
    lengths = torch.tensor([0 if item is None else len(item) for item in items])
    batch = torch.zeros(len(items), int(lengths.max()), known[0].shape[1])
    for padded, item in zip(batch, items):
        if item is not None:
            padded[: len(item)] = item
    return {name: batch, mask_name: (torch.arange(batch.shape[1]) < lengths[:, None]).long()}


PianoFeatureExtractor.register_for_auto_class()
