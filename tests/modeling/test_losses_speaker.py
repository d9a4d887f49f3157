"""Losses of speaker encoders: hand-computed cases, independent computations, rivals that do not count."""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from antiphon.modeling.losses_speaker import GeneralizedEndToEndLoss, MarginSoftmaxLoss, batch_hard_triplet_loss

SPEAKERS = torch.tensor([0, 0, 1, 1, 2, 2])
DOMAINS = torch.tensor([0, 0, 0, 0, 1, 1])


def unit_vectors(*angles: float) -> torch.Tensor:
    """Vectors in the plane at angles in degrees."""
    radians = torch.tensor(angles).deg2rad()
    return torch.stack([radians.cos(), radians.sin()], dim=1)


def random_embeddings(number: int = 6, size: int = 8, seed: int = 0) -> torch.Tensor:
    return normalize(torch.randn(number, size, generator=torch.Generator().manual_seed(seed)), dim=-1)


def plane_loss(**options) -> MarginSoftmaxLoss:
    """Two speakers at 0 and 90 degrees."""
    loss = MarginSoftmaxLoss(2, 2, **options)
    loss.vectors.data = torch.tensor([[3.0, 0.0], [0.0, 0.5]])
    return loss


@pytest.mark.parametrize(
    ("kind", "own"),
    [("additive_angular", math.cos(math.radians(30) + 0.2)), ("additive", math.cos(math.radians(30)) - 0.2)],
)
def test_the_margin_by_hand(kind, own):
    loss = plane_loss(kind=kind, margin=0.2, scale=4.0)(unit_vectors(30), torch.tensor([0]))
    other = math.cos(math.radians(60))
    assert loss.item() == pytest.approx(math.log(1 + math.exp(4 * (other - own))), rel=1e-4)


def test_without_margin_it_is_the_plain_softmax_and_a_margin_is_harder():
    embeddings, loss = random_embeddings(), MarginSoftmaxLoss(8, 3, margin=0.0)
    cosines = 30 * embeddings @ normalize(loss.vectors, dim=-1).T
    plain = torch.nn.functional.cross_entropy(cosines, SPEAKERS)
    torch.testing.assert_close(loss(embeddings, SPEAKERS), plain, rtol=1e-3, atol=1e-3)
    loss.margin = 0.3
    assert loss(embeddings, SPEAKERS) > plain


def test_an_angle_beyond_half_a_turn_stays_there_and_has_a_finite_gradient():
    embeddings = unit_vectors(179.9, 0.0).requires_grad_()
    loss = plane_loss(margin=0.3)(embeddings, torch.tensor([0, 0]))
    loss.backward()
    assert embeddings.grad.isfinite().all()
    assert loss.item() == pytest.approx(15.0, rel=0.02)  # of the first 30, of the second nothing


def test_who_is_no_rival_does_not_count():
    embeddings, speakers = unit_vectors(30), torch.tensor([0])
    alone = plane_loss()(embeddings, speakers, torch.tensor([[True, False]]))
    assert alone.item() == pytest.approx(0.0)
    without_own = plane_loss()(embeddings, speakers, torch.tensor([[False, True]]))
    torch.testing.assert_close(without_own, plane_loss()(embeddings, speakers))


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="`kind` is 'multiplicative'"):
        MarginSoftmaxLoss(2, 2, kind="multiplicative")


def test_hardest_triplets_by_hand():
    # Chords: 2 sin(angle / 2). Of 0: farthest companion 60, nearest stranger 30; of 60 nearest 30; of 90: no companion.
    embeddings, speakers = unit_vectors(0, 60, 30), torch.tensor([0, 0, 1])
    chord = {angle: 2 * math.sin(math.radians(angle / 2)) for angle in (30, 60)}
    loss = batch_hard_triplet_loss(embeddings, speakers, margin=0.1)
    assert loss.item() == pytest.approx(0.1 + chord[60] - chord[30], rel=1e-4)


def test_triplets_equal_an_exhaustive_search():
    embeddings, expected = random_embeddings(), []
    points = embeddings.double().numpy()
    for item in range(6):
        distances = np.linalg.norm(points - points[item], axis=1)
        same = SPEAKERS.numpy() == SPEAKERS[item].item()
        worst = max(distances[other] for other in range(6) if same[other] and other != item)
        nearest = min(distances[other] for other in range(6) if not same[other])
        expected.append(max(0.0, 0.4 + worst - nearest))
    loss = batch_hard_triplet_loss(embeddings, SPEAKERS, margin=0.4)
    assert loss.item() == pytest.approx(np.mean(expected), rel=1e-4)


