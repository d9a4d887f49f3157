"""Measure what a recogniser loses by answering early: latency against error rates, in one table.

    python eval/benchmark_streaming.py runs/an4_streaming/checkpoint --corpus an4 --split validation --chunks 4 8 16 32

streams every recording in every chunk length and hears it whole besides (`full`), with the same weights. It writes
`streaming_<corpus>_<split>.json` and `.md` into `results` beside the checkpoint. The text of each stream is held
against the text of the whole recording under the same mask; where they differ, it is counted.
"""

import sys
from pathlib import Path

if not __package__ and not sys.flags.safe_path:
    # Run as a script, this folder's `statistics` would hide the standard library's.
    del sys.path[0]

import argparse
import json
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from datasets import Dataset
from tqdm.auto import tqdm

from antiphon.eval import statistics
from antiphon.eval.conditions import file_sha256, machine_conditions, records_sha256
from antiphon.eval.recognition_scores import score_items, summarize_items
from antiphon.eval.selection import select_split
from antiphon.eval.streaming_measures import stream_recording, word_delays
from antiphon.eval.text_normalization import text_normalizer
from antiphon.modeling import ConformerForCTC
from antiphon.processing import ConformerProcessor
from antiphon.processing.audio_io import read_audio
from antiphon.processing.corpora import item_ids, load_corpus

FULL = "full"
EXAMPLES = 5
HEADER = (
    "| chunk | left chunks | longest wait for sound (ms) | work per chunk (ms) | end of word to its text (ms) | RTF "
    "| WER | CER | WER minus full | texts unlike offline |"
)
LEGEND = (
    "A sound waits for the end of its chunk and half a transform more, half a chunk less on average. Work is measured "
    "on this machine: median and 95th percentile, as are the delays of words, whose ends are where the same weights "
    "heard them with the whole recording (good to some 0.1 s). RTF: work for a second of sound. In brackets, 95 % "
    "intervals that resample whole speakers."
)


def benchmark_streaming(
    checkpoint: str | Path,
    test: Dataset,
    *,
    corpus: str,
    split: str,
    chunks: Sequence[int],
    left_chunks: Sequence[int | None] = (None,),
    resample: bool = False,
    seed: int = 0,
) -> dict:
    """Measure a checkpoint in a stream and as a whole.

    Args:
        checkpoint: folder of a `ConformerForCTC` with causal convolutions, whose features can stream.
        test: the items to measure on, as `load_corpus` returns them.
        corpus, split: what `test` is, for the table.
        chunks: output frames of a chunk, each measured.
        left_chunks: chunks before its own that a frame hears, each measured; None is all of them.
        resample: whether audio at another rate than the model's is resampled instead of refused.
        seed: of the bootstrap.

    Returns:
        The settings measured, `full` first, and the conditions.
    """
    checkpoint = Path(checkpoint)
    processor = ConformerProcessor.from_pretrained(checkpoint)
    # What cannot stream is refused before the work.
    processor.stream(_load(checkpoint, chunks[0], left_chunks[0]))
    rate = processor.feature_extractor.sampling_rate
    waveforms = [
        read_audio(audio["bytes"] or audio["path"], sampling_rate=rate, resample=resample)[0] for audio in test["audio"]
    ]
    normalize, normalizer_name = text_normalizer(processor.tokenizer)
    names, references = item_ids(test), [normalize(text) for text in test["text"]]
    durations = [len(waveform) / rate for waveform in waveforms]

    def score(texts: Sequence[str]):
        return score_items(names, test["speaker_id"], references, [normalize(text) for text in texts], {}, durations)

    full_model = _load(checkpoint, None, None)
    whole, seconds = _hear_whole(processor, full_model, waveforms)
    full_items = score([result["text"] for result in whole])
    settings = [
        {"chunk_frames": None, "left_chunks": None, "latency_seconds": None, "work_seconds": None, "word_delays": None}
        | {"real_time_factor": seconds / sum(durations), "texts_unlike_offline": None}
        | _error_rates(full_items, full_items, seed)
    ]
    for left in left_chunks:
        for length in chunks:
            model = _load(checkpoint, length, left)
            measured, texts = _measure_stream(processor, model, waveforms, whole)
            setting = {"chunk_frames": length, "left_chunks": left, **measured}
            settings.append(setting | _error_rates(score(texts), full_items, seed))
    return {
        "checkpoint_sha256": file_sha256(checkpoint / "model.safetensors"),
        "parameters": full_model.num_parameters(),
        "positions": full_model.config.position_embeddings_type,
        "settings": settings,
        "conditions": {
            "corpus": corpus,
            "split": split,
            "num_items": len(test),
            "num_speakers": len(set(test["speaker_id"])),
            "audio_seconds": sum(durations),
            "split_sha256": records_sha256(zip(names, references)),
            "text_normalizer": normalizer_name,
            "sampling_rate": rate,
            "resample": resample,
            "frame_seconds": processor.frame_seconds,
            "decoding": "greedy",
            "seed": seed,
            **machine_conditions(torch.device("cpu")),
        },
    }


