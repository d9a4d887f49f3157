"""The folder of a session: takes as WAV files and their table. What `keep` has returned from is on the disk.

A take is first written whole under a new name, then the table is replaced by one that lists it, then the take that it
replaces, if any, is removed. Killed at any moment, the table lists only files that are there, and every take that was
kept. What may be left over is a file that no table lists; it is reported at the next start and never removed, since it
could be somebody's only copy.
"""

import contextlib
import csv
import hashlib
import io
import re
import threading
import unicodedata
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

import soundfile
from filelock import FileLock, Timeout
from files import remove_parts, to_csv, write_whole
from prompts import Prompt, PromptError, merge, read_list, to_table
from takes import Problem, Take

TABLE, PROMPTS, SOUNDS, LOCK = "metadata.csv", "prompts.csv", "wavs", ".studio.lock"
FILE_NAME = re.compile(rf"{SOUNDS}/[a-z0-9-]+-\d{{5,}}\.wav")
MAX_SPEAKER_LENGTH = 40
MAX_FIELD_LENGTH = 100
# Of a hundred texts; a text belongs to the same split whoever reads it, so that no test text is trained on.
SPLITS = {"test": 10, "validation": 10, "train": 80}


class SessionError(ValueError):
    """A session cannot begin or a take cannot be kept; the message is one sentence with its remedy."""


class ConflictError(SessionError):
    """The text of a take has got another take meanwhile."""


@dataclass(frozen=True)
class Row:
    """A take in the table. The first seven are columns of every corpus of Antiphon.

    Args:
        file_name: Relative to the folder.
        problems: Names of what was wrong when it was kept all the same, separated by spaces.
    """

    file_name: str
    text: str
    speaker_id: str
    duration_seconds: str
    split: str
    source: str
    license: str
    normalised_text: str
    prompt_list: str
    problems: str
    recorded_at: str


COLUMNS = tuple(field.name for field in fields(Row))


