"""Exports a CTC recogniser, after each format has written what the original writes on real recordings.

    python train_scripts/export.py CHECKPOINT --to FOLDER --corpus an4 --split test --formats onnx torch_int8

A format that changes the word error rate by more than `--max-wer-change`, alone or in padded batches, or a float
format whose log-probabilities differ by more than rounding, is not written; the others still are, and the exit status
is 1. Each format becomes a folder that `AutoModelForCTC.from_pretrained` loads, with its processor and an
`export.json` that says how it was measured; `FOLDER/export.json` has all of them, and what failed.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from datasets import Dataset

from antiphon.eval.benchmark_recognition import load_recogniser
from antiphon.eval.conditions import file_sha256, machine_conditions, records_sha256
from antiphon.eval.generation import generates_text
from antiphon.eval.recognition_contestants import CHECKPOINT, CTCContestant
from antiphon.eval.recognition_memory import measure_memory_apart
from antiphon.eval.recognition_speed import measure_speed
from antiphon.eval.result_rows import write_atomically
from antiphon.eval.selection import select_split
from antiphon.eval.text_normalization import text_normalizer
from antiphon.processing.audio_io import read_audio
from antiphon.processing.corpora import item_ids, load_corpus
from antiphon.train_scripts.export_formats import FORMATS
from antiphon.train_scripts.export_gate import Clip, check_parity

REPORT = "export.json"
WEIGHTS = "model.safetensors"


class ExportError(ValueError):
    """Nothing can be exported; the message is one sentence for whoever asked for it."""


@dataclass(frozen=True)
class Original:
    """What is exported, and what its exports are held against.

    Args:
        clips: Recordings of the gate.
        timed: Those of them that speed and memory are measured on.
        normalize: Of transcripts.
        memory: As `measure_memory_apart` returns it.
        conditions: That everything was measured under.
    """

    checkpoint: Path
    model: torch.nn.Module
    processor: object
    clips: list[Clip]
    timed: list[Clip]
    normalize: Callable[[str], str]
    memory: dict[str, int]
    conditions: dict


def main(arguments: list[str] | None = None) -> int:
    options = parse_arguments(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        _check_empty(options.to)
        original = load_original(options)
        options.to.mkdir(parents=True, exist_ok=True)
        report = export_all(original, options)
    except (ValueError, OSError) as error:
        print(f"export: error: {error}", file=sys.stderr)
        return 1
    print(format_report(report))
    return 0 if all(entry["written"] for entry in report["formats"].values()) else 1


def load_original(options: argparse.Namespace) -> Original:
    """Loads the checkpoint and the recordings.

    Raises:
        ExportError: it is no CTC model with safetensors, or an item has no text.
    """
    if not (options.checkpoint / WEIGHTS).is_file():
        raise ExportError(f"{options.checkpoint} holds no {WEIGHTS}; name the folder that `save_pretrained` wrote.")
    model, processor = load_recogniser(options.checkpoint)
    if generates_text(model) or not hasattr(processor, "decode_logits"):
        raise ExportError(f"{options.checkpoint} is no CTC model of Antiphon; only such models can be exported.")
    test = select_split(load_corpus(options.corpus), options.split, options.where)
    test = test.select(spread(len(test), options.items))
    if missing := sum(text is None for text in test["text"]):
        raise ExportError(f"{options.corpus} has {missing} items without a text in {options.split}; leave them out.")
    sampling_rate = processor.feature_extractor.sampling_rate
    normalize, normalizer_name = text_normalizer(processor.tokenizer)
    names = item_ids(test)
    clips = [
        Clip(name, _read(audio, sampling_rate, options.resample), normalize(text))
        for name, audio, text in zip(names, test["audio"], test["text"])
    ]
    timed = [clips[index] for index in spread(len(clips), options.timed_items)]
    conditions = {
        "checkpoint_sha256": file_sha256(options.checkpoint / WEIGHTS),
        "corpus": options.corpus,
        "split": " ".join([options.split, *options.where]),
        "corpus_sha256": _corpus_sha256(test, clips),
        "num_clips": len(clips),
        "sampling_rate": sampling_rate,
        "resample": options.resample,
        "decoding": "greedy",
        "text_normalizer": normalizer_name,
        "max_wer_change": options.max_wer_change,
        "timing": {
            "rounds": options.rounds,
            "clips": len(timed),
            "seconds": sum(len(clip.waveform) for clip in timed) / sampling_rate,
        },
        **machine_conditions(torch.device("cpu")),
    }
    memory = measure_memory_apart(CHECKPOINT, options.checkpoint, [clip.waveform for clip in timed])
    return Original(options.checkpoint, model, processor, clips, timed, normalize, memory, conditions)


def export_all(original: Original, options: argparse.Namespace) -> dict:
    """Makes every format, or says why not, and keeps the report up to date after each."""
    report = {"conditions": original.conditions, "formats": {}}
    for name in options.formats:
        print(f"{name}: exporting …", file=sys.stderr)
        try:
            entry = {"written": True, **export_format(original, name, options.to, options.rounds)}
        # Tracers, translators and full disks raise what they like, and the next format may do without them.
        except Exception as error:
            entry = {"written": False, "reason": f"{type(error).__name__}: {' '.join(str(error).split())}"}
            print(f"{name}: nothing was written: {entry['reason']}", file=sys.stderr)
        report["formats"][name] = entry
        write_atomically(options.to / REPORT, lambda file: file.write(_json(report)))
    return report


def export_format(original: Original, name: str, folder: Path, rounds: int) -> dict:
    """Makes one format, measures it beside the original and moves it into place.

    Raises:
        GateError: if it does not write what the original writes; nothing of it is left then.
    """
    export = FORMATS[name]
    # Complete or absent: a folder gets its name last.
    with tempfile.TemporaryDirectory(dir=folder, prefix=f".{name}-") as workspace:
        staged = Path(workspace) / name
        staged.mkdir()
        export.write(original.model, staged)
        original.processor.save_pretrained(staged)
        exported = load_recogniser(staged)
        parity = check_parity(
            (original.model, original.processor),
            exported,
            original.clips,
            original.normalize,
            original.conditions["max_wer_change"],
            export.max_log_probability_difference,
        )
        waveforms = [clip.waveform for clip in original.timed]
        contestants = {"original": CTCContestant(original.model, original.processor), name: CTCContestant(*exported)}
        speed = measure_speed(contestants, waveforms, original.conditions["sampling_rate"], rounds)
        entry = {
            "format": name,
            "description": export.description,
            "max_log_probability_difference": export.max_log_probability_difference,
            "parity": parity.to_dict(),
            "model_bytes": {"original": _model_bytes(original.checkpoint), name: _model_bytes(staged)},
            "speed": speed,
            "memory": {"original": original.memory, name: measure_memory_apart(CHECKPOINT, staged, waveforms)},
            "files": {path.name: file_sha256(path) for path in sorted(staged.iterdir()) if path.is_file()},
        }
        (staged / REPORT).write_bytes(_json({"conditions": original.conditions, **entry}))
        staged.rename(folder / name)
    return entry


def format_report(report: dict) -> str:
    """Returns the table of what was written, with the original in its first line, and a line for what was not."""
    header = "| format | model file | WER | max difference of log p | RTF | of the model alone | peak memory | growth |"
    lines = [header, "| --- |" + " ---: |" * 7]
    written = {name: entry for name, entry in report["formats"].items() if entry["written"]}
    for name, entry in written.items():
        if len(lines) == 2:
            lines.append(_table_row("original", entry, f"{entry['parity']['wer_original']:.2%}", ""))
        parity = entry["parity"]
        wer = f"{parity['wer_exported']:.2%} ({parity['wer_change']:+.2%})"
        lines.append(_table_row(name, entry, wer, f"{parity['max_log_probability_difference']:.2g}"))
    if not written:
        lines = []
    lines += [
        f"{name}: NOT WRITTEN: {entry['reason']}" for name, entry in report["formats"].items() if name not in written
    ]
    return "\n".join(lines)


def _table_row(name: str, entry: dict, wer: str, difference: str) -> str:
    speed, memory = entry["speed"][name], entry["memory"][name]
    times = f" ({speed['ratio']:.2f} of the original)" if name != "original" else ""
    cells = [
        name,
        f"{entry['model_bytes'][name] / 2**20:.2f} MiB",
        wer,
        difference,
        f"{speed['real_time_factor']:.5f}{times}",
        f"{speed['model_real_time_factor']:.5f}",
        f"{memory['peak_bytes'] / 2**20:.0f} MiB",
        f"{memory['growth_bytes'] / 2**20:.0f} MiB",
    ]
    return f"| {' | '.join(cells)} |"


def spread(total: int, wanted: int | None) -> list[int]:
    """Indices of as many items as wanted, spread evenly over all, so that they do not stem from one speaker alone."""
    if wanted is None or wanted >= total:
        return list(range(total))
    return [index * total // wanted for index in range(wanted)]


def _check_empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ExportError(f"{folder} exists and is not an empty folder; choose another or remove it.")


def _read(audio: dict, sampling_rate: int, resample: bool):
    return read_audio(audio["bytes"] or audio["path"], sampling_rate=sampling_rate, resample=resample)[0]


def _corpus_sha256(test: Dataset, clips: list[Clip]) -> str:
    files = (audio["bytes"] or Path(audio["path"]).read_bytes() for audio in test["audio"])
    return records_sha256((clip.name, clip.reference, file) for clip, file in zip(clips, files))


def _model_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("model.*"))


def _json(content: dict) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="folder of a CTC checkpoint; the code in it is run")
    parser.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="new or empty folder")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS), help="(default: all)")
    parser.add_argument("--corpus", required=True, help="real recordings, as load_corpus takes them")
    parser.add_argument("--split", default="test", help='of the corpus; "all" takes every row')
    parser.add_argument("--where", nargs="+", default=[], metavar="COLUMN=VALUE", help="rows to measure on; also !=")
    parser.add_argument("--items", type=_positive, metavar="N", help="compare on N items, spread evenly (default: all)")
    parser.add_argument("--max-wer-change", type=float, default=0.002, help="up or down (default: %(default)s)")
    parser.add_argument(
        "--timed-items", type=_positive, default=30, metavar="N", help="for speed (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=_positive, default=7, help="that are timed (default: %(default)s)")
    parser.add_argument("--threads", type=_positive, help="of torch and onnxruntime")
    parser.add_argument("--resample", action="store_true", help="resample audio at another rate instead of refusing it")
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return value


if __name__ == "__main__":
    raise SystemExit(main())
