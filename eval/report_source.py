"""Reads what a report is made from: a run folder of `train_scripts`, or the folder of a study."""

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import yaml

from antiphon.eval.result_rows import find_rows, items_path, read_row


class ReportError(ValueError):
    """A report cannot be built; the message is for the person who asked."""


@dataclass(frozen=True)
class Run:
    """One training. `variant` and `fold` are empty for a run that belongs to no study; what is missing is empty."""

    name: str
    variant: str
    fold: str
    seed: int | None
    rows: dict[str, dict]
    environment: dict
    log_history: list[dict]
    training_data: list[dict]

    @property
    def status(self) -> str:
        """How far it came."""
        if self.rows:
            return "measured"
        return "trained, not measured" if self.log_history else "not finished"

    @property
    def train_seconds(self) -> float | None:
        """Sum over the sessions that ended by themselves; a killed session leaves no total."""
        seconds = [entry["train_runtime"] for entry in self.log_history if "train_runtime" in entry]
        return sum(seconds) if seconds else None


@dataclass(frozen=True)
class ReportSource:
    """All files behind a report, read.

    Args:
        folder: where they lie.
        study: the resolved study; empty for a single run.
        recipe: of the run, or of the study's baseline.
        rows: result rows by file name without suffix.
        comparisons: as `comparisons.json` holds them.
        splits: by the name of a fold, its ids by the name of their part.
        runs: the trainings.
        environment: of the command that ran the run or the whole study.
    """

    folder: Path
    study: dict
    recipe: dict
    rows: dict[str, dict]
    comparisons: list[dict]
    splits: dict[str, dict[str, list[str]]]
    runs: list[Run]
    environment: dict

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    def items(self, name: str) -> pd.DataFrame | None:
        """The item table of a row; None where it is not there."""
        path = items_path(self.folder / "results", name)
        return pd.read_parquet(path) if path.is_file() else None


def read_source(folder: str | Path) -> ReportSource:
    """Read a run or study folder.

    Raises:
        ReportError: it is neither, a file is malformed, or it holds no result row.
    """
    folder = Path(folder)
    is_study = (folder / "study.yaml").is_file()
    if not is_study and not (folder / "recipe.yaml").is_file():
        raise ReportError(
            f"{folder} is neither a run (it has no recipe.yaml) nor a study (no study.yaml); pass the folder that "
            "train_scripts wrote."
        )
    study = _read(folder / "study.yaml", {})
    rows = _in_order(_read_rows(folder), study)
    if not rows:
        raise ReportError(f"{folder / 'results'} holds no result row; measure the run before reporting it.")
    return ReportSource(
        folder=folder,
        study=study,
        recipe=_read(folder / "recipe.yaml", {}),
        rows=rows,
        comparisons=_read(folder / "comparisons.json", []),
        splits={path.stem: _read(path, {}) for path in sorted(folder.glob("splits/*.json"))},
        runs=_read_study_runs(folder, study) if is_study else [_read_run(folder, folder)],
        environment=_read(folder / "environment.json", {}),
    )


def _read_study_runs(folder: Path, study: dict) -> list[Run]:
    runs = [_read_run(path.parent, folder) for path in sorted(folder.glob("runs/*/*/seed*/recipe.yaml"))]
    order = _variant_order(study)
    return sorted(runs, key=lambda run: order.get(run.variant, len(order)))


def _read_run(run: Path, folder: Path) -> Run:
    in_study = run != folder
    variant, fold = run.relative_to(folder / "runs").parts[:2] if in_study else ("", "")
    return Run(
        name=str(run.relative_to(folder / "runs")) if in_study else folder.resolve().name,
        variant=variant,
        fold=fold,
        seed=_read(run / "recipe.yaml", {}).get("run", {}).get("seed"),
        rows=_read_rows(run),
        environment=_read(run / "environment.json", {}),
        log_history=_read(run / "log_history.json", []),
        training_data=_read(run / "training_data.json", []),
    )


def _read_rows(folder: Path) -> dict[str, dict]:
    paths = find_rows([folder]) if (folder / "results").is_dir() else []
    try:
        return {path.stem: read_row(path) for path in paths}
    except ValueError as error:
        raise ReportError(str(error)) from error


def _in_order(rows: dict[str, dict], study: dict) -> dict[str, dict]:
    """Rows by benchmark, and within one in the order of the study's variants."""
    order = _variant_order(study)

    def place(item: tuple[str, dict]) -> tuple:
        name, row = item
        return row["benchmark"], order.get(row.get("system"), len(order)), name

    return dict(sorted(rows.items(), key=place))


def _variant_order(study: dict) -> dict[str, int]:
    return {variant: position for position, variant in enumerate(study.get("variants") or {})}


def _read(path: Path, default):
    """Content of a YAML or JSON file; `default` where there is none."""
    if not path.is_file():
        return default
    text = without_machine_paths(path.read_text(encoding="utf-8"))
    try:
        return json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (json.JSONDecodeError, yaml.YAMLError) as error:
        raise ReportError(f"{path} cannot be read ({error}); write it again with train_scripts.") from error


def without_machine_paths(text: str) -> str:
    """Leave out where things lie on somebody's disk, which tells readers nothing and names the person."""
    text = text.replace(f"{Path.cwd()}/", "")
    home = Path.home()
    return text if home == Path(home.root) else text.replace(str(home), "~")
