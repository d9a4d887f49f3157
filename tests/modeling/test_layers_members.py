"""An ensemble trained at once: members that do not know each other, and numbers spread over quantiles."""

import pytest
import torch

from antiphon.modeling.layers_members import MemberLinear, PiecewiseLinearEmbedding


@pytest.fixture
def linear():
    torch.manual_seed(0)
    layer = MemberLinear(3, 5, 2)
    layer.reset_parameters()
    layer.bias.data.normal_()
    return layer


def test_each_member_is_a_linear_map_of_its_own(linear):
    inputs = torch.randn(3, 4, 5)
    outputs = linear(inputs)
    for member in range(3):
        expected = inputs[member] @ linear.weight[member] + linear.bias[member]
        torch.testing.assert_close(outputs[member], expected)


def test_one_input_may_serve_all_members(linear):
    inputs = torch.randn(4, 5)
    torch.testing.assert_close(linear(inputs), linear(inputs.expand(3, -1, -1)))


def test_a_member_learns_from_its_own_answers_alone(linear):
    linear(torch.randn(4, 5))[1].sum().backward()
    assert linear.weight.grad[1].any()
    assert not linear.weight.grad[[0, 2]].any()


def test_weights_begin_by_their_fan_in_or_at_zero():
    torch.manual_seed(0)
    wide, zero = MemberLinear(4, 400, 50), MemberLinear(4, 400, 50, zero=True)
    wide.reset_parameters()
    zero.reset_parameters()
    assert wide.weight.std().item() == pytest.approx(400**-0.5, rel=0.02)
    assert not zero.weight.any()
    assert not wide.bias.any()
    assert not torch.equal(wide.weight[0], wide.weight[1])


@pytest.fixture
def embedding():
    """Three bins, fitted to 0, 1, ... 9; to one number and gaps; to a constant; to nothing."""
    layer = PiecewiseLinearEmbedding(4, 3)
    nan = float("nan")
    values = torch.stack(
        [
            torch.arange(10.0),
            torch.tensor([0.0, 3.0, 6.0, 9.0] + [nan] * 6),
            torch.full((10,), 5.0),
            torch.full((10,), nan),
        ],
        dim=1,
    )
    layer.fit(values)
    return layer


def test_edges_are_quantiles_of_what_is_there(embedding):
    torch.testing.assert_close(embedding.edges[:2], torch.tensor([[0.0, 3.0, 6.0, 9.0]] * 2))
    torch.testing.assert_close(embedding.edges[2], torch.full((4,), 5.0))


def test_numbers_are_spread_over_the_bins_that_they_have_passed(embedding):
    values = torch.tensor([-5.0, 0.0, 1.5, 4.0, 9.0, 70.0])
    embedded = embedding(values[:, None].expand(-1, 4))
    by_hand = [
        [-0.5, -0.5, -0.5],
        [-0.5, -0.5, -0.5],
        [0.0, -0.5, -0.5],
        [0.5, 1 / 3 - 0.5, -0.5],
        [0.5, 0.5, 0.5],
        [0.5, 0.5, 0.5],
    ]
    torch.testing.assert_close(embedded[:, 0], torch.tensor(by_hand))
    assert not embedded[:, 2:].any(), "what has no width says nothing"


def test_what_is_missing_says_nothing(embedding):
    embedded = embedding(torch.tensor([[float("nan"), 4.0, 5.0, 1.0]]))
    assert not embedded[0, 0].any()
    assert embedded[0, 1].any()


def test_before_fitting_edges_lie_one_unit_apart_around_zero():
    layer = PiecewiseLinearEmbedding(2, 4)
    layer.reset_parameters()
    assert layer.edges.tolist() == [[-2.0, -1.0, 0.0, 1.0, 2.0]] * 2
