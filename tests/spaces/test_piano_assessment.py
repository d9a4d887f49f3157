"""The piano performance Space: its parts alone, then the whole of it in a browser."""

import dataclasses
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from browser import open_browser, open_page, serve_space
from space_modules import imported_packages, modules_of
from tiny_assessor import piece, rendition, write_assessor

from antiphon.eval.piano_attributions import attention_rollout
from antiphon.eval.reference_population import FILE_NAME
from antiphon.processing import PianoFeatureExtractor
from antiphon.processing.audio_midi import Performance, read_midi, write_midi
from antiphon.processing.percepts import PERCEPT_POLES

ROOT = Path(__file__).parents[2]
SPACE = ROOT / "spaces" / "piano_assessment"
EXAMPLES = SPACE / "examples"
SAMPLING_RATE = 16_000
# Imported by the rooms of Antiphon that the Space uses.
PACKAGES_OF_ANTIPHON = {"mido", "pandas", "soundfile", "soxr"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return write_assessor(tmp_path_factory.mktemp("assessor"))


@pytest.fixture(scope="module")
def space():
    with modules_of(SPACE) as load:
        yield load


@pytest.fixture(scope="module")
def assessor(space, checkpoint):
    return space("assessor").Assessor(checkpoint)


def write_rendition(path: Path, seed: int = 0, player: int = 3, **changes) -> Path:
    write_midi(rendition(seed, player, unevenness=0.0, **changes), path)
    return path


def write_tone(path: Path, seconds: float, channels: int = 1, sampling_rate: int = SAMPLING_RATE) -> Path:
    time = np.arange(round(seconds * sampling_rate)) / sampling_rate
    tone = 0.5 * np.sin(2 * np.pi * 440 * time)
    soundfile.write(path, np.stack([tone] * channels, axis=1), sampling_rate)
    return path


def equal_notes(count: int, seconds: float) -> Performance:
    onsets = seconds * np.arange(count)
    return Performance(onsets, onsets + seconds, 60 + np.arange(count) % 12, np.full(count, 64))


class Balance(HTMLParser):
    """Fails where an element is closed that is not the last one opened."""

    VOID = {"img", "input", "rect"}

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attributes):
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


# ---------------------------------------------------------------- the parts


def test_recording_and_midi_are_told_apart_by_content(space, tmp_path):
    shutil.copy(EXAMPLES / "chords_brisk.mid", tmp_path / "a.wav")
    shutil.copy(EXAMPLES / "chords_brisk.flac", tmp_path / "b.mid")
    upload = space("uploads").read_upload([tmp_path / "a.wav", tmp_path / "b.mid"], SAMPLING_RATE)
    assert upload.midi == (EXAMPLES / "chords_brisk.mid").read_bytes()
    np.testing.assert_array_equal(upload.waveform, soundfile.read(EXAMPLES / "chords_brisk.flac", dtype="float32")[0])


def test_recording_is_resampled(space, tmp_path):
    upload = space("uploads").read_upload([write_tone(tmp_path / "t.wav", 2.0, 2, 48_000)], SAMPLING_RATE)
    assert upload.waveform.shape == (2 * SAMPLING_RATE,)
    assert upload.performance is None


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_text("I am a text, not music. " * 9), "no recording and no MIDI file"),
        (lambda path: path.write_bytes(b"MThd and no more"), "MIDI file cannot be used"),
        (lambda path: write_midi(equal_notes(7, 0.5), path), "has 7 notes; choose a passage of at least 8"),
        (lambda path: write_midi(equal_notes(61, 1.0), path), r"lasts 61\.0 s, at most 60 s"),
        (lambda path: write_tone(path, 60.5), "lasts longer than 60 s"),
        (lambda path: write_tone(path, 0.5), r"lasts 0\.50 s; choose a passage of at least 1 s"),
        (lambda path: soundfile.write(path, np.zeros(32_000), SAMPLING_RATE), "is silent"),
        (lambda path: soundfile.write(path, np.full(32_000, np.nan), SAMPLING_RATE, subtype="FLOAT"), "is damaged"),
    ],
    ids=["empty", "text", "broken midi", "few notes", "long midi", "long", "short", "silent", "nan"],
)
def test_bad_file_is_refused_in_one_sentence(space, tmp_path, write, sentence):
    uploads = space("uploads")
    write(tmp_path / "bad.wav")
    with pytest.raises(uploads.UploadError, match=sentence) as error:
        uploads.read_upload([tmp_path / "bad.wav"], SAMPLING_RATE)
    assert str(error.value).endswith(".")
    assert str(tmp_path) not in str(error.value)  # the visitor knows nothing of the server's folders


