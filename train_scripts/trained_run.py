"""Reads a run folder and checks that it may be published.

A run folder is what training and evaluation leave behind:

    recipe.yaml  environment.json  log_history.json  training_data.json
    checkpoint/  results/<benchmark>.json

`training_data.json` is a list with one entry per corpus: its `name` and `license`, and as far as they are known its
`split`, `num_items`, `num_speakers` and `hours`. A person may add `notes.md`, and `related_results/<benchmark>.json`:
rows that tell about the recipe but were measured on other checkpoints, such as the folds of a cross-validation; and
`report/`, pages and pictures that `eval/report.py` wrote without recordings.
"""

import ast
import json
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import yaml
from safetensors import SafetensorError, safe_open

from antiphon.eval.conditions import file_sha256
from antiphon.eval.report_source import without_machine_paths
from antiphon.eval.result_rows import find_rows, read_row

WEIGHTS = "model.safetensors"
# Formats whose reader executes what the file says, or that commonly carry such a pickle.
PICKLE_SUFFIXES = (".bin", ".ckpt", ".joblib", ".npy", ".npz", ".pickle", ".pkl", ".pt", ".pth")
# Files of a checkpoint folder that are not for the world: the Trainer's pickled arguments, and a card that is replaced.
LEFT_OUT = ("training_args.bin", "README.md")
# What a report may bring along. Recordings of others are not ours to publish.
REPORT_SUFFIXES = (".html", ".md", ".svg", ".png", ".json", ".yaml")
ACCESS_TOKEN = re.compile(rb"\bhf_[A-Za-z0-9]{30,}\b")


class PublishError(Exception):
    """Something that must not or could not be published; the message is one sentence for the person who asked."""


@dataclass(frozen=True)
class TrainedRun:
    """A run folder that passed every check.

    Args:
        results: One row per benchmark, by file name without suffix, all of this checkpoint.
        related_results: Rows of other checkpoints.
        notes: What a person wrote about the run; may be empty.
    """

    folder: Path
    recipe: str
    environment: dict
    log_history: list[dict]
    training_data: list[dict]
    results: dict[str, dict]
    related_results: dict[str, dict]
    notes: str

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint"

    @property
    def config(self) -> dict:
        return json.loads((self.checkpoint / "config.json").read_text(encoding="utf-8"))

    @property
    def processor_config(self) -> dict:
        """Settings of the processor, or of the feature extractor where it stands alone; empty for a model without."""
        for name in ("processor_config.json", "preprocessor_config.json"):
            if (path := self.checkpoint / name).exists():
                return json.loads(path.read_text(encoding="utf-8"))
        return {}

    def report_files(self) -> list[Path]:
        """Pages and pictures about the run, relative to its folder."""
        return sorted(path.relative_to(self.folder) for path in self.folder.glob("report/**/*") if path.is_file())

    def checkpoint_files(self) -> list[Path]:
        """The files to publish, relative to the checkpoint folder."""
        files = (path.relative_to(self.checkpoint) for path in self.checkpoint.rglob("*") if path.is_file())
        return sorted(path for path in files if "__pycache__" not in path.parts and path.name not in LEFT_OUT)


def load_run(folder: Path) -> TrainedRun:
    """Read a run folder and check its weights, code and results.

    Raises:
        PublishError: if anything is missing, is not safetensors, would not load without Antiphon, or if a result was
            measured on another checkpoint.
    """
    if not (folder / "checkpoint").is_dir():
        raise PublishError(f"{folder} is not a run folder: it has no checkpoint/; pass the folder that training wrote")
    notes = folder / "notes.md"
    run = TrainedRun(
        folder=folder,
        recipe=without_machine_paths(_read(folder / "recipe.yaml")),
        environment=json.loads(without_machine_paths(json.dumps(read_json(folder / "environment.json")))),
        log_history=read_json(folder / "log_history.json"),
        training_data=read_json(folder / "training_data.json"),
        results=_read_rows(folder / "results"),
        related_results=_read_rows(folder / "related_results"),
        notes=notes.read_text(encoding="utf-8").strip() if notes.exists() else "",
    )
    try:
        yaml.safe_load(run.recipe)
    except yaml.YAMLError as error:
        raise PublishError(f"{folder / 'recipe.yaml'} is not YAML: {error}") from error
    _check_weights(run)
    _check_code(run)
    _check_training_data(run)
    _check_results(run)
    _check_report(run)
    return run


def read_json(path: Path):
    """Content of a JSON file.

    Raises:
        PublishError: if it is missing or is not JSON.
    """
    try:
        return json.loads(_read(path))
    except ValueError as error:
        raise PublishError(f"{path} is not JSON: {error}") from error