class Session:
    """The takes of one speaker in a folder that may hold those of others; one process at a time has it."""

    def __init__(self, folder: Path, speaker: str, *, license: str, source: str, prompts: Iterable[Prompt] = ()):
        """Opens or creates the folder.

        Args:
            speaker: Any name; letters, digits and hyphens are kept of it.
            license: Of the takes to come, as the table states it.
            source: Of the takes to come, likewise.
            prompts: Added to those that the folder has.

        Raises:
            SessionError: Another process has the folder, it cannot be written, or its table is not one of this Space.
            PromptError: Its prompts cannot be read, or there are none.
        """
        self.folder = Path(folder)
        self.speaker = clean_speaker(speaker)
        self.license, self.source = (
            _one_line(name, value) for name, value in (("license", license), ("source", source))
        )
        # Pages are served by several threads, and two windows may show the same prompt.
        self._lock = threading.RLock()
        try:
            (self.folder / SOUNDS).mkdir(parents=True, exist_ok=True)
            self._own = FileLock(self.folder / LOCK)
            self._own.acquire(timeout=0)
        except Timeout:
            raise SessionError(
                f"{self.folder} is open in another studio; close that one, or choose another folder."
            ) from None
        except OSError as error:
            raise SessionError(_cannot_write(self.folder, error)) from None
        try:
            self._open(prompts)
        except BaseException:
            self.close()
            raise

    def _open(self, prompts: Iterable[Prompt]) -> None:
        self._rows = read_table(self.folder)
        try:
            for place in (self.folder, self.folder / SOUNDS):
                remove_parts(place)
            stored = read_list(self.folder / PROMPTS) if (self.folder / PROMPTS).is_file() else []
            self._prompts = merge(stored, prompts)
            if not self._prompts:
                raise PromptError(f"{self.folder} has no prompts yet; name a list of them.")
            if self._prompts != stored:
                write_whole(self.folder / PROMPTS, to_table(self._prompts))
        except OSError as error:
            raise SessionError(_cannot_write(self.folder, error)) from None

    def close(self) -> None:
        """Lets others have the folder."""
        self._own.release()

    @property
    def prompts(self) -> list[Prompt]:
        """What is to be read, in order."""
        return self._prompts

    @property
    def takes(self) -> dict[str, Row]:
        """The takes of this speaker, by their text."""
        return {row.text: row for row in self._rows if row.speaker_id == self.speaker}

    @property
    def strays(self) -> list[Path]:
        """Sounds that the table does not list."""
        listed = {row.file_name for row in self._rows}
        sounds = (self.folder / SOUNDS).glob("*.wav")
        return sorted(path for path in sounds if path.relative_to(self.folder).as_posix() not in listed)

    def add_prompts(self, prompts: Iterable[Prompt]) -> int:
        """Adds a list, and returns how many of its texts are new.

        Raises:
            PromptError: They would be too many.
            SessionError: The folder cannot be written; it is as before.
        """
        with self._lock:
            merged = merge(self._prompts, prompts)
            try:
                write_whole(self.folder / PROMPTS, to_table(merged))
            except OSError as error:
                raise SessionError(_cannot_write(self.folder, error)) from None
            num_new, self._prompts = len(merged) - len(self._prompts), merged
        return num_new

    def keep(self, prompt: Prompt, take: Take, problems: Iterable[Problem] = (), replaces: str | None = None) -> Row:
        """Keeps a take; when this returns, it is on the disk.

        Args:
            problems: What is wrong with it.
            replaces: File name of the take of this text that whoever recorded knew of; None without one.

        Raises:
            ConflictError: The text has got another take meanwhile.
            SessionError: The folder cannot be written; all earlier takes are as they were.
        """
        with self._lock:
            former = self.takes.get(prompt.text)
            if replaces != (former and former.file_name):
                raise ConflictError(
                    "This text was recorded in another window meanwhile; listen to that take, and keep yours once more "
                    "if it should replace it."
                )
            row = self._new_row(prompt, take, problems)
            rows = [row if other is former else other for other in self._rows] if former else [*self._rows, row]
            try:
                write_whole(self.folder / row.file_name, encode_wav(take))
                write_whole(self.folder / TABLE, to_csv(COLUMNS, (asdict(each).values() for each in rows)))
            except OSError as error:
                self._go_back(row)
                raise SessionError(_cannot_write(self.folder, error)) from None
            self._rows = rows
            if former:
                _remove(self.folder / former.file_name)
        return row

    def _new_row(self, prompt: Prompt, take: Take, problems: Iterable[Problem]) -> Row:
        return Row(
            file_name=self._next_name(),
            text=prompt.text,
            speaker_id=self.speaker,
            duration_seconds=f"{take.seconds:.3f}",
            split=split_of(prompt.normalised_text),
            source=self.source,
            license=self.license,
            normalised_text=prompt.normalised_text,
            prompt_list=prompt.list_name,
            problems=" ".join(problem.name for problem in problems),
            recorded_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def _go_back(self, row: Row) -> None:
        # Only the table on the disk tells whether it was replaced before the error came.
        with contextlib.suppress(SessionError):
            self._rows = read_table(self.folder)
            if row not in self._rows:
                _remove(self.folder / row.file_name)

    def _next_name(self) -> str:
        # Never a name that was used: what a killed process left over is nobody's to overwrite.
        own = re.compile(rf"{self.speaker}-(\d{{5,}})\.wav")
        found = (own.fullmatch(path.name) for path in (self.folder / SOUNDS).glob("*.wav"))
        number = max((int(match[1]) for match in found if match), default=0) + 1
        return f"{SOUNDS}/{self.speaker}-{number:05d}.wav"


def read_table(folder: Path) -> list[Row]:
    """The takes of a folder; none where nothing was recorded yet.

    Raises:
        SessionError: The table is not one of this Space, or a file that it lists is missing.
    """
    path = folder / TABLE
    if not path.is_file():
        return []
    try:
        header, *cells = csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""), strict=True)
    except (csv.Error, OSError, UnicodeDecodeError, ValueError) as error:
        raise SessionError(
            f"{path} cannot be read: {error}; put back a copy of it, or choose another folder."
        ) from None
    if tuple(header) != COLUMNS or any(len(row) != len(COLUMNS) for row in cells):
        raise SessionError(f"{path} was not written by this studio; choose another folder, or move that one away.")
    rows = [Row(*row) for row in cells]
    for row in rows:
        if not FILE_NAME.fullmatch(row.file_name) or not (folder / row.file_name).is_file():
            raise SessionError(f"{path} lists {row.file_name!r}, which is missing; put it back or remove its row.")
    return rows


def encode_wav(take: Take) -> bytes:
    """The take as a WAV file with 16 bits a sample."""
    file = io.BytesIO()
    soundfile.write(file, take.samples, take.sampling_rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def clean_speaker(name: str) -> str:
    """A name as it may stand in file names: "Ana María" becomes "ana-maria".

    Raises:
        SessionError: Nothing is left of it.
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    cleaned = re.sub(r"[^a-z0-9]+", "-", plain)[:MAX_SPEAKER_LENGTH].strip("-")
    if not cleaned:
        raise SessionError(f"`speaker` is {name!r}; give a name with at least one letter from a to z or a digit.")
    return cleaned


def split_of(text: str) -> str:
    """The split that a text belongs to, by the hash of its letters and digits."""
    letters = "".join(filter(str.isalnum, text.casefold()))
    place = int.from_bytes(hashlib.sha256(letters.encode()).digest()[:4]) % sum(SPLITS.values())
    for name, share in SPLITS.items():
        if place < share:
            return name
        place -= share
    raise AssertionError("the shares of the splits fill the whole")


def _remove(path: Path) -> None:
    # What cannot be removed is a sound without a row, which the next start reports.
    with contextlib.suppress(OSError):
        path.unlink()


def _one_line(name: str, value: str) -> str:
    value = value.strip()
    if not 0 < len(value) <= MAX_FIELD_LENGTH or not value.isprintable():
        raise SessionError(f"`{name}` is {value!r}, expected 1 to {MAX_FIELD_LENGTH} characters on one line.")
    return value


def _cannot_write(folder: Path, error: OSError) -> str:
    return (
        f"{folder} cannot be written: {error.strerror}; free some space or choose another folder. All takes kept "
        "before are still there."
    )