def test_two_recordings_are_no_performance(space):
    uploads = space("uploads")
    with pytest.raises(uploads.UploadError, match="several performances"):
        uploads.read_upload([EXAMPLES / "chords_brisk.mid", EXAMPLES / "arpeggios_calm.mid"], SAMPLING_RATE)


def test_assessment_is_that_of_the_model(space, assessor):
    paths = [EXAMPLES / "arpeggios_calm.flac", EXAMPLES / "arpeggios_calm.mid"]
    upload = space("uploads").read_upload(paths, SAMPLING_RATE)
    score = space("uploads").read_notes(EXAMPLES / "arpeggios_score.mid")
    assessment = assessor.assess(upload, score)
    inputs = PianoFeatureExtractor()(upload.waveform, paths[1], EXAMPLES / "arpeggios_score.mid", SAMPLING_RATE)
    with torch.inference_mode():
        output = assessor.model(**inputs)
    np.testing.assert_allclose(assessment.percepts, output.percepts[0], rtol=1e-5)
    np.testing.assert_allclose(assessment.percepts + assessment.reach, output.high[0], rtol=1e-5)
    assert assessment.inputs == ("audio", "midi", "score")
    assert assessment.descriptors["performance.pedal_share"] > 0.8
    assert assessment.reference.passage is None
    rollout = attention_rollout(assessor.model, inputs, "audio")
    np.testing.assert_allclose(assessment.view.attention.map, rollout.map, rtol=1e-5)
    assert assessment.view.levels.shape == inputs["input_features"].shape[1:]


def test_known_passage_is_compared_with_its_performances(space, assessor, tmp_path):
    upload = space("uploads").read_upload([write_rendition(tmp_path / "p.mid", loudness=115)], SAMPLING_RATE)
    assessment = assessor.assess(upload)
    report = space("report").draw_report(assessor, [upload], [assessment]).replace("\u00a0", " ")
    assert "Recognised by its notes: piece 0." in report
    assert "Louder than 7 of the 7 performances of this passage (100 %): mean key velocity" in report
    assert "judgements of 7 performances of this passage (piece 0)" in report
    balance = Balance()
    balance.feed(report)
    assert balance.open == []


@pytest.mark.parametrize("silence", [0.0, 0.33, 2.0])
def test_cursor_begins_where_the_extractor_does(space, silence):
    extractor = PianoFeatureExtractor()
    # The extractor tells only how many frames it keeps; so this clip ends amid the music.
    waveform, _ = soundfile.read(EXAMPLES / "chords_brisk.flac", dtype="float32", stop=4 * SAMPLING_RATE)
    padded = np.pad(waveform, (round(silence * SAMPLING_RATE), 0))
    start = space("assessor").first_sound_seconds(padded, extractor)
    num_frames = len(extractor(padded, sampling_rate=SAMPLING_RATE)["input_features"][0])
    total = 1 + len(padded) // extractor.hop_length
    assert start == pytest.approx((total - num_frames) / extractor.frame_rate, abs=0.051)


