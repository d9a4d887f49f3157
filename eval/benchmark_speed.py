"""Measure the speed of features and of training steps beside the peers in transformers and librosa.

    python eval/benchmark_speed.py            # about five minutes on two CPU cores
    python eval/benchmark_speed.py --quick    # a smoke test of half a minute, too short to quote

prints Markdown tables and writes `runs/benchmark_speed.json`. The contestants take turns within one process, so that
whatever else the machine does meets all of them alike; a time is the median over the rounds. A ratio is the median of
the ratios within each round.
"""

import sys
from pathlib import Path

if not __package__ and not sys.flags.safe_path:
    # Run as a script, this folder's `statistics` would hide the standard library's.
    del sys.path[0]

import argparse
import json
import subprocess
from collections.abc import Callable

import librosa
import numpy as np
import torch
from transformers import WhisperFeatureExtractor
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from antiphon.eval.conditions import hardware_name, package_versions
from antiphon.eval.peer_models import PEERS
from antiphon.eval.speed_rounds import interleaved, resident_bytes, summarize
from antiphon.modeling import ConformerConfig, ConformerForCTC
from antiphon.processing import LogMelFeatureExtractor

SAMPLING_RATE, N_FFT, HOP_LENGTH, NUM_MEL_BINS = 16_000, 400, 160, 80
VOCAB_SIZE, HIDDEN_SIZE, INTERMEDIATE_SIZE, NUM_LAYERS, NUM_HEADS = 32, 144, 576, 8, 4
CONV_KERNEL_SIZE, SUBSAMPLING_FACTOR, SUBSAMPLING_CHANNELS = 15, 4, 64
BATCH_SIZE, FRAMES, LABELS = 16, 800, 40

FEATURE_TARGETS = {"transformers spectrogram": 5.0, "WhisperFeatureExtractor": 3.0, "librosa": 1.5}
STEP_TARGET = 1.3


def speech_like(seconds: float, generator: np.random.Generator) -> np.ndarray:
    """A harmonic tone that wanders and pauses, in noise: (samples,) float32 in [-1, 1]."""
    time_axis = np.arange(int(seconds * SAMPLING_RATE)) / SAMPLING_RATE
    phase = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 0.7 * time_axis)) / SAMPLING_RATE
    voice = sum(np.sin(harmonic * phase) / harmonic for harmonic in range(1, 20))
    loudness = np.clip(np.sin(2 * np.pi * 2.3 * time_axis), 0, None)
    noise = generator.standard_normal(len(time_axis))
    return (0.1 * voice * loudness + 0.003 * noise).astype(np.float32)


def measure_features(rounds: int, num_clips: int = 8, clip_seconds: float = 60.0) -> dict[str, dict]:
    """Times log-mel features of a batch, ours normalised and padded too, which only Whisper's peer does as well."""
    generator = np.random.default_rng(0)
    clips = [speech_like(clip_seconds, generator) for _ in range(num_clips)]
    ours = LogMelFeatureExtractor(NUM_MEL_BINS, SAMPLING_RATE, HOP_LENGTH, win_length=N_FFT, n_fft=N_FFT)
    whisper = WhisperFeatureExtractor(NUM_MEL_BINS, SAMPLING_RATE, HOP_LENGTH, n_fft=N_FFT)
    filters = mel_filter_bank(
        1 + N_FFT // 2, NUM_MEL_BINS, 0.0, SAMPLING_RATE / 2, SAMPLING_RATE, norm="slaney", mel_scale="slaney"
    )
    window = window_function(N_FFT, "hann")
    mel = {"sr": SAMPLING_RATE, "n_fft": N_FFT, "hop_length": HOP_LENGTH, "n_mels": NUM_MEL_BINS}
    tasks = {
        "LogMelFeatureExtractor": lambda: ours(clips, sampling_rate=SAMPLING_RATE, return_tensors="pt"),
        "transformers spectrogram": lambda: [
            spectrogram(clip, window, N_FFT, HOP_LENGTH, power=2.0, mel_filters=filters, mel_floor=1e-8, log_mel="log")
            for clip in clips
        ],
        "WhisperFeatureExtractor": lambda: whisper(
            clips, sampling_rate=SAMPLING_RATE, truncation=False, padding="longest", return_tensors="pt"
        ),
        "librosa": lambda: [np.log(np.maximum(librosa.feature.melspectrogram(y=clip, **mel), 1e-8)) for clip in clips],
    }
    return summarize(interleaved(tasks, rounds), "LogMelFeatureExtractor")


