"""Trains the decoder of a voice converter between parts that are trained already.

    python train_scripts/train_voice_converter.py voice_converter run.folder=runs/voice_converter
    accelerate launch train_scripts/train_voice_converter.py train_scripts/recipes/voice_converter.yaml

Run again with the same arguments after a kill: it goes on from the last checkpoint to the same result. The checkpoint
holds all parts. Spectrograms, pitch and the content of a frozen content encoder are computed once, into the cache.
"""

import inspect
from collections.abc import Sequence

import datasets
import numpy as np
from transformers import Trainer, TrainerCallback, set_seed

from antiphon.modeling import (
    ContentEncoderModel,
    SpeakerEncoderModel,
    VocoderModel,
    VoiceConverterConfig,
    VoiceConverterModel,
)
from antiphon.train_scripts.command_line import train_by_recipe
from antiphon.train_scripts.content_data import MelPerturbation
from antiphon.train_scripts.epochs import EpochAnnouncer
from antiphon.train_scripts.progress import ProgressFile
from antiphon.train_scripts.recipes import RecipeError, check_keys
from antiphon.train_scripts.run_folder import RunFolder, write_json
from antiphon.train_scripts.sources import describe_parts, describe_sources
from antiphon.train_scripts.speaker_data import load_speakers
from antiphon.train_scripts.trainings import (
    check_buildable,
    check_checkpoints,
    complete_sections,
    open_run,
    trained,
    training_arguments,
)
from antiphon.train_scripts.voice_data import SegmentPicker, VoiceCollator, VoiceSegments
from antiphon.train_scripts.voice_features import voice_table

DATA_DEFAULTS = {
    "train": None,
    "validation": None,
    "segment_seconds": 1.28,
    "reference_seconds": [1.0, 4.0],
    "speed_factors": [1.0],
    "balance": 0.5,
    "segments_per_epoch": 8000,
    "validation_segments": 128,
    "perturbation": None,
}
RUN_DEFAULTS = {
    "folder": None,
    "seed": 0,
    "content_encoder": None,
    "speaker_encoder": None,
    "vocoder": None,
    "initialize_from": None,
}
TRAINING_DEFAULTS = {
    "per_device_train_batch_size": 16,
    "per_device_eval_batch_size": 32,
    "learning_rate": 1e-3,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 0.05,
    "weight_decay": 0.01,
    "max_grad_norm": 1.0,
    "max_steps": 4000,
    "eval_strategy": "steps",
    "eval_steps": 200,
    "save_strategy": "steps",
    "save_steps": 200,
    "save_total_limit": 2,
    "load_best_model_at_end": True,
    "metric_for_best_model": "mel_error",
    "greater_is_better": False,
    "logging_steps": 20,
    "report_to": "trackio",
}
# Section of `run`, and of the configuration, for each part.
PARTS = {
    "content_encoder": ("content_config", ContentEncoderModel),
    "speaker_encoder": ("speaker_config", SpeakerEncoderModel),
    "vocoder": ("vocoder_config", VocoderModel),
}


def resolve(recipe: dict) -> dict:
    """Fills in defaults, and refuses keys that nothing reads and values that nothing can be built from."""
    recipe = complete_sections(recipe, data=DATA_DEFAULTS, run=RUN_DEFAULTS, training=TRAINING_DEFAULTS)
    check_keys(recipe["model"], VoiceConverterConfig().to_dict(), "`model`")
    check_checkpoints(recipe["run"], (*PARTS, "initialize_from"))
    for part, (section, _) in PARTS.items():
        if not (recipe["run"][part] or recipe["run"]["initialize_from"] or recipe["model"].get(section) is not None):
            raise RecipeError(
                f"`run.{part}` is missing; name the folder of that part, set `run.initialize_from` to a converter that "
                f"has it, or give the sizes of a random one as `model.{section}`."
            )
    perturbation = recipe["data"]["perturbation"]
    if perturbation is not None:
        check_keys(perturbation, inspect.signature(MelPerturbation).parameters, "`data.perturbation`")
        if recipe["model"].get("freeze_content", True):
            raise RecipeError(
                "`data.perturbation` is for a content encoder that learns, and this one is frozen; set "
                "`model.freeze_content` to false, or `data.perturbation` to null."
            )
    check_buildable({"model": lambda: VoiceConverterConfig(**recipe["model"])})
    return recipe


