"""What the Hub reads by machine: the metadata of a model card and the `.eval_results` files."""

import yaml
from huggingface_hub import EvalResult, EvalResultEntry, ModelCardData, eval_result_entries_to_yaml

from antiphon.eval.result_formats import format_interval
from antiphon.train_scripts.trained_run import TrainedRun


def card_metadata(run: TrainedRun, title: str, license: str, repository_url: str | None = None) -> ModelCardData:
    """The YAML block at the head of a model card, with one `model-index` entry per metric and benchmark.

    Args:
        run: The checked run.
        title: Name of the model.
        license: Licence identifier of the weights.
        repository_url: Where the repository is on the Hub, if it is there.
    """
    eval_results = [
        EvalResult(
            task_type=row["task"],
            dataset_type=row["dataset"].get("id", row["dataset"]["name"]),
            dataset_name=row["dataset"]["name"],
            dataset_config=row["benchmark"],
            dataset_split=row["dataset"]["split"],
            metric_type=metric,
            metric_name=metric,
            metric_value=result["value"],
            metric_args={"confidence_interval": [result.get("low"), result.get("high")], "n": result.get("n")},
            source_name="result row" if repository_url else None,
            source_url=f"{repository_url}/blob/main/results/{name}.json" if repository_url else None,
        )
        for name, row in run.results.items()
        for metric, result in row["metrics"].items()
    ]
    return ModelCardData(
        model_name=title,
        license=license,
        library_name="transformers",
        pipeline_tag=next(iter(run.results.values()))["task"],
        tags=["antiphon", run.config["model_type"]],
        datasets=[corpus["name"] for corpus in run.training_data if "/" in corpus["name"]] or None,
        metrics=sorted({result.metric_type for result in eval_results}),
        eval_results=eval_results,
    )


def render_eval_results(name: str, row: dict, repository_url: str | None = None) -> str:
    """The `.eval_results/<name>.yaml` of one benchmark, one entry per metric.

    The Hub lists an entry on a leaderboard if `dataset.id` is a benchmark dataset there; others stay with the model.

    Source: huggingface.co/docs/hub/eval-results.
    """
    source = {}
    if repository_url:
        source = {"source_url": f"{repository_url}/blob/main/results/{name}.json", "source_name": "result row"}
    entries = []
    for metric, result in row["metrics"].items():
        direction = "higher" if result.get("higher_is_better") else "lower"
        entries.append(
            EvalResultEntry(
                dataset_id=row["dataset"].get("id", row["dataset"]["name"]),
                task_id=f"{row['benchmark']}_{metric}",
                value=result["value"],
                date=row["conditions"].get("date"),
                notes=f"{metric} {format_interval(result)}, {direction} is better; {row['dataset']['split']} split",
                **source,
            )
        )
    return yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True)
