"""Configuration of the lattice transformer and of the piano assessment model."""

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

BINS_PER_OCTAVE = 12
REGRESSIONS = ("mse", "gaussian")
FUSIONS = ("concatenation", "gating", "attention")
RESIDUALS = ("none", "score", "passage")


@strict
class PianoAssessmentConfig(PreTrainedConfig):
    """Everything that decides the shape and the training objective of a piano assessment model.

    The defaults make the small model; `hidden_size=256, num_hidden_layers=5` a model of about 10 million parameters.

    Args:
        percept_names: What is predicted, in order.
        num_pitch_bins: Semitones of spectrogram and piano roll; a multiple of 12.
        roll_channels: Values of the piano roll at each key and frame.
        use_audio, use_roll: Which lattice transformers there are: for spectrograms, for piano rolls.
        hidden_size, intermediate_size, num_hidden_layers, num_attention_heads: Of each lattice transformer; the width
            of a head must be a multiple of four.
        patch_frames: Frames of a patch; each spans one octave.
        rope_theta: Base of the rotary frequencies, for time and for pitch.
        hidden_dropout, activation_dropout, attention_dropout: In the lattice transformers.
        freeze_lattices: Whether their weights stay as they are (pretrained) while the heads learn.
        apply_spec_augment, num_time_masks, time_mask_ratio, num_frequency_masks, frequency_mask_bins: SpecAugment on
            spectrograms.
        descriptor_names: Of the hand-crafted descriptors, each after its group, such as `performance.velocity_mean`.
        used_groups: Groups of descriptors that the heads read; all of them if None.
        num_descriptor_bins: Pieces of the piecewise linear embedding of each descriptor.
        num_members: Heads, an ensemble trained at once on different parts of the data.
        head_size: Width of each head.
        head_dropout, input_dropout, group_dropout: In the heads: of hidden units, of inputs, of whole sources.
        num_tree_members, num_trees, tree_depth: Boosted trees beside the heads: how many ensembles of them, trees for
            each percept, and levels; without ensembles there are none. `num_members` is a multiple of theirs.
        use_passage_trees: Whether there are also trees that correct what training knows of the passage.
        fusion: How a head joins its sources: "concatenation", "gating" or "attention".
        residual: What a head corrects: "none" the mean of training, "score" a mean that it reads from the score,
            "passage" the mean of the same passage in training, where known.
        regression: "mse", or "gaussian" with a learned variance for each percept and performance.
        pearson_weight, ranking_weight: Of the losses on correlation, and on the order of performances of one passage.
        learn_loss_weights: Whether the losses weigh themselves by learned uncertainties.
        layer_norm_eps: Added to the variance in layer normalisation.

    Source: Vaswani et al. 2017 and Dosovitskiy et al. 2021 for a transformer on patches; Gorishniy et al. 2022, "On
        Embeddings for Numerical Features in Tabular Deep Learning", section 3.1, for the descriptors. Deviations:
        patches span whole octaves and positions rotate by time and by pitch, so that neither has a largest length.
    """

    model_type = "antiphon_piano_assessment"

    percept_names: list[str] | None = None
    num_pitch_bins: int = 96
    roll_channels: int = 3
    use_audio: bool = True
    use_roll: bool = True
    hidden_size: int = 96
    intermediate_size: int = 288
    num_hidden_layers: int = 3
    num_attention_heads: int = 4
    patch_frames: int = 32
    rope_theta: float = 1000.0
    hidden_dropout: float = 0.1
    activation_dropout: float = 0.0
    attention_dropout: float = 0.0
    freeze_lattices: bool = False
    apply_spec_augment: bool = True
    num_time_masks: int = 2
    time_mask_ratio: float = 0.1
    num_frequency_masks: int = 1
    frequency_mask_bins: int = 12
    descriptor_names: list[str] | None = None
    used_groups: list[str] | None = None
    num_descriptor_bins: int = 8
    num_members: int = 8
    head_size: int = 64
    head_dropout: float = 0.3
    input_dropout: float = 0.2
    group_dropout: float = 0.0
    num_tree_members: int = 0
    use_passage_trees: bool = True
    num_trees: int = 100
    tree_depth: int = 4
    fusion: str = "concatenation"
    residual: str = "none"
    regression: str = "gaussian"
    pearson_weight: float = 0.0
    ranking_weight: float = 0.0
    learn_loss_weights: bool = False
    layer_norm_eps: float = 1e-5

    @property
    def num_percepts(self) -> int:
        """How many numbers are predicted."""
        return len(self.percept_names or ())

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.num_attention_heads

    @property
    def descriptor_groups(self) -> dict[str, list[int]]:
        """By group that is used, the places of its descriptors."""
        groups: dict[str, list[int]] = {}
        for index, name in enumerate(self.descriptor_names or ()):
            groups.setdefault(name.partition(".")[0], []).append(index)
        return {name: places for name, places in groups.items() if self.used_groups is None or name in self.used_groups}

    def validate_heads(self):
        """Half of each head's pairs rotate by time, half by pitch."""
        if self.hidden_size % (4 * self.num_attention_heads):
            raise ValueError(
                f"`hidden_size` is {self.hidden_size} but must be a multiple of 4 x `num_attention_heads` "
                f"({4 * self.num_attention_heads})."
            )

    def validate_patches(self):
        """A patch spans one octave."""
        if self.num_pitch_bins % BINS_PER_OCTAVE:
            raise ValueError(f"`num_pitch_bins` is {self.num_pitch_bins} but must be a multiple of {BINS_PER_OCTAVE}.")

    def validate_members(self):
        """Head k is paired with tree ensemble k modulo their number."""
        if self.num_tree_members and self.num_members % self.num_tree_members:
            raise ValueError(
                f"`num_members` is {self.num_members} but must be a multiple of `num_tree_members` "
                f"({self.num_tree_members})."
            )

    def validate_groups(self):
        """Trees read descriptors, and a mean that follows from the score needs those of the score."""
        if self.num_tree_members and self.used_groups == []:
            raise ValueError(
                "`num_tree_members` asks for trees but `used_groups` is empty; name groups for them to read."
            )
        if self.residual == "score" and self.descriptor_names and "score" not in self.descriptor_groups:
            raise ValueError("`residual` is 'score' but `used_groups` lacks 'score'; add it.")

    def validate_choices(self):
        """Names of what there is."""
        choices = {"fusion": FUSIONS, "residual": RESIDUALS, "regression": REGRESSIONS}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(f"`{name}` is {getattr(self, name)!r} but must be one of {', '.join(known)}.")


PianoAssessmentConfig.register_for_auto_class()
