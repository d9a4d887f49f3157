"""Performances on their way into an assessment model: inputs, labels, and who of the ensemble learns from whom."""

import hashlib
import inspect
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from datasets import Dataset
from tqdm.auto import tqdm

from antiphon.eval.caching import cached_arrays
from antiphon.eval.piano_features import PianoFiles, pad_lattices
from antiphon.modeling import PianoAssessmentConfig, PianoAssessmentModel, layers_lattice
from antiphon.processing.audio_midi import read_midi
from antiphon.processing.corpora import split_by_group
from antiphon.processing.corpora.alterations import ALTERATIONS, alter_corpus
from antiphon.processing.corpora.rendering import render_corpus, rendering_conditions
from antiphon.processing.feature_extraction_piano import score_fingerprint

from .recipes import RecipeError, check_keys

COLUMNS = (
    *("file_name", "audio", "speaker_id", "duration_seconds", "source", "split", "license"),
    *("midi", "score_midi", "passage", "excerpt", "work", "player_id", "percepts", "percept_stds", "num_raters"),
    *("is_human", "duplicate_group"),
)
INPUTS = ("audio", "midi", "score")


def performance_files(rows: Dataset, inputs: Sequence[str], rendering: dict) -> list[PianoFiles]:
    """The files of each row, as far as a model reads them; what has no recording is rendered.

    Args:
        rows: Of a corpus with the columns `midi` and `score_midi`.
        inputs: Which of `INPUTS` there are.
        rendering: Options of `render_corpus`, and of `alter_corpus` where performances shall be altered before.
    """
    options = dict(rendering)
    altered = {name: options.pop(name) for name in ALTERATIONS if name in options}
    rows = alter_corpus(rows, **altered) if altered else rows
    audio = [None] * len(rows)
    if "audio" in inputs:
        audio = [item["path"] for item in render_corpus(rows, **options)["audio"]]
    midi = rows["midi"] if "midi" in inputs else [None] * len(rows)
    score = rows["score_midi"] if "score" in inputs else [None] * len(rows)
    return [PianoFiles(*item) for item in zip(audio, midi, score)]


def renderings_of(data: dict) -> list[dict]:
    """The renderings that `data.rendering` asks for, one or a list of them; a model is measured by the first."""
    rendering = data["rendering"]
    return rendering if isinstance(rendering, list) else [rendering]


def check_rendering(rendering: dict | list[dict]) -> None:
    """Refuses a `data.rendering` that is neither the conditions of one rendering nor a list of such.

    Raises:
        RecipeError: saying what is wrong with it.
    """
    each = renderings_of({"rendering": rendering})
    if not each or not all(isinstance(options, dict) for options in each):
        raise RecipeError(f"`data.rendering` is {rendering!r} but must be options such as {{gain: 0.6}}, or a list.")
    known = list(inspect.signature(rendering_conditions).parameters)
    for index, options in enumerate(each):
        check_keys(options, [*known, *(ALTERATIONS if index else ())], "`data.rendering`")


def check_ensemble(data: dict, config: PianoAssessmentConfig) -> None:
    """Refuses members that cannot be held out, or a mixture of items whose lattices cannot be mixed.

    Raises:
        RecipeError: saying which value to change.
    """
    parts, members, trees = data["held_out_parts"], config.num_members, config.num_tree_members
    if not 2 <= parts <= members:
        raise RecipeError(
            f"`data.held_out_parts` is {parts} but must lie between 2 and `model.num_members` ({members})."
        )
    if trees % parts:
        raise RecipeError(
            f"`model.num_tree_members` is {trees} but must be a multiple of `data.held_out_parts` ({parts}): else "
            "trees that learned from an item judge it beside heads that did not."
        )
    if len(renderings_of(data)) > 1 and trees and config.use_passage_trees:
        raise RecipeError(
            "`data.rendering` lists several, and trees that correct the mean of a passage would take copies of a "
            "performance for others; set `model.use_passage_trees` to false, or give one rendering."
        )
    if data["mixup_alpha"] and not config.freeze_lattices and (config.use_audio or config.use_roll):
        raise RecipeError(
            "`data.mixup_alpha` mixes descriptors and embeddings, not what lattices read; set `model.freeze_lattices` "
            "to true, or `data.mixup_alpha` to 0."
        )


