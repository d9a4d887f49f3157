"""Corpora of synthetic English speech: digits, short commands and spellings by many eSpeak NG voices."""

import base64
import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import datasets
import numpy as np
import yaml
from datasets import Dataset, Features, Value
from datasets.utils import tqdm
from filelock import FileLock

from . import synthetic_engine
from .schema import STANDARD_FEATURES, CorpusError
from .synthetic_engine import SynthesisError

SYNTHETIC_CORPORA = {
    "synthetic_commands": 16_000,
    "synthetic_spellings": 16_000,
    "synthetic_digits": 8_000,
    "synthetic_digits_accented": 8_000,
}
SPLITS = ("train", "validation", "test")

SYNTHETIC_FEATURES = Features(
    {
        **STANDARD_FEATURES,
        "spoken": Value("string"),
        "rate": Value("int32"),
        "pitch": Value("int32"),
        "pitch_range": Value("int32"),
    }
)
# Our texts spoken by a GPL-3 program: its licence covers the program, not what it says.
_LICENSE = "CC0-1.0"
_HERE = Path(__file__).parent
_GRAMMARS = {"synthetic_commands": "commands.yaml", "synthetic_spellings": "spellings.yaml"}
_CODE_FILES = ("voices.yaml", "accents.yaml", *_GRAMMARS.values(), "synthetic.py", "synthetic_engine.py")
# As the engine must read them: it takes a lone `a` for the article, and British voices say `zed`.
_LETTER_NAMES = {"a": "ay", "z": "zee"}
# A shard is one process of the engine: large enough to hide its start, small enough for an even load.
_UTTERANCES_PER_SHARD = 500


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
    sampling_rate = SYNTHETIC_CORPORA[name] if sampling_rate is None else sampling_rate
    if split is not None and split not in SPLITS:
        raise CorpusError(f"`split` is {split!r} but {name} has {', '.join(SPLITS)}; or pass None for all of them.")
    if num_utterances < 1:
        raise CorpusError(f"`num_utterances` is {num_utterances} but must be at least 1.")
    if not 4_000 <= sampling_rate <= 48_000:
        raise CorpusError(f"`sampling_rate` is {sampling_rate} but must be 4000 to 48000 Hz.")
    key = _cache_key(name, num_utterances, seed, sampling_rate)
    cache_root = Path(cache_dir or datasets.config.HF_DATASETS_CACHE / "antiphon_synthetic")
    folder = cache_root / f"{name}-{key}"
    cache_root.mkdir(parents=True, exist_ok=True)
    # Several processes of one training job ask at once: one synthesises, the others wait for it.
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            rows = plan_utterances(name, num_utterances, seed)
            _synthesise(rows, folder, sampling_rate, num_proc or os.cpu_count() or 1, description=name)
    shards = [Dataset.from_file(str(path)) for path in sorted(folder.glob("*.arrow"))]
    corpus = datasets.concatenate_datasets(shards)
    if split is None:
        return corpus
    return corpus.select(np.flatnonzero(np.array(corpus["split"]) == split))


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
    split_of = _accented_voices() if name == "synthetic_digits_accented" else _english_voices()
    texts = _grammar_texts(load_grammar(name), generator) if name in _GRAMMARS else _digit_texts(generator)
    pause_share = load_grammar(name).get("pause_share", 0) if name in _GRAMMARS else 0
    voices = _shuffled_cycle(list(split_of), generator)
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
                "rate": int(generator.integers(120, 221)),
                "pitch": int(generator.integers(25, 76)),
                "pitch_range": int(generator.integers(20, 81)),
            }
        )
    return rows


def _english_voices() -> dict[str, str]:
    return {voice: split for split in SPLITS for voice in load_voices()[split]}


def _accented_voices() -> dict[str, str]:
    """Every language with every variant, each in the split where its variant is among the English voices."""
    variants = {voice.partition("+")[2]: split for voice, split in _english_voices().items() if "+" in voice}
    return {f"{language}+{variant}": split for language in load_accents() for variant, split in variants.items()}


