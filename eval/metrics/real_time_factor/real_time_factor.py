"""Real-time factor, as an `evaluate` module."""

import statistics
from typing import ClassVar

import datasets
import evaluate

_DESCRIPTION = """\
Seconds of processing per second of audio: 0.1 means that ten seconds of audio take one second. The figure holds for
the hardware, batch size and number of threads that it was measured with.
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: seconds of processing, one number per item, 0 or more.
    references: seconds of audio, one number per item, above 0.
Returns:
    `real_time_factor`: all processing divided by all audio, ratio, lower is faster.
    `median_real_time_factor`: median of the items' own factors, ratio; short items show their overhead here.
    `processing_seconds`, `audio_seconds`: the sums.
Raises:
    ValueError: no items, an item without audio, or a negative or non-finite time.
Examples:
    >>> metric = evaluate.load("eval/metrics/real_time_factor")
    >>> metric.compute(predictions=[1.0, 1.0], references=[4.0, 1.0])["real_time_factor"]
    0.4
"""


class RealTimeFactor(evaluate.Metric):
    """Real-time factor; `outputs` declares the unit and direction of each factor."""

    outputs: ClassVar = {
        "real_time_factor": {"unit": "ratio", "higher_is_better": False},
        "median_real_time_factor": {"unit": "ratio", "higher_is_better": False},
    }

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="",
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features(
                {"predictions": datasets.Value("float64"), "references": datasets.Value("float64")}
            ),
        )

    def _compute(self, predictions: list[float], references: list[float]) -> dict[str, float]:
        if len(references) == 0:
            raise ValueError("`references` is empty, so no real-time factor is defined; expected at least one item.")
        for processing, audio in zip(predictions, references):
            if not (0 <= processing < float("inf") and 0 < audio < float("inf")):
                raise ValueError(
                    f"an item took {processing} s for {audio} s of audio; expected finite times, processing of 0 or "
                    "more and audio above 0. Leave out items without audio, and say so."
                )
        return {
            "real_time_factor": sum(predictions) / sum(references),
            "median_real_time_factor": statistics.median(p / a for p, a in zip(predictions, references)),
            "processing_seconds": sum(predictions),
            "audio_seconds": sum(references),
        }