def check_inputs(inputs: Sequence[str], config: PianoAssessmentConfig) -> None:
    """Refuses inputs that do not exist or suffice, and lattices that none of them would reach.

    Raises:
        RecipeError: saying which value to change.
    """
    if set(inputs) - set(INPUTS) or not {"audio", "midi"} & set(inputs):
        raise RecipeError(f"`data.inputs` is {list(inputs)} but must name audio, midi or both, and perhaps score.")
    for source, key in (("audio", "use_audio"), ("midi", "use_roll")):
        if getattr(config, key) and source not in inputs:
            raise RecipeError(f"`model.{key}` is true but `data.inputs` has no {source}; set one to fit the other.")


def passage_keys(rows: Dataset) -> list[str]:
    """Of each row, by what its passage is recognised: the notes of its score."""
    keys = {path: score_fingerprint(read_midi(path)) for path in set(rows["score_midi"])}
    return [keys[path] for path in rows["score_midi"]]


def means_of_others(values: torch.Tensor, groups: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """Mean over the other rows of each row's group that count, (rows, size); NaN where there is none.

    Without the row itself, and without what a member must not learn from: it would otherwise be told its own answer.

    Args:
        values: (rows, size).
        groups: (rows,) numbers from 0 on.
        counts: (rows, rows or 1): true where the row of the second axis counts for that of the first; or (rows,), the
            same for all.
    """
    same = (groups[:, None] == groups) & counts
    same.fill_diagonal_(False)
    shares = same.double() / same.sum(1, keepdim=True)  # no other row: 0 / 0
    return (shares @ values.double()).float()


def tabulate_passages(
    keys: Sequence[str], percepts: torch.Tensor, descriptors: torch.Tensor
) -> dict[str, dict[str, list[float | None]]]:
    """By the key of each passage, the means that a feature extractor keeps of it; what is missing is None."""
    table = {}
    for key in sorted(set(keys)):
        chosen = torch.tensor([other == key for other in keys])
        table[key] = {
            name: [None if math.isnan(value) else float(f"{value:.5g}") for value in values[chosen].mean(0).tolist()]
            for name, values in (("percepts", percepts), ("descriptors", descriptors))
        }
    return table


def held_out_members(rows: Dataset, by: str, num_parts: int, num_members: int, seed: int) -> torch.Tensor:
    """Which members do not learn from which rows: (rows, members), true where held out.

    The groups of the column `by` are dealt into parts, and each member does without one of them. So every row has
    members that never saw it or its group, whose judgements of it show how the ensemble fares on something new.
    """
    shares = {f"part{index}": 1 / num_parts for index in range(num_parts)}
    parts = split_by_group(rows, shares, by=by, seed=seed)
    part_of = {item: index for index, items in enumerate(parts.values()) for item in items}
    row_parts = torch.tensor([part_of[item] for item in rows["file_name"]])
    return row_parts[:, None] == torch.arange(num_members)[None, :] % num_parts


LATTICE_FEATURES = {"audio": "input_features", "roll": "roll_features"}


def lattice_embeddings(
    model: PianoAssessmentModel, features: Sequence[dict[str, torch.Tensor]]
) -> dict[str, torch.Tensor]:
    """By lattice, the (items, 2 * hidden_size) that it makes of each item; NaN where an item has none.

    Every item is computed once for the same weights and kept: trainings with other heads, folds and seeds share them.
    """
    was_training = model.training
    model.eval()
    embeddings = {}
    for name, lattice in model.lattices.items():
        weights = _digest(lattice.state_dict().values())
        size = 2 * model.config.hidden_size
        embeddings[name] = torch.full((len(features), size), float("nan"))
        for index, item in enumerate(tqdm(features, desc=f"{name} lattice", disable=None)):
            if (values := item.get(LATTICE_FEATURES[name])) is not None:
                kept = cached_arrays(
                    "lattices",
                    [name, weights, _digest([values])],
                    partial(_embed, model, name, values),
                    modules=(layers_lattice,),
                )
                embeddings[name][index] = torch.from_numpy(kept["embedding"])
    model.train(was_training)
    return embeddings


@torch.no_grad()
def _embed(model: PianoAssessmentModel, name: str, values: torch.Tensor) -> dict[str, np.ndarray]:
    return {"embedding": model.encode_lattice(name, values.float()[None])[0].numpy()}


def _digest(tensors: Iterable[torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


@dataclass
class AssessmentDataset(torch.utils.data.Dataset):
    """Items as the Trainer reads them: each a dictionary of tensors.

    Args:
        tensors: By name of an argument of `PianoAssessmentModel.forward`, (items, ...).
        features: Of each item, `input_features` and `roll_features` of differing length, for lattices that learn.
        max_frames: A longer one is cut, in training at a place that is drawn, else at the beginning.
        seed: In training, of all that is drawn: a function of it, the epoch and the item alone, so that a resumed
            training draws the same. None draws nothing.
    """

    tensors: dict[str, torch.Tensor]
    features: Sequence[dict[str, torch.Tensor]] | None = None
    max_frames: int | None = None
    seed: int | None = None
    epoch: int = 0

    def set_epoch(self, epoch: int) -> None:
        """Says which epoch begins."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.tensors["labels"])

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        item = {name: tensor[index] for name, tensor in self.tensors.items()}
        share = 0.0
        if self.seed is not None:
            generator = np.random.default_rng([self.seed, self.epoch, index])
            share, item["draw"] = generator.random(), int(generator.integers(2**32))
        if self.features is not None:
            for name in ("input_features", "roll_features"):
                if name in self.features[index]:
                    item[name] = self._cut(self.features[index][name], share).float()
        return item

    def _cut(self, features: torch.Tensor, share: float) -> torch.Tensor:
        spare = 0 if self.max_frames is None else max(len(features) - self.max_frames, 0)
        start = int(share * spare)
        return features[start : start + self.max_frames] if spare else features


@dataclass
class AssessmentCollator:
    """Stacks items, pads lattices, and mixes items with each other where asked to.

    Args:
        mixup_alpha: Of the Beta distribution of the share of the other item; 0 mixes nothing. The items' draws decide.

    Source: Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization", equation 1, on descriptors and embeddings.
    """

    mixup_alpha: float = 0.0

    def __call__(self, items: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        draws = [item.pop("draw") for item in items if "draw" in item]
        batch = {}
        for name in items[0]:
            values = [item[name] for item in items]
            if name in ("input_features", "roll_features"):
                mask = "attention_mask" if name == "input_features" else "roll_attention_mask"
                batch[name], batch[mask] = pad_lattices(values)
            else:
                batch[name] = torch.stack(values)
        return self._mix(batch, np.random.default_rng(draws)) if self.mixup_alpha and draws else batch

    def _mix(self, batch: dict[str, torch.Tensor], generator: np.random.Generator) -> dict[str, torch.Tensor]:
        size = len(batch["labels"])
        share = torch.tensor(generator.beta(self.mixup_alpha, self.mixup_alpha, size), dtype=torch.float32)
        share = torch.maximum(share, 1 - share)[:, None]
        other = torch.from_numpy(generator.permutation(size))
        # A member learns from a mixture only if it may learn from both parts.
        batch["member_weights"] = batch["member_weights"] * batch["member_weights"][other]
        for name in (
            "descriptors",
            "audio_embeddings",
            "roll_embeddings",
            "passage_percepts",
            "passage_descriptors",
            "labels",
        ):
            if name in batch:
                batch[name] = share * batch[name] + (1 - share) * batch[name][other]
        return batch
