"""Which checkpoint to use: those that lie in this project, a folder, or a Hub repository."""

import hashlib
import json
from pathlib import Path

from huggingface_hub import snapshot_download

WEIGHTS = "model.safetensors"
# A run is published to `hub`, with the same weights as in `checkpoint`.
RUN_PARTS = ("hub", "checkpoint")
# What loading, scores and examples need; never a pickle, as exported .pt2 files may hold.
HUB_PATTERNS = ["*.json", "*.py", "*.safetensors", "*.onnx", "*.arpa", "samples/*.wav"]
ORIGINAL = "original"
EXPORT_REPORT = "export.json"


class CheckpointError(ValueError):
    """No usable checkpoint; the message is one sentence for whoever starts the Space."""


def choose_checkpoints(reference: str | None, roots: list[Path]) -> dict[str, Path]:
    """Collects the checkpoints to offer, the preferred one first.

    Args:
        reference: Folder or Hub id that was asked for; None prefers the newest one found.
        roots: Project folders to search.

    Returns:
        Folders by the name to show.

    Raises:
        CheckpointError: There is none, or `reference` cannot be had.
    """
    found = find_checkpoints(roots)
    if reference:
        folder = resolve_checkpoint(reference)
        return {reference: folder} | {name: other for name, other in found.items() if other != folder}
    if not found:
        raise CheckpointError(
            "No checkpoint was found in runs/ or model_cards/; make one with `make quickstart`, or name a folder or a "
            "Hub repository: `python app.py CHECKPOINT`, or in the variable ANTIPHON_CHECKPOINT."
        )
    return found


def find_checkpoints(roots: list[Path]) -> dict[str, Path]:
    """Finds recognisers in `runs/*/{hub,checkpoint}` and `model_cards/*`, newest first; of each run its newest one."""
    newest: dict[str, Path] = {}
    for root in roots:
        folders = [folder for part in RUN_PARTS for folder in root.glob(f"runs/*/{part}")]
        for folder in sorted([*folders, *root.glob("model_cards/*")]):
            if not _is_recogniser(folder):
                continue
            owner = folder.parent if folder.name in RUN_PARTS else folder
            name = owner.relative_to(root).as_posix()
            if name not in newest or _modified(folder) > _modified(newest[name]):
                newest[name] = folder.resolve()
    return dict(sorted(newest.items(), key=lambda item: _modified(item[1]), reverse=True))


def resolve_checkpoint(reference: str) -> Path:
    """The folder of a checkpoint, fetched from the Hub if `reference` is no folder here.

    Raises:
        CheckpointError: There is neither such a folder with weights nor such a repository.
    """
    folder = Path(reference).expanduser()
    if not folder.is_dir():
        try:
            folder = Path(snapshot_download(reference, allow_patterns=HUB_PATTERNS))
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:300]
            raise CheckpointError(
                f"{reference!r} is no folder here and cannot be fetched from the Hub either: {reason}"
            ) from error
    if not (folder / WEIGHTS).is_file():
        raise CheckpointError(f"{reference!r} holds no {WEIGHTS}; name the folder that `save_pretrained` wrote.")
    return folder.resolve()


def find_formats(folder: Path, exported: Path | None = None) -> dict[str, Path]:
    """The ways to run a checkpoint: its own weights first, then what was exported from exactly these.

    Args:
        folder: Of the checkpoint.
        exported: Folder that `train_scripts/export.py` wrote; by default `exported` in the checkpoint or its run.

    Returns:
        Folders by the name of the format.
    """
    found = {}
    digest = weights_sha256(folder)
    for report in sorted((exported or _beside(folder, "exported")).glob(f"*/{EXPORT_REPORT}")):
        try:
            original = json.loads(report.read_text(encoding="utf-8"))["conditions"]["checkpoint_sha256"]
        except (OSError, ValueError, KeyError, TypeError):
            continue  # written by something else
        # What has no graph and no weights was fetched from the Hub without them.
        if original == digest and any(report.parent.glob("model.*")):
            found[report.parent.name] = report.parent.resolve()
    return {ORIGINAL: folder} | found


def weights_sha256(folder: Path) -> str:
    """Digest of a checkpoint's weights, by which results and exports say what they belong to."""
    with (folder / WEIGHTS).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find_examples(folder: Path) -> list[Path]:
    """The recordings in `samples`, in the checkpoint or in the run around it."""
    return sorted(_beside(folder, "samples").glob("*.wav"))


def find_results(folder: Path) -> list[Path]:
    """The result rows in `results`, in the checkpoint or in the run around it."""
    return sorted(_beside(folder, "results").glob("*.json"))


def _beside(folder: Path, name: str) -> Path:
    is_in_run = folder.name in RUN_PARTS and not (folder / name).is_dir()
    return folder.parent / name if is_in_run else folder / name


def _is_recogniser(folder: Path) -> bool:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return (folder / WEIGHTS).is_file() and "AutoModelForCTC" in config.get("auto_map", {})


def _modified(folder: Path) -> float:
    return (folder / WEIGHTS).stat().st_mtime
