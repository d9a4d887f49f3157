"""Performances as the tensors that an assessment model's heads read, computed once for many questions about them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from tqdm.auto import tqdm
from transformers import AutoFeatureExtractor, AutoModel, BatchFeature

from antiphon.eval.assessment_items import Predictions
from antiphon.eval.intervals import Interval
from antiphon.eval.piano_attributions import LATTICE_TENSORS
from antiphon.eval.piano_features import pad_lattices
from antiphon.processing.corpora import decode

ALL_INPUTS = ("audio", "midi", "score", "passage")
PASSAGE_TENSORS = ("passage_percepts", "passage_descriptors")
BATCH_SIZE = 8


def load_checkpoint(checkpoint: str | Path) -> tuple:
    """Load a piano assessment model, in evaluation mode, and its extractor from a folder or the Hub."""
    extractor = AutoFeatureExtractor.from_pretrained(checkpoint, trust_remote_code=True)
    return AutoModel.from_pretrained(checkpoint, trust_remote_code=True).eval(), extractor


def extract(rows: Dataset, extractor, inputs: Sequence[str] = ALL_INPUTS) -> list[BatchFeature]:
    """Compute the extractor's tensors of each performance, a batch of one each.

    Args:
        rows: With the columns of `load_percepiano`, and audio where that is among `inputs`.
        extractor: A `PianoFeatureExtractor`.
        inputs: Of `ALL_INPUTS`, what is given; what the extractor knows of a passage it finds by the score.
    """
    features = []
    for row in tqdm(rows, desc="features", unit="item", disable=None):
        audio = decode(row, extractor.sampling_rate)[0] if "audio" in inputs else None
        features.append(
            extractor(
                audio=audio,
                midi=row["midi"] if "midi" in inputs else None,
                score=row["score_midi"] if "score" in inputs else None,
                sampling_rate=extractor.sampling_rate,
            )
        )
    return features


def lattice_batches(features: Sequence[BatchFeature], lattice: str):
    """Yield places, padded lattices and masks of performances that have the lattice; those of like length together."""
    name, _ = LATTICE_TENSORS[lattice]
    having = [place for place, item in enumerate(features) if name in item]
    having.sort(key=lambda place: features[place][name].shape[1])
    for start in range(0, len(having), BATCH_SIZE):
        places = having[start : start + BATCH_SIZE]
        yield places, *pad_lattices([features[place][name][0] for place in places])


@torch.no_grad()
def embed(model, features: Sequence[BatchFeature]) -> dict[str, torch.Tensor]:
    """Compute what the heads read: descriptors, means of the passage and, of each lattice, the pooled embedding.

    Args:
        model: A `PianoAssessmentModel`.
        features: Of `extract`.

    Returns:
        Arguments of the model's `forward`, (items, ...); NaN where an item has no such input.
    """
    names = ["descriptors", *(name for name in PASSAGE_TENSORS if name in features[0])]
    tensors = {name: torch.cat([item[name] for item in features]) for name in names}
    for lattice in model.lattices:
        size = 2 * model.config.hidden_size
        tensors[f"{lattice}_embeddings"] = torch.full((len(features), size), float("nan"))
        for places, padded, mask in lattice_batches(features, lattice):
            tensors[f"{lattice}_embeddings"][places] = model.encode_lattice(lattice, padded, mask)
    return tensors


@torch.no_grad()
def judge(model, tensors: Mapping[str, torch.Tensor], inputs: Sequence[str] = ALL_INPUTS) -> Predictions:
    """Assess performances from `embed`, as if only `inputs` had been given; intervals are None if not calibrated."""
    output = model(**model.select_inputs(dict(tensors), tuple(inputs)))
    percepts, stds, low, high = (getattr(output, name).double().numpy() for name in ("percepts", "stds", "low", "high"))
    bounded = np.isfinite(low).all()
    return Predictions(percepts, stds, low if bounded else None, high if bounded else None)


def interval_values(interval: Interval) -> dict[str, float]:
    """Value and ends of an interval, for JSON."""
    return {name: float(getattr(interval, name)) for name in ("value", "low", "high")}
