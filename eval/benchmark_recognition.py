"""Measure a speech recogniser on a corpus split: error rates with intervals, baselines, an audit and conditions.

    python eval/benchmark_recognition.py runs/quickstart/checkpoint --corpus fsdd --split test --train-split train

writes `results/<name>.json`, the result row, and `results/<name>_items.parquet`, every item that it was computed from,
beside the checkpoint folder.
"""

import sys
from pathlib import Path

if not __package__ and not sys.flags.safe_path:
    # Run as a script, this folder's `statistics` would hide the standard library's.
    del sys.path[0]

import argparse
import json
from collections.abc import Callable, Sequence

import torch
from datasets import Dataset
from transformers import (
    AutoConfig,
    AutoModelForCTC,
    AutoModelForSpeechSeq2Seq,
    AutoProcessor,
    PreTrainedModel,
    ProcessorMixin,
)

from antiphon.eval.baselines import EMPTY_TRANSCRIPT, NO_INPUT, best_constant_transcript, strongest_baseline
from antiphon.eval.beam_decoding import (
    BeamOptions,
    add_beam_arguments,
    describe_search,
    read_beam_arguments,
    score_hot_words,
)
from antiphon.eval.conditions import file_sha256, machine_conditions, records_sha256
from antiphon.eval.generation import DECODING, Transcript, generates_text
from antiphon.eval.metric_loading import load_metric
from antiphon.eval.nearest_template import nearest_template_transcripts
from antiphon.eval.recognition_scores import score_items, summarize_items, training_claims
from antiphon.eval.result_rows import read_row, write_row
from antiphon.eval.selection import ALL_SPLITS, select_split
from antiphon.eval.text_normalization import text_normalizer
from antiphon.eval.transcription import Transcription, transcribe
from antiphon.processing.corpora import audit_split, decode, item_ids, load_corpus
from antiphon.processing.decoding_beam import BeamSearch


