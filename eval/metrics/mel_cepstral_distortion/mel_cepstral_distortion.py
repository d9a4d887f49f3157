"""Mel-cepstral distortion between utterances of different timing, as an `evaluate` module."""

from collections.abc import Sequence
from typing import ClassVar

import datasets
import evaluate
import librosa
import numpy as np

_DESCRIPTION = """\
Distance of the spectral envelopes of two utterances of one sentence in decibels: the frames are paired by dynamic time
warping, and the distances of their mel-cepstra averaged over the pairs. The energy, coefficient 0, must be left out.
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: for each item (frames, coefficients) mel-cepstra, of a log amplitude spectrum that is
        c_0 + sum over m of c_m cos(m w), from c_1 on.
    references: the same of the utterance to be matched, of as many coefficients and any number of frames.
Returns:
    `mcd`: mean over items in dB, lower is better.
    `per_item`: that of each item.
    `paths`: for each item the (steps, 2) frames of prediction and reference that were paired, in order of time.
Raises:
    ValueError: no items, an item without frames, or another number of coefficients.
Examples:
    >>> metric = evaluate.load("eval/metrics/mel_cepstral_distortion")
    >>> metric.compute(predictions=[[[1.0]]], references=[[[1.0], [1.0]]])["mcd"]
    0.0
"""

_CITATION = """\
@inproceedings{kubichek1993, title={Mel-cepstral distance measure for objective speech quality assessment},
author={Kubichek, Robert}, booktitle={IEEE Pacific Rim Conference on Communications, Computers and Signal Processing},
year={1993}}
"""

DECIBELS = 10 / np.log(10) * np.sqrt(2)


class MelCepstralDistortion(evaluate.Metric):
    """Mel-cepstral distortion along the best alignment; `outputs` declares unit and direction."""

    outputs: ClassVar = {"mcd": {"unit": "dB", "higher_is_better": False}}

    def _info(self) -> evaluate.MetricInfo:
        cepstra = datasets.Sequence(datasets.Sequence(datasets.Value("float64")))
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features({"predictions": cepstra, "references": cepstra}),
        )

    def _compute(self, predictions: Sequence, references: Sequence) -> dict:
        if len(references) == 0:
            raise ValueError("`references` is empty, so no distortion is defined; expected at least one item.")
        measured = [_aligned_distance(*map(_frames, pair)) for pair in zip(predictions, references)]
        distances, paths = zip(*measured)
        return {"mcd": float(np.mean(distances)), "per_item": list(distances), "paths": list(paths)}


def _frames(cepstra: Sequence[Sequence[float]]) -> np.ndarray:
    cepstra = np.asarray(cepstra, dtype=np.float64)
    if cepstra.ndim != 2 or cepstra.size == 0:
        raise ValueError(
            f"an item has mel-cepstra of shape {cepstra.shape}; expected (frames, coefficients), not none."
        )
    return cepstra


def _aligned_distance(cepstra: np.ndarray, reference: np.ndarray) -> tuple[float, list[list[int]]]:
    if cepstra.shape[1] != reference.shape[1]:
        raise ValueError(
            f"an item has {cepstra.shape[1]} coefficients, its reference {reference.shape[1]}; expected as many."
        )
    _, path = librosa.sequence.dtw(cepstra.T, reference.T, metric="euclidean")
    path = path[::-1]  # librosa walks back from the end
    differences = cepstra[path[:, 0]] - reference[path[:, 1]]
    return float(DECIBELS * np.linalg.norm(differences, axis=1).mean()), path.tolist()
