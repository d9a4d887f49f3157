"""Corpora of synthetic English speech: digits, short commands and spellings by many eSpeak NG voices."""

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import yaml
from datasets import Dataset

from .synthetic_shards import SPLITS, load_or_synthesise

SYNTHETIC_CORPORA = {
    "synthetic_commands": 16_000,
    "synthetic_spellings": 16_000,
    "synthetic_digits": 8_000,
    "synthetic_digits_accented": 8_000,
}
# Our texts spoken by a GPL-3 program: its licence covers the program, not what it says.
_LICENSE = "CC0-1.0"
_HERE = Path(__file__).parent
_GRAMMARS = {"synthetic_commands": "commands.yaml", "synthetic_spellings": "spellings.yaml"}
_PLAN_FILES = ("synthetic.py", "voices.yaml", "accents.yaml", *_GRAMMARS.values())
# As the engine must read them: it takes a lone `a` for the article, and British voices say `zed`.
LETTER_NAMES = {"a": "ay", "z": "zee"}


def load_synthetic(
    name: str,
    *,
    num_utterances: int = 10_000,
    seed: int = 0,
    sampling_rate: int | None = None,
    split: str | None = None,
    cache_dir: str | os.PathLike | None = None,
    num_proc: int | None = None,
) -> Dataset:
    """Synthesise a corpus, or load it from the cache where the same options made it before.

    Every voice of `voices.yaml` speaks equally often; rate, pitch and pitch range are drawn anew for each utterance.
    Voices of different splits differ in their variant, so that test speech has a timbre that training lacks.

    Args:
        name: "synthetic_commands" (digit sequences and commands of `commands.yaml`), "synthetic_spellings" (letters,
            numbers, dates and orders of `spellings.yaml`), "synthetic_digits" (single words zero to nine) or
            "synthetic_digits_accented" (the same, by the voices of other languages, from the respellings of
            `accents.yaml`).
        num_utterances: Utterances of all splits together.
        seed: Seed of the texts, voices and prosody.
        sampling_rate: Hz; by default 8000 for digits and 16000 for the others.
        split: "train", "validation" or "test"; None for all.
        cache_dir: Folder of the cache; by default inside the cache of `datasets`.
        num_proc: Processes; by default one for each available core. Does not change the result.

    Returns:
        The standard columns, `spoken` (what the engine read), `rate` (words per minute), `pitch` and `pitch_range` (0
        to 100). Audio is 16-bit FLAC.

    Raises:
        SynthesisError: eSpeak NG is missing (`pip install antiphon[synthesis]`) or fails.
        CorpusError: An option is out of range.
    """
    return load_or_synthesise(
        name,
        lambda: plan_utterances(name, num_utterances, seed),
        made_of=[name, num_utterances, seed],
        plan_files=_PLAN_FILES,
        num_utterances=num_utterances,
        sampling_rate=SYNTHETIC_CORPORA[name] if sampling_rate is None else sampling_rate,
        split=split,
        cache_dir=cache_dir,
        num_proc=num_proc,
    )


@cache
def load_voices() -> dict:
    """The committed list of voices: train, validation, test, siblings and excluded."""
    return yaml.safe_load((_HERE / "voices.yaml").read_text(encoding="utf-8"))


@cache
def load_accents() -> dict[str, list[str]]:
    """The committed respellings of zero to nine by language."""
    return yaml.safe_load((_HERE / "accents.yaml").read_text(encoding="utf-8"))


@cache
def load_grammar(name: str = "synthetic_commands") -> dict:
    """The committed grammar of a corpus: digit_share, max_digits, slots, commands and, for some, pause_share."""
    return yaml.safe_load((_HERE / _GRAMMARS[name]).read_text(encoding="utf-8"))


def plan_utterances(name: str, num_utterances: int, seed: int) -> list[dict]:
    """Draw who says what and how: the rows of a synthetic corpus without their audio.

    A longer plan begins with a shorter one of the same seed.
    """
    generator = np.random.default_rng(seed)
    split_of = _accented_voices() if name == "synthetic_digits_accented" else english_voices()
    texts = _grammar_texts(load_grammar(name), generator) if name in _GRAMMARS else _digit_texts(generator)
    pause_share = load_grammar(name).get("pause_share", 0) if name in _GRAMMARS else 0
    voices = shuffled_cycle(list(split_of), generator)
    rows = []
    for index in range(num_utterances):
        voice, text = next(voices), next(texts)
        rows.append(
            {
                "text": text,
                "spoken": _with_pauses(_respell(text, voice), pause_share, generator),
                "speaker_id": voice,
                "source": "eSpeak NG",
                "split": split_of[voice],
                "license": _LICENSE,
                "file_name": f"{name}-{index:06d}.flac",
                **draw_prosody(generator),
            }
        )
    return rows


def draw_prosody(generator: np.random.Generator) -> dict[str, int]:
    """Rate, pitch and pitch range of one utterance."""
    return {
        "rate": int(generator.integers(120, 221)),
        "pitch": int(generator.integers(25, 76)),
        "pitch_range": int(generator.integers(20, 81)),
    }


def english_voices() -> dict[str, str]:
    """The split of each English voice."""
    return {voice: split for split in SPLITS for voice in load_voices()[split]}


def _accented_voices() -> dict[str, str]:
    """Every language with every variant, each in the split where its variant is among the English voices."""
    variants = {voice.partition("+")[2]: split for voice, split in english_voices().items() if "+" in voice}
    return {f"{language}+{variant}": split for language in load_accents() for variant, split in variants.items()}


def _respell(text: str, voice: str) -> str:
    spellings = load_accents().get(voice.partition("+")[0])
    if spellings is None:
        return " ".join(LETTER_NAMES.get(word, word) for word in text.split())
    return spellings[load_grammar()["slots"]["digit"].index(text)]


def _with_pauses(spoken: str, share: float, generator: np.random.Generator) -> str:
    """Put a comma, which the engine reads as a pause, after every word of a share of the texts."""
    # A corpus without pauses draws nothing here, so that its plan stays as it is.
    return ", ".join(spoken.split()) if share and generator.random() < share else spoken


def shuffled_cycle(items: list[str], generator: np.random.Generator) -> Iterator[str]:
    """Endless passes over the items, each in a new order, so that all occur equally often."""
    while True:
        for index in generator.permutation(len(items)):
            yield items[index]


def _digit_texts(generator: np.random.Generator) -> Iterator[str]:
    yield from shuffled_cycle(load_grammar()["slots"]["digit"], generator)


def _grammar_texts(grammar: dict, generator: np.random.Generator) -> Iterator[str]:
    commands = shuffled_cycle(grammar["commands"], generator)
    while True:
        if generator.random() < grammar["digit_share"]:
            num_digits = int(generator.integers(1, grammar["max_digits"] + 1))
            yield " ".join(generator.choice(grammar["slots"]["digit"], size=num_digits))
        else:
            yield " ".join(_fill_slot(word, grammar["slots"], generator) for word in next(commands).split())


def _fill_slot(word: str, slots: dict[str, list[str]], generator: np.random.Generator) -> str:
    return str(generator.choice(slots[word[1:-1]])) if word.startswith("{") else word
