"""A corpus of any texts, spoken by the synthetic voices."""

import hashlib
import json
import logging
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
from datasets import Dataset

from .schema import CorpusError
from .synthetic import LETTER_NAMES, draw_prosody, english_voices, shuffled_cycle
from .synthetic_shards import load_or_synthesise

logger = logging.getLogger(__name__)

SENTENCES = "synthetic_sentences"
_PLAN_FILES = ("synthetic_sentences.py", "synthetic.py", "voices.yaml")


def load_sentences(
    load_corpus: Callable[..., Dataset],
    *,
    texts: str | os.PathLike | Mapping,
    num_utterances: int = 10_000,
    license: str | None = None,
    allow_test_texts: bool = False,
    seed: int = 0,
    sampling_rate: int = 16_000,
    split: str | None = None,
    cache_dir: str | os.PathLike | None = None,
    num_proc: int | None = None,
) -> Dataset:
    """Let the English voices of `voices.yaml` speak texts, or load what they spoke from the cache.

    Every text and every voice occurs equally often. As in the other synthetic corpora, no voice, nor one that sounds
    like it, is in two splits; a text can be. Give each split texts of its own where known sentences would be too easy.

    Args:
        load_corpus: Loads the corpus that `texts` names.
        texts: A file with one sentence per line, or `{name: CORPUS, split: SPLIT}` with any further options of
            `load_corpus`: then the texts of that split are spoken.
        num_utterances: Utterances of all splits together.
        license: Licence of the texts of a file, which becomes that of the utterances; a corpus states its own.
        allow_test_texts: Whether the texts may be those of a test split, on which no model should then be tested.
        seed, sampling_rate, split, cache_dir, num_proc: Of `load_synthetic`.

    Returns:
        The columns of `load_synthetic`. `source` names the engine and where the texts come from. Texts with digits, or
        with letters that English does not have, are left out and counted in a warning: what is heard would not be
        what is written.

    Raises:
        SynthesisError: eSpeak NG is missing (`pip install antiphon[synthesis]`) or fails.
        CorpusError: There are no texts, their licence is unknown, they are those of a test, or an option is out of
            range.
    """
    if isinstance(texts, Mapping):
        origin, sentences = _corpus_texts(load_corpus, texts, license, allow_test_texts)
    else:
        origin, sentences = _file_texts(Path(texts), license)
    sentences = _speakable(sentences, origin)
    source = f"eSpeak NG, texts of {origin}"
    digest = hashlib.sha256(json.dumps(sentences).encode()).hexdigest()
    return load_or_synthesise(
        SENTENCES,
        lambda: plan_sentences(sentences, source, num_utterances, seed),
        made_of=[SENTENCES, source, digest, num_utterances, seed],
        plan_files=_PLAN_FILES,
        num_utterances=num_utterances,
        sampling_rate=sampling_rate,
        split=split,
        cache_dir=cache_dir,
        num_proc=num_proc,
    )


def plan_sentences(sentences: list[tuple[str, str]], source: str, num_utterances: int, seed: int) -> list[dict]:
    """Draw who says what and how: the rows without their audio. A longer plan begins with a shorter one.

    Args:
        sentences: Texts, each with its licence.
        source: Of the corpus.
        num_utterances: Of all splits together.
        seed: Of the order of texts and voices and of the prosody.
    """
    generator = np.random.default_rng(seed)
    split_of = english_voices()
    voices, drawn = shuffled_cycle(list(split_of), generator), shuffled_cycle(sentences, generator)
    rows = []
    for index in range(num_utterances):
        voice, (text, license) = next(voices), next(drawn)
        rows.append(
            {
                "text": text,
                "spoken": readable(text),
                "speaker_id": voice,
                "source": source,
                "split": split_of[voice],
                "license": license,
                "file_name": f"{SENTENCES}-{index:06d}.flac",
                **draw_prosody(generator),
            }
        )
    return rows


def readable(text: str) -> str:
    """Write a text as the engine must read it.

    Capital letters throughout would be spelt, so they become small. A lone `a` is an article, but among other lone
    letters it is spelt and needs its name; so does `z`, which British voices call `zed`.
    """
    words = (text.lower() if text.isupper() else text).split()
    lone = [len(word) == 1 and word.isalpha() for word in words]
    for index, word in enumerate(words):
        is_spelt = any(lone[max(index - 1, 0) : index] + lone[index + 1 : index + 2])
        if lone[index] and (is_spelt or word in "zZ"):
            words[index] = LETTER_NAMES.get(word.lower(), word)
    return " ".join(words)


def _corpus_texts(
    load_corpus: Callable[..., Dataset], texts: Mapping, license: str | None, allow_test_texts: bool
) -> tuple[str, list[tuple[str | None, str]]]:
    options = dict(texts)
    name, split = options.pop("name", None), options.get("split")
    if not name:
        raise CorpusError(f"`texts` is {dict(texts)} but needs the `name` of a corpus, such as {{name: an4}}.")
    if license is not None:
        options["license"] = license
    rows = load_corpus(name, **options).select_columns(["text", "license", "split"])
    splits = sorted({value for value in rows["split"][:] if value is not None})
    if split is None and len(splits) > 1:
        raise CorpusError(f"`texts` names {name!r}, which has the splits {', '.join(splits)}; add the `split` to read.")
    if any("test" in value.lower() for value in splits) and not allow_test_texts:
        raise CorpusError(
            f"`texts` would be those of the test of {name!r}, and a model that learns them cannot be tested there; "
            "choose another split, or pass allow_test_texts=True."
        )
    origin = Path(name).name if Path(name).exists() else name
    if split is not None:
        origin = f"{origin} {split}"
    return origin, list(zip(rows["text"][:], rows["license"][:]))


def _file_texts(path: Path, license: str | None) -> tuple[str, list[tuple[str, str]]]:
    if not path.is_file():
        raise CorpusError(
            f"`texts` is {str(path)!r}, which is no file; give a text file with one sentence per line, or the texts of "
            "a corpus as {name: CORPUS, split: train}."
        )
    if license is None:
        raise CorpusError(f"the licence of the texts in {path} is not known; pass license=..., such as CC0-1.0.")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path} is no text in UTF-8: {error}; convert it.") from error
    return path.name, [(line.strip(), license) for line in lines if line.strip()]


def _speakable(sentences: Iterable[tuple[str | None, str]], origin: str) -> list[tuple[str, str]]:
    """Keep the texts that are heard as they are written; the others are counted in a warning."""
    kept, reasons = [], Counter()
    for text, license in sentences:
        if reason := _unspeakable(text or ""):
            reasons[reason] += 1
        else:
            kept.append((text, license))
    told = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    if not kept:
        raise CorpusError(f"no text of {origin} can be spoken: {told or 'there is none'}; give other texts.")
    if told:
        logger.warning(
            "%d of %d texts of %s are left out: %s", reasons.total(), reasons.total() + len(kept), origin, told
        )
    return kept


def _unspeakable(text: str) -> str | None:
    """Why a text would not be heard as it is written, or None."""
    letters = [character for character in text if character.isalpha()]
    if any(character.isnumeric() for character in text):
        return "with digits (write numbers in words)"
    if not letters:
        return "without a letter"
    if not all(unicodedata.name(letter, "").startswith("LATIN") for letter in letters):
        return "in letters that the voices cannot read"
    return None
