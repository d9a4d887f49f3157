"""Where a leaderboard lives: a folder, or a dataset repository on the Hub, read and written by the same calls."""

import hashlib
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi, RepoFile, get_token
from huggingface_hub.errors import RepositoryNotFoundError

from antiphon.eval.hub_errors import CLIENT_ERRORS, HubError, hub_errors, hub_sentence, is_repository_id
from antiphon.eval.result_rows import write_atomically


class FolderPlace:
    """A leaderboard in a folder."""

    dataset_id = None

    def __init__(self, folder: Path):
        self.folder = folder

    def read(self, path: str) -> bytes | None:
        """Return a file, None where there is none."""
        return (self.folder / path).read_bytes() if (self.folder / path).is_file() else None

    def rows(self, benchmark: str) -> list[str]:
        """Return the paths of a benchmark's rows."""
        return sorted(path.relative_to(self.folder).as_posix() for path in self.folder.glob(f"rows/{benchmark}/*.json"))

    def write(self, files: Mapping[str, bytes], message: str, pull_request: bool = False) -> str:
        """Write files in their order and return where they are.

        Each is whole or absent. Name first what later ones refer to: a row comes after its items, so that whoever sees
        a row has all of it, even if writing broke off.
        """
        if pull_request:
            raise HubError(f"--pull-request is for the Hub, but {self.folder} is a folder; leave it out")
        for path, content in files.items():
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.folder / path, lambda file, content=content: file.write(content))
        return str(self.folder)

    def address(self, path: str) -> str | None:
        """Return the web address of a file; a folder has none."""
        return None


class HubPlace:
    """A repository on the Hub. It is read at one commit, and written only if that is still the newest.

    Args:
        repo_id: "OWNER/NAME".
        kind: "dataset" or "model".
        create: make the repository if it does not exist.

    Raises:
        HubError: there is no token, or no such repository.
    """

    def __init__(self, repo_id: str, kind: str = "dataset", create: bool = False):
        if get_token() is None:
            raise HubError(
                f"no access token for the Hub; run `hf auth login` or set HF_TOKEN (or write ./{repo_id} for a folder)"
            )
        self.api, self.repo_id, self.kind = HfApi(), repo_id, kind
        self.dataset_id = repo_id if kind == "dataset" else None
        self.url = f"{self.api.endpoint}/{'datasets/' if kind == 'dataset' else ''}{repo_id}"
        with hub_errors(f"nothing was published, {repo_id} is unchanged"):
            if create:
                self.api.create_repo(repo_id, repo_type=kind, exist_ok=True)
            try:
                self.head = self.api.repo_info(repo_id, repo_type=kind).sha
            except RepositoryNotFoundError:
                raise HubError(
                    f"the Hub has no {kind} {repo_id!r}, or none that your token may see; check the name, or make the "
                    "dataset with eval/define_benchmark.py"
                ) from None

    def read(self, path: str) -> bytes | None:
        """Return a file at the commit that this object sees, None where there is none."""
        with hub_errors(f"nothing was published, {self.repo_id} is unchanged"):
            if not self.api.get_paths_info(self.repo_id, [path], repo_type=self.kind, revision=self.head):
                return None
            local = self.api.hf_hub_download(self.repo_id, path, repo_type=self.kind, revision=self.head)
        return Path(local).read_bytes()

    def rows(self, benchmark: str) -> list[str]:
        """Return the paths of a benchmark's rows at the commit that this object sees."""
        with hub_errors(f"nothing was published, {self.repo_id} is unchanged"):
            paths = self.api.list_repo_files(self.repo_id, repo_type=self.kind, revision=self.head)
        return sorted(path for path in paths if fnmatch(path, f"rows/{benchmark}/*.json"))

    def write(self, files: Mapping[str, bytes], message: str, pull_request: bool = False) -> str:
        """Push files in one commit, or as one pull request, read them back and return where they are.

        Raises:
            HubError: the Hub failed; the message says what a visitor sees.
        """
        operations = [CommitOperationAdd(path, content) for path, content in files.items()]
        try:
            commit = self.api.create_commit(
                self.repo_id, operations, commit_message=message, repo_type=self.kind, parent_commit=self.head,
                create_pr=pull_request,
            )  # fmt: skip
            revision, place = commit.pr_revision or commit.oid, commit.pr_url or self.url
        except CLIENT_ERRORS as error:
            revision, place = self._after_failure(error, pull_request), self.url
        with hub_errors(f"{self.repo_id} was pushed but could not be read back"):
            found = self.api.get_paths_info(self.repo_id, list(files), repo_type=self.kind, revision=revision)
        arrived = {entry.path for entry in found if isinstance(entry, RepoFile) and _is_same(entry, files[entry.path])}
        if missing := sorted(set(files) - arrived):
            raise HubError(f"{place} does not hold what was sent ({', '.join(missing)}); run the same command again")
        return place

    def address(self, path: str) -> str | None:
        """Return the web address of a file."""
        return f"{self.url}/blob/main/{path}"

    def _after_failure(self, error: Exception, pull_request: bool) -> str:
        """Find out whether only the answer was lost; the commit to read back then."""
        if pull_request:
            unknown = f"it is unknown whether the pull request was opened, see {self.url}/discussions"
            raise HubError(hub_sentence(error, f"main is unchanged, {unknown}")) from error
        with hub_errors(f"it is unknown whether {self.repo_id} was changed"):
            head = self.api.repo_info(self.repo_id, repo_type=self.kind).sha
        if head == self.head:
            raise HubError(hub_sentence(error, f"nothing was published, {self.repo_id} is unchanged")) from error
        return head  # what was sent, or what someone else pushed meanwhile: reading back tells


class PendingPlace:
    """A leaderboard as it will be with files that are not written yet, for rows that are submitted together.

    Args:
        place: what is there.
        files: what will be.
    """

    def __init__(self, place: FolderPlace | HubPlace, files: Mapping[str, bytes]):
        self.place, self.files = place, files
        self.dataset_id, self.address = place.dataset_id, place.address

    def read(self, path: str) -> bytes | None:
        """Return a file, None where there will be none."""
        return self.files[path] if path in self.files else self.place.read(path)

    def rows(self, benchmark: str) -> list[str]:
        """Return the paths of a benchmark's rows."""
        pending = [path for path in self.files if fnmatch(path, f"rows/{benchmark}/*.json")]
        return sorted({*self.place.rows(benchmark), *pending})


def open_place(to: str, create: bool = False) -> FolderPlace | HubPlace:
    """Open the leaderboard that a command line names: OWNER/DATASET on the Hub, or a folder such as ./NAME."""
    return HubPlace(to, create=create) if is_repository_id(to) else FolderPlace(Path(to))


def _is_same(entry: RepoFile, content: bytes) -> bool:
    if entry.lfs:
        return entry.lfs.sha256 == hashlib.sha256(content).hexdigest()
    return entry.blob_id == hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
