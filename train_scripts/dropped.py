"""Which utterances cannot be trained on, why, and from which source."""

from collections import Counter
from collections.abc import Mapping, Sequence

SOURCE_NOT_STATED = "source not stated"


class Dropped:
    """Counts utterances that are kept and those that are dropped, by reason and by source.

    Args:
        reasons: In words, by their keys.
    """

    def __init__(self, reasons: Mapping[str, str]):
        self.reasons = dict(reasons)
        self.by_source: dict[str, Counter] = {}
        self.positions: list[tuple[int, str]] = []

    def add(self, why: str | None, source: str | None) -> None:
        """Counts one utterance; where it is in its corpus is not noted."""
        self.by_source.setdefault(source or SOURCE_NOT_STATED, Counter())[why or "kept"] += 1

    def count(self, whys: Sequence[str | None], sources: Sequence[str | None]) -> list[int]:
        """Counts all utterances of a corpus and returns the positions of those that are kept.

        Args:
            whys: For each utterance the key of the reason to drop it, or None.
            sources: For each utterance where it comes from.
        """
        for why, source in zip(whys, sources):
            self.add(why, source)
        self.positions = [(position, why) for position, why in enumerate(whys) if why]
        return [position for position, why in enumerate(whys) if not why]

    def __getitem__(self, key: str) -> int:
        """How many were dropped for a reason, or `kept`, over all sources."""
        return sum(counts[key] for counts in self.by_source.values())

    def __str__(self) -> str:
        told = [self._tell("", {key: self[key] for key in ("kept", *self.reasons)})]
        if len(self.by_source) > 1:
            told += [self._tell(f"  {source}: ", counts) for source, counts in self.by_source.items()]
        return "\n".join(told)

    def _tell(self, source: str, counts: Mapping[str, int]) -> str:
        # A line of one source leaves out what does not occur there.
        told = [f"{counts[key]} {words}" for key, words in self.reasons.items() if counts[key] or not source]
        return f"{source}{counts['kept']} utterances kept; dropped: {', '.join(told) or 'none'}"
