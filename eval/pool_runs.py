"""Pool the folds of a cross-validation and the trainings of one recipe with several seeds into one result row.

    python eval/pool_runs.py runs/*/results/an4.json --name an4_speaker_folds --system plain --out results

Each run has its own checkpoint. Folds (leave one speaker out, say) have test items of their own, seeds share theirs.
The metrics, intervals, baselines and claims are computed anew from all items together, since a fold of one speaker has
no interval, mean rates are not rates of means, and only several trainings show how much training anew changes.
"""

import sys
from pathlib import Path

if not __package__ and not sys.flags.safe_path:
    # Run as a script, this folder's `statistics` would hide the standard library's.
    del sys.path[0]

import argparse
from collections.abc import Iterable, Sequence

import pandas as pd

from antiphon.eval.conditions import condition_differences, records_sha256
from antiphon.eval.result_rows import items_path, read_row, write_row
from antiphon.eval.scoring import scorer_of


def pool_runs(
    paths: Sequence[Path], name: str, *, system: str | None = None, seed: int = 0
) -> tuple[dict, pd.DataFrame]:
    """Compute one row from the rows and item tables of several folds, trainings, or both.

    The training seed of a run is that of its item table (`seed`) or the only one of its row (`seeds`). Runs without a
    known seed are folds.

    Args:
        paths: row files, each with its item table beside it.
        name: of the pooled benchmark.
        system: what the runs have in common, such as a variant of a recipe; tables show it as the model's name.
        seed: of the bootstrap.

    Returns:
        The row, whose `folds` list the checkpoints and whose `checkpoint_sha256` is a digest over theirs, and the
        pooled item table.

    Raises:
        ValueError: an item measured twice with one seed, seeds that do not cover the same items, or runs measured
            under different conditions.
    """
    runs = [read_row(path) for path in paths]
    scorer = scorer_of(_shared("task", [run["task"] for run in runs]))
    items = pd.concat([_read_items(path, run) for path, run in zip(paths, runs)], ignore_index=True)
    _check_items(items)
    items = scorer.rescore(items)
    texts = items[["item_id", "reference"]].drop_duplicates()
    summary = scorer.summarize_items(items, seed=seed)
    audits = [(run["conditions"]["split_sha256"], run["conditions"]["audit"]) for run in runs]
    num_folds = len(dict(audits))
    dataset = {**_pooled_dataset(runs, items, num_folds), **scorer.count_groups(items)}
    row = {
        "benchmark": name,
        **({"system": system} if system else {}),
        "task": runs[0]["task"],
        "dataset": dataset,
        "checkpoint_sha256": _digest(run["checkpoint_sha256"] for run in runs),
        "model": _shared("model", [run["model"] for run in runs]),
        **{key: summary[key] for key in scorer.MEASURED if key != "seeds"},
        "claims": [
            pooling_claim(len(runs), num_folds, len(summary["seeds"])),
            *summary["claims"],
            *scorer.audit_claims(audits, items),
        ],
        "seeds": summary["seeds"],
        "conditions": {
            "corpus_sha256": _corpus_sha256({run["conditions"]["corpus_sha256"] for run in runs}),
            "split_sha256": records_sha256(zip(texts["item_id"], texts["reference"])),
            "item_ids_sha256": records_sha256(zip(texts["item_id"])),
            "group_by": summary["group_by"],
            **{key: _shared(key, [run["conditions"].get(key) for run in runs]) for key in scorer.SHARED_CONDITIONS},
            "packages": _shared_packages(runs),
            "hardware": "; ".join(sorted({run["conditions"]["hardware"] for run in runs})),
            "date": max(run["conditions"]["date"] for run in runs),
            "seed": seed,
        },
        "speed": _pooled_speed([run["speed"] for run in runs]),
        "folds": [
            {
                "split": run["dataset"]["split"],
                "seeds": run.get("seeds", []),
                "checkpoint_sha256": run["checkpoint_sha256"],
                "train_split_sha256": run["conditions"]["train_split_sha256"],
                "audit": run["conditions"]["audit"],
            }
            for run in runs
        ],
    }
    return row, items


