"""Measure an assessment of piano performances: fit, ranking and intervals, against baselines, under a stored protocol.

    python eval/benchmark_piano_assessment.py runs/piano/checkpoint --protocol performers --inputs midi,audio,score

writes `results/percepiano_performers.json`, the result row, and `results/percepiano_performers_items.parquet`, every
item that it was computed from, beside the checkpoint folder. A checkpoint belongs to one fold (`--fold`) of a protocol;
`eval/pool_runs.py` makes one row of several folds and trainings.
"""

import sys
from pathlib import Path

if not __package__ and not sys.flags.safe_path:
    # Run as a script, this folder's `statistics` would hide the standard library's.
    del sys.path[0]

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from datasets import Dataset

from antiphon.eval.assessment_baselines import ASSESSMENT_BASELINES, baseline_answers, hears_audio
from antiphon.eval.assessment_items import Predictions, tabulate_items
from antiphon.eval.assessment_scores import MEASURED, TASK, audit_claims, count_groups, summarize_items
from antiphon.eval.benchmark_definition import item_digests
from antiphon.eval.conditions import describe_weights, machine_conditions, records_sha256
from antiphon.eval.noise_ceiling import label_noise
from antiphon.eval.piano_assessor import INPUTS, TRAINING_ITEMS, load_assessor
from antiphon.eval.result_formats import format_difference, format_interval
from antiphon.eval.result_rows import read_row, write_row
from antiphon.processing.corpora import (
    SplitLeakageError,
    item_ids,
    load_corpus,
    load_ratings,
    render_corpus,
    select_ids,
)
from antiphon.processing.corpora.protocols import PROTOCOLS, load_protocol
from antiphon.processing.corpora.rendering import rendering_conditions

KNOWN = {"passages": "passage", "excerpts": "excerpt", "works": "work", "players": "player_id"}


def benchmark_piano_assessment(
    predict: Callable[[Dataset], Predictions],
    train: Dataset,
    test: Dataset,
    *,
    name: str,
    corpus: str,
    split: str,
    out: str | Path,
    protocol: str | None = None,
    inputs: Sequence[str] = (),
    rendering: Mapping | None = None,
    checkpoint: str | Path | None = None,
    system: str | None = None,
    ratings: pd.DataFrame | None = None,
    baselines: Sequence[str] = ASSESSMENT_BASELINES,
    training_seed: int | None = None,
    cache: str | Path | None = None,
    seed: int = 0,
) -> dict:
    """Measure whatever assesses performances, and write its result row.

    Args:
        predict: assesses the test performances; it was fitted on `train` alone.
        train: performances with the columns of `load_percepiano`; the baselines learn from them.
        test: performances to measure on, of the same kind.
        name: of the benchmark.
        corpus, split: what `test` is, for the row.
        out: folder for the row and the items.
        protocol: that the split belongs to.
        inputs: what the system was given, for the row.
        rendering: conditions that the recordings were made under, if any.
        checkpoint: folder with `model.safetensors`, where the system has one.
        system: name of the system, where a folder holds rows of several.
        ratings: of `load_ratings`; gives the noise ceiling of each percept.
        baselines: names, of `ASSESSMENT_BASELINES`.
        training_seed: that the system was trained with; lets several trainings be pooled. The
            baselines of a fold are fitted once, with seed 0, whatever the system's seed.
        cache: folder of what baselines compute; see `eval.caching`.
        seed: of the bootstrap.

    Returns:
        The row, as written.

    Raises:
        SplitLeakageError: a copy of a test performance is in training.
        ValueError: predictions of another shape, or that are not finite.
    """
    names, audit = item_ids(test), known_to_training(train, test)
    answers = baseline_answers(train, test, names=baselines, cache=cache)
    start = time.perf_counter()
    predictions = predict(test)
    processing_seconds = time.perf_counter() - start
    noise = None if ratings is None else label_noise(ratings[ratings["file_name"].isin(names)])
    items = tabulate_items(names, test, predictions, answers, noise=noise, training_seed=training_seed)
    summary = summarize_items(items, seed=seed)
    digests = item_digests(items, summary["group_by"])
    audio_seconds = float(items["duration_seconds"].sum())
    row = {
        "benchmark": name,
        **({"system": system} if system else {}),
        "task": TASK,
        "dataset": {
            "name": corpus,
            "license": ", ".join(sorted(set(test["license"]))),
            "split": split,
            "num_items": len(test),
            **count_groups(items),
            "hours": audio_seconds / 3600,
        },
        **_describe_system(checkpoint, predictions),
        **{key: summary[key] for key in MEASURED},
        "claims": summary["claims"] + audit_claims([(split, audit)], items),
        "conditions": {
            "corpus_sha256": _corpus_sha256(names, items["reference"], test),
            "split_sha256": digests["split_sha256"],
            "item_ids_sha256": digests["item_ids_sha256"],
            "train_split_sha256": records_sha256(zip(item_ids(train), map(str, train["percepts"][:]))),
            "group_by": summary["group_by"],
            "protocol": protocol,
            "inputs": ", ".join(inputs),
            "rendering": None if rendering is None else json.dumps(rendering, sort_keys=True),
            "baseline_features": "midi, audio" if hears_audio(train, test) else "midi",
            "judges": [],  # references are ratings by people, no model judges
            "audit": audit,
            "seed": seed,
            **machine_conditions(torch.device("cpu")),
        },
        "speed": {"real_time_factor": processing_seconds / audio_seconds, "audio_seconds": audio_seconds},
    }
    return read_row(write_row(row, items, out))