def benchmark_recognition(
    checkpoint: str | Path,
    test: Dataset,
    *,
    name: str,
    corpus: str,
    split: str = "test",
    train: Dataset | None = None,
    out: str | Path | None = None,
    lexicon: Sequence[str] = (),
    beams: BeamOptions | None = None,
    resample: bool = False,
    speaker_dependent: bool = False,
    allow_near_duplicates: bool = False,
    training_seed: int | None = None,
    device: str | torch.device = "cpu",
    seed: int = 0,
    text_like: str | Path | None = None,
) -> dict:
    """Measure a checkpoint and write its result row.

    Args:
        checkpoint: folder with `model.safetensors`, configuration, processor and code, of a model with CTC or of one
            that generates text, such as Whisper; or a format that `train_scripts/export.py` wrote.
        test: the items to measure on, as `load_corpus` returns them.
        name: of the benchmark; conditions that must not be mixed (lexicon, split) deserve names of their own.
        corpus, split: what `test` is, for the row.
        train: what the checkpoint was trained on: the baselines learn from it, and the split is audited against it.
        out: folder for the row and the items; `results` beside the checkpoint folder if None.
        lexicon: transcripts of which the likeliest is chosen; greedy decoding if empty.
        beams: how to decode by beam search; greedy decoding if None.
        resample: whether audio at another rate than the model's is resampled instead of refused.
        speaker_dependent: accept that test speakers are also in training; the row then says so.
        allow_near_duplicates: accept test recordings that training has in another encoding, gain or cut; the row then
            says so.
        training_seed: that the checkpoint was trained with; lets several trainings be pooled into one row.
        device: where the model runs.
        seed: of the bootstrap.
        text_like: checkpoint whose form of text is scored; rows are compared in one form only. Its own if None.

    Returns:
        The row, as written.

    Raises:
        ValueError: no items, an item without a text, or both a lexicon and beams, or beams for a
            checkpoint that generates its text.
        CorpusError: names of items that are missing or not unique.
        SplitLeakageError: training and test share what they must not.
    """
    if beams and lexicon:
        raise ValueError("`lexicon` and `beams` are two ways of decoding; leave one of them out.")
    checkpoint = Path(checkpoint)
    names, texts, durations = item_ids(test), _texts(test, "test"), _durations(test)
    train_texts = [] if train is None else _texts(train, "train")
    # Before the work: an audit that refuses spares it.
    audit = None
    if train is not None:
        audit = audit_split(
            train, test, speaker_dependent=speaker_dependent, allow_near_duplicates=allow_near_duplicates
        )
    num_known = None if audit is None else audit.num_shared_groups
    model, processor = load_recogniser(checkpoint)
    model = model.to(device)
    if beams and generates_text(model):
        raise ValueError("`beams` needs a CTC checkpoint; this one generates its text by a search of its own.")
    search = beams.make_search(checkpoint, processor.tokenizer) if beams else None
    normalize, normalizer_name = text_normalizer(
        AutoProcessor.from_pretrained(text_like, trust_remote_code=True).tokenizer if text_like else processor.tokenizer
    )
    references, train_texts, candidates = (
        [normalize(text) for text in given] for given in (texts, train_texts, lexicon)
    )

    transcription = transcribe(
        model, processor, test, durations, candidates=sorted(set(candidates)), search=search, resample=resample
    )
    hypotheses = [normalize(text) for text in transcription.texts]
    baselines = _baseline_transcripts(train, train_texts, test, processor.feature_extractor.sampling_rate)
    items = score_items(names, test["speaker_id"], references, hypotheses, baselines, durations)
    if training_seed is not None:
        items["seed"] = training_seed
    summary = summarize_items(items, seed=seed)
    dataset = _describe_dataset(test, corpus, split, durations)
    row = {
        "benchmark": name,
        "task": "automatic-speech-recognition",
        "dataset": dataset,
        **_describe_checkpoint(checkpoint, model),
        **{name: summary[name] for name in ("metrics", "primary_metric", "groups", "baselines")},
        "claims": summary["claims"] + training_claims(num_known, dataset["num_speakers"]),
        "seeds": summary["seeds"],
        "conditions": {
            "corpus_sha256": records_sha256(zip(names, references, map(_audio_bytes, test["audio"]))),
            "split_sha256": records_sha256(zip(names, references)),
            "item_ids_sha256": records_sha256(zip(names)),
            "train_split_sha256": None if train is None else _train_sha256(train, train_texts),
            "group_by": summary["group_by"],
            "text_normalizer": normalizer_name,
            "sampling_rate": processor.feature_extractor.sampling_rate,
            "resample": resample,
            "decoding": DECODING if generates_text(model) else _decoding_name(candidates, search),
            "judges": [],  # references are typed texts, no model judges
            "audit": None if audit is None else audit.to_dict(),
            "seed": seed,
            "exported": read_export(checkpoint),
            # An exported graph stays on the CPU, whatever was asked for.
            **machine_conditions(model.device),
        },
        "speed": _speed(transcription),
    }
    if generates_text(model):
        row["repetition"] = describe_repetition(transcription.transcripts, references, normalize)
    if search and search.hot_words:
        row["hot_words"] = score_hot_words(references, hypotheses, search.hot_words.phrases)
    return read_row(write_row(row, items, checkpoint.parent / "results" if out is None else out))


def load_recogniser(checkpoint: str | Path) -> tuple[PreTrainedModel, ProcessorMixin]:
    """Load a recogniser, whatever it decodes by, in evaluation mode, and its processor."""
    config = AutoConfig.from_pretrained(checkpoint, trust_remote_code=True)
    auto = AutoModelForSpeechSeq2Seq if getattr(config, "is_encoder_decoder", False) else AutoModelForCTC
    model = auto.from_pretrained(checkpoint, trust_remote_code=True).eval()
    return model, AutoProcessor.from_pretrained(checkpoint, trust_remote_code=True)


def describe_repetition(
    transcripts: Sequence[Transcript], references: Sequence[str], normalize: Callable[[str], str]
) -> dict:
    """Say how many items a generating recogniser looped on, and what WER it has without the guard against that.

    Args:
        transcripts: (items,).
        references: (items,), normalised.
        normalize: of transcripts.
    """
    unguarded = [normalize(transcript.unguarded_text) for transcript in transcripts]
    return {
        "items": len(transcripts),
        "looped": sum(transcript.looped for transcript in transcripts),
        "still_loop": sum(transcript.still_loops for transcript in transcripts),
        "wer_unguarded": load_metric("error_rates").compute(predictions=unguarded, references=references)["wer"],
    }


