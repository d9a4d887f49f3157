"""The voice conversion Space: its parts alone, then the whole of it in a browser."""

import base64
import dataclasses
import math
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import soxr
import torch
from browser import open_browser, open_page, serve_space
from clean_process import WITHOUT_ANTIPHON
from playwright.sync_api import TimeoutError
from space_modules import imported_packages, modules_of
from tiny_voices import make_converter, voice

SPACE = Path(__file__).parents[2] / "spaces" / "voice_conversion"
SAMPLING_RATE = 16_000
MICROPHONE_RATE = 48_000


@pytest.fixture(scope="module")
def model():
    return make_converter()


@pytest.fixture(scope="module")
def checkpoint(model, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("converters") / "tiny"
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def space():
    with modules_of(SPACE) as load:
        yield load


@pytest.fixture(scope="module")
def converter(space, checkpoint):
    return space("converter").Converter(checkpoint)


@pytest.fixture(scope="module")
def actions(space):
    pytest.importorskip("gradio", reason="needs gradio: pip install antiphon[spaces]")
    return space("actions")


@pytest.fixture(scope="module")
def sounds(tmp_path_factory) -> dict[str, Path]:
    """Recordings of what is said and of a voice."""
    folder = tmp_path_factory.mktemp("sounds")
    paths = {"source": folder / "source.wav", "reference": folder / "reference.wav"}
    soundfile.write(paths["source"], voice(120, 1.5).numpy(), SAMPLING_RATE)
    soundfile.write(paths["reference"], voice(210, 2.0, 900, seed=1).numpy(), SAMPLING_RATE)
    return paths


@pytest.fixture
def wishes(actions, sounds):
    return actions.Wishes(
        consent=True, source=str(sounds["source"]), kind=actions.RECORDING, reference=str(sounds["reference"]),
        saved=None, note="", semitones=0, strength=1,
    )  # fmt: skip


def write_tone(path: Path, seconds: float, sampling_rate: int = SAMPLING_RATE, channels: int = 1) -> Path:
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * sampling_rate)) / sampling_rate)
    soundfile.write(path, np.stack([tone] * channels, axis=1), sampling_rate)
    return path


def read(path: Path) -> torch.Tensor:
    return torch.from_numpy(soundfile.read(path, dtype="float32")[0])


# ---------------------------------------------------------------- the parts


def test_recording_is_resampled_and_averaged(space, tmp_path):
    path = write_tone(tmp_path / "tone.wav", 1.0, MICROPHONE_RATE, channels=2)
    waveform = space("recordings").read_recording(path, SAMPLING_RATE, "recording")
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(SAMPLING_RATE) / SAMPLING_RATE)
    np.testing.assert_allclose(waveform[500:-500], expected[500:-500], atol=1e-3)


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_text("I am a text, not a sound."), "no audio that can be read"),
        (lambda path: write_tone(path, 60.5), r"lasts 60\.5 s, at most 60 s"),
        (lambda path: write_tone(path, 0.3), r"lasts 0\.30 s; record at least 0\.5 s"),
        (lambda path: write_tone(path, 0.6, channels=3), "3 channels"),
        (lambda path: write_tone(path, 0.6, sampling_rate=1000), "1000 Hz"),
        (lambda path: soundfile.write(path, np.full(9600, 1e-4), SAMPLING_RATE), "is silent"),
        (lambda path: soundfile.write(path, np.full(9600, np.nan), SAMPLING_RATE, subtype="FLOAT"), "not numbers"),
    ],
    ids=["empty", "text", "long", "short", "channels", "rate", "silent", "nan"],
)
def test_bad_recording_is_refused_in_one_sentence(space, tmp_path, write, sentence):
    recordings = space("recordings")
    write(tmp_path / "bad.wav")
    with pytest.raises(recordings.RecordingError, match=f"^The recording of the voice .*{sentence}") as error:
        recordings.read_recording(tmp_path / "bad.wav", SAMPLING_RATE, "recording of the voice")
    assert str(error.value).endswith(".")
    assert str(tmp_path) not in str(error.value)  # the visitor knows nothing of the server's folders


