"""What a benchmark dataset fixes for everyone who is measured on it, as its `eval.yaml` says.

The Hub reads `name`, `description`, `evaluation_framework` and `tasks`, one task for each metric of each benchmark.
Below the key `antiphon` stands, for each benchmark, what a submission is held against: corpus, split, the digests of
items, references and groups, the metric that decides, the value that each baseline has by it and the conditions that
nobody may change.
Sampling rate and decoding are left to the system; the leaderboard ranks each choice by itself.
"""

from collections.abc import Mapping

import pandas as pd
import yaml

from antiphon.eval.conditions import records_sha256
from antiphon.eval.eval_results import task_id

EVAL_YAML = "eval.yaml"
FRAMEWORK = "antiphon"
FIXED_CONDITIONS = ("corpus_sha256", "split_sha256", "item_ids_sha256", "group_by", "judges")
TASK_CONDITIONS = ("text_normalizer", "protocol")  # fixed where a task has them
DESCRIPTION = (
    "Result rows whose metrics and baselines were computed anew from the prediction for every item, each with a 95 % "
    "interval over whole groups of items, the baseline that hears nothing, and the conditions it holds under."
)


def item_digests(items: pd.DataFrame, group_by: str) -> dict[str, str]:
    """Digests of what was measured, whatever the order of the items and the number of trainings.

    Args:
        items: the item table of a result row.
        group_by: its column of groups.

    Returns:
        `item_ids_sha256`, `split_sha256` over the items with their references, `groups_sha256` over the items with
        their groups.
    """
    columns = {"item_ids_sha256": ["item_id"], "split_sha256": ["item_id", "reference"]}
    columns["groups_sha256"] = ["item_id", group_by]
    return {
        name: records_sha256(items[of].astype(str).drop_duplicates().itertuples(index=False))
        for name, of in columns.items()
    }


def define_benchmark(row: Mapping, items: pd.DataFrame) -> dict:
    """The definition of the benchmark that a trusted row was measured on.

    Args:
        row: the result row, checked by `submission.check_measurement`.
        items: its item table.
    """
    dataset, conditions = row["dataset"], row["conditions"]
    return {
        "task": row["task"],
        "corpus": dataset["name"],
        "license": dataset["license"],
        "split": dataset["split"],
        "num_items": int(items["item_id"].nunique()),
        "groups_sha256": item_digests(items, conditions["group_by"])["groups_sha256"],
        "primary_metric": row["primary_metric"],
        "metrics": {
            name: {key: entry[key] for key in ("unit", "higher_is_better", "columns")}
            for name, entry in row["metrics"].items()
        },
        "baselines": {
            name: row["baselines"][name]["metrics"][row["primary_metric"]]["value"] for name in sorted(row["baselines"])
        },
        "conditions": {
            **{name: conditions[name] for name in FIXED_CONDITIONS},
            **{name: conditions[name] for name in TASK_CONDITIONS if conditions.get(name) is not None},
        },
    }


def add_definition(text: str | None, title: str, benchmark: str, definition: Mapping) -> str:
    """Return the text of an `eval.yaml` with a benchmark put in, in place of an older definition of it.

    Args:
        text: of the present file, None where there is none.
        title: name of the benchmark dataset, for a new file.
        benchmark: name of the benchmark.
        definition: as `define_benchmark` returns it.
    """
    content = _load(text) if text else {"name": title, "description": DESCRIPTION, "evaluation_framework": FRAMEWORK}
    others = [task for task in content.get("tasks", []) if task.get("config") != benchmark]
    # The Hub's `split` names files of items in this dataset, not the corpus' own split.
    own = [{"id": task_id(benchmark, name), "config": benchmark, "split": "test"} for name in definition["metrics"]]
    content["tasks"] = others + own
    content[FRAMEWORK] = {**content.get(FRAMEWORK, {}), benchmark: dict(definition)}
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)


def read_definition(text: str, benchmark: str) -> dict | None:
    """Return the definition of a benchmark in an `eval.yaml`; None where it is not defined.

    Raises:
        ValueError: if the text is no `eval.yaml`.
    """
    return _load(text).get(FRAMEWORK, {}).get(benchmark)


def _load(text: str) -> dict:
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{EVAL_YAML} is not YAML ({error}); write it with eval/define_benchmark.py.") from None
    if not isinstance(content, dict) or not isinstance(content.get(FRAMEWORK, {}), dict):
        raise ValueError(f"{EVAL_YAML} is no mapping with definitions; write it with eval/define_benchmark.py.")
    return content
