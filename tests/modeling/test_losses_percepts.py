"""Losses on judgements: by hand, by the order of their items, and by finite differences."""

import math

import pytest
import torch
from torch import nn

from antiphon.modeling.losses_percepts import pearson_loss, ranking_loss, regression_loss

MEMBERS, BATCH, PERCEPTS = 2, 7, 3


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(0)
    predictions, log_variances = torch.randn(2, MEMBERS, BATCH, PERCEPTS, generator=generator, dtype=torch.double)
    labels = torch.randn(BATCH, PERCEPTS, generator=generator, dtype=torch.double)
    weights = torch.tensor([[1.0, 1, 0, 1, 1, 0, 1], [0, 1, 1, 1, 0.5, 1, 1]], dtype=torch.double)
    return predictions, log_variances, labels, torch.tensor([0, 1, 0, 1, 2, 0, 1]), weights


def losses(predictions, log_variances, labels, passages, weights):
    """All of them, each a scalar."""
    return {
        "mse": regression_loss(predictions, None, labels, weights),
        "gaussian": regression_loss(predictions, log_variances, labels, weights),
        "pearson": pearson_loss(predictions, labels, weights),
        "ranking": ranking_loss(predictions, labels, passages, weights),
    }


LOSSES = ("mse", "gaussian", "pearson", "ranking")


# ---------------------------------------------------------------- by hand


def test_regression_by_hand():
    predictions, labels = torch.tensor([[[1.0, 0.0], [3.0, 1.0]]]), torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    loss = regression_loss(predictions, None, labels, torch.tensor([[1.0, 3.0]]))
    assert loss.item() == pytest.approx((1 * 0.5 + 3 * 2.0) / 4)


def test_gaussian_regression_by_hand():
    predictions, labels = torch.tensor([[[2.0], [0.0]]]), torch.zeros(2, 1)
    log_variances = torch.tensor([[[math.log(4.0)], [0.0]]])
    loss = regression_loss(predictions, log_variances, labels, torch.ones(1, 2))
    # each item counts with its standard deviation: 2 and 1
    assert loss.item() == pytest.approx((2 * 0.5 * (1 + math.log(4)) + 0.0) / 2)


def test_the_best_variance_is_the_squared_error():
    log_variance = torch.zeros(1, 1, 1, requires_grad=True)
    for value, sign in ((math.log(9.0), 0), (math.log(4.0), -1), (math.log(16.0), 1)):
        loss = regression_loss(torch.tensor([[[3.0]]]), log_variance + value, torch.zeros(1, 1), torch.ones(1, 1))
        [gradient] = torch.autograd.grad(loss, log_variance)
        assert torch.sign(gradient.round(decimals=5)).item() == sign


def test_pearson_is_one_minus_the_correlation(data):
    predictions, _, labels, _, _ = data
    weights = torch.ones(MEMBERS, BATCH, dtype=torch.double)
    expected = [
        1 - torch.corrcoef(torch.stack([predictions[member, :, percept], labels[:, percept]]))[0, 1]
        for member in range(MEMBERS)
        for percept in range(PERCEPTS)
    ]
    found = pearson_loss(predictions, labels, weights)
    assert found.item() == pytest.approx(torch.stack(expected).mean().item(), abs=1e-5)
    assert pearson_loss(3 * labels[None] - 5, labels, weights[:1]).item() == pytest.approx(0, abs=1e-5)
    assert pearson_loss(-labels[None], labels, weights[:1]).item() == pytest.approx(2, abs=1e-5)


def test_ranking_by_hand():
    labels, passages = torch.tensor([[0.0], [2.0], [1.0], [5.0]]), torch.tensor([0, 0, 0, 1])
    predictions = torch.tensor([[[1.0], [4.0], [4.0], [0.0]]])
    softplus = lambda margin: math.log(1 + math.exp(-margin))  # noqa: E731
    # pairs (0, 1), (0, 2), (1, 2), by 2, 1 and 1 apart; the other passage has one performance
    expected = (2 * softplus(3.0) + softplus(3.0) + softplus(0.0)) / 4
    loss = ranking_loss(predictions, labels, passages, torch.ones(1, 4))
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    # without item 1 one pair is left
    loss = ranking_loss(predictions, labels, passages, torch.tensor([[1.0, 0.0, 1.0, 1.0]]))
    assert loss.item() == pytest.approx(softplus(3.0), rel=1e-5)


def test_without_two_performances_of_a_passage_there_is_nothing_to_rank():
    predictions = torch.randn(1, 3, 2, requires_grad=True)
    loss = ranking_loss(predictions, torch.randn(3, 2), torch.arange(3), torch.ones(1, 3))
    loss.backward()
    assert loss.item() == 0
    assert not predictions.grad.any()


def test_ranking_sees_only_the_order_within_passages(data):
    predictions, _, labels, passages, weights = data
    moved = predictions + 10 * passages[:, None]
    before, after = (ranking_loss(values, labels, passages, weights) for values in (predictions, moved))
    torch.testing.assert_close(after, before)


# ---------------------------------------------------------------- of all


@pytest.mark.parametrize("name", LOSSES)
def test_order_of_items_does_not_matter(data, name):
    predictions, log_variances, labels, passages, weights = data
    order = torch.tensor([3, 6, 0, 1, 5, 2, 4])
    shuffled = (predictions[:, order], log_variances[:, order], labels[order], passages[order], weights[:, order])
    torch.testing.assert_close(losses(*shuffled)[name], losses(*data)[name])


@pytest.mark.parametrize("name", LOSSES)
def test_items_without_weight_do_not_matter(data, name):
    predictions, log_variances, labels, passages, weights = data
    weights = weights.clone()
    weights[:, 4] = 0
    changed = predictions.clone(), log_variances.clone()
    for tensor in changed:
        tensor[:, 4] += 2
    torch.testing.assert_close(losses(*changed, labels, passages, weights)[name], losses(*data[:4], weights)[name])


@pytest.mark.parametrize("name", LOSSES)
def test_a_right_answer_is_better_than_a_wrong_one(data, name):
    _, log_variances, labels, passages, weights = data
    right, wrong = labels.expand(MEMBERS, -1, -1), -labels.expand(MEMBERS, -1, -1)
    rest = (torch.zeros_like(log_variances), labels, passages, weights)
    assert losses(right, *rest)[name] < losses(wrong, *rest)[name]


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_agree_with_finite_differences(data, name):
    predictions, log_variances, *rest = data

    def loss(values):
        return losses(values, log_variances, *rest)[name]

    assert torch.autograd.gradcheck(loss, predictions.requires_grad_())


@pytest.mark.parametrize("name", LOSSES)
def test_descending_learns_the_labels(data, name):
    _, log_variances, labels, passages, weights = data
    predictions = nn.Parameter(torch.zeros(MEMBERS, BATCH, PERCEPTS, dtype=torch.double) + 0.01 * log_variances)
    optimizer = torch.optim.Adam([predictions], lr=0.05)
    values = []
    for _ in range(60):
        loss = losses(predictions, torch.zeros_like(log_variances), labels, passages, weights)[name]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < 0.5 * values[0]
