"""Measure a vocoder on unseen speakers: PESQ, STOI and mel distance, beside Griffin-Lim from the same features.

    python eval/benchmark_vocoder.py runs/vocoder/checkpoint

writes `results/vocoder_unseen_speakers.json`, the result row, and every recording's measures, beside the checkpoint
folder. Speed is measured in the same run, also that of vocoders of transformers.
"""

import sys
from pathlib import Path

if not __package__ and not sys.flags.safe_path:
    # Run as a script, this folder's `statistics` would hide the standard library's.
    del sys.path[0]

import argparse
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from tqdm.auto import tqdm
from transformers import AutoFeatureExtractor, AutoModel

from antiphon.eval.conditions import describe_weights, machine_conditions, records_sha256
from antiphon.eval.griffin_lim import griffin_lim
from antiphon.eval.metric_loading import load_metric
from antiphon.eval.result_formats import format_difference, format_interval
from antiphon.eval.result_rows import read_row, write_row
from antiphon.eval.training_speakers import TRAINING_UNKNOWN, audit_speakers, speakers_of_training
from antiphon.eval.vocoder_scores import GROUP_BY, METRICS, TASK, WORST, summarize_items
from antiphon.eval.vocoder_speed import measure_speed
from antiphon.processing.corpora import decode
from antiphon.processing.corpora.voices import load_voices

CORPORA = ("mini_librispeech", "vctk_parallel")
LEVEL_DBFS = -27.0  # that every recording is brought to
RECORDINGS_PER_SPEAKER = 12  # the first by name, so that no speaker outweighs the others


def benchmark_vocoder(
    checkpoint: str | Path,
    test: Dataset,
    *,
    name: str,
    corpus: str,
    split: str,
    out: str | Path,
    known_speakers: Sequence[str] | None = None,
    speed_rounds: int = 5,
    seed: int = 0,
) -> dict:
    """Measure a checkpoint and its baselines on copies of recordings, and write its result row.

    Args:
        checkpoint: folder of a `VocoderModel` with its feature extractor.
        test: recordings, with the columns of `load_voices`.
        name: of the benchmark.
        corpus, split: what `test` is, for the row.
        out: folder for the row and the items.
        known_speakers: that the checkpoint was trained on; None if that is not known, which the row then says.
        speed_rounds: rounds of the comparison of speeds.
        seed: of the bootstrap and of the noise.

    Returns:
        The row, as written.

    Raises:
        ValueError: no recordings, or speakers that training knows.
    """
    speakers = sorted(set(test["speaker_id"]))
    if not speakers:
        raise ValueError("`test` is empty; expected recordings of speech.")
    audit = audit_speakers(known_speakers, speakers)
    model = AutoModel.from_pretrained(checkpoint, trust_remote_code=True).eval()
    extractor = AutoFeatureExtractor.from_pretrained(checkpoint, trust_remote_code=True)
    generator = np.random.default_rng(seed)
    systems = {
        "": lambda features: model(torch.from_numpy(features)[None]).waveform[0].numpy(),
        "griffin_lim_32.": lambda features: griffin_lim(
            features, extractor.sampling_rate, extractor.hop_length, extractor.win_length
        ),
        "white_noise.": lambda features: _white_noise(extractor.hop_length * (len(features) - 1), generator),
    }
    items, seconds = _measure_all(test, systems, extractor)
    audio_seconds = float(items["duration_seconds"].sum())
    row = {
        "benchmark": name,
        "task": TASK,
        "dataset": {
            "name": corpus,
            "license": ", ".join(sorted(set(test["license"]))),
            "split": split,
            "num_items": len(items),
            "num_speakers": len(speakers),
            "hours": audio_seconds / 3600,
        },
        **describe_weights(checkpoint),
        **summarize_items(items, seed=seed),
        "seeds": [],
        "conditions": {
            "corpus_sha256": records_sha256((row["file_name"], _audio_bytes(row["audio"])) for row in test),
            "item_ids_sha256": records_sha256(zip(items["item_id"])),
            "group_by": GROUP_BY,
            "sampling_rate": extractor.sampling_rate,
            "level_dbfs": LEVEL_DBFS,
            "judges": [],
            "audit": audit,
            "seed": seed,
            **machine_conditions(torch.device("cpu")),
        },
        "speed": {
            "real_time_factor": seconds[""] / audio_seconds,
            "griffin_lim_32": seconds["griffin_lim_32."] / audio_seconds,
            "audio_seconds": audio_seconds,
            "beside": measure_speed(model, extractor, speed_rounds),
        },
    }
    if audit is None:
        row["claims"].append(TRAINING_UNKNOWN)
    return read_row(write_row(row, items, out))


