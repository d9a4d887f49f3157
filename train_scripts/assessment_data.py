"""Performances on their way into an assessment model: inputs, labels, and who of the ensemble learns from whom."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from datasets import Dataset

from antiphon.modeling import PianoAssessmentModel
from antiphon.processing.corpora import split_by_group
from antiphon.processing.corpora.rendering import render_corpus

from .piano_features import PianoFiles
from .recipes import RecipeError

COLUMNS = (
    *("file_name", "audio", "speaker_id", "duration_seconds", "source", "split", "license"),
    *("midi", "score_midi", "passage", "excerpt", "work", "player_id", "percepts", "percept_stds", "num_raters"),
)
INPUTS = ("audio", "midi", "score")


def performance_files(rows: Dataset, inputs: Sequence[str], rendering: dict) -> list[PianoFiles]:
    """The files of each row, as far as a model reads them; what has no recording is rendered.

    Args:
        rows: Of a corpus with the columns `midi` and `score_midi`.
        inputs: Which of `INPUTS` there are.
        rendering: Options of `render_corpus`.
    """
    unknown = set(inputs) - set(INPUTS)
    if unknown or not {"audio", "midi"} & set(inputs):
        raise RecipeError(f"`data.inputs` is {list(inputs)} but must name audio, midi or both, and perhaps score.")
    audio = [None] * len(rows)
    if "audio" in inputs:
        audio = [item["path"] for item in render_corpus(rows, **rendering)["audio"]]
    midi = rows["midi"] if "midi" in inputs else [None] * len(rows)
    score = rows["score_midi"] if "score" in inputs else [None] * len(rows)
    return [PianoFiles(*item) for item in zip(audio, midi, score)]


def passage_means(rows: Dataset) -> torch.Tensor:
    """Mean judgement of the other performances of each row's passage, (rows, percepts); NaN where there is none.

    Without the row itself: it would otherwise be told a part of its own answer.
    """
    labels = np.array(rows["percepts"][:])
    _, passages = np.unique(rows["passage"][:], return_inverse=True)
    sums, counts = np.zeros((passages.max() + 1, labels.shape[1])), np.bincount(passages)
    np.add.at(sums, passages, labels)
    others = (counts[passages] - 1)[:, None]
    means = np.where(others > 0, (sums[passages] - labels) / np.maximum(others, 1), np.nan)
    return torch.tensor(means, dtype=torch.float32)


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


@torch.no_grad()
def lattice_embeddings(
    model: PianoAssessmentModel, features: Sequence[dict[str, torch.Tensor]], batch_size: int = 16
) -> dict[str, torch.Tensor]:
    """By lattice, the (items, 2 * hidden_size) that a frozen lattice makes of each item; NaN where it has none."""
    was_training = model.training
    model.eval()
    names = {"audio": "input_features", "roll": "roll_features"}
    embeddings = {}
    for lattice in model.lattices:
        having = [index for index, item in enumerate(features) if names[lattice] in item]
        # Items of like length share a batch: little is padded.
        having.sort(key=lambda index, name=names[lattice]: len(features[index][name]))
        size = 2 * model.config.hidden_size
        embeddings[lattice] = torch.full((len(features), size), float("nan"))
        for start in range(0, len(having), batch_size):
            chosen = having[start : start + batch_size]
            padded, mask = _pad([features[index][names[lattice]] for index in chosen])
            embeddings[lattice][chosen] = model.encode_lattice(lattice, padded, mask)
    model.train(was_training)
    return embeddings


def _pad(items: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    lengths = torch.tensor([len(item) for item in items])
    padded = torch.nn.utils.rnn.pad_sequence([item.float() for item in items], batch_first=True)
    return padded, (torch.arange(padded.shape[1]) < lengths[:, None]).long()


@dataclass
class AssessmentDataset(torch.utils.data.Dataset):
    """Items as the Trainer reads them: each a dictionary of tensors.

    Args:
        tensors: By name of an argument of `PianoAssessmentModel.forward`, (items, ...).
        features: Of each item, `input_features` and `roll_features` of differing length, for lattices that learn.
        max_frames: A longer one is cut, in training at a place drawn with `generator`, else at the beginning.
    """

    tensors: dict[str, torch.Tensor]
    features: Sequence[dict[str, torch.Tensor]] | None = None
    max_frames: int | None = None
    generator: np.random.Generator | None = None

    def __len__(self) -> int:
        return len(self.tensors["labels"])

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        item = {name: tensor[index] for name, tensor in self.tensors.items()}
        if self.features is not None:
            share = 0.0 if self.generator is None else self.generator.random()
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
        mixup_alpha: Of the Beta distribution of the share of the other item; 0 mixes nothing.

    Source: Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization", equation 1, on descriptors and embeddings.
    """

    mixup_alpha: float = 0.0
    generator: np.random.Generator | None = None

    def __call__(self, items: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        batch = {}
        for name in items[0]:
            values = [item[name] for item in items]
            if name in ("input_features", "roll_features"):
                mask = "attention_mask" if name == "input_features" else "roll_attention_mask"
                batch[name], batch[mask] = _pad(values)
            else:
                batch[name] = torch.stack(values)
        return self._mix(batch) if self.mixup_alpha and self.generator is not None else batch

    def _mix(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        size = len(batch["labels"])
        share = torch.tensor(self.generator.beta(self.mixup_alpha, self.mixup_alpha, size), dtype=torch.float32)
        share = torch.maximum(share, 1 - share)[:, None]
        other = torch.from_numpy(self.generator.permutation(size))
        # A member learns from a mixture only if it may learn from both parts.
        batch["member_weights"] = batch["member_weights"] * batch["member_weights"][other]
        for name in ("descriptors", "audio_embeddings", "roll_embeddings", "passage_percepts", "labels"):
            if name in batch:
                batch[name] = share * batch[name] + (1 - share) * batch[name][other]
        return batch