def test_conversion_is_that_of_the_model(converter, sounds):
    source, reference = read(sounds["source"]), read(sounds["reference"])
    prompt = converter.make_voice(reference.numpy(), "a test", "")
    conversion = converter.convert(source.numpy(), prompt, 2.0, 0.5)
    expected = converter.model.convert(source, reference, 2.0, 0.5)
    np.testing.assert_allclose(conversion.after.waveform, expected.numpy(), atol=1e-5)
    assert conversion.wanted_hz == pytest.approx(prompt.f0_median_hz * 2 ** (2 / 12))
    own = converter.model.make_prompt(source, "a test").speaker_embeddings
    assert conversion.before.similarity == pytest.approx(float(own @ prompt.speaker_embeddings), abs=1e-4)
    assert len(conversion.before.levels) == len(conversion.before.f0) == 1 + len(source) // 160


def test_a_saved_voice_converts_as_its_recording_does(actions, converter, wishes, tmp_path):
    *_, (status, file) = keep_files(actions.save_voice(converter, dataclasses.replace(wishes, note="me")), tmp_path)
    assert "ready to be fetched" in status
    saved = dataclasses.replace(wishes, kind=actions.SAVED_VOICE, saved=file, reference=None)
    first, second = (actions.read_voice(converter, each) for each in (wishes, saved))
    assert second.consent == "me"
    assert torch.equal(first.speaker_embeddings, second.speaker_embeddings)
    assert torch.equal(first.input_features, second.input_features)
    about = actions.about_voice(converter, file)
    assert about.startswith("Allowed by: me\nFrom: recorded or uploaded on the page\nMedian pitch: ")


def keep_files(steps, folder: Path) -> list[tuple]:
    """The contents that a generator yields, with copies of the files, which it deletes."""
    kept = []
    for number, contents in enumerate(steps):
        copies = []
        for content in contents:
            path = content.value["path"] if hasattr(content, "value") and content.value else content
            if isinstance(path, str) and path.endswith((".flac", ".safetensors")):
                copy = folder / f"{number}_{Path(path).name}"
                copy.write_bytes(Path(path).read_bytes())
                content = str(copy)
            copies.append(content)
        kept.append(tuple(copies))
    return kept


def test_what_is_played_says_that_it_was_converted(actions, converter, wishes, tmp_path):
    *_, (status, before, after, report) = keep_files(actions.run_conversion(converter, wishes), tmp_path)
    assert re.search(r"1\.5 s of speech, converted in \d+\.\d+ s", status)
    assert soundfile.SoundFile(after).comment == actions.TAG
    assert soundfile.SoundFile(before).comment == ""
    assert len(read(after)) == len(read(wishes.source))
    for label in ("frequency (Hz)", "pitch (Hz)", "time (s)", "Similarity to the wanted voice"):
        assert label in report


def test_no_file_is_left_behind(actions, converter, wishes):
    *_, (_, before, after, _) = actions.run_conversion(converter, wishes)
    assert not Path(before).exists()
    assert not Path(after).exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"consent": False}, "Tick the box"),
        ({"consent": False, "source": None, "reference": None}, "Tick the box"),
        ({"source": None}, "choose what is said"),
        ({"reference": None}, "choose the voice"),
        ({"kind": "A saved voice"}, "file of a saved voice"),
        ({"semitones": math.nan}, "Pitch must lie between -12 and 12 semitones"),
        ({"semitones": -13}, "Pitch must lie"),
        ({"strength": None}, "strength between 0 and 1"),
        ({"strength": 1.5}, "strength between 0 and 1"),
    ],
)
def test_what_is_missing_is_told(actions, converter, wishes, changes, sentence):
    *_, (status, before, after, report) = actions.run_conversion(converter, dataclasses.replace(wishes, **changes))
    assert status.startswith("⚠️ ")
    assert sentence in status
    assert (before, after, report) == (None, None, "")


def test_without_consent_no_voice_is_saved_or_streamed(actions, converter, wishes, sounds):
    without = dataclasses.replace(wishes, consent=False, note="me")
    [(status, _)] = actions.save_voice(converter, without)
    assert "Tick the box" in status
    _, session, status = actions.hear_piece(converter, str(sounds["source"]), None, without)
    assert "Tick the box" in status
    assert isinstance(session, str)  # over, until the microphone is started again


def test_a_voice_is_not_saved_without_a_note(actions, converter, wishes):
    [(status, _)] = actions.save_voice(converter, wishes)
    assert "Write who allowed" in status


def test_a_note_is_cut_to_what_the_page_allows(actions, converter, wishes):
    long = actions.read_voice(converter, dataclasses.replace(wishes, note=" me" * 200))
    assert long.consent == ("me " * 200)[:300]
    nothing = actions.read_voice(converter, dataclasses.replace(wishes, note=None))
    assert nothing.consent.startswith("ticked on the page")