def build_model(recipe: dict) -> VoiceConverterModel:
    """Makes a decoder, random or of `run.initialize_from`, and puts the parts that `run` names around it."""
    run, options = recipe["run"], recipe["model"]
    parts = {name: kind.from_pretrained(run[name]) for name, (_, kind) in PARTS.items() if run[name]}
    configs = {PARTS[name][0]: part.config for name, part in parts.items()}
    if run["initialize_from"]:
        started = VoiceConverterModel.from_pretrained(run["initialize_from"])
        config = VoiceConverterConfig(**{**started.config.to_dict(), **options, **configs})
    else:
        started, config = None, VoiceConverterConfig(**{**options, **configs})
    model = VoiceConverterModel(config)
    if started is not None:
        own = started.state_dict()
        # A part of another shape is about to be replaced, and a flow may be left away; everything else must fit.
        replaced = tuple(f"{name}." for name in [*parts, *(["flow"] if model.flow is None else [])])
        kept = {name: tensor for name, tensor in own.items() if not name.startswith(replaced)}
        missing, unexpected = model.load_state_dict(kept, strict=False)
        if unexpected or [name for name in missing if not name.startswith((*replaced, "flow."))]:
            raise RecipeError("`run.initialize_from` has other layers than `model`; leave the sizes out of `model`.")
    for name, part in parts.items():
        getattr(model, name).load_state_dict(part.state_dict())
    return model


def segments(
    rows: datasets.Dataset, model: VoiceConverterModel, data: dict, *, size: int, seed: int, side: str
) -> VoiceSegments:
    """Segments of recordings; those of validation are always the same, at the recordings' own speed."""
    table = voice_table(rows, model, data["speed_factors"] if side == "train" else [1.0])
    rate = model.config.frame_rate
    picker = SegmentPicker(
        table.speakers,
        table.lengths,
        segment_length=2 * round(data["segment_seconds"] * rate / 2),
        reference_lengths=[round(seconds * rate) for seconds in data["reference_seconds"]],
        grid=2,
        balance=data["balance"],
        seed=seed,
    )
    perturbed = side == "train" and data["perturbation"] is not None
    return VoiceSegments(table, picker, size, MelPerturbation(**data["perturbation"]) if perturbed else None)


def validation_metrics(prediction) -> dict[str, float]:
    """Error of the spectrogram and similarity of the voice, in the own and in another speaker's."""
    mel_errors, similarities, converted = prediction.predictions
    return {
        "mel_error": float(mel_errors.mean()),
        "similarity": float(similarities.mean()),
        "converted_similarity": float(np.nanmean(converted)),
    }


def train(recipe: dict, callbacks: Sequence[TrainerCallback] = ()) -> RunFolder:
    """Runs a resolved recipe and returns its folder, whose `checkpoint` holds the best model with all its parts.

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
        train_sampling_strategy="sequential",  # what stands at a place follows from the seed
        remove_unused_columns=False,
        label_names=["speaker_ids"],
    )
    set_seed(seed)

    model = build_model(recipe)
    train_rows, validation_rows = (load_speakers(data[side], side) for side in ("train", "validation"))
    model.eval()  # the content of recordings is computed without dropout
    train_set = segments(train_rows, model, data, size=data["segments_per_epoch"], seed=seed, side="train")
    validation_set = segments(validation_rows, model, data, size=data["validation_segments"], seed=0, side="validation")
    if arguments.process_index == 0:
        learned = model.num_parameters(only_trainable=True)
        extent = f"{model.num_parameters():,} parameters, {learned:,} of them learn"
        print(f"{extent}; {len(train_rows)} recordings", flush=True)
        heard_by = [recipe["run"][part] for part in (*PARTS, "initialize_from")]
        write_json(run.path / "training_data.json", describe_parts(describe_sources(train_rows), heard_by))

    trainer = Trainer(
        model=model,
        args=arguments,
        data_collator=VoiceCollator(),
        train_dataset=train_set,
        eval_dataset=validation_set,
        preprocess_logits_for_metrics=lambda outputs, labels: outputs[:3],
        compute_metrics=validation_metrics,
        callbacks=[EpochAnnouncer(), ProgressFile(run.path), *callbacks],
    )
    with trained(trainer, run):
        trainer.save_model(str(run.checkpoint))
    return run


def main(arguments: list[str] | None = None) -> None:
    train_by_recipe(__doc__, resolve, train, arguments)


if __name__ == "__main__":
    main()
