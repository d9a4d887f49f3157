"""Batches by length and the choice among a closed list of transcripts."""

import itertools

import pytest
import torch

from antiphon.eval.transcription import length_batches, likeliest_candidates


def test_batches_hold_every_item_once_longest_first_within_the_limits():
    durations = [1.0, 9.0, 2.0, 50.0, 1.5, 0.0, 9.5]
    batches = list(length_batches(durations, max_seconds=20, max_items=3))
    assert sorted(itertools.chain(*batches)) == list(range(7))
    assert batches == [[3], [6, 1], [2, 4, 0], [5]]


def collapse(path):
    return tuple(symbol for symbol, _ in itertools.groupby(path) if symbol != 0)


def test_candidates_are_ranked_by_the_sum_over_all_alignments():
    logits = torch.randn(3, 4, 3, generator=torch.Generator().manual_seed(0))
    lengths = [4, 3, 2]
    mask = torch.tensor([[frame < length for frame in range(4)] for length in lengths])
    candidates = [(1,), (2,), (1, 2), (2, 1), (1, 1), (2, 1, 2)]
    expected = []
    for item, length in zip(logits.softmax(-1), lengths):
        likelihood = dict.fromkeys(candidates, 0.0)
        for path in itertools.product(range(3), repeat=length):
            if collapse(path) in likelihood:
                likelihood[collapse(path)] += float(item[range(length), path].prod())
        expected.append(candidates.index(max(likelihood, key=likelihood.get)))
    ids = [torch.tensor(candidate) for candidate in candidates]
    assert likeliest_candidates(logits, mask, ids, blank=0) == expected


def test_padding_does_not_change_the_choice():
    logits = torch.randn(1, 5, 3, generator=torch.Generator().manual_seed(1))
    padded = torch.cat([logits, 100 * torch.ones(1, 7, 3)], dim=1)
    mask = torch.tensor([[1] * 5 + [0] * 7])
    ids = [torch.tensor([1, 2]), torch.tensor([2])]
    assert likeliest_candidates(padded, mask, ids, 0) == likeliest_candidates(logits, mask[:, :5], ids, 0)


@pytest.mark.parametrize(("candidates", "expected"), [([(1, 2, 1)], None), ([(1, 2, 1), (2,)], 1)])
def test_a_transcript_longer_than_the_audio_is_never_chosen(candidates, expected):
    ids = [torch.tensor(candidate) for candidate in candidates]
    assert likeliest_candidates(torch.zeros(1, 2, 3), torch.ones(1, 2, dtype=torch.long), ids, blank=0) == [expected]
