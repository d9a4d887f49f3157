"""Trains a speaker encoder from random weights.

    python train_scripts/train_speaker_encoder.py speaker_encoder run.folder=runs/speaker_encoder
    accelerate launch train_scripts/train_speaker_encoder.py train_scripts/recipes/speaker_encoder.yaml

Run again with the same arguments after a kill: it goes on from the last checkpoint to the same result. The step that
is kept is the one with the lowest equal error rate on validation speakers.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback, set_seed

from antiphon.eval.metric_loading import load_metric
from antiphon.modeling import SpeakerEncoderConfig, SpeakerEncoderModel
from antiphon.modeling.losses_speaker import GeneralizedEndToEndLoss, MarginSoftmaxLoss, batch_hard_triplet_loss
from antiphon.processing import LogMelFeatureExtractor
from antiphon.processing.corpora.augmentation import WaveformAugmentation
from antiphon.train_scripts.command_line import train_by_recipe
from antiphon.train_scripts.progress import ProgressFile
from antiphon.train_scripts.recipes import RecipeError, check_keys, with_defaults
from antiphon.train_scripts.run_folder import RunFolder, write_json
from antiphon.train_scripts.sources import describe_sources
from antiphon.train_scripts.speaker_data import (
    SpeakerBatches,
    SpeakerCollator,
    ValidationVoices,
    Voices,
    load_speakers,
)
from antiphon.train_scripts.trainings import check_buildable, complete_sections, open_run, trained, training_arguments

# The voice mel that all voice models share.
VOICE_MEL = {"win_length": 640, "n_fft": 640, "mel_floor": 1e-6, "normalize": "none"}
DATA_DEFAULTS = {
    "train": None,
    "validation": None,
    "sampling_rate": 16_000,
    "speakers_per_batch": 32,
    "utterances_per_speaker": 2,
    "crop_seconds": [1.5, 3.0],
    "speed_factors": [1.0, 0.9, 1.1],
    "balance": 0.5,
    "validation_seconds": 4.0,
    "augmentation": {},
}
RUN_DEFAULTS = {"folder": None, "seed": 0, "early_stopping_patience": None, "losses": {}}
# A weight of 0 leaves a loss out.
LOSS_DEFAULTS = {
    "margin_softmax": {"weight": 0.0, "kind": "additive_angular", "margin": 0.2, "scale": 30.0},
    "triplet": {"weight": 0.0, "margin": 0.3},
    "ge2e": {"weight": 0.0},
}
TRAINING_DEFAULTS = {
    "per_device_eval_batch_size": 32,
    "learning_rate": 2e-3,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 0.1,
    "weight_decay": 1e-3,
    "max_grad_norm": 5.0,
    "max_steps": 1000,
    "eval_strategy": "steps",
    "eval_steps": 100,
    "save_strategy": "steps",
    "save_steps": 100,
    "save_total_limit": 2,
    "load_best_model_at_end": True,
    "metric_for_best_model": "eer",
    "greater_is_better": False,
    "logging_steps": 20,
    "report_to": "trackio",
}


def resolve(recipe: dict) -> dict:
    """Fills in defaults, and refuses keys that nothing reads and values that nothing can be built from."""
    recipe = complete_sections(recipe, data=DATA_DEFAULTS, run=RUN_DEFAULTS, training=TRAINING_DEFAULTS)
    check_keys(recipe["model"], SpeakerEncoderConfig().to_dict(), "`model`")
    if "per_device_train_batch_size" in recipe["training"]:
        raise RecipeError(
            "`training.per_device_train_batch_size` follows from `data.speakers_per_batch` and "
            "`data.utterances_per_speaker`; leave it out."
        )
    losses = recipe["run"]["losses"]
    check_keys(losses, LOSS_DEFAULTS, "`run.losses`")
    for name, defaults in LOSS_DEFAULTS.items():
        losses[name] = with_defaults(losses.get(name), defaults, f"`run.losses.{name}`")
    if not any(options["weight"] for options in losses.values()):
        raise RecipeError(f"`run.losses` weighs nothing; give one of {', '.join(losses)} a weight.")
    data = recipe["data"]
    builders = {
        "data.augmentation": lambda: WaveformAugmentation.from_config(data["augmentation"], data["sampling_rate"]),
        "model": lambda: SpeakerEncoderConfig(**recipe["model"]),
    }
    check_buildable(builders)
    return recipe


class SpeakerTraining(nn.Module):
    """A speaker encoder with the losses of a recipe, some of which have parameters of their own.

    Args:
        encoder: To be trained.
        losses: Options of each loss, as `resolve` completes them.
        rivals: (domains, classes), whether a class was recorded in a domain: classes are told from those alone.
    """

    def __init__(self, encoder: SpeakerEncoderModel, losses: dict, rivals: torch.Tensor):
        super().__init__()
        self.encoder = encoder
        self.losses = losses
        self.register_buffer("rivals", rivals)
        if losses["margin_softmax"]["weight"]:
            options = {name: value for name, value in losses["margin_softmax"].items() if name != "weight"}
            self.margin_softmax = MarginSoftmaxLoss(encoder.config.speaker_size, rivals.shape[1], **options)
        if losses["ge2e"]["weight"]:
            self.ge2e = GeneralizedEndToEndLoss()

    def forward(
        self,
        input_features: torch.Tensor,
        speakers: torch.Tensor,
        domains: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """The weighted loss and the embeddings of a batch.

        Args:
            input_features, attention_mask: As `SpeakerEncoderModel.forward`.
            speakers: (batch,) classes.
            domains: (batch,) numbers of corpora.
        """
        embeddings = self.encoder(input_features, attention_mask=attention_mask).speaker_embeddings
        if not self.training:  # validation speakers are no class of the softmax
            return {"loss": embeddings.new_zeros(()), "speaker_embeddings": embeddings}
        loss = embeddings.new_zeros(())
        if weight := self.losses["margin_softmax"]["weight"]:
            loss = loss + weight * self.margin_softmax(embeddings, speakers, self.rivals[domains])
        if weight := self.losses["triplet"]["weight"]:
            margin = self.losses["triplet"]["margin"]
            loss = loss + weight * batch_hard_triplet_loss(embeddings, speakers, margin, domains)
        if weight := self.losses["ge2e"]["weight"]:
            loss = loss + weight * self.ge2e(embeddings, speakers, domains)
        return {"loss": loss, "speaker_embeddings": embeddings}


def validation_eer(prediction, domain_names: Sequence[str]) -> dict[str, float]:
    """EER over all pairs within each corpus, and its mean over corpora, so that the largest does not decide alone."""
    embeddings, (speakers, domains) = prediction.predictions, prediction.label_ids
    metric, rates = load_metric("equal_error_rate"), {}
    for domain, name in enumerate(domain_names):
        own = np.flatnonzero(domains == domain)
        first, second = np.triu_indices(len(own), 1)
        is_same = speakers[own][first] == speakers[own][second]
        if is_same.any() and not is_same.all():
            scores = (embeddings[own] @ embeddings[own].T)[first, second]
            rates[name] = metric.compute(predictions=scores, references=is_same.astype(int))["eer"]
    if not rates:
        raise RecipeError("`data.validation` has no corpus with both same and different speakers; give another.")
    return {"eer": float(np.mean(list(rates.values()))), **{f"eer_{name}": rate for name, rate in rates.items()}}


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
    batch_size = data["speakers_per_batch"] * data["utterances_per_speaker"]
    arguments = training_arguments(
        run,
        recipe,
        per_device_train_batch_size=batch_size,
        train_sampling_strategy="sequential",  # SpeakerBatches orders them itself
        remove_unused_columns=False,
        label_names=["speakers", "domains"],
    )
    set_seed(seed)

    corpora = {side: load_speakers(data[side], side) for side in ("train", "validation")}
    extractor = LogMelFeatureExtractor(sampling_rate=data["sampling_rate"], **VOICE_MEL)
    validation = Voices(corpora["validation"], data["sampling_rate"], data["validation_seconds"])
    augmentation = data["augmentation"]
    train_set = SpeakerBatches(
        Voices(corpora["train"], data["sampling_rate"]),
        num_batches=arguments.max_steps * arguments.gradient_accumulation_steps * arguments.world_size,
        augmentation=WaveformAugmentation.from_config(augmentation, data["sampling_rate"]) if augmentation else None,
        seed=seed,
        **{
            name: data[name]
            for name in ("speakers_per_batch", "utterances_per_speaker", "crop_seconds", "speed_factors", "balance")
        },
    )
    encoder = SpeakerEncoderModel(SpeakerEncoderConfig(**recipe["model"]))
    if arguments.process_index == 0:
        speakers = len(train_set.voices.speaker_names)
        print(
            f"{encoder.num_parameters():,} parameters; {speakers} speakers, {train_set.num_classes} with their speeds"
        )
        print(f"{len(train_set.voices)} recordings to train on, {len(validation)} to validate", flush=True)
        write_json(run.path / "training_data.json", describe_sources(corpora["train"]))

    patience = recipe["run"]["early_stopping_patience"]
    trainer = Trainer(
        model=SpeakerTraining(encoder, recipe["run"]["losses"], train_set.rivals()),
        args=arguments,
        data_collator=SpeakerCollator(extractor),
        train_dataset=train_set,
        eval_dataset=ValidationVoices(validation),
        compute_metrics=lambda prediction: validation_eer(prediction, validation.domain_names),
        callbacks=[ProgressFile(run.path), *callbacks, *([EarlyStoppingCallback(patience)] if patience else [])],
    )
    with trained(trainer, run):
        if trainer.is_world_process_zero():
            trainer.accelerator.unwrap_model(trainer.model).encoder.save_pretrained(run.checkpoint)
            extractor.save_pretrained(run.checkpoint)
    return run


def main(arguments: list[str] | None = None) -> None:
    train_by_recipe(__doc__, resolve, train, arguments)


if __name__ == "__main__":
    main()