def _respell(text: str, voice: str) -> str:
    spellings = load_accents().get(voice.partition("+")[0])
    if spellings is None:
        return " ".join(_LETTER_NAMES.get(word, word) for word in text.split())
    return spellings[load_grammar()["slots"]["digit"].index(text)]


def _with_pauses(spoken: str, share: float, generator: np.random.Generator) -> str:
    """Put a comma, which the engine reads as a pause, after every word of a share of the texts."""
    # A corpus without pauses draws nothing here, so that its plan stays as it is.
    return ", ".join(spoken.split()) if share and generator.random() < share else spoken


def _shuffled_cycle(items: list[str], generator: np.random.Generator) -> Iterator[str]:
    """Endless passes over the items, each in a new order, so that all occur equally often."""
    while True:
        for index in generator.permutation(len(items)):
            yield items[index]


def _digit_texts(generator: np.random.Generator) -> Iterator[str]:
    yield from _shuffled_cycle(load_grammar()["slots"]["digit"], generator)


def _grammar_texts(grammar: dict, generator: np.random.Generator) -> Iterator[str]:
    commands = _shuffled_cycle(grammar["commands"], generator)
    while True:
        if generator.random() < grammar["digit_share"]:
            num_digits = int(generator.integers(1, grammar["max_digits"] + 1))
            yield " ".join(generator.choice(grammar["slots"]["digit"], size=num_digits))
        else:
            yield " ".join(_fill_slot(word, grammar["slots"], generator) for word in next(commands).split())


def _fill_slot(word: str, slots: dict[str, list[str]], generator: np.random.Generator) -> str:
    return str(generator.choice(slots[word[1:-1]])) if word.startswith("{") else word


def _cache_key(name: str, num_utterances: int, seed: int, sampling_rate: int) -> str:
    """Hash of everything that the audio depends on: options, texts, voices, code, engine."""
    try:
        engine = importlib.metadata.version("espeakng-loader")
    except importlib.metadata.PackageNotFoundError:
        # Named here as well as in the worker: the message should come before any work.
        raise SynthesisError(synthetic_engine.MISSING_ENGINE) from None
    digest = hashlib.sha256(json.dumps([name, num_utterances, seed, sampling_rate, engine]).encode())
    for file_name in _CODE_FILES:
        digest.update((_HERE / file_name).read_bytes())
    return digest.hexdigest()[:16]


def _synthesise(rows: list[dict], folder: Path, sampling_rate: int, num_proc: int, description: str) -> None:
    """Fill `folder` with Arrow shards; it appears only when complete, so a killed run leaves no half corpus."""
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    schema = base64.b64encode(SYNTHETIC_FEATURES.arrow_schema.serialize()).decode()
    jobs = [
        {
            "target": str(unfinished / f"{start:08d}.arrow"),
            "schema": schema,
            "sampling_rate": sampling_rate,
            "rows": rows[start : start + _UTTERANCES_PER_SHARD],
        }
        for start in range(0, len(rows), _UTTERANCES_PER_SHARD)
    ]
    with ThreadPoolExecutor(num_proc) as pool, tqdm(total=len(rows), desc=description, unit=" utterances") as bar:
        try:
            for num_rows in pool.map(_run_worker, jobs):
                bar.update(num_rows)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    unfinished.rename(folder)


def _run_worker(job: dict) -> int:
    # -P keeps this folder off the path, where `schema` or `splits` would shadow other packages.
    worker = subprocess.run(
        [sys.executable, "-P", synthetic_engine.__file__], input=json.dumps(job), capture_output=True, text=True
    )
    if worker.returncode != 0:
        raise SynthesisError(f"the synthesis of {Path(job['target']).name} failed: {worker.stderr.strip()}")
    return len(job["rows"])
