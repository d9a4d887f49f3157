"""Whose voices a checkpoint was trained on, as its run folder says, and whether any of them is measured."""

import json
from collections.abc import Iterable
from pathlib import Path

TRAINING_UNKNOWN = "training data not given: nothing shows that the voices measured are unheard"
_PLACES = ("training_data.json", "training/training_data.json")


def training_data_file(checkpoint: str | Path) -> Path | None:
    """Find the `training_data.json` beside a checkpoint, or inside it as it is published; None if there is none."""
    checkpoint = Path(checkpoint)
    paths = [checkpoint.parent / _PLACES[0], *(checkpoint / place for place in _PLACES)]
    return next((path for path in paths if path.is_file()), None)


def speakers_of_training(checkpoint: str | Path) -> list[str] | None:
    """Read the speakers in the `training_data.json` of a checkpoint.

    Args:
        checkpoint: folder.

    Returns:
        Sorted speakers; None if there is no such file or a corpus in it does not name its speakers.
    """
    path = training_data_file(checkpoint)
    if path is None:
        return None
    corpora = json.loads(path.read_text(encoding="utf-8"))
    if not all("speakers" in corpus for corpus in corpora):
        return None
    return sorted({speaker for corpus in corpora for speaker in corpus["speakers"]})


def audit_speakers(known: Iterable[str] | None, measured: Iterable[str]) -> dict | None:
    """Refuse to measure voices that training knows.

    Args:
        known: speakers of training; None if that is not known.
        measured: speakers to be measured.

    Returns:
        `num_known` and `num_shared_groups` (0); None if training is not known.

    Raises:
        ValueError: a speaker is in both.
    """
    if known is None:
        return None
    shared = set(known) & set(measured)
    if shared:
        raise ValueError(
            f"`known_speakers` has {len(shared)} of those measured, e.g. {min(shared)!r}; measure new voices."
        )
    return {"num_known": len(set(known)), "num_shared_groups": 0}