def _baseline_transcripts(
    train: Dataset | None, train_texts: Sequence[str], test: Dataset, sampling_rate: int
) -> dict[str, list[str]]:
    """What each baseline answers to the test items; without training data only the empty transcript is left."""
    if train is None:
        return {"empty_transcript": [EMPTY_TRANSCRIPT] * len(test)}
    return {
        "best_constant_transcript": [best_constant_transcript(train_texts)] * len(test),
        "nearest_template": nearest_template_transcripts(train, train_texts, test, sampling_rate=sampling_rate),
    }


def _texts(dataset: Dataset, argument: str) -> list[str]:
    texts = dataset["text"][:]
    if None in texts:
        raise ValueError(
            f"`{argument}` has {texts.count(None)} items without a text; expected a transcript for each. "
            "Leave those items out openly, e.g. with a `where` condition."
        )
    return texts


def _train_sha256(train: Dataset, texts: Sequence[str]) -> str:
    # Training may see an item several times and mix corpora, so names need neither exist nor differ.
    return records_sha256((name or "", text) for name, text in zip(train["file_name"], texts))


def _durations(dataset: Dataset) -> list[float]:
    durations = dataset["duration_seconds"][:]
    for index, duration in enumerate(durations):
        if duration is None:
            waveform, sampling_rate = decode(dataset[index])
            durations[index] = len(waveform) / sampling_rate
    return durations


def _audio_bytes(audio: dict) -> bytes:
    return audio["bytes"] if audio["bytes"] is not None else Path(audio["path"]).read_bytes()


def _describe_dataset(dataset: Dataset, corpus: str, split: str, durations: Sequence[float]) -> dict:
    return {
        "name": corpus,
        "license": ", ".join(sorted(set(dataset["license"]))),
        "split": split,
        "num_items": len(dataset),
        "num_speakers": len(set(dataset["speaker_id"]) - {None}),
        "hours": sum(durations) / 3600,
    }


def _describe_checkpoint(checkpoint: Path, model: torch.nn.Module) -> dict:
    weights = checkpoint / getattr(model.config, "model_file", "model.safetensors")
    return {
        "checkpoint_sha256": file_sha256(weights),
        "model": {"parameters": model.num_parameters(), "bytes": weights.stat().st_size},
    }


def read_export(checkpoint: Path) -> dict | None:
    """Return format and original of an exported checkpoint, from the report beside it; None where nothing was exported.

    Returns:
        `format` and `original_sha256`, the digest of the weights that were exported.
    """
    report = checkpoint / "export.json"
    if not report.is_file():
        return None
    content = json.loads(report.read_text(encoding="utf-8"))
    return {"format": content["format"], "original_sha256": content["conditions"]["checkpoint_sha256"]}


def _decoding_name(candidates: Sequence[str], search: BeamSearch | None) -> str:
    if search:
        return describe_search(search)
    if not candidates:
        return "greedy"
    distinct = set(candidates)
    digest = records_sha256((text,) for text in distinct)
    return f"closed vocabulary of {len(distinct)} transcripts ({digest[:12]})"


