"""Loads a checkpoint that assesses piano performances, as a function from performances to predictions."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from tqdm.auto import tqdm
from transformers import AutoFeatureExtractor, AutoModel

from antiphon.eval.assessment_items import Predictions
from antiphon.processing.corpora import decode

INPUTS = ("midi", "audio", "score", "passage")
BATCH_SIZE = 8


def load_assessor(
    checkpoint: str | Path,
    *,
    inputs: Sequence[str] = ("midi", "audio", "score"),
    train: Dataset | None = None,
    device: str | torch.device = "cpu",
) -> Callable[[Dataset], Predictions]:
    """Load a checkpoint with its feature extractor.

    Args:
        checkpoint: folder with weights, configuration, extractor and code.
        inputs: of `INPUTS`, what the model is given; `passage` is the mean judgement of a performance's passage in
            training.
        train: performances trained on, for `passage`.
        device: where the model runs.

    Returns:
        A function that assesses performances with the columns of `load_percepiano`.

    Raises:
        ValueError: for inputs that do not exist, or `passage` without training data.
    """
    if not set(inputs) or set(inputs) - set(INPUTS):
        raise ValueError(f"`inputs` is {', '.join(inputs)!r}; expected some of {', '.join(INPUTS)}.")
    if "passage" in inputs and train is None:
        raise ValueError("`inputs` has 'passage' but `train` is None; pass the performances that were trained on.")
    extractor = AutoFeatureExtractor.from_pretrained(checkpoint, trust_remote_code=True)
    model = AutoModel.from_pretrained(checkpoint, trust_remote_code=True).eval().to(device)
    means = _passage_means(train) if "passage" in inputs else {}

    @torch.inference_mode()
    def assess(performances: Dataset) -> Predictions:
        parts = []
        for start in tqdm(range(0, len(performances), BATCH_SIZE), desc="assessing", unit="batch", disable=None):
            rows = list(performances.select(range(start, min(start + BATCH_SIZE, len(performances)))))
            batch = extractor(**_sources(rows, inputs, extractor.sampling_rate)).to(device)
            if means:
                unknown = np.full_like(next(iter(means.values())), np.nan)
                known = np.stack([means.get(row["passage"], unknown) for row in rows])
                batch["passage_percepts"] = torch.tensor(known, dtype=torch.float32, device=device)
            output = model(**batch)
            names = ("percepts", "stds", "low", "high")
            parts.append([getattr(output, name, None) for name in names])
        return Predictions(*(_joined(column) for column in zip(*parts)))

    return assess


def _passage_means(train: Dataset) -> dict[str, np.ndarray]:
    labels, passages = np.array(train["percepts"][:]), np.array(train["passage"][:])
    return {str(passage): labels[passages == passage].mean(axis=0) for passage in np.unique(passages)}


def _sources(rows: list[dict], inputs: Sequence[str], sampling_rate: int) -> dict:
    sources = {}
    if "midi" in inputs:
        sources["midi"] = [row["midi"] for row in rows]
    if "score" in inputs:
        sources["score"] = [row["score_midi"] for row in rows]
    if "audio" in inputs:
        sources["audio"] = [decode(row, sampling_rate)[0] for row in rows]
        sources["sampling_rate"] = sampling_rate
    return sources


def _joined(parts: Sequence[torch.Tensor | None]) -> np.ndarray | None:
    """One array; None for what the model does not give, or gives as NaN because it was not calibrated."""
    if parts[0] is None:
        return None
    joined = torch.cat(list(parts)).double().cpu().numpy()
    return joined if np.isfinite(joined).all() else None
