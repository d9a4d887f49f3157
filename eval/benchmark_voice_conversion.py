"""Measure voice conversion on the stored pairs: likeness, words, melody, quality, against baselines, with intervals.

    python eval/benchmark_voice_conversion.py runs/voice/checkpoint --recogniser model_cards/conformer-read-speech
    python eval/benchmark_voice_conversion.py --system world_pitch_and_envelope --quick

writes `results/<name>.json`, the result row, and `results/<name>_items.parquet`, every item that it was computed from,
beside the checkpoint folder. With `--audio FOLDER` the recordings are kept for `eval/voice_report.py`.
"""

import sys
from pathlib import Path

if not __package__ and not sys.flags.safe_path:
    # Run as a script, this folder's `statistics` would hide the standard library's.
    del sys.path[0]

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import torch

from antiphon.eval.benchmark_definition import item_digests
from antiphon.eval.conditions import machine_conditions, records_sha256
from antiphon.eval.result_formats import format_counted, format_difference
from antiphon.eval.result_rows import read_row, write_row
from antiphon.eval.training_speakers import speakers_of_training
from antiphon.eval.voice_checkpoint import describe_checkpoint, load_converter
from antiphon.eval.voice_items import Conversions
from antiphon.eval.voice_judges import SAMPLING_RATE, TEXT_NORMALIZER
from antiphon.eval.voice_panel import Judges, known_judges, load_judges
from antiphon.eval.voice_parts import part_baselines
from antiphon.eval.voice_runs import run_systems
from antiphon.eval.voice_scores import (
    CROSSED_WITH,
    GROUP_BY,
    MEASURED,
    TASK,
    audit_claims,
    count_groups,
    recount,
    summarize_items,
)
from antiphon.eval.voice_speed import measure_speed_apart
from antiphon.eval.voice_systems import MODEL_FREE, VoiceSystem
from antiphon.processing.corpora.voices import load_conversion_pairs, load_voices

CORPUS = "conversion_pairs"


def benchmark_voice_conversion(
    system: VoiceSystem,
    conversions: Conversions,
    baselines: Mapping[str, VoiceSystem],
    judges: Judges,
    *,
    name: str,
    split: str,
    out: str | Path,
    checkpoint: str | Path | None = None,
    system_name: str | None = None,
    trained_on: Sequence[str] | None = None,
    training_seed: int | None = None,
    audio: str | Path | None = None,
    seed: int = 0,
) -> dict:
    """Measure a converter and its baselines, and write the result row.

    Args:
        system: what is measured.
        conversions: to be made.
        baselines: by their names in `BASELINES`.
        judges: who judges.
        name: of the benchmark.
        split: which of the pairs, for the row.
        out: folder for the row and the items.
        checkpoint: folder with `model.safetensors`, where the system has one.
        system_name: of the system, where a folder holds rows of several.
        trained_on: speakers of training, None if they are not known; the row says how many of them are tested.
        training_seed: that the checkpoint was trained with; lets several trainings be pooled.
        audio: folder in which every recording is kept, by item and system.
        seed: of the bootstrap.

    Returns:
        The row, as written.

    Raises:
        ValueError: no pairs, or none whose target has a recording besides the reference.
    """
    if not len(conversions):
        raise ValueError("`conversions` is empty; expected at least one pair of a source and a target.")
    if not conversions.num_held_out:
        raise ValueError(
            f"`conversions` has {len(conversions)} pairs, and no target has a recording besides what systems are "
            "given; expected one that likeness can be judged by. Choose other scenarios."
        )
    run = run_systems({"": system, **{f"{name}.": one for name, one in baselines.items()}}, conversions, judges, audio)
    items = run.items.join(recount(run.items))
    if training_seed is not None:
        items["seed"] = training_seed
    summary = summarize_items(items, seed=seed)
    digests = item_digests(items, GROUP_BY)
    tested = set(items[GROUP_BY]) | set(items[CROSSED_WITH])
    audit = None
    if trained_on is not None:
        audit = {"num_shared_groups": len(tested & set(trained_on)), "num_train_speakers": len(trained_on)}
    row = {
        "benchmark": name,
        **({"system": system_name} if system_name else {}),
        "task": TASK,
        "dataset": {
            "name": CORPUS,
            "license": ", ".join(conversions.licenses),
            "split": split,
            "num_items": len(items),
            **count_groups(items),
            "hours": float(items["duration_seconds"].sum() / 3600),
        },
        **describe_checkpoint(checkpoint, run.outputs_sha256),
        **{key: summary[key] for key in MEASURED},
        "claims": summary["claims"] + audit_claims([(split, audit)], items),
        "conditions": {
            "corpus_sha256": run.inputs_sha256,
            "split_sha256": digests["split_sha256"],
            "item_ids_sha256": digests["item_ids_sha256"],
            "train_split_sha256": records_sha256((speaker,) for speaker in trained_on or ()),
            "group_by": GROUP_BY,
            "crossed_with": CROSSED_WITH,
            "outputs_sha256": run.outputs_sha256,
            "judges": judges.names,
            "judges_trained_against": list(judges.trained_against),
            "text_normalizer": TEXT_NORMALIZER,
            "sampling_rate": SAMPLING_RATE,
            "audit": audit,
            "seed": seed,
            **machine_conditions(torch.device("cpu")),
        },
        "speed": run.speed,
    }
    path = write_row(row, items, out)
    if checkpoint:  # whatever happens to that process, the hours above are not lost
        row["speed"] = run.speed | {"apart": measure_speed_apart(checkpoint)}
        path = write_row(row, items, out)
    return read_row(path)


