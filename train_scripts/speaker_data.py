"""Voices on their way into a speaker encoder: speakers, crops, augmentation, batches."""

from collections.abc import Sequence

import datasets
import numpy as np
import torch

from antiphon.processing import LogMelFeatureExtractor
from antiphon.processing.audio_io import resample_audio
from antiphon.processing.corpora import decode
from antiphon.processing.corpora.augmentation import WaveformAugmentation
from antiphon.processing.corpora.voices import load_voices

from .recipes import RecipeError
from .sources import load_sources


def load_speakers(sources: list[dict] | None, side: str) -> datasets.Dataset:
    """The corpora that a recipe names, or those of the stored side of all voice corpora where it names none."""
    return load_voices(side) if sources is None else load_sources(sources, f"data.{side}")


class Voices:
    """Decoded recordings with their speakers and corpora, as numbers.

    Args:
        corpus: Rows with a speaker.
        sampling_rate: In Hz; other recordings are resampled.
        max_seconds: What comes later in a recording is left out; None keeps all.
    """

    def __init__(self, corpus: datasets.Dataset, sampling_rate: int, max_seconds: float | None = None):
        if None in (names := corpus["speaker_id"][:]):
            raise RecipeError(f"{names.count(None)} of {len(corpus)} recordings have no `speaker_id`; leave them out.")
        end = None if max_seconds is None else round(max_seconds * sampling_rate)
        # Half precision keeps 70 dB between signal and rounding and halves the memory of hours of speech.
        self.waveforms = [decode(row, sampling_rate)[0][:end].astype(np.float16) for row in corpus]
        self.sampling_rate = sampling_rate
        self.speaker_names, self.speakers = np.unique(names, return_inverse=True)
        self.domain_names, self.domains = np.unique([name or "" for name in corpus["source"]], return_inverse=True)

    def __len__(self) -> int:
        return len(self.waveforms)


class ValidationVoices(torch.utils.data.Dataset):
    """Each recording once, as long as `Voices` keeps it, with the numbers of its speaker and corpus."""

    def __init__(self, voices: Voices):
        self.voices = voices

    def __len__(self) -> int:
        return len(self.voices)

    def __getitem__(self, index: int) -> dict:
        voices = self.voices
        waveform = voices.waveforms[index].astype(np.float32)
        return {"waveform": waveform, "speakers": voices.speakers[index], "domains": voices.domains[index]}


