"""Where in time and pitch an assessment comes from: attention rollout, integrated gradients and occlusion.

All look at a lattice transformer only. What the heads take from descriptors is held fixed, and the trees, which read
nothing else and are piecewise constant, have no gradient: `antiphon.eval.descriptor_importance` is for these.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from antiphon.processing.percepts import PERCEPTS

# By lattice, the inputs that it reads.
LATTICE_TENSORS = {
    "audio": ("input_features", "attention_mask"),
    "roll": ("roll_features", "roll_attention_mask"),
}
BINS_PER_OCTAVE = 12
BATCH_SIZE = 8


@dataclass(frozen=True)
class PatchMap:
    """A number for each patch of a lattice.

    Args:
        map: (times, octaves); octaves from the lowest key upwards.
        frame_edges: (times + 1,) frames between which the patches lie, the last one cut where the performance ends.
            Divided by the extractor's `frame_rate` they are seconds after the first sound.
    """

    map: np.ndarray
    frame_edges: np.ndarray


@dataclass(frozen=True)
class Rollout(PatchMap):
    """By patch, its share of what is pooled after the last layer; shares add up to 1."""


@dataclass(frozen=True)
class Attribution:
    """What each point of a lattice adds to a percept, against silence.

    Args:
        map: (frames, bins) on the scale of the labels; of a piano roll, the sum of its channels.
        difference: How far the percept lies above that of silence; what `map` must add up to.
        gap: What `map` misses of `difference`: the error of the numerical integral.
    """

    map: np.ndarray
    difference: float
    gap: float


def attention_rollout(model, inputs: Mapping[str, torch.Tensor], lattice: str) -> Rollout:
    """Follow attention from the patches of a lattice through all layers to what is pooled after the last one.

    Attention weights are not explanations: what is attended to may count for nothing. The map is the same for all
    percepts.

    Args:
        model: A `PianoAssessmentModel`; its way of computing attention is changed meanwhile.
        inputs: Of one performance, as the extractor returns them.
        lattice: "audio" or "roll".

    Raises:
        ValueError: the model or the inputs lack the lattice, or the batch is not one performance.

    Source: Abnar & Zuidema 2020, "Quantifying Attention Flow in Transformers", equation 1, with heads averaged.
        Deviation: patches are pooled by mean and deviation, so that the rows of all patches are averaged.
    """
    given = _lattice_inputs(model, inputs, lattice)
    with _evaluated(model, "eager"), torch.no_grad():
        attentions = model(**given, output_attentions=True).attentions
    octaves, edges = model.lattices[lattice].num_octaves, _frame_edges(model, given, lattice)
    reached = torch.eye(attentions[0].shape[-1], dtype=torch.float64)
    for weights in attentions:
        step = weights[0].double().mean(0)
        reached = (step + torch.eye(len(step), dtype=torch.float64)) / 2 @ reached
    shares = reached.view(-1, octaves, len(reached))[: len(edges) - 1].flatten(0, 1).mean(0)
    shares = shares.view(-1, octaves)[: len(edges) - 1]
    return Rollout((shares / shares.sum()).numpy(), edges)


def integrated_gradients(
    model, inputs: Mapping[str, torch.Tensor], percept: str, lattice: str, steps: int = 32
) -> Attribution:
    """Attribute the difference that a performance makes to a percept, against silence, to time and pitch.

    Look at the `gap` before the map: attention that jumps from one patch to another has gradients that say nothing of
    the jumps, and more steps then do not close it. `occlusion` does not mind.

    A recording is faded out until all of it is as soft as its softest point; a piano roll loses its notes bit by bit.
    Descriptors that are among the inputs stay those of the performance, so that the difference is the lattice's alone.

    Args:
        model: A `PianoAssessmentModel`.
        inputs: Of one performance, as the extractor returns them.
        percept: One of the model's `percept_names`.
        lattice: "audio" or "roll".
        steps: Points at which gradients are taken; more make the gap smaller.

    Raises:
        ValueError: an unknown percept, too few steps, the model or the inputs lack the lattice, or the batch is not one
            performance.

    Source: Sundararajan et al. 2017, "Axiomatic Attribution for Deep Networks", equation 1, by Gauss-Legendre
        quadrature, dense near silence where pooled deviations bend sharply. Deviation: the path of a recording is not
        straight (their section 4.1, path methods): half of a log spectrum is no recording, and models jump there.
    """
    if steps < 1:
        raise ValueError(f"`steps` is {steps}; expected at least 1.")
    place, judge = _judge(model, inputs, percept, lattice)
    features, num_frames = inputs[LATTICE_TENSORS[lattice][0]].float(), _num_frames(inputs, lattice)
    points, weights = np.polynomial.legendre.leggauss(steps)
    points, weights = (points + 1) / 2, weights / 2
    attributed = torch.zeros_like(features)
    shares, weights = torch.tensor(points**2).float(), torch.tensor(2 * points * weights).float()
    with _evaluated(model), torch.enable_grad():
        for some, their_weights in zip(shares.split(BATCH_SIZE), weights.split(BATCH_SIZE)):
            path, direction = _path(features, some, lattice)
            (slope,) = torch.autograd.grad(judge(path.requires_grad_())[:, place].sum(), path)
            attributed += (their_weights[:, None, None] * slope * direction).sum(0)
        with torch.no_grad():
            silence, _ = _path(features, torch.zeros(1), lattice)
            difference = float((judge(features) - judge(silence))[0, place])
    attributed = attributed[0, :num_frames].double()
    bins = model.lattices[lattice].config.num_pitch_bins
    return Attribution(
        attributed.view(num_frames, -1, bins).sum(1).numpy(), difference, float(attributed.sum()) - difference
    )


@torch.no_grad()
def occlusion(model, inputs: Mapping[str, torch.Tensor], percept: str, lattice: str) -> PatchMap:
    """Silence one patch after the other and see how a percept changes.

    Args:
        model: A `PianoAssessmentModel`.
        inputs: Of one performance, as the extractor returns them; descriptors stay those of the performance.
        percept: One of the model's `percept_names`.
        lattice: "audio" or "roll".

    Returns:
        By how much each patch raises the percept, on the scale of the labels. Patches that tell the same are all
        missed little, and the map adds up to nothing in particular.

    Raises:
        ValueError: As `integrated_gradients`.

    Source: Zeiler & Fergus 2014, "Visualizing and Understanding Convolutional Networks", section 4.2.
    """
    place, judge = _judge(model, inputs, percept, lattice)
    features, edges = inputs[LATTICE_TENSORS[lattice][0]].float(), _frame_edges(model, inputs, lattice)
    octaves = model.lattices[lattice].num_octaves
    silence, _ = _path(features, torch.zeros(1), lattice)
    silenced = []
    for start, end in pairwise(edges):
        # (octaves, frames, channels, octaves, bins): one octave of this moment is silent in each
        lattices = features.unflatten(2, (-1, octaves, BINS_PER_OCTAVE)).repeat(octaves, 1, 1, 1, 1)
        quiet = silence.unflatten(2, (-1, octaves, BINS_PER_OCTAVE))
        for octave in range(octaves):
            lattices[octave, start:end, :, octave] = quiet[0, start:end, :, octave]
        silenced.append(lattices.flatten(2))
    with _evaluated(model):
        changed = torch.stack([judge(lattices)[:, place] for lattices in silenced])
        return PatchMap((judge(features)[0, place] - changed).double().numpy(), edges)


def by_patch(points: np.ndarray, patch_frames: int) -> np.ndarray:
    """Sum (frames, bins) over patches of a lattice: (times, octaves)."""
    times = np.add.reduceat(points, np.arange(0, len(points), patch_frames), axis=0)
    return np.add.reduceat(times, np.arange(0, points.shape[1], BINS_PER_OCTAVE), axis=1)


def _judge(
    model, inputs: Mapping[str, torch.Tensor], percept: str, lattice: str
) -> tuple[int, Callable[[torch.Tensor], torch.Tensor]]:
    """Place of the percept, and percepts (batch, percepts) as a function of the lattice's features alone."""
    names = model.config.percept_names or list(PERCEPTS)
    if percept not in names:
        raise ValueError(f"`percept` is {percept!r}; expected one of {', '.join(names)}.")
    _lattice_inputs(model, inputs, lattice)  # refuses what cannot be attributed
    given = {name: tensor for name, tensor in inputs.items() if tensor is not None}
    for other in set(model.lattices) - {lattice}:
        # The other lattice says the same each time: it is asked once.
        features, mask = (given.pop(name, None) for name in LATTICE_TENSORS[other])
        if features is not None:
            with _evaluated(model), torch.no_grad():
                given[f"{other}_embeddings"] = model.encode_lattice(other, features, mask)

    def judge(features: torch.Tensor) -> torch.Tensor:
        repeated = {name: tensor.expand(len(features), *tensor.shape[1:]) for name, tensor in given.items()}
        return model(**{**repeated, LATTICE_TENSORS[lattice][0]: features}).percepts

    return names.index(percept), judge


