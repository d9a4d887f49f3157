"""Trains a Conformer recogniser from random weights.

    python train_scripts/train_conformer.py train_scripts/recipes/fsdd.yaml run.folder=runs/fsdd
    accelerate launch train_scripts/train_conformer.py train_scripts/recipes/fsdd.yaml

Run again with the same arguments after a kill: it goes on from the last checkpoint to the same result.
"""

import inspect
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice

import datasets
import numpy as np
import torch
from transformers import EarlyStoppingCallback, PreTrainedModel, Trainer, TrainerCallback, TrainingArguments, set_seed

from antiphon.eval.metric_loading import load_metric
from antiphon.modeling import ConformerConfig, ConformerForCTC
from antiphon.processing import CharacterTokenizer, ConformerProcessor, LogMelFeatureExtractor
from antiphon.processing.audio_io import read_audio
from antiphon.processing.corpora import CorpusStream
from antiphon.processing.corpora.augmentation import WaveformAugmentation
from antiphon.train_scripts.command_line import train_by_recipe
from antiphon.train_scripts.kept_weights import KeptWeights, check_kept, choose_weights
from antiphon.train_scripts.manifests import write_manifests
from antiphon.train_scripts.peer_recognisers import ARCHITECTURES, CONFORMER, PARAKEET, build_peer, check_peer
from antiphon.train_scripts.progress import ProgressFile
from antiphon.train_scripts.recipes import RecipeError, check_keys
from antiphon.train_scripts.recognition_data import RecognitionCollator, RecognitionDataset
from antiphon.train_scripts.run_folder import RunFolder, write_json
from antiphon.train_scripts.sources import describe_sources, load_mixture
from antiphon.train_scripts.streamed_data import StreamedUtterances, complete_stream, open_stream
from antiphon.train_scripts.trainings import check_buildable, complete_sections, open_run, trained, training_arguments

DATA_DEFAULTS = {
    "train": [],
    "stream": None,  # a corpus that is read row by row, in place of `train`
    "validation": [],
    "sampling_rate": 16_000,
    "resample": False,
    "max_seconds": 20.0,
    "alphabet": None,
    "features": {},
    "augmentation": {},
}
RUN_DEFAULTS = {
    "folder": None,
    "seed": 0,
    "early_stopping_patience": None,
    "initialize_from": None,
    "architecture": CONFORMER,
    "keep_best": 0,  # weights of how many evaluations are kept, and averaged in the end where that is better
    "keep_last": 0,
}
# Utterances that give the mean and deviation of each mel band where a recipe normalises globally.
STATISTICS_UTTERANCES = 1000
# What most recipes want; any argument of transformers' TrainingArguments may stand in the section `training`.
TRAINING_DEFAULTS = {
    "per_device_train_batch_size": 32,
    "per_device_eval_batch_size": 64,
    "learning_rate": 1e-3,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 0.1,
    "weight_decay": 0.01,
    "max_grad_norm": 5.0,
    "num_train_epochs": 10,
    "eval_strategy": "epoch",
    "save_strategy": "epoch",
    "save_total_limit": 2,
    "load_best_model_at_end": True,
    "metric_for_best_model": "wer",
    "greater_is_better": False,
    "logging_steps": 20,
    "report_to": "trackio",
}


def resolve(recipe: dict) -> dict:
    """Fills in defaults, and refuses keys that nothing reads and values that nothing can be built from."""
    recipe = complete_sections(recipe, data=DATA_DEFAULTS, run=RUN_DEFAULTS, training=TRAINING_DEFAULTS)
    check_keys(recipe["model"], ConformerConfig().to_dict(), "`model`")
    check_kept(recipe)
    complete_stream(recipe)
    _check_values(recipe)
    return recipe


def _check_values(recipe: dict) -> None:
    """Builds what is cheap to build, so that a wrong value is found before the first corpus is loaded."""
    features, augmentation, rate = (recipe["data"][key] for key in ("features", "augmentation", "sampling_rate"))
    check_keys(features, inspect.signature(LogMelFeatureExtractor).parameters, "`data.features`")
    builders = {
        "data.features": lambda: LogMelFeatureExtractor(sampling_rate=rate, **features),
        "data.augmentation": lambda: WaveformAugmentation.from_config(augmentation, rate),
        # A checkpoint to start from may fill in what makes these options fit together.
        "model": lambda: recipe["run"]["initialize_from"] or ConformerConfig(**recipe["model"]),
    }
    check_buildable(builders)
    check_keys([recipe["run"]["architecture"]], ARCHITECTURES, "`run.architecture`")
    if recipe["run"]["architecture"] != CONFORMER:
        if recipe["run"]["initialize_from"]:
            raise RecipeError("`run.initialize_from` starts a Conformer only; leave it out for another architecture.")
        check_peer(ConformerConfig(**recipe["model"]))


