"""Loads a checkpoint that assesses piano performances, as a function from performances to predictions."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from tqdm.auto import tqdm
from transformers import AutoFeatureExtractor, AutoModel

from antiphon.eval.assessment_items import Predictions
from antiphon.eval.piano_features import PianoFiles, piano_features, stack_features

INPUTS = ("midi", "audio", "score")
BATCH_SIZE = 8
TRAINING_ITEMS = "training_items.json"  # in a checkpoint folder: the ids that it was trained on


def load_assessor(
    checkpoint: str | Path,
    *,
    inputs: Sequence[str] = ("midi", "audio", "score"),
) -> Callable[[Dataset], Predictions]:
    """Load a checkpoint with its feature extractor.

    Args:
        checkpoint: folder with weights, configuration, extractor and code.
        inputs: of `INPUTS`, what the model is given. What it knows of a passage it finds by the score.

    Returns:
        A function that assesses performances with the columns of `load_percepiano`.

    Raises:
        ValueError: for inputs that do not exist.
    """
    if not set(inputs) or set(inputs) - set(INPUTS):
        raise ValueError(f"`inputs` is {', '.join(inputs)!r}; expected some of {', '.join(INPUTS)}.")
    extractor = AutoFeatureExtractor.from_pretrained(checkpoint, trust_remote_code=True)
    model = AutoModel.from_pretrained(checkpoint, trust_remote_code=True).eval()

    @torch.inference_mode()
    def assess(performances: Dataset) -> Predictions:
        files = [_files(row, inputs) for row in performances.select_columns(["audio", "midi", "score_midi"])]
        features = piano_features(files, extractor)
        passages = extractor.known_passages([item.score for item in files])
        parts = []
        for start in tqdm(range(0, len(files), BATCH_SIZE), desc="assessing", unit="batch", disable=None):
            chosen = slice(start, start + BATCH_SIZE)
            known = {name: values[chosen] for name, values in passages.items()}
            output = model(**{**stack_features(features[chosen]), **known})
            names = ("percepts", "stds", "low", "high")
            parts.append([getattr(output, name, None) for name in names])
        return Predictions(*(_joined(column) for column in zip(*parts)))

    return assess


def _files(row: dict, inputs: Sequence[str]) -> PianoFiles:
    if "audio" in inputs and row["audio"] is None:
        raise ValueError("`inputs` has 'audio' but the performances have none; render them with `render_corpus` first.")
    return PianoFiles(
        audio=row["audio"]["path"] if "audio" in inputs else None,
        midi=row["midi"] if "midi" in inputs else None,
        score=row["score_midi"] if "score" in inputs else None,
    )


def _joined(parts: Sequence[torch.Tensor | None]) -> np.ndarray | None:
    """One array; None for what the model does not give, or gives as NaN because it was not calibrated."""
    if parts[0] is None:
        return None
    joined = torch.cat(list(parts)).double().cpu().numpy()
    return joined if np.isfinite(joined).all() else None
