"""Time several things fairly beside one another, and read how much memory a process has taken."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

PAUSE_SECONDS = 0.3


def interleaved(tasks: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Runs every task once per round, after one round that does not count, and returns its seconds per round."""
    seconds = {name: [] for name in tasks}
    for count in range(rounds + 1):
        for name, task in tasks.items():
            # The thread pools of one library spin for a while after its work, on the cores that the next task needs.
            time.sleep(PAUSE_SECONDS)
            start = time.perf_counter()
            task()
            if count:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def summarize(seconds: dict[str, list[float]], ours: str) -> dict[str, dict]:
    """Returns for each task its median seconds and, but for ours, how many times as long as ours it takes."""
    rows = {}
    for name, times in seconds.items():
        rows[name] = {"seconds": statistics.median(times)}
        if name != ours:
            rows[name]["ratio"] = statistics.median(theirs / own for theirs, own in zip(times, seconds[ours]))
    return rows


def resident_bytes(field: str) -> int:
    """Reads a field of /proc/self/status, which is in KiB."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{field}:")]
    return 1024 * int(line.split()[1])
