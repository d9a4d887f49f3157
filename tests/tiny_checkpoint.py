"""A tiny run folder: a Conformer with random weights and everything that training and evaluation leave beside it."""

import hashlib
import json
from pathlib import Path

import numpy as np
import soundfile
import torch

from antiphon.modeling import ConformerConfig, ConformerForCTC
from antiphon.processing import CharacterTokenizer, ConformerProcessor, LogMelFeatureExtractor

SAMPLING_RATE = 8000


def write_checkpoint(folder: Path, seed: int = 0) -> tuple[ConformerForCTC, ConformerProcessor]:
    """Save a random Conformer of about 100k parameters with its processor; the same seed gives the same bytes."""
    extractor = LogMelFeatureExtractor(
        feature_size=40, sampling_rate=SAMPLING_RATE, hop_length=80, win_length=200, n_fft=256
    )
    tokenizer = CharacterTokenizer.from_corpus(["zero one two three four five six seven eight nine"])
    processor = ConformerProcessor(extractor, tokenizer)
    torch.manual_seed(seed)
    config = ConformerConfig(
        vocab_size=len(tokenizer), num_mel_bins=40, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, subsampling_channels=16, frequency_mask_bins=8,
    )  # fmt: skip
    model = ConformerForCTC(config).eval()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return model, processor


def write_speech(path: Path, seconds: float = 1.5) -> np.ndarray:
    """Write something that is no silence as a WAV file and return its samples."""
    generator = np.random.default_rng(1)
    time = np.arange(int(seconds * SAMPLING_RATE)) / SAMPLING_RATE
    waveform = 0.3 * np.sin(2 * np.pi * (200 + 900 * time) * time) + 0.05 * generator.standard_normal(len(time))
    soundfile.write(path, waveform, SAMPLING_RATE, subtype="FLOAT")
    return waveform.astype(np.float32)


def result_row(checkpoint: Path, benchmark: str = "digits_test") -> dict:
    """A row as a benchmark writes it, measured (by assertion) on the checkpoint."""
    metrics = {
        "wer": _metric(0.125, 0.05, 0.25, higher_is_better=False),
        "accuracy": _metric(0.875, 0.75, 0.95, higher_is_better=True),
    }
    constant = {"wer": _metric(0.9, 0.85, 0.95, False), "accuracy": _metric(0.1, 0.05, 0.15, True)}
    return {
        "benchmark": benchmark,
        "task": "automatic-speech-recognition",
        "dataset": {
            "name": "digits", "license": "CC-BY-4.0", "split": "test",
            "num_items": 40, "num_speakers": 2, "hours": 0.01,
        },
        "checkpoint_sha256": hashlib.sha256((checkpoint / "model.safetensors").read_bytes()).hexdigest(),
        "model": {"parameters": 100_000, "bytes": (checkpoint / "model.safetensors").stat().st_size},
        "metrics": metrics,
        "groups": {
            "anna": {"wer": 0.0, "accuracy": 1.0, "n": 20},
            "ben": {"wer": 0.25, "accuracy": 0.75, "n": 20},
        },
        "baselines": {
            "best_constant_transcript": {
                "description": "the transcript 'zero' for everything",
                "metrics": constant,
                "difference": {"wer": {"value": -0.775, "low": -0.8, "high": -0.7, "p_value": 0.5}},
                "beaten": False,
            }
        },
        "claims": ["cannot tell about a population from 2 speakers", "NOT BETTER THAN HEARING NOTHING"],
        "conditions": {
            "group_by": "speaker_id", "sampling_rate": SAMPLING_RATE, "decoding": "greedy", "date": "2025-02-03",
            "hardware": "a test machine", "split_sha256": "0" * 64, "packages": {"torch": "2.13.0"},
        },
        "speed": {"real_time_factor": 0.0123, "audio_seconds": 36.0},
    }  # fmt: skip


def write_run(folder: Path, seed: int = 0) -> Path:
    """Write a complete run folder that may be published."""
    checkpoint = folder / "checkpoint"
    write_checkpoint(checkpoint, seed)
    (checkpoint / "training_args.bin").write_bytes(b"\x80\x04K\x01.")  # the Trainer leaves its arguments there, pickled
    (folder / "recipe.yaml").write_text("data:\n  train:\n  - name: digits\ntraining:\n  learning_rate: 0.001\n")
    _write_json(folder / "environment.json", {"hardware": "a test machine, 2 threads", "packages": {"torch": "2.13.0"}})
    log = [
        {"step": 10, "epoch": 1.0, "loss": 3.0},
        {"step": 10, "epoch": 1.0, "eval_wer": 0.5},
        {"step": 20, "epoch": 2.0, "eval_wer": 0.125},
        {"step": 20, "epoch": 2.0, "train_runtime": 12.0, "train_loss": 2.0},
    ]
    _write_json(folder / "log_history.json", log)
    corpus = {
        "name": "digits",
        "license": "CC-BY-4.0",
        "split": "train",
        "num_items": 100,
        "num_speakers": 5,
        "hours": 0.02,
    }
    _write_json(folder / "training_data.json", [corpus])
    write_row(folder, result_row(checkpoint))
    return folder


def write_row(run: Path, row: dict) -> None:
    """Write a row into a run folder."""
    (run / "results").mkdir(exist_ok=True)
    _write_json(run / "results" / f"{row['benchmark']}.json", row)


def _metric(value: float, low: float, high: float, higher_is_better: bool) -> dict:
    interval = {"value": value, "low": low, "high": high, "unit": "ratio", "n": 40, "num_groups": 2}
    return {**interval, "higher_is_better": higher_is_better}


def _write_json(path: Path, content) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")