def measure_checkpoint(
    checkpoint: str | Path,
    *,
    name: str,
    out: str | Path,
    quick: bool = False,
    scenarios: Sequence[str] | None = None,
    side: str = "test",
    recogniser: str | Path | None = None,
    speaker_encoder: str | Path | None = None,
    with_quality: bool = True,
    baselines: Sequence[str] | None = None,
    training_seed: int | None = None,
    audio: str | Path | None = None,
    seed: int = 0,
) -> dict:
    """Measure a published converter on the stored pairs.

    Args:
        checkpoint: folder.
        name, out, training_seed, audio, seed: as `benchmark_voice_conversion` takes them.
        quick, scenarios, side: which pairs; side "validation" is for choosing a model.
        recogniser, speaker_encoder, with_quality: as `load_judges` takes them.
        baselines: names; all that can be made if None.

    Returns:
        The row, as written.
    """
    converter = load_converter(checkpoint)
    made = {kind: system() for kind, system in MODEL_FREE.items()} | part_baselines(converter.model)
    judges = load_judges(recogniser, speaker_encoder, with_quality=with_quality)
    return benchmark_voice_conversion(
        converter,
        load_conversions(quick, scenarios, side),
        choose_baselines(made, baselines),
        replace(judges, trained_against=known_judges(converter.model, judges)),
        name=name,
        split=split_name(quick, scenarios, side),
        out=out,
        checkpoint=checkpoint,
        trained_on=speakers_of_training(checkpoint),
        training_seed=training_seed,
        audio=audio,
        seed=seed,
    )


def choose_baselines(made: Mapping[str, VoiceSystem], names: Iterable[str] | None) -> dict[str, VoiceSystem]:
    """Those of the names, or all.

    Raises:
        ValueError: a name is unknown.
    """
    names = list(made if names is None else names)
    if unknown := [name for name in names if name not in made]:
        raise ValueError(
            f"`baselines` has {', '.join(unknown)}, which cannot be made; expected some of {', '.join(made)}."
        )
    return {name: made[name] for name in names}


def load_conversions(quick: bool = False, scenarios: Sequence[str] | None = None, side: str = "test") -> Conversions:
    """The stored pairs of a side, all or a few of each scenario, of all scenarios or some."""
    pairs = load_conversion_pairs(side, quick)
    if scenarios is not None:
        pairs = pairs[pairs["scenario"].isin(scenarios)].reset_index(drop=True)
    return Conversions(pairs, load_voices(side), load_conversion_pairs(side))


