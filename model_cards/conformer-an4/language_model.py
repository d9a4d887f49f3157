"""Language models for decoding that read a text letter by letter: n-grams of words that can spell, or of characters."""

import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from .language_ngram import END, START, UNKNOWN, BackoffNgrams

SETTINGS_FILE = "language_model.json"
NGRAMS_FILE = "language_model.arpa"
SPELLING_FILE = "language_model_spelling.arpa"
# A space as a token: ARPA files separate their tokens by spaces.
SPACE_TOKEN = "|"


def log_add(first: float, other: float) -> float:
    """Logarithm of the sum of two numbers that are given as logarithms."""
    high, low = (first, other) if first > other else (other, first)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))


class LanguageModel:
    """What beam search asks of a language model; texts are in the tokenizer's normal form, one space between words.

    Models never change after they were made, but for the settings of decoding.

    Args:
        ngrams: Of the tokens.
        weight: How much the log-probability counts beside that of the acoustics, which is 1.
        length_bonus: Added for every token, since each costs probability.
        origin: What it was trained on, for the record.
    """

    level: str

    def __init__(
        self, ngrams: BackoffNgrams, *, weight: float = 0.5, length_bonus: float = 0.0, origin: dict | None = None
    ):
        self.ngrams, self.weight, self.length_bonus = ngrams, weight, length_bonus
        self.origin = origin or {}

    def __deepcopy__(self, memo) -> "LanguageModel":
        # transformers copies a whole processor to write its configuration; the tables may be large and never change.
        return self

    def start(self):
        """The state before a text."""
        raise NotImplementedError

    def extend(self, state, character: str) -> tuple[object, float]:
        """The state after one more character, and what it adds to the log-probability."""
        raise NotImplementedError

    def finish(self, state) -> float:
        """What the end of the text adds to its log-probability."""
        raise NotImplementedError

    def log_probability(self, text: str) -> float:
        """Natural logarithm of the probability of a whole text, its end included."""
        state, total = self.start(), 0.0
        for character in text:
            state, gain = self.extend(state, character)
            total += gain
        return total + self.finish(state)

    def perplexity(self, texts: Iterable[str]) -> float:
        """Perplexity per word, ends of texts counted as words; comparable between models of any level."""
        total, words = 0.0, 0
        for text in texts:
            total += self.log_probability(text)
            words += len(text.split()) + 1
        return math.exp(-total / words)

    @property
    def tables(self) -> dict[str, BackoffNgrams]:
        """The n-grams by the name of the file that holds them."""
        return {NGRAMS_FILE: self.ngrams}

    @property
    def sha256(self) -> str:
        """Digest of the tables; settings of decoding are not in it."""
        texts = [ngrams.to_arpa() for ngrams in self.tables.values()]
        return hashlib.sha256("".join(f"{len(text)}:{text}" for text in [self.level, *texts]).encode()).hexdigest()

    def describe(self) -> str:
        """What it is, in words, with a digest."""
        return f"{self.level} {self.ngrams.order}-gram ({self.sha256[:12]})"

    @staticmethod
    def remove(folder: str | os.PathLike) -> None:
        """Removes the language model that was saved in a folder, if any."""
        for name in (SETTINGS_FILE, NGRAMS_FILE, SPELLING_FILE):
            (Path(folder) / name).unlink(missing_ok=True)

    def save(self, folder: str | os.PathLike) -> list[str]:
        """Writes `language_model.json` and ARPA files in place of any other language model; returns their paths."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.remove(folder)
        for name, ngrams in self.tables.items():
            (folder / name).write_text(ngrams.to_arpa(), encoding="utf-8")
        settings = {
            "level": self.level,
            "order": self.ngrams.order,
            "weight": self.weight,
            "length_bonus": self.length_bonus,
            "origin": self.origin,
        }
        (folder / SETTINGS_FILE).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        return [str(folder / name) for name in (SETTINGS_FILE, *self.tables)]


class CharacterLanguageModel(LanguageModel):
    """N-grams of characters and spaces: no word is unknown to it."""

    level = "character"

    @classmethod
    def train(cls, texts: Iterable[str], order: int = 8, **settings) -> "CharacterLanguageModel":
        """Estimates the model from normalised texts."""
        sequences = ([SPACE_TOKEN if character == " " else character for character in text] for text in texts)
        return cls(BackoffNgrams.witten_bell(sequences, order), **settings)

    def start(self) -> tuple[str, ...]:
        return (START,)[: self.ngrams.order - 1]

    def extend(self, state: tuple[str, ...], character: str) -> tuple[tuple[str, ...], float]:
        token = SPACE_TOKEN if character == " " else character
        return self.ngrams.extend_context(state, token), self.ngrams.log_probability(state, token)

    def finish(self, state: tuple[str, ...]) -> float:
        return self.ngrams.log_probability(state, END)


class _WordState(NamedTuple):
    context: tuple[str, ...]  # the words before
    prefix: str  # what is written of the word
    spelling: tuple[str, ...]  # state of the spelling model in it
    spelled: float  # log-probability of the prefix under the spelling model
    ahead: float  # log-probability that was given for the prefix until the word is known


class WordLanguageModel(LanguageModel):
    """N-grams of words; a word that they do not know is spelled by a character model.

    A word has the probability that its n-gram gives it, plus that of `<unk>` times that of its spelling: all words that
    can be spelled add up to 1. While a word is being written it has the probability that any word begins so, by the
    n-grams of one word, and at its end its own takes that place: so a search knows early what becomes of a beginning.

    Args:
        spelling: N-grams of the characters of a word.
    """

    level = "word"

    def __init__(self, ngrams: BackoffNgrams, spelling: BackoffNgrams, **settings):
        super().__init__(ngrams, **settings)
        self.spelling = spelling
        self._beginnings: Counter[str] = Counter()
        for word in ngrams.vocabulary - {END, UNKNOWN}:
            probability = math.exp(ngrams.log_probability((), word))
            for length in range(1, len(word) + 1):
                self._beginnings[word[:length]] += probability

    @classmethod
    def train(cls, texts: Iterable[str], order: int = 3, spelling_order: int = 4, **settings) -> "WordLanguageModel":
        """Estimates the model from normalised texts; the spelling from their distinct words, since rare ones matter."""
        return cls.from_ngrams(
            BackoffNgrams.witten_bell((text.split() for text in texts), order), spelling_order, **settings
        )

    @classmethod
    def from_ngrams(cls, ngrams: BackoffNgrams, spelling_order: int = 4, **settings) -> "WordLanguageModel":
        """Gives n-grams of words, such as an ARPA file's, a spelling model that learnt from their vocabulary."""
        words = sorted(ngrams.vocabulary - {END, UNKNOWN})
        return cls(ngrams, BackoffNgrams.witten_bell(words, spelling_order), **settings)

    @property
    def tables(self) -> dict[str, BackoffNgrams]:
        return super().tables | {SPELLING_FILE: self.spelling}

    def start(self) -> _WordState:
        return self._between_words((START,)[: self.ngrams.order - 1])

    def extend(self, state: _WordState, character: str) -> tuple[_WordState, float]:
        if character == " ":
            if not state.prefix:
                return state, 0.0
            following = self.ngrams.extend_context(state.context, state.prefix)
            return self._between_words(following), self._word(state) - state.ahead
        prefix = state.prefix + character
        spelled = state.spelled + self.spelling.log_probability(state.spelling, character)
        unknown = self.ngrams.log_probability((), UNKNOWN) + spelled
        known = self._beginnings.get(prefix, 0.0)
        ahead = log_add(math.log(known), unknown) if known else unknown
        spelling = self.spelling.extend_context(state.spelling, character)
        return _WordState(state.context, prefix, spelling, spelled, ahead), ahead - state.ahead

    def finish(self, state: _WordState) -> float:
        state, gain = self.extend(state, " ")
        return gain + self.ngrams.log_probability(state.context, END)

    def _between_words(self, context: tuple[str, ...]) -> _WordState:
        return _WordState(context, "", (START,)[: self.spelling.order - 1], 0.0, 0.0)

    def _word(self, state: _WordState) -> float:
        """Log-probability of the word that ends here, known or spelled."""
        spelled = state.spelled + self.spelling.log_probability(state.spelling, END)
        unknown = self.ngrams.log_probability(state.context, UNKNOWN) + spelled
        if state.prefix not in self.ngrams.vocabulary:
            return unknown
        return log_add(self.ngrams.log_probability(state.context, state.prefix), unknown)


