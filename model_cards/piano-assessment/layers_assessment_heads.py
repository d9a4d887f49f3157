"""Heads that join what is known of a performance and judge it, an ensemble of them at once."""

import torch
from torch import nn

from .layers_dropout import Dropout
from .layers_members import MemberLinear


class AssessmentHeads(nn.Module):
    """Joins sources, any of which may be missing, and returns a value and a log variance for each percept.

    Args:
        config: A `PianoAssessmentConfig`.
        source_sizes: By name, the width of each source.
    """

    def __init__(self, config, source_sizes: dict[str, int]):
        super().__init__()
        members, size = config.num_members, config.head_size
        self.fusion = config.fusion
        self.group_dropout = config.group_dropout
        self.input_dropout = Dropout(config.input_dropout)
        self.dropout = Dropout(config.head_dropout)
        self.project = nn.ModuleDict({name: MemberLinear(members, width, size) for name, width in source_sizes.items()})
        if self.fusion != "concatenation":
            self.score = nn.ModuleDict({name: MemberLinear(members, size, 1, zero=True) for name in source_sizes})
        self.hidden = MemberLinear(members, size, size)
        self.output = MemberLinear(members, size, 2 * config.num_percepts, zero=True)

    def forward(
        self, sources: dict[str, torch.Tensor], present: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Judges performances.

        Args:
            sources: By name, (batch, width); some may be absent.
            present: By name, (batch,) true where an item has the source.

        Returns:
            Values and log variances, each (members, batch, percepts), in standard deviations of the labels.
        """
        present = self._drop_sources(present)
        projected = {name: self.project[name](self.input_dropout(source)) for name, source in sources.items()}
        joined = self._join(projected, present)
        hidden_states = self.dropout(torch.relu(joined))
        hidden_states = self.dropout(torch.relu(self.hidden(hidden_states)))
        return self.output(hidden_states).chunk(2, dim=-1)

    def _drop_sources(self, present: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """In training hides whole sources now and then, so that no one source is relied upon; never the last."""
        if not self.training or self.group_dropout == 0:
            return present
        names, known = list(present), torch.stack(list(present.values()))
        kept = known & (torch.rand(known.shape, device=known.device) >= self.group_dropout)
        kept = torch.where(kept.any(0), kept, known)
        return dict(zip(names, kept))

    def _join(self, projected: dict[str, torch.Tensor], present: dict[str, torch.Tensor]) -> torch.Tensor:
        """(members, batch, size) from each source's share of it."""
        values = torch.stack(list(projected.values()))  # (sources, members, batch, size)
        known = torch.stack([present[name] for name in projected])[:, None, :, None]
        if self.fusion == "concatenation":
            # Concatenation followed by a linear map is the sum of a linear map of each part.
            return (values * known).sum(0)
        scores = torch.stack([self.score[name](torch.tanh(value)) for name, value in projected.items()])
        if self.fusion == "gating":
            return (2 * scores.sigmoid() * values * known).sum(0)
        weights = scores.masked_fill(~known, torch.finfo(scores.dtype).min).softmax(0)
        # Before anything is learned it is the sum of what is there, whoever else shares the batch.
        return known.sum(0) * (weights * values * known).sum(0)
