"""A depthwise convolution over time that is fast on a CPU."""

import torch
from torch import nn


class DepthwiseConvolution(nn.Conv1d):
    """A convolution of every channel with its own kernel over (batch, frames, channels).

    It runs as a 2-d convolution over (batch, channels, frames, 1): data with the channels last has exactly the memory
    order that the CPU's depthwise kernels want, so nothing is transposed. Several times as fast as `nn.Conv1d`.

    Args:
        channels: Width of the input and of the output.
        kernel_size: Frames under the kernel.
        lookahead: How many of them lie ahead of the output frame: 0 is causal, None centres an odd kernel.
    """

    def __init__(self, channels: int, kernel_size: int, lookahead: int | None = None):
        super().__init__(channels, channels, kernel_size, groups=channels)
        self.lookahead = kernel_size // 2 if lookahead is None else lookahead
        if not 0 <= self.lookahead < kernel_size:
            raise ValueError(
                f"`lookahead` is {lookahead} but must lie between 0 and `kernel_size` - 1 ({kernel_size - 1})."
            )

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        image = hidden_states.transpose(1, 2).unsqueeze(3)
        behind = self.kernel_size[0] - 1 - self.lookahead
        # Equal zeros on both sides and a view of the wanted frames: padding one side alone would copy the input.
        margin = max(behind, self.lookahead)
        image = nn.functional.conv2d(
            image, self.weight.unsqueeze(3), self.bias, padding=(margin, 0), groups=self.groups
        )
        return image.squeeze(3).transpose(1, 2).narrow(1, margin - behind, hidden_states.shape[1])