def _measure_all(
    test: Dataset, systems: Mapping[str, Callable[[np.ndarray], np.ndarray]], extractor
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Copy every recording by every system: the item table, and the seconds that each system took."""
    metric, lines = load_metric("waveform_quality"), []
    seconds = dict.fromkeys(systems, 0.0)
    for row in tqdm(test, desc="recordings"):
        waveform, sampling_rate = decode(row, extractor.sampling_rate)
        waveform = waveform * 10 ** (LEVEL_DBFS / 20) / np.sqrt(np.mean(np.square(waveform, dtype=np.float64)))
        features = extractor(waveform, sampling_rate=sampling_rate, return_tensors="np")["input_features"][0]
        line = {"item_id": row["file_name"], "speaker_id": row["speaker_id"], "corpus": row["corpus"]}
        line["duration_seconds"] = len(waveform) / sampling_rate
        for prefix, system in systems.items():
            start = time.perf_counter()
            with torch.inference_mode():
                made = system(features)
            seconds[prefix] += time.perf_counter() - start
            # Silence, or numbers that are not finite: a result, not the end of the hours.
            if failed := not (made.any() and np.isfinite(made).all()):
                measured = WORST
            else:
                measured = metric.compute(
                    predictions=[made], references=[waveform[: len(made)]], sampling_rate=sampling_rate
                )
            line |= {prefix + name: measured[name] for name in METRICS} | {f"{prefix}failed": failed}
        lines.append(line)
    return pd.DataFrame(lines), seconds


def _white_noise(samples: int, generator: np.random.Generator) -> np.ndarray:
    return (10 ** (LEVEL_DBFS / 20) * generator.standard_normal(samples)).astype(np.float32)


def _audio_bytes(audio: Mapping) -> bytes:
    return audio["bytes"] if audio["bytes"] is not None else Path(audio["path"]).read_bytes()


def first_of_each_speaker(recordings: Dataset, number: int) -> Dataset:
    """The first recordings of each speaker by name, in the given order."""
    table = recordings.select_columns(["speaker_id", "file_name"]).to_pandas()
    rank = table.groupby("speaker_id")["file_name"].rank(method="first")
    return recordings.select(np.flatnonzero(rank <= number))


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="folder of the checkpoint")
    parser.add_argument("--side", default="test", choices=["test", "validation"], help="validation: to choose a model")
    parser.add_argument("--corpora", nargs="+", default=list(CORPORA), help="of the stored voice lists")
    parser.add_argument("--per-speaker", type=int, default=RECORDINGS_PER_SPEAKER, help="recordings of each speaker")
    parser.add_argument("--name", help="name of the benchmark; vocoder_unseen_speakers if left out")
    parser.add_argument("--out", type=Path, help="folder for the results; `results` beside the checkpoint if left out")
    parser.add_argument("--seed", type=int, default=0, help="seed of the bootstrap and of the noise")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Load the stored side, measure the checkpoint, print the row's figures."""
    options = parse_arguments(arguments)
    row = benchmark_vocoder(
        options.checkpoint,
        first_of_each_speaker(load_voices(options.side, options.corpora), options.per_speaker),
        name=options.name or "vocoder_unseen_speakers",
        corpus=" + ".join(options.corpora),
        split=f"{options.side}, up to {options.per_speaker} of each speaker",
        out=options.out or options.checkpoint.parent / "results",
        known_speakers=speakers_of_training(options.checkpoint),
        seed=options.seed,
    )
    print(format_row(row))


def format_row(row: dict) -> str:
    """Return the figures of a row as lines of text: metrics, baselines, speed, claims."""
    dataset, speed = row["dataset"], row["speed"]
    lines = [f"{row['benchmark']}: {dataset['num_items']} recordings, {dataset['num_speakers']} speakers"]
    for metric, entry in row["metrics"].items():
        lines.append(f"  {metric:<13}{format_interval(entry)}")
        for name, baseline in row["baselines"].items():
            difference = format_difference(baseline["difference"][metric], entry["unit"])
            lines.append(f"    {name:<16}{format_interval(baseline['metrics'][metric])}; system minus it {difference}")
    lines.append(f"  real-time factor {speed['real_time_factor']:.4f}, Griffin-Lim {speed['griffin_lim_32']:.4f}")
    for name, entry in speed["beside"].items():
        lines.append(
            f"    {name:<16}{entry['real_time_factor']:.4f} on {row['conditions']['hardware']}, "
            f"{entry['parameters']:,} parameters"
        )
    return "\n".join([*lines, *(f"  {claim}" for claim in row["claims"])])


if __name__ == "__main__":
    main()