def test_tones_sound_when_notes_do(space):
    performance = Performance(np.array([3.0, 5.0]), np.array([3.5, 5.5]), np.array([60, 72]), np.array([90, 90]))
    waveform = space("tones").play_tones(performance, SAMPLING_RATE)
    halves = [np.abs(waveform[start : start + SAMPLING_RATE // 2]).max() for start in range(0, 40_000, 8_000)]
    assert [peak > 0.01 for peak in halves] == [True, True, False, False, True]
    assert np.abs(waveform).max() == pytest.approx(0.5)


def test_checkpoint_without_lattices_intervals_or_population_says_so(space, assessor, tmp_path):
    upload = space("uploads").read_upload([write_rendition(tmp_path / "p.mid")], SAMPLING_RATE)
    assessment = assessor.assess(upload)
    bare = dataclasses.replace(
        assessment,
        reach=np.full_like(assessment.reach, np.nan),
        reference=None,
        view=dataclasses.replace(assessment.view, attention=None),
    )
    report = space("report").draw_report(assessor, [upload], [bare])
    assert "there is no attention to show" in report
    assert "No intervals were calibrated" in report
    assert "ships no performances to compare with" in report
    assert 'class="line' not in report


def test_names_from_files_are_escaped(space, assessor, tmp_path):
    upload = space("uploads").read_upload([write_rendition(tmp_path / "p.mid")], SAMPLING_RATE)
    assessment = assessor.assess(upload)
    hostile = dataclasses.replace(assessment.reference, passage="<script>alert(1)</script>")
    report = space("report").draw_report(assessor, [upload], [dataclasses.replace(assessment, reference=hostile)])
    assert "<script" not in report
    assert "&lt;script&gt;" in report


def test_score_of_another_piece_is_left_out(space, assessor, tmp_path):
    pytest.importorskip("gradio", reason="needs gradio: pip install antiphon[spaces]")
    write_midi(piece(1), tmp_path / "score.mid")
    paths = [str(write_rendition(tmp_path / "p.mid"))]
    *_, (status, report) = space("app").run_assessment(assessor, paths, None, str(tmp_path / "score.mid"))
    assert "judged by MIDI file in" in status
    assert "The score holds other notes than were played" in status
    assert "Recognised by its notes: piece 0." in report


def test_bundled_examples_are_whole_and_small(space):
    pytest.importorskip("gradio", reason="needs gradio: pip install antiphon[spaces]")
    app = space("app")
    for label in app.BUNDLED:
        first, second, score = app.example_files(label)
        for path in [*first, *(second or []), *([score] if score else [])]:
            assert Path(path).is_file()
    assert sum(path.stat().st_size for path in EXAMPLES.iterdir()) < 600_000
    made = space("make_examples").EXAMPLES
    assert {path.stem for path in EXAMPLES.glob("*.flac")} == set(made)
    calm, brisk = (read_midi(EXAMPLES / f"arpeggios_{manner}.mid") for manner in ("calm", "brisk"))
    assert sorted(calm.pitches) == sorted(brisk.pitches)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "No checkpoint was found in model_cards/piano-assessment"),
        (["no/such folder"], "is no folder here and cannot be fetched"),
        (["."], "holds no model"),
    ],
    ids=["none", "missing", "empty"],
)
def test_missing_checkpoint_is_told_in_one_sentence(space, tmp_path, monkeypatch, capsys, arguments, sentence):
    pytest.importorskip("gradio", reason="needs gradio: pip install antiphon[spaces]")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ANTIPHON_CHECKPOINT", raising=False)
    app = space("app")
    monkeypatch.setattr(app, "PROJECT_FOLDERS", [tmp_path])
    assert app.main(arguments) == 1
    message = capsys.readouterr().err
    assert sentence in message
    assert message.startswith("app.py: error: ")
    assert message.count("\n") == 1


