"""Longer recordings than there are: clips of one speaker, one after the other."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Joined:
    """Several clips of one speaker as one.

    Args:
        speaker: Who speaks.
        indices: Of the clips, in their order.
        seconds: Of all of them.
    """

    speaker: str
    indices: tuple[int, ...]
    seconds: float

    def waveform(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        """(samples,), with no pause between the clips but their own silence."""
        return np.concatenate([waveforms[index] for index in self.indices])

    def text(self, texts: Sequence[str]) -> str:
        """What is said in all of them."""
        return " ".join(texts[index] for index in self.indices)


def join_recordings(speakers: Sequence[str], durations: Sequence[float], seconds: float) -> list[Joined]:
    """Joins clips of each speaker, in the order of the corpus, until each recording lasts long enough.

    Every clip is used once, so that each length holds the same words. What is left of a speaker in the end joins that
    speaker's last recording.

    Args:
        speakers: (clips,).
        durations: (clips,) seconds.
        seconds: That each recording shall last at least, if its speaker has said as much; 0 leaves every clip alone.
    """
    joined = []
    for speaker in dict.fromkeys(speakers):
        own, groups = [index for index, name in enumerate(speakers) if name == speaker], [[]]
        for index in own:
            if groups[-1] and sum(durations[each] for each in groups[-1]) >= seconds:
                groups.append([])
            groups[-1].append(index)
        if len(groups) > 1 and sum(durations[each] for each in groups[-1]) < seconds:
            groups[-2:] = [groups[-2] + groups[-1]]
        joined += [Joined(speaker, tuple(group), sum(durations[each] for each in group)) for group in groups]
    return joined
