"""The recording studio Space in a browser, whose microphone plays a file: recorded, kept, killed and resumed."""

import csv
import resource
import signal
import urllib.error
import urllib.request
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile
import soxr
from browser import open_browser, open_page, serve_space
from clean_process import WITHOUT_ANTIPHON
from tiny_voices import SAMPLING_RATE, voice

from antiphon.processing.corpora import decode, load_corpus

pytest.importorskip("gradio", reason="needs gradio: pip install antiphon[spaces]")

SPACE = Path(__file__).parents[2] / "spaces" / "recording_studio"
MICROPHONE_RATE = 48_000
SECONDS_OF_SPEECH = 3.0
HOSTILE = '<img src=x onerror="document.title=1"> ${document.title=2} {{7*7}}'
TEXTS = ["The beige garage door creaks loudly.", HOSTILE, "Go on, then, and read the third text."]


@pytest.fixture(scope="module")
def microphone(tmp_path_factory) -> Path:
    """A second of near silence, three of speech, two of near silence."""
    spoken = soxr.resample(voice(120, SECONDS_OF_SPEECH).numpy(), SAMPLING_RATE, MICROPHONE_RATE)
    sound = np.concatenate(
        [np.zeros(MICROPHONE_RATE), 0.5 * spoken / np.abs(spoken).max(), np.zeros(2 * MICROPHONE_RATE)]
    )
    sound += 1e-4 * np.random.default_rng(0).normal(size=len(sound))
    path = tmp_path_factory.mktemp("microphone") / "microphone.wav"
    soundfile.write(path, sound, MICROPHONE_RATE, subtype="PCM_16")
    return path


@pytest.fixture(scope="module", autouse=True)
def patience():
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("browser.SECONDS", 90)  # on a busy machine gradio takes long to come in
        monkeypatch.setattr("browser.START_SECONDS", 300)
        yield


@pytest.fixture(scope="module")
def browser(microphone, patience):
    with open_browser(microphone) as browser:
        yield browser


