"""A Gradio Space: speak, or drop a file, and see what a recogniser heard, where, and how good it is.

    python app.py [CHECKPOINT] [--exported FOLDER]

CHECKPOINT is a folder or a Hub id, by default $ANTIPHON_CHECKPOINT, else the newest one in runs/ and model_cards/. What
was exported from it, into `exported` beside its weights or into FOLDER, can be chosen on the page.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
from alignment_picture import draw_alignment
from checkpoints import ORIGINAL, CheckpointError, choose_checkpoints, find_examples, find_formats
from live import LIVE_READY, LiveSession, end_live, hear_piece
from recogniser import Recogniser, Transcription, load_recogniser
from recordings import MAX_SECONDS, Recording, RecordingError, read_recording
from scores import describe_export, describe_scores

MAX_MEGABYTES = 10
MAX_WAITING = 16
LIVE_PIECE_SECONDS = 0.3
# Uploads are deleted an hour after they came, at the next of the checks made every ten minutes.
DELETE_CACHE_SECONDS = (600, 3600)
PROJECT_FOLDERS = [Path.cwd(), *Path(__file__).resolve().parents[2:3]]
WORD_COLUMNS = ["word", "start", "end", "confidence"]
READY = "Record something or choose a file; the transcript appears by itself."
NO_SPEECH = "No speech was found in this recording; speak closer to the microphone, or choose another file."
INTRODUCTION = f"""# Speech recognition
Speak or choose a file (WAV, FLAC, OGG or MP3, up to {MAX_SECONDS} s and {MAX_MEGABYTES} MB). Recordings are deleted
within about an hour and used for nothing else."""
CSS = """
#transcript textarea, #live-transcript textarea { font-size: 1.4rem; line-height: 1.4; }
.alignment { margin: 0; }
.alignment > div { overflow-x: auto; }
.alignment svg { display: block; width: 100%; height: auto; margin: 0 auto; }
.alignment figcaption { font-size: 0.85rem; opacity: 0.8; max-width: 75ch; }
#card table { display: block; overflow-x: auto; border: none; font-size: 0.9rem; }
#card th, #card td { padding: 0.4rem 0.6rem; word-break: normal; overflow-wrap: normal; }
"""


def main(arguments: list[str] | None = None) -> int:
    """Starts the server; what stands in the way is one sentence."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", help="folder or Hub id; by default the newest one found")
    parser.add_argument("--exported", type=Path, metavar="FOLDER", help="what train_scripts/export.py wrote")
    options = parser.parse_args(arguments)
    try:
        checkpoints = choose_checkpoints(options.checkpoint or os.environ.get("ANTIPHON_CHECKPOINT"), PROJECT_FOLDERS)
        first = next(iter(checkpoints.values()))
        if options.exported and len(find_formats(first, options.exported)) == 1:
            raise CheckpointError(
                f"{options.exported} holds nothing that was exported from {first}; name the folder that "
                "train_scripts/export.py wrote, and its checkpoint."
            )
        load_recogniser(first)
    except CheckpointError as error:
        print(f"app.py: error: {error}", file=sys.stderr)
        return 1
    page = build_page(checkpoints, options.exported)
    page.queue(max_size=MAX_WAITING, default_concurrency_limit=1)
    page.launch(
        # The fonts of the visitor's system: nothing to load, and bold letters match.
        theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
        css=CSS,
        max_file_size=f"{MAX_MEGABYTES}mb",
        allowed_paths=[str(path) for folder in checkpoints.values() for path in find_examples(folder)],
        ssr_mode=False,
        run_history=False,
        footer_links=["api", "gradio", "settings"],
    )
    return 0


