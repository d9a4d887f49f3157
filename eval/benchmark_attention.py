"""Compare positions and implementations of attention: longer recordings than training had, time, memory.

    python eval/benchmark_attention.py --out runs/attention
    python eval/benchmark_attention.py model_cards/conformer-an4 --corpus an4 --split train --where speaker_id=an4-fjmd

The first line measures what each kind costs, with random weights. With checkpoints, clips of each speaker are joined to
1, 2 and 4 times `--training-seconds`, and each checkpoint's error rate is held against its own on the clips as they
are. Every length holds the same words. Where clips meet, a recogniser hears what training never had, at any length:
compare kinds of positions within a length.
"""

import sys
from pathlib import Path

if not __package__ and not sys.flags.safe_path:
    # Run as a script, this folder's `statistics` would hide the standard library's.
    del sys.path[0]

import argparse
import json
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from tqdm.auto import tqdm

from antiphon.eval import statistics
from antiphon.eval.attention_costs import (
    IMPLEMENTATIONS,
    KINDS,
    SIZE,
    measure_difference,
    measure_memory,
    measure_speed,
)
from antiphon.eval.conditions import file_sha256, machine_conditions, records_sha256
from antiphon.eval.joined_recordings import join_recordings
from antiphon.eval.recognition_scores import score_items, summarize_items
from antiphon.eval.selection import select_split
from antiphon.eval.text_normalization import text_normalizer
from antiphon.modeling import ConformerForCTC
from antiphon.processing import ConformerProcessor
from antiphon.processing.audio_io import read_audio
from antiphon.processing.corpora import item_ids, load_corpus

FRAMES_PER_SECOND = 100


def measure_costs(seconds: Sequence[float], rounds: int) -> list[dict]:
    """Time, memory and difference of each kind and implementation at each length."""
    rows = []
    for length in tqdm(seconds, desc="costs", disable=None):
        frames = round(length * FRAMES_PER_SECOND)
        times = measure_speed(frames, rounds)
        for kind in KINDS:
            difference = measure_difference(frames, kind)
            rows += [
                {
                    "audio_seconds": length,
                    "positions": kind,
                    "implementation": name,
                    "seconds": times[kind, name],
                    "mebibytes": measure_memory(frames, kind, name),
                    "difference": difference,
                }
                for name in IMPLEMENTATIONS
            ]
    return rows


def measure_lengths(
    checkpoint: Path, test: Dataset, training_seconds: float, factors: Sequence[float], *, resample: bool, seed: int
) -> dict:
    """Error rates of a checkpoint on clips as they are and on joined ones.

    Args:
        checkpoint: folder of a `ConformerForCTC`.
        test: with speakers.
        training_seconds: what counts as the length of training.
        factors: multiples of it that clips are joined to.
        resample: whether audio at another rate than the model's is resampled instead of refused.
        seed: of the bootstrap.
    """
    processor = ConformerProcessor.from_pretrained(checkpoint)
    models = {name: ConformerForCTC.from_pretrained(checkpoint).eval() for name in IMPLEMENTATIONS}
    for name, model in models.items():
        model.set_attn_implementation(name)
    rate = processor.feature_extractor.sampling_rate
    waveforms = [
        read_audio(audio["bytes"] or audio["path"], sampling_rate=rate, resample=resample)[0] for audio in test["audio"]
    ]
    durations = [len(waveform) / rate for waveform in waveforms]
    normalize, normalizer_name = text_normalizer(processor.tokenizer)
    texts = [normalize(text) for text in test["text"]]
    lengths, alone = [], None
    for factor in (0, *factors):
        joined = join_recordings(test["speaker_id"], durations, factor * training_seconds)
        heard = {
            name: [_hear(processor, model, item.waveform(waveforms)) for item in joined]
            for name, model in models.items()
        }
        items = score_items(
            [f"{item.speaker}-{number}" for number, item in enumerate(joined)],
            [item.speaker for item in joined],
            [item.text(texts) for item in joined],
            [normalize(text) for text in heard["sdpa"]],
            {},
            [item.seconds for item in joined],
        )
        # Speaker by speaker, since each length cuts their words otherwise.
        speakers = items.groupby("speaker_id")[["errors", "words"]].sum()
        alone = speakers if alone is None else alone
        summary = summarize_items(items, seed=seed)
        lengths.append(
            {
                "factor": factor,
                "recordings": len(joined),
                "median_seconds": float(np.median([item.seconds for item in joined])),
                "metrics": {name: summary["metrics"][name] for name in ("wer", "cer")},
                "wer_minus_alone": _difference(speakers, alone, seed),
                "claims": summary["claims"],
                "speakers": speakers.to_dict("index"),
                "texts_unlike_eager": sum(map(str.__ne__, heard["sdpa"], heard["eager"])),
            }
        )
    return {
        "checkpoint": checkpoint.as_posix(),
        "checkpoint_sha256": file_sha256(checkpoint / "model.safetensors"),
        "positions": models["sdpa"].config.position_embeddings_type,
        "text_normalizer": normalizer_name,
        "split_sha256": records_sha256(zip(item_ids(test), texts)),
        "lengths": lengths,
    }


def compare_checkpoints(measured: Sequence[dict], seed: int) -> None:
    """Adds to each length of each checkpoint but the first how its error rate differs from the first one's there."""
    for other in measured[1:]:
        for row, first in zip(other["lengths"], measured[0]["lengths"], strict=True):
            own, theirs = (pd.DataFrame.from_dict(each["speakers"], orient="index") for each in (row, first))
            row["wer_minus_first"] = _difference(own, theirs, seed)


