"""How well a small reader finds the speaker, and the text, in frames of features."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from sklearn.cluster import MiniBatchKMeans
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

NUM_FOLDS = 5
NUM_UNITS = 512
PROBE_CHANNELS = 64
PROBE_KERNEL = 9
PROBE_STRIDE = 2
BATCH_SIZE = 16


def read_speakers(utterances: Sequence[np.ndarray], speakers: Sequence[str], seed: int = 0) -> np.ndarray:
    """Who speaks, by a linear probe of the mean and the deviation of the frames, from folds that it was not fitted on.

    Args:
        utterances: (frames, size) each.
        speakers: The true ones; each must speak at least `NUM_FOLDS` of the utterances.
        seed: Of the folds.

    Returns:
        (utterances,) predicted speakers.
    """
    statistics = np.array([np.concatenate([frames.mean(0), frames.std(0)]) for frames in utterances])
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    folds = StratifiedKFold(NUM_FOLDS, shuffle=True, random_state=seed)
    return cross_val_predict(probe, statistics, np.asarray(speakers), cv=folds)


class TextProbe(nn.Module):
    """One convolution over nine frames and a linear map to characters, 25 times per second."""

    def __init__(self, feature_size: int, vocab_size: int):
        super().__init__()
        self.convolution = nn.Conv1d(feature_size, PROBE_CHANNELS, PROBE_KERNEL, PROBE_STRIDE, PROBE_KERNEL // 2)
        self.head = nn.Linear(PROBE_CHANNELS, vocab_size)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Maps (batch, frames, feature_size) to logits (batch, ceil(frames / 2), vocab_size)."""
        return self.head(nn.functional.gelu(self.convolution(frames.transpose(1, 2))).transpose(1, 2))


def is_long_enough(num_frames: int, text: str) -> bool:
    """Whether CTC can align a text with the outputs of a `TextProbe`: one each, and one more between equal characters.

    Args:
        num_frames: Of the utterance.
        text: What is said; an empty one teaches nothing.
    """
    needed = len(text) + sum(first == second for first, second in pairwise(text))
    return 0 < needed <= -(-num_frames // PROBE_STRIDE)


def read_texts(
    train: Sequence[np.ndarray],
    texts: Sequence[str],
    test: Sequence[np.ndarray],
    *,
    num_epochs: int = 15,
    seed: int = 0,
) -> list[str]:
    """What is said, by a `TextProbe` trained with CTC.

    Args:
        train: (frames, size) each; those that are not `is_long_enough` are left out.
        texts: Of `train`, in lower case.
        test: As `train`.
        num_epochs: Of training.
        seed: Of weights and order.

    Returns:
        The texts of `test`, by the best path.

    Raises:
        ValueError: No utterance is long enough.
    """
    characters = ["", *sorted(set("".join(texts)))]
    labels = [torch.tensor([characters.index(character) for character in text]) for text in texts]
    every = np.concatenate(train)
    mean, deviation = every.mean(0), every.std(0) + 1e-5
    frames = [torch.from_numpy((each - mean) / deviation).float() for each in train]
    fits = [index for index, each in enumerate(frames) if is_long_enough(len(each), texts[index])]
    if not fits:
        raise ValueError(f"none of the {len(train)} utterances in `train` has frames enough for its text.")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        probe = TextProbe(every.shape[1], len(characters))
    steps = num_epochs * -(-len(fits) // BATCH_SIZE)
    optimizer = torch.optim.AdamW(probe.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=5e-3, total_steps=steps)
    generator = np.random.default_rng(seed)
    for _ in range(num_epochs):
        for batch in np.array_split(generator.permutation(fits), -(-len(fits) // BATCH_SIZE)):
            optimizer.zero_grad()
            _probe_loss(probe, [frames[index] for index in batch], [labels[index] for index in batch]).backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        paths = [probe(torch.from_numpy((each - mean) / deviation).float()[None])[0].argmax(-1) for each in test]
    return ["".join(characters[index] for index in path.unique_consecutive()) for path in paths]


def _probe_loss(probe: TextProbe, frames: list[torch.Tensor], labels: list[torch.Tensor]) -> torch.Tensor:
    logits = probe(nn.utils.rnn.pad_sequence(frames, batch_first=True))
    lengths = torch.tensor([-(-len(each) // PROBE_STRIDE) for each in frames])
    log_probabilities = logits.log_softmax(-1).transpose(0, 1)
    sizes = torch.tensor([len(each) for each in labels])
    return nn.functional.ctc_loss(log_probabilities, torch.cat(labels), lengths, sizes, zero_infinity=True)


def fit_units(train: Sequence[np.ndarray], num_units: int = NUM_UNITS, seed: int = 0) -> MiniBatchKMeans:
    """Clusters frames into discrete units."""
    every = np.concatenate(train).astype(np.float32)
    return MiniBatchKMeans(min(num_units, len(every)), random_state=seed, n_init=1, batch_size=4096).fit(every)


def as_units(units: MiniBatchKMeans, utterances: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Replaces every frame by the centre of its unit."""
    return [units.cluster_centers_[units.predict(frames.astype(np.float32))] for frames in utterances]
