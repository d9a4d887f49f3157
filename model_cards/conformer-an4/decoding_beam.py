"""CTC prefix beam search with a language model and hot words.

It is part of every checkpoint, which must load with transformers and torch alone. pyctcdecode does not install beside
numpy 2, and torchaudio, whose decoder is flashlight's, is in maintenance; both need a compiled KenLM besides.
"""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .decoding_hot_words import HotWords
from .language_model import LanguageModel
from .tokenization_character import SPACE


@dataclass(frozen=True)
class Hypothesis:
    """A transcript that a beam search found.

    Args:
        text: Words with single spaces between them.
        score: What the search ranks by: the sum of all parts, weighted.
        acoustic_score: Log-probability of the text, summed over those of its alignments that were not pruned.
        language_score: Log-probability of the text under the language model, unweighted; 0 without one.
        bonus: For length and hot words.
    """

    text: str
    score: float
    acoustic_score: float
    language_score: float
    bonus: float


class _Prefix:
    """A beginning of a transcript, a node in the tree of all of them.

    Args:
        parent: The prefix that is one symbol shorter.
        symbol: Id of the last symbol.
        weighted: Score of all but the acoustics.
    """

    __slots__ = (
        "blank", "bonus", "children", "frame", "hot_state", "language_score", "language_state", "next_blank",
        "next_written", "parent", "symbol", "weighted", "written",
    )  # fmt: skip

    def __init__(self, parent: "_Prefix | None", symbol: int):
        self.parent, self.symbol = parent, symbol
        self.children: dict[int, _Prefix] = {}
        self.frame = -1
        # Probability of all its alignments that end in a blank, and in its last symbol; relative to a common factor.
        self.blank = self.written = self.next_blank = self.next_written = 0.0
        self.language_state, self.language_score, self.hot_state = None, 0.0, HotWords.start
        self.bonus = self.weighted = 0.0


