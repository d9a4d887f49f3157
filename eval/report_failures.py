"""The items that a system gets most wrong, for a report: what was said and recognised, how it sounds and looks."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import soundfile
from rapidfuzz.distance import Levenshtein

from antiphon.eval.report_blocks import AlignedWord, Alignment, Paragraph, Section, Sound
from antiphon.eval.report_figures import spectrogram_figure
from antiphon.eval.report_percepts import percept_errors
from antiphon.eval.report_results import comparable_rows, primary_metric, system_name
from antiphon.eval.report_source import ReportSource
from antiphon.eval.result_formats import format_number
from antiphon.processing.audio_io import AudioError
from antiphon.processing.corpora import CorpusError, SynthesisError, decode, item_ids, load_corpus

# A page stays small enough to be mailed: 30 s of 16 kHz speech are about half a megabyte.
MAX_CLIP_SECONDS = 30.0
MAX_AUDIO_BYTES = 8_000_000
# A recording whose length differs more from that of the measured one is another recording.
SAME_DURATION_SECONDS = 0.02


class Recordings:
    """Finds the recordings of items in the corpora that a run or study names, and adds up what has been embedded.

    Args:
        source: what was measured.
        audible: whether the report may hold recordings at all; not every licence and reader allows it.
    """

    def __init__(self, source: ReportSource, audible: bool = True):
        self.source = source
        self.audible = audible
        self.embedded_bytes = 0
        self._corpora: dict[str, tuple] = {}

    def find(self, item: pd.Series, dataset: Mapping) -> tuple[np.ndarray, int] | str:
        """The waveform, (samples,) float32, and its rate in Hz; else the reason why it cannot be had."""
        # A study knows the corpus by the name or folder to load it from, a row only by its last part.
        names = dict.fromkeys(filter(None, [self.source.study.get("corpus"), dataset["name"]]))
        reasons = []
        for name in names:
            corpus, positions = self._load(name)
            if corpus is None:
                reasons.append(f"the corpus {name} is not on this machine")
            elif item["item_id"] not in positions:
                reasons.append(f"the corpus {name} has no item of this name")
            else:
                return self._decode(corpus[positions[item["item_id"]]], item)
        return "; ".join(reasons)

    def _load(self, name: str) -> tuple:
        if name not in self._corpora:
            try:
                corpus = load_corpus(name)
                self._corpora[name] = corpus, {id: position for position, id in enumerate(item_ids(corpus))}
            except (CorpusError, SynthesisError):
                self._corpora[name] = None, {}
        return self._corpora[name]

    def _decode(self, recording: Mapping, item: pd.Series) -> tuple[np.ndarray, int] | str:
        try:
            waveform, sampling_rate = decode(recording)
        except (CorpusError, AudioError, OSError) as error:
            return f"the recording cannot be read ({error})"
        seconds, measured = len(waveform) / sampling_rate, item.get("duration_seconds")
        if measured is not None and abs(seconds - measured) > SAME_DURATION_SECONDS:
            return f"the recording of this name lasts {seconds:.2f} s, but the one that was measured {measured:.2f} s"
        return waveform, sampling_rate


def failure_blocks(source: ReportSource, number: int, *, with_audio: bool = True) -> list:
    """The worst items of the best system, one section for each set of conditions.

    Args:
        source: what was measured.
        number: of items for each.
        with_audio: whether the recordings come along, or only their spectrograms.
    """
    recordings = Recordings(source, with_audio)
    blocks: list = []
    for index, rows in enumerate(comparable_rows(source.rows), start=1):
        blocks += _system_blocks(source, rows, number, recordings, prefix=f"failure_{index}")
    return blocks


def _best(rows: Mapping[str, dict]) -> str:
    metric = primary_metric(next(iter(rows.values())))
    sign = -1 if next(iter(rows.values()))["metrics"][metric].get("higher_is_better") else 1
    return min(rows, key=lambda name: sign * rows[name]["metrics"][metric]["value"])


def _system_blocks(
    source: ReportSource, rows: Mapping[str, dict], number: int, recordings: Recordings, prefix: str
) -> list:
    name = _best(rows)
    row, items = rows[name], source.items(name)
    metric = primary_metric(row)
    benchmark, system = row["benchmark"], system_name(source, row)
    if items is None or not row["metrics"][metric].get("columns"):
        missing = (
            "its item table is missing" if items is None else f"the row does not name the item columns of {metric}"
        )
        return [Paragraph(f"{benchmark}: the worst items of {system} cannot be found, since {missing}.")]
    worst = worst_items(items, row, number)
    if not worst:
        return [Paragraph(f"{benchmark}: {system} makes no error that {metric} counts.")]
    introduction = f"{benchmark}: the {len(worst)} items that cost {system} most by {metric}"
    introduction += f", the system with the best {metric} of those measured." if len(rows) > 1 else "."
    introduction += " They are the worst, not typical ones."
    if {"reference", "hypothesis"} <= set(items):
        introduction += " S marks a word that was substituted, D one that was deleted, I one that was inserted."
    sections = [
        _item_section(answers, row, recordings, f"{prefix}_{index}") for index, answers in enumerate(worst, start=1)
    ]
    return [Paragraph(introduction), *sections]


def worst_items(items: pd.DataFrame, row: Mapping, number: int) -> list[pd.DataFrame]:
    """Find the items that cost the deciding metric most, averaged over trainings.

    Args:
        items: of the row.
        row: names the columns of the metric.
        number: at most so many.

    Returns:
        For each item its lines of the table, one for each training, the worst first. Among equals the shorter item is
        worse, then the alphabetically first. Items without any error are left out.
    """
    entry = row["metrics"][primary_metric(row)]
    numerator, denominator = entry["columns"]
    score = items[numerator].astype(float)
    size = items[denominator].astype(float) if denominator else pd.Series(1.0, index=items.index)
    loss = size - score if entry.get("higher_is_better") else score
    means = pd.DataFrame({"item_id": items["item_id"], "loss": loss, "size": size}).groupby("item_id").mean()
    means = means[means["loss"] > 0]
    ranked = means.reset_index().sort_values(["loss", "size", "item_id"], ascending=[False, True, True])
    return [items[items["item_id"] == item_id] for item_id in ranked["item_id"].head(number)]


def _item_section(answers: pd.DataFrame, row: Mapping, recordings: Recordings, name: str) -> Section:
    """One item: its names and score, the answers of each training, its sound and its spectrogram."""
    item, group_by = answers.iloc[0], row["conditions"].get("group_by")
    blocks: list = [Paragraph(_facts(answers, row, group_by))]
    if {"reference", "hypothesis"} <= set(answers):
        blocks += _alignments(answers)
    blocks += percept_errors(answers)
    recording = recordings.find(item, row["dataset"])
    if isinstance(recording, str):
        return Section(str(item["item_id"]), [*blocks, Paragraph(f"No audio here: {recording}.")])
    waveform, sampling_rate = recording
    seconds = len(waveform) / sampling_rate
    label = f"{item['item_id']}, {seconds:.2f} s"
    if seconds > MAX_CLIP_SECONDS:
        waveform = waveform[: round(MAX_CLIP_SECONDS * sampling_rate)]
        label += f", the first {MAX_CLIP_SECONDS:.0f} s"
    file = io.BytesIO()
    soundfile.write(file, waveform, sampling_rate, format="FLAC", subtype="PCM_16")
    flac = file.getvalue()
    if not recordings.audible:
        blocks.append(Paragraph("No audio here: the report was written without recordings."))
    elif recordings.embedded_bytes + len(flac) > MAX_AUDIO_BYTES:
        blocks.append(Paragraph(f"No audio here: the report holds {MAX_AUDIO_BYTES / 1e6:.0f} MB of it already."))
    else:
        recordings.embedded_bytes += len(flac)
        blocks.append(Sound(name, label, flac))
    return Section(
        str(item["item_id"]), [*blocks, spectrogram_figure(waveform, sampling_rate, f"{name}_spectrogram", label)]
    )


def _facts(answers: pd.DataFrame, row: Mapping, group_by: str | None) -> str:
    numerator, denominator = row["metrics"][primary_metric(row)]["columns"]
    count = format_number(float(answers[numerator].mean()))
    facts = [f"{numerator.replace('_', ' ')}: {count}"]
    if denominator:
        facts[0] += f" of {format_number(float(answers[denominator].mean()))} {denominator.replace('_', ' ')}"
    if len(answers) > 1:
        facts[0] += f", mean of {len(answers)} trainings"
    if group_by and group_by != "item_id":
        facts.insert(0, f"{group_by.removesuffix('_id')} {answers.iloc[0][group_by]}")
    return "; ".join(facts) + "."


def _alignments(answers: pd.DataFrame) -> list[Alignment]:
    """Each different answer once, with the trainings that gave it."""
    alignments = []
    for hypothesis, same in answers.groupby("hypothesis", sort=False):
        label = "Word by word"
        if len(answers) > 1:
            seeds = ", ".join(map(str, same["seed"]))
            label += f", training seed{'s' if len(same) > 1 else ''} {seeds}"
        alignments.append(Alignment(label, align(same.iloc[0]["reference"].split(), hypothesis.split())))
    return alignments


def align(reference: Sequence[str], hypothesis: Sequence[str]) -> list[AlignedWord]:
    """Align two word sequences with the fewest errors: substitutions "S", deletions "D", insertions "I"."""
    words = []
    for step in Levenshtein.opcodes(list(reference), list(hypothesis)):
        spoken = reference[step.src_start : step.src_end]
        recognised = hypothesis[step.dest_start : step.dest_end]
        if step.tag == "insert":
            words += [AlignedWord("", word, "I") for word in recognised]
        elif step.tag == "delete":
            words += [AlignedWord(word, "", "D") for word in spoken]
        else:
            error = "S" if step.tag == "replace" else ""
            words += [AlignedWord(*pair, error) for pair in zip(spoken, recognised)]
    return words
