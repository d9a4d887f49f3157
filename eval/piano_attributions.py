"""Where in time and pitch an assessment comes from: attention rollout and integrated gradients of one performance.

Both look at a lattice transformer only. What the heads take from descriptors is held fixed, and the trees, which read
nothing else and are piecewise constant, have no gradient: `antiphon.eval.descriptor_importance` is for these.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from antiphon.processing.percepts import PERCEPTS

# By lattice, the inputs that it reads.
LATTICE_TENSORS = {
    "audio": ("input_features", "attention_mask"),
    "roll": ("roll_features", "roll_attention_mask"),
}
BATCH_SIZE = 8


@dataclass(frozen=True)
class Rollout:
    """How much each patch of a lattice reaches what is pooled after the last layer.

    Args:
        map: (times, octaves) shares that add up to 1; octaves from the lowest key upwards.
        frame_edges: (times + 1,) frames between which the patches lie, the last one cut where the performance ends.
            Divided by the extractor's `frame_rate` they are seconds after the first sound.
    """

    map: np.ndarray
    frame_edges: np.ndarray


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
    """Follow attention from the patches of a lattice through all layers.

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
    transformer, num_frames = model.lattices[lattice], _num_frames(given, lattice)
    num_times = -(-num_frames // transformer.config.patch_frames)
    reached = torch.eye(attentions[0].shape[-1], dtype=torch.float64)
    for weights in attentions:
        step = weights[0].double().mean(0)
        reached = (step + torch.eye(len(step), dtype=torch.float64)) / 2 @ reached
    shares = reached.view(-1, transformer.num_octaves, len(reached))[:num_times].flatten(0, 1).mean(0)
    shares = shares.view(-1, transformer.num_octaves)[:num_times]
    edges = np.minimum(np.arange(num_times + 1) * transformer.config.patch_frames, num_frames)
    return Rollout((shares / shares.sum()).numpy(), edges)


def integrated_gradients(
    model, inputs: Mapping[str, torch.Tensor], percept: str, lattice: str, steps: int = 32
) -> Attribution:
    """Attribute the difference that a performance makes to a percept, against silence, to time and pitch.

    Silence is a spectrogram everywhere as low as its lowest point, or an empty piano roll. Descriptors that are among
    the inputs stay those of the performance, so that the difference is that of the lattice alone.

    Args:
        model: A `PianoAssessmentModel`.
        inputs: Of one performance, as the extractor returns them.
        percept: One of the model's `percept_names`.
        lattice: "audio" or "roll".
        steps: Points at which gradients are taken; more make the gap smaller.

    Raises:
        ValueError: an unknown percept, too few steps, the model or the inputs lack the lattice, or the batch is not one
            performance.

    Source: Sundararajan et al. 2017, "Axiomatic Attribution for Deep Networks", equation 1; by Gauss-Legendre
        quadrature, on a path a(t) = t^2 since pooled deviations bend sharply near silence.
    """
    names = model.config.percept_names or list(PERCEPTS)
    if percept not in names:
        raise ValueError(f"`percept` is {percept!r}; expected one of {', '.join(names)}.")
    if steps < 1:
        raise ValueError(f"`steps` is {steps}; expected at least 1.")
    _lattice_inputs(model, inputs, lattice)  # refuses what cannot be attributed
    given, place = {name: tensor for name, tensor in inputs.items() if tensor is not None}, names.index(percept)
    name, num_frames = LATTICE_TENSORS[lattice][0], _num_frames(given, lattice)
    features = given[name].float()
    silence = torch.full_like(features, 0.0 if lattice == "roll" else float(features[:, :num_frames].min()))
    points, weights = np.polynomial.legendre.leggauss(steps)
    points, weights = (points + 1) / 2, weights / 2
    shares, weights = torch.tensor(points**2).float(), torch.tensor(2 * points * weights).float()

    def judge(lattices: torch.Tensor) -> torch.Tensor:
        repeated = {key: tensor.expand(len(lattices), *tensor.shape[1:]) for key, tensor in given.items()}
        return model(**{**repeated, name: lattices}).percepts[:, place]

    gradient = torch.zeros_like(features)
    with _evaluated(model), torch.enable_grad():
        for some, their_weights in zip(shares.split(BATCH_SIZE), weights.split(BATCH_SIZE)):
            path = (silence + some[:, None, None] * (features - silence)).detach().requires_grad_()
            (slope,) = torch.autograd.grad(judge(path).sum(), path)
            gradient += (their_weights[:, None, None] * slope).sum(0)
        with torch.no_grad():
            difference = float(judge(features) - judge(silence))
    attributed = ((features - silence) * gradient)[0, :num_frames].double()
    bins = model.lattices[lattice].config.num_pitch_bins
    return Attribution(
        attributed.view(num_frames, -1, bins).sum(1).numpy(), difference, float(attributed.sum()) - difference
    )


def by_patch(points: np.ndarray, patch_frames: int, bins_per_octave: int = 12) -> np.ndarray:
    """Sum (frames, bins) over patches of a lattice: (times, octaves)."""
    times = np.add.reduceat(points, np.arange(0, len(points), patch_frames), axis=0)
    return np.add.reduceat(times, np.arange(0, points.shape[1], bins_per_octave), axis=1)


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
