"""A study folder as `ablate.py` leaves it, on made-up measurements, for tests of what reads studies."""

import json
from pathlib import Path

import pandas as pd
import yaml
from measured_rows import WORDS, measure
from small_corpora import encoded, tone, write_corpus

from antiphon.eval.result_rows import items_path, read_row, write_row

SPEAKERS = ["ann", "bob", "cy"]
SEEDS = [0, 1]
FOLDS = ["fold0", "fold1"]
# Words of four that each variant mistakes, by speaker.
WRONG = {"plain": {"ann": 3, "bob": 2, "cy": 1}, "both": {"ann": 1, "bob": 0, "cy": 0}}
RECIPE = {
    "data": {"train": [{"name": "words"}], "augmentation": {}},
    "model": {"hidden_size": 8},
    "training": {"metric_for_best_model": "wer"},
    "run": {"folder": "runs/words", "seed": 0},
}


def write_study(folder: Path) -> Path:
    """Write a study of two variants, two folds and two seeds, whose corpus lies in `folder`/corpus/words."""
    corpus = folder / "corpus" / "words"
    rows = [
        {"file_name": f"{speaker}_{word}.wav", "text": word, "speaker_id": speaker, "license": "CC0-1.0"}
        for speaker in SPEAKERS
        for word in WORDS
    ]
    write_corpus(corpus, rows)
    for seed, row in enumerate(rows):
        (corpus / row["file_name"]).write_bytes(encoded(tone(0.5, 300 + 100 * seed, seed)))
    study = folder / "words"
    write_yaml(
        study / "study.yaml",
        {
            "name": "words",
            "goal": "Do both tricks together help?",
            "task": "recognition",
            "corpus": str(corpus),
            "seeds": SEEDS,
            "metric": "wer",
            "baseline": "plain",
            "variants": {"plain": None, "both": {"data.augmentation": {"noise": {"probability": 0.4}}}},
        },
    )
    write_yaml(study / "recipe.yaml", RECIPE)
    for fold in FOLDS:
        write_json(study / "splits" / f"{fold}.json", {"train": ["a", "b"], "validation": ["c"], "test": ["d"]})
    for variant, wrong in WRONG.items():
        write_pooled(study / "results", variant, wrong)
        for fold in FOLDS:
            for seed in SEEDS:
                write_run(study / "runs" / variant / fold / f"seed{seed}", wrong, seed)
    write_json(study / "comparisons.json", [comparison()])
    return study


def write_pooled(folder: Path, variant: str, wrong: dict[str, int]) -> None:
    """Write the row of a variant, pooled over its trainings."""
    path = measure(folder, "words", wrong, SPEAKERS, seeds=SEEDS)
    items = pd.read_parquet(items_path(folder, "words"))
    write_row({**read_row(path), "system": variant}, items, folder)
    path.unlink()
    items_path(folder, "words").unlink()


def write_run(run: Path, wrong: dict[str, int], seed: int) -> None:
    """Write the run folder of one training."""
    write_yaml(run / "recipe.yaml", {**RECIPE, "run": {"folder": str(run), "seed": seed}})
    write_json(
        run / "environment.json",
        {
            "date": "2026-01-01",
            "command": ["ablate.py", "words.yaml", "--folder", "words", "--trial", "plain", "fold0", str(seed)],
            "git_commit": "0123456789abcdef",
            "git_changes": False,
            "hardware": "abacus",
            "cpu_count": 2,
            "processes": 1,
            "python": "3.11.7",
            "packages": {"torch": "2"},
        },
    )
    log = [{"loss": 2.0 / step + 0.1 * seed, "step": step} for step in (1, 2, 3)]
    log += [{"eval_wer": 1.0 / step, "eval_loss": 1.0, "step": step} for step in (1, 2, 3)]
    write_json(run / "log_history.json", [*log, {"train_runtime": 12.5, "step": 3}])
    data = {"name": "words", "license": "CC0-1.0", "split": "train", "num_items": 8, "num_speakers": 2, "hours": 0.1}
    write_json(run / "training_data.json", [data])
    measure(run / "results", "words", wrong, SPEAKERS, seeds=[seed])


def comparison() -> dict:
    """The comparison of the two variants, its figures made up."""
    return {
        "system": "both",
        "reference": "plain",
        "benchmark": "words",
        "metric": "wer",
        "unit": "ratio",
        "higher_is_better": False,
        "value": -0.4167,
        "low": -0.5,
        "high": -0.25,
        "confidence": 0.95,
        "p_value": 0.25,
        "holm_p_value": 0.25,
        "smallest_p_value": 0.25,
        "family": 1,
        "effect_size": {"name": "standardized mean difference", "value": -1.2},
        "verdict": "cannot tell",
        "sentence": "cannot tell (3 speakers)",
        "more_groups_needed": None,
        "group_by": ["speaker_id"],
        "num_groups": 3,
        "num_items": 12,
        "num_seeds": {"system": 2, "reference": 2},
        "groups": {"ann": -0.5, "bob": -0.5, "cy": -0.25},
        "warnings": ["3 speakers are too few for an interval that holds for others"],
        "condition_differences": {},
    }


def write_yaml(path: Path, content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def write_json(path: Path, content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
