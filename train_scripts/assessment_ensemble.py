"""What members of an ensemble say of items that they did not learn from: the measure that everything else hangs on.

By it the step to keep is chosen, heads and trees are weighed, and the predictive intervals get their width.
"""

import numpy as np
import torch

from antiphon.modeling import PianoAssessmentModel
from antiphon.modeling.modeling_piano_assessment import INPUT_SETS

from .boosted_trees import fit_trees, stacking_weights

COVERAGE = 0.9  # of the predictive intervals


def held_out_percepts(member_percepts: np.ndarray, held_out: np.ndarray) -> np.ndarray:
    """(items, percepts), the mean of the members that did not learn from each item."""
    weights = held_out[:, :, None].astype(float)
    return (member_percepts * weights).sum(1) / weights.sum(1)


def held_out_metrics(member_percepts: np.ndarray, labels: np.ndarray, held_out: np.ndarray) -> dict[str, float]:
    """R2 and correlation, means over percepts, of what members say of items that they did not learn from."""
    percepts = held_out_percepts(member_percepts, held_out)
    residual, total = ((labels - percepts) ** 2).sum(0), ((labels - labels.mean(0)) ** 2).sum(0)
    correlations = [np.corrcoef(ours, theirs)[0, 1] for ours, theirs in zip(percepts.T, labels.T)]
    return {"r2": float(np.mean(1 - residual / total)), "pearson": float(np.nan_to_num(correlations).mean())}


@torch.no_grad()
def judge_held_out(
    model: PianoAssessmentModel, tensors: dict[str, torch.Tensor], held_out: np.ndarray, inputs: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Percepts and standard deviations, (items, percepts), by the members that did not learn from each item."""
    model.eval()
    batch = {name: tensor for name, tensor in tensors.items() if name not in ("labels", "passages", "member_weights")}
    output = model(**model.select_inputs(batch, inputs))
    members = output.member_percepts.numpy()
    percepts = held_out_percepts(members, held_out)
    spread = held_out_percepts((members - percepts[:, None]) ** 2, held_out)
    return percepts, np.sqrt(held_out_percepts(output.member_stds.numpy() ** 2, held_out) + spread)


def add_trees(
    model: PianoAssessmentModel,
    tensors: dict[str, torch.Tensor],
    held_out: np.ndarray,
    is_judged: np.ndarray,
    recipe: dict,
):
    """Fits both kinds of trees, and weighs heads and trees by how well held-out members judge.

    Args:
        is_judged: (items,) whether an item counts in that.
    """
    means, stds = model.label_means.numpy(), model.label_stds.numpy()
    descriptors, known = tensors["descriptors"], (tensors["passage_percepts"], tensors["passage_descriptors"])
    targets = (tensors["labels"].numpy() - means) / stds
    seed = recipe["run"]["seed"]
    fit_trees(model.trees, descriptors.nan_to_num(0.0).numpy(), targets, held_out, seed)
    heads, _ = judge_held_out(model, tensors, held_out, tuple(recipe["data"]["inputs"]))
    values = [model.tree_values(descriptors)]
    if model.config.use_passage_trees:
        # Before they are grown the passage trees add nothing to the mean of the passage.
        base = model.passage_tree_values(descriptors, *known)[0]
        deviation = torch.cat([(descriptors - known[1]).nan_to_num(0.0), base], dim=1).numpy()
        fit_trees(model.passage_trees, deviation, targets - base.numpy(), held_out, seed)
        values.append(model.passage_tree_values(descriptors, *known))
    answers = [(heads - means) / stds]
    answers += [held_out_percepts(value.transpose(0, 1).numpy(), held_out) for value in values]
    judged = [answer[is_judged] for answer in answers]
    model.stack_weights.zero_()
    model.stack_weights[0, :2] = stacking_weights(judged[:2], targets[is_judged])
    model.stack_weights[1, : len(judged)] = stacking_weights(judged, targets[is_judged])
    print(f"weights of heads, trees and passage trees: {model.stack_weights.tolist()}", flush=True)


def calibrate(
    model: PianoAssessmentModel,
    tensors: dict[str, torch.Tensor],
    held_out: np.ndarray,
    is_judged: np.ndarray,
    inputs: list[str],
):
    """For whatever part of `inputs` is given, widens the intervals until they hold `COVERAGE` of the labels.

    Source: Barber et al. 2021, "Predictive inference with the jackknife+", section 3, with folds in place of items and
        errors in units of each prediction's own standard deviation.
    """
    labels, count = tensors["labels"].numpy(), is_judged.sum()
    level = min(1.0, np.ceil((count + 1) * COVERAGE) / count)
    for given in INPUT_SETS:
        if set(given) <= {*inputs, *(["passage"] if model.knows_passages else [])}:
            percepts, stds = judge_held_out(model, tensors, held_out, given)
            errors = (np.abs(labels - percepts) / stds)[is_judged]
            scales = np.quantile(errors, level, axis=0, method="higher")
            model.set_intervals(given, torch.tensor(scales, dtype=torch.float32))
