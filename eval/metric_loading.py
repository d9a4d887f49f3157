"""Find and load the `evaluate` modules of `eval/metrics`, in the repository and in an installed wheel alike."""

import uuid
from pathlib import Path

import evaluate

METRICS_FOLDER = Path(__file__).resolve().parent / "metrics"


def metric_path(name: str) -> Path:
    """Return the folder of a metric, to be given to `evaluate.load`.

    Raises:
        ValueError: if there is no such metric.
    """
    folder = METRICS_FOLDER / name
    if not (folder / f"{name}.py").is_file():
        known = sorted(path.stem for path in METRICS_FOLDER.glob("*/*.py"))
        raise ValueError(f"`name` is {name!r} but the metrics are {', '.join(known)}; pick one of them.")
    return folder


def load_metric(name: str) -> evaluate.EvaluationModule:
    """Load a metric so that any number of processes may use it at once.

    Items stay in memory and the experiment id is unique, hence no two runs share a cache file or wait for its lock.
    """
    return evaluate.load(str(metric_path(name)), keep_in_memory=True, experiment_id=uuid.uuid4().hex)
