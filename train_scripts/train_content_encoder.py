"""Trains a content encoder: what is said, without who says it.

    python train_scripts/train_content_encoder.py content_encoder_aloud
    python train_scripts/train_content_encoder.py content_encoder

The first reads the training texts aloud with many synthetic voices, whose phones are known frame by frame. The second
starts from it, aligns the recordings with their texts and learns from them. Run again with the same arguments after a
kill: it goes on from the last checkpoint to the same result.
"""

import inspect
import json
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from datasets import Dataset, concatenate_datasets
from transformers import Trainer, TrainerCallback, set_seed

from antiphon.eval.metric_loading import load_metric
from antiphon.modeling.configuration_content_encoder import ContentEncoderConfig
from antiphon.modeling.modeling_content_encoder import ContentEncoderForCTC
from antiphon.processing import CharacterTokenizer, ConformerProcessor, LogMelFeatureExtractor
from antiphon.processing.corpora.augmentation import WaveformAugmentation
from antiphon.processing.corpora.voices import load_voices
from antiphon.train_scripts.command_line import train_by_recipe
from antiphon.train_scripts.content_alignment import align_recordings, alignment_digest, common_phones
from antiphon.train_scripts.content_data import (
    CONTENT_SUBSAMPLING,
    ContentCollator,
    ContentDataset,
    MelPerturbation,
)
from antiphon.train_scripts.content_phones import read_aloud
from antiphon.train_scripts.progress import ProgressFile
from antiphon.train_scripts.recipes import RecipeError, check_keys
from antiphon.train_scripts.run_folder import RunFolder, write_json
from antiphon.train_scripts.sources import describe_parts, describe_sources
from antiphon.train_scripts.trainings import check_buildable, complete_sections, open_run, trained, training_arguments

DATA_DEFAULTS = {
    "corpora": None,  # of `load_voices`; None means all
    "recordings": True,  # false: they only lend their texts to the synthetic voices
    "read_aloud": 0,
    "max_seconds": 17.5,
    "augmentation": {},
    "perturbation": {},
}
RUN_DEFAULTS = {"folder": None, "seed": 0, "initialize_from": None}
TRAINING_DEFAULTS = {
    "per_device_train_batch_size": 8,
    "per_device_eval_batch_size": 16,
    "learning_rate": 1e-3,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 0.1,
    "weight_decay": 0.01,
    "max_grad_norm": 5.0,
    "eval_strategy": "steps",
    "save_strategy": "steps",
    "save_total_limit": 2,
    "label_names": ["labels", "phone_labels"],
    "logging_steps": 20,
    "report_to": "none",
}
VOICE_MEL = {"win_length": 640, "n_fft": 640, "mel_floor": 1e-6, "normalize": "none"}
# Utterances that give the mean and the deviation of the envelope.
STATISTICS_UTTERANCES = 300
VALIDATION_UTTERANCES = 200
COLUMNS = ["audio", "text", "speaker_id", "duration_seconds", "source", "license", "split", "file_name"]


def resolve(recipe: dict) -> dict:
    """Fills in defaults, and refuses keys that nothing reads and values that nothing can be built from."""
    recipe = complete_sections(recipe, data=DATA_DEFAULTS, run=RUN_DEFAULTS, training=TRAINING_DEFAULTS)
    check_keys(recipe["model"], ContentEncoderConfig().to_dict(), "`model`")
    check_keys(recipe["data"]["perturbation"], inspect.signature(MelPerturbation).parameters, "`data.perturbation`")
    if recipe["data"]["recordings"] and not recipe["run"]["initialize_from"]:
        raise RecipeError("`run.initialize_from` is missing; recordings are aligned by a model that knows phones.")
    if not recipe["data"]["recordings"] and not recipe["data"]["read_aloud"]:
        raise RecipeError("Without `data.recordings`, `data.read_aloud` must say how many utterances to train on.")
    check_buildable({"model": lambda: ContentEncoderConfig(**recipe["model"])})
    config = ContentEncoderConfig(**recipe["model"])
    if (factor := config.encoder_config.subsampling_factor) != CONTENT_SUBSAMPLING:
        raise RecipeError(
            f"`model.encoder_config.subsampling_factor` is {factor} but must be {CONTENT_SUBSAMPLING}: voice "
            "converters take content at half the rate of the features."
        )
    return recipe


def load_recordings(side: str, corpora: list[str] | None) -> Dataset:
    """The recordings of one side that have a text."""
    recordings = load_voices(side, corpora)
    return recordings.select([index for index, text in enumerate(recordings["text"]) if text]).select_columns(COLUMNS)


def load_start(checkpoint: str, **changes) -> ContentEncoderForCTC:
    """Loads a checkpoint; bottleneck and adversary alone may be made anew where `changes` of its configuration ask so.

    Raises:
        RecipeError: if it lacks anything else.
    """
    model, info = ContentEncoderForCTC.from_pretrained(checkpoint, output_loading_info=True, **changes)
    replaceable = ("content_encoder.bottleneck.", "speaker_head.") if changes else ()
    if missing := sorted(name for name in info["missing_keys"] if not name.startswith(replaceable)):
        raise RecipeError(f"`run.initialize_from` is {checkpoint}, which lacks {', '.join(missing)}; train it anew.")
    return model


