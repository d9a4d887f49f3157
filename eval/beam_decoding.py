"""Beam search as benchmarks use it: its options on a command line, its name in a row, and what hot words brought."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from antiphon.eval.conditions import records_sha256
from antiphon.processing.decoding_beam import BeamSearch
from antiphon.processing.decoding_hot_words import HotWords
from antiphon.processing.language_model import SETTINGS_FILE, LanguageModel, load_language_model


@dataclass(frozen=True)
class BeamOptions:
    """How to decode by beam search.

    Args:
        num_beams: 2 or more; 1 is greedy decoding.
        language_model: Folder; the one in the checkpoint, if any, where None.
        weight, length_bonus: Those that the language model was saved with if None.
        hot_words: Words and phrases, normalised like transcripts before they are used.
        hot_word_bonus: For each of their characters, in nats.
    """

    num_beams: int
    language_model: str | Path | None = None
    weight: float | None = None
    length_bonus: float | None = None
    hot_words: Sequence[str] = ()
    hot_word_bonus: float = 0.5

    def make_search(self, checkpoint: str | Path, tokenizer) -> BeamSearch:
        """Return the search over the symbols of a checkpoint."""
        hot_words = None
        if self.hot_words:
            hot_words = HotWords(map(tokenizer.normalize_text, self.hot_words), self.hot_word_bonus)
        return BeamSearch.for_tokenizer(
            tokenizer,
            num_beams=self.num_beams,
            language_model=self._load(checkpoint),
            weight=self.weight,
            length_bonus=self.length_bonus,
            hot_words=hot_words,
        )

    def _load(self, checkpoint: str | Path) -> LanguageModel | None:
        if self.language_model is not None:
            return load_language_model(self.language_model)
        return load_language_model(checkpoint) if (Path(checkpoint) / SETTINGS_FILE).is_file() else None


def describe_search(search: BeamSearch) -> str:
    """Name everything that decides what the search finds: the condition `decoding` of a result row."""
    parts = [f"beam search of {search.num_beams} beams"]
    if search.language_model is not None:
        parts.append(f"{search.language_model.describe()} weighted {search.weight:g}")
    if search.length_bonus:
        parts.append(f"length bonus {search.length_bonus:g}")
    if search.hot_words is not None:
        phrases = search.hot_words.phrases
        digest = records_sha256((phrase,) for phrase in phrases)
        parts.append(f"{len(phrases)} hot words ({digest[:12]}) at {search.hot_words.bonus:g}")
    return ", ".join(parts)


def score_hot_words(references: Sequence[str], hypotheses: Sequence[str], phrases: Sequence[str]) -> dict:
    """Count how often hot words were said, found, and written though not said.

    Args:
        references, hypotheses: (items,) normalised.
        phrases: Hot words, normalised.

    Returns:
        `said`, `found` and `false_alarms`; `recall`, None where nothing was said. Occurrences are compared within an
        item by their number, not by their place.
    """
    said = found = written = 0
    for reference, hypothesis in zip(references, hypotheses):
        for phrase in phrases:
            in_reference, in_hypothesis = (_count(text, phrase) for text in (reference, hypothesis))
            said += in_reference
            written += in_hypothesis
            found += min(in_reference, in_hypothesis)
    return {"said": said, "found": found, "false_alarms": written - found, "recall": found / said if said else None}


def _count(text: str, phrase: str) -> int:
    words, wanted = text.split(), phrase.split()
    return sum(words[start : start + len(wanted)] == wanted for start in range(len(words) - len(wanted) + 1))


def add_beam_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of beam search to a command line."""
    group = parser.add_argument_group("beam search")
    group.add_argument("--beams", type=int, default=1, help="prefixes to keep, e.g. 32; greedy decoding if left out")
    group.add_argument("--language-model", metavar="FOLDER", help="the checkpoint's own, if any, if left out")
    group.add_argument("--lm-weight", type=float, help="of the language model; what it was tuned to if left out")
    group.add_argument("--length-bonus", type=float, help="for each of its tokens; what it was tuned to if left out")
    group.add_argument("--hot-words", type=Path, metavar="FILE", help="words and phrases to favour, one per line")
    group.add_argument("--hot-word-bonus", type=float, default=0.5, help="for each of their characters")


def read_beam_arguments(options: argparse.Namespace) -> BeamOptions | None:
    """Return what `add_beam_arguments` asked for; None for greedy decoding.

    Raises:
        ValueError: for options that greedy decoding cannot do.
    """
    if options.beams == 1:
        if given := [name for name in ("language_model", "hot_words") if getattr(options, name) is not None]:
            raise ValueError(f"`--{given[0].replace('_', '-')}` needs beam search; add e.g. --beams 32.")
        return None
    hot_words = []
    if options.hot_words is not None:
        hot_words = [line.strip() for line in options.hot_words.read_text(encoding="utf-8").splitlines()]
    return BeamOptions(
        num_beams=options.beams,
        language_model=options.language_model,
        weight=options.lm_weight,
        length_bonus=options.length_bonus,
        hot_words=tuple(filter(None, hot_words)),
        hot_word_bonus=options.hot_word_bonus,
    )
