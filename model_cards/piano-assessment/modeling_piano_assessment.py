"""Judges performances on a piano: from a recording, a MIDI file or both, and the score where there is one."""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.utils import ModelOutput
from transformers.utils.generic import can_return_tuple
from transformers.utils.output_capturing import capture_outputs

from .configuration_piano_assessment import PianoAssessmentConfig
from .layers_assessment_heads import AssessmentHeads
from .layers_attention import RotaryAttention
from .layers_lattice import LatticeLayer, LatticePositions, LatticeTransformer, pool
from .layers_members import MemberLinear, PiecewiseLinearEmbedding
from .layers_spec_augment import SpecAugment
from .layers_trees import TreeEnsemble
from .losses_percepts import pearson_loss, ranking_loss, regression_loss

LOSSES = ("regression", "pearson", "ranking")
MAX_LOG_VARIANCE = 4.0
# What may be given of a performance; each set has predictive intervals of its own. "passage" is what training knows of
# other performances of the same passage.
INPUT_SETS = (
    ("audio",),
    ("midi",),
    ("audio", "midi"),
    ("midi", "score"),
    ("audio", "midi", "score"),
    ("midi", "score", "passage"),
    ("audio", "midi", "score", "passage"),
)
# By descriptor group, the inputs that it needs.
GROUP_INPUTS = {
    "audio": {"audio"},
    "performance": {"midi"},
    "alignment": {"midi", "score"},
    "score": {"score"},
    "deviation": {"midi", "score"},
}
LATTICE_INPUTS = {"audio_lattice": {"audio"}, "roll_lattice": {"midi"}}


@dataclass
class PianoAssessmentOutput(ModelOutput):
    """Judgements of a batch of performances.

    Args:
        loss: When labels are given.
        percepts: (batch, percepts), mean of the members, on the scale of the labels.
        stds: (batch, percepts), predictive standard deviations: what members expect, and how far they disagree.
        low, high: (batch, percepts), calibrated 90 % intervals; NaN where `set_intervals` has none for these inputs.
        member_percepts, member_stds: (batch, members, percepts).
        hidden_states, attentions: Of the lattice transformers, one layer after another, when asked for.
    """

    loss: torch.FloatTensor | None = None
    percepts: torch.FloatTensor | None = None
    stds: torch.FloatTensor | None = None
    low: torch.FloatTensor | None = None
    high: torch.FloatTensor | None = None
    member_percepts: torch.FloatTensor | None = None
    member_stds: torch.FloatTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    attentions: tuple[torch.FloatTensor, ...] | None = None


class PianoAssessmentPreTrainedModel(PreTrainedModel):
    """Loading, saving and initialisation shared by the models that read the lattice."""

    config_class = PianoAssessmentConfig
    base_model_prefix = "model"
    main_input_name = "descriptors"
    input_modalities = "audio"
    supports_gradient_checkpointing = True
    _no_split_modules = ["LatticeLayer"]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True
    _can_record_outputs = {"hidden_states": LatticeLayer, "attentions": RotaryAttention}

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        if isinstance(module, nn.Linear):
            init.kaiming_uniform_(module.weight, a=5**0.5)
            init.zeros_(module.bias)
        elif isinstance(module, (LatticePositions, MemberLinear, PiecewiseLinearEmbedding, TreeEnsemble)):
            module.reset_parameters()
        elif isinstance(module, PianoAssessmentModel):
            module.reset_statistics()
        else:
            super()._init_weights(module)