class BeamSearch:
    """Finds the transcripts with the highest score: that of acoustics, language and expected words together.

    score = log p(text | sound) + weight * log p(text | language) + length_bonus * tokens + hot words

    Spaces at the edges and in a row are no part of a transcript: alignments that differ in them alone are added up.
    Without a language model, tokens are words.

    Args:
        symbols: (vocab_size,) what each id writes: a character, " ", "" for the blank, None for what is never written.
        num_beams: Prefixes that are kept after each frame.
        language_model: If any.
        weight: Of the language model; its own if None.
        length_bonus: For each token of the language model; its own if None.
        hot_words: If any.
        min_log_probability: Symbols below this are not tried in a frame, but for the likeliest.
        max_score_distance: Prefixes that are further than this below the best are dropped.

    Raises:
        ValueError: for symbols without one blank or without a space, or less than one beam.

    Source: Hannun et al. 2014, "First-Pass Large Vocabulary Continuous Speech Recognition using Bi-Directional
        Recurrent DNNs", algorithm 1. The language model is added to the score by which prefixes are ranked, letter by
        letter, and never multiplied into the probabilities of their alignments.
    """

    def __init__(
        self,
        symbols: Sequence[str | None],
        *,
        num_beams: int = 32,
        language_model: LanguageModel | None = None,
        weight: float | None = None,
        length_bonus: float | None = None,
        hot_words: HotWords | None = None,
        min_log_probability: float = -7.0,
        max_score_distance: float = 12.0,
    ):
        if num_beams < 1:
            raise ValueError(f"`num_beams` is {num_beams}; expected 1 or more, such as 32.")
        if symbols.count("") != 1 or symbols.count(" ") != 1:
            raise ValueError('`symbols` must hold the blank "" once and the space " " once.')
        self.symbols = list(symbols)
        self.num_beams, self.language_model, self.hot_words = num_beams, language_model, hot_words
        self.weight = (language_model.weight if language_model else 0.0) if weight is None else weight
        own_bonus = language_model.length_bonus if language_model else 0.0
        self.length_bonus = own_bonus if length_bonus is None else length_bonus
        self.min_log_probability, self.max_score_distance = min_log_probability, max_score_distance
        self._blank, self._space = symbols.index(""), symbols.index(" ")
        self._writable = [index for index, symbol in enumerate(symbols) if symbol]
        self._counts_characters = language_model is not None and language_model.level == "character"

    @classmethod
    def for_tokenizer(cls, tokenizer, **options) -> "BeamSearch":
        """Makes a search over the symbols of a `CharacterTokenizer`; `<unk>` is never written."""
        tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
        written = {tokenizer.pad_token: "", tokenizer.unk_token: None, SPACE: " "}
        return cls([written.get(token, token) for token in tokens], **options)

    def __call__(self, log_probabilities: np.ndarray, num_hypotheses: int = 1) -> list[Hypothesis]:
        """Searches one item.

        Args:
            log_probabilities: (frames, vocab_size), natural logarithms.
            num_hypotheses: Most that are returned.

        Returns:
            Distinct texts, best first; at least one.
        """
        writable = np.asarray(self._writable)
        values = np.asarray(log_probabilities, dtype=np.float64)
        candidates = values[:, writable]
        tried = candidates >= np.minimum(self.min_log_probability, candidates.max(-1))[:, None]
        # Relative to the likeliest symbol that can be written, lest a frame leave nothing.
        highest = np.maximum(values[:, self._blank], candidates.max(-1))
        probabilities = np.exp(np.minimum(values - highest[:, None], 0.0))
        beam, log_factor = [self._root()], float(highest.sum())
        for frame, row in enumerate(tried):
            ids = writable[row]
            symbols = list(zip(ids.tolist(), probabilities[frame, ids].tolist()))
            reached = self._advance(beam, frame, float(probabilities[frame, self._blank]), symbols)
            beam, factor = self._prune(reached)
            log_factor += math.log(factor)
        return self._finish(beam, log_factor)[:num_hypotheses]

    def _advance(
        self, beam: list[_Prefix], frame: int, blank: float, symbols: list[tuple[int, float]]
    ) -> list[_Prefix]:
        """Writes one frame's symbols after every prefix; returns all prefixes that are reached."""
        reached = list(beam)
        for prefix in beam:
            prefix.frame = frame
        for prefix in beam:
            total = prefix.blank + prefix.written
            prefix.next_blank += total * blank
            for symbol, probability in symbols:
                if symbol != prefix.symbol:
                    mass = total * probability
                elif symbol == self._space:
                    # A space after a space writes nothing new.
                    prefix.next_written += total * probability
                    continue
                else:
                    # Without a blank between them, two equal symbols are one.
                    prefix.next_written += prefix.written * probability
                    mass = prefix.blank * probability
                if not mass:
                    continue
                child = prefix.children.get(symbol) or self._write(prefix, symbol)
                child.next_written += mass
                if child.frame != frame:
                    child.frame = frame
                    reached.append(child)
        return reached

    def _prune(self, reached: list[_Prefix]) -> tuple[list[_Prefix], float]:
        """Keeps the best prefixes; returns them and the factor that their probabilities were divided by."""
        # Probabilities of whole transcripts would underflow after some hundred frames.
        factor = max(prefix.next_blank + prefix.next_written for prefix in reached)
        scored = []
        for number, prefix in enumerate(reached):
            prefix.blank, prefix.written = prefix.next_blank / factor, prefix.next_written / factor
            prefix.next_blank = prefix.next_written = 0.0
            if total := prefix.blank + prefix.written:
                scored.append((math.log(total) + prefix.weighted, -number, prefix))
        best = heapq.nlargest(self.num_beams, scored)
        threshold = best[0][0] - self.max_score_distance
        kept = [prefix for score, _, prefix in best if score >= threshold]
        return kept, factor

    def _root(self) -> _Prefix:
        # As if after a space: one at the beginning writes nothing.
        root = _Prefix(None, self._space)
        root.blank = 1.0
        if self.language_model:
            root.language_state = self.language_model.start()
        return root

    def _write(self, prefix: _Prefix, symbol: int) -> _Prefix:
        child = prefix.children[symbol] = _Prefix(prefix, symbol)
        character = self.symbols[symbol]
        child.bonus, child.language_score = prefix.bonus, prefix.language_score
        if self._counts_characters or prefix.symbol == self._space:
            child.bonus += self.length_bonus
        if self.language_model:
            child.language_state, gain = self.language_model.extend(prefix.language_state, character)
            child.language_score += gain
        if self.hot_words:
            child.hot_state, change = self.hot_words.step(prefix.hot_state, character)
            child.bonus += change
        child.weighted = self.weight * child.language_score + child.bonus
        return child

    def _finish(self, beam: list[_Prefix], log_factor: float) -> list[Hypothesis]:
        masses: dict[_Prefix, float] = {}
        for prefix in beam:
            is_space = prefix.symbol == self._space and prefix.parent is not None
            text = prefix.parent if is_space else prefix  # a space at the end writes nothing
            masses[text] = masses.get(text, 0.0) + prefix.blank + prefix.written
        hypotheses = []
        for prefix, mass in masses.items():
            acoustic, language, bonus = math.log(mass) + log_factor, prefix.language_score, prefix.bonus
            if self.language_model:
                language += self.language_model.finish(prefix.language_state)
            if self.hot_words:
                bonus += self.hot_words.finish(prefix.hot_state)
            score = acoustic + self.weight * language + bonus
            hypotheses.append(Hypothesis(self._text(prefix), score, acoustic, language, bonus))
        return sorted(hypotheses, key=lambda hypothesis: -hypothesis.score)

    def _text(self, prefix: _Prefix) -> str:
        characters = []
        while prefix.parent is not None:
            characters.append(self.symbols[prefix.symbol])
            prefix = prefix.parent
        return "".join(reversed(characters))