def build_processor(
    data: dict, texts: Iterable[str | None], recordings: Iterable[dict], subsampling_factor: int
) -> ConformerProcessor:
    """Makes the feature extractor of the recipe and a tokenizer of the training texts.

    Args:
        data: Of the recipe.
        texts: Of the training; not read where the recipe has an alphabet.
        recordings: Audio of some rows, which gives the mean and deviation of each mel band where these are global.
        subsampling_factor: Of the model.
    """
    extractor = LogMelFeatureExtractor(sampling_rate=data["sampling_rate"], **data["features"])
    if extractor.normalize == "global":
        options = {"sampling_rate": data["sampling_rate"], "resample": data["resample"]}
        extractor.fit(read_audio(audio["bytes"] or audio["path"], **options)[0] for audio in recordings)
    tokenizer = CharacterTokenizer.from_corpus(filter(None, texts), alphabet=data["alphabet"])
    return ConformerProcessor(extractor, tokenizer, subsampling_factor=subsampling_factor)


def some_recordings(rows: datasets.Dataset | CorpusStream, seed: int) -> Iterator[dict]:
    """Audio of some rows: of a stream the first."""
    if isinstance(rows, CorpusStream):
        return (row["audio"] for row in islice(rows, STATISTICS_UTTERANCES))
    some = np.random.default_rng(seed).permutation(len(rows))[:STATISTICS_UTTERANCES]
    return (rows[int(index)]["audio"] for index in some)


def build_model(recipe: dict, rows: datasets.Dataset | CorpusStream) -> tuple[PreTrainedModel, ConformerProcessor]:
    """Makes a model with random weights, or takes the weights and the processor of `run.initialize_from`."""
    options, checkpoint = recipe["model"], recipe["run"]["initialize_from"]
    if checkpoint:
        processor = ConformerProcessor.from_pretrained(checkpoint)
        if processor.sampling_rate != recipe["data"]["sampling_rate"]:
            raise RecipeError(
                f"`data.sampling_rate` is {recipe['data']['sampling_rate']} but the checkpoint {checkpoint} expects "
                f"{processor.sampling_rate} Hz; set the recipe to that and `data.resample` to true."
            )
        positions = ConformerConfig.from_pretrained(checkpoint).position_embeddings_type
        if options.get("position_embeddings_type", positions) != positions:
            raise RecipeError(
                f"`model.position_embeddings_type` is {options['position_embeddings_type']} but the checkpoint "
                f"{checkpoint} learnt with {positions} ones; start from one that fits, or from random weights."
            )
        # Only what regularises and what frames hear may differ from the checkpoint; another shape fails to load.
        return ConformerForCTC.from_pretrained(checkpoint, **options), processor
    data = recipe["data"]
    # Of an alphabet that is given all symbols are kept, whatever the texts hold.
    texts = [data["alphabet"]] if isinstance(rows, CorpusStream) else rows["text"]
    recordings = some_recordings(rows, recipe["run"]["seed"])
    processor = build_processor(data, texts, recordings, options.get("subsampling_factor", 4))
    config = ConformerConfig(
        vocab_size=len(processor.tokenizer),
        num_mel_bins=processor.feature_extractor.feature_size,
        pad_token_id=processor.tokenizer.pad_token_id,
        **options,
    )
    return build_peer(config) if recipe["run"]["architecture"] == PARAKEET else ConformerForCTC(config), processor


def best_ids(outputs: tuple[torch.Tensor, ...], labels: torch.Tensor) -> torch.Tensor:
    """Keeps the most likely symbol of each frame, the blank at padding, instead of all logits in memory."""
    logits, attention_mask = outputs[:2]
    return logits.argmax(-1) * attention_mask


def error_rates(prediction, tokenizer: CharacterTokenizer, metric) -> dict[str, float]:
    """WER and CER of a validation pass."""
    blank = tokenizer.pad_token_id
    hypotheses = tokenizer.batch_decode(np.where(prediction.predictions < 0, blank, prediction.predictions))
    label_ids = np.where(prediction.label_ids < 0, blank, prediction.label_ids)
    references = [tokenizer.decode(ids, group_tokens=False) for ids in label_ids]
    scores = metric.compute(predictions=hypotheses, references=references)
    return {"wer": scores["wer"], "cer": scores["cer"]}


