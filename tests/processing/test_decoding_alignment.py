"""The best alignment of a text, against all alignments."""

import itertools

import numpy as np
import pytest

from antiphon.processing.decoding_alignment import align_symbols


def collapse(path):
    return [symbol for symbol, _ in itertools.groupby(path) if symbol != 0]


@pytest.mark.parametrize("ids", [[], [1], [1, 1], [1, 2], [2, 1, 2], [1, 1, 2], [1, 1, 1]])
def test_no_alignment_is_likelier(ids):
    generator = np.random.default_rng(len(ids))
    for _ in range(5):
        scores = generator.normal(size=(5, 3)) * 2
        best = max(
            (path for path in itertools.product(range(3), repeat=5) if collapse(path) == ids),
            key=lambda path: scores[range(5), path].sum(),
        )
        positions = align_symbols(scores, ids, blank=0)
        assert [0 if position < 0 else ids[position] for position in positions] == list(best)
        assert sorted(set(positions) - {-1}) == list(range(len(ids)))


def test_a_text_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"has 2 frames but the text needs 3"):
        align_symbols(np.zeros((2, 3)), [1, 1], blank=0)
