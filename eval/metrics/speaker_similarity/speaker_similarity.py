"""How alike voices are by their embeddings, as an `evaluate` module."""

from collections.abc import Sequence
from typing import ClassVar

import datasets
import evaluate
import numpy as np

_DESCRIPTION = """\
Cosine of the angle between the speaker embedding of a recording and that of the voice it should have; where the voice
is given that it should have lost, also the cosine with that one. The embeddings come from a speaker encoder that the
judged system must not have been trained against; name it beside the figure.
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: (items, size) embeddings of what is judged, of any length.
    references: (items, size) embeddings of the voices that they should have.
    sources: optional (items, size) embeddings of the voices that they should not have; adds the last three results.
Returns:
    `similarity`: mean cosine with the references, -1 to 1, higher is better.
    `per_item`: the cosine of each item.
    `source_similarity`: mean cosine with the sources, lower is better.
    `source_per_item`: the cosine of each item.
    `nearer_to_target`: share of items that are more like their reference than like their source.
Raises:
    ValueError: no items, shapes that differ, or an embedding that is zero or not finite.
Examples:
    >>> metric = evaluate.load("eval/metrics/speaker_similarity")
    >>> metric.compute(predictions=[[1.0, 0.0]], references=[[2.0, 0.0]])["similarity"]
    1.0
"""


class SpeakerSimilarity(evaluate.Metric):
    """Cosine with the target's voice and with the source's; `outputs` declares unit and direction."""

    outputs: ClassVar = {
        "similarity": {"unit": None, "higher_is_better": True},
        "source_similarity": {"unit": None, "higher_is_better": False},
        "nearer_to_target": {"unit": "ratio", "higher_is_better": True},
    }

    def _info(self) -> evaluate.MetricInfo:
        embedding = datasets.Sequence(datasets.Value("float64"))
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="",
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features({"predictions": embedding, "references": embedding}),
        )

    def _compute(
        self,
        predictions: Sequence[Sequence[float]],
        references: Sequence[Sequence[float]],
        sources: Sequence[Sequence[float]] | None = None,
    ) -> dict:
        if len(references) == 0:
            raise ValueError("`references` is empty, so no similarity is defined; expected at least one item.")
        predictions = _unit_norm("predictions", predictions)
        similarity = _cosines(predictions, _unit_norm("references", references))
        result = {"similarity": float(similarity.mean()), "per_item": similarity.tolist()}
        if sources is not None:
            source_similarity = _cosines(predictions, _unit_norm("sources", sources))
            result |= {
                "source_similarity": float(source_similarity.mean()),
                "source_per_item": source_similarity.tolist(),
                "nearer_to_target": float((similarity > source_similarity).mean()),
            }
        return result


def _unit_norm(name: str, embeddings: Sequence[Sequence[float]]) -> np.ndarray:
    embeddings = np.asarray(embeddings, dtype=np.float64)
    lengths = np.linalg.norm(embeddings, axis=-1, keepdims=True)
    wrong = ~(np.isfinite(lengths) & (lengths > 0))
    if wrong.any():
        raise ValueError(
            f"`{name}` has {wrong.sum()} embeddings that are zero or not finite; expected a direction for each item. "
            "Leave out recordings without speech, and say so."
        )
    return embeddings / lengths


def _cosines(embeddings: np.ndarray, others: np.ndarray) -> np.ndarray:
    if embeddings.shape != others.shape:
        raise ValueError(
            f"embeddings of shape {embeddings.shape} are compared with others of {others.shape}; expected "
            "(items, size) alike, of one speaker encoder."
        )
    return (embeddings * others).sum(axis=-1)