def load_language_model(folder: str | os.PathLike) -> LanguageModel:
    """Reads what `LanguageModel.save` wrote.

    Raises:
        ValueError: if the folder holds no language model, or one of a kind that is not known here.
    """
    folder = Path(folder)
    settings = _read_settings(folder / SETTINGS_FILE)
    tables = [BackoffNgrams.read_arpa(folder / name) for name in table_files(folder / SETTINGS_FILE)]
    options = {name: settings[name] for name in ("weight", "length_bonus", "origin") if name in settings}
    return _LEVELS[settings["level"]](*tables, **options)


def table_files(settings_path: str | os.PathLike) -> list[str]:
    """Names of the files that a language model consists of beside its settings.

    Args:
        settings_path: Of its `language_model.json`.
    """
    is_word = _read_settings(settings_path)["level"] == WordLanguageModel.level
    return [NGRAMS_FILE, SPELLING_FILE] if is_word else [NGRAMS_FILE]


_LEVELS = {model.level: model for model in (CharacterLanguageModel, WordLanguageModel)}


def _read_settings(path: str | os.PathLike) -> dict:
    try:
        settings = json.loads(Path(path).read_text(encoding="utf-8"))
        level = settings["level"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} does not describe a language model ({error}); expected the folder that "
            "train_language_model.py wrote."
        ) from error
    if level not in _LEVELS:
        raise ValueError(f"`level` in {path} is {level!r}; expected one of {sorted(_LEVELS)}.")
    return settings
