"""A headless Chromium with a microphone that plays a file, and the servers that it is pointed at."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SECONDS = 20
START_SECONDS = 120  # a busy machine takes long to import torch and gradio
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
]
SERVER = "http://127.0.0.1:"


@contextmanager
def open_browser(microphone: Path | None = None) -> Iterator:
    """Starts Chromium and yields Playwright's `Browser`; skips the test where either is missing.

    Args:
        microphone: A WAV file (16 bit) that the microphone plays once, from the moment that it is opened.
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs Debian's chromium: apt-get install chromium")
    # Without "noloop" the file starts again and again.
    flags = [*FLAGS, f"--use-file-for-fake-audio-capture={microphone}%noloop"] if microphone else FLAGS
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=flags)
        try:
            yield browser
        finally:
            browser.close()


def open_page(browser, url: str, *, width: int = 1280, height: int = 1000, colour_scheme: str = "light"):
    """Opens a page that reaches nothing but this machine.

    Returns:
        Playwright's `Page`, and the list that fills with what went wrong: requests elsewhere, errors in the console.
    """
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=colour_scheme, permissions=["microphone"]
    )
    context.set_default_timeout(SECONDS * 1000)
    problems: list[str] = []

    def route(route):
        if route.request.url.startswith((SERVER, "data:", "blob:")):
            route.continue_()
        else:
            problems.append(f"request to {route.request.url}")
            route.abort()

    context.route("**/*", route)
    page = context.new_page()
    page.on("pageerror", lambda error: problems.append(f"error in the page: {error}"))
    page.on("console", lambda message: message.type == "error" and problems.append(f"console: {message.text}"))
    page.goto(url)
    return page, problems


@contextmanager
def serve_space(command: list[str], cwd: Path, environment: dict[str, str] | None = None) -> Iterator[str]:
    """Runs a Space and yields its address once it answers.

    Args:
        command: Arguments for Python.
        cwd: Where it runs.
        environment: Added to this process' environment; the port is added here.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    settings = {**os.environ, **(environment or {}), "GRADIO_SERVER_PORT": str(port)}
    log = cwd / "server.log"
    with log.open("w") as output:
        server = subprocess.Popen([sys.executable, *command], cwd=cwd, env=settings, stdout=output, stderr=output)
    try:
        _wait_until_it_answers(f"{SERVER}{port}", server, log)
        yield f"{SERVER}{port}"
    finally:
        server.terminate()
        server.wait(SECONDS)


def _wait_until_it_answers(url: str, server: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.2)
    raise RuntimeError(f"The Space did not answer within {START_SECONDS} s:\n{log.read_text()}")