def test_foreign_files_and_voices_of_other_models_are_refused(space, converter, tmp_path):
    error = space("converter").ConversionError
    (tmp_path / "text.safetensors").write_text("I am no voice.")
    with pytest.raises(error, match="no saved voice, or it is damaged"):
        converter.read_voice(tmp_path / "text.safetensors")
    other = make_converter(seed=1).make_prompt(voice(210, 2.0), "a test")
    other.save(tmp_path / "other.safetensors")
    with pytest.raises(error, match="saved with another model"):
        converter.read_voice(tmp_path / "other.safetensors")


def test_live_speech_is_what_the_stream_of_the_model_says(space, converter, sounds):
    prompt = converter.make_voice(read(sounds["reference"]).numpy(), "a test", "")
    session = space("live").LiveSession(converter.open_stream(prompt, None, 0.0), SAMPLING_RATE)
    spoken = (read(sounds["source"]).numpy() * 32767).astype(np.int16)
    pieces = [session.push(piece, SAMPLING_RATE) for piece in np.split(spoken, [4000, 8000, 20_000])]
    pieces += [session.finish(), session.finish(), session.push(spoken, SAMPLING_RATE)]
    assert pieces[-2:] == ["", ""]  # it ends once, and what comes late is left out
    numbers, rates, texts = zip(*(piece.split(":") for piece in pieces[:-2]))
    assert numbers == ("1", "2", "3", "4", "5")
    assert set(rates) == {str(SAMPLING_RATE)}
    heard = np.frombuffer(b"".join(base64.b64decode(text) for text in texts), "<i2") / 32767
    stream = converter.model.stream(prompt)
    expected = torch.cat([stream.push(torch.from_numpy(spoken / np.float32(32768))), stream.finish()])
    # An untrained vocoder enlarges rounding here and there.
    assert np.abs(heard - expected.clamp(-1, 1).numpy()).mean() < 1e-3
    assert session.seconds_out == pytest.approx(session.seconds_in)


def test_live_speech_is_bounded_and_keeps_its_rate(space):
    live = space("live")
    stream = SimpleNamespace(push=lambda samples: torch.zeros(len(samples)), num_samples=1)
    session = live.LiveSession(stream, SAMPLING_RATE)
    piece = np.zeros((10 * 8000, 2), np.int16)
    for _ in range(live.MAX_SECONDS // 10):
        session.push(piece, 8000)
    with pytest.raises(live.LiveError, match="ends after 120 s"):
        session.push(piece, 8000)
    with pytest.raises(live.LiveError, match="changed its sampling rate"):
        session.push(piece, 16_000)


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (lambda path: write_tone(path, 6), r"lasts 6\.0 s, at most 5 s"),
        (lambda path: write_tone(path, 0.25, channels=3), "3 channels"),
        (lambda path: write_tone(path, 0.25, sampling_rate=1000), "1000 Hz"),
        (lambda path: path.write_text("I am a text, not a sound."), "no audio that can be read"),
    ],
    ids=["long", "channels", "rate", "text"],
)
def test_a_bad_piece_ends_a_live_conversion(actions, converter, wishes, tmp_path, write, sentence):
    write(tmp_path / "piece.wav")
    _, session, status = actions.hear_piece(converter, str(tmp_path / "piece.wav"), None, wishes)
    assert session == status
    assert re.search(rf"^⚠️ The piece of the microphone .*{sentence}", status)


def test_a_piece_without_samples_is_passed_over(actions, converter, wishes, tmp_path):
    for name, seconds in (("empty", 0), ("spoken", 0.25)):
        write_tone(tmp_path / f"{name}.wav", seconds)
    sound, session, _ = actions.hear_piece(converter, str(tmp_path / "empty.wav"), None, wishes)
    assert sound == ""
    _, session, status = actions.hear_piece(converter, str(tmp_path / "spoken.wav"), session, wishes)
    assert session.seconds_in == 0.25
    assert status.startswith("0.2 s heard")


@pytest.mark.parametrize("weight", [0.0, 0.1])
def test_the_caption_says_whether_training_rewarded_the_similarity(space, converter, monkeypatch, sounds, weight):
    prompt = converter.make_voice(read(sounds["reference"]).numpy(), "a test", "")
    conversion = converter.convert(read(sounds["source"]).numpy(), prompt, 0.0, 1.0)
    monkeypatch.setattr(converter.model.config, "consistency_weight", 0.0)
    monkeypatch.setattr(converter.model.config, "converted_consistency_weight", weight)
    picture = space("pictures").draw_conversion(conversion, converter)
    assert ("was trained towards this number" in picture) == (weight > 0)


