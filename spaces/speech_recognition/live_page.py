"""The part of the page that writes while one speaks."""

from pathlib import Path

import gradio as gr
from checkpoints import CheckpointError
from live import LIVE_READY, LiveSession, end_live, hear_piece
from recogniser import load_recogniser
from recordings import MAX_SECONDS

PIECE_SECONDS = 0.3


def build_live(page: gr.Blocks, name: gr.Dropdown, checkpoints: dict[str, Path]) -> None:
    """Lays out microphone and live text, and connects them.

    Args:
        page: Around it.
        name: The choice of a checkpoint.
        checkpoints: Folders by their names.
    """
    with gr.Accordion("Live", open=False, elem_id="live"):
        microphone = gr.Audio(
            sources=["microphone"], streaming=True, type="filepath", label="Microphone", elem_id="microphone"
        )
        status = gr.Markdown(LIVE_READY, elem_id="live-status")
        text = gr.Textbox(label="Live text", elem_id="live-transcript", interactive=False, lines=2)
        session = gr.State(None)

    def offer(name: str) -> tuple:
        return show_live(checkpoints[name])

    def hear(name: str, path: str | None, session: LiveSession | str | None) -> tuple:
        text, session, status = hear_piece(load_recogniser(checkpoints[name]), path, session)
        return gr.skip() if text is None else text, session, status

    def end(session: LiveSession | str | None) -> tuple:
        text, session, status = end_live(session)
        return gr.skip() if text is None else text, session, status

    private = {"show_progress": "hidden", "api_visibility": "private"}
    live = [text, session, status]
    gr.on([page.load, name.change], offer, name, [microphone, text, status, session], **private)
    microphone.start_recording(lambda: ("", None, LIVE_READY), None, live, **private)
    microphone.stream(
        hear, [name, microphone, session], live, stream_every=PIECE_SECONDS, time_limit=MAX_SECONDS + 10, **private
    )
    microphone.stop_recording(end, session, live, **private)


def show_live(folder: Path) -> tuple:
    """Microphone, live text, live status and session for a checkpoint: to be used, or a sentence that says why not."""
    try:
        reason = load_recogniser(folder).why_not_live
    except CheckpointError as error:
        reason = f"⚠️ {error}"
    return gr.Audio(visible=reason is None), gr.Textbox("", visible=reason is None), reason or LIVE_READY, None
