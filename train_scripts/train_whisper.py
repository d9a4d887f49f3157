"""Fine-tunes a Whisper: all of its weights, or low-rank matrices beside them that are merged in the end (LoRA).

    python train_scripts/train_whisper.py whisper_small_common_voice --memory
    python train_scripts/train_whisper.py whisper_small_common_voice run.folder=runs/whisper_small_hi
    python train_scripts/train_whisper.py whisper_small_common_voice 'model.lora={}' training.learning_rate=1e-3

Run again with the same arguments after a kill: it goes on from the last checkpoint to the same result. What is written
in the end was asked to transcribe validation items, with and without the guard against loops, and after a merge once
more: `validation.json` in the run folder holds what came of it.
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from transformers import (
    AutoConfig,
    EarlyStoppingCallback,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    TrainerCallback,
    WhisperConfig,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    set_seed,
)

from antiphon.eval.metric_loading import load_metric
from antiphon.eval.repetition import is_loop
from antiphon.eval.text_normalization import text_normalizer
from antiphon.processing.corpora.augmentation import WaveformAugmentation
from antiphon.train_scripts.command_line import train_by_recipe
from antiphon.train_scripts.manifests import write_manifests
from antiphon.train_scripts.progress import ProgressFile
from antiphon.train_scripts.recipes import RecipeError, check_keys
from antiphon.train_scripts.run_folder import RunFolder, write_json
from antiphon.train_scripts.sources import Mixture, describe_parts, describe_sources, load_mixture
from antiphon.train_scripts.trainings import check_buildable, complete_sections, open_run, trained, training_arguments
from antiphon.train_scripts.whisper_answers import answers
from antiphon.train_scripts.whisper_data import WhisperCollator, WhisperDataset
from antiphon.train_scripts.whisper_lora import add_lora, complete_lora, merge
from antiphon.train_scripts.whisper_memory import Memory, estimate_memory, published_config

SAMPLING_RATE = 16_000  # of every Whisper
DATA_DEFAULTS = {"train": [], "validation": [], "resample": False, "max_seconds": None, "augmentation": {}}
MODEL_DEFAULTS = {"language": None, "task": "transcribe", "lora": None, "freeze_encoder": False}
# What else of a configuration may differ from the checkpoint's: what regularises.
REGULARISATION = (
    "dropout", "attention_dropout", "activation_dropout", "encoder_layerdrop", "decoder_layerdrop",
    "apply_spec_augment", "mask_time_prob", "mask_time_length", "mask_feature_prob", "mask_feature_length",
)  # fmt: skip
RUN_DEFAULTS = {
    "folder": None,
    "seed": 0,
    "early_stopping_patience": None,
    "initialize_from": None,
    "check_items": 200,
}
TRAINING_KEYS = tuple(item.name for item in dataclasses.fields(Seq2SeqTrainingArguments))
TRAINING_DEFAULTS = {
    "per_device_train_batch_size": 16,
    "per_device_eval_batch_size": 16,
    "learning_rate": 1e-5,
    "lr_scheduler_type": "linear",
    "warmup_steps": 0.1,
    "max_grad_norm": 1.0,
    "num_train_epochs": 3,
    "eval_strategy": "epoch",
    "save_strategy": "epoch",
    "save_total_limit": 2,
    "load_best_model_at_end": True,
    "metric_for_best_model": "wer",
    "greater_is_better": False,
    "logging_steps": 20,
    "report_to": "trackio",
}
# Tokens of a label where no corpus was read yet: about 20 seconds of English.
TYPICAL_TEXT_TOKENS = 100


def resolve(recipe: dict) -> dict:
    """Fills in defaults, and refuses keys that nothing reads and values that nothing can be built from."""
    recipe = complete_sections(
        recipe, data=DATA_DEFAULTS, run=RUN_DEFAULTS, training=TRAINING_DEFAULTS, training_keys=TRAINING_KEYS
    )
    check_keys(recipe["model"], (*MODEL_DEFAULTS, *REGULARISATION), "`model`")
    recipe["model"] = {**MODEL_DEFAULTS, **recipe["model"]}
    model, augmentation = recipe["model"], recipe["data"]["augmentation"]
    model["lora"] = complete_lora(model["lora"])
    if model["lora"] and model["freeze_encoder"]:
        raise RecipeError("`model.freeze_encoder` says nothing beside `model.lora`, which freezes all; choose one.")
    if not recipe["run"]["initialize_from"]:
        raise RecipeError("`run.initialize_from` is missing; name a Whisper, e.g. openai/whisper-small or a folder.")
    check_buildable(
        {
            "data.augmentation": lambda: WaveformAugmentation.from_config(augmentation, SAMPLING_RATE),
            "model": lambda: WhisperConfig(**_regularisation(model)),
        }
    )
    return recipe


def _regularisation(model: dict) -> dict:
    return {name: value for name, value in model.items() if name in REGULARISATION}


def memory(recipe: dict, config: WhisperConfig | None = None, text_tokens: int = TYPICAL_TEXT_TOKENS) -> Memory:
    """What a training needs on each device, estimated from its recipe; nothing is trained."""
    training, model = recipe["training"], recipe["model"]
    return estimate_memory(
        config or load_config(recipe),
        batch_size=training["per_device_train_batch_size"],
        text_tokens=text_tokens,
        lora=model["lora"],
        freeze_encoder=model["freeze_encoder"],
        mixed_precision=bool(training.get("bf16") or training.get("fp16")),
        gradient_checkpointing=bool(training.get("gradient_checkpointing")),
    )


def load_config(recipe: dict) -> WhisperConfig:
    """The configuration of the checkpoint to start from; those of OpenAI's are known without a download."""
    name = recipe["run"]["initialize_from"]
    if config := published_config(name):
        return config
    try:
        config = AutoConfig.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise RecipeError(f"`run.initialize_from` {name} cannot be loaded: {str(error).splitlines()[0]}") from error
    if config.model_type != "whisper":
        raise RecipeError(
            f"`run.initialize_from` {name} holds a model of the type {config.model_type}, but this script trains a "
            "Whisper; train_conformer.py starts from others."
        )
    return config


