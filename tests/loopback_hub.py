"""A Hugging Face Hub on 127.0.0.1, in memory, for tests that push and load with the real `huggingface_hub` client.

It speaks the part of the Hub's HTTP interface that the client uses for models, datasets and Spaces: `whoami-v2`,
`repos/create`, `validate-yaml`, `preupload`, `commit` (NDJSON, to `main` or as a pull request), the LFS batch, upload
and verify calls, `resolve` (HEAD and GET, with byte ranges), repository info, `tree`, `paths-info` and `refs`. A commit
becomes visible only when all of it was accepted, as on the Hub.

    with LoopbackHub() as hub:
        subprocess.run([sys.executable, "push.py"], env=hub.environment(tmp_path / "hf_home"), check=True)
        assert "model.safetensors" in hub.files("tester/my-model")

The `loopback_hub` fixture is at hand in tests/hub; elsewhere import it or use the context manager. A client in the
test's own process has read `HF_ENDPOINT` long before: pass it `endpoint=hub.url`, or run it in a subprocess.
"""

import base64
import hashlib
import json
import os
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import yaml

MAX_BODY_BYTES = 256 * 2**20
MAX_REGULAR_BYTES = 10 * 2**20
LFS_SUFFIXES = (".safetensors", ".bin", ".pt", ".pkl", ".parquet", ".png", ".wav", ".flac", ".ogg", ".mp3", ".zip")
# Variables of the surrounding shell that would take a client elsewhere or keep it offline.
SHELL_VARIABLES = re.compile(r"^(HF_|HUGGING|TRANSFORMERS_OFFLINE$|(all|http|https)_proxy$)", re.IGNORECASE)


@dataclass(frozen=True)
class HubFile:
    """One file of one commit."""

    data: bytes
    lfs: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def pointer(self) -> bytes:
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(self.data)}\n".encode()

    @property
    def blob_id(self) -> str:
        """What git would call the stored blob: of a large file only the pointer is in git."""
        content = self.pointer if self.lfs else self.data
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.blob_id

    def tree_entry(self, path: str) -> dict:
        entry = {"type": "file", "oid": self.blob_id, "size": len(self.data), "path": path}
        if self.lfs:
            entry["lfs"] = {"oid": self.sha256, "size": len(self.data), "pointerSize": len(self.pointer)}
        return entry


@dataclass
class HubRepository:
    """A repository and its linear history: commit id -> the files at that commit, newest last.

    Pull requests, by their ref, each hold the one commit that was proposed.
    """

    private: bool
    commits: dict[str, dict[str, HubFile]] = field(default_factory=dict)
    pull_requests: dict[str, tuple[str, dict[str, HubFile]]] = field(default_factory=dict)

    @property
    def head(self) -> str:
        return next(reversed(self.commits))

    def commit_id(self, files: dict[str, HubFile]) -> str:
        place = [len(self.commits), len(self.pull_requests)]
        listing = json.dumps([place, {path: file.blob_id for path, file in sorted(files.items())}])
        return hashlib.sha1(listing.encode()).hexdigest()

    def commit(self, files: dict[str, HubFile]) -> str:
        commit_id = self.commit_id(files)
        self.commits[commit_id] = files
        return commit_id

    def propose(self, files: dict[str, HubFile]) -> tuple[str, int]:
        number = len(self.pull_requests) + 1
        commit_id = self.commit_id(files)
        self.pull_requests[f"refs/pr/{number}"] = commit_id, files
        return commit_id, number


@dataclass
class Fault:
    """A planned failure of the next `times` requests whose "METHOD /path" matches `pattern`."""

    pattern: re.Pattern
    status: int | None
    times: int
    after: bool


class HubError(Exception):
    """An HTTP error answer, with the `X-Error-Code` that tells the client which exception to raise."""

    def __init__(self, status: int, message: str, code: str | None = None):
        super().__init__(message)
        self.status = status
        self.code = code


class ConnectionLost(Exception):
    """The connection ends without an answer."""


