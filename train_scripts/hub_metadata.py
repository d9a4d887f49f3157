"""What the Hub reads by machine: the metadata of a model card."""

from huggingface_hub import EvalResult, ModelCardData

from antiphon.train_scripts.trained_run import TrainedRun

# The Hub knows a closed list of tasks; ours that it lacks are listed under the nearest.
HUB_TASKS = {
    "piano-performance-assessment": "audio-classification",
    "speaker-verification": "audio-classification",
    "content-probing": "feature-extraction",
    "vocoding": "audio-to-audio",
    "voice-conversion": "audio-to-audio",
}


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
            task_type=HUB_TASKS.get(row["task"], row["task"]),
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
    task = next(iter(run.results.values()))["task"]
    return ModelCardData(
        model_name=title,
        license=license,
        library_name="transformers",
        pipeline_tag=HUB_TASKS.get(task, task),
        tags=["antiphon", run.config["model_type"], *([task] if task in HUB_TASKS else [])],
        datasets=[corpus["name"] for corpus in run.training_data if "/" in corpus["name"]] or None,
        metrics=sorted({result.metric_type for result in eval_results}),
        eval_results=eval_results,
    )