def conformer_config(dropout: float) -> ConformerConfig:
    """Ours, its dropout after every module, inside the feed-forward modules and on the attention weights."""
    return ConformerConfig(
        vocab_size=VOCAB_SIZE,
        num_mel_bins=NUM_MEL_BINS,
        hidden_size=HIDDEN_SIZE,
        intermediate_size=INTERMEDIATE_SIZE,
        num_hidden_layers=NUM_LAYERS,
        num_attention_heads=NUM_HEADS,
        conv_kernel_size=CONV_KERNEL_SIZE,
        subsampling_factor=SUBSAMPLING_FACTOR,
        subsampling_channels=SUBSAMPLING_CHANNELS,
        hidden_dropout=dropout,
        activation_dropout=dropout,
        attention_dropout=dropout,
        num_time_masks=0,
        num_frequency_masks=0,
    )


MODELS = {"ConformerForCTC": ConformerForCTC, **PEERS}


def make_batch(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Sixteen utterances of 5 to 8 s, padded to 8 s, as features or samples, with the same labels for every model."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(2, VOCAB_SIZE, (BATCH_SIZE, LABELS), generator=generator)
    frames = torch.linspace(FRAMES, 5 * FRAMES // 8, BATCH_SIZE).long()
    if model.main_input_name == "input_features":
        inputs, lengths = torch.randn(BATCH_SIZE, FRAMES, NUM_MEL_BINS, generator=generator), frames
    else:
        # Its convolutions do not pad: these samples are what 200 frames need.
        inputs = torch.randn(BATCH_SIZE, FRAMES * HOP_LENGTH + 300, generator=generator)
        lengths = frames * HOP_LENGTH + 300
    mask = (torch.arange(inputs.shape[1]) < lengths[:, None]).long()
    inputs = inputs * mask.view(*mask.shape, *[1] * (inputs.ndim - 2))
    return {model.main_input_name: inputs, "attention_mask": mask, "labels": labels}


def make_step(name: str, dtype: str, dropout: float) -> tuple[torch.nn.Module, Callable[[], None]]:
    """Builds a model and returns it with its training step: forward, backward and AdamW."""
    torch.manual_seed(0)
    model = MODELS[name](conformer_config(dropout)).train()
    batch = make_batch(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step():
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == "bfloat16"):
            outputs = model(**batch)
        frames = outputs.logits.shape[1]
        if frames != FRAMES // SUBSAMPLING_FACTOR or not outputs.loss.isfinite():
            raise RuntimeError(f"{name} gave {frames} frames and a loss of {outputs.loss.item()}.")
        outputs.loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return model, step


def measure_memory(name: str, dtype: str, dropout: float) -> int:
    """Bytes by which two training steps raise the peak of this process, the model and its batch already there.

    The peak is Linux's VmHWM: unlike `ru_maxrss` it starts anew with a program and inherits nothing from its parent.
    """
    _, step = make_step(name, dtype, dropout)
    before = resident_bytes("VmRSS")
    step()
    step()
    return resident_bytes("VmHWM") - before


def measure_memory_apart(name: str, dtype: str, dropout: float) -> int:
    """Measures memory in a fresh process, since the peak of a process never falls again."""
    command = [sys.executable, __file__, "--memory-of", name, "--dtype", dtype, "--dropout", str(dropout)]
    command += ["--threads", str(torch.get_num_threads())]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(result.stdout.split()[-1])


def measure_steps(rounds: int, dtype: str, dropout: float) -> dict[str, dict]:
    """Times a training step of each model and measures its memory."""
    models, steps = {}, {}
    for name in MODELS:
        models[name], steps[name] = make_step(name, dtype, dropout)
    rows = summarize(interleaved(steps, rounds), "ConformerForCTC")
    for name, row in rows.items():
        row["parameters"] = sum(parameter.numel() for parameter in models[name].parameters())
        row["peak_bytes"] = measure_memory_apart(name, dtype, dropout)
    return rows


def verdict(met: bool) -> str:
    return "met" if met else "NOT MET"


def print_features(rows: dict[str, dict]):
    """Prints the table of features."""
    print("\n| features of 8 clips | seconds | ratio to ours | target |\n| --- | ---: | ---: | --- |")
    for name, row in rows.items():
        if "ratio" not in row:
            print(f"| {name} | {row['seconds']:.3f} | | |")
            continue
        target = FEATURE_TARGETS[name]
        print(f"| {name} | {row['seconds']:.3f} | {row['ratio']:.2f} | {target} {verdict(row['ratio'] >= target)} |")


def print_steps(title: str, rows: dict[str, dict]):
    """Prints the table of one setting of the training step, and what came of the two targets."""
    print(f"\n| training step, {title} | seconds | ratio to ours | parameters | peak MiB |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, row in rows.items():
        ratio = f"{row['ratio']:.2f}" if "ratio" in row else ""
        parameters, mebibytes = row["parameters"], row["peak_bytes"] / 2**20
        print(f"| {name} | {row['seconds']:.3f} | {ratio} | {parameters:,} | {mebibytes:.0f} |")
    peers = [row for row in rows.values() if "ratio" in row]
    fastest = min(peers, key=lambda row: row["ratio"])
    lowest = min(row["peak_bytes"] for row in peers)
    ours = next(row for row in rows.values() if "ratio" not in row)
    print(
        f"\nAt least {STEP_TARGET} times as fast as the faster peer: {verdict(fastest['ratio'] >= STEP_TARGET)} "
        f"({fastest['ratio']:.2f}). Peak memory no higher than the lower peer's: "
        f"{verdict(ours['peak_bytes'] <= lowest)}."
    )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="counted runs of every contestant")
    parser.add_argument("--threads", type=int, help="of torch; 1 is the least disturbed by other work on the machine")
    parser.add_argument("--quick", action="store_true", help="one round, short clips, one setting of the step")
    parser.add_argument("--only", choices=["features", "steps"], help="measure one part")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark_speed.json"))
    parser.add_argument("--memory-of", choices=MODELS, help="print the peak memory of one model in bytes and stop")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32", help="for --memory-of")
    parser.add_argument("--dropout", type=float, default=0.0, help="for --memory-of")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.memory_of:
        print(measure_memory(arguments.memory_of, arguments.dtype, arguments.dropout))
        return
    rounds = 1 if arguments.quick else arguments.rounds
    conditions = {"packages": package_versions(), "hardware": hardware_name(torch.device("cpu")), "rounds": rounds}
    result = {"conditions": conditions}
    if arguments.only != "steps":
        result["features"] = measure_features(rounds, clip_seconds=5.0 if arguments.quick else 60.0)
        print_features(result["features"])
    if arguments.only != "features":
        result["steps"] = {}
        settings = [(dtype, dropout) for dropout in (0.0, 0.1) for dtype in ("float32", "bfloat16")]
        for dtype, dropout in settings[:1] if arguments.quick else settings:
            title = f"{dtype}, dropout {dropout}"
            result["steps"][title] = measure_steps(rounds, dtype, dropout)
            print_steps(title, result["steps"][title])
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    print(f"\n{conditions['hardware']}, {rounds} rounds. Written to {arguments.out}.")


if __name__ == "__main__":
    main()
