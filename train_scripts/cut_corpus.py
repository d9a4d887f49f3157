"""Cuts long recordings with known texts into pieces, at silences between words, as a corpus of their own.

    python train_scripts/cut_corpus.py READINGS --checkpoint model_cards/conformer-an4 --out PIECES --min-seconds 5

A recogniser with CTC tells where the words are. Pieces whose text and sound do not fit are dropped; `cutting.json` in
the new folder, and what is printed, say what was dropped and why.
"""

import argparse
import csv
import io
import shutil
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from datasets import Dataset
from datasets.utils import tqdm

from antiphon.eval.benchmark_recognition import load_recogniser
from antiphon.eval.generation import generates_text
from antiphon.eval.selection import ALL_SPLITS, select_split
from antiphon.processing.audio_io import AudioError, resample_audio, write_audio
from antiphon.processing.corpora import CorpusError, decode, load_corpus
from antiphon.train_scripts.ctc_alignment import AlignmentError, align_text
from antiphon.train_scripts.cutting import Piece, choose_pieces, find_silences
from antiphon.train_scripts.run_folder import write_json, write_text

COLUMNS = (
    "file_name", "text", "speaker_id", "duration_seconds", "source", "license", "split", "cut_from", "start_seconds",
    "end_seconds", "alignment_score",
)  # fmt: skip


class Report:
    """Counts recordings and pieces, and their seconds, by what became of them."""

    def __init__(self):
        self.counts, self.seconds = Counter(), Counter()

    def add(self, what: str, seconds: float) -> None:
        self.counts[what] += 1
        self.seconds[what] += seconds

    def as_dict(self) -> dict[str, dict]:
        return {what: {"count": count, "seconds": round(self.seconds[what], 2)} for what, count in self.counts.items()}

    def __str__(self) -> str:
        return "\n".join(f"{count} {what}, {self.seconds[what]:.1f} s" for what, count in self.counts.items())


def cut_recording(row: dict, recogniser, options: argparse.Namespace, report: Report) -> list[tuple[dict, np.ndarray]]:
    """The pieces of one recording: rows of the new corpus, each with its sound at the rate of the recording.

    Args:
        row: Of a corpus.
        recogniser: The model and its processor.
        options: Of the command line.
        report: Counts what was dropped.
    """
    model, processor = recogniser
    waveform, sampling_rate = decode(row)
    seconds = len(waveform) / sampling_rate
    report.add("recordings", seconds)
    if seconds < options.min_seconds:
        report.add(f"recordings dropped: shorter than {options.min_seconds:g} s", seconds)
        return []
    if sampling_rate != processor.sampling_rate and not options.resample:
        raise CorpusError(
            f"{row['file_name']} has {sampling_rate} Hz but the recogniser hears {processor.sampling_rate} Hz; with "
            "--resample it hears a copy at its rate, and the pieces keep theirs."
        )
    heard = resample_audio(waveform, sampling_rate, processor.sampling_rate)
    try:
        alignment = align_text(model, processor, heard, row["text"] or "")
    except AlignmentError as error:
        report.add(f"recordings dropped: {error}", seconds)
        return []
    silences = find_silences(alignment, heard, processor.sampling_rate)
    chosen = choose_pieces(silences, options.min_seconds, options.max_seconds)
    count_gaps(chosen, len(alignment.words), seconds, options.max_seconds, report)
    pieces = []
    for piece in chosen:
        score = alignment.score(piece.first, piece.last, piece.start_seconds, piece.end_seconds)
        length = piece.end_seconds - piece.start_seconds
        if score < options.min_score:
            report.add(f"pieces dropped: alignment score below {options.min_score:g}", length)
            continue
        name = f"audio/{Path(row['file_name']).with_suffix('').as_posix().replace('/', '_')}-{len(pieces):03d}.flac"
        begin, end = (round(time * sampling_rate) for time in (piece.start_seconds, piece.end_seconds))
        sound = waveform[begin:end]
        report.add("pieces written", len(sound) / sampling_rate)
        pieces.append(
            (
                {
                    "file_name": name,
                    "text": " ".join(word.text for word in alignment.words[piece.first : piece.last + 1]),
                    "duration_seconds": len(sound) / sampling_rate,
                    "cut_from": row["file_name"],
                    "start_seconds": begin / sampling_rate,
                    "end_seconds": end / sampling_rate,
                    "alignment_score": round(score, 4),
                    **{key: row[key] for key in ("speaker_id", "source", "license", "split")},
                },
                sound,
            )
        )
    return pieces


