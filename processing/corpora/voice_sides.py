"""Decides which speakers of the voice corpora are trained on, which choose a model and which test it."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from .conversion_pairs import RARE_ACCENTS
from .voices import VOICE_CORPORA

_SEED = 0
# Speakers drawn for validation and test, of each gender.
_AN4_VALIDATION = 5
_LIBRISPEECH_VALIDATION, _LIBRISPEECH_TEST = 4, 6
_COMMON_VOICE_VALIDATION, _COMMON_VOICE_TEST = 3, 4


def divide_voices(items: pd.DataFrame) -> pd.DataFrame:
    """Put every recording on a side, whatever the order of the corpora.

    The corpora's own splits hold where they are by speaker. `mini_librispeech` decides for `librispeech_speakers` too,
    which shares speakers with it. `kathleen_arctic` is one speaker, trained on; `vctk_parallel` and `emodb4` are whole
    tests. Of the many in `common_voice_en` who have few clips, those with a rare accent or several clips are tested.

    Args:
        items: corpus, file_name, speaker_id, gender ("F", "M" or null), split and accent (of the corpus) of each.

    Returns:
        corpus, file_name, speaker_id and side, sorted.
    """
    sides = {}
    for name in VOICE_CORPORA:
        speakers = items[items["corpus"] == name].groupby("speaker_id")[["gender", "split", "accent"]]
        speakers = speakers.first().assign(count=speakers.size())
        sides |= _RULES[name](speakers[~speakers.index.isin(sides)])
    table = items.assign(side=items["speaker_id"].map(sides), place=items["corpus"].map(VOICE_CORPORA.index))
    table = table.sort_values(["place", "file_name"], ignore_index=True)
    return table[["corpus", "file_name", "speaker_id", "side"]]


def _own_split(speakers: pd.DataFrame) -> dict[str, str]:
    return speakers["split"].to_dict()


def _all_on(side: str):
    return lambda speakers: dict.fromkeys(speakers.index, side)


def _divide_an4(speakers: pd.DataFrame) -> dict[str, str]:
    validation = _draw(speakers[speakers["split"] == "train"], _AN4_VALIDATION)
    return _own_split(speakers) | dict.fromkeys(validation, "validation")


def _divide_librispeech(speakers: pd.DataFrame) -> dict[str, str]:
    singles = speakers[speakers["split"] == "train"]
    test = _draw(singles, _LIBRISPEECH_TEST)
    validation = _draw(singles.drop(test), _LIBRISPEECH_VALIDATION)
    return _own_split(speakers) | dict.fromkeys(test, "test") | dict.fromkeys(validation, "validation")


def _divide_common_voice(speakers: pd.DataFrame) -> dict[str, str]:
    singles = speakers[speakers["split"] == "test"]
    wanted = singles.index[singles["accent"].isin(RARE_ACCENTS) | (singles["count"] > 1)]
    known = singles.drop(wanted)
    test = _draw(known[known["accent"].notna()], _COMMON_VOICE_TEST)
    validation = _draw(known.drop(test), _COMMON_VOICE_VALIDATION)
    return (
        dict.fromkeys(speakers.index, "train")
        | dict.fromkeys([*wanted, *test], "test")
        | dict.fromkeys(validation, "validation")
    )


_RULES = {
    "mini_librispeech": _own_split,
    "an4": _divide_an4,
    "kathleen_arctic": _all_on("train"),
    "common_voice_en": _divide_common_voice,
    "librispeech_speakers": _divide_librispeech,
    "vctk_parallel": _all_on("test"),
    "emodb4": _all_on("test"),
}


def _draw(speakers: pd.DataFrame, number: int) -> Iterable[str]:
    """As many speakers of each gender, by names and seed alone."""
    generator = np.random.default_rng(_SEED)
    return [
        name
        for gender in ("F", "M")
        for name in generator.permutation(sorted(speakers.index[speakers["gender"] == gender]))[:number]
    ]
