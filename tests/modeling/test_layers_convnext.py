"""The ConvNeXt block: its reach, its condition and its start."""

import pytest
import torch

from antiphon.modeling.layers_convnext import ConvNeXtBlock


def make_block(**options) -> ConvNeXtBlock:
    torch.manual_seed(0)
    return ConvNeXtBlock(16, 32, **options)


@pytest.mark.parametrize(("lookahead", "ahead"), [(None, 3), (0, 0), (2, 2), (6, 6)])
def test_an_output_frame_sees_exactly_its_context(lookahead, ahead):
    block = make_block(lookahead=lookahead)
    inputs = torch.randn(1, 30, 16, requires_grad=True)
    outputs = block(inputs)
    assert outputs.shape == inputs.shape
    outputs[0, 15].square().sum().backward()
    seen = inputs.grad[0].abs().sum(-1).nonzero().flatten().tolist()
    assert seen == list(range(15 - (6 - ahead), 15 + ahead + 1))


def test_a_condition_starts_as_the_identity_and_then_matters():
    block, plain = make_block(condition_size=5), make_block()
    plain.load_state_dict(block.state_dict(), strict=False)
    inputs, condition = torch.randn(2, 11, 16), torch.randn(2, 5)
    torch.testing.assert_close(block(inputs, condition), plain(inputs))
    torch.nn.init.normal_(block.modulation.weight)
    per_frame = condition[:, None].expand(2, 11, 5)
    torch.testing.assert_close(block(inputs, condition), block(inputs, per_frame))
    assert not torch.allclose(block(inputs, condition), block(inputs, -condition))


def test_every_parameter_gets_a_gradient():
    block = make_block(condition_size=5)
    block(torch.randn(2, 11, 16), torch.randn(2, 5)).square().sum().backward()
    for name, parameter in block.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("lookahead", [-1, 7])
def test_a_lookahead_beyond_the_kernel_is_refused(lookahead):
    with pytest.raises(ValueError, match=f"`lookahead` is {lookahead} but must lie between 0 and"):
        make_block(lookahead=lookahead)
