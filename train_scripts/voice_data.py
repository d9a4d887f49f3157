"""Segments of voices for training: which one, which other one of the same speaker beside it, and batches of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .recipes import RecipeError


@dataclass(frozen=True)
class Segment:
    """Where a training segment and its reference lie.

    Args:
        recording, reference: Numbers of the recordings.
        start, reference_start: First frame of each.
        reference_length: Frames of the reference.
    """

    recording: int
    start: int
    reference: int
    reference_start: int
    reference_length: int


class SegmentPicker:
    """Draws segments and references; each follows from (seed, epoch, index) alone, so that a resumed run sees the same.

    A speaker is drawn by the extent of the recordings to the power of `balance`, a recording and a place in it evenly
    by extent. The reference lies in another recording of the speaker; where there is none, beside the segment in the
    same recording, on the side with more room.

    Args:
        speakers: (recordings,) numbers of the speakers.
        lengths: (recordings,) frames.
        segment_length: Frames of a segment; shorter recordings only serve as references.
        reference_lengths: Fewest and most frames of a reference, drawn from evenly; a shorter recording is taken whole.
        grid: Segments and references begin at multiples of this.
        balance: 0 draws every speaker alike, 1 by the extent of the recordings.
        seed: Of everything.

    Raises:
        RecipeError: if no recording holds a segment.
    """

    def __init__(
        self,
        speakers: np.ndarray,
        lengths: np.ndarray,
        *,
        segment_length: int,
        reference_lengths: Sequence[int],
        grid: int = 1,
        balance: float = 0.5,
        seed: int = 0,
    ):
        self.speakers, self.lengths, self.grid, self.seed = speakers, lengths, grid, seed
        self.segment_length, self.reference_lengths = segment_length, reference_lengths
        # Beside a segment there must be room for the shortest reference.
        usable = lengths >= segment_length + reference_lengths[0]
        if not usable.any():
            raise RecipeError(
                f"No recording has the {segment_length} + {reference_lengths[0]} frames of a segment and a reference; "
                "lower `data.segment_seconds` or `data.reference_seconds`, or name other corpora."
            )
        self.recordings = [np.flatnonzero(usable & (speakers == speaker)) for speaker in np.unique(speakers[usable])]
        extents = np.array([lengths[own].sum() for own in self.recordings], float) ** balance
        self.shares = extents / extents.sum()
        self.all_of_speaker = {
            speaker: np.flatnonzero((speakers == speaker) & (lengths >= reference_lengths[0]))
            for speaker in np.unique(speakers[usable])
        }

    def __call__(self, epoch: int, index: int) -> Segment:
        """The segment that stands at a place of an epoch."""
        generator = np.random.default_rng([self.seed, epoch, index])
        own = self.recordings[generator.choice(len(self.recordings), p=self.shares)]
        recording = int(self._draw(own, generator))
        start = self._start(0, self.lengths[recording] - self.segment_length, generator)
        wanted = int(generator.integers(self.reference_lengths[0], self.reference_lengths[1] + 1))
        others = self.all_of_speaker[self.speakers[recording]]
        others = others[others != recording]
        if len(others):
            reference, first, last = int(self._draw(others, generator)), 0, None
        else:
            reference, end = recording, start + self.segment_length
            first, last = (0, start) if start > self.lengths[recording] - end else (end, None)
        last = int(self.lengths[reference]) if last is None else last
        length = min(wanted, last - first)
        reference_start = self._start(first, last - length, generator)
        return Segment(recording, start, reference, reference_start, min(length, last - reference_start))

    def _draw(self, recordings: np.ndarray, generator: np.random.Generator) -> int:
        lengths = self.lengths[recordings]
        return generator.choice(recordings, p=lengths / lengths.sum())

    def _start(self, first: int, last: int, generator: np.random.Generator) -> int:
        """A place from `first` to `last` on the grid; the next one after `first` where there is none between."""
        first = -(-first // self.grid)
        return int(generator.integers(first, max(first, last // self.grid) + 1)) * self.grid


class VoiceTable:
    """What is known of every recording, frame by frame, one recording after another.

    Args:
        arrays: `input_features` (frames, num_mel_bins), `f0` (frames,) and, where it was computed, `content`
            (content frames, content_size) at half the rate; `lengths` (recordings,) in frames; `speakers`
            (recordings,) numbers.
    """

    def __init__(self, arrays: dict[str, np.ndarray]):
        self.arrays = arrays
        self.lengths, self.speakers = arrays["lengths"], arrays["speakers"]
        self.starts = np.cumsum(self.lengths) - self.lengths
        content_lengths = (self.lengths + 1) // 2
        self.content_starts = np.cumsum(content_lengths) - content_lengths

    def cut(self, recording: int, start: int, length: int) -> dict[str, torch.Tensor]:
        """Frames of a recording, float32; `start` is even, so that content frames are whole."""
        first = self.starts[recording] + start
        found = {name: self.arrays[name][first : first + length] for name in ("input_features", "f0")}
        if "content" in self.arrays:
            first = self.content_starts[recording] + start // 2
            found["content"] = self.arrays["content"][first : first + (length + 1) // 2]
        return {name: torch.from_numpy(values.astype(np.float32)) for name, values in found.items()}


class VoiceSegments(torch.utils.data.Dataset):
    """Segments with their references and the number of the speaker.

    Args:
        table: Of all recordings.
        picker: Says which.
        size: Segments in an epoch.
        perturbation: Makes of features (frames, num_mel_bins) and a generator what the content encoder hears of a
            segment; without it, that is the segment.
    """

    def __init__(self, table: VoiceTable, picker: SegmentPicker, size: int, perturbation: Callable | None = None):
        self.table, self.picker, self.size, self.perturbation = table, picker, size, perturbation
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Begins an epoch; `EpochAnnouncer` calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        if not 0 <= index < len(self):  # what ends a loop over the segments
            raise IndexError(f"`index` is {index} but there are {len(self)} segments.")
        segment = self.picker(self.epoch, index)
        source = self.table.cut(segment.recording, segment.start, self.picker.segment_length)
        reference = self.table.cut(segment.reference, segment.reference_start, segment.reference_length)
        perturbed = {}
        if self.perturbation is not None:
            generator = np.random.default_rng([self.picker.seed, self.epoch, index, 1])
            perturbed["content_features"] = self.perturbation(source["input_features"], generator)
        names = {name: "reference_features" if name == "input_features" else f"reference_{name}" for name in reference}
        speaker = torch.tensor(int(self.table.speakers[segment.recording]))
        renamed = {names[name]: tensor for name, tensor in reference.items()}
        return source | perturbed | renamed | {"speaker_ids": speaker}


class VoiceCollator:
    """Stacks segments, and pads references on the right under `reference_attention_mask`."""

    def __call__(self, items: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        batch = {
            name: torch.nn.utils.rnn.pad_sequence([item[name] for item in items], batch_first=True)
            if name.startswith("reference")
            else torch.stack([item[name] for item in items])
            for name in items[0]
        }
        lengths = torch.tensor([len(item["reference_f0"]) for item in items])
        batch["reference_attention_mask"] = (torch.arange(int(lengths.max())) < lengths[:, None]).long()
        return batch