def test_broken_population_is_told(space, checkpoint, tmp_path):
    shutil.copytree(checkpoint, tmp_path / "broken")
    (tmp_path / "broken" / FILE_NAME).write_text("{}")
    with pytest.raises(space("checkpoints").CheckpointError, match=r"does not load.*no `all` and `passages`"):
        space("assessor").Assessor(tmp_path / "broken")


def test_what_the_hub_would_install_is_what_is_imported():
    requirements = {re.split("[<>=]", line)[0] for line in (SPACE / "requirements.txt").read_text().split()}
    assert imported_packages(SPACE) - {"antiphon"} | PACKAGES_OF_ANTIPHON == requirements


# ---------------------------------------------------------------- the whole, in a browser


@pytest.fixture(scope="module")
def address(checkpoint, tmp_path_factory):
    pytest.importorskip("gradio", reason="needs gradio: pip install antiphon[spaces]")
    folder = tmp_path_factory.mktemp("server")
    # As the README says for the Hub: two rooms beside app.py, found before what is installed.
    shutil.copytree(SPACE, folder / "space")
    for room in ("eval", "processing"):
        shutil.copytree(ROOT / room, folder / "space" / "antiphon" / room)
    environment = {
        "HF_HOME": str(folder / "hf_home"),
        "HF_HUB_OFFLINE": "1",
        "GRADIO_TEMP_DIR": str(folder / "uploads"),
        "ANTIPHON_CHECKPOINT": str(checkpoint),
        "OMP_NUM_THREADS": "1",
    }
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("browser.SECONDS", 60)  # gradio, torch and transformers come in before it answers
        with serve_space([str(folder / "space" / "app.py")], cwd=folder, environment=environment) as address:
            yield address


@pytest.fixture(scope="module")
def browser():
    with open_browser() as browser:
        yield browser


@pytest.fixture
def visit(browser, address):
    """Opens the page, as wide and as dark as asked, and closes it after the test."""
    contexts = []

    def visit(**options):
        page, problems = open_page(browser, address, **options)
        contexts.append(page.context)
        page.get_by_role("button", name="Calm arpeggios").wait_for()
        return page, problems

    yield visit
    for context in contexts:
        context.close()


def upload(page, place: str, *paths: Path) -> None:
    page.locator(f"#{place} input[type=file]").set_input_files(paths if place != "score" else paths[0])


def status_of(page, pattern: str) -> str:
    """Waits for a status and returns it."""
    status = page.locator("#status").filter(has_text=re.compile(pattern))
    status.wait_for()
    return status.inner_text()


def report_of(page) -> str:
    return page.locator("#report").inner_text().replace("\u00a0", " ")


def play_to(page, seconds: float) -> float:
    """Moves the first player, and returns how far from the left its cursor then stands, from 0 to 1."""
    page.locator(".lattice audio").first.evaluate(
        """(audio, seconds) => new Promise(resolve => {
            audio.onseeked = () => requestAnimationFrame(() => requestAnimationFrame(resolve));
            audio.currentTime = seconds;
        })""",
        seconds,
    )
    return float(page.locator(".lattice .cursor").first.evaluate("cursor => parseFloat(cursor.style.left)")) / 100


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("light", {}),
        ("dark", {"colour_scheme": "dark"}),
        ("phone", {"width": 390, "height": 844}),
    ],
)
def test_example_is_assessed_and_played(visit, tmp_path, name, options):
    page, problems = visit(**options)
    page.get_by_role("button", name="Calm arpeggios").click()
    assert "judged by recording and MIDI file and score" in status_of(page, "was judged")
    assert page.locator(".percept").count() == len(PERCEPT_POLES)
    label = page.locator(".percept").first.get_attribute("aria-label")
    assert re.search(r"timing stable unstable: population .*; first \d\.\d, 90 % interval .* of 7 points", label)
    report = report_of(page)
    for pole in (pole for poles in PERCEPT_POLES.values() for pole in poles):
        assert pole in report
    assert "of all performances (14)" in report
    # The cursor runs with the sound, and so does the column that is marked.
    assert play_to(page, 6.0) == pytest.approx(6.0 / 12.2, abs=0.05)
    assert page.locator(".attention .now").count() == 1
    page.locator(".lattice .field").click(position={"x": 1, "y": 50})
    assert page.locator(".lattice audio").evaluate("audio => audio.currentTime") < 0.5
    page.get_by_label("show attention").uncheck()
    assert not page.locator(".attention").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.screenshot(path=tmp_path / f"{name}.png", full_page=True)
    assert problems == []