def _load(checkpoint: Path, chunk_frames: int | None, left_chunks: int | None) -> ConformerForCTC:
    return ConformerForCTC.from_pretrained(checkpoint, chunk_frames=chunk_frames, left_chunks=left_chunks).eval()


@torch.inference_mode()
def _hear_whole(processor, model, waveforms: Sequence[np.ndarray]) -> tuple[list[dict], float]:
    """What each recording says when heard as one, and the seconds that this took."""
    rate = processor.feature_extractor.sampling_rate

    def hear(waveform: np.ndarray) -> dict:
        outputs = model(**processor(audio=waveform, sampling_rate=rate))
        return processor.decode_logits(outputs.logits, outputs.attention_mask)[0]

    hear(waveforms[0])  # The first call sets up what later ones find there.
    start = time.perf_counter()
    results = [hear(waveform) for waveform in waveforms]
    return results, time.perf_counter() - start


def _measure_stream(processor, model, waveforms: Sequence[np.ndarray], whole: Sequence[dict]) -> tuple[dict, list[str]]:
    """Latency, work and delays of one setting, and the text of each recording."""
    offline, _ = _hear_whole(processor, model, waveforms)
    stream_recording(processor, model, waveforms[0])
    texts, work, delays, total = [], [], [], 0.0
    name = f"chunks of {model.config.chunk_frames}"
    for waveform, heard in tqdm(zip(waveforms, whole), total=len(waveforms), desc=name, disable=None):
        steps, text = stream_recording(processor, model, waveform)
        texts.append(text)
        work += [step.processing_seconds for step in steps if step.is_chunk]
        total += sum(step.processing_seconds for step in steps)
        delays += word_delays(steps, heard["words"])
    unlike = [(text, result["text"]) for text, result in zip(texts, offline) if text != result["text"]]
    seconds = sum(map(len, waveforms)) / processor.feature_extractor.sampling_rate
    return {
        "latency_seconds": processor.stream(model).latency_seconds,
        "work_seconds": _spread(work),
        "word_delays": _spread(delays),
        "real_time_factor": total / seconds,
        "texts_unlike_offline": len(unlike),
        "examples_unlike_offline": unlike[:EXAMPLES],
    }, texts


def _spread(seconds: Sequence[float]) -> dict | None:
    if not seconds:
        return None
    median, high = np.quantile(seconds, [0.5, 0.95])
    return {"median": float(median), "percentile_95": float(high), "n": len(seconds)}


def _error_rates(items, full_items, seed: int) -> dict:
    summary = summarize_items(items, seed=seed)
    difference = statistics.bootstrap_difference(
        items["errors"], full_items["errors"], items[summary["group_by"]], items["words"], seed=seed
    )
    return {
        "metrics": {name: summary["metrics"][name] for name in ("wer", "cer")},
        "wer_minus_full": {"value": difference.value, "low": difference.low, "high": difference.high},
        "claims": summary["claims"],
    }


