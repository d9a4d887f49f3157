"""What members of an ensemble say of items that they did not learn from: the measure that everything else hangs on.

By it the step to keep is chosen, heads and trees are weighed, and the predictive intervals get their width.
"""

import numpy as np
import torch

from antiphon.modeling import PianoAssessmentModel
from antiphon.modeling.modeling_piano_assessment import INPUT_SETS

from .assessment_data import means_of_others
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
    means, stds = model.label_means, model.label_stds
    targets = (tensors["labels"] - means) / stds
    num_trees = model.config.num_tree_members
    for member in range(num_trees):
        learns = torch.from_numpy(~held_out[:, member])
        seed = recipe["run"]["seed"]
        read = model.tree_inputs(tensors["descriptors"])
        fit_trees(model.trees, member, read[learns].numpy(), targets[learns].numpy(), seed)
        if model.config.use_passage_trees:
            # What a passage is like is told by rows that this member may learn from, always without the row itself.
            base = means_of_others(targets, tensors["passages"], learns)
            typical = means_of_others(tensors["descriptors"], tensors["passages"], learns)
            known = learns & ~base.isnan().any(-1)
            read = model.tree_inputs(tensors["descriptors"] - typical)
            fit_trees(model.passage_trees, member, read[known].numpy(), (targets - base)[known].numpy(), seed)

    heads, _ = judge_held_out(model, tensors, held_out, tuple(recipe["data"]["inputs"]))
    known = (tensors["passage_percepts"], tensors["passage_descriptors"])
    values = [model.tree_values(tensors["descriptors"])]
    if model.config.use_passage_trees:
        values.append(model.passage_tree_values(tensors["descriptors"], *known))
    answers = [((heads - means.numpy()) / stds.numpy())]
    answers += [held_out_percepts(value.transpose(0, 1).numpy(), held_out) for value in values]
    model.stack_weights.zero_()
    model.stack_weights[0, :2] = stacking_weights(
        [answer[is_judged] for answer in answers[:2]], targets[is_judged].numpy()
    )
    in_known = is_judged & ~known[0].isnan().any(-1).numpy()
    model.stack_weights[1] = model.stack_weights[0]
    if model.config.use_passage_trees and in_known.any():
        model.stack_weights[1] = stacking_weights([answer[in_known] for answer in answers], targets[in_known].numpy())
    print(f"weights of heads, trees and passage trees: {model.stack_weights.tolist()}", flush=True)


def calibrate(
    model: PianoAssessmentModel,
    tensors: dict[str, torch.Tensor],
    held_out: np.ndarray,
    is_judged: np.ndarray,
    inputs: list[str],
):
    """For whatever part of `inputs` is given, widens the intervals until they hold `COVERAGE` of the labels.

    Source: Vovk 2015, "Cross-conformal predictors", section 3, with errors in units of each prediction's own standard
        deviation. Deviations: the interval is centred on the whole ensemble, which errs less than the members that
        were held out; and the same rows chose the step and the weights. Coverage is therefore measured, not promised.
    """
    labels, count = tensors["labels"].numpy(), is_judged.sum()
    level = min(1.0, np.ceil((count + 1) * COVERAGE) / count)
    for given in INPUT_SETS:
        if set(given) <= {*inputs, *(["passage"] if model.knows_passages else [])}:
            percepts, stds = judge_held_out(model, tensors, held_out, given)
            errors = (np.abs(labels - percepts) / stds)[is_judged]
            scales = np.quantile(errors, level, axis=0, method="higher")
            model.set_intervals(given, torch.tensor(scales, dtype=torch.float32))
