"""Trains a model that judges performances on a piano.

    python train_scripts/train_piano_assessment.py piano_assessment run.folder=runs/piano
    accelerate launch train_scripts/train_piano_assessment.py train_scripts/recipes/piano_assessment.yaml

Run again with the same arguments after a kill: it goes on from the last checkpoint to the same result. The ensemble's
members each do without one part of the training data; how well they judge it chooses the step to keep, and sets the
width of the predictive intervals.
"""

import argparse
import dataclasses
import os
import sys
import time
from collections.abc import Sequence

import numpy as np
import torch
from datasets import Dataset
from huggingface_hub.errors import StrictDataclassError
from safetensors.torch import load_file
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback, TrainingArguments, set_seed

from antiphon.eval.piano_features import piano_features
from antiphon.eval.reference_population import build_population, write_population
from antiphon.eval.selection import where
from antiphon.modeling import PianoAssessmentConfig, PianoAssessmentModel
from antiphon.modeling.modeling_piano_assessment import INPUT_SETS
from antiphon.processing import PianoFeatureExtractor
from antiphon.processing.percepts import PERCEPTS
from antiphon.train_scripts.assessment_data import (
    COLUMNS,
    AssessmentCollator,
    AssessmentDataset,
    check_ensemble,
    held_out_members,
    lattice_embeddings,
    means_of_others,
    passage_keys,
    performance_files,
    tabulate_passages,
)
from antiphon.train_scripts.boosted_trees import fit_trees, stacking_weights
from antiphon.train_scripts.epochs import EpochAnnouncer
from antiphon.train_scripts.progress import ProgressFile
from antiphon.train_scripts.recipes import RecipeError, check_keys, load_recipe, with_defaults
from antiphon.train_scripts.run_folder import RunFolder, write_json
from antiphon.train_scripts.sources import describe_sources, load_sources

DATA_DEFAULTS = {
    "train": [],
    "inputs": ["audio", "midi", "score"],
    "rendering": {},
    "held_out_by": "excerpt",
    "held_out_parts": 4,
    "judged_where": [],
    "max_seconds": 30.0,
    "mixup_alpha": 0.0,
}
RUN_DEFAULTS = {"folder": None, "seed": 0, "early_stopping_patience": None, "initialize_from": None}
TRAINING_DEFAULTS = {
    "per_device_train_batch_size": 256,
    "per_device_eval_batch_size": 256,
    "learning_rate": 2e-3,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 0.1,
    "weight_decay": 0.05,
    "max_steps": 400,
    "eval_strategy": "steps",
    "eval_steps": 50,
    "save_strategy": "steps",
    "save_steps": 50,
    "save_total_limit": 2,
    "load_best_model_at_end": True,
    "metric_for_best_model": "r2",
    "greater_is_better": True,
    "logging_steps": 50,
    "report_to": "trackio",
}
COVERAGE = 0.9  # of the predictive intervals


def resolve(recipe: dict) -> dict:
    """Fills in defaults, and refuses keys that nothing reads and values that nothing can be built from."""
    recipe = dict(recipe)
    recipe["data"] = with_defaults(recipe["data"], DATA_DEFAULTS, "`data`")
    recipe["run"] = with_defaults(recipe["run"], RUN_DEFAULTS, "`run`")
    check_keys(recipe["model"], PianoAssessmentConfig().to_dict(), "`model`")
    check_keys(recipe["training"], [item.name for item in dataclasses.fields(TrainingArguments)], "`training`")
    recipe["training"] = {**TRAINING_DEFAULTS, **recipe["training"]}
    if not recipe["run"]["folder"]:
        raise RecipeError("`run.folder` is missing; say where the run shall live, e.g. run.folder=runs/first.")
    check_keys(
        recipe["model"].get("used_groups") or [], PianoFeatureExtractor().descriptor_groups, "`model.used_groups`"
    )
    try:
        config = PianoAssessmentConfig(**recipe["model"])
    except (TypeError, ValueError, StrictDataclassError) as error:
        raise RecipeError(f"`model` cannot be used: {error}") from error
    check_ensemble(recipe["data"], config)
    return recipe


def build_model(recipe: dict, extractor: PianoFeatureExtractor) -> PianoAssessmentModel:
    """Makes a model with random heads, and the lattices of `run.initialize_from` where it is given."""
    model = PianoAssessmentModel(
        PianoAssessmentConfig(
            percept_names=list(PERCEPTS),
            descriptor_names=extractor.descriptor_names,
            num_pitch_bins=extractor.num_pitch_bins,
            **recipe["model"],
        )
    )
    if checkpoint := recipe["run"]["initialize_from"]:
        file = os.path.join(checkpoint, "model.safetensors")
        if not os.path.isfile(file):
            raise RecipeError(
                f"`run.initialize_from` is {checkpoint}, which holds no model.safetensors; train lattices with "
                "train_scripts/pretrain_piano_lattices.py, or set it to null."
            )
        weights = load_file(file)
        lattices = {
            name.removeprefix("lattices."): tensor
            for name, tensor in weights.items()
            if name.startswith("lattices.") and name.split(".")[1] in model.lattices
        }
        model.lattices.load_state_dict(lattices)
    return model


