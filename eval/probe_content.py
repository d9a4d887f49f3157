"""Measure what a content encoder keeps and what it hides: linear probes of the speaker, small probes of the text.

    python eval/probe_content.py linear=runs/content_encoder/content_encoder vq=runs/content_vq/content_encoder

writes one result row for each system into `results/`, and prints a table. The features are the mel spectrogram, its
smooth normalised envelope, the content of every checkpoint, and k-means units on the content of the first one. Speakers
are those of validation and test, whom no encoder was trained on; the probes of text train on the training side and read
the test side of the same corpus. For the speaker lower is better, and chance is the share of the commonest speaker.
"""

import sys
from pathlib import Path

if not __package__ and not sys.flags.safe_path:
    # Run as a script, this folder's `statistics` would hide the standard library's.
    del sys.path[0]

import argparse
import re
from collections import Counter
from collections.abc import Mapping, Sequence

import jiwer
import numpy as np
import pandas as pd
import torch
from datasets import Dataset, concatenate_datasets

from antiphon.eval.baselines import NO_INPUT, SIMPLE
from antiphon.eval.conditions import describe_weights, machine_conditions, records_sha256
from antiphon.eval.content_probes import NUM_FOLDS, as_units, fit_units, is_long_enough, read_speakers, read_texts
from antiphon.eval.result_formats import format_interval, markdown_table
from antiphon.eval.result_rows import write_row
from antiphon.eval.statistics import (
    LEVEL,
    baseline_claims,
    bootstrap_difference,
    bootstrap_mean,
    bootstrap_ratio,
    paired_permutation_test,
    population_claims,
)
from antiphon.modeling.modeling_content_encoder import ContentEncoderModel
from antiphon.processing import LogMelFeatureExtractor
from antiphon.processing.corpora import decode
from antiphon.processing.corpora.voices import load_voices

SAMPLING_RATE = 16_000
LEVEL_DBFS = -27.0
BASELINE = "mel"
NOTHING = "majority_label"


