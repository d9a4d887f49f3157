"""Who judges converted voices, and which of them a converter knows from its training."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from antiphon.eval.voice_judges import (
    CheckpointRecogniser,
    DnsmosJudge,
    Judge,
    PocketsphinxRecogniser,
    ResemblyzerJudge,
    SpeakerEncoderJudge,
    ask,
)


@dataclass(frozen=True)
class Judges:
    """Who judges, and where the answers are kept.

    Args:
        speaker: decides on similarity.
        recogniser: decides on words.
        own_speaker, second_recogniser, quality: further opinions, None to go without.
        trained_against: those of "own_speaker" and "second_recogniser" that the measured system knows from training,
            so that their liking it shows nothing.
        cache: folder, as `cached_arrays` takes it.
    """

    speaker: Judge
    recogniser: Judge
    own_speaker: Judge | None = None
    second_recogniser: Judge | None = None
    quality: Judge | None = None
    trained_against: Sequence[str] = ()
    cache: str | os.PathLike | None = None

    @property
    def names(self) -> dict[str, str]:
        """Name and version of each, by its role."""
        roles = ("speaker", "recogniser", "own_speaker", "second_recogniser", "quality")
        return {role: getattr(self, role).name for role in roles if getattr(self, role)}

    def embedding(self, judge: Judge, waveform: np.ndarray) -> np.ndarray:
        """Embedding of one recording."""
        return ask(judge, waveform, self.cache)["embedding"]

    def text(self, judge: Judge, waveform: np.ndarray) -> str:
        """Transcript of one recording."""
        return str(ask(judge, waveform, self.cache)["text"])


def load_judges(
    recogniser: str | Path | None = None,
    speaker_encoder: str | Path | None = None,
    *,
    with_quality: bool = True,
    cache: str | Path | None = None,
) -> Judges:
    """Resemblyzer and pocketsphinx, which decide, and those that are asked for.

    Args:
        recogniser: folder of a second recogniser.
        speaker_encoder: folder of a second speaker encoder.
        with_quality: whether DNSMOS rates, which takes longest.
        cache: folder for what judges said.

    Raises:
        MissingJudgeError: the extra `judges` is not installed.
    """
    return Judges(
        ResemblyzerJudge(),
        PocketsphinxRecogniser(),
        own_speaker=SpeakerEncoderJudge(speaker_encoder) if speaker_encoder else None,
        second_recogniser=CheckpointRecogniser(recogniser) if recogniser else None,
        quality=DnsmosJudge() if with_quality else None,
        cache=cache,
    )


def known_judges(model: torch.nn.Module, judges: Judges) -> list[str]:
    """The roles in `Judges` of checkpoints that a converter holds parts of: it was trained against these judges.

    A part that was trained further shares no weights any more, and is not found.

    Args:
        model: a `VoiceConverterModel`.
        judges: of which those that are models of ours have a `model`.
    """
    own = _weights(model)
    further = {role: getattr(getattr(judges, role), "model", None) for role in ("own_speaker", "second_recogniser")}
    return [role for role, judge in further.items() if judge is not None and own & _weights(judge)]


def _weights(model: torch.nn.Module) -> set[str]:
    """Digests of all matrices; vectors may be alike by chance, as those of ones are."""
    matrices = (parameter.detach().cpu().contiguous() for parameter in model.parameters() if parameter.ndim > 1)
    return {hashlib.sha256(matrix.numpy().tobytes()).hexdigest() for matrix in matrices}
