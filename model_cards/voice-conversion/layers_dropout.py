"""Dropout that does not wait for the random numbers of a CPU."""

import torch
from torch import nn


class Dropout(nn.Module):
    """Zeroes elements with probability `p` in training and scales the rest by 1 / (1 - p).

    On a CPU `torch.nn.functional.dropout` spends most of its time in drawing one Bernoulli number at a time. Here
    eight decisions come from each 64-bit random integer, one per byte, which is several times as fast. The probability
    is therefore rounded to a multiple of 1/256; the scale uses the rounded value, so the expectation stays exact.

    Args:
        p: Probability of zeroing an element.
    """

    def __init__(self, p: float):
        super().__init__()
        if not 0.0 <= p < 1.0:
            raise ValueError(f"`p` is {p} but a dropout probability must lie in [0, 1).")
        self.p = p

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        threshold = round(self.p * 256)
        if not self.training or threshold == 0:
            return hidden_states
        if hidden_states.device.type != "cpu":
            return nn.functional.dropout(hidden_states, self.p)
        size = hidden_states.numel()
        words = torch.empty((size + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
        keep = words.view(torch.uint8)[:size].view(hidden_states.shape) >= threshold
        return (hidden_states * keep).mul_(256 / (256 - threshold))

    def extra_repr(self) -> str:
        return f"p={self.p}"
