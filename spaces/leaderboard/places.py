"""Where the rows lie: a folder, or a dataset repository on the Hub. Both list and read files by their relative path."""

import re
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path

import httpx2
from huggingface_hub import HfApi, RepoFile, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError

# A leaderboard; a run or checkpoint; a folder of such.
PATTERNS = ("rows/*/*.json", "results/*.json", "*/results/*.json")
MAX_ENTRIES = 5000  # files that are looked at, of which each row has several
REPOSITORY_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
CLIENT_ERRORS = (OSError, httpx2.HTTPError, RuntimeError, ValueError)


class PlaceError(ValueError):
    """The rows cannot be read; the message is one sentence."""


class Folder:
    """Rows in a folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.name = str(folder)

    def version(self) -> None:
        """A folder has no versions: it is read each time."""

    def row_files(self) -> dict[str, int]:
        """Sizes of the rows' files in bytes by their path."""
        paths = sorted({path for pattern in PATTERNS for path in self.folder.glob(pattern) if path.is_file()})
        return {path.relative_to(self.folder).as_posix(): path.stat().st_size for path in paths[:MAX_ENTRIES]}

    def read(self, path: str, max_bytes: int) -> bytes | None:
        """A file that is no larger than `max_bytes`; None where there is none."""
        file = self.folder / path
        return file.read_bytes() if file.is_file() and file.stat().st_size <= max_bytes else None


class Dataset:
    """Rows in a dataset repository on the Hub."""

    def __init__(self, repo_id: str):
        self.name = repo_id
        self.revision = None

    def version(self) -> str:
        """The newest commit, from which the next calls read.

        Raises:
            PlaceError: The Hub does not answer, or has no such dataset.
        """
        try:
            self.revision = HfApi().dataset_info(self.name).sha
        except CLIENT_ERRORS as error:
            raise PlaceError(f"The Hub gives no dataset {self.name}: {' '.join(str(error).split())[:200]}") from error
        return self.revision

    def row_files(self) -> dict[str, int]:
        """Sizes of the rows' files in bytes by their path."""
        tree = HfApi().list_repo_tree(self.name, "rows", recursive=True, revision=self.revision, repo_type="dataset")
        try:
            files = [entry for entry in islice(tree, MAX_ENTRIES) if isinstance(entry, RepoFile)]
        except EntryNotFoundError:
            return {}  # nobody has submitted anything yet
        except CLIENT_ERRORS as error:
            raise PlaceError(f"The Hub does not list {self.name}: {' '.join(str(error).split())[:200]}") from error
        return {file.path: file.size for file in files if fnmatch(file.path, PATTERNS[0])}

    def read(self, path: str, max_bytes: int) -> bytes | None:
        """A file that is no larger than `max_bytes`; None where there is none."""
        return read_from_hub(self.name, path, max_bytes, "dataset", self.revision)


def read_from_hub(
    repo_id: str, path: str, max_bytes: int, kind: str = "model", revision: str | None = None
) -> bytes | None:
    """Fetches a file of a repository, if it is there and no larger than `max_bytes`.

    Raises:
        PlaceError: The Hub does not answer.
    """
    try:
        found = HfApi().get_paths_info(repo_id, [path], repo_type=kind, revision=revision)
        if not found or not isinstance(found[0], RepoFile) or found[0].size > max_bytes:
            return None
        return Path(hf_hub_download(repo_id, path, repo_type=kind, revision=revision)).read_bytes()
    except CLIENT_ERRORS as error:
        raise PlaceError(f"The Hub gives no {path} of {repo_id}: {' '.join(str(error).split())[:200]}") from error


def open_place(reference: str) -> Folder | Dataset:
    """The folder or the Hub dataset of that name.

    Raises:
        PlaceError: It is neither.
    """
    if (folder := Path(reference).expanduser()).is_dir():
        return Folder(folder.resolve())
    if not REPOSITORY_ID.fullmatch(reference):
        raise PlaceError(f"{reference!r} is no folder here, and no name OWNER/DATASET of a dataset on the Hub.")
    return Dataset(reference)
