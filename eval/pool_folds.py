"""Pool the folds of a cross-validation, such as leave one speaker out, into one result row.

    python eval/pool_folds.py runs/without_*/results/fsdd_fold.json --name fsdd_leave_one_speaker_out --out results

Each fold has its own checkpoint and its own test items; the metrics, intervals, baseline and claims are computed anew
from all items together, since a fold of one speaker has no interval and mean rates are not rates of means.
"""

import sys
from pathlib import Path

if not __package__ and not sys.flags.safe_path:
    # Run as a script, this folder's `statistics` would hide the standard library's.
    del sys.path[0]

import argparse
from collections.abc import Sequence

import pandas as pd

from antiphon.eval.conditions import records_sha256
from antiphon.eval.recognition_scores import summarize_items, training_claims
from antiphon.eval.result_rows import items_path, read_row, write_row

# what all folds must share: otherwise they are different experiments
SHARED_CONDITIONS = ("text_normalizer", "sampling_rate", "resample", "decoding", "packages")


def pool_folds(
    paths: Sequence[Path], name: str, *, system: str | None = None, seed: int = 0
) -> tuple[dict, pd.DataFrame]:
    """Compute one row from the rows and item tables of several folds.

    Args:
        paths: row files, each with its item table beside it.
        name: of the pooled benchmark.
        system: what the folds have in common, such as a variant of a recipe; tables show it as the model's name.
        seed: of the bootstrap.

    Returns:
        The row, whose `folds` list the checkpoints and whose `checkpoint_sha256` is a digest over theirs, and the
        pooled item table.

    Raises:
        ValueError: folds that share items or were measured under different conditions.
    """
    folds = [read_row(path) for path in paths]
    items = pd.concat([pd.read_parquet(items_path(path.parent, path.stem)) for path in paths], ignore_index=True)
    repeated = items["item_id"][items["item_id"].duplicated()]
    if len(repeated):
        raise ValueError(f"`paths` hold {len(repeated)} items in two folds, e.g. {repeated.iloc[0]!r}; pass each once.")
    summary = summarize_items(items, seed=seed)
    audits = [fold["conditions"]["audit"] for fold in folds]
    num_known = None if None in audits else sum(audit["num_shared_groups"] for audit in audits)
    dataset = _pooled_dataset(folds, items)
    row = {
        "benchmark": name,
        **({"system": system} if system else {}),
        "task": _shared("task", [fold["task"] for fold in folds]),
        "dataset": dataset,
        "checkpoint_sha256": _digest(fold["checkpoint_sha256"] for fold in folds),
        "model": _shared("model", [fold["model"] for fold in folds]),
        "metrics": summary["metrics"],
        "groups": summary["groups"],
        "baselines": summary["baselines"],
        "claims": [
            f"pooled over {len(folds)} checkpoints, one for each fold",
            *summary["claims"],
            *training_claims(num_known, dataset["num_speakers"]),
        ],
        "conditions": {
            "corpus_sha256": _digest(fold["conditions"]["corpus_sha256"] for fold in folds),
            "split_sha256": records_sha256(zip(items["item_id"], items["reference"])),
            "group_by": summary["group_by"],
            **{key: _shared(key, [fold["conditions"][key] for fold in folds]) for key in SHARED_CONDITIONS},
            "hardware": "; ".join(sorted({fold["conditions"]["hardware"] for fold in folds})),
            "date": max(fold["conditions"]["date"] for fold in folds),
            "seed": seed,
        },
        "speed": _pooled_speed([fold["speed"] for fold in folds]),
        "folds": [
            {
                "split": fold["dataset"]["split"],
                "checkpoint_sha256": fold["checkpoint_sha256"],
                "train_split_sha256": fold["conditions"]["train_split_sha256"],
                "audit": fold["conditions"]["audit"],
            }
            for fold in folds
        ],
    }
    return row, items


def _shared(name: str, values: list):
    if any(value != values[0] for value in values):
        raise ValueError(f"`paths` differ in {name}: {values}; folds of one experiment must share it, measure again.")
    return values[0]


def _digest(hashes) -> str:
    return records_sha256((value,) for value in hashes)


def _pooled_dataset(folds: list[dict], items: pd.DataFrame) -> dict:
    return {
        "name": _shared("the corpus", [fold["dataset"]["name"] for fold in folds]),
        "license": _shared("the licence", [fold["dataset"]["license"] for fold in folds]),
        "split": f"each of {len(folds)} folds in turn",
        "num_items": len(items),
        "num_speakers": int(items["speaker_id"].nunique()),
        "hours": float(items["duration_seconds"].sum() / 3600),
    }


def _pooled_speed(speeds: list[dict]) -> dict:
    audio_seconds = sum(speed["audio_seconds"] for speed in speeds)
    processing_seconds = sum(speed["real_time_factor"] * speed["audio_seconds"] for speed in speeds)
    return {"real_time_factor": processing_seconds / audio_seconds, "audio_seconds": audio_seconds}


def main(arguments: Sequence[str] | None = None) -> None:
    """Pool the folds named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path, nargs="+", help="row of each fold, its item table beside it")
    parser.add_argument("--name", required=True, help="name of the pooled benchmark")
    parser.add_argument("--system", help="what the folds have in common; tables show it as the model's name")
    parser.add_argument("--out", type=Path, required=True, help="folder for the pooled row and items")
    options = parser.parse_args(arguments)
    row, items = pool_folds(options.rows, options.name, system=options.system)
    print(write_row(row, items, options.out))


if __name__ == "__main__":
    main()
