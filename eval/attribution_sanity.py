"""Do maps of an assessment hang on what the model has learned? Its weights are randomised, layer by layer, to see.

Source: Adebayo et al. 2018, "Sanity Checks for Saliency Maps", section 3.1, cascading randomisation from the output to
the input. Deviation: weights are not drawn anew but each tensor's are shuffled, so that their sizes stay as trained.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain

import numpy as np
import torch
from scipy.stats import spearmanr

from antiphon.eval.performance_tensors import interval_values
from antiphon.eval.piano_attributions import LATTICE_TENSORS, attention_rollout, by_patch, integrated_gradients
from antiphon.eval.statistics import bootstrap_mean

UNCHANGED = "nothing"
MAPS = {
    "rollout": "attention rollout, patches",
    "gradients": "integrated gradients, signed, sums of patches",
    "gradient_sizes": "integrated gradients, sizes, points",
}


def cascade(model, lattice: str, seed: int = 0) -> Iterator[tuple[str, object]]:
    """Yield copies of a model, each with one more part shuffled: the heads first, the patch embedding last.

    Args:
        model: A `PianoAssessmentModel`, which stays as it is.
        lattice: Whose layers are shuffled.
        seed: Of the shuffling.

    Returns:
        Names of the parts, and the models; the next one changes the last one's weights.
    """
    generator = torch.Generator().manual_seed(seed)
    shuffled = copy.deepcopy(model)
    transformer = shuffled.lattices[lattice]
    layers = {f"layer {index + 1}": layer for index, layer in reversed(list(enumerate(transformer.layers)))}
    parts = {"heads": shuffled.heads, "last norm": transformer.norm, **layers, "embedding": transformer.embed}
    for name, part in parts.items():
        with torch.no_grad():
            for parameter in part.parameters():
                order = torch.randperm(parameter.numel(), generator=generator)
                parameter.copy_(parameter.flatten()[order].view_as(parameter))
        yield name, shuffled


def randomisation_check(
    model,
    performances: Sequence[Mapping[str, torch.Tensor]],
    clusters: Sequence[str],
    lattice: str,
    percept: str,
    *,
    steps: int = 16,
    seed: int = 0,
) -> dict[str, dict[str, dict[str, float]]]:
    """Rank correlation of each kind of map with the trained model's, as more and more parts are shuffled.

    A correlation that stays near 1 after all parts are shuffled says that the map shows the input, not the model. One
    that is low before anything is shuffled, where only the steps of the gradients are doubled, says that the map is
    noise: such a map passes the check for the wrong reason.

    Args:
        model: A `PianoAssessmentModel`.
        performances: Inputs of one performance each.
        clusters: Of each performance, what is resampled as a whole.
        lattice: "audio" or "roll".
        percept: What gradients are taken of.
        steps: Of the gradients.
        seed: Of shuffling and resampling.

    Returns:
        By kind of `MAPS` and by part, `UNCHANGED` first, the mean over performances with its interval.
    """
    draw = _map_drawer(lattice, percept)
    trained = [draw(model, inputs, steps) for inputs in performances]
    result: dict[str, dict] = {kind: {} for kind in MAPS}
    for part, other_model in chain([(UNCHANGED, model)], cascade(model, lattice, seed)):
        maps = [draw(other_model, inputs, 2 * steps if part == UNCHANGED else steps) for inputs in performances]
        for kind in MAPS:
            similar = [rank_correlation(own[kind], other[kind]) for own, other in zip(trained, maps)]
            result[kind][part] = interval_values(
                bootstrap_mean(similar, clusters, possible_range=(-1.0, 1.0), seed=seed)
            )
    return result


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's correlation over all points of two maps; 0 where one is constant."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(spearmanr(first.ravel(), second.ravel()).statistic)


def _map_drawer(lattice: str, percept: str) -> Callable[[object, Mapping, int], dict[str, np.ndarray]]:
    def draw(model, inputs: Mapping, steps: int) -> dict[str, np.ndarray]:
        alone = {name: inputs[name] for name in LATTICE_TENSORS[lattice]} | {"descriptors": inputs["descriptors"]}
        points = integrated_gradients(model, alone, percept, lattice, steps).map
        return {
            "rollout": attention_rollout(model, alone, lattice).map,
            "gradients": by_patch(points, model.config.patch_frames),
            "gradient_sizes": np.abs(points),
        }

    return draw
