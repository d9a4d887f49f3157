"""Speech and transcripts on their way into a recogniser: selection, order, augmentation, batches."""

from dataclasses import dataclass, field

import datasets
import numpy as np
import torch
from transformers import ProcessorMixin

from antiphon.modeling.layers_subsampling import subsampled_lengths
from antiphon.modeling.losses_ctc import required_frames
from antiphon.processing import ConformerProcessor
from antiphon.processing.audio_io import read_audio
from antiphon.processing.corpora.augmentation import WaveformAugmentation

from .dropped import Dropped
from .recipes import RecipeError


class RecognitionRows:
    """What rows of any origin go through: a reason why they cannot be used, or a waveform and labels.

    Args:
        processor: Gives features and labels.
        max_seconds: Longer utterances are dropped and counted.
        resample: Whether audio of another rate is resampled; otherwise it is an error.
        augmentation: Applied to waveforms, in training only.
        seed: Of the augmentation.
    """

    REASONS = {
        "empty_text": "without text",
        "unknown_symbols": "with symbols that the tokenizer lacks",
        "too_long": "too long",
        "too_short_for_text": "too short for their text",
    }

    def __init__(
        self,
        processor: ConformerProcessor,
        *,
        max_seconds: float,
        resample: bool,
        augmentation: WaveformAugmentation | None,
        seed: int,
    ):
        self.processor = processor
        self.max_seconds = max_seconds
        self.resample = resample
        self.augmentation = augmentation
        self.seed = seed
        self.epoch = 0
        self.sampling_rate = processor.feature_extractor.sampling_rate

    def why_unusable(self, ids: torch.Tensor, duration: float) -> str | None:
        """The key of the reason why an utterance cannot be trained on, or None."""
        if len(ids) == 0:
            return "empty_text"
        if (ids == self.processor.tokenizer.unk_token_id).any():
            return "unknown_symbols"
        if duration > self.max_seconds:
            return "too_long"
        return None if self.fits(ids, duration) else "too_short_for_text"

    def fits(self, ids: torch.Tensor, duration_seconds: float) -> bool:
        """Whether an utterance has frames enough for its text, whose loss would be infinite otherwise."""
        extractor = self.processor.feature_extractor
        frames = 1 + int(duration_seconds * extractor.sampling_rate) // extractor.hop_length
        outputs = subsampled_lengths(torch.tensor(frames), self.processor.subsampling_factor)
        return bool(outputs >= required_frames(ids[None]))

    def utterance(self, row: dict, labels: torch.Tensor, index: int) -> dict:
        """Returns `waveform` (samples,), float32, augmented if so told, and `labels` (symbols,), int64."""
        waveform = self.read(row)
        if self.augmentation is not None:
            augmented = self.augmentation(waveform, np.random.default_rng([self.seed, self.epoch, index]))
            # Another speed can make an utterance unfit for its text.
            if self.fits(labels, len(augmented) / self.sampling_rate):
                waveform = augmented
        return {"waveform": waveform, "labels": labels}

    def read(self, row: dict) -> np.ndarray:
        """Decodes the audio of a row, (samples,), float32."""
        audio = row["audio"]
        return read_audio(audio["bytes"] or audio["path"], sampling_rate=self.sampling_rate, resample=self.resample)[0]


def order_by_length(durations: np.ndarray, batch_size: int, generator: np.random.Generator) -> np.ndarray:
    """Cuts utterances into batches of similar length and shuffles these; returns the order of the utterances.

    Args:
        durations: (utterances,) seconds.
        batch_size: Utterances of a batch.
        generator: Of the shuffle.
    """
    # Noise on the lengths lets different utterances meet in each epoch; a tenth wastes little padding.
    noisy = durations * generator.uniform(0.9, 1.1, len(durations))
    by_length = np.argsort(noisy, kind="stable")
    batches = np.split(by_length, np.arange(batch_size, len(by_length), batch_size))
    # The last batch may be smaller; it stays last, so that every process gets whole batches before it.
    head, tail = batches[:-1], batches[-1:]
    return np.concatenate([head[index] for index in generator.permutation(len(head))] + tail)


class RecognitionDataset(RecognitionRows, torch.utils.data.Dataset):
    """Utterances as the Trainer reads them.

    In training, order and augmentation are functions of (seed, epoch) alone: each epoch is cut into batches of similar
    length, and the batches are shuffled. So a resumed run and a run on several processes see what one uninterrupted
    process sees. The Trainer reads it with `train_sampling_strategy="sequential"` and announces each epoch.

    Args:
        corpus: Rows of `load_corpus`.
        processor: Gives features and labels.
        max_seconds: Longer utterances are dropped and counted.
        resample: Whether audio of another rate is resampled; otherwise it is an error.
        augmentation: Applied to waveforms, in training only.
        batch_size: Utterances per optimiser step over all processes; None keeps the corpus' order (validation).
        seed: Of order and augmentation.

    `kept` holds the positions in `corpus` of the rows that are used, and `dropped` why the others are not.
    """

    def __init__(
        self,
        corpus: datasets.Dataset,
        processor: ConformerProcessor,
        *,
        max_seconds: float,
        resample: bool = False,
        augmentation: WaveformAugmentation | None = None,
        batch_size: int | None = None,
        seed: int = 0,
    ):
        super().__init__(processor, max_seconds=max_seconds, resample=resample, augmentation=augmentation, seed=seed)
        self.batch_size = batch_size
        self.dropped = Dropped(self.REASONS)
        labels = [
            torch.tensor(ids) for ids in processor.tokenizer([text or "" for text in corpus["text"]])["input_ids"]
        ]
        durations = corpus["duration_seconds"][:]
        whys = [self.why_unusable(ids, duration) for ids, duration in zip(labels, durations)]
        self.kept = self.dropped.count(whys, corpus["source"][:])
        if not self.kept:
            raise RecipeError(f"No utterance is left to use: {self.dropped}.")
        self.corpus = corpus.select(self.kept)
        self.labels = [labels[index] for index in self.kept]
        self.durations = np.array(self.corpus["duration_seconds"])
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Orders the utterances for an epoch; the Trainer calls this."""
        self.epoch = epoch
        self.order = np.arange(len(self.corpus))
        if self.batch_size is None:
            return
        generator = np.random.default_rng([self.seed, epoch])
        self.order = order_by_length(self.durations, self.batch_size, generator)

    def __len__(self) -> int:
        return len(self.corpus)

    def __getitem__(self, position: int) -> dict:
        """Returns `waveform` (samples,), float32, and `labels` (symbols,), int64."""
        index = int(self.order[position])
        return self.utterance(self.corpus[index], self.labels[index], index)


@dataclass
class RecognitionCollator:
    """Makes features and padded labels of a list of utterances."""

    processor: ProcessorMixin = field(repr=False)

    def __call__(self, items: list[dict]) -> dict[str, torch.Tensor]:
        rate = self.processor.feature_extractor.sampling_rate
        batch = self.processor(audio=[item["waveform"] for item in items], sampling_rate=rate, return_tensors="pt")
        batch["labels"] = torch.nn.utils.rnn.pad_sequence(
            [item["labels"] for item in items], batch_first=True, padding_value=-100
        )
        return dict(batch)
