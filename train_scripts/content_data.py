"""Speech on its way into a content encoder: perturbed features, and what was said in characters and in phones."""

from dataclasses import dataclass, field

import numpy as np
import torch
from transformers.audio_utils import hertz_to_mel, mel_to_hertz

from .content_phones import frame_labels
from .recognition_data import RecognitionDataset

LEVEL_DBFS = -27.0
# Feature frames for each frame of content.
CONTENT_SUBSAMPLING = 2


@dataclass
class MelPerturbation:
    """Another vocal tract and another channel, on log-mel features.

    The frequency axis is stretched by a random factor, and a random smooth curve over frequency is added.

    Args:
        warp: Largest factor by which frequencies are stretched; its inverse is the smallest.
        gain: Standard deviation of the overall gain, in natural log of power.
        tilt: Standard deviation of the first cosine of the curve; that of cosine k is `tilt` / k.
        num_cosines: How many cosines the curve has.
        mel_floor: Smallest mel power.

    Source: Eide and Gish 1996, "A parametric approach to vocal tract length normalization", for the warping.
    """

    warp: float = 1.25
    gain: float = 1.5
    tilt: float = 1.0
    num_cosines: int = 5
    mel_floor: float = 1e-6
    sampling_rate: int = 16_000

    def __call__(self, features: torch.Tensor, generator: np.random.Generator) -> torch.Tensor:
        """Returns perturbed (frames, num_mel_bins)."""
        bins = features.shape[1]
        factor = self.warp ** generator.uniform(-1, 1)
        highest = hertz_to_mel(self.sampling_rate / 2, mel_scale="slaney")
        centres = mel_to_hertz(highest * np.arange(1, bins + 1) / (bins + 1), mel_scale="slaney")
        places = hertz_to_mel(np.minimum(centres * factor, self.sampling_rate / 2), mel_scale="slaney")
        places = np.clip(places / highest * (bins + 1) - 1, 0, bins - 1)
        below = np.minimum(places.astype(int), bins - 2)
        share = torch.from_numpy(places - below).float()
        warped = torch.lerp(features[:, below], features[:, below + 1], share)

        orders = np.arange(1, self.num_cosines + 1)
        weights = generator.normal(0, self.tilt / orders)
        cosines = np.cos(np.pi * orders[:, None] * (np.arange(bins) + 0.5) / bins)
        curve = generator.normal(0, self.gain) + weights @ cosines
        return (warped + torch.from_numpy(curve).float()).clamp(min=float(np.log(self.mel_floor)))


def at_level(waveform: np.ndarray, dbfs: float = LEVEL_DBFS) -> np.ndarray:
    """Brings the root mean square of a waveform to a level, in dB below full scale; silence stays silent."""
    rms = np.sqrt(np.mean(waveform**2, dtype=np.float64))
    return waveform if rms < 1e-6 else (waveform * (10 ** (dbfs / 20) / rms)).astype(np.float32)


class ContentDataset(RecognitionDataset):
    """Utterances as a content encoder learns them, in the order of a `RecognitionDataset`.

    Args:
        corpus: Rows of `load_voices` or `read_aloud`; `phones` and `phone_starts` may be null.
        processor: Gives features and labels; its features are not normalised.
        phone_names: What the phone head tells apart; other phones are ignored.
        speakers: Speakers whom an adversary tells apart.
        perturbation: Applied to the features, in training only.
        options: As `RecognitionDataset` takes them.
    """

    def __init__(self, corpus, processor, *, phone_names, speakers=(), perturbation=None, **options):
        super().__init__(corpus, processor, **options)
        self.phone_ids = {name: index for index, name in enumerate(phone_names)}
        self.speaker_ids = {name: index for index, name in enumerate(speakers)}
        self.perturbation = perturbation

    def __getitem__(self, position: int) -> dict:
        """Returns features (frames, bins), clean and perturbed, and labels of characters, phones and speaker."""
        index = int(self.order[position])
        row = self.corpus[index]
        clean = at_level(self.read(row))
        generator = np.random.default_rng([self.seed, self.epoch, index, 1])
        heard = clean if self.augmentation is None else self.augmentation(clean, generator)
        clean_features, features = (self._features(waveform) for waveform in (clean, heard))
        if self.perturbation is not None:
            features = self.perturbation(features, generator)
        hop_length = self.processor.feature_extractor.hop_length
        frame_seconds = CONTENT_SUBSAMPLING * hop_length / self.processor.sampling_rate
        num_frames = -(-len(features) // CONTENT_SUBSAMPLING)
        phone_labels = np.full(num_frames, -100)
        if row.get("phones"):
            ids = [self.phone_ids.get(name, -100) for name in row["phones"]]
            phone_labels = frame_labels(ids, row["phone_starts"], num_frames, frame_seconds)
        return {
            "input_features": features,
            "clean_features": clean_features,
            "labels": self.labels[index],
            "phone_labels": torch.from_numpy(phone_labels),
            "speaker_labels": self.speaker_ids.get(row["speaker_id"], -100),
        }

    def _features(self, waveform: np.ndarray) -> torch.Tensor:
        extractor = self.processor.feature_extractor
        return extractor(waveform, extractor.sampling_rate, return_tensors="pt")["input_features"][0]


@dataclass
class ContentCollator:
    """Pads a list of utterances into a batch."""

    padding: dict = field(
        default_factory=lambda: {"input_features": 0.0, "clean_features": 0.0, "labels": -100, "phone_labels": -100}
    )

    def __call__(self, items: list[dict]) -> dict[str, torch.Tensor]:
        batch = {
            name: torch.nn.utils.rnn.pad_sequence([item[name] for item in items], batch_first=True, padding_value=value)
            for name, value in self.padding.items()
        }
        lengths = torch.tensor([len(item["input_features"]) for item in items])
        batch["attention_mask"] = (torch.arange(lengths.max()) < lengths[:, None]).long()
        batch["speaker_labels"] = torch.tensor([item["speaker_labels"] for item in items])
        return batch
