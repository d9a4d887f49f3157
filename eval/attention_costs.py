"""What each kind of positions and each implementation of attention costs: time, memory, and how far outputs differ.

Run as a script it measures the memory of one forward pass in a process of its own and prints it; the benchmark of
attention calls it so.
"""

import sys
from pathlib import Path

if not __package__ and not sys.flags.safe_path:
    # Run as a script, this folder's `statistics` would hide the standard library's.
    del sys.path[0]

import argparse
import json
import statistics
import subprocess
import time
from collections.abc import Sequence

import torch

from antiphon.modeling import ConformerConfig, ConformerForCTC

KINDS = ("rotary", "relative", "absolute")
IMPLEMENTATIONS = ("eager", "sdpa")
MEBIBYTE = 2**20
# The size of conformer-an4; what is measured does not depend on what the weights learnt.
SIZE = {
    "vocab_size": 32, "num_mel_bins": 48, "hidden_size": 144, "intermediate_size": 384, "num_hidden_layers": 4,
    "num_attention_heads": 4, "subsampling_channels": 24, "frequency_mask_bins": 8,
}  # fmt: skip


def make_model(kind: str, implementation: str, seed: int = 0) -> ConformerForCTC:
    """A recogniser with random weights, the same for both implementations."""
    torch.manual_seed(seed)
    model = ConformerForCTC(ConformerConfig(**SIZE, position_embeddings_type=kind)).eval()
    model.set_attn_implementation(implementation)
    return model


def make_features(frames: int) -> torch.Tensor:
    """(1, frames, mel bins), always the same."""
    return torch.randn(1, frames, SIZE["num_mel_bins"], generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
def measure_speed(frames: int, rounds: int, kinds: Sequence[str] = KINDS) -> dict[tuple[str, str], float]:
    """Median seconds of a forward pass, by kind and implementation, which take turns within each round."""
    models = {(kind, name): make_model(kind, name) for kind in kinds for name in IMPLEMENTATIONS}
    features = make_features(frames)
    seconds = {key: [] for key in models}
    for count in range(rounds + 1):  # the first round does not count
        for key, model in models.items():
            start = time.perf_counter()
            model(features)
            if count:
                seconds[key].append(time.perf_counter() - start)
    return {key: statistics.median(times) for key, times in seconds.items()}


@torch.inference_mode()
def measure_difference(frames: int, kind: str) -> float:
    """Largest difference of a logit between eager and SDPA, as a share of the logits' standard deviation."""
    eager, sdpa = (make_model(kind, name)(make_features(frames)).logits for name in IMPLEMENTATIONS)
    return float((eager - sdpa).abs().max() / eager.std())


def measure_memory(frames: int, kind: str, implementation: str) -> float:
    """Most MiB that a forward pass needs beyond the loaded model, in a process of its own."""
    command = [sys.executable, __file__, "--frames", str(frames), "--kind", kind, "--implementation", implementation]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])["mebibytes"]


@torch.inference_mode()
def _peak_of_one_pass(frames: int, kind: str, implementation: str) -> float:
    model = make_model(kind, implementation)
    model(make_features(100))  # what the first call sets up is no cost of attention
    features = make_features(frames)
    # Linux: 5 sets the high-water mark back to what is resident now.
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _status("VmRSS")
    model(features)
    return (_status("VmHWM") - before) / MEBIBYTE


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, required=True, help="feature frames")
    parser.add_argument("--kind", choices=KINDS, required=True)
    parser.add_argument("--implementation", choices=IMPLEMENTATIONS, required=True)
    options = parser.parse_args(arguments)
    print(json.dumps({"mebibytes": _peak_of_one_pass(options.frames, options.kind, options.implementation)}))


if __name__ == "__main__":
    main()
