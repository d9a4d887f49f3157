"""CTC loss: against torch, against a sum over every alignment, and the frames that a target needs."""

import itertools

import pytest
import torch
from torch import nn

from antiphon.modeling.losses_ctc import ctc_loss, required_frames


def make_case(seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, 11, 6, generator=generator)
    labels = torch.tensor([[1, 2, 2, 5], [3, 3, -100, -100], [4, -100, -100, -100]])
    return logits, torch.tensor([11, 8, 5]), labels


def collapse(path, blank=0):
    return [symbol for symbol, _ in itertools.groupby(path) if symbol != blank]


def test_equals_torch_per_symbol():
    logits, lengths, labels = make_case()
    expected = nn.functional.ctc_loss(
        logits.log_softmax(-1).transpose(0, 1),
        labels.clamp(min=0),
        lengths,
        torch.tensor([4, 2, 1]),
        blank=0,
        reduction="sum",
    )
    torch.testing.assert_close(ctc_loss(logits, lengths, labels, 0), expected / 7)


@pytest.mark.parametrize("target", [[1], [1, 2], [2, 2]])
def test_equals_the_sum_over_all_alignments(target):
    logits = torch.randn(1, 4, 3, generator=torch.Generator().manual_seed(1))
    probabilities = logits[0].softmax(-1)
    total = sum(
        torch.stack([probabilities[frame, symbol] for frame, symbol in enumerate(path)]).prod()
        for path in itertools.product(range(3), repeat=4)
        if collapse(path) == target
    )
    loss = ctc_loss(logits, torch.tensor([4]), torch.tensor([target]), 0)
    torch.testing.assert_close(loss, -total.log() / len(target))


def test_ignored_labels_and_padded_frames_change_nothing():
    logits, lengths, labels = make_case()
    changed = logits.clone()
    changed[1, 8:] = 100.0
    wider = torch.cat([labels, torch.full((3, 2), -100)], dim=1)
    torch.testing.assert_close(ctc_loss(changed, lengths, wider, 0), ctc_loss(logits, lengths, labels, 0))


def test_parts_add_up_to_the_whole():
    logits, lengths, labels = make_case()
    parts = [ctc_loss(logits[part], lengths[part], labels[part], 0, 7) for part in ([0, 2], [1])]
    torch.testing.assert_close(sum(parts), ctc_loss(logits, lengths, labels, 0))


def test_batch_without_a_single_symbol_has_a_finite_loss():
    logits, lengths, labels = make_case()
    loss = ctc_loss(logits, lengths, torch.full_like(labels, -100), 0)
    expected = -sum(logits[item, :length].log_softmax(-1)[:, 0].sum() for item, length in enumerate(lengths))
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("target", [[1], [1, 2, 3], [1, 1], [1, 1, 1, 2, 2], [1, 2, 1]])
def test_required_frames_is_the_fewest_with_a_finite_loss(target):
    labels = torch.tensor([[*target, -100, -100]])
    frames = required_frames(labels).item()
    assert ctc_loss(torch.zeros(1, frames, 4), torch.tensor([frames]), labels, 0).isfinite()
    assert ctc_loss(torch.zeros(1, frames, 4), torch.tensor([frames - 1]), labels, 0).isinf()
