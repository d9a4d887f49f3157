"""What a run leaves behind: its recipe, its environment, its log, its checkpoint."""

import importlib.metadata
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import torch
import yaml

from antiphon.eval.conditions import hardware_name
from antiphon.eval.result_rows import write_atomically

from .recipes import RecipeError


class RunFolder:
    """A folder that holds one training.

    ```
    recipe.yaml        the recipe as it was resolved
    environment.json   packages, commit, hardware, command
    training_data.json the corpora, their licences and extent
    manifests/         of a recogniser: which rows it trained and validated on, and which were dropped
    log_history.json   what the Trainer logged
    checkpoint/        model, processor and their code, ready for `from_pretrained`
    trainer/           the Trainer's own checkpoints, to resume from
    weights/           weights of the best and the last evaluations, and `selection.json`: what averaging them gave
    results/           rows that a benchmark wrote
    samples/           pictures and sounds
    hub/               the Hub repository that `publish.py` wrote
    ```

    Args:
        path: Where the run lives; made if absent.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.checkpoint = self.path / "checkpoint"
        self.trainer = self.path / "trainer"
        self.results = self.path / "results"
        self.samples = self.path / "samples"
        self.weights = self.path / "weights"

    def open(self, recipe: dict) -> None:
        """Writes recipe and environment, or checks that a run to be resumed used the same recipe.

        Raises:
            RecipeError: if the folder holds a run of another recipe.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        file = self.path / "recipe.yaml"
        if file.is_file() and self.recipe != json.loads(json.dumps(recipe)):
            raise RecipeError(
                f"`run.folder` {self.path} holds a run of another recipe; choose another folder, or delete it."
            )
        write_text(file, yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True))
        if not self.is_trained:  # measured again later, a run was still trained with what it was trained with
            write_json(self.path / "environment.json", describe_environment())

    @property
    def recipe(self) -> dict:
        """The resolved recipe of the run."""
        return yaml.safe_load((self.path / "recipe.yaml").read_text(encoding="utf-8"))

    @property
    def is_trained(self) -> bool:
        """Whether training came to its end: the log is the last thing that it writes."""
        return (self.path / "log_history.json").is_file()

    def last_trainer_checkpoint(self) -> str | None:
        """The newest complete checkpoint of the Trainer; one that a kill left half-written is passed over."""
        candidates = sorted(self.trainer.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
        complete = [path for path in candidates if _is_json(path / "trainer_state.json")]
        return str(complete[-1]) if complete else None


def _is_json(file: Path) -> bool:
    """Whether a file is there and whole. The Trainer writes its state last, after the weights and the optimiser."""
    try:
        json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return False
    return True


def describe_environment() -> dict:
    """Packages, commit, hardware and command of this process."""
    folder = Path(__file__).parent
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=False)
    changes = subprocess.run(["git", "status", "--porcelain"], cwd=folder, capture_output=True, text=True, check=False)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    packages = {item.metadata["Name"]: item.version for item in importlib.metadata.distributions()}
    return {
        "date": time.strftime("%Y-%m-%d"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "git_commit": commit.stdout.strip() or None,
        "git_changes": bool(changes.stdout.strip()),
        "hardware": hardware_name(device),
        "cpu_count": os.cpu_count(),
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
        "python": sys.version.split()[0],
        "packages": dict(sorted(packages.items())),
    }


def write_text(path: Path, text: str) -> None:
    """Writes a file at once or not at all."""
    write_atomically(path, lambda file: file.write(text.encode()))


def write_json(path: Path, value) -> None:
    """Writes JSON at once or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