def _read(path: Path) -> str:
    if not path.is_file():
        raise PublishError(f"{path} is missing; pass the folder that training wrote")
    return path.read_text(encoding="utf-8")


def _read_rows(folder: Path) -> dict[str, dict]:
    try:
        return {path.stem: read_row(path) for path in find_rows([folder])}
    except ValueError as error:
        raise PublishError(str(error)) from error


def _check_weights(run: TrainedRun) -> None:
    for path in (run.checkpoint / WEIGHTS, run.checkpoint / "config.json"):
        if not path.is_file():
            raise PublishError(f"{path} is missing; save the model with `save_pretrained`")
    for name in run.checkpoint_files():
        path = run.checkpoint / name
        if path.suffix == ".safetensors":
            _check_safetensors(path)
        elif path.suffix.lower() in PICKLE_SUFFIXES or _holds_pickle(path):
            raise PublishError(f"{path} may hold a pickle, which runs code on loading; publish safetensors only")
        elif ACCESS_TOKEN.search(path.read_bytes()):
            raise PublishError(f"{path} holds an access token; remove it and revoke the token")


def _check_safetensors(path: Path) -> None:
    try:
        with safe_open(path, framework="numpy") as tensors:
            names = list(tensors.keys())
    except SafetensorError as error:
        raise PublishError(f"{path} is not a readable safetensors file ({error}); save the model again") from error
    if not names:
        raise PublishError(f"{path} holds no tensor; save the model again")


def _holds_pickle(path: Path) -> bool:
    """Whether a file is a pickle or a torch archive, whatever its name says."""
    with path.open("rb") as file:
        start = file.read(2)
    if start[:1] == b"\x80" and start[1:] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return True
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith(".pkl") for name in archive.namelist())


def _check_code(run: TrainedRun) -> None:
    """Custom code must be complete and must not need Antiphon: the checkpoint is loaded where that is not installed."""
    modules = {path.stem for path in run.checkpoint.glob("*.py")}
    for module in sorted(modules):
        path = run.checkpoint / f"{module}.py"
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except SyntaxError as error:
            raise PublishError(f"{path} is not valid Python ({error})") from error
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.level and node.module not in modules:
                raise PublishError(
                    f"{path} imports .{node.module or ''}, which is not in the checkpoint; save the model again"
                )
            imported = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            imported += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if any(name.split(".")[0] == "antiphon" for name in imported):
                raise PublishError(f"{path} imports antiphon; a checkpoint must load without it: use sibling imports")
    for path in sorted(run.checkpoint.glob("*.json")):
        content = read_json(path)
        for classes in (content.get("auto_map") or {}).values() if isinstance(content, dict) else ():
            for reference in [classes] if isinstance(classes, str) else filter(None, classes):
                if reference.split(".")[0] not in modules:
                    raise PublishError(f"{path} names {reference}, but its file is not beside it; save the model again")


def _check_report(run: TrainedRun) -> None:
    for name in run.report_files():
        path = run.folder / name
        if path.suffix not in REPORT_SUFFIXES:
            raise PublishError(
                f"{path} is none of {', '.join(REPORT_SUFFIXES)}; write the report anew with `--without-audio`"
            )
        content = path.read_bytes()
        if b"data:audio/" in content:
            raise PublishError(f"{path} holds recordings; write the report again with `--without-audio`")
        if ACCESS_TOKEN.search(content):
            raise PublishError(f"{path} holds an access token; remove it and revoke the token")


def _check_training_data(run: TrainedRun) -> None:
    path = run.folder / "training_data.json"
    if not isinstance(run.training_data, list) or not run.training_data:
        raise PublishError(f"{path} must list at least one corpus; a card says what a model was trained on")
    for corpus in run.training_data:
        if missing := [key for key in ("name", "license") if not corpus.get(key)]:
            raise PublishError(f"{path}: {corpus} lacks {', '.join(missing)}; a card says what a model was trained on")


def _check_results(run: TrainedRun) -> None:
    if not run.results:
        raise PublishError(f"{run.folder / 'results'} holds no result; evaluate the checkpoint before publishing it")
    digest = file_sha256(run.checkpoint / WEIGHTS)
    for name, row in run.results.items():
        path = run.folder / "results" / f"{name}.json"
        if not row["metrics"] or not row["baselines"]:
            raise PublishError(f"{path} has no metric or no baseline; evaluate the checkpoint again")
        if row["checkpoint_sha256"] != digest:
            raise PublishError(
                f"{path} was measured on another checkpoint ({row['checkpoint_sha256'][:12]}) than the one here "
                f"({digest[:12]}); evaluate this one, or move the row to related_results/"
            )
