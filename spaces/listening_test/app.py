"""A Gradio Space: a listening test (MOS, SMOS, A/B, ABX) over a folder of systems.

    python app.py TEST [--results RESULTS]

TEST is a folder with test.yaml, by default $ANTIPHON_LISTENING_TEST. RESULTS is an SQLite file, by default
$ANTIPHON_LISTENING_RESULTS, else results.sqlite in the working folder; a test that was stopped goes on with it.
"""

import argparse
import os
import sys
from html import escape
from pathlib import Path

import gradio as gr
from definition import DefinitionError, ListeningTest, read_test
from design import plan_pages
from loudness import Levels, match_loudness
from pages import draw_anchors, draw_progress, draw_sounds, draw_text, format_code
from store import Session, SessionError, Store

HERE = Path(__file__).resolve().parent
MAX_WAITING = 64
CONCURRENT_LISTENERS = 8
NO_UPLOADS = 1  # byte: Gradio's own way in for files stays open to nothing
PRIVACY = (
    "Your answers are kept under a random code, and nothing else about you. Stop whenever you like; "
    "with the code you can go on where you were, on any device."
)
THANKS = "Thank you, that was all. Your answers are kept."
# After a new page is drawn: the keyboard goes on at its first sound, and the page at its top.
TO_THE_TOP = """() => {
  window.scrollTo(0, 0);
  requestAnimationFrame(() => document.querySelector('#sounds audio')?.focus({preventScroll: true}));
}"""


def main(arguments: list[str] | None = None) -> int:
    """Starts the server; what stands in the way is one sentence."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("test", nargs="?", type=Path, help="folder with test.yaml and systems/")
    parser.add_argument("--results", type=Path, help="SQLite file")
    options = parser.parse_args(arguments)
    folder = options.test or os.environ.get("ANTIPHON_LISTENING_TEST")
    results = options.results or Path(os.environ.get("ANTIPHON_LISTENING_RESULTS", "results.sqlite"))
    try:
        if not folder:
            raise DefinitionError("no test was named; pass its folder, or set ANTIPHON_LISTENING_TEST.")
        test = read_test(Path(folder))
        levels = match_loudness(test.sounds)
        store = Store(results, test)
    except DefinitionError as error:
        print(f"app.py: error: {error}", file=sys.stderr)
        return 1
    print(f"{len(test.sounds)} sounds at {levels.target:.1f} LUFS; results in {results}", flush=True)
    page = build_page(test, levels, store)
    page.queue(max_size=MAX_WAITING, default_concurrency_limit=CONCURRENT_LISTENERS)
    page.launch(
        # The fonts of the listener's system: nothing to load, and bold letters match.
        theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
        css=(HERE / "style.css").read_text(encoding="utf-8"),
        head=f"<script>{(HERE / 'playback.js').read_text(encoding='utf-8')}</script>",
        max_file_size=NO_UPLOADS,
        ssr_mode=False,
        run_history=False,
        footer_links=["gradio", "settings"],
    )
    return 0


def build_page(test: ListeningTest, levels: Levels, store: Store) -> gr.Blocks:
    """Lays out the page: welcome, test, and thanks, of which one is visible."""
    with gr.Blocks(title="Listening test", analytics_enabled=False) as page:
        session = gr.State(None)
        notice = gr.HTML(elem_id="notice")
        with gr.Column() as welcome:
            gr.HTML(draw_text(test.title, f"{test.instructions}\n{PRIVACY}"), elem_id="introduction")
            if test.anchors:
                gr.HTML(f"<h2>Examples</h2>{draw_anchors(test, levels)}", elem_id="anchors")
            begin = gr.Button("Begin", variant="primary", elem_id="begin")
            with gr.Accordion("Continue a session", open=True):
                code = gr.Textbox(label="Your code", max_length=40, elem_id="code")
                resume = gr.Button("Continue", elem_id="continue")
        with gr.Column(visible=False) as trial:
            progress = gr.HTML(elem_id="progress")
            gr.HTML(f"<h2>{escape(test.question)}</h2>", elem_id="question")
            sounds = gr.HTML(elem_id="sounds")
            choices = [(label, answer) for answer, label in test.answers.items()]
            answer = gr.Radio(choices, label="Your answer", elem_id="answers")
            gr.HTML('<p id="hint" role="alert"></p>')
            following = gr.Button("Next", variant="primary", elem_id="next")
        with gr.Column(visible=False) as end:
            thanks = gr.HTML(elem_id="thanks")
        shown = [session, notice, welcome, trial, end, progress, sounds, answer, thanks]

        def start() -> list:
            return attempt(lambda: store.session(store.begin(plan_pages)))

        def go_on(code: str) -> list:
            return attempt(lambda: store.session(code))

        def answer_page(place: tuple[str, int] | None, choice: str | None) -> list:
            if place is None:
                return show_refusal("The server was restarted; continue with your code.", at_welcome=True)
            return attempt(lambda: store.answer(*place, choice), at_welcome=False)

        def attempt(step, at_welcome: bool = True) -> list:
            try:
                return show_session(test, levels, step())
            except SessionError as error:
                return show_refusal(str(error), at_welcome=at_welcome)

        run = {"outputs": shown, "show_progress": "hidden", "api_visibility": "private"}
        for event, step, inputs in (
            (begin.click, start, None),
            (resume.click, go_on, code),
            (code.submit, go_on, code),
            (following.click, answer_page, [session, answer]),
        ):
            event(step, inputs, **run).then(None, js=TO_THE_TOP, api_visibility="private")
    return page


def show_session(test: ListeningTest, levels: Levels, session: Session) -> list:
    """Contents of the page where a listener stands."""
    at_end = session.page is None
    return [
        (session.code, session.position),
        "",
        gr.update(visible=False),
        gr.update(visible=not at_end),
        gr.update(visible=at_end),
        "" if at_end else draw_progress(session.code, session.position, session.num_pages),
        "" if at_end else draw_sounds(test, session.page, levels),
        gr.update(value=None),
        f"<h2>{THANKS}</h2><p>Your code was {format_code(session.code)}.</p>" if at_end else "",
    ]


def show_refusal(sentence: str, *, at_welcome: bool) -> list:
    """Contents of the page where something cannot go on: as it was, or back at the welcome."""
    notice = f'<p role="alert">{escape(sentence)}</p>'
    places = [gr.update(visible=place) for place in (True, False, False)] if at_welcome else [gr.skip()] * 3
    return [None if at_welcome else gr.skip(), notice, *places, *[gr.skip()] * 4]


if __name__ == "__main__":
    raise SystemExit(main())