def _speed(transcription: Transcription) -> dict:
    measured = load_metric("real_time_factor").compute(
        predictions=transcription.processing_seconds, references=transcription.audio_seconds
    )
    return {"real_time_factor": measured["real_time_factor"], "audio_seconds": measured["audio_seconds"]}


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="folder of the checkpoint")
    parser.add_argument("--corpus", required=True, help="as load_corpus takes it: a folder, a name or a Hub dataset id")
    parser.add_argument("--split", default="test", help='split to measure on; "all" takes every row')
    parser.add_argument("--where", nargs="+", default=[], metavar="COLUMN=VALUE", help="rows to measure on; also !=")
    parser.add_argument("--train-corpus", help="corpus trained on; --corpus if only --train-split is given")
    parser.add_argument("--train-split", help="split trained on: gives the baseline and is audited against")
    parser.add_argument("--train-where", nargs="+", default=[], metavar="COLUMN=VALUE", help="rows trained on")
    parser.add_argument("--name", help="name of the benchmark; <corpus>_<split>, and how it was decoded, if left out")
    parser.add_argument("--out", type=Path, help="folder for the results; `results` beside the checkpoint if left out")
    parser.add_argument(
        "--lexicon",
        nargs="?",
        const="",
        metavar="FILE",
        help="choose among these transcripts, one per line, or among those of the training split if no file is named",
    )
    parser.add_argument("--resample", action="store_true", help="resample audio at another rate instead of refusing it")
    parser.add_argument("--speaker-dependent", action="store_true", help="accept test speakers that are in training")
    parser.add_argument(
        "--allow-near-duplicates", action="store_true", help="accept test recordings that are in training, re-encoded"
    )
    parser.add_argument("--training-seed", type=int, help="seed that the checkpoint was trained with")
    parser.add_argument(
        "--text-like", metavar="CHECKPOINT", help="score text in the form of this checkpoint, so that rows compare"
    )
    add_beam_arguments(parser)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0, help="seed of the bootstrap")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Load the corpus, measure the checkpoint, print the row's figures."""
    options = parse_arguments(arguments)
    beams = read_beam_arguments(options)
    test = select_split(load_corpus(options.corpus), options.split, options.where)
    train = None
    if options.train_split or options.train_corpus:
        train_corpus = load_corpus(options.train_corpus or options.corpus)
        train = select_split(train_corpus, options.train_split or ALL_SPLITS, options.train_where)
    corpus = Path(options.corpus).name
    row = benchmark_recognition(
        options.checkpoint,
        test,
        name=options.name or f"{corpus}_{options.split}" + _suffix(options),
        corpus=corpus,
        split=" ".join([options.split, *options.where]),
        train=train,
        out=options.out,
        lexicon=_read_lexicon(options.lexicon, train),
        beams=beams,
        resample=options.resample,
        speaker_dependent=options.speaker_dependent,
        allow_near_duplicates=options.allow_near_duplicates,
        training_seed=options.training_seed,
        device=options.device,
        seed=options.seed,
        text_like=options.text_like,
    )
    print(format_row(row))


def _suffix(options: argparse.Namespace) -> str:
    """What tells rows of one split apart that were decoded differently."""
    return "_lexicon" if options.lexicon is not None else "_beams" if options.beams > 1 else ""


def _read_lexicon(lexicon: str | None, train: Dataset | None) -> list[str]:
    if lexicon is None:
        return []
    if lexicon:
        return [line for line in Path(lexicon).read_text(encoding="utf-8").splitlines() if line.strip()]
    if train is None:
        raise ValueError("`--lexicon` names no file and no training split is given; pass FILE or --train-split.")
    return _texts(train, "train")


def format_row(row: dict) -> str:
    """Return the figures of a row as lines of text: metrics with intervals, every baseline and speaker, claims."""
    hearing_nothing = row["baselines"][strongest_baseline(row, NO_INPUT)]["metrics"]
    lines = [f"{row['benchmark']}: items {row['dataset']['num_items']}, speakers {row['dataset']['num_speakers']}"]
    for metric, entry in row["metrics"].items():
        interval = "no interval" if entry["num_groups"] == 1 else f"{entry['low']:.2%} to {entry['high']:.2%}"
        lines.append(
            f"  {metric:<9}{entry['value']:8.2%}  ({interval}); hearing nothing {hearing_nothing[metric]['value']:.2%}"
        )
    if repetition := row.get("repetition"):
        lines.append(
            f"  loops: {repetition['looped']} of {repetition['items']} items decoded again, {repetition['still_loop']} "
            f"loop still; WER without that {repetition['wer_unguarded']:.2%}"
        )
    if hot_words := row.get("hot_words"):
        lines.append(
            f"  hot words: found {hot_words['found']} of {hot_words['said']} that were said; "
            f"{hot_words['false_alarms']} false alarms"
        )
    primary = row["primary_metric"]
    for entry in row["baselines"].values():
        lines.append(f"    {primary} {entry['metrics'][primary]['value']:.2%}: a baseline that {entry['description']}")
    for speaker, group in row["groups"].items():
        lines.append(f"    {speaker:<20} WER {group['wer']:8.2%}  accuracy {group['accuracy']:8.2%}  n {group['n']}")
    return "\n".join([*lines, *(f"  {claim}" for claim in row["claims"])])


if __name__ == "__main__":
    main()
