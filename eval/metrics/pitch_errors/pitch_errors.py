"""How one pitch contour follows another, as an `evaluate` module."""

from collections.abc import Sequence
from typing import ClassVar

import datasets
import evaluate
import numpy as np

_DESCRIPTION = """\
Two contours of the fundamental frequency, frame by frame: the root mean squared distance in cents and the correlation
of their logarithms on frames that are voiced in both, and the share of frames that are voiced in one of them only.
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: for each item the (frames,) fundamental frequency in Hz, 0 where unvoiced.
    references: the same of what it is compared with, frame by frame.
Returns:
    `f0_rmse`: cents, lower is better; root of the mean square over all frames of all items that are voiced in both.
    `f0_correlation`: mean over items, -1 to 1, higher is better.
    `voicing_error`: share of all frames, lower is better.
    `per_item`: the same measures, each a list over items.
    Where nothing is voiced in both there is no distance, and where either contour is constant no correlation: NaN,
    which the means over items leave out.
Raises:
    ValueError: no items, contours of different or no length, or frequencies that are negative or not finite.
Examples:
    >>> metric = evaluate.load("eval/metrics/pitch_errors")
    >>> metric.compute(predictions=[[200.0, 0.0]], references=[[100.0, 0.0]])["f0_rmse"]
    1200.0
"""


class PitchErrors(evaluate.Metric):
    """Distance and correlation of pitch contours; `outputs` declares unit and direction."""

    outputs: ClassVar = {
        "f0_rmse": {"unit": "cents", "higher_is_better": False},
        "f0_correlation": {"unit": None, "higher_is_better": True},
        "voicing_error": {"unit": "ratio", "higher_is_better": False},
    }

    def _info(self) -> evaluate.MetricInfo:
        contour = datasets.Sequence(datasets.Value("float64"))
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="",
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features({"predictions": contour, "references": contour}),
        )

    def _compute(self, predictions: Sequence[Sequence[float]], references: Sequence[Sequence[float]]) -> dict:
        if len(references) == 0:
            raise ValueError("`references` is empty, so no pitch error is defined; expected at least one item.")
        pairs = [_contours(*pair) for pair in zip(predictions, references)]
        cents = [_cents(*pair) for pair in pairs]
        wrong = [(f0 > 0) != (reference > 0) for f0, reference in pairs]
        per_item = {
            "f0_rmse": [_root_mean_square(own) for own in cents],
            "f0_correlation": [_correlation(*pair) for pair in pairs],
            "voicing_error": [float(own.mean()) for own in wrong],
        }
        return {
            "f0_rmse": _root_mean_square(np.concatenate(cents)),
            "f0_correlation": _mean_of_known(per_item["f0_correlation"]),
            "voicing_error": float(np.concatenate(wrong).mean()),
            "per_item": per_item,
        }


def _contours(f0: Sequence[float], reference: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    f0, reference = np.asarray(f0, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if f0.shape != reference.shape or f0.ndim != 1 or len(f0) == 0:
        raise ValueError(
            f"a contour has shape {f0.shape}, its reference {reference.shape}; expected the same number of frames, one "
            "or more. Align utterances of different timing first."
        )
    if not (np.isfinite([f0, reference]).all() and min(f0.min(), reference.min()) >= 0):
        raise ValueError("a contour holds frequencies that are negative or not finite; expected Hz, 0 where unvoiced.")
    return f0, reference


def _cents(f0: np.ndarray, reference: np.ndarray) -> np.ndarray:
    voiced = (f0 > 0) & (reference > 0)
    return 1200 * np.log2(f0[voiced] / reference[voiced])


def _root_mean_square(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2))) if len(values) else float("nan")


def _correlation(f0: np.ndarray, reference: np.ndarray) -> float:
    voiced = (f0 > 0) & (reference > 0)
    logarithms = np.log([f0[voiced], reference[voiced]])
    if voiced.sum() < 2 or (np.ptp(logarithms, axis=1) < 1e-12).any():
        return float("nan")
    return float(np.corrcoef(logarithms)[0, 1])


def _mean_of_known(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
