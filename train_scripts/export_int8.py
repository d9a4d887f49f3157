"""Linear layers in 8 bits that torch.export can trace.

Of the ready-made ways none served: `torch.ao.quantization` is deprecated in favour of torchao; torchao's layers took
25 ms for a clip of 3 s where float32 took 8, on one thread and without a compiler, and these took 8. What is exported
from here needs no other package.
"""

import torch
from torch import nn

LARGEST = 127  # of a symmetric code: -128 has no opposite


class Int8Linear(nn.Module):
    """A linear map whose weights are stored, and multiplied, in 8 bits.

    Each output has a scale of its own, and so has each frame of the input, found as it comes. A frame is thus computed
    alike in every batch: padding and neighbours do not change it.

    Args:
        linear: What it replaces.
    """

    def __init__(self, linear: nn.Linear):
        super().__init__()
        codes, scales = quantize_rows(linear.weight.detach().float())
        # (in, out), the order that the product wants
        self.register_buffer("weight", codes.t().contiguous())
        self.register_buffer("scales", scales.squeeze(-1))
        bias = torch.zeros(linear.out_features) if linear.bias is None else linear.bias.detach().float()
        self.register_buffer("bias", bias)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        codes, scales = quantize_rows(hidden_states)
        # The one product of 8 bits that sums in 32 and that both eager torch and torch.export know.
        products = torch._int_mm(codes.flatten(0, -2), self.weight).unflatten(0, codes.shape[:-1])
        return products.float() * scales * self.scales + self.bias


def quantize_rows(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns codes of (..., size) in [-127, 127], int8, and scales of (..., 1) that turn them back."""
    # The guard keeps rows of zeros from dividing by zero.
    scales = values.abs().amax(-1, keepdim=True).clamp(min=1e-12) / LARGEST
    return torch.round(values / scales).to(torch.int8), scales


def quantize_linear_layers(module: nn.Module) -> nn.Module:
    """Replaces the linear layers of a model in evaluation mode, in place, and returns it.

    A layer whose weight its parent reads itself, as `ConvolutionSubsampling` does, stays as it is.
    """
    for name, child in module.named_children():
        if type(child) is not nn.Linear:
            quantize_linear_layers(child)
        elif not (type(module).__name__ == "ConvolutionSubsampling" and name == "first"):
            setattr(module, name, Int8Linear(child))
    return module