def count_gaps(pieces: list[Piece], num_words: int, seconds: float, max_seconds: float, report: Report) -> None:
    """Counts the sound of a recording that is in no piece."""
    last, end = -1, 0.0
    for piece in [*pieces, Piece(num_words, num_words, seconds, seconds)]:
        gap = piece.start_seconds - end
        if piece.first > last + 1:
            report.add(f"stretches dropped: no silence to cut at within {max_seconds:g} s, or too short", gap)
        elif gap > 0:
            report.add("silences left out between pieces", gap)
        last, end = piece.last, piece.end_seconds


def cut_corpus(corpus: Dataset, recogniser, options: argparse.Namespace) -> Report:
    """Cuts every recording of a corpus and writes the folder `options.out`, which appears only when it is complete.

    Args:
        corpus: Rows of `load_corpus`.
        recogniser: A model with CTC and its processor.
        options: Of the command line.

    Raises:
        CorpusError: No piece is left, or a rate differs.
    """
    unfinished = options.out.with_name(f".{options.out.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    (unfinished / "audio").mkdir(parents=True)
    table = io.StringIO()
    writer = csv.DictWriter(table, COLUMNS, lineterminator="\n")
    writer.writeheader()
    report = Report()
    for row in tqdm(corpus, desc="cutting", unit=" recordings"):
        for piece, sound in cut_recording(row, recogniser, options, report):
            target = unfinished / piece["file_name"]
            if target.exists():
                raise CorpusError(f"two recordings would be cut into {piece['file_name']}; rename {piece['cut_from']}.")
            peak = np.abs(sound).max()
            if peak > 1:  # lossy codecs overshoot, and what is stored in 16 bits would clip
                report.add("pieces made quieter: their peak was above full scale", piece["duration_seconds"])
                sound = sound / peak
            write_audio(target, sound, round(len(sound) / piece["duration_seconds"]))
            writer.writerow(piece)
    if not report.counts["pieces written"]:
        shutil.rmtree(unfinished)
        raise CorpusError(f"no piece is left to write:\n{report}")
    write_text(unfinished / "metadata.csv", table.getvalue())
    settings = {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()}
    write_json(unfinished / "cutting.json", {"settings": settings, "report": report.as_dict()})
    unfinished.rename(options.out)
    return report


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", help="long recordings with their texts, as load_corpus takes them")
    parser.add_argument("--checkpoint", required=True, help="recogniser with CTC, a folder or a Hub repository")
    parser.add_argument("--out", type=Path, required=True, help="folder to write, which must not be there yet")
    parser.add_argument("--split", default=ALL_SPLITS, help='split to cut; "all" takes every row')
    parser.add_argument("--where", nargs="+", default=[], metavar="COLUMN=VALUE", help="rows to cut; also !=")
    parser.add_argument("--min-seconds", type=float, default=5.0, help="shortest piece")
    parser.add_argument("--max-seconds", type=float, default=16.0, help="longest piece")
    parser.add_argument(
        "--min-score",
        type=float,
        default=-0.5,
        help="pieces below are dropped: 0 where the recogniser would write the same, else less",
    )
    parser.add_argument("--resample", action="store_true", help="let the recogniser hear another rate than its own")
    options = parser.parse_args(arguments)
    if not 0 < options.min_seconds < options.max_seconds:
        parser.error(f"--min-seconds {options.min_seconds:g} must be positive and below --max-seconds")
    if options.out.exists():
        parser.error(f"--out {options.out} is there already; name another folder, or delete it")
    return options


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)
    try:
        model, processor = load_recogniser(options.checkpoint)
        if generates_text(model) or not hasattr(processor, "frame_seconds"):
            sys.exit(f"error: {options.checkpoint} is no recogniser with CTC that was trained here; name one.")
        rows = select_split(load_corpus(options.corpus), options.split, options.where)
        print(cut_corpus(rows, (model, processor), options))
    except (AudioError, ValueError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
