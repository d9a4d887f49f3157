"""Measure a speaker encoder on stored trials: equal error rates with intervals, beside Resemblyzer and plain MFCC.

    python eval/benchmark_speaker_verification.py runs/speaker_encoder/checkpoint

writes, for each corpus, `results/speaker_verification_<corpus>.json`, the result row, and its trials with every
system's score, beside the checkpoint folder. `--side validation` is for choosing a model.
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
from transformers import AutoModel

from antiphon.eval.conditions import file_sha256, machine_conditions, records_sha256
from antiphon.eval.mfcc_statistics import MfccStatistics, standardize
from antiphon.eval.result_formats import format_difference, format_interval
from antiphon.eval.result_rows import read_row, write_row
from antiphon.eval.speaker_verification_scores import (
    GROUP_BY,
    SYSTEM,
    TASK,
    correct_for_comparisons,
    summarize_trials,
)
from antiphon.eval.statistics import MIN_GROUPS_FOR_POPULATION
from antiphon.eval.training_speakers import audit_speakers, speakers_of_training
from antiphon.eval.voice_judges import Judge, ResemblyzerJudge, SpeakerEncoderJudge, ask
from antiphon.processing.corpora import decode
from antiphon.processing.corpora.voices import load_speaker_trials, load_voices

SAMPLING_RATE = 16_000
CORPORA = ("mini_librispeech", "librispeech_speakers", "an4", "vctk_parallel", "emodb4")


def measure_speaker_verification(
    checkpoint: str | Path,
    trials: pd.DataFrame,
    voices: Dataset,
    *,
    name: str,
    corpus: str,
    split: str,
    resemblyzer: Judge | None = None,
    known_speakers: Sequence[str] | None = None,
    cache: str | Path | None = None,
    seed: int = 0,
) -> tuple[dict, pd.DataFrame]:
    """Measure a checkpoint on the trials of one corpus.

    Args:
        checkpoint: folder of a `SpeakerEncoderModel`.
        trials: as `load_speaker_trials` returns them.
        voices: recordings, with at least those of the trials.
        name: of the benchmark.
        corpus, split: what the trials are of, for the row.
        resemblyzer: judge to be measured on the same trials; left out if None.
        known_speakers: that the checkpoint was trained on; None if that is not known, which the row then says.
        cache: folder of what baselines compute; see `eval.caching`.
        seed: of the bootstrap.

    Returns:
        The row, corrected for the comparisons with its own baselines, and its trials with every system's score.

    Raises:
        ValueError: no trials, only same or only different ones, or speakers that training knows.
    """
    checkpoint = Path(checkpoint)
    names = sorted({*trials["file_1"], *trials["file_2"]})
    speakers = sorted({*trials["speaker_1"], *trials["speaker_2"]})
    audit = audit_speakers(known_speakers, speakers)
    place = {name: index for index, name in enumerate(voices["file_name"])}
    rows = [voices[place[name]] for name in names]
    waveforms = [decode(row, SAMPLING_RATE)[0] for row in rows]

    encoder, start = SpeakerEncoderJudge(checkpoint), time.perf_counter()
    vectors = {SYSTEM: [encoder(waveform)["embedding"] for waveform in waveforms]}
    processing_seconds = time.perf_counter() - start
    judges = {"mfcc_statistics": MfccStatistics(), **({"resemblyzer": resemblyzer} if resemblyzer else {})}
    for baseline, judge in judges.items():
        vectors[baseline] = [ask(judge, waveform, cache)["embedding"] for waveform in waveforms]
    vectors["mfcc_statistics"] = standardize(np.array(vectors["mfcc_statistics"]))

    items = _tabulate(trials, names, vectors)
    audio_seconds = sum(map(len, waveforms)) / SAMPLING_RATE
    weights = checkpoint / "model.safetensors"
    row = {
        "benchmark": name,
        "task": TASK,
        "dataset": {
            "name": corpus,
            "license": ", ".join(sorted({row["license"] for row in rows})),
            "split": split,
            "num_items": len(items),
            "num_recordings": len(names),
            "num_speakers": len(speakers),
            "hours": audio_seconds / 3600,
        },
        "checkpoint_sha256": file_sha256(weights),
        "model": {"parameters": _num_parameters(checkpoint), "bytes": weights.stat().st_size},
        **summarize_trials(items, is_training_known=known_speakers is not None, seed=seed),
        "seeds": [],
        "conditions": {
            "corpus_sha256": records_sha256((row["file_name"], _audio_bytes(row["audio"])) for row in rows),
            "split_sha256": records_sha256(zip(items["item_id"], items["is_same"].astype(str))),
            "item_ids_sha256": records_sha256(zip(items["item_id"])),
            "group_by": GROUP_BY,
            "sampling_rate": SAMPLING_RATE,
            "score": "cosine of the embeddings of whole recordings",
            "judges": [judge.name for judge in judges.values()],
            "audit": audit,
            "seed": seed,
            **machine_conditions(torch.device("cpu")),
        },
        "speed": {"real_time_factor": processing_seconds / audio_seconds, "audio_seconds": audio_seconds},
    }
    return row, items


def _tabulate(trials: pd.DataFrame, names: Sequence[str], vectors: Mapping[str, Sequence]) -> pd.DataFrame:
    """One row a trial, with the cosine of every system."""
    place = {name: index for index, name in enumerate(names)}
    first, second = (trials[column].map(place).to_numpy() for column in ("file_1", "file_2"))
    items = trials.drop(columns="corpus").assign(item_id=trials["file_1"] + " " + trials["file_2"])
    for system, listed in vectors.items():
        matrix = np.array(listed, dtype=np.float64)
        matrix /= np.linalg.norm(matrix, axis=1, keepdims=True).clip(min=1e-12)
        items[SYSTEM if system == SYSTEM else f"{system}.{SYSTEM}"] = (matrix[first] * matrix[second]).sum(axis=1)
    items[f"constant_score.{SYSTEM}"] = 0.0
    return items


def _num_parameters(checkpoint: Path) -> int:
    return AutoModel.from_pretrained(checkpoint, trust_remote_code=True).num_parameters()


def _audio_bytes(audio: Mapping) -> bytes:
    return audio["bytes"] if audio["bytes"] is not None else Path(audio["path"]).read_bytes()


def format_row(row: Mapping) -> str:
    """Return the figures of a row as lines of text."""
    dataset = row["dataset"]
    lines = [f"{row['benchmark']}: {dataset['num_items']} trials, {dataset['num_speakers']} speakers"]
    lines += [f"  {metric:<8}{format_interval(entry)}" for metric, entry in row["metrics"].items()]
    lines.append(f"  eer where strangers share the gender: {100 * row['same_gender'][SYSTEM]:.2f} %")
    for name, entry in row["baselines"].items():
        difference = format_difference(entry["difference"]["eer"], "ratio")
        lines.append(f"    {name:<17}eer {format_interval(entry['metrics']['eer'])}; ours minus it {difference}")
    if dataset["num_speakers"] < MIN_GROUPS_FOR_POPULATION:
        lines += [
            f"    {name:<20}eer {100 * group['eer']:.2f} %, n {group['n']}" for name, group in row["groups"].items()
        ]
    return "\n".join([*lines, *(f"  {claim}" for claim in row["claims"])])


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="folder of the checkpoint")
    parser.add_argument("--side", default="test", choices=("test", "validation"))
    parser.add_argument("--corpora", nargs="+", choices=CORPORA, help="all of the side if left out")
    parser.add_argument("--out", type=Path, help="folder for the results; `results` beside the checkpoint if left out")
    parser.add_argument("--without-resemblyzer", action="store_true", help="spare its time, for choosing a model")
    parser.add_argument("--seed", type=int, default=0, help="seed of the bootstrap")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None, load: Callable = load_voices) -> None:
    """Load the stored trials, measure the checkpoint on each corpus, print the figures."""
    options = parse_arguments(arguments)
    trials = load_speaker_trials(options.side)
    known_speakers = speakers_of_training(options.checkpoint)
    suffix = "" if options.side == "test" else f"_{options.side}"
    resemblyzer = None if options.without_resemblyzer else ResemblyzerJudge()
    out, measured = options.out or options.checkpoint.parent / "results", []
    for corpus in options.corpora or [name for name in CORPORA if name in set(trials["corpus"])]:
        row, items = measure_speaker_verification(
            options.checkpoint,
            trials[trials["corpus"] == corpus].reset_index(drop=True),
            load(options.side, [corpus]),
            name=f"speaker_verification_{corpus}{suffix}",
            corpus=corpus,
            split=options.side,
            resemblyzer=resemblyzer,
            known_speakers=known_speakers,
            seed=options.seed,
        )
        measured.append((row, items))
    correct_for_comparisons([row for row, _ in measured])
    for row, items in measured:
        print(format_row(read_row(write_row(row, items, out))), flush=True)


if __name__ == "__main__":
    main()
