"""The `.eval_results/*.yaml` files in which the Hub reads results: beside a model, linked to a benchmark dataset."""

import yaml
from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

from antiphon.eval.result_formats import format_interval


def task_id(benchmark: str, metric: str) -> str:
    """What an `.eval_results` entry and the `eval.yaml` of its benchmark dataset both call a benchmark's metric."""
    return f"{benchmark}_{metric}"


def render_eval_results(row: dict, source_url: str | None = None, dataset_id: str | None = None) -> str:
    """The YAML for one benchmark, one entry per metric.

    The Hub lists an entry on a leaderboard if `dataset_id` is a benchmark dataset there; others stay with the model.

    Args:
        row: the result row.
        source_url: where the row is on the Hub, if it is there.
        dataset_id: the benchmark dataset, "OWNER/NAME"; by default the corpus.

    Source: huggingface.co/docs/hub/eval-results.
    """
    source = {"source_url": source_url, "source_name": "result row"} if source_url else {}
    entries = []
    for metric, result in row["metrics"].items():
        direction = "higher" if result.get("higher_is_better") else "lower"
        entries.append(
            EvalResultEntry(
                dataset_id=dataset_id or row["dataset"].get("id", row["dataset"]["name"]),
                task_id=task_id(row["benchmark"], metric),
                value=result["value"],
                date=row["conditions"].get("date"),
                notes=f"{metric} {format_interval(result)}, {direction} is better; {row['dataset']['split']} split",
                **source,
            )
        )
    return yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True)