class LoopbackHub:
    """The server and what it holds. A context manager: it listens inside the `with` block only.

    Args:
        user: The one account; it may write repositories `user/...` and nobody else may.
        token: The bearer token of that account; any other token is answered with 401.
    """

    def __init__(self, user: str = "tester", token: str = "hf_loopback_token"):
        self.user = user
        self.token = token
        self.repositories: dict[tuple[str, str], HubRepository] = {}
        self.large_files: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str, int]] = []
        self.lock = threading.RLock()

    def __enter__(self) -> "LoopbackHub":
        handler = type("Handler", (_Handler,), {"hub": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.server.block_on_close = False  # an idle keep-alive connection must not hold up the end of a test
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *exception) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def environment(self, home: Path, token: str | None = "") -> dict[str, str]:
        """Environment for a subprocess that talks to this Hub and to no other.

        Args:
            home: An empty folder for the client's cache and settings (`HF_HOME`).
            token: The token it sends; by default the right one, `None` for none.
        """
        environment = {name: value for name, value in os.environ.items() if not SHELL_VARIABLES.match(name)}
        environment |= {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "NO_PROXY": "127.0.0.1",
        }
        if token is not None:
            environment["HF_TOKEN"] = token or self.token
        return environment

    def fail(self, pattern: str, status: int | None = 500, times: int = 1, after: bool = False) -> None:
        """Answer the next `times` requests whose "METHOD /path" matches the regular expression with `status`.

        Args:
            status: None hangs up without an answer.
            after: Do what was asked first, so that only the answer is lost.
        """
        self.faults.append(Fault(re.compile(pattern), status, times, after))

    def create(self, repo_id: str, files: Mapping[str, bytes] = {}, kind: str = "model", private: bool = False) -> str:
        """Put a repository there without HTTP; returns its commit id."""
        repository = HubRepository(private)
        self.repositories[kind, repo_id] = repository
        return repository.commit({path: HubFile(data, path.endswith(LFS_SUFFIXES)) for path, data in files.items()})

    def files(self, repo_id: str, kind: str = "model") -> dict[str, bytes]:
        """Path -> content of what a visitor sees on `main`; empty where there is no such repository."""
        repository = self.repositories.get((kind, repo_id))
        return {path: file.data for path, file in repository.commits[repository.head].items()} if repository else {}


@pytest.fixture
def loopback_hub() -> Iterator[LoopbackHub]:
    with LoopbackHub() as hub:
        yield hub


class _Handler(BaseHTTPRequestHandler):
    """One connection. The route table at the foot names the method that answers each path."""

    hub: LoopbackHub
    protocol_version = "HTTP/1.1"
    timeout = 60  # seconds a connection may stay silent

    def log_message(self, *arguments) -> None:
        pass

    def handle_any(self) -> None:
        url = urlsplit(self.path)
        self.query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        try:
            self.body = self.read_body()
            with self.hub.lock:
                fault = self.next_fault(f"{self.command} {url.path}")
                if fault and not fault.after:
                    raise self.failure(fault)
                answer = self.route(url.path)
                if fault:
                    raise self.failure(fault)
            status, headers, body = answer
        except ConnectionLost:
            self.hub.requests.append((self.command, url.path, 0))
            self.close_connection = True
            return
        except HubError as error:
            status, body = error.status, json.dumps({"error": str(error)}).encode()
            headers = {"Content-Type": "application/json", "X-Error-Message": str(error)}
            if error.code:
                headers["X-Error-Code"] = error.code
        self.hub.requests.append((self.command, url.path, status))
        self.answer(status, headers, body)

    do_GET = do_HEAD = do_POST = do_PUT = handle_any

    def read_body(self) -> bytes:
        """The whole request body, so that the connection can be kept alive whatever the answer is."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
                self.check_size(len(body))
            self.rfile.readline()
            return body
        size = int(self.headers.get("Content-Length", 0))
        self.check_size(size)
        return self.rfile.read(size)

    def check_size(self, size: int) -> None:
        if size > MAX_BODY_BYTES:
            self.close_connection = True
            raise HubError(413, f"a request body is limited to {MAX_BODY_BYTES} bytes")

    def next_fault(self, request: str) -> Fault | None:
        for fault in self.hub.faults:
            if fault.times > 0 and fault.pattern.search(request):
                fault.times -= 1
                return fault
        return None

    def failure(self, fault: Fault) -> Exception:
        return ConnectionLost() if fault.status is None else HubError(fault.status, "planned failure")

    def route(self, path: str) -> tuple[int, dict[str, str], bytes]:
        for method, pattern, name in ROUTES:
            match = pattern.fullmatch(path)
            if match and (method == self.command or (method, self.command) == ("GET", "HEAD")):
                arguments = {key: unquote(value) for key, value in match.groupdict().items() if value is not None}
                if "prefix" in match.re.groupindex:
                    kind = arguments.pop("prefix", "models/")
                    arguments["kind"] = kind.rstrip("/").removesuffix("s")
                return getattr(self, name)(**arguments)
        raise HubError(404, f"the loopback Hub has no {self.command} {path}")

    def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def json_answer(self, content: object, status: int = 200) -> tuple[int, dict[str, str], bytes]:
        return status, {"Content-Type": "application/json"}, json.dumps(content).encode()

    # -- who asks, and for what ----------------------------------------------------------------------------------

    def signed_in(self) -> bool:
        authorization = self.headers.get("Authorization")
        if authorization not in (None, f"Bearer {self.hub.token}"):
            raise HubError(401, "Invalid credentials in Authorization header")
        return authorization is not None

    def check_writer(self, owner: str) -> None:
        if not self.signed_in():
            raise HubError(401, "Invalid username or password.")
        if owner != self.hub.user:
            raise HubError(403, f"You don't have the rights to write under the namespace {owner!r}")

    def repository(self, kind: str, repo_id: str, write: bool = False) -> HubRepository:
        signed_in = self.signed_in()
        repository = self.hub.repositories.get((kind, repo_id))
        if repository is None or (repository.private and not signed_in):
            raise HubError(404 if signed_in else 401, "Repository not found", "RepoNotFound")
        if write:
            self.check_writer(repo_id.split("/")[0])
        return repository

    def snapshot(self, repository: HubRepository, revision: str) -> tuple[str, dict[str, HubFile]]:
        if revision in repository.pull_requests:
            return repository.pull_requests[revision]
        commit_id = repository.head if revision in ("main", "refs/heads/main") else revision
        if commit_id not in repository.commits:
            raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit_id, repository.commits[commit_id]

    # -- account and repositories --------------------------------------------------------------------------------

    def whoami(self):
        self.check_writer(self.hub.user)
        return self.json_answer({"type": "user", "name": self.hub.user, "fullname": self.hub.user, "orgs": []})

    def create_repository(self):
        asked = json.loads(self.body)
        owner = asked.get("organization") or self.hub.user
        self.check_writer(owner)
        kind, repo_id = asked.get("type") or "model", f"{owner}/{asked['name']}"
        url = {"url": f"{self.hub.url}/{'' if kind == 'model' else kind + 's/'}{repo_id}", "name": repo_id}
        if (kind, repo_id) in self.hub.repositories:
            return self.json_answer(url | {"error": "You already created this repo"}, status=409)
        initial = {".gitattributes": b"".join(b"*%s filter=lfs\n" % suffix.encode() for suffix in LFS_SUFFIXES)}
        self.hub.create(repo_id, initial, kind, private=asked.get("visibility") == "private")
        return self.json_answer(url)

    def validate_yaml(self):
        content = json.loads(self.body)["content"]
        front_matter = re.match(r"---\r?\n(.*?)\r?\n---", content, re.DOTALL)
        if front_matter is None:
            return self.json_answer({"errors": [], "warnings": [{"message": "empty or missing yaml metadata"}]})
        try:
            metadata = yaml.safe_load(front_matter[1])
        except yaml.YAMLError as error:
            return self.json_answer({"errors": [{"message": str(error)}], "warnings": []}, status=400)
        if not isinstance(metadata, dict):
            return self.json_answer({"errors": [{"message": "metadata is no mapping"}], "warnings": []}, status=400)
        return self.json_answer({"errors": [], "warnings": []})

    def info(self, kind: str, repo_id: str, revision: str = "main"):
        repository = self.repository(kind, repo_id)
        commit_id, files = self.snapshot(repository, revision)
        date = "2025-01-01T00:00:00.000Z"
        siblings = [{"rfilename": path, "size": len(file.data)} for path, file in sorted(files.items())]
        content = {"_id": commit_id[:24], "id": repo_id, "sha": commit_id, "private": repository.private}
        content |= {"siblings": siblings, "tags": [], "downloads": 0, "likes": 0, "disabled": False, "gated": False}
        return self.json_answer(content | {"createdAt": date, "lastModified": date})

    def refs(self, kind: str, repo_id: str):
        head = self.repository(kind, repo_id).head
        branch = {"name": "main", "ref": "refs/heads/main", "targetCommit": head}
        return self.json_answer({"branches": [branch], "converts": [], "tags": []})

    def tree(self, kind: str, repo_id: str, revision: str, folder: str = ""):
        _, files = self.snapshot(self.repository(kind, repo_id), revision)
        start = f"{folder}/" if folder else ""
        recursive = self.query.get("recursive", "").lower() in ("true", "1")
        entries, folders = [], set()
        for path, file in sorted(files.items()):
            if not path.startswith(start):
                continue
            *parents, _ = path.removeprefix(start).split("/")
            folders.update(
                start + "/".join(parents[:depth]) for depth in range(1, len(parents) + 1 if recursive else 2)
            )
            if recursive or not parents:
                entries.append(file.tree_entry(path))
        folders.discard(start)
        if folder and not entries and not folders:
            raise HubError(404, f"{folder} does not exist on {revision}", "EntryNotFound")
        return self.json_answer(entries + [self.folder_entry(path) for path in sorted(folders)])

    def folder_entry(self, path: str) -> dict:
        return {"type": "directory", "oid": hashlib.sha1(path.encode()).hexdigest(), "size": 0, "path": path}

    def paths_info(self, kind: str, repo_id: str, revision: str):
        _, files = self.snapshot(self.repository(kind, repo_id), revision)
        if self.headers.get("Content-Type", "").startswith("application/json"):
            paths = json.loads(self.body)["paths"]
        else:
            paths = parse_qs(self.body.decode()).get("paths", [])
        entries = [files[path].tree_entry(path) for path in paths if path in files]
        entries += [self.folder_entry(path) for path in paths if any(name.startswith(f"{path}/") for name in files)]
        return self.json_answer(entries)

    # -- reading files -------------------------------------------------------------------------------------------

    def resolve(self, kind: str, repo_id: str, revision: str, path: str):
        repository = self.repository(kind, repo_id)
        commit_id, files = self.snapshot(repository, revision)
        if path not in files:
            raise HubError(404, f"{path} does not exist on {revision}", "EntryNotFound")
        file = files[path]
        headers = {"X-Repo-Commit": commit_id, "ETag": f'"{file.etag}"', "Accept-Ranges": "bytes"}
        headers["Content-Type"] = "application/octet-stream"
        if file.lfs:
            headers |= {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(len(file.data))}
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if wanted is None or wanted[0] == "bytes=-":
            return 200, headers, file.data
        if wanted[1]:
            first, last = int(wanted[1]), min(int(wanted[2] or len(file.data)), len(file.data) - 1)
        else:
            first, last = max(0, len(file.data) - int(wanted[2])), len(file.data) - 1
        if first > last:
            return 416, headers | {"Content-Range": f"bytes */{len(file.data)}"}, b""
        headers["Content-Range"] = f"bytes {first}-{last}/{len(file.data)}"
        return 206, headers, file.data[first : last + 1]

    # -- writing files -------------------------------------------------------------------------------------------

    def writable_repository(self, kind: str, repo_id: str) -> HubRepository:
        """The repository, if it is this account's or a pull request is meant: anyone with an account may open one."""
        is_proposal = self.query.get("create_pr") == "1"
        if is_proposal and not self.signed_in():
            raise HubError(401, "Invalid username or password.")
        return self.repository(kind, repo_id, write=not is_proposal)

    def preupload(self, kind: str, repo_id: str, revision: str):
        _, files = self.snapshot(self.writable_repository(kind, repo_id), revision)
        answers = []
        for asked in json.loads(self.body)["files"]:
            large = asked["path"].endswith(LFS_SUFFIXES) or asked["size"] > MAX_REGULAR_BYTES
            answer = {"path": asked["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
            if asked["path"] in files:
                answer["oid"] = files[asked["path"]].etag
            answers.append(answer)
        return self.json_answer({"files": answers})

    def lfs_batch(self, kind: str, repo_id: str):
        # Uploaded bytes belong to no commit yet, so whoever may open a pull request may upload them.
        self.repository(kind, repo_id)
        if not self.signed_in():
            raise HubError(401, "Invalid username or password.")
        objects = []
        for asked in json.loads(self.body)["objects"]:
            answer = {"oid": asked["oid"], "size": asked["size"]}
            if asked["oid"] not in self.hub.large_files:
                answer["actions"] = {
                    "upload": {"href": f"{self.hub.url}/lfs/upload/{asked['oid']}"},
                    "verify": {"href": f"{self.hub.url}/lfs/verify/{asked['oid']}"},
                }
            objects.append(answer)
        return self.json_answer({"transfer": "basic", "objects": objects})

    def lfs_upload(self, oid: str):
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise HubError(400, f"the uploaded bytes do not have the checksum {oid}")
        self.hub.large_files[oid] = self.body
        return 200, {"ETag": f'"{oid}"'}, b""

    def lfs_verify(self, oid: str):
        if len(self.hub.large_files.get(oid, b"")) != json.loads(self.body)["size"]:
            raise HubError(404, f"object {oid} was not uploaded")
        return self.json_answer({})

    def commit(self, kind: str, repo_id: str, revision: str):
        repository = self.writable_repository(kind, repo_id)
        if revision != "main":
            raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        files = dict(repository.commits[repository.head])
        for line in self.body.splitlines():
            operation = json.loads(line)
            self.apply(operation["key"], operation["value"], files, repository.head)
        page, answer = f"{self.hub.url}/{'' if kind == 'model' else kind + 's/'}{repo_id}", {}
        if self.query.get("create_pr") == "1":
            commit_id, number = repository.propose(files)
            answer = {"pullRequestUrl": f"{page}/discussions/{number}"}
        else:
            commit_id = repository.commit(files)
        answer |= {"success": True, "commitUrl": f"{page}/commit/{commit_id}", "commitOid": commit_id}
        return self.json_answer(answer | {"hookOutput": ""})

    def apply(self, key: str, value: dict, files: dict[str, HubFile], head: str) -> None:
        """Apply one line of a commit to `files`, the copy that becomes visible after the last line."""
        path = value.get("path")
        if key == "header":
            if value.get("parentCommit") not in (None, head):
                raise HubError(412, "A commit has happened since. Please refresh and try again.")
        elif key == "file":
            files[path] = HubFile(base64.b64decode(value["content"], validate=True), lfs=False)
        elif key == "lfsFile":
            if value["oid"] not in self.hub.large_files:
                raise HubError(400, f"{path}: object {value['oid']} was not uploaded")
            files[path] = HubFile(self.hub.large_files[value["oid"]], lfs=True)
        elif key == "deletedFile" and path in files:
            del files[path]
        elif key == "deletedFolder":
            for name in [name for name in files if name.startswith(path.rstrip("/") + "/")]:
                del files[name]
        else:
            raise HubError(400, f"cannot apply {key} to {path}")


_API = r"/api/(?P<prefix>models|datasets|spaces)/(?P<repo_id>[^/]+/[^/]+)"
_PAGE = r"/(?P<prefix>datasets/|spaces/)?(?P<repo_id>[^/]+/[^/]+)"
_REVISION = r"(?P<revision>[^/]+)"
ROUTES = [
    (method, re.compile(pattern), name)
    for method, pattern, name in (
        ("GET", r"/api/whoami-v2", "whoami"),
        ("POST", r"/api/repos/create", "create_repository"),
        ("POST", r"/api/validate-yaml", "validate_yaml"),
        ("GET", _API, "info"),
        ("GET", rf"{_API}/revision/{_REVISION}", "info"),
        ("GET", rf"{_API}/refs", "refs"),
        ("GET", rf"{_API}/tree/{_REVISION}(?:/(?P<folder>.+))?", "tree"),
        ("POST", rf"{_API}/paths-info/{_REVISION}", "paths_info"),
        ("POST", rf"{_API}/preupload/{_REVISION}", "preupload"),
        ("POST", rf"{_API}/commit/{_REVISION}", "commit"),
        ("POST", rf"{_PAGE}\.git/info/lfs/objects/batch", "lfs_batch"),
        ("PUT", r"/lfs/upload/(?P<oid>[0-9a-f]{64})", "lfs_upload"),
        ("POST", r"/lfs/verify/(?P<oid>[0-9a-f]{64})", "lfs_verify"),
        ("GET", rf"{_PAGE}/resolve/{_REVISION}/(?P<path>.+)", "resolve"),
    )
]