def test_strangers_of_another_corpus_are_not_mined():
    embeddings, moved = random_embeddings(), random_embeddings()
    moved[4:] = moved[:2]  # as near as can be, but of another corpus
    losses = [batch_hard_triplet_loss(each, SPEAKERS, domains=DOMAINS) for each in (embeddings, moved)]
    torch.testing.assert_close(*losses)
    assert batch_hard_triplet_loss(moved, SPEAKERS) > losses[1]


def test_equal_embeddings_and_lone_speakers_have_finite_gradients():
    embeddings = unit_vectors(10, 10, 10).requires_grad_()
    batch_hard_triplet_loss(embeddings, torch.tensor([0, 0, 1])).backward()
    assert embeddings.grad.isfinite().all()
    assert batch_hard_triplet_loss(random_embeddings(2), torch.tensor([0, 1])).item() == 0.0


def test_ge2e_equals_the_equations():
    """Equations 5, 6 and 8, one embedding at a time."""
    embeddings, total = random_embeddings().double(), 0.0
    for item in range(6):
        similarities = []
        for speaker in range(3):
            members = [index for index in range(6) if SPEAKERS[index] == speaker and index != item]
            centre = normalize(embeddings[members].mean(0), dim=-1)
            similarities.append(10 * embeddings[item] @ centre - 5)
        similarities = torch.stack(similarities)
        total += similarities.logsumexp(0) - similarities[SPEAKERS[item]]
    loss = GeneralizedEndToEndLoss()(embeddings, SPEAKERS + 7)
    assert loss.item() == pytest.approx((total / 6).item(), rel=1e-6)


def test_ge2e_forgets_lone_items_and_other_corpora():
    loss, embeddings = GeneralizedEndToEndLoss(), random_embeddings()
    speakers = torch.tensor([0, 0, 1, 1, 2, 3])
    alone_in_corpus = loss(embeddings, speakers, torch.tensor([0, 0, 1, 1, 2, 2]))
    assert alone_in_corpus.item() == pytest.approx(0.0, abs=1e-6)
    assert loss(embeddings, speakers).item() > 0
    assert loss(embeddings, torch.arange(6)).item() == 0.0


@pytest.mark.parametrize("name", ["margin_softmax", "triplet", "ge2e"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rounding_by_autocast_does_not_reach_the_losses(name, dtype):
    """Near a cosine of 1, where bfloat16 leaves no angle and no distance."""
    softmax = MarginSoftmaxLoss(8, 3)
    softmax.vectors.data = random_embeddings(3)
    points = (random_embeddings(3).repeat_interleave(2, 0) + 0.01 * random_embeddings(seed=1)).to(dtype)
    compute = {"margin_softmax": softmax, "triplet": batch_hard_triplet_loss, "ge2e": GeneralizedEndToEndLoss()}[name]
    results = []
    for enabled in (False, True):
        leaf = points.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = compute(normalize(leaf.float(), dim=-1).to(dtype), SPEAKERS)
        loss.backward()
        assert loss.dtype == torch.float32
        assert leaf.grad.isfinite().all()
        results.append(loss.item())
    assert results[1] == pytest.approx(results[0], rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("name", ["margin_softmax", "triplet", "ge2e"])
def test_each_loss_brings_speakers_together(name):
    torch.manual_seed(0)
    points = torch.nn.Parameter(torch.randn(6, 8))
    softmax, ge2e = MarginSoftmaxLoss(8, 3, scale=5.0), GeneralizedEndToEndLoss()
    compute = {
        "margin_softmax": softmax,
        "triplet": lambda embeddings, speakers: batch_hard_triplet_loss(embeddings, speakers, margin=1.0),
        "ge2e": ge2e,
    }[name]
    optimizer = torch.optim.Adam([points, *softmax.parameters(), *ge2e.parameters()], lr=0.05)
    for _ in range(100):
        optimizer.zero_grad()
        compute(normalize(points, dim=-1), SPEAKERS).backward()
        optimizer.step()
    cosines = normalize(points, dim=-1) @ normalize(points, dim=-1).T
    same = SPEAKERS[:, None] == SPEAKERS
    assert cosines[same].min() > cosines[~same].max()
