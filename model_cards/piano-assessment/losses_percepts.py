"""Losses on judgements of performances: values, correlation, and order within a passage."""

import torch
from torch import nn


def regression_loss(
    predictions: torch.Tensor, log_variances: torch.Tensor | None, labels: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Mean squared error, or the Gaussian negative log-likelihood where variances are predicted.

    Args:
        predictions, log_variances: (members, batch, percepts).
        labels: (batch, percepts).
        weights: (members, batch), how much each item counts for each member.

    Source: Nix and Weigend 1994, equation 1; Seitzer et al. 2022, "On the Pitfalls of Heteroscedastic Uncertainty
        Estimation", equation 5 with beta = 1/2, which keeps badly fitted items in view.
    """
    errors = (predictions - labels).square()
    if log_variances is not None:
        variances = log_variances.exp()
        errors = 0.5 * (errors / variances + log_variances) * variances.detach().sqrt()
    return _weighted_mean(errors.mean(-1), weights)


def pearson_loss(predictions: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """One minus the correlation over the batch, averaged over percepts and members; shapes as in `regression_loss`."""
    shares = (weights / weights.sum(1, keepdim=True).clamp(min=1e-6))[:, :, None]
    centred = predictions - (predictions * shares).sum(1, keepdim=True)
    targets = labels - (labels * shares).sum(1, keepdim=True)
    covariance = (centred * targets * shares).sum(1)
    spread = (centred.square() * shares).sum(1) * (targets.square() * shares).sum(1)
    return (1 - covariance / (spread + 1e-6).sqrt()).mean()


def ranking_loss(
    predictions: torch.Tensor, labels: torch.Tensor, passages: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Logistic loss on the order of each two performances of one passage, by how far apart their labels are.

    Args:
        passages: (batch,) numbers of the passages; pairs are formed within each.

    Source: Burges et al. 2005, "Learning to Rank using Gradient Descent", equation 3; pairs weigh by the difference of
        their labels, since listeners hardly agree on small ones.
    """
    pairs = torch.nonzero((passages[:, None] == passages).triu(1))
    if len(pairs) == 0:
        return predictions.sum() * 0.0
    first, second = pairs.T
    difference = labels[first] - labels[second]
    margin = (predictions[:, first] - predictions[:, second]) * difference.sign()
    both = weights[:, first] * weights[:, second]
    importance = difference.abs() * both[:, :, None]
    losses = nn.functional.softplus(-margin) * importance
    return losses.sum() / importance.sum().clamp(min=1e-6)


def _weighted_mean(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return (values * weights).sum() / weights.sum().clamp(min=1e-6)