def build_page(checkpoints: dict[str, Path], exported: Path | None = None) -> gr.Blocks:
    """Lays out the page.

    Args:
        checkpoints: Folders by the name to show, the first one preselected.
        exported: Folder of exported formats, as `find_formats` takes it.
    """
    first = next(iter(checkpoints))
    formats = {name: find_formats(folder, exported) for name, folder in checkpoints.items()}
    with gr.Blocks(title="Speech recognition", analytics_enabled=False, delete_cache=DELETE_CACHE_SECONDS) as page:
        gr.Markdown(INTRODUCTION)
        with gr.Row():
            with gr.Column(scale=2):
                audio = gr.Audio(
                    sources=["microphone", "upload"], type="filepath", label="Recording", buttons=["download"]
                )
                if examples := find_examples(checkpoints[first]):
                    gr.Examples([[str(path)] for path in examples], inputs=audio, label="Examples")
                name = gr.Dropdown(list(checkpoints), value=first, label="Checkpoint", filterable=False)
                format = gr.Dropdown(
                    list(formats[first]),
                    value=ORIGINAL,
                    label="Format",
                    filterable=False,
                    visible=len(formats[first]) > 1,
                )
            with gr.Column(scale=3):
                status = gr.Markdown(READY, elem_id="status")
                transcript = gr.Textbox(
                    label="Transcript", elem_id="transcript", interactive=False, lines=2, buttons=["copy"]
                )
                words = gr.Dataframe(
                    headers=WORD_COLUMNS, label="Words", elem_id="words", interactive=False, max_height=300
                )
        picture = gr.HTML(elem_id="picture")
        with gr.Accordion("Live", open=False, elem_id="live"):
            microphone = gr.Audio(
                sources=["microphone"], streaming=True, type="filepath", label="Microphone", elem_id="microphone"
            )
            live_status = gr.Markdown(LIVE_READY, elem_id="live-status")
            live_text = gr.Textbox(label="Live text", elem_id="live-transcript", interactive=False, lines=2)
            session = gr.State(None)
        card = gr.Markdown(elem_id="card", container=True)

        def transcribe(name: str, path: str | None, format: str = ORIGINAL) -> Iterator[tuple]:
            # Until the page has caught up with another checkpoint, it may name a format that only the one before has.
            yield from run_transcription(formats[name].get(format, checkpoints[name]), path)

        def describe(name: str, format: str) -> str:
            return describe_checkpoint(name, checkpoints[name], formats[name].get(format))

        def offer_formats(name: str, format: str) -> dict:
            kept = format if format in formats[name] else ORIGINAL
            return gr.update(choices=list(formats[name]), value=kept, visible=len(formats[name]) > 1)

        private = {"show_progress": "hidden", "api_visibility": "private"}
        name.change(offer_formats, [name, format], format, **private)

        def offer_live(name: str) -> tuple:
            return show_live(checkpoints[name])

        def hear(name: str, path: str | None, session: LiveSession | str | None) -> tuple:
            text, session, status = hear_piece(load_recogniser(checkpoints[name]), path, session)
            return gr.skip() if text is None else text, session, status

        def end(session: LiveSession | str | None) -> tuple:
            text, session, status = end_live(session)
            return gr.skip() if text is None else text, session, status

        gr.on([page.load, name.change], offer_live, name, [microphone, live_text, live_status, session], **private)
        live = [live_text, session, live_status]
        microphone.start_recording(lambda: ("", None, LIVE_READY), None, live, **private)
        microphone.stream(
            hear,
            [name, microphone, session],
            live,
            stream_every=LIVE_PIECE_SECONDS,
            time_limit=MAX_SECONDS + 10,
            **private,
        )
        microphone.stop_recording(end, session, live, **private)
        gr.on(
            [page.load, name.change, format.change],
            describe,
            [name, format],
            card,
            **private,
        )
        gr.on(
            [audio.change, name.change, format.input],
            transcribe,
            [name, audio, format],
            [status, transcript, words, picture],
            api_name="transcribe",
            show_progress_on=transcript,
            trigger_mode="always_last",
        )
    return page


def show_live(folder: Path) -> tuple:
    """Microphone, live text, live status and session for a checkpoint: to be used, or a sentence that says why not."""
    try:
        reason = load_recogniser(folder).why_not_live
    except CheckpointError as error:
        reason = f"⚠️ {error}"
    return gr.Audio(visible=reason is None), gr.Textbox("", visible=reason is None), reason or LIVE_READY, None


def run_transcription(folder: Path, path: str | None) -> Iterator[tuple[str, str, list[list], str]]:
    """Yields the contents of status, transcript, words and picture, as the work goes on.

    Args:
        folder: Of the checkpoint, or of a format that was exported from it.
        path: Of the audio file; None when the recording was taken away.
    """
    if path is None:
        yield READY, "", [], ""
        return
    try:
        yield f"Loading the checkpoint {folder.name} …", "", [], ""
        recogniser = load_recogniser(folder)
        yield f"Reading the recording at {recogniser.sampling_rate} Hz …", "", [], ""
        recording = read_recording(path, recogniser.sampling_rate)
    except (CheckpointError, RecordingError) as error:
        yield f"⚠️ {error}", "", [], ""
        return
    yield f"Recognising {recording.seconds:.1f} s of speech …", "", [], ""
    result = recogniser.transcribe(recording)
    table = word_table(result.words)
    yield "Drawing the alignment …", result.text, table, ""
    picture = draw_alignment(result, recogniser.processor.feature_extractor, recording.seconds)
    yield describe_work(recording, result, recogniser), result.text, table, picture


def word_table(words: list[dict]) -> list[list]:
    """Rows for `WORD_COLUMNS`."""
    return [
        [word["word"], f"{word['start_seconds']:.2f} s", f"{word['end_seconds']:.2f} s", f"{word['confidence']:.0%}"]
        for word in words
    ]


def describe_work(recording: Recording, result: Transcription, recogniser: Recogniser) -> str:
    """What was done with a recording, resampling above all; a warning where no word came out."""
    if recording.is_resampled:
        rate = f"resampled from {recording.orig_sampling_rate} Hz to the model's {recording.sampling_rate} Hz"
    else:
        rate = f"at the model's {recording.sampling_rate} Hz"
    work = (
        f"{recording.seconds:.1f} s of audio, {rate}, recognised in {result.processing_seconds:.2f} s "
        f"({result.processing_seconds / recording.seconds:.3f} of real time, on the {recogniser.device.upper()})."
    )
    return work if result.text else f"⚠️ {NO_SPEECH}\n\n{work}"


def describe_checkpoint(name: str, folder: Path, exported: Path | None = None) -> str:
    """Markdown: which checkpoint is loaded, in which format, and how good it is."""
    try:
        recogniser = load_recogniser(exported or folder)
    except CheckpointError as error:
        return f"⚠️ {error}"
    is_exported = exported not in (None, folder)
    return (
        f"### How good is {name}?\n{recogniser.num_parameters:,} parameters, hears {recogniser.sampling_rate} Hz; "
        "95 % confidence intervals in parentheses; ↓ lower and ↑ higher is better.\n\n"
        + (f"{describe_export(exported)} The results below are the original's.\n\n" if is_exported else "")
        + describe_scores(folder)
    )


if __name__ == "__main__":
    raise SystemExit(main())
