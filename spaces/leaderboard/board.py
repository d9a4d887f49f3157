"""The whole leaderboard: every row that can be read, and every file that cannot, with its reason."""

import threading
from dataclasses import dataclass, field

from cards import MAX_CARD_BYTES, card_paths, paragraph, render_card
from places import REPOSITORY_ID, Dataset, Folder, PlaceError, read_from_hub
from rows import MAX_ROW_BYTES, Entry, RowError, clip, read_entry


@dataclass
class Board:
    """Rows of one place.

    Args:
        place: Where they lie.
    """

    place: Folder | Dataset
    entries: list[Entry] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    notice: str = ""
    version: str | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def refresh(self) -> None:
        """Reads the rows again where they may have changed; keeps those of before where the Hub does not answer."""
        with self.lock:
            try:
                version = self.place.version()
                if version is None or version != self.version:
                    self.entries, self.refused = self._read()
                self.version, self.notice = version, ""
            except PlaceError as error:
                self.notice = f"{error} {'These are the rows of before.' if self.entries else ''}"

    def _read(self) -> tuple[list[Entry], dict[str, str]]:
        entries, refused = [], {}
        for path, size in self.place.row_files().items():
            try:
                if size > MAX_ROW_BYTES:
                    raise RowError(f"it has {size:,} bytes, at most {MAX_ROW_BYTES:,} are read")
                entries.append(read_entry(path, self.place.read(path, MAX_ROW_BYTES)))
            except (RowError, OSError) as error:
                refused[clip(path, 120)] = clip(error)
        return entries, refused

    def card(self, entry: Entry) -> str:
        """HTML of a system's card, or a sentence on why there is none."""
        model_id = str(entry.row.get("model", {}).get("id", ""))
        try:
            for path in card_paths(entry.path):
                if (data := self.place.read(path, MAX_CARD_BYTES)) is not None:
                    return render_card(data)
            if REPOSITORY_ID.fullmatch(model_id) and (data := read_from_hub(model_id, "README.md", MAX_CARD_BYTES)):
                return render_card(data)
        except PlaceError as error:
            return paragraph(str(error))
        return paragraph("Nobody has put a card beside this result.")
