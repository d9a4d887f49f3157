"""Copies the takes of a session into a new folder: a corpus that `load_corpus` reads, or the layout of LJSpeech.

    python export.py FOLDER TARGET [--layout ljspeech] [--speaker NAME] [--sampling-rate 22050]

The layout `corpus` is that of the session itself, without what is not part of it. `ljspeech` is wavs/ID.wav and
metadata.csv with ID|text|normalised text, of one speaker.
"""

import argparse
import io
import shutil
import sys
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import soundfile
import soxr
from files import PART, to_csv
from session import COLUMNS, TABLE, Row, SessionError, clean_speaker, read_table

LAYOUTS = ("corpus", "ljspeech")
SAMPLING_RATES = (8_000, 192_000)


class ExportError(ValueError):
    """There is nothing to export, or no place for it; the message is one sentence with its remedy."""


def choose_rows(rows: Sequence[Row], layout: str, speaker: str | None) -> list[Row]:
    """The takes to export.

    Raises:
        ExportError: There are none, or a layout for one speaker would hold several.
    """
    speakers = sorted({row.speaker_id for row in rows})
    chosen = [row for row in rows if speaker in (None, row.speaker_id)]
    if not chosen:
        of_whom = f"of {speaker!r} among those of {', '.join(speakers)}" if speakers else "yet"
        raise ExportError(f"There are no takes {of_whom}; record some first.")
    if layout == "ljspeech" and speaker is None and len(speakers) > 1:
        raise ExportError(f"LJSpeech is a layout for one speaker; choose one of {', '.join(speakers)} by --speaker.")
    return chosen


def exported_files(
    folder: Path, rows: Sequence[Row], layout: str, sampling_rate: int | None = None
) -> Iterator[tuple[str, bytes]]:
    """The files of an export, one after the other: name and content.

    Args:
        rows: As `choose_rows` gives them.
        layout: One of `LAYOUTS`.
        sampling_rate: Rate to resample to, Hz; None keeps that of the microphone.

    Raises:
        ExportError: A text cannot stand in the layout.
    """
    if layout == "ljspeech":
        yield TABLE, _ljspeech_table(rows)
    else:
        yield TABLE, to_csv(COLUMNS, (asdict(row).values() for row in rows))
    for row in rows:
        yield row.file_name, _sound(folder / row.file_name, sampling_rate)


def export_to_folder(files: Iterator[tuple[str, bytes]], target: Path) -> int:
    """Writes an export into a new folder, which appears whole or not at all, and returns the number of sounds.

    Raises:
        ExportError: The folder exists already, or cannot be written.
    """
    if target.exists():
        raise ExportError(f"{target} exists already; name a new folder.")
    part, count = target.with_name(target.name + PART), -1  # the table is no sound
    shutil.rmtree(part, ignore_errors=True)
    try:
        for name, content in files:
            (part / name).parent.mkdir(parents=True, exist_ok=True)
            (part / name).write_bytes(content)
            count += 1
        part.rename(target)
    except OSError as error:
        raise ExportError(f"{target} cannot be written: {error.strerror}; choose another folder.") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return count


def export_to_zip(files: Iterator[tuple[str, bytes]], path: Path) -> None:
    """Writes an export into an archive, of one folder that is named as the archive.

    Raises:
        ExportError: The archive cannot be written.
    """
    try:
        with zipfile.ZipFile(path, "w") as archive:  # stored: sound hardly shrinks by deflation
            for name, content in files:
                archive.writestr(f"{path.stem}/{name}", content)
    except OSError as error:
        raise ExportError(f"The archive cannot be written: {error.strerror}; free some space.") from None


def _ljspeech_table(rows: Sequence[Row]) -> bytes:
    lines = []
    for row in rows:
        cells = (Path(row.file_name).stem, row.text, row.normalised_text)
        if any("|" in cell or not cell.isprintable() for cell in cells):
            raise ExportError(
                f"The text of {row.file_name} holds “|”, which LJSpeech cannot keep; use the layout corpus."
            )
        lines.append("|".join(cells) + "\n")
    return "".join(lines).encode()


def _sound(path: Path, sampling_rate: int | None) -> bytes:
    if sampling_rate is None:
        return path.read_bytes()
    try:
        samples, own_rate = soundfile.read(path, dtype="int16")
    except soundfile.LibsndfileError:
        raise ExportError(f"{path} is damaged; remove its row from {TABLE} and record its text again.") from None
    file = io.BytesIO()
    resampled = soxr.resample(samples, own_rate, sampling_rate, quality="HQ")
    soundfile.write(file, resampled, sampling_rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def main(arguments: list[str] | None = None) -> int:
    """Writes one export."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the session")
    parser.add_argument("target", type=Path, help="folder to make")
    parser.add_argument("--layout", choices=LAYOUTS, default="corpus", help="(default: %(default)s)")
    parser.add_argument("--speaker", help="whose takes; by default all")
    parser.add_argument("--sampling-rate", type=int, help="in Hz; by default as recorded")
    options = parser.parse_args(arguments)
    lowest, highest = SAMPLING_RATES
    try:
        if options.sampling_rate is not None and not lowest <= options.sampling_rate <= highest:
            raise ExportError(f"`--sampling-rate` is {options.sampling_rate}, expected {lowest} to {highest} Hz.")
        speaker = options.speaker and clean_speaker(options.speaker)
        rows = choose_rows(read_table(options.folder), options.layout, speaker)
        count = export_to_folder(
            exported_files(options.folder, rows, options.layout, options.sampling_rate), options.target
        )
    except (ExportError, SessionError) as error:
        print(f"export.py: error: {error}", file=sys.stderr)
        return 1
    print(f"takes in {options.target}: {count}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
