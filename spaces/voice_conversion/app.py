"""A Gradio Space: say something in another voice, from one short recording of it, or live.

    python app.py [CHECKPOINT]

CHECKPOINT is a folder or a Hub id, by default $ANTIPHON_CHECKPOINT, else model_cards/voice-conversion.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
from actions import (
    CONSENT,
    LIVE_READY,
    MAX_NOTE_LENGTH,
    MAX_SEMITONES,
    RECORDING,
    SAVED_VOICE,
    Wishes,
    about_voice,
    end_live,
    hear_piece,
    run_conversion,
    save_voice,
)
from checkpoints import CheckpointError, choose_checkpoint
from converter import Converter
from live import MAX_SECONDS as MAX_LIVE_SECONDS
from live import LiveSession
from recordings import MAX_SECONDS

HERE = Path(__file__).resolve().parent
MAX_MEGABYTES = 10
MAX_WAITING = 16
LIVE_PIECE_SECONDS = 0.25
# Uploads are deleted an hour after they came, at the next of the checks made every ten minutes.
DELETE_CACHE_SECONDS = (600, 3600)
PROJECT_FOLDERS = [Path.cwd(), *HERE.parents[1:2]]
READY = "Give two recordings, tick the box, and press Convert."
INTRODUCTION = f"""# Voice conversion
What one person says, in the voice of another, from a few seconds of it (WAV, FLAC, OGG or MP3, up to {MAX_SECONDS} s
and {MAX_MEGABYTES} MB). Recordings are deleted within about an hour and used for nothing else."""
LIMITS = """**What this is not for.** Never use the voice of somebody who did not agree, and never let a converted voice
pass as a real one: no calls, no proofs of identity, no words put into another's mouth. Files made here say in their
metadata that they were converted. The model heard little speech, nearly all of it read English: other languages,
singing, noise and several speakers at once are foreign to it."""


def main(arguments: list[str] | None = None) -> int:
    """Starts the server; what stands in the way is one sentence."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", help="folder or Hub id")
    options = parser.parse_args(arguments)
    try:
        folder = choose_checkpoint(options.checkpoint or os.environ.get("ANTIPHON_CHECKPOINT"), PROJECT_FOLDERS)
        converter = Converter(folder)
    except CheckpointError as error:
        print(f"app.py: error: {error}", file=sys.stderr)
        return 1
    page = build_page(converter, folder.name)
    page.queue(max_size=MAX_WAITING, default_concurrency_limit=1)
    page.launch(
        # The fonts of the visitor's system: nothing to load, and bold letters match.
        theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
        css=(HERE / "style.css").read_text(encoding="utf-8"),
        head=f"<script>{(HERE / 'playback.js').read_text(encoding='utf-8')}</script>",
        max_file_size=f"{MAX_MEGABYTES}mb",
        ssr_mode=False,
        run_history=False,
        footer_links=["api", "gradio", "settings"],
    )
    return 0