def split_name(quick: bool, scenarios: Sequence[str] | None, side: str = "test") -> str:
    """What a row calls these pairs."""
    return " ".join([*([] if side == "test" else [side]), "quick" if quick else "all", *(scenarios or [])])


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, nargs="?", help="folder of the checkpoint")
    parser.add_argument("--system", choices=MODEL_FREE, help="measure this instead of a checkpoint")
    parser.add_argument("--quick", action="store_true", help="a few pairs of each scenario")
    parser.add_argument("--scenarios", nargs="+", help="only these")
    parser.add_argument("--recogniser", type=Path, help="folder of a second recogniser, trained here")
    parser.add_argument("--speaker-encoder", type=Path, help="folder of a second speaker judge, trained here")
    parser.add_argument("--without-quality", action="store_true", help="leave out DNSMOS, which takes longest")
    parser.add_argument("--baselines", nargs="*", help="names; all that can be made if left out")
    parser.add_argument("--name", default="voice_conversion", help="name of the benchmark")
    parser.add_argument("--out", type=Path, help="folder for the results; `results` beside the checkpoint if left out")
    parser.add_argument("--audio", type=Path, help="folder to keep all recordings in")
    parser.add_argument("--training-seed", type=int, help="seed that the checkpoint was trained with")
    parser.add_argument("--seed", type=int, default=0, help="seed of the bootstrap")
    options = parser.parse_args(arguments)
    if (options.checkpoint is None) == (options.system is None):
        parser.error("give either a checkpoint or --system")
    if options.out is None and options.checkpoint is None:
        parser.error("--system needs --out")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure a checkpoint or a system that needs none, and print the row's figures."""
    options = parse_arguments(arguments)
    judges = {"recogniser": options.recogniser, "speaker_encoder": options.speaker_encoder}
    judges["with_quality"] = not options.without_quality
    shared = {"name": options.name, "audio": options.audio, "seed": options.seed}
    if options.checkpoint:
        row = measure_checkpoint(
            options.checkpoint,
            out=options.out or options.checkpoint.parent / "results",
            quick=options.quick,
            scenarios=options.scenarios,
            baselines=options.baselines,
            training_seed=options.training_seed,
            **judges,
            **shared,
        )
    else:
        made = {name: system() for name, system in MODEL_FREE.items() if name != options.system}
        row = benchmark_voice_conversion(
            MODEL_FREE[options.system](),
            load_conversions(options.quick, options.scenarios),
            choose_baselines(made, options.baselines),
            load_judges(**judges),
            split=split_name(options.quick, options.scenarios),
            out=options.out,
            system_name=options.system,
            trained_on=(),
            **shared,
        )
    print(format_row(row))


def format_row(row: dict) -> str:
    """Return the figures of a row as lines of text: metrics, baselines, scenarios, claims."""
    counts = ", ".join(f"{row['dataset'][f'num_{n}']} {n}" for n in ("items", "target_speakers", "source_speakers"))
    lines = [f"{row['benchmark']}: {counts}"]
    lines += [f"  {metric:<22}{format_counted(entry)}" for metric, entry in row["metrics"].items()]
    for name, entry in row["baselines"].items():
        figures = ", ".join(
            f"{metric} {format_counted(entry['metrics'].get(metric))}" for metric in ("similarity", "wer", "dnsmos")
        )
        lines.append(f"    {name:<26}{figures}")
        if difference := entry["difference"].get("similarity"):
            lines.append(
                f"    {'':<26}similarity above it by {format_difference(difference, None)}, n {difference['n']}"
            )
    for name, entry in row["scenarios"].items():
        lines.append(f"    {name:<22}{_likeness_and_words(entry)}")
        for condition, own in entry.get("conditions", {}).items():
            lines.append(f"      {condition:<20}{_likeness_and_words(own)}")
    return "\n".join([*lines, *(f"  {claim}" for claim in row["claims"])])


def _likeness_and_words(entry: Mapping) -> str:
    return ", ".join(f"{metric} {format_counted(entry['metrics'].get(metric))}" for metric in ("similarity", "wer"))


if __name__ == "__main__":
    main()
