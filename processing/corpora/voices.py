"""Who speaks in training, validation and test of all voice models: one stored division over several corpora.

The lists are made and checked by `voice_lists.py`.
"""

from collections.abc import Iterable

import pandas as pd
from datasets import Dataset, Features, Value, concatenate_datasets

from . import load_corpus
from .schema import STANDARD_FEATURES, CorpusError
from .splits import select_ids
from .stored_lists import STORED_PAIRS, STORED_TRIALS, STORED_VOICES

SIDES = ("train", "validation", "test")
VOICE_CORPORA = (
    "mini_librispeech",
    "an4",
    "kathleen_arctic",
    "common_voice_en",
    "librispeech_speakers",
    "vctk_parallel",
    "emodb4",
)
GENDERS = {"F": "F", "M": "M", "female": "F", "male": "M"}
_FEATURES = Features({**STANDARD_FEATURES, "gender": Value("string"), "corpus": Value("string")})


def load_voices(side: str, corpora: Iterable[str] | None = None) -> Dataset:
    """Load the recordings of one side. No speaker is on two sides, in whatever corpora they occur.

    Args:
        side: "train", "validation" or "test".
        corpora: Some of `VOICE_CORPORA`, loaded in this order; None for all that have recordings on this side.

    Returns:
        The standard columns, of which `file_name` is "corpus/name in that corpus" and `split` the side; then `gender`,
        "F", "M" or null, and `corpus`. `text` is null in `librispeech_speakers`.

    Raises:
        CorpusError: A side or corpus is unknown, a corpus has nothing on this side, cannot be found, or lacks a
            recording that the stored list names.
    """
    if side not in SIDES:
        raise CorpusError(f"`side` is {side!r} but the stored list has {', '.join(SIDES)}.")
    listed = pd.read_csv(STORED_VOICES, dtype=str)
    listed = listed[listed["side"] == side]
    available = [name for name in VOICE_CORPORA if name in set(listed["corpus"])]
    chosen = available if corpora is None else list(corpora)
    absent = [name for name in chosen if name not in available]
    if absent or not chosen:
        raise CorpusError(f"`corpora` is {chosen} but {side} has recordings of {', '.join(available)}; name some.")
    return concatenate_datasets(
        [_load_listed(name, listed.loc[listed["corpus"] == name, "file_name"], side) for name in chosen]
    )


def _load_listed(name: str, file_names: pd.Series, side: str) -> Dataset:
    try:
        corpus = select_ids(load_corpus(name), file_names)
    except CorpusError as error:
        raise CorpusError(f"{name}, as {STORED_VOICES.name} lists it for {side}: {error}") from error
    columns = {
        "file_name": [f"{name}/{file_name}" for file_name in file_names],
        "split": [side] * len(corpus),
        "gender": [GENDERS.get(gender) for gender in corpus["gender"]],
        "corpus": [name] * len(corpus),
    }
    corpus = corpus.remove_columns([column for column in columns if column in corpus.column_names])
    for column, values in columns.items():
        corpus = corpus.add_column(column, values, feature=_FEATURES[column])
    return corpus.select_columns(list(_FEATURES))


def load_speaker_trials(side: str) -> pd.DataFrame:
    """Read the stored verification trials of one side.

    Args:
        side: "test", or "validation" for choosing a model.

    Returns:
        One row a trial: file_1 and file_2, as `file_name` of `load_voices`, both of one `corpus`; speaker_1 and
        speaker_2; and the truth values is_same and same_gender.

    Raises:
        CorpusError: The side has no trials.
    """
    trials = _of_side(pd.read_csv(STORED_TRIALS), side, "trials")
    voices = pd.read_csv(STORED_VOICES, dtype=str)
    speakers = dict(zip(voices["corpus"] + "/" + voices["file_name"], voices["speaker_id"]))
    return trials.assign(
        corpus=trials["file_1"].str.partition("/")[0],
        speaker_1=trials["file_1"].map(speakers),
        speaker_2=trials["file_2"].map(speakers),
    )


def load_conversion_pairs(side: str, quick: bool = False) -> pd.DataFrame:
    """Read the stored pairs that voice conversion is measured on, among the speakers of one side.

    Args:
        side: "test", or "validation" for choosing a model, which has read English only.
        quick: Only six of each scenario.

    Returns:
        One row a conversion; files are named as by `load_voices`:
        scenario: same_gender, cross_gender, accent, cross_language, expressive, parallel, noisy_reference or
            reference_seconds. The last two repeat pairs of the first two.
        source_file, source_speaker, text, language: What is said, and in "en" or "de".
        target_speaker, reference_files, reference_seconds: Who is to say it; a list of recordings, whose beginning of
            that length, when they are joined, is the reference. None of them has the words of the source. Other
            recordings of the target are held out: no pair gives them. Speakers with a rare accent have none.
        reference_snr_db: Level of noise to be mixed into the reference; NaN for none.
        parallel_file: The same words, with the same emotion, by the target; null where there is none.
        label: The source's emotion, or in scenario accent "from" and "to" whose accent; else null.
        quick: Whether the pair is one of the six.

    Raises:
        CorpusError: The side has no pairs.
    """
    pairs = _of_side(pd.read_csv(STORED_PAIRS), side, "pairs")
    pairs["reference_files"] = pairs["reference_files"].str.split(";")
    return pairs[pairs["quick"]].reset_index(drop=True) if quick else pairs


def _of_side(listed: pd.DataFrame, side: str, what: str) -> pd.DataFrame:
    if side not in set(listed["side"]):
        raise CorpusError(f"`side` is {side!r} but there are {what} of {', '.join(sorted(set(listed['side'])))}.")
    return listed[listed["side"] == side].drop(columns="side").reset_index(drop=True)