class PianoAssessmentModel(PianoAssessmentPreTrainedModel):
    """Lattice transformers for the spectrogram and for the piano roll, hand-crafted descriptors, and heads over all."""

    def __init__(self, config: PianoAssessmentConfig):
        super().__init__(config)
        self.spec_augment = SpecAugment(config)
        channels = {"audio": config.use_audio and 1, "roll": config.use_roll and config.roll_channels}
        self.lattices = nn.ModuleDict(
            {name: LatticeTransformer(config, number) for name, number in channels.items() if number}
        )
        self.embedding = PiecewiseLinearEmbedding(len(config.descriptor_names or ()), config.num_descriptor_bins)
        groups = config.descriptor_groups
        sizes = {f"{name}_lattice": 2 * config.hidden_size for name in self.lattices}
        sizes |= {group: len(places) * config.num_descriptor_bins for group, places in groups.items()}
        self.heads = AssessmentHeads(config, sizes)
        if config.residual == "score":
            self.score_heads = AssessmentHeads(config, {"score": sizes["score"]})
        if config.num_tree_members:
            shape = (config.num_tree_members, config.num_percepts, config.num_trees, config.tree_depth)
            self.trees = TreeEnsemble(*shape)
            if config.use_passage_trees:
                self.passage_trees = TreeEnsemble(*shape)
        # How much heads, trees and passage trees count, where the passage is unknown and where it is known.
        self.register_buffer("stack_weights", torch.empty(2, 3))
        self.loss_log_weights = nn.Parameter(torch.empty(len(LOSSES)), requires_grad=config.learn_loss_weights)
        for name in ("label_means", "label_stds"):
            self.register_buffer(name, torch.empty(config.num_percepts))
        self.register_buffer("interval_scales", torch.empty(len(INPUT_SETS), config.num_percepts))
        for name in self.lattices:
            self.register_buffer(f"{name}_means", torch.empty(2 * config.hidden_size))
            self.register_buffer(f"{name}_stds", torch.empty(2 * config.hidden_size))
        self.post_init()
        if config.freeze_lattices:
            self.lattices.requires_grad_(False)

    @property
    def knows_passages(self) -> bool:
        """Whether what is known of a passage makes a difference."""
        return self.config.residual == "passage" or bool(self.config.num_tree_members and self.config.use_passage_trees)

    def reset_statistics(self):
        """Fills what `fit_statistics` and `set_intervals` set later."""
        init.zeros_(self.loss_log_weights)
        init.zeros_(self.label_means)
        init.ones_(self.label_stds)
        init.copy_(self.stack_weights, torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]))
        init.constant_(self.interval_scales, float("nan"))
        for name in self.lattices:
            init.zeros_(getattr(self, f"{name}_means"))
            init.ones_(getattr(self, f"{name}_stds"))

    @torch.no_grad()
    def fit_statistics(
        self, labels: torch.Tensor, descriptors: torch.Tensor, lattice_embeddings: dict[str, torch.Tensor]
    ):
        """Takes from training data what brings inputs and outputs to one scale.

        Args:
            labels: (items, percepts).
            descriptors: (items, descriptors), NaN = missing.
            lattice_embeddings: By lattice, (items, 2 * hidden_size), as `encode_lattice` returns them; NaN = missing.
        """
        self.label_means.copy_(labels.mean(0))
        self.label_stds.copy_(labels.std(0).clamp(min=1e-4))
        self.embedding.fit(descriptors)
        for name, embeddings in lattice_embeddings.items():
            embeddings = embeddings[~embeddings.isnan().any(-1)]
            if len(embeddings) < 2:
                continue
            getattr(self, f"{name}_means").copy_(embeddings.mean(0))
            getattr(self, f"{name}_stds").copy_(embeddings.std(0).clamp(min=1e-4))

    @torch.no_grad()
    def set_intervals(self, inputs: tuple[str, ...], scales: torch.Tensor):
        """Sets how many predictive standard deviations the 90 % intervals reach to either side.

        Args:
            inputs: One of `INPUT_SETS`: the intervals hold where just these inputs are given.
            scales: (percepts,).
        """
        self.interval_scales[INPUT_SETS.index(inputs)] = scales

    def select_inputs(self, batch: dict[str, torch.Tensor], inputs: tuple[str, ...]) -> dict[str, torch.Tensor]:
        """A batch of `forward` as if only `inputs` had been given: what needs others is missing."""
        batch, nothing = dict(batch), float("nan")
        if "descriptors" in batch:
            batch["descriptors"] = batch["descriptors"].clone()
            for group, places in self.config.descriptor_groups.items():
                if not GROUP_INPUTS[group] <= set(inputs):
                    batch["descriptors"][:, places] = nothing
        for lattice, features, mask in (
            ("audio", "input_features", "attention_mask"),
            ("roll", "roll_features", "roll_attention_mask"),
        ):
            if not LATTICE_INPUTS[f"{lattice}_lattice"] <= set(inputs):
                for name in (features, mask):
                    batch.pop(name, None)
                if (name := f"{lattice}_embeddings") in batch:
                    batch[name] = torch.full_like(batch[name], nothing)
        if "passage" not in inputs:
            batch.pop("passage_percepts", None)
            batch.pop("passage_descriptors", None)
        return batch

    def encode_lattice(
        self, name: str, features: torch.Tensor, attention_mask: torch.Tensor | None = None, **kwargs
    ) -> torch.Tensor:
        """Mean and deviation over all patches of the lattice `name`, (batch, 2 * hidden_size)."""
        if name == "audio":
            lengths = None if attention_mask is None else attention_mask.sum(-1)
            features = self.spec_augment(features, lengths)
        return pool(*self.lattices[name](features, attention_mask, **kwargs))

    @can_return_tuple
    @capture_outputs
    def forward(
        self,
        descriptors: torch.Tensor | None = None,
        input_features: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        roll_features: torch.Tensor | None = None,
        roll_attention_mask: torch.Tensor | None = None,
        audio_embeddings: torch.Tensor | None = None,
        roll_embeddings: torch.Tensor | None = None,
        passage_percepts: torch.Tensor | None = None,
        passage_descriptors: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        passages: torch.Tensor | None = None,
        member_weights: torch.Tensor | None = None,
        **kwargs,
    ) -> PianoAssessmentOutput:
        """Judges performances, as far as their inputs are there.

        Args:
            descriptors: (batch, descriptors), NaN = missing.
            input_features, attention_mask: Spectrograms (batch, frames, bins), and (batch, frames), 1 = real; an item
                without a real frame has no recording.
            roll_features, roll_attention_mask: Piano rolls (batch, frames, channels * bins), likewise.
            audio_embeddings, roll_embeddings: (batch, 2 * hidden_size) from `encode_lattice`, in place of the
                lattices; NaN = missing.
            passage_percepts, passage_descriptors: (batch, percepts) and (batch, descriptors), means over the
                performances of the passage in training; NaN = unknown.
            labels: (batch, percepts).
            passages: (batch,) numbers of the passages, for the ranking loss.
            member_weights: (batch, members), how much an item counts for each member; 1 by default.

        Raises:
            ValueError: if an item has no input that this model reads.
        """
        given = {
            "audio": (input_features, attention_mask, audio_embeddings),
            "roll": (roll_features, roll_attention_mask, roll_embeddings),
        }
        sources, present = self._describe(descriptors)
        for name in self.lattices:
            embeddings = self._embed(name, *given[name], **kwargs)
            if embeddings is not None:
                known = ~embeddings.isnan().any(-1)
                scaled = (embeddings - getattr(self, f"{name}_means")) / getattr(self, f"{name}_stds")
                sources[f"{name}_lattice"], present[f"{name}_lattice"] = scaled.nan_to_num(0.0).clamp(-5, 5), known
        if not present or not torch.stack(list(present.values())).any(0).all():
            raise ValueError(
                "an item has no input that this model reads: give `input_features`, `roll_features` or `descriptors`; "
                f"the model has the lattices {list(self.lattices)} and the descriptors of "
                f"{list(self.config.descriptor_groups)}."
            )
        values, log_variances = self.heads(sources, present)
        log_variances = log_variances.clamp(-MAX_LOG_VARIANCE, MAX_LOG_VARIANCE)
        base = self._base(sources, present, passage_percepts)
        values = base + values
        loss = None
        if labels is not None:
            targets = (labels - self.label_means) / self.label_stds
            weights = torch.ones_like(values[..., 0]) if member_weights is None else member_weights.T
            loss = self._loss(values, log_variances, base, targets, passages, weights)
        passage_is_known = torch.zeros(values.shape[1], dtype=torch.bool, device=values.device)
        if not self.training and self.config.num_tree_members and descriptors is not None:
            values, passage_is_known = self._stack(values, descriptors, passage_percepts, passage_descriptors)
        elif self.config.residual == "passage" and passage_percepts is not None:
            passage_is_known = ~passage_percepts.isnan().any(-1)
        return self._output(values, log_variances, loss, self._input_set(present, passage_is_known))

    def tree_inputs(self, descriptors: torch.Tensor) -> torch.Tensor:
        """What trees read of (batch, descriptors): those of the used groups, 0 for all others and what is missing."""
        used = torch.zeros(descriptors.shape[1], dtype=torch.bool, device=descriptors.device)
        used[self._used_places] = True
        return descriptors.nan_to_num(0.0) * used

    @property
    def _used_places(self) -> list[int]:
        return [place for places in self.config.descriptor_groups.values() for place in places]

    def tree_values(self, descriptors: torch.Tensor) -> torch.Tensor:
        """What the trees say, (members, batch, percepts), in standard deviations from the mean of training."""
        return self._of_each_member(self.trees(self.tree_inputs(descriptors)))

    def passage_tree_values(
        self, descriptors: torch.Tensor, passage_percepts: torch.Tensor, passage_descriptors: torch.Tensor
    ) -> torch.Tensor:
        """The mean of the passage, corrected by trees that read how the performance deviates from it; likewise."""
        base = ((passage_percepts - self.label_means) / self.label_stds).nan_to_num(0.0)
        return base + self._of_each_member(self.passage_trees(self.tree_inputs(descriptors - passage_descriptors)))

    def _of_each_member(self, answers: torch.Tensor) -> torch.Tensor:
        return answers.repeat(self.config.num_members // self.config.num_tree_members, 1, 1)

    def _stack(
        self, values: torch.Tensor, descriptors, passage_percepts, passage_descriptors
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Weighs heads and trees, as far as their descriptors are there; also where the passage was made use of."""
        used = self._used_places
        complete = ~descriptors[:, used].isnan().any(-1)
        known = torch.zeros_like(complete)
        trees, (unknown_weights, known_weights) = self.tree_values(descriptors), self.stack_weights
        stacked = unknown_weights[0] * values + unknown_weights[1] * trees
        if self.config.use_passage_trees and passage_percepts is not None and passage_descriptors is not None:
            missing = passage_percepts.isnan().any(-1) | passage_descriptors[:, used].isnan().any(-1)
            known = complete & ~missing
            passage_trees = self.passage_tree_values(descriptors, passage_percepts, passage_descriptors)
            informed = known_weights[0] * values + known_weights[1] * trees + known_weights[2] * passage_trees
            stacked = torch.where(known[:, None], informed, stacked)
        return torch.where(complete[:, None], stacked, values), known

    def _input_set(self, present: dict[str, torch.Tensor], passage_is_known: torch.Tensor) -> torch.Tensor:
        """(batch,) place in `INPUT_SETS` of what each item was judged by; -1 for another combination."""
        needed = {**GROUP_INPUTS, **LATTICE_INPUTS}
        batch = next(iter(present.values()))
        given = {
            name: torch.stack(
                [torch.zeros_like(batch), *(known for source, known in present.items() if name in needed[source])]
            ).any(0)
            for name in ("audio", "midi", "score")
        }
        given["passage"] = passage_is_known
        place = torch.full(batch.shape, -1, device=batch.device)
        for index, inputs in enumerate(INPUT_SETS):
            matches = torch.stack([known == (name in inputs) for name, known in given.items()]).all(0)
            place = torch.where(matches, index, place)
        return place

    def _describe(self, descriptors: torch.Tensor | None) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """Embedded descriptors of each group, and where there are any."""
        sources, present = {}, {}
        if descriptors is not None and self.config.descriptor_groups:
            embedded = self.embedding(descriptors)
            for group, places in self.config.descriptor_groups.items():
                sources[group] = embedded[:, places].flatten(1)
                present[group] = ~descriptors[:, places].isnan().all(-1)
        return sources, present

    def _embed(self, name: str, features, attention_mask, embeddings, **kwargs) -> torch.Tensor | None:
        """(batch, 2 * hidden_size), NaN where an item lacks the lattice; None where all do."""
        if embeddings is not None or features is None:
            return embeddings
        if attention_mask is None:
            return self.encode_lattice(name, features, **kwargs)
        known = attention_mask.any(-1)
        if known.all():
            return self.encode_lattice(name, features, attention_mask, **kwargs)
        embeddings = features.new_full((len(features), 2 * self.config.hidden_size), float("nan"))
        if known.any():
            embeddings[known] = self.encode_lattice(name, features[known], attention_mask[known], **kwargs)
        return embeddings

    def _base(self, sources, present, passage_percepts: torch.Tensor | None) -> torch.Tensor | float:
        """What the heads correct, in standard deviations from the mean of training."""
        if self.config.residual == "passage" and passage_percepts is not None:
            return ((passage_percepts - self.label_means) / self.label_stds).nan_to_num(0.0)
        if self.config.residual == "score" and "score" in sources:
            return self.score_heads({"score": sources["score"]}, {"score": present["score"]})[0]
        return 0.0

    def _loss(self, values, log_variances, base, targets, passages, weights) -> torch.Tensor:
        config = self.config
        gaussian = config.regression == "gaussian"
        losses = {"regression": (1.0, regression_loss(values, log_variances if gaussian else None, targets, weights))}
        if config.residual == "score" and torch.is_tensor(base):
            # The mean that the score leads one to expect is learned as such.
            scored = regression_loss(base, None, targets, weights)
            losses["regression"] = (1.0, losses["regression"][1] + scored)
        if config.pearson_weight:
            losses["pearson"] = (config.pearson_weight, pearson_loss(values, targets, weights))
        if config.ranking_weight and passages is not None:
            losses["ranking"] = (config.ranking_weight, ranking_loss(values, targets, passages, weights))
        if not config.learn_loss_weights:
            return sum(weight * loss for weight, loss in losses.values())
        # Kendall et al. 2018, "Multi-Task Learning Using Uncertainty to Weigh Losses", equation 7
        logs = {name: self.loss_log_weights[LOSSES.index(name)] for name in losses}
        return sum(weight * loss * (-logs[name]).exp() + logs[name] for name, (weight, loss) in losses.items())

    def _output(self, values, log_variances, loss, input_set: torch.Tensor) -> PianoAssessmentOutput:
        member_percepts = (self.label_means + self.label_stds * values).transpose(0, 1)
        member_stds = (self.label_stds * (0.5 * log_variances).exp()).transpose(0, 1)
        if self.config.regression != "gaussian":
            # Nothing was learned of the noise: the members' disagreement and the scale of the intervals stand for it.
            member_stds = self.label_stds.expand_as(member_stds)
        percepts = member_percepts.mean(1)
        stds = (member_stds.square().mean(1) + member_percepts.var(1, correction=0)).sqrt()
        scales = self.interval_scales[input_set].masked_fill(input_set[:, None] < 0, float("nan"))
        reach = scales * stds
        return PianoAssessmentOutput(
            loss=loss,
            percepts=percepts,
            stds=stds,
            low=percepts - reach,
            high=percepts + reach,
            member_percepts=member_percepts,
            member_stds=member_stds,
        )


PianoAssessmentModel.register_for_auto_class("AutoModel")
