"""All that is measured to understand one checkpoint on one fold, each part by its own module."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from transformers import BatchFeature

from antiphon.eval.assessment_items import tabulate_items
from antiphon.eval.attribution_sanity import randomisation_check
from antiphon.eval.descriptor_importance import permutation_importance
from antiphon.eval.domain_shift import compare_domains, select_predictions, whole_passages
from antiphon.eval.error_analysis import analyse_errors, count_notes
from antiphon.eval.few_shot import Task, learning_curves, rater_tasks
from antiphon.eval.layer_probes import probe_layers
from antiphon.eval.noise_ceiling import label_noise
from antiphon.eval.performance_tensors import ALL_INPUTS, embed, extract, judge, load_checkpoint
from antiphon.processing.corpora import item_ids, render_corpus

SANITY_ITEMS = 8
SANITY_SECONDS = 12.0  # longer ones cost more and show no more
INPUT_SETS = {"audio": ("audio",), "all inputs": ALL_INPUTS}
REFERENCE = "FluidR3_GM"


@dataclass(frozen=True)
class Domain:
    """Another way to render the performances.

    Args:
        name: For tables.
        options: Of `render_corpus`.
        max_items: How many performances are rendered; None for all.
    """

    name: str
    options: Mapping
    max_items: int | None = None


@dataclass
class Subject:
    """A checkpoint with the fold that it is examined on.

    Args:
        model, extractor: Of `load_checkpoint`.
        test: Performances with recordings.
        features: Of `extract`, of each.
        tensors: Of `embed`.
        ratings: Of `load_ratings`; None if there are none.
        seed: Of all that is drawn.
    """

    model: object
    extractor: object
    test: Dataset
    features: list[BatchFeature]
    tensors: dict[str, torch.Tensor]
    ratings: pd.DataFrame | None = None
    seed: int = 0

    @property
    def labels(self) -> np.ndarray:
        """(items, percepts)."""
        return np.array(self.test["percepts"][:])

    @property
    def excerpts(self) -> np.ndarray:
        """(items,) what is resampled as a whole."""
        return np.array(self.test["excerpt"][:])

    @property
    def hears(self) -> bool:
        """Whether the model reads anything of a recording."""
        return "audio" in self.model.lattices or "audio" in self.model.config.descriptor_groups


def load_subject(
    checkpoint: str | Path, test: Dataset, ratings: pd.DataFrame | None = None, *, seed: int = 0
) -> Subject:
    """Load a checkpoint and compute what it reads of the test performances.

    Args:
        checkpoint: Folder or name on the Hub.
        test: Performances with recordings.
        ratings: Of `load_ratings`.
        seed: Of all that is drawn later.
    """
    model, extractor = load_checkpoint(checkpoint)
    features = extract(test, extractor)
    return Subject(model, extractor, test, features, embed(model, features), ratings, seed)


def measure_maps(subject: Subject, percept: str) -> dict[str, dict]:
    """Sanity checks of the maps of each lattice, on short performances that are drawn."""
    short = np.flatnonzero(np.array(subject.test["duration_seconds"][:]) <= SANITY_SECONDS)
    chosen = np.random.default_rng(subject.seed).permutation(short)[:SANITY_ITEMS]
    performances = [subject.features[place] for place in chosen]
    return {
        lattice: randomisation_check(
            subject.model, performances, subject.excerpts[chosen], lattice, percept, seed=subject.seed
        )
        for lattice in subject.model.lattices
    }


def measure_importance(subject: Subject) -> dict[str, dict]:
    """Permutation importance of all sources."""
    return permutation_importance(subject.model, subject.tensors, subject.labels, subject.excerpts, seed=subject.seed)


def measure_probes(subject: Subject) -> dict[str, dict]:
    """Probes of the layers of each lattice."""
    return {
        lattice: probe_layers(subject.model, subject.features, subject.excerpts, lattice, seed=subject.seed)
        for lattice in subject.model.lattices
    }


def measure_errors(subject: Subject) -> dict[str, dict]:
    """Error analysis with all inputs."""
    names = item_ids(subject.test)
    noise = None
    if subject.ratings is not None:
        noise = label_noise(subject.ratings[subject.ratings["file_name"].isin(names)])
    items = tabulate_items(names, subject.test, judge(subject.model, subject.tensors), {}, noise=noise)
    return analyse_errors(items, count_notes(subject.test["midi"][:]), seed=subject.seed)


def measure_raters(subject: Subject) -> dict[str, dict]:
    """Learning curves for new raters, from all inputs."""
    if subject.ratings is None:
        return {}
    percepts = judge(subject.model, subject.tensors).percepts
    tasks = rater_tasks(subject.ratings, item_ids(subject.test), percepts, subject.excerpts)
    return learning_curves(tasks, seed=subject.seed)


def measure_domains(subject: Subject, domains: Sequence[Domain]) -> tuple[dict[str, dict], dict[str, dict]]:
    """Domain shift by rendering and inputs, and learning curves from recordings for each that renders all items."""
    shifts: dict[str, dict] = {}
    own = {name: judge(subject.model, subject.tensors, inputs) for name, inputs in INPUT_SETS.items()}
    curves = {REFERENCE: _instrument_curves(subject, REFERENCE, own["audio"].percepts)}
    for domain in domains:
        places = list(range(len(subject.test)))
        if domain.max_items is not None:
            places = whole_passages(subject.test, domain.max_items, subject.seed)
        rows = subject.test.select(places)
        tensors = _rendered_tensors(subject, rows, places, domain)
        shifts[domain.name] = {"item_ids": item_ids(rows), "inputs": {}}
        for name, inputs in INPUT_SETS.items():
            heard = judge(subject.model, tensors, inputs)
            reference = select_predictions(own[name], places)
            shifts[domain.name]["inputs"][name] = compare_domains(rows, reference, heard, seed=subject.seed)
            if name == "audio" and len(places) == len(subject.test):
                curves[domain.name] = _instrument_curves(subject, domain.name, heard.percepts)
    return shifts, curves


def _instrument_curves(subject: Subject, name: str, percepts: np.ndarray) -> dict[str, dict]:
    return learning_curves([Task(name, percepts, subject.labels, subject.excerpts)], seed=subject.seed)


def _rendered_tensors(subject: Subject, rows: Dataset, places: list[int], domain: Domain) -> dict[str, torch.Tensor]:
    """What the heads read of other recordings; MIDI file and score stay the same."""
    rendered = extract(render_corpus(rows, **domain.options), subject.extractor, ("audio",))
    heard = embed(subject.model, rendered)
    tensors = {name: tensor[places] for name, tensor in subject.tensors.items()}
    tensors["descriptors"] = torch.where(heard["descriptors"].isnan(), tensors["descriptors"], heard["descriptors"])
    if "audio_embeddings" in heard:
        tensors["audio_embeddings"] = heard["audio_embeddings"]
    return tensors
