"""Which checkpoint to use: a folder, a Hub repository, or the one that lies in this project."""

import os
from pathlib import Path

from huggingface_hub import snapshot_download

WEIGHTS = "model.safetensors"
DEFAULT = "model_cards/voice-conversion"
# What loading needs; never a pickle.
HUB_PATTERNS = ["*.json", "*.py", "*.safetensors"]


class CheckpointError(ValueError):
    """No usable checkpoint; the message is one sentence for whoever starts the Space."""


def choose_checkpoint(reference: str | None, roots: list[Path]) -> Path:
    """The folder of a checkpoint, fetched from the Hub if need be.

    Args:
        reference: Folder or Hub id that was asked for; None takes `DEFAULT`.
        roots: Project folders in which that may lie.

    Raises:
        CheckpointError: There is none, or `reference` cannot be had.
    """
    if reference:
        folder = Path(reference).expanduser()
        return _with_weights(folder if folder.is_dir() else _fetch(reference))
    for root in roots:
        if (root / DEFAULT / WEIGHTS).is_file():
            return (root / DEFAULT).resolve()
    raise CheckpointError(
        f"No checkpoint was found in {DEFAULT}; name a folder or a Hub repository: `python app.py CHECKPOINT`, or in "
        "the variable ANTIPHON_CHECKPOINT."
    )


def _fetch(reference: str) -> Path:
    try:
        return Path(snapshot_download(reference, allow_patterns=HUB_PATTERNS))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(
            f"{reference!r} is no folder here and cannot be fetched from the Hub either: {reason}"
        ) from error


def _with_weights(folder: Path) -> Path:
    if not (folder / WEIGHTS).is_file():
        raise CheckpointError(f"{os.fspath(folder)!r} holds no {WEIGHTS}; name the folder that a training wrote.")
    return folder.resolve()