def build_page(converter: Converter, name: str) -> gr.Blocks:
    """Lays out the page.

    Args:
        name: Of the checkpoint, to show.
    """
    with gr.Blocks(title="Voice conversion", analytics_enabled=False, delete_cache=DELETE_CACHE_SECONDS) as page:
        gr.Markdown(INTRODUCTION)
        consent = gr.Checkbox(label=CONSENT, elem_id="consent")
        with gr.Row():
            with gr.Column():
                source = _recorder("What is said", "source")
                semitones = gr.Slider(
                    -MAX_SEMITONES, MAX_SEMITONES, 0, step=0.5, label="Pitch, in semitones", elem_id="pitch"
                )
                strength = gr.Slider(0, 1, 1, step=0.05, label="Strength: 0 own voice, 1 the other", elem_id="strength")
            with gr.Column():
                kind = gr.Radio([RECORDING, SAVED_VOICE], value=RECORDING, label="Whose voice", elem_id="kind")
                reference = _recorder("The voice, 3 to 10 s of it", "reference")
                saved = gr.File(
                    label="Saved voice", elem_id="saved", file_types=[".safetensors"], visible=False, height=120
                )
                about = gr.Textbox(
                    label="About this voice", elem_id="about", visible=False, interactive=False, lines=3, max_lines=6
                )
                note = gr.Textbox(
                    label="Who allowed the use of this voice, and for what?",
                    placeholder="my own voice",
                    elem_id="note",
                    max_length=MAX_NOTE_LENGTH,
                )
        with gr.Row():
            convert = gr.Button("Convert", variant="primary", elem_id="convert")
            save = gr.Button("Save this voice as a file", elem_id="save")
        status = gr.Markdown(READY, elem_id="status")
        with gr.Row():
            before = gr.Audio(label="Before", elem_id="before", interactive=False, buttons=[])
            after = gr.Audio(label="After", elem_id="after", interactive=False, buttons=["download"])
        report = gr.HTML(elem_id="report", padding=False)
        made = gr.File(label="Your voice as a file", elem_id="made", interactive=False, visible=False)
        with gr.Accordion("Live", open=False, elem_id="live"):
            gr.Markdown(
                f"The voice and the pitch above, from your microphone, for up to {MAX_LIVE_SECONDS} s. A recording of "
                "you as “What is said” lets it begin at the right pitch."
            )
            microphone = gr.Audio(
                sources=["microphone"], streaming=True, type="filepath", label="Microphone", elem_id="microphone"
            )
            live_status = gr.Markdown(LIVE_READY, elem_id="live-status")
            piece, session = gr.Textbox(visible="hidden"), gr.State(None)
        gr.Markdown(f"{LIMITS}\n\nCheckpoint `{name}`, {converter.num_parameters:,} parameters.", elem_id="limits")
        wishes = [consent, source, kind, reference, saved, note, semitones, strength]

        def run(*values) -> Iterator[tuple]:
            yield from run_conversion(converter, Wishes(*values))

        def keep(*values) -> Iterator[tuple]:
            yield from save_voice(converter, Wishes(*values))

        def hear(path: str | None, session: LiveSession | str | None, *values) -> tuple:
            return hear_piece(converter, path, session, Wishes(*values))

        def tell(path: str | None) -> gr.Textbox:
            return gr.Textbox(about_voice(converter, path), visible=path is not None)

        kind.change(show_kind, kind, [reference, note, saved, about], api_visibility="private", show_progress="hidden")
        saved.change(tell, saved, about, api_visibility="private", show_progress="hidden")
        convert.click(run, wishes, [status, before, after, report], api_name="convert", show_progress="hidden")
        save.click(keep, wishes, [status, made], api_name="save_voice", show_progress="hidden")
        live = {"show_progress": "hidden", "api_visibility": "private"}
        microphone.start_recording(lambda: (None, LIVE_READY), None, [session, live_status], **live)
        microphone.stream(
            hear,
            [microphone, session, *wishes],
            [piece, session, live_status],
            stream_every=LIVE_PIECE_SECONDS,
            time_limit=MAX_LIVE_SECONDS + 10,
            **live,
        )
        microphone.stop_recording(end_live, session, [piece, session, live_status], **live)
        piece.change(None, piece, None, js="(piece) => window.antiphonPlay(piece)", api_visibility="private")
    return page


def _recorder(label: str, name: str) -> gr.Audio:
    return gr.Audio(sources=["microphone", "upload"], type="filepath", label=label, elem_id=name, buttons=[])


def show_kind(kind: str) -> tuple:
    """Which of the ways to name a voice are visible."""
    is_saved = kind == SAVED_VOICE
    return (
        gr.Audio(visible=not is_saved),
        gr.Textbox(visible=not is_saved),
        gr.File(None, visible=is_saved),
        gr.Textbox(visible=False),
    )


if __name__ == "__main__":
    raise SystemExit(main())