def known_to_training(train: Dataset, test: Dataset) -> dict:
    """Count what of the test training knows: items whose passage, excerpt, work or player is also in training.

    Returns:
        `num_train`, `num_test`, `num_known_passages` and so on for `KNOWN`, and `num_shared_groups`, excerpts in both.

    Raises:
        SplitLeakageError: the same performance is on both sides.
    """
    copies = set(train["duplicate_group"][:]) & set(test["duplicate_group"][:])
    audit = {"num_train": len(train), "num_test": len(test)}
    for name, column in KNOWN.items():
        trained = set(train[column][:])
        audit[f"num_known_{name}"] = sum(value in trained for value in test[column][:])
    audit["num_shared_groups"] = len(set(train["excerpt"][:]) & set(test["excerpt"][:]))
    if copies:
        raise SplitLeakageError(
            f"{len(copies)} performances are both in training and in the test, e.g. {min(copies)!r}, under any label; "
            "leave them out of training as the stored protocols do.",
            audit,
        )
    return audit


def _corpus_sha256(names: Sequence[str], references: Sequence[str], test: Dataset) -> str:
    return records_sha256((*pair, Path(midi).read_bytes()) for *pair, midi in zip(names, references, test["midi"]))


def _describe_system(checkpoint: str | Path | None, predictions: Predictions) -> dict:
    """Digest and size; what has no checkpoint is known by its answers."""
    if checkpoint is None:
        return {"checkpoint_sha256": records_sha256([(np.asarray(predictions.percepts).tobytes(),)]), "model": {}}
    return describe_weights(checkpoint)


def refuse_known_items(checkpoint: Path, test_ids: Sequence[str]) -> None:
    """End with a sentence where a checkpoint says that it was trained on what is to be tested."""
    file = checkpoint / TRAINING_ITEMS
    if file.is_file() and (known := set(json.loads(file.read_text(encoding="utf-8"))) & set(test_ids)):
        sys.exit(
            f"error: {checkpoint} was trained on {len(known)} of the {len(test_ids)} test performances, such as "
            f"{min(known)}; name the protocol and the fold that it was trained for."
        )


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="folder of the checkpoint")
    parser.add_argument("--corpus", default="percepiano", help="as load_corpus takes it")
    parser.add_argument("--protocol", required=True, choices=PROTOCOLS)
    parser.add_argument("--fold", help="that the checkpoint was trained for; needed where a protocol has several")
    parser.add_argument(
        "--inputs", default="midi,audio,score", help=f"what the model is given, of {','.join(INPUTS)}, with commas"
    )
    parser.add_argument("--soundfont", default="FluidR3_GM", help="that recordings are rendered with")
    parser.add_argument("--name", help="name of the benchmark; <corpus>_<protocol> if left out")
    parser.add_argument("--out", type=Path, help="folder for the results; `results` beside the checkpoint if left out")
    parser.add_argument("--training-seed", type=int, help="seed that the checkpoint was trained with")
    parser.add_argument("--seed", type=int, default=0, help="seed of the bootstrap")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Load the fold, measure the checkpoint, print the row's figures."""
    options = parse_arguments(arguments)
    folds = load_protocol(options.protocol)
    fold = options.fold or next(iter(folds))
    if fold not in folds or (options.fold is None and len(folds) > 1):
        sys.exit(f"error: `--fold` is {options.fold!r}; the protocol {options.protocol} has {', '.join(folds)}.")
    corpus, inputs = load_corpus(options.corpus), options.inputs.split(",")
    # Hand-crafted baselines hear the recordings too, whatever the system is given.
    rendered = render_corpus(corpus, soundfont=options.soundfont)
    train, test = (select_ids(rendered, folds[fold][side]) for side in ("train", "test"))
    refuse_known_items(options.checkpoint, item_ids(test))
    row = benchmark_piano_assessment(
        load_assessor(options.checkpoint, inputs=inputs),
        train,
        test,
        name=options.name or f"{Path(options.corpus).name}_{options.protocol}",
        corpus=Path(options.corpus).name,
        split=f"{options.protocol} {fold}",
        out=options.out or options.checkpoint.parent / "results",
        protocol=options.protocol,
        inputs=inputs,
        rendering=rendering_conditions(options.soundfont),
        checkpoint=options.checkpoint,
        ratings=load_ratings(Path(test[0]["midi"]).parents[1]),
        training_seed=options.training_seed,
        seed=options.seed,
    )
    print(format_row(row))


def format_row(row: dict) -> str:
    """Return the figures of a row as lines of text: metrics with intervals, baselines, correlations, claims."""
    lines = [f"{row['benchmark']}: " + ", ".join(f"{row['dataset'][f'num_{n}']} {n}" for n in ("items", *KNOWN))]
    lines += [f"  {metric:<18}{format_interval(entry)}" for metric, entry in row["metrics"].items()]
    lines += [f"  {name:<18}{format_interval(entry)}" for name, entry in row["correlations"].items()]
    primary = row["primary_metric"]
    for name, entry in row["baselines"].items():
        difference = format_difference(entry["difference"][primary], None)
        lines.append(f"    {name:<30}{primary} {entry['metrics'][primary]['value']:.3f}; above it by {difference}")
    for listed in ("groups", "players"):
        lines += [
            f"    {name:<12}{primary} {entry[primary]:.3f}, n {entry['n']}" for name, entry in row[listed].items()
        ]
    return "\n".join([*lines, *(f"  {claim}" for claim in row["claims"])])


if __name__ == "__main__":
    main()
