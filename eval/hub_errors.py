"""What the Hub's client raises, as one sentence with its consequence and its remedy."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import httpx2
from huggingface_hub.errors import HfHubHTTPError

# The client wraps failed uploads in RuntimeError and raises ValueError for answers that it cannot read.
CLIENT_ERRORS = (OSError, httpx2.HTTPError, RuntimeError, ValueError)
REPOSITORY_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


class HubError(OSError):
    """The Hub failed; the message says what a visitor now sees and what to do."""


def is_repository_id(to: str) -> bool:
    """Whether `to` names a Hub repository: it reads OWNER/NAME, and OWNER is no folder here. `./a/b` never does."""
    return bool(REPOSITORY_ID.fullmatch(to)) and not Path(to).parent.is_dir()


@contextlib.contextmanager
def hub_errors(consequence: str) -> Iterator[None]:
    """Raise what the client raises as `HubError`, with its consequence, such as "nothing was published"."""
    try:
        yield
    except HubError:
        raise
    except CLIENT_ERRORS as error:
        raise HubError(hub_sentence(error, consequence)) from error


def hub_sentence(error: Exception, consequence: str) -> str:
    """Say what failed, what that means and what to do about it."""
    while not isinstance(error, HfHubHTTPError) and error.__cause__ is not None:
        error = error.__cause__
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    remedy = {
        401: "sign in with `hf auth login` or set HF_TOKEN to a valid token",
        403: "use a token that may write to this account or organisation",
    }.get(status, "run the same command again to complete it")
    return f"the Hub failed: {consequence}; {remedy} ({' '.join(str(error).split())[:300]})"