def build_model(recipe: dict, recordings: Dataset, aloud: Dataset | None):
    """Makes a model with random weights that knows its phones, or takes `run.initialize_from` and its processor."""
    options, checkpoint = recipe["model"], recipe["run"]["initialize_from"]
    speakers = sorted(set(recordings["speaker_id"])) if options.get("speaker_weight") else []
    if checkpoint:
        processor = ConformerProcessor.from_pretrained(checkpoint)
        return load_start(checkpoint, num_speakers=len(speakers), **options), processor, speakers
    extractor = LogMelFeatureExtractor(**VOICE_MEL)
    tokenizer = CharacterTokenizer.from_corpus(recordings["text"])
    config = ContentEncoderConfig(
        vocab_size=len(tokenizer), phone_names=common_phones(aloud), num_speakers=len(speakers), **options
    )
    stride = config.text_stride * config.encoder_config.subsampling_factor
    processor = ConformerProcessor(extractor, tokenizer, subsampling_factor=stride)
    model = ContentEncoderForCTC(config)
    some = np.random.default_rng(recipe["run"]["seed"]).permutation(len(recordings))[:STATISTICS_UTTERANCES]
    utterances = ContentDataset(recordings.select(some), processor, phone_names=[], max_seconds=60.0)
    model.content_encoder.envelope.fit(utterances[index]["clean_features"] for index in range(len(utterances)))
    return model, processor, speakers


def aligned(side: str, recordings: Dataset, run: RunFolder, aligner, processor) -> Dataset:
    """Adds the phones of each recording, laid over it once by a trained model."""
    file, digest = run.path / f"alignment_{side}.json", alignment_digest(recordings, aligner)
    stored = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if stored.get("digest") != digest:
        stored = {"digest": digest, **align_recordings(recordings, aligner, processor)}
        write_json(file, stored)
    for name in ("phones", "phone_starts"):
        recordings = recordings.add_column(name, stored[name])
    return recordings


def best_ids(outputs: tuple, labels) -> tuple[torch.Tensor, torch.Tensor]:
    """Keeps the most likely character and phone of each frame instead of all logits in memory."""
    logits, attention_mask, phone_logits = outputs[:3]
    return logits.argmax(-1) * attention_mask, phone_logits.argmax(-1)


def scores(prediction, tokenizer: CharacterTokenizer, metric) -> dict[str, float]:
    """Character and word error rate, and the share of frames whose phone is right."""
    blank = tokenizer.pad_token_id
    (characters, phones), (labels, phone_labels) = prediction.predictions, prediction.label_ids
    hypotheses = tokenizer.batch_decode(np.where(characters < 0, blank, characters))
    references = [tokenizer.decode(ids, group_tokens=False) for ids in np.where(labels < 0, blank, labels)]
    rates = metric.compute(predictions=hypotheses, references=references)
    known = phone_labels >= 0
    return {"wer": rates["wer"], "cer": rates["cer"], "phone_accuracy": float((phones == phone_labels)[known].mean())}


def train(recipe: dict, callbacks: Sequence[TrainerCallback] = ()) -> RunFolder:
    """Runs a resolved recipe and returns its folder.

    Args:
        recipe: As `resolve` returns it.
        callbacks: Of the Trainer.
    """
    data, seed = recipe["data"], recipe["run"]["seed"]
    run = open_run(recipe)
    if run.is_trained:
        return run
    arguments = training_arguments(
        run,
        recipe,
        train_sampling_strategy="sequential",  # RecognitionDataset orders each epoch itself
        remove_unused_columns=False,
    )
    set_seed(seed)

    recordings = load_recordings("train", data["corpora"])
    texts = recordings["text"]
    aloud = read_aloud(texts, data["read_aloud"], "train", seed) if data["read_aloud"] else None
    model, processor, speakers = build_model(recipe, recordings, aloud)
    validation = load_recordings("validation", data["corpora"])
    if data["recordings"]:
        # Not `model`, whose bottleneck may be new.
        aligner = load_start(recipe["run"]["initialize_from"])
        # The others wait for the first process and read what it wrote.
        with arguments.main_process_first(desc="alignment"):
            recordings = aligned("train", recordings, run, aligner, processor)
            validation = aligned("validation", validation, run, aligner, processor)
        corpus = concatenate_datasets([recordings, aloud]) if aloud else recordings
    else:
        corpus = aloud
        validation = read_aloud(validation["text"], VALIDATION_UTTERANCES, "validation", seed + 1)

    names = model.config.phone_names
    dataset = partial(
        ContentDataset, processor=processor, phone_names=names, max_seconds=data["max_seconds"], seed=seed
    )
    augmentation = data["augmentation"]
    rate = processor.sampling_rate
    train_set = dataset(
        corpus,
        speakers=speakers,
        perturbation=MelPerturbation(**data["perturbation"]),
        augmentation=WaveformAugmentation.from_config(augmentation, rate) if augmentation else None,
        batch_size=arguments.train_batch_size * arguments.gradient_accumulation_steps * arguments.world_size,
    )
    validation_set = dataset(validation)
    if arguments.process_index == 0:
        print(f"{model.num_parameters():,} parameters\ntraining: {train_set.dropped}", flush=True)
        heard = describe_parts(describe_sources(train_set.corpus), [recipe["run"]["initialize_from"]])
        write_json(run.path / "training_data.json", heard)

    trainer = Trainer(
        model=model,
        args=arguments,
        data_collator=ContentCollator(),
        train_dataset=train_set,
        eval_dataset=validation_set,
        processing_class=processor,
        preprocess_logits_for_metrics=best_ids,
        compute_metrics=partial(scores, tokenizer=processor.tokenizer, metric=load_metric("error_rates")),
        callbacks=[ProgressFile(run.path), *callbacks],
    )
    with trained(trainer, run):
        trainer.save_model(str(run.checkpoint))
        if trainer.is_world_process_zero():
            model.content_encoder.save_pretrained(run.path / "content_encoder")
    return run


def main(arguments: list[str] | None = None) -> None:
    train_by_recipe(__doc__, resolve, train, arguments)


if __name__ == "__main__":
    main()