def test_frequency_axis_agrees_with_the_filters(space, model):
    time = torch.arange(SAMPLING_RATE) / SAMPLING_RATE
    for hertz in (500, 1000, 4000):
        loudest = model.mel(torch.sin(2 * torch.pi * hertz * time)[None])[0, 50].argmax()
        assert space("pictures").band_of_frequency(hertz, 80, SAMPLING_RATE) == pytest.approx(float(loudest), abs=0.6)


def test_a_conversion_to_silence_is_drawn(space, converter, sounds):
    prompt = converter.make_voice(read(sounds["reference"]).numpy(), "a test", "")
    conversion = converter.convert(read(sounds["source"]).numpy(), prompt, 0.0, 1.0)
    silent = dataclasses.replace(conversion.after, f0=np.zeros_like(conversion.after.f0), similarity=math.nan)
    picture = space("pictures").draw_conversion(
        dataclasses.replace(conversion, after=silent, wanted_hz=math.nan), converter
    )
    assert '<dd id="similarity-after">–</dd>' in picture
    assert space("pictures").TEXT_COLOUR not in picture


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [([], "model_cards/voice-conversion"), (["no/such folder"], "is no folder here"), (["."], "holds no model")],
    ids=["none", "missing", "empty"],
)
def test_missing_checkpoint_is_told_in_one_sentence(actions, space, tmp_path, monkeypatch, capsys, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ANTIPHON_CHECKPOINT", raising=False)
    app = space("app")
    monkeypatch.setattr(app, "PROJECT_FOLDERS", [tmp_path])
    assert app.main(arguments) == 1
    message = capsys.readouterr().err
    assert sentence in message
    assert message.startswith("app.py: error: ")
    assert message.count("\n") == 1


def test_another_kind_of_model_is_told(space, tmp_path, model):
    model.speaker_encoder.save_pretrained(tmp_path)
    with pytest.raises(space("checkpoints").CheckpointError, match="converts no voices"):
        space("converter").Converter(tmp_path)


def test_what_the_hub_would_install_is_what_is_imported():
    requirements = {re.split("[<>=]", line)[0] for line in (SPACE / "requirements.txt").read_text().split()}
    assert imported_packages(SPACE) == requirements


# ---------------------------------------------------------------- the whole, in a browser


@pytest.fixture(scope="module")
def address(checkpoint, tmp_path_factory) -> str:
    pytest.importorskip("gradio", reason="needs gradio: pip install antiphon[spaces]")
    folder = tmp_path_factory.mktemp("server")
    # As on the Hub: without Antiphon, found by the folder of app.py alone.
    program = f"{WITHOUT_ANTIPHON}\nimport runpy, sys\nsys.path[0] = {str(SPACE)!r}\n"
    program += f"runpy.run_path({str(SPACE / 'app.py')!r}, run_name='__main__')\n"
    (folder / "serve.py").write_text(program, encoding="utf-8")
    environment = {
        "HF_HOME": str(folder / "hf_home"),
        "HF_HUB_OFFLINE": "1",
        "GRADIO_TEMP_DIR": str(folder / "uploads"),
        "ANTIPHON_CHECKPOINT": str(checkpoint),
        "OMP_NUM_THREADS": "1",
    }
    with serve_space([str(folder / "serve.py")], cwd=folder, environment=environment) as address:
        yield address


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    microphone = tmp_path_factory.mktemp("microphone") / "microphone.wav"
    spoken = voice(120, 8.0).numpy()
    soundfile.write(microphone, soxr.resample(spoken, SAMPLING_RATE, MICROPHONE_RATE), MICROPHONE_RATE)
    with open_browser(microphone) as browser:
        yield browser


@pytest.fixture
def visit(browser, address):
    """Opens the page, as wide and as dark as asked, and closes it after the test."""
    contexts = []

    def visit(**options):
        page, problems = open_page(browser, address, **options)
        contexts.append(page.context)
        page.locator("#convert").wait_for()
        return page, problems

    yield visit
    for context in contexts:
        context.close()


def upload(page, name: str, path: Path) -> None:
    page.locator(f"#{name}").get_by_label("Upload file").first.click()
    page.locator(f"#{name} input[type=file]").set_input_files(path)
    page.locator(f"#{name}").get_by_label("Play", exact=True).wait_for()


def status_of(page, pattern: str, name: str = "status") -> str:
    """Waits for a status and returns it."""
    status = page.locator(f"#{name}").filter(has_text=re.compile(pattern))
    status.wait_for()
    return status.inner_text()


@pytest.mark.parametrize(
    ("name", "options"), [("light", {}), ("phone", {"width": 390, "height": 844, "colour_scheme": "dark"})]
)
def test_recordings_are_converted_and_drawn(visit, sounds, tmp_path, name, options):
    page, problems = visit(**options)
    page.locator("#convert").click()
    assert "Tick the box" in status_of(page, "⚠️")
    page.locator("#consent input").check()
    for place, path in sounds.items():
        upload(page, place, path)
    page.locator("#convert").click()
    status_of(page, r"1\.5 s of speech, converted")
    page.get_by_role("img", name="Spectrograms and pitch before and after").wait_for()
    for side in ("before", "after"):
        assert -1 <= float(page.locator(f"#similarity-{side}").inner_text()) <= 1
        page.locator(f"#{side}").get_by_label("Play", exact=True).wait_for()
    # The text of the picture has the colour of the page's.
    colour = "element => getComputedStyle(element).fill"
    assert page.locator(".conversion svg text").first.evaluate(colour) == page.locator("#status p").evaluate(
        "element => getComputedStyle(element).color"
    )
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.screenshot(path=tmp_path / f"{name}.png", full_page=True)
    assert problems == []


def test_a_voice_is_saved_and_used_again(visit, sounds, tmp_path):
    page, problems = visit()
    page.locator("#consent input").check()
    for place, path in sounds.items():
        upload(page, place, path)
    page.get_by_label("Who allowed the use of this voice").fill("<b>me</b>")
    page.locator("#save").click()
    with page.expect_download() as download:
        page.locator("#made a").first.click()
    download.value.save_as(tmp_path / "voice.safetensors")
    page.get_by_label("A saved voice").check()
    page.locator("#saved input[type=file]").set_input_files(tmp_path / "voice.safetensors")
    about = page.locator("#about textarea")
    about.wait_for()
    assert about.input_value().startswith("Allowed by: <b>me</b>\n")
    page.locator("#convert").click()
    status_of(page, r"1\.5 s of speech, converted")
    assert problems == []


def test_bad_files_are_answered_with_a_sentence(visit, sounds, tmp_path):
    page, problems = visit()
    page.locator("#consent input").check()
    upload(page, "source", write_tone(tmp_path / "long.wav", 61))
    upload(page, "reference", sounds["reference"])
    page.locator("#convert").click()
    assert "what is said lasts 61.0 s, at most 60 s are accepted" in status_of(page, "⚠️")
    (tmp_path / "foreign.safetensors").write_text("I am no voice.")
    page.get_by_label("A saved voice").check()
    page.locator("#saved input[type=file]").set_input_files(tmp_path / "foreign.safetensors")
    page.locator("#about textarea").wait_for()
    assert "no saved voice" in page.locator("#about textarea").input_value()
    assert problems == []


def begin_live(visit, sounds):
    """A page whose live conversion has begun, and its problems.

    Gradio loads its recorder when it is first shown; on a busy machine a click may come before that and is lost, so a
    person would load the page again.
    """
    for _ in range(2):
        page, problems = visit()
        page.locator("#consent input").check()
        upload(page, "reference", sounds["reference"])
        page.get_by_role("button", name="Live").click()
        page.wait_for_timeout(2000)
        page.locator("#microphone").get_by_role("button", name="Record").click()
        try:
            status_of(page, r"\d\.\d s heard", name="live-status")
            break
        except TimeoutError:
            page.context.close()
    else:
        pytest.fail("no piece of the microphone arrived in two attempts")
    return page, problems


def test_the_microphone_is_converted_live(visit, sounds):
    page, problems = begin_live(visit, sounds)
    page.wait_for_function("window.antiphonPlayed > 0")
    # Not a click of the mouse, which waits for a still picture.
    page.locator("#microphone").get_by_role("button", name="Stop").evaluate("button => button.click()")
    page.locator("#microphone").get_by_role("button", name="Record").wait_for()
    assert re.search(r"\d\.\d s heard", status_of(page, "heard", name="live-status"))
    # A stream that ended meanwhile cannot be closed, which the console tells.
    assert [problem for problem in problems if "404" not in problem] == []