def training_tensors(
    rows: Dataset, model: PianoAssessmentModel, features: Sequence[dict[str, torch.Tensor]], recipe: dict
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """What the Trainer reads of each row besides lattices that learn, and which members are held out of which rows.

    Sets the statistics of the model on the way.
    """
    data = recipe["data"]
    held_out = held_out_members(
        rows, data["held_out_by"], data["held_out_parts"], model.config.num_members, recipe["run"]["seed"]
    )
    embeddings = lattice_embeddings(model, features)
    _, passages = np.unique(passage_keys(rows), return_inverse=True)
    tensors = {
        "descriptors": torch.stack([item["descriptors"] for item in features]),
        "labels": torch.tensor(np.array(rows["percepts"][:]), dtype=torch.float32),
        "passages": torch.from_numpy(passages),
        "member_weights": (~held_out).float(),
    }
    model.fit_statistics(tensors["labels"], tensors["descriptors"], embeddings)
    for name in ("percepts", "descriptors"):
        values = tensors["labels" if name == "percepts" else name]
        tensors[f"passage_{name}"] = means_of_others(values, tensors["passages"])
    if model.config.freeze_lattices:
        tensors |= {f"{name}_embeddings": values for name, values in embeddings.items()}
    return tensors, held_out


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


class AssessmentTrainer(Trainer):
    """A Trainer whose validation set is its training set, judged by the members that did not learn from each item."""

    def get_eval_dataloader(self, eval_dataset=None):
        collator, self.data_collator = self.data_collator, AssessmentCollator()  # validation mixes nothing
        try:
            return super().get_eval_dataloader(eval_dataset)
        finally:
            self.data_collator = collator


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


def train(recipe: dict, callbacks: Sequence[TrainerCallback] = ()) -> RunFolder:
    """Runs a resolved recipe and returns its folder, whose `checkpoint` holds the best model.

    Args:
        recipe: As `resolve` returns it.
        callbacks: Of the Trainer, such as one that prunes a trial of a search.
    """
    data, seed = recipe["data"], recipe["run"]["seed"]
    run = RunFolder(recipe["run"]["folder"])
    run.open(recipe)
    if run.is_trained:
        print(f"{run.path} is trained already; delete it to train anew")
        return run
    os.environ.setdefault("TRACKIO_DIR", str(run.path / "trackio"))
    arguments = TrainingArguments(
        output_dir=str(run.trainer),
        seed=seed,
        remove_unused_columns=False,
        label_names=["labels"],
        **{"project": "antiphon", "run_name": run.path.name, **recipe["training"]},
    )
    set_seed(seed)

    extractor = PianoFeatureExtractor()
    rows = load_sources(data["train"], "data.train", COLUMNS)
    features = piano_features(performance_files(rows, data["inputs"], data["rendering"]), extractor)
    model = build_model(recipe, extractor)
    tensors, held_out = training_tensors(rows, model, features, recipe)
    learns = bool(model.lattices) and not model.config.freeze_lattices
    lattices = {"features": features, "max_frames": round(data["max_seconds"] * extractor.frame_rate)} if learns else {}
    if arguments.process_index == 0:
        learned = model.num_parameters(only_trainable=True)
        print(f"{model.num_parameters():,} parameters, {learned:,} of them learn; {len(rows)} performances", flush=True)
        write_json(run.path / "training_data.json", describe_sources(rows))

    patience = recipe["run"]["early_stopping_patience"]
    trainer = AssessmentTrainer(
        model=model,
        args=arguments,
        data_collator=AssessmentCollator(data["mixup_alpha"]),
        train_dataset=AssessmentDataset(tensors, **lattices, seed=seed),
        eval_dataset=AssessmentDataset(tensors, **lattices),
        processing_class=extractor,
        preprocess_logits_for_metrics=lambda outputs, labels: outputs[-2:],
        compute_metrics=lambda prediction: held_out_metrics(
            prediction.predictions[0], prediction.label_ids, held_out.numpy()
        ),
        callbacks=[
            *(EpochAnnouncer(), ProgressFile(run.path), *callbacks),
            *([EarlyStoppingCallback(patience)] if patience else []),
        ],
    )
    start = time.perf_counter()
    trainer.train(resume_from_checkpoint=run.last_trainer_checkpoint())
    is_judged = np.isin(rows["file_name"], where(rows, data["judged_where"])["file_name"])
    finished = trainer.accelerator.unwrap_model(trainer.model)
    if not finished.config.freeze_lattices:
        tensors |= {f"{name}_embeddings": each for name, each in lattice_embeddings(finished, features).items()}
    if finished.config.num_tree_members:
        add_trees(finished, tensors, held_out.numpy(), is_judged, recipe)
    calibrate(finished, tensors, held_out.numpy(), is_judged, data["inputs"])
    extractor.passages = tabulate_passages(passage_keys(rows), tensors["labels"], tensors["descriptors"])
    trainer.save_model(str(run.checkpoint))
    if trainer.is_world_process_zero():
        write_population(build_population(rows, extractor, features), run.checkpoint)
        log = trainer.state.log_history
        write_json(run.path / "log_history.json", [*log, {"training_seconds": time.perf_counter() - start}])
    return run


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", help="a YAML file, or the name of a recipe that comes with the package")
    parser.add_argument("overrides", nargs="*", help="section.key=value, e.g. training.max_steps=100")
    options = parser.parse_args(arguments)
    try:
        run = train(resolve(load_recipe(options.recipe, options.overrides)))
    except RecipeError as error:
        sys.exit(f"error: {error}")
    print(f"checkpoint: {run.checkpoint}")


if __name__ == "__main__":
    main()
