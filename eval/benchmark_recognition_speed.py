"""Measure how fast a recogniser and its exports are, and what memory they take, beside peers on the same recordings.

    python eval/benchmark_recognition_speed.py model_cards/conformer-an4 --exported runs/an4/exported --corpus an4

prints a Markdown table and writes `runs/benchmark_recognition_speed.json`. One clip at a time, all contestants take
turns in one process; memory is measured in a process of its own for each. The models of transformers have random
weights and the checkpoint's width and depth: they are there for their speed, and what they write means nothing.
Pocketsphinx hears with its own English model and a vocabulary of its own, so its WER is no measure of its task.
"""

import sys
from pathlib import Path

if not __package__ and not sys.flags.safe_path:
    # Run as a script, this folder's `statistics` would hide the standard library's.
    del sys.path[0]

import argparse
import importlib.util
import json
import os
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from antiphon.eval.benchmark_recognition import read_export
from antiphon.eval.conditions import file_sha256, machine_conditions, records_sha256
from antiphon.eval.metric_loading import load_metric
from antiphon.eval.peer_models import PEERS
from antiphon.eval.recognition_contestants import CHECKPOINT, POCKETSPHINX, Contestant, load_contestant
from antiphon.eval.recognition_memory import measure_memory_apart
from antiphon.eval.recognition_speed import measure_speed
from antiphon.eval.result_rows import write_atomically
from antiphon.eval.selection import select_split
from antiphon.eval.text_normalization import text_normalizer
from antiphon.processing.audio_io import read_audio
from antiphon.processing.corpora import item_ids, load_corpus

ORIGINAL = "original"


def find_contestants(checkpoint: Path, exported: Path | None) -> dict[str, tuple[str, Path]]:
    """Return kind and folder of each contestant, as `load_contestant` takes them, by name; the original first.

    Raises:
        ValueError: if the folder of exports holds none of this checkpoint.
    """
    found = {ORIGINAL: (CHECKPOINT, checkpoint)}
    if exported:
        digest = file_sha256(checkpoint / "model.safetensors")
        for folder in sorted(path for path in exported.iterdir() if path.is_dir()):
            export = read_export(folder)
            if export and export["original_sha256"] == digest:
                found[export["format"]] = (CHECKPOINT, folder)
        if len(found) == 1:
            raise ValueError(f"{exported} holds nothing exported from {checkpoint}; name what export.py wrote for it.")
    found |= {name: (name, checkpoint) for name in PEERS}
    if importlib.util.find_spec("pocketsphinx"):
        found[POCKETSPHINX] = (POCKETSPHINX, checkpoint)
    return found


def benchmark_speed(
    contestants: Mapping[str, tuple[str, Path]],
    waveforms: Sequence[np.ndarray],
    references: Sequence[str],
    normalize,
    sampling_rate: int,
    rounds: int,
) -> dict[str, dict]:
    """Measure contestants, whose WER is given where their weights were trained.

    Args:
        contestants: as `find_contestants` returns them.
        waveforms: each (samples,) float32 at `sampling_rate`.
        references: normalised transcripts.
        normalize: of transcripts.
        rounds: that are timed.

    Returns:
        For each the figures of `measure_speed` and `measure_memory`, `parameters` and `wer`, None where there is none.
    """
    loaded: dict[str, Contestant] = {name: load_contestant(*spec) for name, spec in contestants.items()}
    rows = measure_speed(loaded, waveforms, sampling_rate, rounds)
    for name, row in rows.items():
        kind, folder = contestants[name]
        row["parameters"] = loaded[name].num_parameters
        row["version"] = getattr(loaded[name], "name", None)  # of what does not come from the checkpoint
        row["wer"] = None if kind in PEERS else _wer(loaded[name], waveforms, references, normalize)
        row |= measure_memory_apart(kind, folder, waveforms)
    return rows


