"""How near a waveform is to the one that it should be, to the ear: as an `evaluate` module."""

from collections.abc import Sequence
from typing import ClassVar

import datasets
import evaluate
import librosa
import numpy as np
import pesq
import pystoi

_DESCRIPTION = """\
Three measures of a waveform against the recording that it should equal, in time with it: PESQ, a model of listeners'
opinion; STOI, the intelligibility to be expected; and the distance of mel spectrograms of several resolutions. None of
them asks for the same waveform: they judge what is heard.
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: for each item (samples,) of what is judged.
    references: the same of the recording, of the same length.
    sampling_rate: of all, in Hz: 16000, or 8000, where PESQ is the narrow-band one.
Returns:
    `pesq`: mean over items of the predicted opinion (MOS-LQO, about 1.0 to 4.6), higher is better.
    `stoi`: mean over items, 0 to 1, higher is better.
    `mel_distance`: mean over items in dB, lower is better.
    `per_item`: for each of the three the value of each item.
Raises:
    ValueError: no items, items of different lengths, an item that is silent, too short or not finite, or another
        sampling rate.
Examples:
    >>> metric = evaluate.load("eval/metrics/waveform_quality")
    >>> metric.compute(predictions=[speech], references=[speech], sampling_rate=16000)["mel_distance"]
    0.0
"""

_CITATION = """\
@inproceedings{rix2001, title={Perceptual evaluation of speech quality (PESQ)}, author={Rix, Antony and others},
booktitle={ICASSP}, year={2001}}
@article{taal2011, title={An Algorithm for Intelligibility Prediction of Time-Frequency Weighted Noisy Speech},
author={Taal, Cees and others}, journal={IEEE Transactions on Audio, Speech, and Language Processing}, year={2011}}
"""

PESQ_MODES = {8_000: "nb", 16_000: "wb"}
MEL_SCALES = {256: 24, 512: 48, 1024: 80, 2048: 128}  # samples of the transform: bands
FLOOR = 1e-9  # of the power per band, full scale being 1: 90 dB


class WaveformQuality(evaluate.Metric):
    """PESQ, STOI and multi-scale mel distance; `outputs` declares unit and direction."""

    outputs: ClassVar = {
        "pesq": {"unit": None, "higher_is_better": True},
        "stoi": {"unit": None, "higher_is_better": True},
        "mel_distance": {"unit": "dB", "higher_is_better": False},
    }

    def _info(self) -> evaluate.MetricInfo:
        waveform = datasets.Sequence(datasets.Value("float32"))
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features({"predictions": waveform, "references": waveform}),
        )

    def _compute(self, predictions: Sequence, references: Sequence, sampling_rate: int) -> dict:
        if len(references) == 0:
            raise ValueError("`references` is empty, so no quality is defined; expected at least one item.")
        if sampling_rate not in PESQ_MODES:
            raise ValueError(f"`sampling_rate` is {sampling_rate} but PESQ knows 8000 and 16000 Hz; resample first.")
        items = [_measure(*_checked(*pair), sampling_rate) for pair in zip(predictions, references)]
        per_item = {name: [item[name] for item in items] for name in self.outputs}
        return {**{name: float(np.mean(values)) for name, values in per_item.items()}, "per_item": per_item}


def _checked(prediction: Sequence[float], reference: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    pair = np.asarray(prediction, dtype=np.float32), np.asarray(reference, dtype=np.float32)
    if len(pair[0]) != len(pair[1]):
        raise ValueError(
            f"an item has {len(pair[0])} samples but its reference has {len(pair[1])}; cut both to the same length, "
            "and keep them in time."
        )
    for name, waveform in zip(("prediction", "reference"), pair):
        if not np.isfinite(waveform).all() or not waveform.any():
            raise ValueError(f"a {name} is silent or not finite, and no opinion of it is defined; leave it out openly.")
    return pair


def _measure(prediction: np.ndarray, reference: np.ndarray, sampling_rate: int) -> dict[str, float]:
    try:
        opinion = pesq.pesq(sampling_rate, reference, prediction, PESQ_MODES[sampling_rate])
    except (pesq.NoUtterancesError, pesq.BufferTooShortError) as error:
        raise ValueError(f"PESQ finds no speech in a reference of {len(reference)} samples: {error}") from error
    return {
        "pesq": float(opinion),
        "stoi": float(pystoi.stoi(reference, prediction, sampling_rate)),
        "mel_distance": _mel_distance(prediction, reference, sampling_rate),
    }


def _mel_distance(prediction: np.ndarray, reference: np.ndarray, sampling_rate: int) -> float:
    """Mean difference of log-mel spectrograms over bands, frames and scales, in dB."""
    distances = []
    for n_fft, bands in MEL_SCALES.items():
        mels = [
            librosa.feature.melspectrogram(
                y=waveform, sr=sampling_rate, n_fft=n_fft, hop_length=n_fft // 4, n_mels=bands, pad_mode="constant"
            )
            for waveform in (prediction, reference)
        ]
        # White noise of power p gives p in every band after division by the window's energy, 3 n_fft / 8, and by the
        # sum of a filter, n_fft / sampling_rate.
        scale = sampling_rate / (0.375 * n_fft**2)
        decibels = [10 * np.log10(np.maximum(scale * mel, FLOOR)) for mel in mels]
        distances.append(np.abs(decibels[0] - decibels[1]).mean())
    return float(np.mean(distances))
