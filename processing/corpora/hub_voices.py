"""VCTK and LibriTTS from the Hub, without the speakers whom the stored lists keep for validation and test."""

import logging

import numpy as np
import pandas as pd
from datasets import Dataset

from .hub import load_hub
from .schema import CorpusError
from .stored_lists import STORED_VOICES

logger = logging.getLogger(__name__)

# The original repository of VCTK needs its loading script, which `datasets` no longer runs; this copy has the same rows
# and columns as Parquet files. Its card states no licence; that of the corpus does.
VCTK_ID, VCTK_REVISION, VCTK_LICENSE = "sanchit-gandhi/vctk", "73ef4ee7d49a6fed4ea1efd65f82b4c95faeb9de", "CC-BY-4.0"
MICROPHONES = ("mic1", "mic2")
LIBRITTS_ID = "mythicinfinity/libritts"
LIBRITTS_SPLITS = (
    "dev.clean",
    "dev.other",
    "test.clean",
    "test.other",
    "train.clean.100",
    "train.clean.360",
    "train.other.500",
)


def load_vctk(*, microphone: str = "mic1", held_out: bool = False, repository: str = VCTK_ID, **options) -> Dataset:
    """Load VCTK: 110 speakers of English accents, some 400 sentences each, 48 kHz; a download of 12 GB.

    Args:
        microphone: Everything was recorded with two at once: "mic1" or "mic2".
        held_out: Whether the speakers of validation and test are loaded too.
        repository: Dataset of the Hub with the same columns, or a folder of its files.
        options: Of `load_hub`.

    Returns:
        The standard columns, `speaker_id` as in `vctk_parallel`; then file, text_id, age, gender, accent, region and
        comment.

    Raises:
        CorpusError: The microphone is unknown, or the dataset cannot be loaded or lacks columns.
    """
    if microphone not in MICROPHONES:
        raise CorpusError(f"`microphone` is {microphone!r} but VCTK has {', '.join(MICROPHONES)}.")
    pinned = {"revision": VCTK_REVISION, "license": VCTK_LICENSE} if repository == VCTK_ID else {}
    corpus = load_hub(repository, **{**pinned, **options})
    if "file" not in corpus.column_names:
        raise CorpusError(
            f"{repository} has no column `file` to tell microphones by; it has {', '.join(corpus.column_names)}."
        )
    chosen = [index for index, file in enumerate(corpus["file"]) if file.endswith(f"_{microphone}.flac")]
    if not chosen:
        raise CorpusError(f"{repository} has no file that ends in _{microphone}.flac; is it VCTK 0.92?")
    return _named(corpus.select(chosen), "vctk", held_out)


def load_libritts(
    *, split: str = "train.clean.100", held_out: bool = False, repository: str = LIBRITTS_ID, **options
) -> Dataset:
    """Load one split of LibriTTS: readers of audio books, sentence by sentence, 24 kHz; nothing else is downloaded.

    Args:
        split: One of `LIBRITTS_SPLITS`; the default has 54 hours by 247 readers, 9 GB.
        held_out: Whether the speakers of validation and test are loaded too.
        repository: Dataset of the Hub with the same columns and files, or a folder of them.
        options: Of `load_hub`.

    Returns:
        The standard columns, `text` with numbers and abbreviations in words, `speaker_id` as in `mini_librispeech`;
        then text_original, path, chapter_id and id.

    Raises:
        CorpusError: The split is unknown, or the dataset cannot be loaded or lacks columns.
    """
    if split not in LIBRITTS_SPLITS:
        raise CorpusError(f"`split` is {split!r} but LibriTTS has {', '.join(LIBRITTS_SPLITS)}.")
    files = {split: f"data/{split}/*.parquet"}
    corpus = load_hub(repository, **{"split": split, "data_files": files, "text_column": "text_normalized", **options})
    return _named(corpus, "ls", held_out)


def _named(corpus: Dataset, prefix: str, held_out: bool) -> Dataset:
    """Give speakers the names that they have in `voices`, and leave out those who are not for training."""
    names = pd.Series(corpus["speaker_id"][:]).map(f"{prefix}-{{}}".format)
    columns, feature = corpus.column_names, corpus.features["speaker_id"]
    corpus = corpus.remove_columns("speaker_id").add_column("speaker_id", names.tolist(), feature=feature)
    corpus = corpus.select_columns(columns)
    if held_out:
        return corpus
    voices = pd.read_csv(STORED_VOICES, dtype=str)
    kept = ~names.isin(voices.loc[voices["side"] != "train", "speaker_id"])
    left_out = (
        f"{(~kept).sum()} of {len(names)} recordings, by {names[~kept].nunique()} speakers of validation and test"
    )
    if not kept.any():
        raise CorpusError(f"{left_out}, would be left out; load others, or pass held_out=True.")
    logger.info("%s, are left out", left_out)
    return corpus.select(np.flatnonzero(kept))


HUB_VOICES = {"vctk": load_vctk, "libritts": load_libritts}
