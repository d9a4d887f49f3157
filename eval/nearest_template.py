"""A strong simple recogniser without any training: answer what the training recording that sounds most alike says."""

from collections.abc import Sequence

import numpy as np
from datasets import Dataset
from scipy.fft import dct

from antiphon.processing import LogMelFeatureExtractor
from antiphon.processing.audio_io import read_audio

MAX_TEMPLATES = 3_000
NUM_MEL_BINS, NUM_COEFFICIENTS, NUM_FRAMES = 26, 13, 32


def nearest_template_transcripts(
    train: Dataset, train_texts: Sequence[str], test: Dataset, *, sampling_rate: int, seed: int = 0
) -> list[str]:
    """Answer each test item with the text of the training item whose cepstra are nearest.

    An utterance is described by its mel-frequency cepstra, each coefficient normalised over the utterance, at 32
    moments spread evenly over it; utterances are compared by the Euclidean distance of these descriptions. Among equals
    the first training item wins.

    Args:
        train: with a column `audio` of undecoded `{"bytes", "path"}`. Of more than `MAX_TEMPLATES` items that many are
            drawn, which bounds the time.
        train_texts: (train items,) normalised transcripts.
        test: items to answer, with the same column.
        sampling_rate: in Hz, of the comparison; audio at another rate is resampled.
        seed: of the draw.

    Returns:
        (items,) transcripts.

    Source: cepstra of Davis & Mermelstein, "Comparison of parametric representations for monosyllabic word recognition
    in continuously spoken sentences", 1980, and their word templates; here time is stretched linearly instead of by
    dynamic programming, and every training utterance is a template of its own.
    """
    chosen = np.arange(len(train))
    if len(train) > MAX_TEMPLATES:
        chosen = np.sort(np.random.default_rng(seed).choice(len(train), MAX_TEMPLATES, replace=False))
    templates = _describe(train.select(chosen), sampling_rate)
    items = _describe(test, sampling_rate)
    distances = (templates**2).sum(1) - 2 * items @ templates.T  # squared, without the item's own norm
    return [train_texts[chosen[index]] for index in distances.argmin(1)]


def _describe(dataset: Dataset, sampling_rate: int) -> np.ndarray:
    """Cepstra of each item at evenly spread moments, (items, frames x coefficients)."""
    win_length = sampling_rate // 40
    extractor = LogMelFeatureExtractor(
        feature_size=NUM_MEL_BINS,
        sampling_rate=sampling_rate,
        hop_length=sampling_rate // 100,
        win_length=win_length,
        n_fft=1 << (win_length - 1).bit_length(),
        normalize="none",
        do_normalize=True,
    )
    descriptions = []
    for audio in dataset.select_columns("audio")["audio"]:
        waveform, _ = read_audio(audio["bytes"] or audio["path"], sampling_rate=sampling_rate, resample=True)
        log_mel = extractor(waveform, padding=False)["input_features"][0]
        cepstra = dct(log_mel, norm="ortho", axis=1)[:, :NUM_COEFFICIENTS]
        cepstra = (cepstra - cepstra.mean(0)) / (cepstra.std(0) + 1e-5)  # guards coefficients that never change
        moments, frames = np.linspace(0, len(cepstra) - 1, NUM_FRAMES), np.arange(len(cepstra))
        descriptions.append(np.concatenate([np.interp(moments, frames, row) for row in cepstra.T]))
    return np.stack(descriptions)