@torch.no_grad()
def extract(corpus: Dataset, encoders: Mapping[str, torch.nn.Module]) -> dict[str, list[np.ndarray]]:
    """Frames of every utterance, 50 per second, by system: mel spectrogram, envelope, content of each encoder."""
    extractor = LogMelFeatureExtractor(win_length=640, n_fft=640, mel_floor=1e-6, normalize="none")
    first = next(iter(encoders.values()))
    frames = {name: [] for name in (BASELINE, "envelope", *encoders)}
    for row in corpus:
        waveform = decode(row, SAMPLING_RATE)[0]
        rms = np.sqrt(np.mean(waveform**2, dtype=np.float64))
        waveform = (waveform * (10 ** (LEVEL_DBFS / 20) / max(rms, 1e-6))).astype(np.float32)
        mel = extractor(waveform, SAMPLING_RATE, return_tensors="pt")["input_features"]
        mel = mel[:, : mel.shape[1] // 2 * 2]
        frames[BASELINE].append(mel[0].reshape(-1, 2 * mel.shape[2]).numpy())
        envelope = first.envelope(mel)[0]
        frames["envelope"].append(envelope.reshape(-1, 2 * envelope.shape[1]).numpy())
        for name, encoder in encoders.items():
            frames[name].append(encoder(mel).content[0].numpy())
    return frames


def plain_text(text: str) -> str:
    """Lower case; letters, digits, apostrophes and single spaces only."""
    return " ".join(re.sub(r"[^a-z0-9' ]", " ", text.lower()).split())


def probe(
    frames: Mapping[str, list[np.ndarray]], name: str, sides: Mapping[str, np.ndarray], corpus: Dataset, seed: int
) -> pd.DataFrame:
    """Runs both probes on one system.

    Args:
        frames: By system, for each row of `corpus`.
        name: Of the system.
        sides: Row numbers by use: "speaker", "train", "test".
        corpus: With text and speaker_id.
        seed: Of folds, probes and units.

    Returns:
        One row for each item of either probe: item_id, speaker_id, is_speaker_right, character_errors, characters.
    """
    chosen = {use: [frames[name][index] for index in rows] for use, rows in sides.items()}
    texts = {use: [plain_text(corpus[int(index)]["text"]) for index in sides[use]] for use in ("train", "test")}
    speakers = [corpus[int(index)]["speaker_id"] for index in sides["speaker"]]
    found = read_speakers(chosen["speaker"], speakers, seed)
    hypotheses = read_texts(chosen["train"], texts["train"], chosen["test"], seed=seed)
    measured = [jiwer.process_characters(reference, said) for reference, said in zip(texts["test"], hypotheses)]
    errors = [output.substitutions + output.insertions + output.deletions for output in measured]
    heard = pd.DataFrame(
        {
            "item_id": [corpus[int(index)]["file_name"] for index in sides["speaker"]],
            "speaker_id": speakers,
            "is_speaker_right": found == np.array(speakers),
        }
    )
    read = pd.DataFrame(
        {
            "item_id": [corpus[int(index)]["file_name"] for index in sides["test"]],
            "speaker_id": [corpus[int(index)]["speaker_id"] for index in sides["test"]],
            "hypothesis": hypotheses,
            "character_errors": errors,
            "characters": [len(reference) for reference in texts["test"]],
        }
    )
    return heard.merge(read, on=["item_id", "speaker_id"], how="outer").sort_values("item_id", ignore_index=True)


def summarize(items: pd.DataFrame, baseline: pd.DataFrame) -> dict:
    """The measured part of a row: both metrics with intervals over speakers, and their differences to baselines.

    Args:
        items: of the system, as `probe` returns them.
        baseline: of the mel spectrogram.
    """
    nothing = _hear_nothing(items)
    system = _Outcomes(items)
    others = {
        BASELINE: ("probes the mel spectrogram itself", SIMPLE, _Outcomes(baseline)),
        NOTHING: ("hears nothing, always names the commonest speaker and writes nothing", NO_INPUT, nothing),
    }
    return {
        "metrics": system.metrics(),
        "primary_metric": "speaker_accuracy",
        "chance": nothing.metrics()["speaker_accuracy"]["value"],
        "baselines": {
            name: {
                "description": description,
                "kind": kind,
                "metrics": outcomes.metrics(),
                "difference": {metric: _entry(interval) for metric, interval in system.minus(outcomes).items()},
            }
            for name, (description, kind, outcomes) in others.items()
        },
        "claims": [*population_claims(len(set(system.heard["speaker_id"]))), *_claims(system, nothing)],
    }


class _Outcomes:
    """What both probes made of one system: right speakers, character errors."""

    def __init__(self, items: pd.DataFrame):
        self.heard, self.read = (items[items[column].notna()] for column in ("is_speaker_right", "character_errors"))
        self.right = self.heard["is_speaker_right"].astype(float).tolist()
        self.errors = self.read["character_errors"].tolist()
        self.characters = self.read["characters"].tolist()
        self.speakers = {"speaker_accuracy": self.heard["speaker_id"].tolist(), "cer": self.read["speaker_id"].tolist()}

    def metrics(self) -> dict[str, dict]:
        accuracy = bootstrap_mean(self.right, self.speakers["speaker_accuracy"], possible_range=(0.0, 1.0))
        return {
            "speaker_accuracy": _entry(accuracy),
            "cer": _entry(bootstrap_ratio(self.errors, self.characters, self.speakers["cer"])),
        }

    def minus(self, other: "_Outcomes") -> dict:
        return {
            "speaker_accuracy": bootstrap_difference(self.right, other.right, self.speakers["speaker_accuracy"]),
            "cer": bootstrap_difference(self.errors, other.errors, self.speakers["cer"], self.characters),
        }


def _hear_nothing(items: pd.DataFrame) -> _Outcomes:
    """As if every answer were the commonest speaker and the empty text."""
    heard = items["is_speaker_right"].notna()
    commonest = Counter(items.loc[heard, "speaker_id"]).most_common(1)[0][0]
    named = (items["speaker_id"] == commonest).where(heard)
    return _Outcomes(items.assign(is_speaker_right=named, character_errors=items["characters"]))


def _claims(system: _Outcomes, nothing: _Outcomes) -> list[str]:
    """Whether the speaker is still found, and whether any text is read."""
    differences = system.minus(nothing)
    test = paired_permutation_test(system.right, nothing.right, system.speakers["speaker_accuracy"])
    text_test = paired_permutation_test(system.errors, nothing.errors, system.speakers["cer"])
    text = baseline_claims(differences["cer"], text_test, higher_is_better=False)
    found = differences["speaker_accuracy"]
    is_found = found.low > 0 and test.p_value < LEVEL
    excess = f"{100 * found.value:+.1f} points over naming the commonest (p = {test.p_value:.2g})"
    speaker = "this probe does not surely find the speaker; another may"
    if is_found:
        speaker = f"THE SPEAKER IS STILL FOUND: {excess}"
    return [speaker, *(f"text: {claim}" for claim in text)]


def _entry(interval) -> dict:
    bounds = {"value": interval.value, "low": interval.low, "high": interval.high}
    return bounds | {
        "unit": "ratio",
        "higher_is_better": False,
        "n": interval.num_items,
        "num_groups": interval.num_groups,
    }


def load_sides(name: str, max_train: int, seed: int) -> tuple[Dataset, dict[str, np.ndarray]]:
    """One corpus with the row numbers that each probe uses: speakers of validation and test, texts by side."""
    parts = {side: load_voices(side, [name]) for side in ("train", "validation", "test")}
    chosen = np.random.default_rng(seed).permutation(len(parts["train"]))[:max_train]
    parts["train"] = parts["train"].select(np.sort(chosen))
    corpus = concatenate_datasets(list(parts.values()))
    rows = np.arange(len(corpus))
    split = np.array(corpus["split"])
    counts = Counter(np.array(corpus["speaker_id"])[split != "train"])
    often = np.array([counts[speaker] >= NUM_FOLDS for speaker in corpus["speaker_id"]])
    uses = {"speaker": rows[(split != "train") & often], "train": rows[split == "train"], "test": rows[split == "test"]}
    return corpus, uses


def _too_short(corpus: Dataset, rows: np.ndarray, frames: list[np.ndarray]) -> int:
    """How many training utterances the probe of text cannot use; all systems have as many frames."""
    texts = (plain_text(corpus[int(index)]["text"]) for index in rows)
    return sum(not is_long_enough(len(frames[index]), text) for index, text in zip(rows, texts))


def main(arguments: Sequence[str] | None = None) -> None:
    """Extract features, run the probes, write a row for each system, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoders", nargs="+", help="name=folder of a ContentEncoderModel")
    parser.add_argument("--corpus", default="an4", help="one of `load_voices`, with texts")
    parser.add_argument("--max-train", type=int, default=1000, help="utterances that the probes of text train on")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder for the results")
    parser.add_argument("--seed", type=int, default=0, help="of folds, probes and units")
    options = parser.parse_args(arguments)
    folders = {name: Path(folder) for name, _, folder in (each.partition("=") for each in options.encoders)}
    encoders = {name: ContentEncoderModel.from_pretrained(folder).eval() for name, folder in folders.items()}
    corpus, sides = load_sides(options.corpus, options.max_train, options.seed)
    frames = extract(corpus, encoders)
    first = next(iter(encoders))
    units = fit_units([frames[first][index] for index in sides["train"]], seed=options.seed)
    frames["units"] = as_units(units, frames[first])
    lines, baseline = [], None
    short = _too_short(corpus, sides["train"], frames[first])
    for name in frames:
        items = probe(frames, name, sides, corpus, options.seed)
        baseline = items if baseline is None else baseline
        row = {
            "benchmark": f"content_probes_{options.corpus}",
            "system": name,
            "task": "content-probing",
            "dataset": {"name": options.corpus, "split": "validation and test", "num_items": len(items)},
            **describe_weights(folders.get(name, folders[first])),
            **summarize(items, baseline),
            "seeds": [],
            "conditions": {
                "item_ids_sha256": records_sha256(zip(items["item_id"])),
                "group_by": "speaker_id",
                "sampling_rate": SAMPLING_RATE,
                "speaker_probe": f"logistic regression on mean and deviation, {NUM_FOLDS} folds of utterances",
                "text_probe": f"one convolution with CTC, {len(sides['train'])} training utterances, "
                f"{short} of them left out as too short for their text",
                "seed": options.seed,
                **machine_conditions(torch.device("cpu")),
            },
        }
        write_row(row, items, options.out)
        lines.append([name, *(format_interval(row["metrics"][metric]) for metric in ("speaker_accuracy", "cer"))])
        print(" | ".join(lines[-1]), flush=True)
    print(f"\n{markdown_table(['features', 'speaker accuracy ↓', 'CER ↓'], lines)}\n\nchance: {row['chance']:.3f}")


if __name__ == "__main__":
    main()
