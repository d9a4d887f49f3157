"""The listening test Space in a browser: whole sessions of each kind, several listeners at once, kill and resume."""

import signal
import sqlite3
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from browser import open_browser, open_page, serve_space
from space_modules import modules_of

pytest.importorskip("gradio", reason="needs gradio: pip install antiphon[spaces]")
pytest.importorskip("pyloudnorm", reason="needs pyloudnorm: pip install antiphon[spaces]")

SPACE = Path(__file__).parents[2] / "spaces" / "listening_test"
HOSTILE = '<img src=x onerror="document.title=1"> ${document.title=2} {{7*7}}'
# One after the other, as the page has it; muted, and the end only, which is what the page waits for.
PLAY = """async audios => {
    for (const audio of audios) {
        audio.muted = true;
        audio.currentTime = Math.max(0, audio.duration - 0.05);
        const ended = new Promise(resolve => audio.addEventListener('ended', resolve, {once: true}));
        await audio.play();
        await ended;
    }
}"""


@contextmanager
def served(folder: Path, kind: str, **changes):
    """Serves an example, new or begun before, and yields its address."""
    if not (folder / "test").is_dir():
        with modules_of(SPACE) as load:
            load("make_example").make_example(folder / "test", kind, 0.4, pages_per_listener=3, **changes)
    command = [str(SPACE / "app.py"), "test", "--results", "results.sqlite"]
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("browser.SECONDS", 180)  # on a busy machine gradio takes long to come in
        with serve_space(command, cwd=folder, environment={"GRADIO_TEMP_DIR": str(folder / "uploads")}) as address:
            yield address


@pytest.fixture(scope="module")
def browser():
    with open_browser() as browser:
        yield browser


def answers_in(folder: Path) -> list[tuple]:
    connection = sqlite3.connect(folder / "results.sqlite")
    try:
        return connection.execute(
            "SELECT listener, position, answer FROM answers ORDER BY listener, position"
        ).fetchall()
    finally:
        connection.close()


def begin(page) -> str:
    """Begins a session and returns its code."""
    page.get_by_role("button", name="Begin").click()
    page.locator("#sounds audio").first.wait_for()
    return page.locator("#progress strong").inner_text()


def listen_to_all(page) -> None:
    page.wait_for_function("[...document.querySelectorAll('#sounds audio')].every(audio => audio.readyState >= 3)")
    page.locator("#sounds audio").evaluate_all(PLAY)


def wait_for_page(page, number: int, num_pages: int = 4) -> None:
    place = "#thanks h2" if number > num_pages else f"#progress p:text-is('Page {number} of {num_pages}')"
    page.locator(place).wait_for()


def answer(page, label: str, number: int) -> None:
    """Listens, answers page `number`, and waits for what follows."""
    listen_to_all(page)
    page.get_by_role("radio", name=label, exact=True).check()
    page.get_by_role("button", name="Next").click()
    wait_for_page(page, number + 1)


@pytest.mark.parametrize(
    ("kind", "labels", "kept", "sounds"),
    [
        ("mos", ["4 – Good", "2 – Poor"], ["4", "2"], ["Sample"]),
        ("smos", ["5 – Surely the same", "3 – Cannot tell"], ["5", "3"], ["Reference", "Sample"]),
        ("ab", ["A", "No preference"], ["A", "none"], ["Reference", "Sound A", "Sound B"]),
        ("abx", ["A", "B"], ["A", "B"], ["Sound A", "Sound B", "Sound X"]),
    ],
)
def test_two_listeners_at_once_hear_a_whole_test(browser, tmp_path, kind, labels, kept, sounds):
    changes = {}
    if kind == "ab":
        check = {"reference": "checks/clean.wav", "A": "checks/clean.wav", "B": "checks/noise.wav", "expected": "A"}
        changes = {"with_reference": True, "allow_no_preference": True, "attention_checks": [check]}
    with served(tmp_path, kind, **changes) as address:
        visits = [open_page(browser, address, **size) for size in ({}, {"width": 390, "height": 844})]
        codes = {begin(page) for page, _ in visits}
        assert len(codes) == 2
        for number in range(1, 5):
            for (page, _), label in zip(visits, labels):
                shown = page.locator("#sounds audio").evaluate_all("all => all.map(audio => audio.ariaLabel)")
                assert shown == sounds
                assert page.get_by_role("radio", checked=True).count() == 0
                assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
                if number == 2:
                    page.screenshot(path=tmp_path / f"{kind}_{page.viewport_size['width']}.png", full_page=True)
                answer(page, label, number)
        for page, problems in visits:
            assert "Your answers are kept" in page.locator("#thanks").inner_text()
            assert problems == []
            page.context.close()
    expected = [(listener, position, kept[listener - 1]) for listener in (1, 2) for position in range(4)]
    assert answers_in(tmp_path) == expected