def _difference(speakers: pd.DataFrame, alone: pd.DataFrame, seed: int) -> dict:
    difference = statistics.bootstrap_difference(
        speakers["errors"].tolist(), alone["errors"].tolist(), list(speakers.index), alone["words"].tolist(), seed=seed
    )
    return {"value": difference.value, "low": difference.low, "high": difference.high}


@torch.inference_mode()
def _hear(processor, model, waveform: np.ndarray) -> str:
    outputs = model(**processor(audio=waveform, sampling_rate=processor.feature_extractor.sampling_rate))
    return processor.decode_logits(outputs.logits, outputs.attention_mask)[0]["text"]


def as_markdown(result: dict) -> str:
    """Tables of what was measured, with their conditions."""
    conditions, blocks = result["conditions"], []
    if result["costs"]:
        lines = [
            f"### What a forward pass of one recording costs\n\nRandom weights, {SIZE['hidden_size']} wide, "
            f"{SIZE['num_hidden_layers']} layers, one frame every 40 ms; medians of {conditions['rounds']} rounds in "
            "turns; memory beyond the loaded model, each in a process of its own; the difference between eager and "
            f"SDPA is the largest of a logit, in standard deviations. {conditions['hardware']}; "
            f"{conditions['date']}.\n",
            "| sound (s) | positions | eager (ms) | SDPA (ms) | eager (MiB) | SDPA (MiB) | difference |",
            "| --- | --- | --- | --- | --- | --- | --- |",
        ]
        for eager, sdpa in zip(result["costs"][::2], result["costs"][1::2], strict=True):
            lines.append(
                f"| {eager['audio_seconds']:g} | {eager['positions']} | {1000 * eager['seconds']:.0f} "
                f"| {1000 * sdpa['seconds']:.0f} | {eager['mebibytes']:.0f} | {sdpa['mebibytes']:.0f} "
                f"| {eager['difference']:.1e} |"
            )
        blocks.append("\n".join(lines))
    if result["checkpoints"]:
        lines = [
            f"### Longer than training\n\n`{conditions['corpus']}`, split {conditions['split']}, "
            f"{conditions['num_items']} clips of {conditions['num_speakers']} speakers, joined to multiples of "
            f"{conditions['training_seconds']:g} s; intervals resample whole speakers.\n",
            "| checkpoint | positions | joined to | recordings | median (s) | WER | WER minus that of single clips "
            "| WER minus that of the first checkpoint | texts unlike eager |",
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        ]
        for measured in result["checkpoints"]:
            for row in measured["lengths"]:
                joined = f"{row['factor']:g} x" if row["factor"] else "single clips"
                lines.append(
                    f"| {measured['checkpoint']} | {measured['positions']} | {joined} | {row['recordings']} "
                    f"| {row['median_seconds']:.1f} | {_percent(row['metrics']['wer'])} "
                    f"| {_percent(row['wer_minus_alone']) if row['factor'] else ''} "
                    f"| {_percent(row['wer_minus_first']) if 'wer_minus_first' in row else ''} "
                    f"| {row['texts_unlike_eager']} |"
                )
        claims = {claim for measured in result["checkpoints"] for row in measured["lengths"] for claim in row["claims"]}
        blocks.append("\n".join([*lines, *(f"\n- {claim}" for claim in sorted(claims))]))
    return "\n\n".join(blocks) + "\n"


def _percent(metric: dict) -> str:
    return f"{100 * metric['value']:.2f} % ({100 * metric['low']:.2f} to {100 * metric['high']:.2f})"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what was asked for, write and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="*", type=Path, help="folders; none measures costs alone")
    parser.add_argument("--corpus", help="as load_corpus takes it; for checkpoints")
    parser.add_argument("--split", default="validation", help='split to measure on; "all" takes every row')
    parser.add_argument("--where", nargs="+", default=[], metavar="COLUMN=VALUE", help="rows to measure on; also !=")
    parser.add_argument("--training-seconds", type=float, default=5.0, help="what counts as the length of training")
    parser.add_argument("--factors", nargs="+", type=float, default=[1, 2, 4], help="multiples of it")
    parser.add_argument("--cost-seconds", nargs="*", type=float, default=[5, 20, 60], help="lengths; none skips costs")
    parser.add_argument("--rounds", type=int, default=7, help="of timing")
    parser.add_argument("--resample", action="store_true", help="resample audio at another rate instead of refusing it")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    parser.add_argument("--out", type=Path, default=Path("runs/attention"), help="folder for attention.json and .md")
    options = parser.parse_args(arguments)
    if options.checkpoints and not options.corpus:
        parser.error("`--corpus` is missing: checkpoints are measured on one; e.g. --corpus an4 --split train.")
    conditions = {"rounds": options.rounds, "seed": options.seed, **machine_conditions(torch.device("cpu"))}
    test = None
    if options.checkpoints:
        test = select_split(load_corpus(options.corpus), options.split, options.where)
        conditions |= {
            "corpus": Path(options.corpus).name,
            "split": " ".join([options.split, *options.where]),
            "num_items": len(test),
            "num_speakers": len(set(test["speaker_id"])),
            "training_seconds": options.training_seconds,
            "resample": options.resample,
        }
    lengths = {"resample": options.resample, "seed": options.seed}
    measured = [
        measure_lengths(checkpoint, test, options.training_seconds, options.factors, **lengths)
        for checkpoint in options.checkpoints
    ]
    compare_checkpoints(measured, options.seed)
    result = {
        "costs": measure_costs(options.cost_seconds, options.rounds),
        "checkpoints": measured,
        "conditions": conditions,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "attention.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    (options.out / "attention.md").write_text(as_markdown(result), encoding="utf-8")
    print(as_markdown(result))


if __name__ == "__main__":
    main()
