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
from live_page import build_live
from recogniser import Recogniser, Transcription, load_recogniser
from recordings import MAX_SECONDS, Recording, RecordingError, read_recording
from scores import describe_export, describe_scores

MAX_MEGABYTES = 10
MAX_WAITING = 16
MAX_HOT_WORDS = 50
MAX_HOT_WORD_LETTERS = 1000
# Uploads are deleted an hour after they came, at the next of the checks made every ten minutes.
DELETE_CACHE_SECONDS = (600, 3600)
PROJECT_FOLDERS = [Path.cwd(), *Path(__file__).resolve().parents[2:3]]
SOUND_ALONE, LANGUAGE_MODEL = "sound alone", "with language model"
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
                decoding, hot_words = build_decoding()
            with gr.Column(scale=3):
                status = gr.Markdown(READY, elem_id="status")
                transcript = gr.Textbox(
                    label="Transcript", elem_id="transcript", interactive=False, lines=2, buttons=["copy"]
                )
                words = gr.Dataframe(
                    headers=WORD_COLUMNS, label="Words", elem_id="words", interactive=False, max_height=300
                )
        picture = gr.HTML(elem_id="picture")
        build_live(page, name, checkpoints)
        card = gr.Markdown(elem_id="card", container=True)

        def transcribe(
            name: str,
            path: str | None,
            format: str = ORIGINAL,
            decoding: str = SOUND_ALONE,
            hot_words: str = "",
        ) -> Iterator[tuple]:
            # Until the page has caught up with another checkpoint, it may name a format that only the one before has.
            folder = formats[name].get(format, checkpoints[name])
            yield from run_transcription(folder, path, decoding == LANGUAGE_MODEL, hot_words)

        def describe(name: str, format: str) -> str:
            return describe_checkpoint(name, checkpoints[name], formats[name].get(format))

        def offer_formats(name: str, format: str) -> dict:
            kept = format if format in formats[name] else ORIGINAL
            return gr.update(choices=list(formats[name]), value=kept, visible=len(formats[name]) > 1)

        def offer(name: str) -> tuple[dict, dict]:
            return offer_decoding(checkpoints[name])

        private = {"show_progress": "hidden", "api_visibility": "private"}
        choices = [format, decoding, hot_words]
        name.change(offer_formats, [name, format], format, **private)
        gr.on([page.load, name.change], offer, name, [decoding, hot_words], **private)
        gr.on([page.load, name.change, format.change], describe, [name, format], card, **private)
        gr.on(
            [audio.change, name.change, format.input, decoding.input, hot_words.submit],
            transcribe,
            [name, audio, *choices],
            [status, transcript, words, picture],
            api_name="transcribe",
            show_progress_on=transcript,
            trigger_mode="always_last",
        )
    return page


def build_decoding() -> tuple[gr.Radio, gr.Textbox]:
    """The choice of decoding and the box for expected words, hidden until a checkpoint is known to have them."""
    decoding = gr.Radio([SOUND_ALONE, LANGUAGE_MODEL], value=SOUND_ALONE, label="Decoding", visible=False)
    hot_words = gr.Textbox(
        label="Expected words",
        info="Names or terms to favour where the sound is in doubt; separated by commas, then Enter.",
        max_length=MAX_HOT_WORD_LETTERS,
        visible=False,
    )
    return decoding, hot_words


def offer_decoding(folder: Path) -> tuple[dict, dict]:
    """Shows those of the two that a checkpoint has."""
    try:
        recogniser = load_recogniser(folder)
    except CheckpointError:  # which is told where the checkpoint is described
        return gr.update(visible=False), gr.update(visible=False)
    return gr.update(visible=recogniser.has_language_model), gr.update(visible=recogniser.has_beam_search)


def run_transcription(
    folder: Path, path: str | None, use_language_model: bool = False, hot_words: str = ""
) -> Iterator[tuple[str, str, list[list], str]]:
    """Yields the contents of status, transcript, words and picture, as the work goes on.

    Args:
        folder: Of the checkpoint, or of a format that was exported from it.
        path: Of the audio file; None when the recording was taken away.
        use_language_model: Whether the checkpoint's language model has a say.
        hot_words: To favour, separated by commas.
    """
    expected = [word.strip() for word in hot_words.split(",") if word.strip()]
    if len(expected) > MAX_HOT_WORDS:
        yield f"⚠️ {len(expected)} words are expected, at most {MAX_HOT_WORDS} can be; shorten the list.", "", [], ""
        return
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
    result = recogniser.transcribe(recording, use_language_model, expected)
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
        f"({result.processing_seconds / recording.seconds:.3f} of real time, on the {recogniser.device.upper()}), "
        f"by {result.decoding}."
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
