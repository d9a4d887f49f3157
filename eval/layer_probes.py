"""What each layer of a lattice transformer knows of a performance: linear probes, against those of random weights."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from transformers import BatchFeature

from antiphon.eval.performance_tensors import interval_values, lattice_batches
from antiphon.eval.statistics import bootstrap_difference, bootstrap_mean
from antiphon.modeling.layers_lattice import pool

# By target, the descriptor that measures it in the MIDI file.
TARGETS = {
    "tempo": "alignment.log_tempo",
    "loudness": "performance.velocity_mean",
    "pedal": "performance.pedal_share",
    "articulation": "performance.articulation_mean",
    "note rate": "performance.log_note_rate",
}
PENALTIES = tuple(10.0**power for power in range(6))
NUM_FOLDS = 5


@torch.no_grad()
def layer_states(model, features: Sequence[BatchFeature], lattice: str) -> dict[str, np.ndarray]:
    """Mean and deviation over patches before the first layer and after each.

    Args:
        model: A `PianoAssessmentModel`.
        features: Of `performance_tensors.extract`; each must have the lattice.
        lattice: "audio" or "roll".

    Returns:
        By name of the layer, (items, 2 * hidden_size).
    """
    transformer = model.lattices[lattice]
    heard: list[torch.Tensor] = []
    hooks = [transformer.layers[0].register_forward_pre_hook(lambda layer, given: heard.append(given[0]))]
    hooks += [
        layer.register_forward_hook(lambda layer, given, output: heard.append(output)) for layer in transformer.layers
    ]
    names = ["patches", *(f"layer {index + 1}" for index in range(len(transformer.layers)))]
    states = {name: np.empty((len(features), 2 * model.config.hidden_size)) for name in names}
    try:
        for places, padded, mask in lattice_batches(features, lattice):
            heard.clear()
            _, patch_mask = transformer(padded, mask)
            for name, hidden_states in zip(names, heard):
                by_octave = hidden_states.unflatten(1, (-1, transformer.num_octaves))
                states[name][places] = pool(by_octave, patch_mask).numpy()
    finally:
        for hook in hooks:
            hook.remove()
    return states


def random_twin(model, seed: int = 0):
    """A model of the same configuration with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return type(model)(model.config).eval()


def probe_layers(
    model, features: Sequence[BatchFeature], groups: Sequence[str], lattice: str, *, seed: int = 0
) -> dict[str, dict[str, dict]]:
    """Probe every layer of a lattice for what `TARGETS` names.

    Performances without a target are left out of its probe, and so is a target that is the same for all. Groups are
    predicted from the others; where the passage itself tells much, as it does of the note rate, probes of other
    passages do not profit.

    Args:
        model: A `PianoAssessmentModel`.
        features: Of `performance_tensors.extract`, with lattice and MIDI.
        groups: (items,), such as passages or excerpts; none is both in training and in the test of a probe.
        lattice: "audio" or "roll".
        seed: Of the random weights and of resampling.

    Returns:
        By target and layer: `r2` of the probe, `random_r2` of that of random weights, and their `difference`, each
        with an interval over groups; by target also `num_items`.
    """
    names = list(model.config.descriptor_names)
    descriptors = torch.cat([item["descriptors"] for item in features]).double().numpy()
    groups = np.asarray(groups, dtype=str)
    states = layer_states(model, features, lattice)
    random_states = layer_states(random_twin(model, seed), features, lattice)
    result: dict[str, dict] = {}
    for target, descriptor in TARGETS.items():
        values = descriptors[:, names.index(descriptor)]
        known = np.isfinite(values)
        if not known.any() or np.ptp(values[known]) == 0:
            continue
        result[target] = {"num_items": int(known.sum()), "layers": {}}
        for layer in states:
            own, random = (
                probe_scores(given[layer][known], values[known], groups[known]) for given in (states, random_states)
            )
            result[target]["layers"][layer] = {
                "r2": interval_values(bootstrap_mean(own, groups[known], seed=seed)),
                "random_r2": interval_values(bootstrap_mean(random, groups[known], seed=seed)),
                "difference": interval_values(bootstrap_difference(own, random, groups[known], seed=seed)),
            }
    return result


def probe_scores(states: np.ndarray, targets: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Share of R2 of each item, whose mean is the R2 of ridge regression on the items of other groups.

    Args:
        states: (items, numbers).
        targets: (items,).
        groups: (items,).
    """
    answers = np.empty(len(targets))
    for train, test in GroupKFold(min(NUM_FOLDS, len(np.unique(groups)))).split(states, targets, groups):
        probe = make_pipeline(StandardScaler(), RidgeCV(PENALTIES)).fit(states[train], targets[train])
        answers[test] = probe.predict(states[test])
    return 1 - (answers - targets) ** 2 / targets.var()


def best_layers(probes: Mapping[str, Mapping]) -> dict[str, str]:
    """By target, the layer whose probe explains most."""
    return {
        target: max(entry["layers"], key=lambda layer: entry["layers"][layer]["r2"]["value"])
        for target, entry in probes.items()
    }