def _wer(contestant: Contestant, waveforms: Sequence[np.ndarray], references: Sequence[str], normalize) -> float:
    texts = [normalize(contestant.transcribe(waveform)) for waveform in waveforms]
    return load_metric("error_rates").compute(predictions=texts, references=references)["wer"]


def format_table(rows: Mapping[str, Mapping], num_words: int) -> str:
    """Return the Markdown table."""
    lines = [
        f"| system | parameters | RTF (middle half of rounds) | times original | RTF, model alone | peak MiB | of that "
        f"beyond torch and transformers | WER, {num_words} words |",
        "| --- |" + " ---: |" * 7,
    ]
    for name, row in rows.items():
        low, high = row["real_time_factor_range"]
        cells = [
            f"{name}, random weights" if name in PEERS else name,
            "–" if row["parameters"] is None else f"{row['parameters']:,}",
            f"{row['real_time_factor']:.5f} ({low:.5f} to {high:.5f})",
            f"{row['ratio']:.2f}",
            f"{row['model_real_time_factor']:.5f}",
            f"{row['peak_bytes'] / 2**20:.0f}",
            f"{row['growth_bytes'] / 2**20:.0f}",
            "–" if row["wer"] is None else f"{row['wer']:.2%}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="folder of a ConformerForCTC; the code in it is run")
    parser.add_argument("--exported", type=Path, help="folder that train_scripts/export.py wrote for it")
    parser.add_argument("--corpus", required=True, help="real recordings, as load_corpus takes them")
    parser.add_argument("--split", default="test")
    parser.add_argument(
        "--items", type=int, default=30, help="clips, spread evenly over the split (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=7, help="that are timed (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of torch and onnxruntime; pocketsphinx has one anyway")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark_recognition_speed.json"))
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Load the clips, measure, print the table and write the figures with their conditions."""
    options = parse_arguments(arguments)
    torch.set_num_threads(options.threads)
    contestants = find_contestants(options.checkpoint, options.exported)
    if POCKETSPHINX not in contestants:
        print("pocketsphinx is not installed and left out; `pip install antiphon[judges]`.", file=sys.stderr)
    processor = load_contestant(CHECKPOINT, options.checkpoint).processor
    normalize, normalizer_name = text_normalizer(processor.tokenizer)
    sampling_rate = processor.feature_extractor.sampling_rate
    test = select_split(load_corpus(options.corpus), options.split)
    wanted = min(options.items, len(test))
    test = test.select([index * len(test) // wanted for index in range(wanted)])
    references = [normalize(text) for text in test["text"]]
    waveforms = [read_audio(audio["bytes"] or audio["path"], sampling_rate=sampling_rate)[0] for audio in test["audio"]]
    load = os.getloadavg()[0]
    rows = benchmark_speed(contestants, waveforms, references, normalize, sampling_rate, options.rounds)
    num_words = sum(len(reference.split()) for reference in references)
    conditions = {
        "checkpoint_sha256": file_sha256(options.checkpoint / "model.safetensors"),
        "corpus": options.corpus,
        "split": options.split,
        "item_ids_sha256": records_sha256(zip(item_ids(test))),
        "num_items": len(waveforms),
        "num_words": num_words,
        "audio_seconds": sum(map(len, waveforms)) / sampling_rate,
        "sampling_rate": sampling_rate,
        "text_normalizer": normalizer_name,
        "rounds": options.rounds,
        "load_average": [load, os.getloadavg()[0]],
        **machine_conditions(torch.device("cpu")),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"conditions": conditions, "systems": rows}, indent=2) + "\n"
    write_atomically(options.out, lambda file: file.write(text.encode()))
    print(format_table(rows, num_words))
    print(
        f"\n{conditions['hardware']}, {options.rounds} rounds over {len(waveforms)} clips of "
        f"{conditions['audio_seconds']:.0f} s in all; load of the machine {load:.1f} before and "
        f"{conditions['load_average'][1]:.1f} after. Written to {options.out}."
    )


if __name__ == "__main__":
    main()