def kept_weights(run: RunFolder, recipe: dict, arguments: TrainingArguments) -> KeptWeights | None:
    """Keeps the weights that the recipe asks for; None where it asks for none."""
    best, last = recipe["run"]["keep_best"], recipe["run"]["keep_last"]
    if not best and not last:
        return None
    metric, greater_is_better = arguments.metric_for_best_model, arguments.greater_is_better
    return KeptWeights(run.weights, best=best, last=last, metric=metric, greater_is_better=greater_is_better)


def training_set(
    recipe: dict, rows: datasets.Dataset | CorpusStream, processor: ConformerProcessor, batch_size: int
) -> RecognitionDataset | StreamedUtterances:
    """Makes what the Trainer reads, augmented as the recipe says.

    Args:
        recipe: As `resolve` returns it.
        rows: Of the training.
        processor: Of the model.
        batch_size: Utterances per optimiser step over all processes.
    """
    data = recipe["data"]
    options = _read_by(recipe, processor) | {"batch_size": batch_size}
    if data["augmentation"]:
        options["augmentation"] = WaveformAugmentation.from_config(data["augmentation"], data["sampling_rate"])
    if isinstance(rows, CorpusStream):
        return StreamedUtterances(rows, buffer_size=data["stream"]["buffer_size"], **options)
    return RecognitionDataset(rows, **options)


def _read_by(recipe: dict, processor: ConformerProcessor) -> dict:
    """What training and validation are read by."""
    options = {name: recipe["data"][name] for name in ("max_seconds", "resample")}
    return {"processor": processor, "seed": recipe["run"]["seed"], **options}


def train(recipe: dict, callbacks: Sequence[TrainerCallback] = ()) -> RunFolder:
    """Runs a resolved recipe and returns its folder, whose `checkpoint` holds the best model.

    Args:
        recipe: As `resolve` returns it.
        callbacks: Of the Trainer, such as one that prunes a trial of a search.
    """
    data = recipe["data"]
    run = open_run(recipe)
    if run.is_trained:
        return run
    arguments = training_arguments(
        run,
        recipe,
        train_sampling_strategy="sequential",  # RecognitionDataset orders each epoch itself
        remove_unused_columns=False,
        # Each process reads a stream itself: batches of several lengths cannot be handed from one to the others.
        **({"accelerator_config": {"dispatch_batches": False}} if data["stream"] else {}),
    )
    set_seed(recipe["run"]["seed"])

    stream = open_stream(data["stream"]) if data["stream"] else None
    training = None if stream else load_mixture(data["train"], "data.train")
    validation = load_mixture(data["validation"], "data.validation")
    model, processor = build_model(recipe, stream or training.rows)
    batch_size = arguments.train_batch_size * arguments.gradient_accumulation_steps * arguments.world_size
    train_set = training_set(recipe, stream or training.rows, processor, batch_size)
    validation_set = RecognitionDataset(validation.rows, **_read_by(recipe, processor))
    if arguments.process_index == 0:
        print(f"{model.num_parameters():,} parameters\ntraining: {'a stream' if stream else train_set.dropped}")
        print(f"validation: {validation_set.dropped}", flush=True)
        sides = {} if stream else {"train": (training, train_set)}
        write_manifests(run, sides | {"val": (validation, validation_set)})
        if not stream:
            write_json(run.path / "training_data.json", describe_sources(train_set.corpus))

    patience = recipe["run"]["early_stopping_patience"]
    kept = kept_weights(run, recipe, arguments)
    trainer = Trainer(
        model=model,
        args=arguments,
        data_collator=RecognitionCollator(processor),
        train_dataset=train_set,
        eval_dataset=validation_set,
        processing_class=processor,
        preprocess_logits_for_metrics=best_ids,
        compute_metrics=partial(error_rates, tokenizer=processor.tokenizer, metric=load_metric("error_rates")),
        callbacks=[
            ProgressFile(run.path),
            *callbacks,
            *([EarlyStoppingCallback(patience)] if patience else []),
            *([kept] if kept else []),
        ],
    )
    with trained(trainer, run):
        if stream and trainer.is_world_process_zero():
            print(f"training, in the last pass: {train_set.dropped}")
            write_json(run.path / "training_data.json", train_set.describe())
        if kept:
            selection = choose_weights(trainer, kept)
            if trainer.is_world_process_zero():
                write_json(run.weights / "selection.json", selection)
        trainer.save_model(str(run.checkpoint))
    return run


def main(arguments: list[str] | None = None) -> None:
    train_by_recipe(__doc__, resolve, train, arguments)


if __name__ == "__main__":
    main()
