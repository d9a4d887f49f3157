"""Keeps synthetic corpora on disk: each is spoken once, in shards, and loaded from then on."""

import base64
import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import datasets
import numpy as np
from datasets import Dataset, Features, Value
from datasets.utils import tqdm
from filelock import FileLock

from . import synthetic_engine
from .schema import STANDARD_FEATURES, CorpusError
from .synthetic_engine import SynthesisError

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
_HERE = Path(__file__).parent
_SHARD_FILES = ("synthetic_shards.py", "synthetic_engine.py")
# A shard is one process of the engine: large enough to hide its start, small enough for an even load.
_UTTERANCES_PER_SHARD = 500


def load_or_synthesise(
    name: str,
    plan: Callable[[], list[dict]],
    *,
    made_of: list,
    plan_files: Sequence[str],
    num_utterances: int,
    sampling_rate: int,
    split: str | None,
    cache_dir: str | os.PathLike | None,
    num_proc: int | None,
) -> Dataset:
    """Speak the utterances of a plan, or load them from the cache where the same plan was spoken before.

    Args:
        name: Of the corpus.
        plan: Gives the rows without their audio; asked only where nothing is in the cache.
        made_of: Everything that the plan depends on, as JSON holds it, but for its code.
        plan_files: Names of the files in this folder that the plan is made by and of.
        num_utterances, sampling_rate, split, cache_dir, num_proc: Of `load_synthetic`.

    Raises:
        SynthesisError: eSpeak NG is missing or fails.
        CorpusError: An option is out of range.
    """
    if split is not None and split not in SPLITS:
        raise CorpusError(f"`split` is {split!r} but {name} has {', '.join(SPLITS)}; or pass None for all of them.")
    if num_utterances < 1:
        raise CorpusError(f"`num_utterances` is {num_utterances} but must be at least 1.")
    if not 4_000 <= sampling_rate <= 48_000:
        raise CorpusError(f"`sampling_rate` is {sampling_rate} but must be 4000 to 48000 Hz.")
    key = _cache_key([*made_of, sampling_rate], (*_SHARD_FILES, *plan_files))
    cache_root = Path(cache_dir or datasets.config.HF_DATASETS_CACHE / "antiphon_synthetic")
    folder = cache_root / f"{name}-{key}"
    cache_root.mkdir(parents=True, exist_ok=True)
    # Several processes of one training job ask at once: one synthesises, the others wait for it.
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            _synthesise(plan(), folder, sampling_rate, num_proc or os.cpu_count() or 1, description=name)
    shards = [Dataset.from_file(str(path)) for path in sorted(folder.glob("*.arrow"))]
    corpus = datasets.concatenate_datasets(shards)
    if split is None:
        return corpus
    return corpus.select(np.flatnonzero(np.array(corpus["split"]) == split))


def _cache_key(made_of: list, files: Sequence[str]) -> str:
    """Hash of everything that the audio depends on: options, texts, voices, code, engine."""
    try:
        engine = importlib.metadata.version("espeakng-loader")
    except importlib.metadata.PackageNotFoundError:
        # Named here as well as in the worker: the message should come before any work.
        raise SynthesisError(synthetic_engine.MISSING_ENGINE) from None
    digest = hashlib.sha256(json.dumps([*made_of, engine]).encode())
    for file_name in files:
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