class SpeakerBatches(torch.utils.data.Dataset):
    """Crops in the order of balanced batches: some speakers, each with the same number of utterances.

    A speaker at another speed has another pitch and other formants, and counts as another speaker. Speakers are drawn
    by the number of their recordings to the power of `balance`, so that those with a single one do not fill the
    batches; their crops are of that one, augmented differently. All crops of a batch last equally long. Everything
    follows from (seed, position), so that a resumed run sees what an uninterrupted one does.

    Args:
        voices: To train on.
        speakers_per_batch, utterances_per_speaker: Of each batch.
        num_batches: In all.
        crop_seconds: Shortest and longest crop.
        speed_factors: Each makes new speakers; 1 is the recording itself.
        balance: 0 draws every speaker alike, 1 every recording.
        augmentation: Of each crop; None for none.
        seed: Of everything.

    Source: speed perturbation for new speakers after Yamamoto et al. 2019, "Speaker Augmentation and Bandwidth
        Extension for Deep Speaker Embedding", section 2.
    """

    def __init__(
        self,
        voices: Voices,
        *,
        speakers_per_batch: int,
        utterances_per_speaker: int,
        num_batches: int,
        crop_seconds: Sequence[float],
        speed_factors: Sequence[float],
        balance: float,
        augmentation: WaveformAugmentation | None,
        seed: int,
    ):
        self.voices, self.augmentation, self.seed = voices, augmentation, seed
        self.speed_factors, self.crop_seconds = speed_factors, crop_seconds
        self.utterances_per_speaker, self.num_batches = utterances_per_speaker, num_batches
        self.speakers_per_batch = speakers_per_batch
        num_speakers = len(voices.speaker_names)
        self.num_classes = num_speakers * len(speed_factors)
        if self.num_classes < speakers_per_batch:
            raise RecipeError(
                f"`data.speakers_per_batch` is {speakers_per_batch} but {num_speakers} speakers at "
                f"{len(speed_factors)} speeds make {self.num_classes}; lower it."
            )
        self.recordings = [np.flatnonzero(voices.speakers == speaker) for speaker in range(num_speakers)]
        weights = np.array([len(items) for items in self.recordings], float) ** balance
        self.shares = np.tile(weights / weights.sum() / len(speed_factors), len(speed_factors))
        self._last_plan = (-1, None)

    @property
    def batch_size(self) -> int:
        """Crops in a batch."""
        return self.speakers_per_batch * self.utterances_per_speaker

    def rivals(self) -> torch.Tensor:
        """(domains, classes): whether anything of a class was recorded in a domain."""
        present = np.zeros((len(self.voices.domain_names), len(self.voices.speaker_names)), bool)
        present[self.voices.domains, self.voices.speakers] = True
        return torch.from_numpy(np.tile(present, len(self.speed_factors)))

    def plan(self, batch: int) -> tuple[np.ndarray, np.ndarray, int]:
        """What `_draw_plan` returns; the last one is kept, as the crops of a batch are asked for one after another."""
        if self._last_plan[0] != batch:
            self._last_plan = (batch, self._draw_plan(batch))
        return self._last_plan[1]

    def _draw_plan(self, batch: int) -> tuple[np.ndarray, np.ndarray, int]:
        """Class and recording of each crop of a batch, and the samples of all of them."""
        generator = np.random.default_rng([self.seed, batch])
        classes = generator.choice(self.num_classes, self.speakers_per_batch, replace=False, p=self.shares)
        recordings = []
        for speaker in classes % len(self.recordings):
            own = self.recordings[speaker]
            recordings.append(
                generator.choice(own, self.utterances_per_speaker, replace=len(own) < self.utterances_per_speaker)
            )
        # Tenths of a second have small prime factors, which halves the time of the augmentation's transforms.
        num_samples = round(10 * generator.uniform(*self.crop_seconds)) * self.voices.sampling_rate // 10
        return classes.repeat(self.utterances_per_speaker), np.concatenate(recordings), num_samples

    def __len__(self) -> int:
        return self.num_batches * self.batch_size

    def __getitem__(self, position: int) -> dict:
        """Returns `waveform` (samples,), float32, and the numbers of its class and corpus."""
        batch, place = divmod(position, self.batch_size)
        classes, recordings, num_samples = self.plan(batch)
        recording, generator = recordings[place], np.random.default_rng([self.seed, batch, place])
        factor = self.speed_factors[classes[place] // len(self.recordings)]
        waveform = self._crop(self.voices.waveforms[recording], num_samples, factor, generator)
        if self.augmentation is not None:
            waveform = self.augmentation(waveform, generator)
        return {"waveform": waveform, "speakers": classes[place], "domains": self.voices.domains[recording]}

    def _crop(self, waveform: np.ndarray, num_samples: int, factor: float, generator: np.random.Generator):
        """A crop at another speed; of a shorter recording, all of it again and again from a random place on."""
        rate = self.voices.sampling_rate
        needed = int(np.ceil(num_samples * factor)) + 1
        start = generator.integers(max(len(waveform) - needed, 0) + 1)
        if len(waveform) < needed:
            start, waveform = generator.integers(len(waveform)), np.resize(waveform, 2 * len(waveform) + needed)
        crop = waveform[start : start + needed].astype(np.float32)
        return resample_audio(crop, round(rate * factor), rate)[:num_samples]


class SpeakerCollator:
    """Makes features of a list of crops; those of recordings of different lengths are padded.

    Args:
        extractor: Of the voice mel.
    """

    def __init__(self, extractor: LogMelFeatureExtractor):
        self.extractor = extractor

    def __call__(self, items: list[dict]) -> dict[str, torch.Tensor]:
        waveforms = [item["waveform"] for item in items]
        batch = self.extractor(waveforms, sampling_rate=self.extractor.sampling_rate, return_tensors="pt")
        if len(set(map(len, waveforms))) == 1:
            del batch["attention_mask"]  # nothing is padded, and masks cost time
        for name in ("speakers", "domains"):
            batch[name] = torch.tensor([int(item[name]) for item in items])
        return dict(batch)