def load_whisper(recipe: dict) -> tuple[WhisperForConditionalGeneration, WhisperProcessor]:
    """Loads the checkpoint to start from, and sets the language and the task that it shall learn.

    Raises:
        RecipeError: where it cannot be loaded, is no Whisper, or `model.language` does not fit it.
    """
    name, options = recipe["run"]["initialize_from"], recipe["model"]
    load_config(recipe)
    try:
        processor = WhisperProcessor.from_pretrained(name)
        # In float32 whatever the checkpoint is stored in: steps of 1e-5 would be lost in 16 bits.
        model = WhisperForConditionalGeneration.from_pretrained(name, dtype=torch.float32, **_regularisation(options))
    except OSError as error:
        raise RecipeError(f"`run.initialize_from` {name} cannot be loaded: {str(error).splitlines()[0]}") from error
    set_language(model, processor, options["language"], options["task"])
    # A checkpoint that says nothing of it would stop after twenty tokens.
    model.generation_config.max_length = model.generation_config.max_length or model.config.max_target_positions
    if options["freeze_encoder"]:
        model.freeze_encoder()
    return model, processor


def set_language(
    model: WhisperForConditionalGeneration, processor: WhisperProcessor, language: str | None, task: str
) -> None:
    """Lets labels and generated text begin with a language and a task, where the checkpoint knows several."""
    settings = model.generation_config
    languages = getattr(settings, "lang_to_id", {})
    if not languages:
        if language:
            raise RecipeError(f"`model.language` is {language} but this checkpoint knows one language; set it to null.")
        return
    known = ", ".join(token.strip("<|>") for token in languages)
    if not language:
        raise RecipeError(f"`model.language` is missing; this checkpoint knows {known}.")
    if f"<|{language}|>" not in languages:
        raise RecipeError(f"`model.language` is {language} but this checkpoint knows {known}.")
    try:
        processor.tokenizer.set_prefix_tokens(language=language, task=task)
    except ValueError as error:
        raise RecipeError(f"`model.task` cannot be used: {error}") from error
    settings.language, settings.task = language, task
    # Older checkpoints say it in this way, which a language overrides with a warning at every call.
    settings.forced_decoder_ids = None


def load_sides(
    recipe: dict, processor: WhisperProcessor, *, max_tokens: int, batch_size: int
) -> tuple[tuple[Mixture, WhisperDataset], tuple[Mixture, WhisperDataset]]:
    """What the sources give and the utterances to train on, augmented and in batches; the same for validation."""
    data, seed = recipe["data"], recipe["run"]["seed"]
    options = {"max_tokens": max_tokens, "max_seconds": data["max_seconds"], "resample": data["resample"], "seed": seed}
    augmentation = None
    if data["augmentation"]:
        augmentation = WaveformAugmentation.from_config(data["augmentation"], SAMPLING_RATE)
    training, validation = (load_mixture(data[side], f"data.{side}") for side in ("train", "validation"))
    train_set = WhisperDataset(training.rows, processor, augmentation=augmentation, batch_size=batch_size, **options)
    return (training, train_set), (validation, WhisperDataset(validation.rows, processor, **options))


