"""Connectionist temporal classification."""

import torch
from torch import nn


def ctc_loss(
    logits: torch.Tensor,
    lengths: torch.Tensor,
    labels: torch.Tensor,
    blank_token_id: int,
    num_symbols: torch.Tensor | int | None = None,
) -> torch.Tensor:
    """CTC loss per target symbol.

    Args:
        logits: (batch, frames, vocab_size), before the softmax.
        lengths: (batch,) real frames of each item.
        labels: (batch, symbols), -100 where ignored.
        blank_token_id: Id of the blank.
        num_symbols: Target symbols in the whole optimiser step, when several batches or processes share one; by
            default those of this batch. Then the sum over the parts equals the loss of one large batch.

    Returns:
        A scalar; infinite if a target cannot be aligned with its frames, see `required_frames`.

    Source: Graves et al. 2006, "Connectionist Temporal Classification", equation 15.
    """
    is_target = labels >= 0
    target_lengths = is_target.sum(-1)
    # (frames, batch, vocab_size), in float32 because a product of many small probabilities underflows in bfloat16
    log_probabilities = nn.functional.log_softmax(logits.float(), dim=-1).transpose(0, 1)
    with torch.backends.cudnn.flags(enabled=False):  # cuDNN's CTC is not deterministic
        losses = nn.functional.ctc_loss(
            log_probabilities,
            labels[is_target],
            lengths,
            target_lengths,
            blank=blank_token_id,
            reduction="none",
        )
    if num_symbols is None:
        num_symbols = target_lengths.sum().clamp(min=1)
    return losses.sum() / num_symbols


def required_frames(labels: torch.Tensor) -> torch.Tensor:
    """The fewest frames that can spell each target: its symbols, and one blank between equal neighbours.

    Args:
        labels: (batch, symbols), -100 where ignored.

    Returns:
        (batch,) frame counts. An utterance with fewer output frames has an infinite loss and cannot be trained on.
    """
    is_target = labels >= 0
    repeats = (labels[:, 1:] == labels[:, :-1]) & is_target[:, 1:]
    return is_target.sum(-1) + repeats.sum(-1)