@contextmanager
def served(folder: Path):
    """Serves a session, new or begun before, and yields its address; as on the Hub, without Antiphon."""
    (folder / "texts.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    program = f"{WITHOUT_ANTIPHON}\nimport runpy, sys\nsys.path[0] = {str(SPACE)!r}\n"
    program += f"runpy.run_path({str(SPACE / 'app.py')!r}, run_name='__main__')\n"
    (folder / "serve.py").write_text(program, encoding="utf-8")
    command = ["serve.py", "takes", "--speaker", "Ana María", "--prompts", "texts.txt", "--license", "CC0-1.0"]
    with serve_space(command, cwd=folder, environment={"GRADIO_TEMP_DIR": str(folder / "uploads")}) as address:
        yield address


def server_of() -> psutil.Process:
    [server] = [own for own in psutil.Process().children() if "serve.py" in own.cmdline()]
    return server


@contextmanager
def visit(browser, address: str, **options):
    """Opens the page; nothing may go wrong in it until it is closed."""
    page, problems = open_page(browser, address, **options)
    try:
        page.locator("#prompt .prompt").wait_for()
        # Gradio loads its recorder when it is first shown; a click that comes before it knows the microphone is lost.
        page.locator("#recorder option").first.wait_for(state="attached")
        yield page
        assert problems == []
    finally:
        page.context.close()


def record(page, *, press: str = "#recorder .record-button", seconds: float = 5.0) -> str:
    """Records from the microphone, which begins its file anew, and returns the verdict."""
    # Not a click of the mouse, which waits for a still picture.
    page.locator(press).evaluate("button => button.click()")
    page.locator("#recorder .stop-button").wait_for()
    page.locator("#verdict p").first.wait_for(state="detached")  # on the former take
    page.wait_for_timeout(1000 * seconds)
    page.locator("#recorder .stop-button").evaluate("button => button.click()")
    page.locator("#verdict p").first.wait_for()
    return page.locator("#verdict").inner_text()


def upload(page, path: Path) -> str:
    """Uploads a recording and returns the verdict."""
    page.locator("#recorder").get_by_label("Upload file").first.click()
    page.locator("#recorder input[type=file]").set_input_files(path)
    page.locator("#verdict p").first.wait_for()
    return page.locator("#verdict").inner_text()


def wait_for_text(page, place: str, text: str) -> str:
    page.locator(place).filter(has_text=text).wait_for()
    return page.locator(place).inner_text()


def send(address: str, num_bytes: int) -> None:
    """Uploads a file to Gradio as a program would."""
    head = '--part\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
    request = urllib.request.Request(
        f"{address}/gradio_api/upload",
        data=head.encode() + bytes(num_bytes) + b"\r\n--part--\r\n",
        headers={"Content-Type": "multipart/form-data; boundary=part"},
    )
    urllib.request.urlopen(request, timeout=60)


def rows_in(folder: Path) -> list[dict]:
    with (folder / "takes" / "metadata.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def assert_holds(waveform: np.ndarray, piece: np.ndarray) -> None:
    """That a piece of sound stands in another, sample by sample, but for what lies 40 dB below it."""
    start = int(np.correlate(waveform, piece, "valid").argmax())
    difference = waveform[start : start + len(piece)] - piece
    assert np.square(difference).mean() < 1e-4 * np.square(piece).mean()


def test_a_session_is_recorded_killed_and_resumed(browser, microphone, tmp_path):
    with served(tmp_path) as address, visit(browser, address) as page:
        assert page.locator("#prompt .prompt").inner_text() == TEXTS[0]
        assert "ana-maria: 0 of 3 prompts recorded" in page.locator("#progress").inner_text()
        assert page.locator("#keep").is_disabled()
        assert "A good take" in record(page)
        page.locator("#recorder").get_by_label("Play", exact=True).wait_for()
        page.screenshot(path=tmp_path / "good.png", full_page=True)
        # A second one instead of it, by one press.
        assert "A good take" in record(page, press="#again")
        page.locator("#keep").click()
        wait_for_text(page, "#prompt .prompt", HOSTILE)
        wait_for_text(page, "#progress", "1 of 3 prompts recorded, 0.1 minutes")
        assert len(rows_in(tmp_path)) == 1
        assert page.locator("img[src=x]").count() == 0
        assert page.title() == "Recording studio"
        # What is kept can be heard again.
        page.keyboard.press("ArrowLeft")
        wait_for_text(page, "#prompt .prompt", TEXTS[0])
        page.locator("#kept").get_by_label("Play", exact=True).wait_for()
        page.screenshot(path=tmp_path / "kept.png", full_page=True)
        server = server_of()
        server.send_signal(signal.SIGKILL)
        server.wait()
    [row] = load_corpus(tmp_path / "takes")
    assert (row["text"], row["speaker_id"], row["license"], row["problems"]) == (TEXTS[0], "ana-maria", "CC0-1.0", None)
    assert soundfile.info(tmp_path / "takes" / row["file_name"]).subtype == "PCM_16"
    # The microphone was neither cleaned by the browser nor encoded with a loss.
    heard, played = decode(row, MICROPHONE_RATE)[0], soundfile.read(microphone, dtype="float32")[0]
    assert_holds(heard, played[2 * MICROPHONE_RATE : 2 * MICROPHONE_RATE + 9600])
    with served(tmp_path) as address, visit(browser, address) as page:
        wait_for_text(page, "#progress", "1 of 3 prompts recorded")
        assert page.locator("#prompt .prompt").inner_text() == HOSTILE
        # By keys alone.
        page.keyboard.press("r")
        page.locator("#recorder .stop-button").wait_for()
        page.wait_for_timeout(5000)
        page.keyboard.press("r")
        page.locator("#keep:not([disabled])").wait_for()
        page.keyboard.press("k")
        wait_for_text(page, "#progress", "2 of 3 prompts recorded")
    assert [row["text"] for row in rows_in(tmp_path)] == TEXTS[:2]


@pytest.fixture(scope="module")
def sounds(tmp_path_factory, microphone) -> dict[str, Path]:
    """Recordings to upload."""
    folder = tmp_path_factory.mktemp("sounds")
    good, rate = soundfile.read(microphone)
    made = {
        "good": good,
        "clipped": (8 * good).clip(-1, 1),
        "silent": np.zeros(rate),
        "long": np.tile(good, 11),
    }
    for name, waveform in made.items():
        soundfile.write(folder / f"{name}.wav", waveform, rate)
    return {name: folder / f"{name}.wav" for name in made}


def test_a_bad_take_is_told_and_kept_only_on_demand_and_replaced_knowingly(browser, tmp_path, sounds):
    with served(tmp_path) as address:
        with visit(browser, address, width=390, height=844, colour_scheme="dark") as page:
            for name, sentence in (("silent", "No speech was heard"), ("long", "lasts longer than 60 s")):
                assert sentence in upload(page, sounds[name])
                assert page.locator("#keep").is_disabled()
                page.locator("#recorder").get_by_label("Clear").first.click()
                page.locator("#verdict p").first.wait_for(state="detached")
            assert "move back or turn the microphone down" in upload(page, sounds["clipped"])
            assert page.locator("#keep").inner_text() == "Keep anyway"
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
            page.screenshot(path=tmp_path / "clipped.png", full_page=True)
            page.locator("#keep").click()
            wait_for_text(page, "#progress", "1 with a problem")
        assert [row["problems"] for row in rows_in(tmp_path)] == ["clipped"]
        with visit(browser, address) as page, visit(browser, address) as other:
            for window in (page, other):
                window.get_by_label("Go to number").fill("1")
                window.get_by_label("Go to number").press("Enter")
                wait_for_text(window, "#prompt .place", "although clipped")
                assert "A good take" in upload(window, sounds["good"])
            page.locator("#keep").click()
            wait_for_text(page, "#notice", "The new take replaced the former one.")
            other.locator("#keep").click()
            wait_for_text(other, "#notice", "recorded in another window meanwhile")
        [row] = rows_in(tmp_path)
        assert (row["file_name"], row["problems"]) == ("wavs/ana-maria-00002.wav", "")
        assert not (tmp_path / "takes" / "wavs" / "ana-maria-00001.wav").exists()


def test_a_full_disk_is_told_and_nothing_is_lost(browser, tmp_path, sounds):
    with served(tmp_path) as address, visit(browser, address) as page:
        upload(page, sounds["good"])
        page.locator("#keep").click()
        wait_for_text(page, "#prompt .prompt", HOSTILE)
        before = rows_in(tmp_path)
        upload(page, sounds["good"])
        server, no_limit = server_of(), (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        # No file may grow beyond the size of a log: the take does not fit, as on a full disk.
        server.rlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
        page.locator("#keep").click()
        notice = wait_for_text(page, "#notice", "cannot be written")
        server.rlimit(resource.RLIMIT_FSIZE, no_limit)
        assert "All takes kept before are still there" in notice
        assert rows_in(tmp_path) == before
        # The recording is still in the page.
        page.locator("#keep").click()
        wait_for_text(page, "#prompt .prompt", TEXTS[2])
        assert load_corpus(tmp_path / "takes")["text"][:] == TEXTS[:2]


def test_a_list_is_imported_and_takes_are_exported_to_no_stranger(browser, tmp_path, sounds):
    (tmp_path / "more.csv").write_text(f'text,list\n"A fourth, longer text",{HOSTILE}\n')
    with served(tmp_path) as address, visit(browser, address) as page:
        upload(page, sounds["good"])
        page.locator("#keep").click()
        wait_for_text(page, "#progress", "1 of 3 prompts")
        page.get_by_role("button", name="Import prompts").click()
        page.locator("#import input[type=file]").set_input_files(tmp_path / "more.csv")
        wait_for_text(page, "#import-notice", "New prompts: 1; there already: 0.")
        wait_for_text(page, "#progress", "1 of 4 prompts")
        page.get_by_label("Prompts to go through").click()
        page.get_by_role("option", name="List: <img").click()  # names are cut
        wait_for_text(page, "#prompt .prompt", "A fourth, longer text")
        assert page.locator("img[src=x]").count() == 0
        assert page.title() == "Recording studio"
        page.get_by_role("button", name="Export your takes").click()
        page.get_by_label("ljspeech").check()
        page.locator("#export").click()
        wait_for_text(page, "#export-notice", "Ready to be fetched")
        page.screenshot(path=tmp_path / "exported.png", full_page=True)
        with page.expect_download() as download:
            page.locator("#exported a").first.click()
        assert download.value.suggested_filename == "ana-maria-ljspeech.zip"
        with zipfile.ZipFile(download.value.path()) as archive:
            assert "ana-maria-ljspeech/wavs/ana-maria-00001.wav" in archive.namelist()
        with pytest.raises(urllib.error.HTTPError, match="413"):
            send(address, 25 * 2**20 + 1)
        for name in ("metadata.csv", "wavs/ana-maria-00001.wav"):
            with pytest.raises(urllib.error.HTTPError, match=r"40[34]"):
                urllib.request.urlopen(f"{address}/gradio_api/file={tmp_path / 'takes' / name}", timeout=60)