def token_loss(outputs, labels: torch.Tensor, num_items_in_batch: torch.Tensor) -> torch.Tensor:
    """Cross-entropy per token of a whole optimiser step, whatever batches and processes it is divided into.

    The Trainer expects that of the model's own loss, which is the mean over its batch: gradients would grow with the
    number of batches and of processes.

    Args:
        outputs: With `logits` (batch, tokens, vocabulary).
        labels: (batch, tokens), -100 where there is none.
        num_items_in_batch: Labels of the step.
    """
    return cross_entropy(outputs["logits"].flatten(0, 1), labels.flatten(), reduction="sum") / num_items_in_batch


def error_rates(prediction, tokenizer, normalize: Callable[[str], str], metric) -> dict[str, float]:
    """WER and CER of a validation pass, decoded greedily without a guard, and the share of items that loop."""
    special = set(tokenizer.all_special_ids)
    predicted, true = (
        [[token for token in ids if token >= 0 and token not in special] for ids in rows.tolist()]
        for rows in (prediction.predictions, prediction.label_ids)
    )
    texts, references = (tokenizer.batch_decode(rows, skip_special_tokens=True) for rows in (predicted, true))
    scores = metric.compute(
        predictions=[normalize(text) for text in texts], references=[normalize(text) for text in references]
    )
    loops = [is_loop(tokens, text) for tokens, text in zip(predicted, texts)]
    return {"wer": scores["wer"], "cer": scores["cer"], "loops": float(np.mean(loops))}


def train(recipe: dict, callbacks: Sequence[TrainerCallback] = ()) -> RunFolder:
    """Runs a resolved recipe and returns its folder, whose `checkpoint` holds the best model.

    Args:
        recipe: As `resolve` returns it.
        callbacks: Of the Trainer, such as one that prunes a trial of a search.
    """
    seed, start = recipe["run"]["seed"], recipe["run"]["initialize_from"]
    run = open_run(recipe)
    if run.is_trained:
        return run
    arguments = training_arguments(
        run,
        recipe,
        Seq2SeqTrainingArguments,
        train_sampling_strategy="sequential",  # WhisperDataset orders each epoch itself
        remove_unused_columns=False,
        predict_with_generate=True,
        label_names=["labels"],  # not to be seen in the signature of a model with LoRA
    )
    set_seed(seed)

    model, processor = load_whisper(recipe)
    training, validation = load_sides(
        recipe,
        processor,
        max_tokens=model.config.max_target_positions,
        batch_size=arguments.train_batch_size * arguments.gradient_accumulation_steps * arguments.world_size,
    )
    train_set, validation_set = training[1], validation[1]
    needed = memory(recipe, model.config, text_tokens=max(map(len, train_set.labels)))
    if recipe["model"]["lora"]:
        model = add_lora(model, recipe["model"]["lora"])
    if arguments.process_index == 0:
        learned = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
        print(f"{model.num_parameters():,} parameters, of which {learned:,} learn; on each device about {needed}")
        print(f"training: {train_set.dropped}\nvalidation: {validation_set.dropped}", flush=True)
        told = describe_parts(describe_sources(train_set.corpus), [start])
        write_json(run.path / "training_data.json", told)
        write_manifests(run, {"train": training, "val": validation})

    patience = recipe["run"]["early_stopping_patience"]
    normalize, _ = text_normalizer(processor.tokenizer)
    trainer = Seq2SeqTrainer(
        model=model,
        args=arguments,
        data_collator=WhisperCollator(processor, model.config),
        train_dataset=train_set,
        eval_dataset=validation_set,
        processing_class=processor,
        compute_loss_func=token_loss,
        compute_metrics=partial(
            error_rates, tokenizer=processor.tokenizer, normalize=normalize, metric=load_metric("error_rates")
        ),
        callbacks=[ProgressFile(run.path), *callbacks, *([EarlyStoppingCallback(patience)] if patience else [])],
    )
    with trained(trainer, run):
        if trainer.is_world_process_zero():
            # Without the autocast of training, whose rounding would drown what a merge changes.
            best = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False).eval()
            items = recipe["run"]["check_items"]
            answer = partial(answers, processor=processor, dataset=validation_set, num_items=items, seed=seed)
            save_checked(best, processor, run, answer)
    return run


def save_checked(model, processor: WhisperProcessor, run: RunFolder, answer: Callable) -> None:
    """Writes the checkpoint after it has answered validation items; one with LoRA is merged first."""
    if isinstance(model, WhisperForConditionalGeneration):
        said, merging = answer(model), None
    else:
        model.save_pretrained(run.path / "adapter")
        model, said, merging = merge(model, answer)
    write_json(run.path / "validation.json", {"wer": said.wer, "repetition": said.repetition, "merging": merging})
    model.save_pretrained(run.checkpoint)
    processor.save_pretrained(run.checkpoint)


def main(arguments: list[str] | None = None) -> None:
    train_by_recipe(__doc__, resolve, train, arguments, questions={"memory": memory})


if __name__ == "__main__":
    main()
