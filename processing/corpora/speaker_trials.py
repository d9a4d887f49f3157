"""Makes the stored trials of speaker verification: pairs of recordings by the same or by different unheard speakers."""

from collections.abc import Iterator
from itertools import combinations, islice, product, zip_longest

import numpy as np
import pandas as pd

_SEED = 0
_MAX_SAME_PER_SPEAKER = 50


def make_speaker_trials(items: pd.DataFrame) -> pd.DataFrame:
    """Pair recordings within each corpus, so that no corpus's recording chain tells speakers apart.

    Sessions still may: the corpora have one chapter of LibriSpeech, or one session, of almost every speaker, so that
    recordings of the same speaker share their room and microphone. Error rates are lower than across sessions.

    A speaker with two recordings or more gets up to 50 pairs of them. A corpus gets as many pairs of different
    speakers as of the same: half of one gender, half of two, each pair of speakers as often as the others.

    Args:
        items: side, corpus, name, speaker_id and gender of every recording.

    Returns:
        One row a trial: side, file_1, file_2, is_same, same_gender.
    """
    trials = []
    for side in ("validation", "test"):
        for _, corpus in items[items["side"] == side].groupby("corpus", sort=False):
            same = list(_same_speaker(corpus))
            different = _different_speakers(corpus, len(same))
            trials += [(side, *pair) for pair in (*same, *different)]
    return pd.DataFrame(trials, columns=["side", "file_1", "file_2", "is_same", "same_gender"])


def _same_speaker(corpus: pd.DataFrame) -> Iterator[tuple]:
    generator = np.random.default_rng(_SEED)
    for _, names in corpus.groupby("speaker_id")["name"]:
        pairs = list(combinations(sorted(names), 2))
        for index in generator.permutation(len(pairs))[:_MAX_SAME_PER_SPEAKER]:
            yield (*pairs[index], True, True)


def _different_speakers(corpus: pd.DataFrame, number: int) -> Iterator[tuple]:
    generator = np.random.default_rng(_SEED)
    names = {speaker: sorted(names) for speaker, names in corpus.groupby("speaker_id")["name"]}
    genders = corpus.groupby("speaker_id")["gender"].first().dropna()
    for same_gender, count in ((True, number - number // 2), (False, number // 2)):
        speakers = [
            pair for pair in combinations(genders.index, 2) if (genders[pair[0]] == genders[pair[1]]) == same_gender
        ]
        piles = [
            generator.permutation(list(product(names[first], names[second]))).tolist() for first, second in speakers
        ]
        piles = [piles[index] for index in generator.permutation(len(piles))]
        dealt = (pair for turn in zip_longest(*piles) for pair in turn if pair is not None)
        yield from ((*pair, False, same_gender) for pair in islice(dealt, count))
