"""The speech recognition Space: its parts alone, then the whole of it in a browser."""

import json
import os
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
from space_modules import imported_packages, modules_of
from tiny_checkpoint import result_row, write_checkpoint, write_row, write_run

from antiphon.modeling import ConformerConfig, ConformerForCTC
from antiphon.processing import CharacterTokenizer, ConformerProcessor, LogMelFeatureExtractor
from antiphon.processing.corpora import decode, load_corpus
from antiphon.processing.language_model import WordLanguageModel
from antiphon.train_scripts import export

SPACE = Path(__file__).parents[2] / "spaces" / "speech_recognition"
SAMPLING_RATE = 16_000
MICROPHONE_RATE = 48_000
STEPS = 240


# ---------------------------------------------------------------- a recogniser that knows three sentences


def overfit(
    waveforms: list[np.ndarray], texts: list[str], extractor: LogMelFeatureExtractor, **changes
) -> tuple[ConformerForCTC, ConformerProcessor]:
    """Trains a tiny Conformer on a few clips until it knows them, at any loudness and amid any silence."""
    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    processor = ConformerProcessor(extractor, CharacterTokenizer.from_corpus(texts))
    # So heavy that it writes what it was trained on, whatever is said.
    processor.language_model = WordLanguageModel.train(["zebra"], order=1, weight=50.0)
    config = ConformerConfig(
        vocab_size=len(processor.tokenizer), num_mel_bins=40, hidden_size=64, intermediate_size=128,
        num_hidden_layers=2, num_attention_heads=2, subsampling_channels=8, hidden_dropout=0.0,
        num_time_masks=0, num_frequency_masks=0, **changes,
    )  # fmt: skip
    model = ConformerForCTC(config).train()
    optimizer = torch.optim.AdamW(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=STEPS, pct_start=0.2)

    def vary(waveform: np.ndarray) -> np.ndarray:
        # Some of them begin and end at once
        before, after = (int(max(0, seconds) * SAMPLING_RATE) for seconds in generator.uniform(-0.3, 0.8, size=2))
        varied = np.pad(waveform * generator.uniform(0.2, 1), (before, after))
        return varied + generator.normal(0, 10 ** generator.uniform(-5, -3), len(varied))

    for _ in range(STEPS):
        batch = processor(audio=list(map(vary, waveforms)), text=texts, sampling_rate=SAMPLING_RATE)
        optimizer.zero_grad()
        model(**batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval(), processor


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> dict[str, np.ndarray]:
    """Waveforms at `SAMPLING_RATE` by what is said in them."""
    pytest.importorskip("espeakng_loader", reason="needs espeakng-loader: pip install antiphon[synthesis]")
    corpus = load_corpus("synthetic_commands", num_utterances=3, cache_dir=tmp_path_factory.mktemp("corpus"))
    return {row["text"]: decode(row)[0] for row in corpus}


@pytest.fixture(scope="module")
def trained(clips) -> tuple[ConformerForCTC, ConformerProcessor]:
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # more threads than that slow so small a model down
    try:
        extractor = LogMelFeatureExtractor(feature_size=40, sampling_rate=SAMPLING_RATE)
        return overfit(list(clips.values()), list(clips), extractor)
    finally:
        torch.set_num_threads(num_threads)


def export_onnx(checkpoint: Path, clips: dict[str, np.ndarray], folder: Path, corpus: Path) -> None:
    """Exports a checkpoint as a user does, measured on the clips."""
    (corpus / "audio").mkdir(parents=True)
    lines = ["file_name,text,speaker_id,split,source,license"]
    for index, (text, waveform) in enumerate(clips.items()):
        soundfile.write(corpus / "audio" / f"{index}.wav", waveform, SAMPLING_RATE, subtype="FLOAT")
        lines.append(f"audio/{index}.wav,{text},speaker,test,synthetic,CC0-1.0")
    (corpus / "metadata.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    options = ["--corpus", str(corpus), "--formats", "onnx", "--rounds", "1", "--timed-items", "1"]
    assert export.main([str(checkpoint), "--to", str(folder), *options]) == 0


@pytest.fixture(scope="module")
def streamer(clips) -> tuple[ConformerForCTC, ConformerProcessor]:
    """A recogniser of the same sentences that can write while it hears."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        extractor = LogMelFeatureExtractor(
            feature_size=40, sampling_rate=SAMPLING_RATE, normalize="global", mel_floor=1e-6
        ).fit(clips.values())
        chunks = {"causal_convolutions": True, "training_chunk_frames": [8]}
        return overfit(list(clips.values()), list(clips), extractor, **chunks)
    finally:
        torch.set_num_threads(num_threads)


@pytest.fixture(scope="module")
def project(tmp_path_factory, trained, streamer, clips) -> Path:
    """A project folder: `known`, measured, exported and with examples, `older`, unmeasured, and `streaming`."""
    pytest.importorskip("onnxscript", reason="needs onnxscript: pip install antiphon[export]")
    project = tmp_path_factory.mktemp("project")
    older = write_run(project / "runs" / "older")
    (older / "results" / "digits_test.json").unlink()
    os.utime(older / "checkpoint" / "model.safetensors", (0, 0))
    streaming = project / "runs" / "streaming" / "checkpoint"
    for part in streamer:
        part.save_pretrained(streaming)
    os.utime(streaming / "model.safetensors", (1, 1))
    known = project / "runs" / "known"
    for part in trained:
        part.save_pretrained(known / "checkpoint")
    write_row(known, result_row(known / "checkpoint"))
    (known / "samples").mkdir()
    for text, waveform in clips.items():
        soundfile.write(known / "samples" / f"{text}.wav", waveform, SAMPLING_RATE)
    export_onnx(known / "checkpoint", clips, known / "exported", tmp_path_factory.mktemp("export") / "corpus")
    return project


def transcribe_in_process(trained, waveform: np.ndarray) -> dict:
    model, processor = trained
    with torch.inference_mode():
        outputs = model(**processor(audio=waveform, sampling_rate=SAMPLING_RATE))
    return processor.decode_logits(outputs.logits, outputs.attention_mask)[0]


# ---------------------------------------------------------------- the parts


@pytest.fixture
def space():
    with modules_of(SPACE) as load:
        yield load


def write_tone(path: Path, seconds: float, sampling_rate: int = SAMPLING_RATE, channels: int = 1) -> Path:
    time = np.arange(round(seconds * sampling_rate)) / sampling_rate
    tone = 0.5 * np.sin(2 * np.pi * 440 * time)
    soundfile.write(path, np.stack([tone] * channels, axis=1), sampling_rate)
    return path


def test_recording_is_resampled_and_averaged(space, tmp_path):
    path = write_tone(tmp_path / "tone.wav", 1.0, MICROPHONE_RATE, channels=2)
    recording = space("recordings").read_recording(path, SAMPLING_RATE)
    assert recording.is_resampled
    assert (recording.orig_sampling_rate, recording.seconds) == (MICROPHONE_RATE, 1.0)
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(SAMPLING_RATE) / SAMPLING_RATE)
    np.testing.assert_allclose(recording.waveform[500:-500], expected[500:-500], atol=1e-3)


def test_recording_at_the_rate_of_the_model_is_left_alone(space, tmp_path):
    path = write_tone(tmp_path / "tone.wav", 0.5)
    recording = space("recordings").read_recording(path, SAMPLING_RATE)
    assert not recording.is_resampled
    np.testing.assert_array_equal(recording.waveform, soundfile.read(path, dtype="float32")[0])


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_text("I am a text, not a sound."), "no audio that can be read"),
        (lambda path: write_tone(path, 60.5), r"lasts 60\.5 s, at most 60 s"),
        (lambda path: write_tone(path, 0.05), r"lasts 0\.05 s; record at least 0\.1 s"),
        (lambda path: write_tone(path, 0.5, channels=3), "3 channels"),
        (lambda path: write_tone(path, 0.5, sampling_rate=1000), "1000 Hz"),
        (lambda path: soundfile.write(path, np.zeros(8000), SAMPLING_RATE), "is silent"),
        (lambda path: soundfile.write(path, np.full(8000, np.nan), SAMPLING_RATE, subtype="FLOAT"), "not numbers"),
    ],
    ids=["empty", "text", "long", "short", "channels", "rate", "silent", "nan"],
)
def test_bad_recording_is_refused_in_one_sentence(space, tmp_path, write, sentence):
    recordings = space("recordings")
    write(tmp_path / "bad.wav")
    with pytest.raises(recordings.RecordingError, match=sentence) as error:
        recordings.read_recording(tmp_path / "bad.wav", SAMPLING_RATE)
    assert str(error.value).endswith(".")
    assert str(tmp_path) not in str(error.value)  # the visitor knows nothing of the server's folders


def test_newest_checkpoint_comes_first_and_a_run_counts_once(space, tmp_path):
    def place(folder: str, seconds: int, auto_class: str = "AutoModelForCTC") -> None:
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "config.json").write_text(json.dumps({"auto_map": {auto_class: "m.M"}}))
        (tmp_path / folder / "model.safetensors").touch()
        os.utime(tmp_path / folder / "model.safetensors", (seconds, seconds))

    place("runs/a/checkpoint", 1)
    place("runs/a/hub", 4)
    place("model_cards/b", 3)
    place("runs/a_vocoder/checkpoint", 9, auto_class="AutoModel")
    (tmp_path / "runs" / "unfinished" / "checkpoint").mkdir(parents=True)
    found = space("checkpoints").choose_checkpoints(None, [tmp_path])
    assert found == {"runs/a": tmp_path / "runs/a/hub", "model_cards/b": tmp_path / "model_cards/b"}
    assert list(found) == ["runs/a", "model_cards/b"]
    named = space("checkpoints").choose_checkpoints(str(tmp_path / "model_cards/b"), [tmp_path])
    assert list(named.values()) == [tmp_path / "model_cards/b", tmp_path / "runs/a/hub"]


def test_scores_are_shown_with_interval_baseline_and_claims(space, tmp_path):
    run = write_run(tmp_path)
    text = space("scores").describe_scores(run / "checkpoint").replace("\u00a0", " ")
    assert "| word error rate ↓ | **12.5 % (5.0 to 25.0)** | 90.0 % (85.0 to 95.0) |" in text
    assert "Measured on digits test: 40 recordings, 2 speakers." in text
    assert "- NOT BETTER THAN HEARING NOTHING" in text
    row = result_row(run / "checkpoint") | {"checkpoint_sha256": "0" * 64}
    write_row(run, row)
    text = space("scores").describe_scores(run / "checkpoint")
    assert "12.5" not in text
    assert "No results found beside this checkpoint" in text
    assert "1 result measured on other weights" in text
    (run / "results" / "broken.json").write_text("[1]")
    assert "1 file in `results` that cannot be read" in space("scores").describe_scores(run / "checkpoint")


def test_words_that_would_overlap_stand_on_different_lines(space):
    words = [
        {"word": "seven", "start_seconds": 0.0, "end_seconds": 0.1},
        {"word": "eleven", "start_seconds": 0.1, "end_seconds": 0.2},
        {"word": "six", "start_seconds": 3.0, "end_seconds": 3.2},
    ]
    assert space("alignment_picture").label_levels(words, seconds_per_inch=1.0) == [0, 1, 0]
    assert space("alignment_picture").label_levels(words, seconds_per_inch=0.05) == [0, 0, 0]


def test_frequency_axis_agrees_with_the_filters(space):
    extractor = LogMelFeatureExtractor(feature_size=40, sampling_rate=SAMPLING_RATE, n_fft=4096, win_length=4096)
    peaks = extractor.mel_filters.argmax(dim=0) * SAMPLING_RATE / 4096
    for band in (5, 20, 39):
        found = space("alignment_picture").band_of_frequency(float(peaks[band]), extractor)
        assert found == pytest.approx(band, abs=0.1)


def test_transcription_agrees_with_the_processor(space, project, trained, clips):
    text, waveform = next(iter(clips.items()))
    recogniser = space("recogniser").Recogniser(project / "runs" / "known" / "checkpoint")
    recording = space("recordings").Recording(waveform, SAMPLING_RATE, SAMPLING_RATE)
    result = recogniser.transcribe(recording)
    expected = transcribe_in_process(trained, waveform)
    assert (result.text, result.words) == (expected["text"], expected["words"])
    assert result.text == text
    assert "".join(emission.symbol for emission in result.emissions).strip("|") == text.replace(" ", "|")
    # The first frame is centred on the first sample, where its half before the recording is cut off.
    assert result.emissions[0].seconds >= result.words[0]["start_seconds"]
    assert result.emissions[-1].seconds < result.words[-1]["end_seconds"]
    picture = space("alignment_picture").draw_alignment(result, recogniser.processor.feature_extractor, 1.0)
    assert f'aria-label="Spectrogram with the words: {text}"' in picture
    assert space("alignment_picture").TEXT_COLOUR not in picture
    for label in (*text.split(), "time (s)", "frequency (Hz)", "probability"):
        assert f">{label}</text>" in picture


def test_exported_formats_of_these_weights_alone_are_offered(space, project, tmp_path):
    find_formats = space("checkpoints").find_formats
    known, older = (project / "runs" / name / "checkpoint" for name in ("known", "older"))
    onnx = (project / "runs" / "known" / "exported" / "onnx").resolve()
    assert find_formats(known) == {"original": known, "onnx": onnx}
    assert find_formats(older, onnx.parent) == {"original": older}  # exported from other weights
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "export.json").write_text("[1]")
    assert find_formats(known, tmp_path) == {"original": known}


def test_exported_model_transcribes_as_the_original(space, project, clips):
    text, waveform = next(iter(clips.items()))
    folders = space("checkpoints").find_formats(project / "runs" / "known" / "checkpoint")
    recording = space("recordings").Recording(waveform, SAMPLING_RATE, SAMPLING_RATE)
    recognisers = {name: space("recogniser").Recogniser(folder) for name, folder in folders.items()}
    original, exported = (recognisers[name].transcribe(recording) for name in ("original", "onnx"))
    assert (exported.text, exported.words) == (text, original.words)
    np.testing.assert_allclose(exported.symbol_probabilities, original.symbol_probabilities, atol=1e-4)
    assert recognisers["onnx"].num_parameters == recognisers["original"].num_parameters
    said = space("scores").describe_export(folders["onnx"])
    assert "Running **onnx**" in said
    assert "On 3 recordings" in said


# ---------------------------------------------------------------- live


def play(session, samples: np.ndarray) -> list[str]:
    """Says 16-bit samples into a live session, as a browser sends them; the texts on the way and in the end."""
    pieces = np.array_split(samples[:, None], round(len(samples) / MICROPHONE_RATE / 0.3))
    return [*(session.push(piece, MICROPHONE_RATE) for piece in pieces), session.finish()]


def test_live_text_grows_and_ends_as_that_of_the_whole(space, project, clips):
    recogniser = space("recogniser").Recogniser(project / "runs" / "streaming" / "checkpoint")
    assert recogniser.why_not_live is None
    assert recogniser.live_model.config.chunk_frames == 8
    for waveform in clips.values():
        padded = 0.5 * np.pad(waveform, SAMPLING_RATE // 2)  # half as loud, so that no peak leaves the 16 bits
        samples = (soxr.resample(padded, SAMPLING_RATE, MICROPHONE_RATE) * 32767).astype(np.int16)
        session = space("live").LiveSession(recogniser.open_stream(), SAMPLING_RATE)
        texts = play(session, samples)
        heard = soxr.resample(samples.astype(np.float32) / 32768, MICROPHONE_RATE, SAMPLING_RATE)
        expected = transcribe_in_process((recogniser.live_model, recogniser.processor), heard)
        assert texts[-1] == expected["text"]
        assert len(set(texts)) > 3
        assert session.push(np.zeros((100, 1), np.int16), MICROPHONE_RATE) == texts[-1]  # too late
        assert re.fullmatch(r"\d\.\d s heard, \d\.\d{3} s of work for each second\.", session.summary)
    # The same weights still hear whole recordings whole.
    assert recogniser.model.config.chunk_frames is None


def test_live_sessions_are_bounded(space):
    live = space("live")
    stream = SimpleNamespace(push=lambda samples: {"text": "a"}, finish=lambda: {"text": "a b"})
    session = live.LiveSession(stream, SAMPLING_RATE)
    minute = np.zeros((59 * SAMPLING_RATE, 2), np.int16)
    assert session.push(minute, SAMPLING_RATE) == "a"
    with pytest.raises(ValueError, match="changed its sampling rate"):
        session.push(minute, MICROPHONE_RATE)
    with pytest.raises(ValueError, match="ends after 60 s"):
        session.push(minute, SAMPLING_RATE)
    assert live.end_live(session)[0] == "a b"
    # What comes after the end begins no session.
    ended = live.end_live(session)[1]
    assert live.hear_piece(None, "late.wav", ended) == (None, ended, ended)


def test_a_piece_that_is_no_sound_ends_the_session_with_a_sentence(space, project, tmp_path):
    recogniser = space("recogniser").Recogniser(project / "runs" / "streaming" / "checkpoint")
    (tmp_path / "piece.wav").write_text("I am a text.")
    text, session, status = space("live").hear_piece(recogniser, str(tmp_path / "piece.wav"), None)
    assert text is None
    assert session == status
    assert "no audio that can be read here" in status


def test_a_checkpoint_that_cannot_stream_says_why(space, project):
    recogniser = space("recogniser").Recogniser(project / "runs" / "known" / "checkpoint")
    assert "`normalize` is 'utterance', which needs the whole signal" in recogniser.why_not_live


def test_language_model_and_expected_words_are_used_if_the_checkpoint_has_them(space, project, trained, clips):
    text, waveform = next(iter(clips.items()))
    recording = space("recordings").Recording(waveform, SAMPLING_RATE, SAMPLING_RATE)
    recogniser = space("recogniser").Recogniser(project / "runs" / "known" / "checkpoint")
    assert recogniser.has_language_model
    predicted = recogniser.transcribe(recording, use_language_model=True)
    assert predicted.text != text
    assert predicted.decoding == "16 transcripts at a time, weighing the sound, a word language model"
    favoured = recogniser.transcribe(recording, hot_words=[text.split()[0]])
    assert favoured.text == text, "expected words alone leave the language model out"
    assert favoured.decoding.endswith("weighing the sound, the words you expect")
    other = space("recogniser").Recogniser(project / "runs" / "older" / "checkpoint")
    assert other.has_beam_search
    assert not other.has_language_model
    assert other.choose_decoding(True, [])[0] == {}
    other.processor = SimpleNamespace(decode_logits=lambda logits, attention_mask=None: [])
    assert not other.has_beam_search, "an older checkpoint"
    assert other.choose_decoding(True, ["word"])[0] == {}


def test_recording_without_words_is_said_to_hold_no_speech(space):
    pytest.importorskip("gradio", reason="needs gradio: pip install antiphon[spaces]")
    recording = space("recordings").Recording(np.ones(SAMPLING_RATE, np.float32), SAMPLING_RATE, SAMPLING_RATE)
    silent = space("recogniser").Transcription(
        text="", words=[], emissions=[], symbol_probabilities=np.zeros(25), frame_seconds=0.04,
        log_mel=np.zeros((101, 80)), processing_seconds=0.1,
    )  # fmt: skip
    status = space("app").describe_work(recording, silent, SimpleNamespace(device="cpu"))
    assert "No speech was found in this recording" in status
    assert (
        "1.0 s of audio, at the model's 16000 Hz, recognised in 0.10 s (0.100 of real time, on the CPU), by" in status
    )
    picture = space("alignment_picture").draw_alignment(silent, LogMelFeatureExtractor(), seconds=1.0)
    assert "no word was recognised" in picture


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "make quickstart"),
        (["no/such folder"], "is no folder here and cannot be fetched"),
        (["."], "holds no model"),
        (["known", "--exported", "."], "holds nothing that was exported from"),
    ],
    ids=["none", "missing", "empty", "exports"],
)
def test_missing_checkpoint_is_told_in_one_sentence(space, tmp_path, monkeypatch, capsys, arguments, sentence):
    pytest.importorskip("gradio", reason="needs gradio: pip install antiphon[spaces]")
    monkeypatch.chdir(tmp_path)
    if "known" in arguments:
        write_checkpoint(tmp_path / "known")
        capsys.readouterr()  # saving shows its progress
    monkeypatch.delenv("ANTIPHON_CHECKPOINT", raising=False)
    app = space("app")
    monkeypatch.setattr(app, "PROJECT_FOLDERS", [tmp_path])
    assert app.main(arguments) == 1
    message = capsys.readouterr().err
    assert sentence in message
    assert message.startswith("app.py: error: ")
    assert message.count("\n") == 1


def test_what_the_hub_would_install_is_what_is_imported():
    requirements = {re.split("[<>=]", line)[0] for line in (SPACE / "requirements.txt").read_text().split()}
    # The code of an exported model needs it.
    assert imported_packages(SPACE) | {"onnxruntime"} == requirements


# ---------------------------------------------------------------- the whole, in a browser


@pytest.fixture(scope="module")
def address(project, tmp_path_factory) -> str:
    pytest.importorskip("gradio", reason="needs gradio: pip install antiphon[spaces]")
    folder = tmp_path_factory.mktemp("server")
    # As on the Hub: without Antiphon, found by the folder of app.py alone.
    program = f"{WITHOUT_ANTIPHON}\nimport runpy\nsys.path[0] = {str(SPACE)!r}\n"
    program += f"runpy.run_path({str(SPACE / 'app.py')!r}, run_name='__main__')\n"
    (folder / "serve.py").write_text(program, encoding="utf-8")
    environment = {
        "HF_HOME": str(folder / "hf_home"),
        "HF_HUB_OFFLINE": "1",
        "GRADIO_TEMP_DIR": str(folder / "uploads"),
        "ANTIPHON_CHECKPOINT": "",
        "OMP_NUM_THREADS": "1",
    }
    with serve_space([str(folder / "serve.py")], cwd=project, environment=environment) as address:
        yield address


@pytest.fixture(scope="module")
def browser(tmp_path_factory, clips):
    microphone = tmp_path_factory.mktemp("microphone") / "microphone.wav"
    # Half a second of silence before and a long one after: the recording ends in it.
    waveform = np.pad(next(iter(clips.values())), (SAMPLING_RATE // 2, 20 * SAMPLING_RATE))
    soundfile.write(microphone, soxr.resample(waveform, SAMPLING_RATE, MICROPHONE_RATE), MICROPHONE_RATE)
    with open_browser(microphone) as browser:
        yield browser


@pytest.fixture
def visit(browser, address):
    """Opens the page, as wide and as dark as asked, and closes it after the test."""
    contexts = []

    def visit(**options):
        page, problems = open_page(browser, address, **options)
        contexts.append(page.context)
        page.get_by_role("heading", name="How good is").wait_for()
        return page, problems

    yield visit
    for context in contexts:
        context.close()


def upload(page, path: Path) -> None:
    page.get_by_label("Upload file").first.click()
    page.locator("input[type=file][accept*=audio]").set_input_files(path)


def status_of(page, pattern: str) -> str:
    """Waits for a status and returns it."""
    status = page.locator("#status").filter(has_text=re.compile(pattern))
    status.wait_for()
    return status.inner_text()


def transcript_of(page) -> str:
    return page.locator("#transcript textarea").input_value()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("light", {}),
        ("dark", {"colour_scheme": "dark"}),
        ("phone", {"width": 390, "height": 844}),
    ],
)
def test_uploaded_file_is_transcribed_and_drawn(visit, trained, clips, tmp_path, name, options):
    waveform = list(clips.values())[1]
    path = tmp_path / "clip.wav"
    soundfile.write(path, soxr.resample(waveform, SAMPLING_RATE, MICROPHONE_RATE), MICROPHONE_RATE)
    heard = soxr.resample(soundfile.read(path, dtype="float32")[0], MICROPHONE_RATE, SAMPLING_RATE, quality="HQ")
    expected = transcribe_in_process(trained, heard)
    page, problems = visit(**options)
    upload(page, path)
    assert "resampled from 48000 Hz to the model's 16000 Hz" in status_of(page, "of audio")
    assert transcript_of(page) == expected["text"] == list(clips)[1]

    first = expected["words"][0]
    table = page.locator("#words").inner_text().split()
    for cell in (first["word"], f"{first['start_seconds']:.2f}", f"{first['end_seconds']:.2f}"):
        assert cell in table
    page.get_by_role("img", name=f"Spectrogram with the words: {expected['text']}").wait_for()
    written = page.locator(".alignment svg text").all_text_contents()
    assert set(expected["text"].split()) <= {" ".join(text.split()) for text in written}
    # The text of the picture has the colour of the page's.
    colour = "element => getComputedStyle(element).fill"
    assert page.locator(".alignment svg text").first.evaluate(colour) == page.locator("#status p").evaluate(
        "element => getComputedStyle(element).color"
    )
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.screenshot(path=tmp_path / f"{name}.png", full_page=True)
    assert problems == []


def test_microphone_is_transcribed(visit, clips):
    text, waveform = next(iter(clips.items()))
    page, problems = visit()
    page.get_by_role("button", name="Record", exact=True).click()
    page.wait_for_timeout(1000 * (len(waveform) / SAMPLING_RATE + 1.5))
    page.get_by_role("button", name="Stop", exact=True).click()
    assert re.search(r"resampled from \d+ Hz to the model's 16000 Hz", status_of(page, "of audio"))
    assert transcript_of(page) == text
    assert problems == []


def test_text_appears_while_the_microphone_is_on(visit, clips):
    text = next(iter(clips))
    page, problems = visit()
    page.get_by_role("button", name="Live").click()
    page.locator("#live-status").get_by_text("No live text with this checkpoint").wait_for()
    assert not page.locator("#microphone").is_visible()
    page.get_by_label("Checkpoint").click()
    page.get_by_role("option", name="runs/streaming").click()
    page.locator("#live-status").get_by_text("appears while you speak").wait_for()
    page.wait_for_timeout(1000)  # Gradio loads its recorder when it is first shown
    page.locator("#microphone").get_by_role("button", name="Record").click()
    # Written while the microphone is still on.
    page.wait_for_function(
        "text => document.querySelector('#live-transcript textarea').value.startsWith(text)", arg=text
    )
    assert "s of work for each second" in page.locator("#live-status").inner_text()
    # Not a click of the mouse, which waits for a still picture.
    page.locator("#microphone").get_by_role("button", name="Stop").evaluate("button => button.click()")
    page.locator("#microphone").get_by_role("button", name="Record").wait_for()
    assert page.locator("#live-transcript textarea").input_value().startswith(text)
    # A stream that ended meanwhile cannot be closed, which the console tells.
    assert [problem for problem in problems if "404" not in problem] == []


def test_bad_files_are_answered_with_a_sentence(visit, clips, tmp_path):
    page, _ = visit()
    (tmp_path / "text.wav").write_text("I am a text, not a sound. " * 10)
    upload(page, tmp_path / "text.wav")
    assert "no audio that can be read here" in status_of(page, "⚠️")
    page.get_by_label("Clear").click()
    status_of(page, "the transcript appears by itself")
    upload(page, write_tone(tmp_path / "long.wav", 61))
    assert "lasts 61.0 s, at most 60 s are accepted" in status_of(page, "⚠️")
    assert transcript_of(page) == ""
    page.get_by_label("Clear").click()
    # After all that it still works.
    soundfile.write(tmp_path / "good.wav", next(iter(clips.values())), SAMPLING_RATE)
    upload(page, tmp_path / "good.wav")
    status_of(page, "of audio")
    assert transcript_of(page) == next(iter(clips))


def test_large_file_is_refused_by_its_size(visit, tmp_path):
    page, _ = visit()
    upload(page, write_tone(tmp_path / "large.wav", 11_000_000 / 2 / SAMPLING_RATE))
    page.get_by_text("exceed the maximum allowed size of 10.0 Mb").wait_for()
    assert transcript_of(page) == ""


def test_example_and_change_of_checkpoint(visit, clips):
    page, problems = visit()
    text = next(iter(clips))
    assert "12.5" in page.locator("#card").inner_text()
    page.get_by_text(f"{text}.wav").click()
    assert "at the model's 16000 Hz" in status_of(page, "of audio")
    assert transcript_of(page) == text
    page.get_by_label("Checkpoint").click()
    page.get_by_role("option", name="runs/older").click()
    page.get_by_text("No results found beside this checkpoint").wait_for()
    assert "resampled from 16000 Hz to the model's 8000 Hz" in status_of(page, "8000 Hz, recognised")
    assert problems == []


def test_exported_format_is_chosen_on_the_page(visit, clips):
    page, problems = visit()
    text = next(iter(clips))
    page.get_by_text(f"{text}.wav").click()
    status_of(page, "of audio")
    page.get_by_label("Format").click()
    page.get_by_role("option", name="onnx").click()
    page.get_by_text("Running onnx (ONNX, float32, for onnxruntime). On 3 recordings").wait_for()
    status_of(page, "of audio")
    assert transcript_of(page) == text
    # A checkpoint of which nothing was exported has no choice.
    page.get_by_label("Checkpoint").click()
    page.get_by_role("option", name="runs/older").click()
    page.get_by_label("Format").wait_for(state="hidden")
    assert "8000 Hz, recognised" in status_of(page, "8000 Hz, recognised")
    assert problems == []


def test_decoding_can_be_chosen_where_the_checkpoint_has_a_language_model(visit, clips):
    page, problems = visit()
    text = next(iter(clips))
    page.get_by_text(f"{text}.wav").click()
    assert "by the likeliest symbol of every moment" in status_of(page, "of audio")
    page.get_by_label("with language model").check()
    status_of(page, "weighing the sound, a word language model")
    assert transcript_of(page) != text
    page.get_by_label("sound alone").check()
    page.get_by_label("Expected words").fill(f"{text}, nobody")
    page.get_by_label("Expected words").press("Enter")
    status_of(page, "weighing the sound, the words you expect")
    assert transcript_of(page) == text
    page.get_by_label("Expected words").fill(", ".join(f"w{index}" for index in range(51)))
    page.get_by_label("Expected words").press("Enter")
    assert "51 words are expected, at most 50 can be" in status_of(page, "⚠️")
    page.get_by_label("Checkpoint").click()
    page.get_by_role("option", name="runs/older").click()
    page.get_by_text("No results found beside this checkpoint").wait_for()
    page.get_by_label("with language model").wait_for(state="hidden")
    page.get_by_label("Expected words").wait_for()
    assert problems == []
