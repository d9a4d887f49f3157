"""Teaches the lattice transformers to hear: what was played from its sound, and what a blanked patch of a roll held."""

from dataclasses import dataclass

import torch
from torch import nn
from transformers.utils import ModelOutput
from transformers.utils.generic import can_return_tuple

from .configuration_piano_assessment import PianoAssessmentConfig
from .layers_lattice import BINS_PER_OCTAVE, LatticeTransformer
from .layers_spec_augment import SpecAugment
from .modeling_piano_assessment import PianoAssessmentPreTrainedModel


@dataclass
class PianoPreTrainingOutput(ModelOutput):
    """Losses of the two tasks.

    Args:
        loss: Their sum.
        transcription_loss: Mean squared error of what is heard of each key, in units of its variance.
        masked_loss: The same, of what blanked patches of the roll held.
        transcriptions: (batch, times, octaves, 3 * slices * 12) as heard, see `PianoLatticePreTraining.targets`.
    """

    loss: torch.FloatTensor | None = None
    transcription_loss: torch.FloatTensor | None = None
    masked_loss: torch.FloatTensor | None = None
    transcriptions: torch.FloatTensor | None = None


class PianoLatticePreTraining(PianoAssessmentPreTrainedModel):
    """The lattice transformers of a `PianoAssessmentModel`, under the same names, with a head each.

    Args:
        config: Of the assessment model that will take over the lattices.
        num_slices: Into how many stretches of time a patch is cut when its keys are asked for.
        masked_share: Share of the roll's patches that are blanked out.
    """

    def __init__(self, config: PianoAssessmentConfig, num_slices: int = 4, masked_share: float = 0.3):
        super().__init__(config)
        self.num_slices = num_slices
        self.masked_share = masked_share
        self.spec_augment = SpecAugment(config)
        channels = {"audio": 1, "roll": config.roll_channels}
        self.lattices = nn.ModuleDict({name: LatticeTransformer(config, number) for name, number in channels.items()})
        target_size = config.roll_channels * num_slices * BINS_PER_OCTAVE
        self.readouts = nn.ModuleDict({name: nn.Linear(config.hidden_size, target_size) for name in channels})
        self.post_init()

    def targets(self, roll_features: torch.Tensor) -> torch.Tensor:
        """What is asked of each patch: (batch, times, octaves, channels * slices * 12).

        Of each key and slice, the velocity with which it was struck, and the shares of time for which it was held and
        sounded.
        """
        patches = self.lattices["roll"].patches(roll_features)
        parts = patches.unflatten(
            3,
            (self.num_slices, self.config.patch_frames // self.num_slices, self.config.roll_channels, BINS_PER_OCTAVE),
        )
        struck, lasting = parts[..., :1, :].amax(4), parts[..., 1:, :].mean(4)
        return torch.cat([struck, lasting], dim=-2).flatten(3)

    @can_return_tuple
    def forward(
        self,
        input_features: torch.Tensor,
        attention_mask: torch.Tensor,
        roll_features: torch.Tensor,
        roll_attention_mask: torch.Tensor,
        **kwargs,
    ) -> PianoPreTrainingOutput:
        """Losses of a batch; the two lattices show the same frames.

        Args:
            input_features, roll_features: (batch, frames, bins) and (batch, frames, channels * bins).
            attention_mask, roll_attention_mask: (batch, frames), 1 = real.
        """
        targets = self.targets(roll_features * roll_attention_mask[:, :, None])
        variance = targets.var() + 1e-6
        features = self.spec_augment(input_features, attention_mask.sum(-1))
        heard, mask = self.lattices["audio"](features, attention_mask, **kwargs)
        transcriptions = self.readouts["audio"](heard)
        errors = (transcriptions - targets).square().mean(-1) / variance
        transcription_loss = (errors * mask[:, :, None]).sum() / (mask.sum() * errors.shape[2])

        hidden = torch.rand(targets.shape[:3], device=targets.device) < self.masked_share
        seen, mask = self.lattices["roll"](roll_features, roll_attention_mask, hidden, **kwargs)
        errors = (self.readouts["roll"](seen) - targets).square().mean(-1) / variance
        asked = hidden & mask.bool()[:, :, None]
        masked_loss = (errors * asked).sum() / asked.sum().clamp(min=1)
        return PianoPreTrainingOutput(
            loss=transcription_loss + masked_loss,
            transcription_loss=transcription_loss,
            masked_loss=masked_loss,
            transcriptions=transcriptions,
        )


PianoLatticePreTraining.register_for_auto_class("AutoModelForPreTraining")
