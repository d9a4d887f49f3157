"""How much an assessment leans on each source: permutation importance of groups of descriptors and of lattices."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from antiphon.eval.clustered_bootstrap import bootstrap_statistics
from antiphon.eval.performance_tensors import ALL_INPUTS, PASSAGE_TENSORS, interval_values, judge
from antiphon.eval.statistics import bootstrap_mean
from antiphon.processing.percepts import PERCEPTS

Source = dict[str, list[int] | None]

# What a musician would call a group: descriptors of what is played whose names hold one of the words, the first that
# fits. Recordings are left out, whose descriptors mix all of these, and scores, which no player changes.
TOPIC_GROUPS = ("performance", "alignment", "deviation")
TOPICS = {
    "pedal": ("pedal", "sostenuto", "sounding_polyphony"),
    "dynamics": ("velocity", "loudness", "dynamics", "melody_deviation"),
    "articulation": ("articulation", "key_seconds", "overlap", "held_polyphony"),
    "tempo and timing": ("tempo", "interval", "duration", "note_rate", "asynchrony", "chord_spread"),
    "pitch and texture": ("pitch", "notes_per_chord"),
}


def importance_sources(model, tensors: Mapping[str, torch.Tensor]) -> dict[str, dict[str, Source]]:
    """By kind and name of a source, the tensors that it consists of, each with its places; None for all of them."""
    groups = model.config.descriptor_groups
    topics: dict[str, list[int]] = {topic: [] for topic in TOPICS}
    for place in (place for group in TOPIC_GROUPS for place in groups.get(group, [])):
        name = model.config.descriptor_names[place]
        fitting = [topic for topic, words in TOPICS.items() if any(word in name for word in words)]
        if fitting:
            topics[fitting[0]].append(place)
    sources: dict[str, Source] = {f"{lattice} lattice": {f"{lattice}_embeddings": None} for lattice in model.lattices}
    sources |= {f"{group} descriptors": {"descriptors": places} for group, places in groups.items()}
    if passage := [name for name in PASSAGE_TENSORS if name in tensors]:
        sources["means of the passage"] = dict.fromkeys(passage)
    return {
        "source": sources,
        "topic": {topic: {"descriptors": places} for topic, places in topics.items() if places},
    }


def permutation_importance(
    model,
    tensors: Mapping[str, torch.Tensor],
    labels: np.ndarray,
    clusters: Sequence[str],
    *,
    inputs: Sequence[str] = ALL_INPUTS,
    num_permutations: int = 5,
    seed: int = 0,
) -> dict[str, dict[str, dict]]:
    """Drop of R2 when a source is exchanged between the performances of a test set, all its numbers together.

    What other sources tell as well is not missed, and exchanged inputs may contradict one another in ways that never
    occur: a small drop is no proof of uselessness.

    Args:
        model: A `PianoAssessmentModel`.
        tensors: Of `performance_tensors.embed`.
        labels: (items, percepts).
        clusters: (items,), what is resampled as a whole for the intervals; permutations are held fixed.
        inputs: What the model is given.
        num_permutations: Over which drops are averaged.
        seed: Of permutations and resampling.

    Returns:
        By kind ("source" or "topic") and name: `drop` of the mean R2 with its interval, and `percepts`, the
        same for each.

    Source: Breiman 2001, "Random Forests", section 10, for whole groups; Hooker et al. 2021 on its limits.
    """
    generator = np.random.default_rng(seed)
    orders = [generator.permutation(len(labels)) for _ in range(num_permutations)]
    errors = (judge(model, tensors, inputs).percepts - labels) ** 2
    result: dict[str, dict] = {}
    for kind, sources in importance_sources(model, tensors).items():
        result[kind] = {}
        for name, source in sources.items():
            permuted = [judge(model, _exchange(tensors, source, order), inputs) for order in orders]
            more = np.mean([(answer.percepts - labels) ** 2 for answer in permuted], axis=0) - errors
            result[kind][name] = _drop(more / labels.var(axis=0), clusters, seed)
    return result


def _exchange(tensors: Mapping[str, torch.Tensor], source: Source, order: np.ndarray) -> dict[str, torch.Tensor]:
    exchanged = dict(tensors)
    for name, places in source.items():
        exchanged[name] = tensors[name].clone()
        chosen = slice(None) if places is None else places
        exchanged[name][:, chosen] = tensors[name][order][:, chosen]
    return exchanged


def _drop(drops: np.ndarray, clusters: Sequence[str], seed: int) -> dict:
    """Mean over items of (items, percepts), with intervals."""
    by_percept = bootstrap_statistics(
        {"drop": drops, "count": np.ones((len(drops), 1))},
        clusters,
        lambda sums: {"drop": sums["drop"] / sums["count"]},
        seed=seed,
    )["drop"]
    return {
        "drop": interval_values(bootstrap_mean(drops.mean(axis=1), clusters, seed=seed)),
        "percepts": {percept: by_percept.to_dict(index) for index, percept in enumerate(PERCEPTS)},
    }
