"""Trains a model that judges performances on a piano.

    python train_scripts/train_piano_assessment.py piano_assessment run.folder=runs/piano
    accelerate launch train_scripts/train_piano_assessment.py train_scripts/recipes/piano_assessment.yaml

Run again with the same arguments after a kill: it goes on from the last checkpoint to the same result. The ensemble's
members each do without one part of the training data; how well they judge it chooses the step to keep, and sets the
width of the predictive intervals.
"""

import os
from collections.abc import Sequence

import numpy as np
import torch
from datasets import Dataset
from safetensors.torch import load_file
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback, set_seed

from antiphon.eval.piano_assessor import TRAINING_ITEMS
from antiphon.eval.piano_features import piano_features
from antiphon.eval.reference_population import build_population, write_population
from antiphon.eval.selection import where
from antiphon.modeling import PianoAssessmentConfig, PianoAssessmentModel
from antiphon.processing import PianoFeatureExtractor
from antiphon.processing.percepts import PERCEPTS
from antiphon.train_scripts.assessment_data import (
    COLUMNS,
    AssessmentCollator,
    AssessmentDataset,
    check_ensemble,
    check_inputs,
    check_rendering,
    held_out_members,
    lattice_embeddings,
    means_of_others,
    passage_keys,
    performance_files,
    renderings_of,
    tabulate_passages,
)
from antiphon.train_scripts.assessment_ensemble import add_trees, calibrate, held_out_metrics
from antiphon.train_scripts.command_line import train_by_recipe
from antiphon.train_scripts.epochs import EpochAnnouncer
from antiphon.train_scripts.progress import ProgressFile
from antiphon.train_scripts.recipes import RecipeError, check_keys
from antiphon.train_scripts.run_folder import RunFolder, write_json
from antiphon.train_scripts.sources import describe_sources, load_sources
from antiphon.train_scripts.trainings import check_buildable, complete_sections, open_run, trained, training_arguments

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


def resolve(recipe: dict) -> dict:
    """Fills in defaults, and refuses keys that nothing reads and values that nothing can be built from."""
    recipe = complete_sections(recipe, data=DATA_DEFAULTS, run=RUN_DEFAULTS, training=TRAINING_DEFAULTS)
    check_keys(recipe["model"], PianoAssessmentConfig().to_dict(), "`model`")
    check_keys(
        recipe["model"].get("used_groups") or [], PianoFeatureExtractor().descriptor_groups, "`model.used_groups`"
    )
    check_buildable({"model": lambda: PianoAssessmentConfig(**recipe["model"])})
    config = PianoAssessmentConfig(**recipe["model"])
    check_rendering(recipe["data"]["rendering"])
    check_ensemble(recipe["data"], config)
    check_inputs(recipe["data"]["inputs"], config)
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
    """What the Trainer reads of each rendering of each row besides lattices that learn, and which members are held out.

    Sets the statistics of the model on the way. A row is held out in all its renderings.
    """
    data, copies = recipe["data"], len(features) // len(rows)
    held_out = held_out_members(
        rows, data["held_out_by"], data["held_out_parts"], model.config.num_members, recipe["run"]["seed"]
    ).repeat(copies, 1)
    embeddings = lattice_embeddings(model, features)
    _, passages = np.unique(passage_keys(rows), return_inverse=True)
    tensors = {
        "descriptors": torch.stack([item["descriptors"] for item in features]),
        "labels": torch.tensor(np.array(rows["percepts"][:]), dtype=torch.float32).repeat(copies, 1),
        "passages": torch.from_numpy(passages).repeat(copies),
        "member_weights": (~held_out).float(),
    }
    model.fit_statistics(tensors["labels"], tensors["descriptors"], embeddings)
    # Of a passage a row is told what rows of other parts say: its own part is held out as a whole.
    in_other_part = (held_out[:, None] != held_out).any(-1)
    for name, values in (("percepts", tensors["labels"]), ("descriptors", tensors["descriptors"])):
        tensors[f"passage_{name}"] = means_of_others(values, tensors["passages"], in_other_part)
    if model.config.freeze_lattices:
        tensors |= {f"{name}_embeddings": values for name, values in embeddings.items()}
    return tensors, held_out


class AssessmentTrainer(Trainer):
    """A Trainer whose validation set is its training set, judged by the members that did not learn from each item."""

    def get_eval_dataloader(self, eval_dataset=None):
        collator, self.data_collator = self.data_collator, AssessmentCollator()  # validation mixes nothing
        try:
            return super().get_eval_dataloader(eval_dataset)
        finally:
            self.data_collator = collator


def train(recipe: dict, callbacks: Sequence[TrainerCallback] = ()) -> RunFolder:
    """Runs a resolved recipe and returns its folder, whose `checkpoint` holds the best model.

    Args:
        recipe: As `resolve` returns it.
        callbacks: Of the Trainer, such as one that prunes a trial of a search.
    """
    data, seed = recipe["data"], recipe["run"]["seed"]
    run = open_run(recipe)
    if run.is_trained:
        return run
    arguments = training_arguments(
        run,
        recipe,
        remove_unused_columns=False,
        label_names=["labels"],
    )
    set_seed(seed)

    extractor = PianoFeatureExtractor()
    rows = load_sources(data["train"], "data.train", COLUMNS)
    renderings = renderings_of(data)
    files = [file for each in renderings for file in performance_files(rows, data["inputs"], each)]
    features = piano_features(files, extractor)
    model = build_model(recipe, extractor)
    tensors, held_out = training_tensors(rows, model, features, recipe)
    learns = bool(model.lattices) and not model.config.freeze_lattices
    lattices = {"features": features, "max_frames": round(data["max_seconds"] * extractor.frame_rate)} if learns else {}
    if arguments.process_index == 0:
        learned = model.num_parameters(only_trainable=True)
        print(
            f"{model.num_parameters():,} parameters, {learned:,} of them learn; {len(files)} performances", flush=True
        )
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
    with trained(trainer, run):
        is_judged = np.isin(rows["file_name"], where(rows, data["judged_where"])["file_name"])
        is_judged = np.tile(is_judged, len(renderings))
        finished = trainer.accelerator.unwrap_model(trainer.model)
        if not finished.config.freeze_lattices:
            tensors |= {f"{name}_embeddings": each for name, each in lattice_embeddings(finished, features).items()}
        if finished.config.num_tree_members:
            add_trees(finished, tensors, held_out.numpy(), is_judged, recipe)
        calibrate(finished, tensors, held_out.numpy(), is_judged, data["inputs"])
        extractor.passages = tabulate_passages(
            passage_keys(rows) * len(renderings), tensors["labels"], tensors["descriptors"]
        )
        trainer.save_model(str(run.checkpoint))
        if trainer.is_world_process_zero():
            write_json(run.checkpoint / TRAINING_ITEMS, sorted(rows["file_name"]))
            write_population(build_population(rows, extractor, features), run.checkpoint)
    return run


def main(arguments: list[str] | None = None) -> None:
    train_by_recipe(__doc__, resolve, train, arguments)


if __name__ == "__main__":
    main()
