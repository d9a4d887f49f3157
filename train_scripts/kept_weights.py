"""The weights of the best and of the last evaluations of a training, and their average."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from transformers import Trainer, TrainerCallback

from antiphon.eval.result_rows import write_atomically

from .recipes import RecipeError
from .run_folder import write_json

INDEX = "index.json"


class KeptWeights(TrainerCallback):
    """Keeps weights, without the optimiser's state, beside the Trainer's own checkpoints.

    They are written before the index that names them, and an index of a run that is resumed forgets what came after the
    checkpoint that it goes on from: a killed training keeps what an uninterrupted one keeps.

    Args:
        folder: Where they are kept.
        best: How many of the best evaluations; at least one.
        last: How many of the last.
        metric: By which an evaluation is judged, such as "wer".
        greater_is_better: Whether more of it is better.

    Raises:
        ValueError: for weights that are not whole on one process, as with ZeRO stage 3.
    """

    def __init__(self, folder: Path, *, best: int, last: int, metric: str, greater_is_better: bool):
        self.folder = folder
        self.best = max(best, 1)
        self.last = last
        self.metric = metric.removeprefix("eval_")
        self.sign = -1 if greater_is_better else 1
        self.is_training = False

    @property
    def evaluations(self) -> list[dict]:
        """Which are kept: `step` and `value` of the metric, by step."""
        index = self.folder / INDEX
        return json.loads(index.read_text(encoding="utf-8")) if index.is_file() else []

    def best_steps(self, evaluations: list[dict]) -> list[int]:
        """Steps of the best evaluations, the best first; of equal ones the earlier is better."""
        ordered = sorted(evaluations, key=lambda entry: (self.sign * entry["value"], entry["step"]))
        return [entry["step"] for entry in ordered[: self.best]]

    def last_steps(self, evaluations: list[dict]) -> list[int]:
        """Steps of the last evaluations, in their order."""
        return [entry["step"] for entry in evaluations[max(0, len(evaluations) - self.last) :]]

    def path(self, step: int) -> Path:
        """Where the weights of a step are."""
        return self.folder / f"step-{step:07d}.safetensors"

    def on_train_begin(self, args, state, control, **kwargs):
        self.is_training = True
        if state.is_world_process_zero:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._keep([entry for entry in self.evaluations if entry["step"] <= state.global_step])

    def on_train_end(self, args, state, control, **kwargs):
        self.is_training = False

    def on_evaluate(self, args, state, control, metrics=None, model=None, **kwargs):
        if not (self.is_training and state.is_world_process_zero):
            return
        weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
        if not all(tensor.numel() for tensor in weights.values()):
            raise ValueError(
                "`run.keep_best` and `run.keep_last` need the whole weights on the first process, but they are divided "
                "among processes (ZeRO stage 3); set both to 0, or use stage 2."
            )
        write_atomically(self.path(state.global_step), lambda file: file.write(save(weights)))
        before = [entry for entry in self.evaluations if entry["step"] != state.global_step]
        self._keep([*before, {"step": state.global_step, "value": metrics[f"eval_{self.metric}"]}])

    def _keep(self, evaluations: list[dict]) -> None:
        """Writes the index of what stays, then removes the rest."""
        wanted = {*self.best_steps(evaluations), *self.last_steps(evaluations)}
        write_json(self.folder / INDEX, [entry for entry in evaluations if entry["step"] in wanted])
        for file in set(self.folder.glob("step-*.safetensors")) - {self.path(step) for step in wanted}:
            file.unlink()


def check_kept(recipe: dict) -> None:
    """Looks whether a resolved recipe's `run.keep_best` and `run.keep_last` can be followed.

    Raises:
        RecipeError: for a number below 0, or where nothing is evaluated.
    """
    for name in ("keep_best", "keep_last"):
        count = recipe["run"][name]
        if not isinstance(count, int) or count < 0:
            raise RecipeError(f"`run.{name}` is {count!r} but must be a number of evaluations, 0 for none.")
        if count and recipe["training"].get("eval_strategy") == "no":
            raise RecipeError(
                f"`run.{name}` is {count}, but `training.eval_strategy` is 'no', so that nothing tells which weights "
                "to keep; choose 'steps' or 'epoch', or set it to 0."
            )


def average_weights(files: Sequence[Path]) -> dict[str, torch.Tensor]:
    """The mean of each parameter over several files of weights; what is no floating number is taken from the first.

    Sums are made in float64, so that the order of the files does not matter.

    Source: Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima and Better Generalization"; here over
        evaluations of one cosine schedule, not over cycles of a constant rate.
    """
    first, *others = (load_file(file) for file in files)
    sums = {name: tensor.double() for name, tensor in first.items() if tensor.is_floating_point()}
    for weights in others:
        for name in sums:
            sums[name] += weights[name].double()
    return first | {name: (total / len(files)).to(first[name].dtype) for name, total in sums.items()}


def choose_weights(trainer: Trainer, kept: KeptWeights) -> dict:
    """Leaves in the Trainer's model the best of: the best evaluation, the mean of the best, the mean of the last.

    Judged on the validation set, which also chose the best evaluation; of equal ones the first named stays.

    Returns:
        `chosen`, and for each candidate its `steps` and its metric.
    """
    best, last = kept.best_steps(kept.evaluations), kept.last_steps(kept.evaluations)
    candidates = {"best": best[:1], f"average_of_best_{len(best)}": best, f"average_of_last_{len(last)}": last}
    candidates = {name: steps for name, steps in candidates.items() if name == "best" or len(steps) > 1}
    model = trainer.accelerator.unwrap_model(trainer.model)
    measured = {}
    for name, steps in candidates.items():
        model.load_state_dict(average_weights([kept.path(step) for step in steps]))
        value = trainer.evaluate(metric_key_prefix=name)[f"{name}_{kept.metric}"]
        measured[name] = {"steps": steps, kept.metric: value}
    chosen = min(measured, key=lambda name: kept.sign * measured[name][kept.metric])
    model.load_state_dict(average_weights([kept.path(step) for step in candidates[chosen]]))
    return {"chosen": chosen, "candidates": measured}