def test_cursor_runs_while_it_plays(visit):
    page, _ = visit()
    page.get_by_role("button", name="Brisk chords, MIDI only").click()
    status_of(page, "was judged by MIDI file")
    assert "plain stand-in for a piano" in report_of(page)
    page.locator(".lattice audio").evaluate("audio => { audio.muted = true; return audio.play(); }")
    page.wait_for_function("parseFloat(document.querySelector('.cursor').style.left) > 2")


def test_uploaded_midi_is_recognised_and_explained(visit, tmp_path):
    page, problems = visit()
    upload(page, "first", write_rendition(tmp_path / "mine.mid", loudness=115))
    status_of(page, "was judged by MIDI file in")
    report = report_of(page)
    assert "Recognised by its notes: piece 0." in report
    assert "Louder than 7 of the 7 performances of this passage (100 %)" in report
    write_midi(piece(0), tmp_path / "score.mid")
    upload(page, "score", tmp_path / "score.mid")
    status_of(page, "was judged by MIDI file and score")
    assert problems == []


def test_uploaded_recording_is_assessed(visit, tmp_path):
    waveform, _ = soundfile.read(EXAMPLES / "chords_brisk.flac")
    soundfile.write(tmp_path / "mine.wav", waveform, SAMPLING_RATE)
    page, problems = visit()
    upload(page, "first", tmp_path / "mine.wav")
    status_of(page, "was judged by recording in")
    assert "cannot be told from a recording alone" in report_of(page)
    assert page.locator(".lattice img").get_attribute("alt").startswith("The spectrogram in semitones")
    assert problems == []


def test_two_performances_are_compared(visit):
    page, problems = visit()
    page.get_by_role("button", name="Calm against brisk").click()
    status_of(page, "the second by")
    report = report_of(page)
    assert page.locator(".lattice").count() == 2
    assert "Both play the same notes." in report
    assert re.search(r"More pedal than in the second: down \d+ % of the time here, down 0 % of the time there", report)
    assert "Softer than the second" in report
    assert "Slower than the second" in report
    page.locator("summary").click()
    sentences = page.locator(".comparison li").all_inner_texts()
    judged = [text for text in sentences if "judged nearer to" in text or "Cannot be told apart" in text]
    assert len(judged) == len(PERCEPT_POLES)
    assert problems == []


def test_bad_files_are_answered_with_a_sentence(visit, tmp_path):
    page, _ = visit()
    (tmp_path / "text.wav").write_text("I am a text, not music. " * 10)
    upload(page, "first", tmp_path / "text.wav")
    assert "no recording and no MIDI file that can be read here" in status_of(page, "⚠️")
    assert report_of(page).strip() == ""
    page.locator("#first").get_by_label("Clear").click()
    status_of(page, "the assessment appears by itself")
    upload(page, "second", EXAMPLES / "chords_brisk.mid")
    status_of(page, "Choose the first performance too")
    upload(page, "first", write_tone(tmp_path / "long.wav", 61))
    assert "lasts longer than 60 s" in status_of(page, "⚠️")
    page.locator("#first").get_by_label("Clear").click()
    status_of(page, "Choose the first performance too")
    # After all that it still works.
    upload(page, "first", EXAMPLES / "arpeggios_calm.mid")
    status_of(page, "the second by MIDI file")
    assert "These are not the same notes" in report_of(page)
