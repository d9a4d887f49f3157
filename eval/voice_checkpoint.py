"""A published converter as a system, and how a row tells of it."""

from pathlib import Path

import numpy as np
import torch
from transformers import AutoModel

from antiphon.eval.conditions import describe_weights


class CheckpointConverter:
    """A checkpoint of `VoiceConverterModel`.

    Args:
        model: with `convert`, in evaluation mode.
    """

    def __init__(self, model: torch.nn.Module):
        self.model = model

    @torch.inference_mode()
    def convert(self, source: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """Convert with the model."""
        return self.model.convert(torch.from_numpy(source), torch.from_numpy(reference)).numpy()


def load_converter(checkpoint: str | Path) -> CheckpointConverter:
    """Load a converter from its folder."""
    return CheckpointConverter(AutoModel.from_pretrained(checkpoint, trust_remote_code=True).eval())


def describe_checkpoint(checkpoint: str | Path | None, outputs_sha256: str) -> dict:
    """Digest and size of a checkpoint; what has none is known by what it made.

    Returns:
        `checkpoint_sha256` and `model`, for a result row.
    """
    if checkpoint is None:
        return {"checkpoint_sha256": outputs_sha256, "model": {}}
    return describe_weights(checkpoint)
