"""Losses that pull the utterances of one speaker together and push speakers apart.

All take unit-norm embeddings (batch, speaker_size) and the speaker of each, (batch,). A speaker is told from rivals
alone: who stands for a rival is a mask, so that recordings of another corpus, known by their microphone, teach nothing.
"""

import torch
from torch import nn

MARGINS = ("additive_angular", "additive")


def precise_product(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Matrix product in float32 at least, also under autocast: a cosine rounded to 1 has no angle and no gradient."""
    precision = torch.promote_types(torch.promote_types(left.dtype, right.dtype), torch.float32)
    with torch.autocast(left.device.type, enabled=False):
        return left.to(precision) @ right.to(precision)


class MarginSoftmaxLoss(nn.Module):
    """Cross-entropy over cosines to one learnt vector per training speaker, the own one lowered by a margin.

    Args:
        speaker_size: Numbers in an embedding.
        num_speakers: Training speakers.
        kind: "additive_angular": cos(t + margin) in place of cos(t); "additive": cos(t) - margin.
        margin: Radians, or difference of cosines.
        scale: Of the cosines before the softmax.

    Source: Deng et al. 2019, "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", equation 3; Wang et al.
        2018, "Additive Margin Softmax for Face Verification", equation 6. Deviation: rivals can be left out.
    """

    def __init__(
        self,
        speaker_size: int,
        num_speakers: int,
        kind: str = "additive_angular",
        margin: float = 0.2,
        scale: float = 30.0,
    ):
        super().__init__()
        if kind not in MARGINS:
            raise ValueError(f"`kind` is {kind!r} but must be one of {', '.join(MARGINS)}.")
        self.kind, self.margin, self.scale = kind, margin, scale
        self.vectors = nn.Parameter(nn.init.xavier_normal_(torch.empty(num_speakers, speaker_size)))

    def forward(
        self, embeddings: torch.Tensor, speakers: torch.Tensor, is_rival: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The mean loss; `is_rival` (batch, num_speakers) says whom each item is told from, everybody if None."""
        cosines = precise_product(embeddings, nn.functional.normalize(self.vectors, dim=-1).T)
        own = nn.functional.one_hot(speakers, cosines.shape[1]).bool()
        if self.kind == "additive":
            lowered = cosines - self.margin
        else:
            # An angle beyond pi - margin would come round to a larger cosine; the gradient of acos ends at 1.
            angles = cosines.clamp(-1 + 1e-6, 1 - 1e-6).acos()
            lowered = (angles + self.margin).clamp(max=torch.pi).cos()
        logits = self.scale * torch.where(own, lowered, cosines)
        if is_rival is not None:
            logits = logits.masked_fill(~(is_rival | own), float("-inf"))
        return nn.functional.cross_entropy(logits, speakers)


def batch_hard_triplet_loss(
    embeddings: torch.Tensor, speakers: torch.Tensor, margin: float = 0.3, domains: torch.Tensor | None = None
) -> torch.Tensor:
    """How much nearer than its farthest companion each item's nearest stranger comes, plus a margin, where positive.

    Items without a companion or without a stranger in the batch do not count.

    Args:
        embeddings: (batch, speaker_size), unit norm.
        speakers: (batch,) numbers.
        margin: Of Euclidean distances, which lie between 0 and 2.
        domains: (batch,) numbers of corpora; strangers are sought within the own one. None means one for all.

    Source: Hermans et al. 2017, "In Defense of the Triplet Loss for Person Re-Identification", equation 5.
    """
    cosines = precise_product(embeddings, embeddings.T)
    distances = (2 - 2 * cosines).clamp(min=1e-6).sqrt()  # the root of zero has no gradient
    same = speakers[:, None] == speakers
    companion = same & ~torch.eye(len(speakers), dtype=torch.bool, device=same.device)
    stranger = ~same if domains is None else ~same & (domains[:, None] == domains)
    farthest = distances.masked_fill(~companion, float("-inf")).amax(1)
    nearest = distances.masked_fill(~stranger, float("inf")).amin(1)
    counts = companion.any(1) & stranger.any(1)
    losses = (margin + farthest[counts] - nearest[counts]).relu()
    return losses.sum() / counts.sum().clamp(min=1)


class GeneralizedEndToEndLoss(nn.Module):
    """Cross-entropy over cosines to the mean of each speaker's embeddings in the batch, one's own left out of it.

    Source: Wan et al. 2018, "Generalized End-to-End Loss for Speaker Verification", equations 5, 6 and 8. Deviation:
        speakers may have different numbers of items, and means of other domains are no rivals.
    """

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(10.0))
        self.offset = nn.Parameter(torch.tensor(-5.0))

    def forward(
        self, embeddings: torch.Tensor, speakers: torch.Tensor, domains: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The mean loss; items that are alone of their speaker have no mean to be near to and do not count.

        Args:
            domains: (batch,) numbers of corpora; a speaker is a rival of the items that share one with it.
        """
        _, own = speakers.unique(return_inverse=True)
        members = nn.functional.one_hot(own).to(embeddings.dtype)  # (batch, speakers in the batch)
        sums, counts = precise_product(members.T, embeddings), members.sum(0)
        cosines = precise_product(embeddings, nn.functional.normalize(sums, dim=-1).T)
        others = nn.functional.normalize(sums[own] - embeddings, dim=-1)
        cosines = torch.where(members.bool(), (embeddings * others).sum(-1, keepdim=True), cosines)
        logits = self.scale.clamp(min=1e-6) * cosines + self.offset
        if domains is not None:
            shares = (domains[:, None] == domains).to(members.dtype) @ members > 0
            logits = logits.masked_fill(~shares, float("-inf"))
        counted = counts[own] > 1
        losses = nn.functional.cross_entropy(logits, own, reduction="none")[counted]
        return losses.sum() / counted.sum().clamp(min=1)