def test_server_is_killed_and_the_session_goes_on_with_its_code(browser, tmp_path):
    with served(tmp_path, "mos") as address:
        page, _ = open_page(browser, address)
        code = begin(page)
        answer(page, "4 – Good", 1)
        answer(page, "1 – Bad", 2)
        [server] = [own for own in psutil.Process().children() if str(SPACE / "app.py") in own.cmdline()]
        server.send_signal(signal.SIGKILL)
        server.wait()
        page.context.close()
    assert answers_in(tmp_path) == [(1, 0, "4"), (1, 1, "1")]
    with served(tmp_path, "mos") as address:
        page, problems = open_page(browser, address)
        page.get_by_label("Your code").fill(code.lower())
        page.get_by_role("button", name="Continue", exact=True).click()
        wait_for_page(page, 3)
        for number in range(3, 5):
            answer(page, "3 – Fair", number)
        assert problems == []
        page.context.close()
    assert [entry[2] for entry in answers_in(tmp_path)] == ["4", "1", "3", "3"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def address(folder):
    with served(folder, "mos", title=HOSTILE, instructions=HOSTILE, question=HOSTILE,
                scale={1: HOSTILE, 2: "fine", 3: "best"}, anchors=[{"sample": "checks/clean.wav", "answer": 1}],
                attention_checks=[{"sample": "checks/noise.wav", "expected": 1}]) as address:  # fmt: skip
        yield address


@pytest.fixture
def page(browser, address):
    page, problems = open_page(browser, address)
    page.get_by_role("button", name="Begin").wait_for()
    yield page
    assert problems == []
    page.context.close()


def test_texts_are_shown_as_they_are(page):
    assert page.locator("#introduction h1").inner_text() == HOSTILE
    assert page.locator("#anchors p").inner_text() == f"1 – {HOSTILE}"
    begin(page)
    assert page.locator("#question h2").inner_text() == HOSTILE
    assert page.locator("#answers label").last.inner_text().strip() == f"1 – {HOSTILE}"
    assert page.title() == "Listening test"
    assert page.locator("img[src=x]").count() == 0


def test_whoever_has_not_listened_or_answered_is_asked_to(page):
    begin(page)
    page.get_by_label("2 – fine").check()
    page.get_by_role("button", name="Next").click()
    page.get_by_text("Please listen to each sound to its end first.").wait_for()
    answer(page, "2 – fine", 1)
    page.get_by_role("button", name="Next").click()
    page.get_by_text("Please listen to each sound to its end first.").wait_for()
    listen_to_all(page)
    page.get_by_role("button", name="Next").click()
    page.get_by_text("Choose one of the answers first.").wait_for()
    wait_for_page(page, 2)
    answer(page, "3 – best", 2)
    assert page.get_by_text("Choose one of the answers first.").count() == 0


def tab_to(page, wanted: str) -> None:
    """Presses Tab until what is wanted has the focus; the number of stops within a player is the browser's."""
    for _ in range(30):
        if page.evaluate("wanted => document.activeElement.matches(wanted)", wanted):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{wanted} is not reached with Tab")


def test_keyboard_is_enough(page, folder):
    tab_to(page, "#begin")
    page.keyboard.press("Enter")
    wait_for_page(page, 1)
    for number, choose in enumerate(("Space", "2"), start=1):
        page.wait_for_function("document.activeElement.matches('#sounds audio')")
        listen_to_all(page)
        if choose == "Space":
            tab_to(page, '#answers input[value="1"]')
        page.keyboard.press(choose)
        page.wait_for_function("document.querySelector('#answers input[aria-checked=true]')")
        tab_to(page, "#next")
        page.keyboard.press("Enter")
        wait_for_page(page, number + 1)
    assert [entry[2] for entry in answers_in(folder)][-2:] == ["1", "2"]


def test_unknown_code_is_told(page):
    page.get_by_label("Your code").fill("ABCD-2345")
    page.get_by_label("Your code").press("Enter")
    page.get_by_text("There is no session with this code").wait_for()
    assert page.get_by_role("button", name="Begin").is_visible()


def test_nothing_can_be_uploaded(address):
    body = '--part\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\nhello\r\n--part--\r\n'
    request = urllib.request.Request(
        f"{address}/gradio_api/upload",
        data=body.encode(),
        headers={"Content-Type": "multipart/form-data; boundary=part"},
    )
    with pytest.raises(urllib.error.HTTPError, match="413"):
        urllib.request.urlopen(request, timeout=20)


def test_no_file_of_the_test_is_served(address, folder):
    for path in ("results.sqlite", "test/test.yaml", "test/systems/clean/item_1.wav"):
        with pytest.raises(urllib.error.HTTPError, match=r"40[34]"):
            urllib.request.urlopen(f"{address}/gradio_api/file={folder / path}", timeout=20)
