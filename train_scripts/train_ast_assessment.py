"""Trains transformers' Audio Spectrogram Transformer to judge piano performances, from random weights: a peer of ours.

    python train_scripts/train_ast_assessment.py piano_ast run.folder=runs/piano_ast

It hears the same spectrogram in semitones and nothing else. A recording is cut, or filled up with silence, to the one
length that its absolute positions know.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from datasets import Dataset
from transformers import ASTConfig, ASTForAudioClassification, Trainer, TrainerCallback, set_seed

from antiphon.eval.assessment_items import Predictions
from antiphon.eval.piano_features import PianoFiles, piano_features
from antiphon.processing import PianoFeatureExtractor
from antiphon.processing.percepts import PERCEPTS
from antiphon.train_scripts.assessment_data import COLUMNS, check_rendering, performance_files, renderings_of
from antiphon.train_scripts.command_line import train_by_recipe
from antiphon.train_scripts.progress import ProgressFile
from antiphon.train_scripts.recipes import RecipeError, with_defaults
from antiphon.train_scripts.run_folder import RunFolder, write_json
from antiphon.train_scripts.sources import describe_sources, load_sources
from antiphon.train_scripts.trainings import complete_sections, open_run, trained, training_arguments

DATA_DEFAULTS = {"train": [], "inputs": ["audio"], "rendering": {}, "frames_together": 2}
RUN_DEFAULTS = {"folder": None, "seed": 0, "initialize_from": None}
MODEL_DEFAULTS = {
    "hidden_size": 144,
    "intermediate_size": 576,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "max_length": 512,
}
TRAINING_DEFAULTS = {
    "per_device_train_batch_size": 16,
    "per_device_eval_batch_size": 32,
    "learning_rate": 5e-4,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 0.1,
    "weight_decay": 0.05,
    "num_train_epochs": 8,
    "save_strategy": "epoch",
    "save_total_limit": 1,
    "logging_steps": 20,
    "report_to": "trackio",
}


def resolve(recipe: dict) -> dict:
    """Fills in defaults, and refuses keys that nothing reads."""
    recipe = complete_sections(recipe, data=DATA_DEFAULTS, run=RUN_DEFAULTS, training=TRAINING_DEFAULTS)
    recipe["model"] = with_defaults(recipe["model"], MODEL_DEFAULTS, "`model`")
    check_rendering(recipe["data"]["rendering"])
    if recipe["data"]["inputs"] != ["audio"] or recipe["run"]["initialize_from"]:
        raise RecipeError(
            "`data.inputs` must be [audio] and `run.initialize_from` null: this peer learns from scratch."
        )
    return recipe


class Spectrograms(torch.utils.data.Dataset):
    """Spectrograms of one length, with labels where there are any.

    Args:
        features: Of `piano_features`.
        max_length: Frames that the model knows, after averaging `frames_together` of them.
        labels: (items, percepts).
    """

    def __init__(self, features: list[dict], max_length: int, frames_together: int, labels: torch.Tensor | None = None):
        self.features = features
        self.max_length = max_length
        self.frames_together = frames_together
        self.labels = labels

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        frames = self.features[index]["input_features"].float()
        silence = frames.min()
        length = self.max_length * self.frames_together
        frames = torch.nn.functional.pad(frames[:length], (0, 0, 0, max(length - len(frames), 0)), value=float(silence))
        item = {"input_values": frames.unflatten(0, (self.max_length, self.frames_together)).mean(1)}
        return item if self.labels is None else {**item, "labels": self.labels[index]}


class SpectrogramTrainer(Trainer):
    """A Trainer that resumes from weights as they are saved: under names that are not those of the modules."""

    def _load_from_checkpoint(self, resume_from_checkpoint, model=None):
        saved = ASTForAudioClassification.from_pretrained(resume_from_checkpoint)
        (model or self.model).load_state_dict(saved.state_dict())


def train(recipe: dict, callbacks: Sequence[TrainerCallback] = ()) -> RunFolder:
    """Runs a resolved recipe and returns its folder; `callbacks` are the Trainer's."""
    data, seed = recipe["data"], recipe["run"]["seed"]
    run = open_run(recipe)
    if run.is_trained:
        return run
    set_seed(seed)
    extractor = PianoFeatureExtractor()
    rows = load_sources(data["train"], "data.train", COLUMNS)
    renderings = renderings_of(data)
    files = [file for each in renderings for file in performance_files(rows, data["inputs"], each)]
    features = piano_features(files, extractor)
    labels = torch.tensor(np.array(rows["percepts"][:]), dtype=torch.float32).repeat(len(renderings), 1)
    config = ASTConfig(
        num_mel_bins=extractor.num_pitch_bins,
        frequency_stride=16,
        time_stride=16,
        num_labels=len(PERCEPTS),
        id2label=dict(enumerate(PERCEPTS)),
        problem_type="regression",
        **recipe["model"],
    )
    model = ASTForAudioClassification(config)
    # The mean of training is where its answers begin.
    model.classifier.dense.weight.data.mul_(0.1)
    model.classifier.dense.bias.data.copy_(labels.mean(0))
    print(f"{model.num_parameters():,} parameters; {len(files)} performances", flush=True)
    write_json(run.path / "training_data.json", describe_sources(rows))
    trainer = SpectrogramTrainer(
        model=model,
        args=training_arguments(run, recipe),
        train_dataset=Spectrograms(features, config.max_length, data["frames_together"], labels),
        processing_class=extractor,
        callbacks=[ProgressFile(run.path), *callbacks],
    )
    with trained(trainer, run):
        trainer.save_model(str(run.checkpoint))
    return run


def load_peer(run: RunFolder) -> Callable[[Dataset], Predictions]:
    """A trained run as a function from performances to predictions."""
    model = ASTForAudioClassification.from_pretrained(run.checkpoint).eval()
    extractor = PianoFeatureExtractor.from_pretrained(run.checkpoint)
    together = run.recipe["data"]["frames_together"]

    @torch.inference_mode()
    def assess(performances: Dataset) -> Predictions:
        files = [PianoFiles(audio=audio["path"]) for audio in performances["audio"]]
        items = Spectrograms(piano_features(files, extractor), model.config.max_length, together)
        batches = torch.utils.data.DataLoader(items, batch_size=16)
        percepts = torch.cat([model(batch["input_values"]).logits for batch in batches])
        return Predictions(percepts.double().numpy(), None, None, None)

    return assess


def main(arguments: list[str] | None = None) -> None:
    train_by_recipe(__doc__, resolve, train, arguments)


if __name__ == "__main__":
    main()