def _frame_edges(model, inputs: Mapping[str, torch.Tensor], lattice: str) -> np.ndarray:
    num_frames, size = _num_frames(inputs, lattice), model.config.patch_frames
    return np.minimum(np.arange(-(-num_frames // size) + 1) * size, num_frames)


def _path(features: torch.Tensor, shares: torch.Tensor, lattice: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Lattices between silence (share 0) and `features` (1), and the derivative by the share, (shares, frames, ...)."""
    shares = shares[:, None, None]
    if lattice == "roll":
        return features * shares, features.expand(len(shares), -1, -1)
    floor, span = features.min(), features.max() - features.min()
    faded = features - (1 - shares) * span
    return faded.clamp(min=floor), span * (faded > floor)


def _lattice_inputs(model, inputs: Mapping[str, torch.Tensor], lattice: str) -> dict[str, torch.Tensor]:
    """The inputs of one lattice alone."""
    if lattice not in model.lattices:
        raise ValueError(f"`lattice` is {lattice!r}; the model has {', '.join(model.lattices) or 'none'}.")
    given = {name: inputs[name] for name in LATTICE_TENSORS[lattice] if inputs.get(name) is not None}
    features = LATTICE_TENSORS[lattice][0]
    if features not in given:
        raise ValueError(f"`inputs` lack {features!r}, which the lattice {lattice!r} reads; give the extractor more.")
    if len(given[features]) != 1:
        raise ValueError(f"`inputs` hold {len(given[features])} performances; attribute one at a time.")
    return given


def _num_frames(given: Mapping[str, torch.Tensor], lattice: str) -> int:
    features, mask = LATTICE_TENSORS[lattice]
    return int(given[mask].sum()) if mask in given else given[features].shape[1]


@contextmanager
def _evaluated(model, attention: str | None = None) -> Iterator[None]:
    """In evaluation mode, and with another implementation of attention; both are restored."""
    was_training, implementation = model.training, model.config._attn_implementation
    model.eval()
    try:
        if attention:
            model.set_attn_implementation(attention)
        yield
    finally:
        model.train(was_training)
        if attention:
            model.set_attn_implementation(implementation)
