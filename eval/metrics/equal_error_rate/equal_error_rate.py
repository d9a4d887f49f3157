"""How well scores tell same from different: equal error rate and detection cost, as an `evaluate` module."""

from collections.abc import Hashable, Sequence
from typing import ClassVar

import datasets
import evaluate
import numpy as np

_DESCRIPTION = """\
Trials are accepted where their score reaches a threshold. The equal error rate (EER) is the share of different pairs
accepted at the threshold where it equals the share of same pairs missed; between two thresholds both shares are
interpolated linearly. The detection cost weighs both errors by how often and how dear they are, at the best threshold,
relative to accepting always or never.
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: scores, one number per trial, higher = more alike.
    references: 1 where both sides of the trial are the same (a speaker, say), else 0. Both must occur.
    groups: optional label per trial (corpus); adds `per_group`.
    target_probability: how often trials are the same where the system is used.
    miss_cost, false_alarm_cost: of rejecting a same pair, of accepting a different one.
Returns:
    `eer`: ratio, 0 is best, 0.5 is chance. `threshold`: score at which the errors are equal.
    `min_dcf`: least detection cost, 0 is best, 1 is that of a system that hears nothing.
    `num_same`, `num_different`: trials. `per_group`: label -> the same measures, if `groups` was given.
Raises:
    ValueError: no trials, only same or only different ones, scores that are not finite, references besides 0 and 1, or
        not as many groups as trials.
Examples:
    >>> metric = evaluate.load("eval/metrics/equal_error_rate")
    >>> metric.compute(predictions=[0.9, 0.4, 0.6, 0.1], references=[1, 1, 0, 0])["eer"]
    0.5
"""

_CITATION = """\
@inproceedings{martin1997, title={The {DET} Curve in Assessment of Detection Task Performance}, author={Martin, Alvin
and others}, booktitle={Eurospeech}, year={1997}}
"""


class EqualErrorRate(evaluate.Metric):
    """Equal error rate and least detection cost; `outputs` declares the unit and direction of each."""

    outputs: ClassVar = {
        "eer": {"unit": "ratio", "higher_is_better": False},
        "min_dcf": {"unit": None, "higher_is_better": False},
    }

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features(
                {"predictions": datasets.Value("float64"), "references": datasets.Value("int64")}
            ),
        )

    def _compute(
        self,
        predictions: Sequence[float],
        references: Sequence[int],
        groups: Sequence[Hashable] | None = None,
        target_probability: float = 0.05,
        miss_cost: float = 1.0,
        false_alarm_cost: float = 1.0,
    ) -> dict:
        scores, is_same = np.asarray(predictions, dtype=np.float64), np.asarray(references)
        costs = target_probability * miss_cost, (1 - target_probability) * false_alarm_cost
        result = _measures(scores, is_same, costs)
        if groups is not None:
            if len(groups) != len(scores):
                raise ValueError(f"`groups` has {len(groups)} labels for {len(scores)} trials; expected one per trial.")
            labels = np.asarray(groups)
            result["per_group"] = {
                group: _measures(scores[labels == group], is_same[labels == group], costs)
                for group in dict.fromkeys(groups)
            }
        return result


def _measures(scores: np.ndarray, is_same: np.ndarray, costs: tuple[float, float]) -> dict:
    if len(scores) == 0:
        raise ValueError("`references` is empty, so no error rate is defined; expected same and different trials.")
    if not np.isfinite(scores).all():
        raise ValueError(
            f"`predictions` holds {np.sum(~np.isfinite(scores))} numbers that are not finite; repair them."
        )
    if not np.isin(is_same, (0, 1)).all() or is_same.all() or not is_same.any():
        raise ValueError("`references` must hold both 1 (same) and 0 (different), and nothing else; add such trials.")
    thresholds, missed, accepted = error_curve(scores, is_same)
    gap = accepted - missed  # falls as the threshold rises
    after = int(np.argmax(gap <= 0))
    share = gap[after - 1] / (gap[after - 1] - gap[after])
    ends = slice(after - 1, after + 1)
    dcf = costs[0] * missed + costs[1] * accepted
    return {
        "eer": float(np.interp(share, (0, 1), missed[ends])),
        "threshold": float(np.interp(share, (0, 1), thresholds[ends])),
        "min_dcf": float(dcf.min() / min(costs)),
        "num_same": int(is_same.sum()),
        "num_different": int((1 - is_same).sum()),
    }


def error_curve(scores: np.ndarray, is_same: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Thresholds, rising, with the shares of same trials missed and of different ones accepted at each.

    The first threshold is the lowest score, which accepts everything; at the last, just above the highest, nothing is.
    """
    order = np.argsort(scores, kind="stable")
    scores, is_same = scores[order], is_same[order].astype(np.float64)
    # of equal scores the first counts all below it
    first = np.flatnonzero(np.diff(scores, prepend=-np.inf) > 0)
    missed = np.append(np.cumsum(is_same) - is_same, is_same.sum())
    rejected = np.append(np.cumsum(1 - is_same) - (1 - is_same), (1 - is_same).sum())
    places = np.append(first, len(scores))
    thresholds = np.append(scores[first], np.nextafter(scores[-1], np.inf))
    return thresholds, missed[places] / missed[-1], 1 - rejected[places] / rejected[-1]