def as_markdown(result: dict) -> str:
    """The table with its conditions."""
    conditions = result["conditions"]
    lines = [
        f"### Streaming on `{conditions['corpus']}`, split {conditions['split']}\n",
        f"{conditions['num_items']} recordings of {conditions['num_speakers']} speakers, "
        f"{conditions['audio_seconds']:.0f} s; {result['parameters']:,} parameters, {result['positions']} positions, "
        f"one frame every {1000 * conditions['frame_seconds']:.0f} ms; {conditions['hardware']}; "
        f"{conditions['date']}.\n",
        HEADER,
        "|" + " --- |" * HEADER.count(" |"),
    ]
    for setting in result["settings"]:
        is_full = setting["chunk_frames"] is None
        cells = [
            FULL if is_full else str(setting["chunk_frames"]),
            "" if is_full else "all" if setting["left_chunks"] is None else str(setting["left_chunks"]),
            "the end" if is_full else f"{1000 * setting['latency_seconds']:.0f}",
            _milliseconds(setting["work_seconds"]),
            _milliseconds(setting["word_delays"]),
            f"{setting['real_time_factor']:.4f}",
            _percent(setting["metrics"]["wer"]),
            _percent(setting["metrics"]["cer"]),
            "" if is_full else _percent(setting["wer_minus_full"]),
            "" if is_full else f"{setting['texts_unlike_offline']} of {conditions['num_items']}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    claims = sorted({claim for setting in result["settings"] for claim in setting["claims"]})
    return "\n".join([*lines, "", LEGEND, *(f"\n- {claim}" for claim in claims)]) + "\n"


def _milliseconds(spread: dict | None) -> str:
    return "" if spread is None else f"{1000 * spread['median']:.0f}, {1000 * spread['percentile_95']:.0f}"


def _percent(metric: dict) -> str:
    return f"{100 * metric['value']:.2f} % ({100 * metric['low']:.2f} to {100 * metric['high']:.2f})"


def _number_or(word: str) -> Callable[[str], int | None]:
    def read(text: str) -> int | None:
        return None if text == word else int(text)

    read.__name__ = f"number or {word!r}"
    return read


def main(arguments: Sequence[str] | None = None) -> None:
    """Load the corpus, measure, write and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="folder of a checkpoint with causal convolutions")
    parser.add_argument("--corpus", required=True, help="as load_corpus takes it")
    parser.add_argument("--split", default="validation", help='split to measure on; "all" takes every row')
    parser.add_argument("--where", nargs="+", default=[], metavar="COLUMN=VALUE", help="rows to measure on; also !=")
    parser.add_argument("--chunks", nargs="+", type=_number_or(FULL), default=[4, 8, 16, 32], help="output frames")
    parser.add_argument("--left-chunks", nargs="+", type=_number_or("all"), default=[None], help="numbers, or all")
    parser.add_argument("--resample", action="store_true", help="resample audio at another rate instead of refusing it")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    parser.add_argument("--out", type=Path, help="folder; `results` beside the checkpoint if left out")
    options = parser.parse_args(arguments)
    chunks = [length for length in options.chunks if length is not None]
    if not chunks:
        parser.error("`--chunks` names no number; the whole is always measured, so give e.g. --chunks 4 8 16 32.")
    corpus = Path(options.corpus).name
    result = benchmark_streaming(
        options.checkpoint,
        select_split(load_corpus(options.corpus), options.split, options.where),
        corpus=corpus,
        split=" ".join([options.split, *options.where]),
        chunks=chunks,
        left_chunks=options.left_chunks,
        resample=options.resample,
        seed=options.seed,
    )
    folder = options.out or options.checkpoint.parent / "results"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"streaming_{corpus}_{options.split}.json"
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(as_markdown(result), encoding="utf-8")
    print(as_markdown(result))


if __name__ == "__main__":
    main()
