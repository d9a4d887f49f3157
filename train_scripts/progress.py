"""How far a training is, for whoever watches it from another process."""

import json
import time
from pathlib import Path

from transformers import TrainerCallback

from .run_folder import write_json

FILE = "progress.json"


class ProgressFile(TrainerCallback):
    """Writes the step, the number of steps and the speed of a training into its run folder.

    Args:
        folder: The run folder.
        every_seconds: Least time between two writings.
    """

    def __init__(self, folder: Path, every_seconds: float = 2.0):
        self.path = folder / FILE
        self.every_seconds = every_seconds
        self.first = self.last = None

    def on_train_begin(self, args, state, control, **kwargs):
        self.first = self.last = (time.monotonic(), state.global_step)

    def on_step_end(self, args, state, control, **kwargs):
        now = time.monotonic()
        done = state.global_step == state.max_steps
        if not state.is_world_process_zero or (now - self.last[0] < self.every_seconds and not done):
            return
        self.last = (now, state.global_step)
        steps_per_second = (state.global_step - self.first[1]) / max(now - self.first[0], 1e-9)
        write_json(
            self.path,
            {"step": state.global_step, "max_steps": state.max_steps, "steps_per_second": round(steps_per_second, 3)},
        )


def trained_share(folder: Path) -> float:
    """Share of a run's steps that are done, 0 to 1; 0 for a run that has not begun."""
    try:
        progress = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return 0.0
    return progress["step"] / progress["max_steps"]