def _read_items(path: Path, run: dict) -> pd.DataFrame:
    items = pd.read_parquet(items_path(path.parent, path.stem))
    if "seed" not in items and len(run.get("seeds", [])) == 1:
        items["seed"] = run["seeds"][0]
    return items


def _check_items(items: pd.DataFrame) -> None:
    """Refuse items that are measured twice or by some trainings only, or that have two references."""
    if "seed" in items and items["seed"].isna().any():
        raise ValueError("`paths` hold runs with and without a training seed; measure them alike, with seeds.")
    key = ["item_id", *(["seed"] if "seed" in items else [])]
    repeated = items["item_id"][items.duplicated(key)]
    if len(repeated):
        raise ValueError(
            f"`paths` hold {len(repeated)} items in two runs of the same seed, e.g. {repeated.iloc[0]!r}; "
            "pass each once."
        )
    if "seed" in items:
        counts = items["item_id"].value_counts()
        if (partial := counts[counts < items["seed"].nunique()]).any():
            raise ValueError(
                f"`paths` hold {len(partial)} items that were not measured with every seed, e.g. {partial.index[0]!r}; "
                "finish all folds of each seed, or leave that seed out."
            )
    texts = items.groupby("item_id")["reference"].nunique()
    if (texts > 1).any():
        raise ValueError(f"`paths` hold two references of {texts.idxmax()!r}; measure all runs with the same texts.")


def pooling_claim(num_runs: int, num_folds: int, num_seeds: int) -> str:
    """Say what was pooled."""
    if num_runs == num_folds:
        return f"pooled over {num_runs} checkpoints, one for each fold"
    if num_folds == 1:
        return f"pooled over {num_runs} checkpoints, one for each seed"
    return f"pooled over {num_runs} checkpoints, one for each of {num_folds} folds and {num_seeds} seeds"


def _shared(name: str, values: list):
    if any(value != values[0] for value in values):
        raise ValueError(f"`paths` differ in {name}: {values}; runs of one experiment must share it, measure again.")
    return values[0]


def _shared_packages(runs: list[dict]) -> dict | None:
    """The first run's; builds and packages that change no result may differ."""
    for run in runs[1:]:
        for name, versions in condition_differences(runs[0], run).items():
            if name.startswith("packages."):
                _shared(name, list(versions))
    return runs[0]["conditions"].get("packages")


def _corpus_sha256(hashes: set[str]) -> str:
    """A digest over what differs: more seeds of the same folds, or of one test split, are the same condition."""
    return next(iter(hashes)) if len(hashes) == 1 else _digest(hashes)


def _digest(hashes: Iterable[str]) -> str:
    return records_sha256((value,) for value in hashes)


def _pooled_dataset(runs: list[dict], items: pd.DataFrame, num_folds: int) -> dict:
    once = items.drop_duplicates("item_id")
    splits = [run["dataset"]["split"] for run in runs]
    return {
        "name": _shared("the corpus", [run["dataset"]["name"] for run in runs]),
        "license": _shared("the licence", [run["dataset"]["license"] for run in runs]),
        "split": _shared("the split", splits) if num_folds == 1 else f"each of {num_folds} folds in turn",
        "num_items": len(once),
        "hours": float(once["duration_seconds"].sum() / 3600),
    }


def _pooled_speed(speeds: list[dict]) -> dict:
    audio_seconds = sum(speed["audio_seconds"] for speed in speeds)
    processing_seconds = sum(speed["real_time_factor"] * speed["audio_seconds"] for speed in speeds)
    return {"real_time_factor": processing_seconds / audio_seconds, "audio_seconds": audio_seconds}


def main(arguments: Sequence[str] | None = None) -> None:
    """Pool the runs named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path, nargs="+", help="row of each run, its item table beside it")
    parser.add_argument("--name", required=True, help="name of the pooled benchmark")
    parser.add_argument("--system", help="what the runs have in common; tables show it as the model's name")
    parser.add_argument("--out", type=Path, required=True, help="folder for the pooled row and items")
    options = parser.parse_args(arguments)
    row, items = pool_runs(options.rows, options.name, system=options.system)
    print(write_row(row, items, options.out))


if __name__ == "__main__":
    main()
