"""A Gradio Space: read prompts aloud, one by one, and keep the good takes as a corpus.

    python app.py FOLDER --speaker NAME [--prompts LIST ...]

FOLDER holds the takes, by default $ANTIPHON_STUDIO_FOLDER; a session that was stopped goes on there. NAME is by default
$ANTIPHON_STUDIO_SPEAKER. A LIST is a text file with a prompt a line, or a CSV with a column `text`; without any, a new
folder begins with the sentences and phrases of this Space.
"""

import argparse
import os
import sys
from pathlib import Path

import gradio as gr
from export import LAYOUTS
from pages import format_minutes
from prompts import OWN_LISTS, PromptError, merge, read_list
from session import PROMPTS, TABLE, Session, SessionError
from studio import ALL, KEEP, Studio
from takes import MAX_SECONDS

HERE = Path(__file__).resolve().parent
MAX_MEGABYTES = 25  # a minute of two channels at 96 kHz
MAX_WAITING = 16
NARROW = 150  # pixels: two buttons stand side by side on a telephone
# Recordings that were not kept are deleted an hour after they came, at the next of the checks made every ten minutes.
DELETE_CACHE_SECONDS = (600, 3600)
DEFAULT_LICENSE = "all rights reserved"
INTRODUCTION = """# Recording studio
Read the text as you would say it to somebody. Press **Record**, wait for half a second, read, wait again, press
**Stop**; then listen, and keep the take or record again. Keys: **R** records and stops, **K** keeps, **←** and **→** go
back and on."""


def main(arguments: list[str] | None = None) -> int:
    """Starts the server; what stands in the way is one sentence."""
    options = parse(arguments)
    try:
        session = open_session(options)
    except (PromptError, SessionError) as error:
        print(f"app.py: error: {error}", file=sys.stderr)
        return 1
    print(describe(session), flush=True)
    page = build_page(Studio(session))
    page.queue(max_size=MAX_WAITING, default_concurrency_limit=4)
    try:
        page.launch(
            # The fonts of the reader's system: nothing to load, and bold letters match.
            theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
            css=(HERE / "style.css").read_text(encoding="utf-8"),
            head=f"<script>{(HERE / 'studio.js').read_text(encoding='utf-8')}</script>",
            max_file_size=f"{MAX_MEGABYTES}mb",
            ssr_mode=False,
            run_history=False,
            footer_links=["gradio", "settings"],
        )
    finally:
        session.close()
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", default=os.environ.get("ANTIPHON_STUDIO_FOLDER"), help="of the takes")
    parser.add_argument("--speaker", default=os.environ.get("ANTIPHON_STUDIO_SPEAKER"), help="who reads")
    parser.add_argument("--prompts", nargs="+", type=Path, metavar="LIST", default=[], help="lists to add")
    parser.add_argument("--license", default=DEFAULT_LICENSE, help="of the takes, such as CC0-1.0 (%(default)s)")
    parser.add_argument("--source", default="recording_studio", help="name of the corpus in the table (%(default)s)")
    return parser.parse_args(arguments)


def open_session(options: argparse.Namespace) -> Session:
    """The session that the command line asks for.

    Raises:
        PromptError: A list cannot be used.
        SessionError: A folder or a speaker is missing, or the folder cannot be used.
    """
    if not options.folder:
        raise SessionError("no folder was named; pass one for the takes, or set ANTIPHON_STUDIO_FOLDER.")
    if not options.speaker:
        raise SessionError("no speaker was named; pass --speaker NAME, or set ANTIPHON_STUDIO_SPEAKER.")
    folder = Path(options.folder)
    lists = options.prompts or ([] if (folder / PROMPTS).is_file() else OWN_LISTS)
    prompts = merge((), (prompt for path in lists for prompt in read_list(path)))
    return Session(folder, options.speaker, license=options.license, source=options.source, prompts=prompts)


def describe(session: Session) -> str:
    """Where a session stands, and the sounds that belong to none."""
    takes = list(session.takes.values())
    lines = [
        f"{session.speaker}: {len(takes)} of {len(session.prompts)} prompts recorded, {format_minutes(takes)}, in "
        f"{session.folder}; licence of new takes: {session.license}"
    ]
    if strays := session.strays:
        names = ", ".join(path.name for path in strays[:5]) + (", …" if len(strays) > 5 else "")
        lines.append(f"sounds that {TABLE} does not list, left as they are: {len(strays)} ({names})")
    return "\n".join(lines)


def build_page(studio: Studio) -> gr.Blocks:
    """Lays out the page."""
    with gr.Blocks(title="Recording studio", analytics_enabled=False, delete_cache=DELETE_CACHE_SECONDS) as page:
        place = gr.State(None)
        gr.Markdown(INTRODUCTION)
        progress = gr.HTML(elem_id="progress", padding=False)
        prompt = gr.HTML(elem_id="prompt", padding=False)
        recorder = gr.Audio(
            sources=["microphone", "upload"], type="filepath", label="New take", elem_id="recorder", buttons=[],
            editable=False,
        )  # fmt: skip
        with gr.Row():
            back = gr.Button("Back", elem_id="back", min_width=NARROW)
            again = gr.Button("Record again", elem_id="again", min_width=NARROW, interactive=False)
            keep = gr.Button(KEEP, variant="primary", elem_id="keep", min_width=NARROW, interactive=False)
            on = gr.Button("Skip", elem_id="on", min_width=NARROW)
        notice = gr.HTML(elem_id="notice", padding=False)
        verdict = gr.HTML(elem_id="verdict", padding=False)
        kept = gr.Audio(label="Kept take", elem_id="kept", interactive=False, visible=False, buttons=[])
        with gr.Row():
            view = gr.Dropdown(studio.views, value=ALL, label="Prompts to go through", elem_id="view", filterable=False)
            number = gr.Number(label="Go to number", precision=0, minimum=1, elem_id="number")
        with gr.Accordion("Import prompts", open=False):
            gr.Markdown("A text file with a prompt a line, or a CSV with a column `text`.")
            imported = gr.File(label="List", elem_id="import", file_types=[".txt", ".csv"], height=140)
            import_notice = gr.HTML(elem_id="import-notice", padding=False)
        with gr.Accordion("Export your takes", open=False):
            layout = gr.Radio(list(LAYOUTS), value=LAYOUTS[0], label="Layout", elem_id="layout")
            export = gr.Button("Export", elem_id="export")
            export_notice = gr.HTML(elem_id="export-notice", padding=False)
            exported = gr.File(label="Archive", elem_id="exported", interactive=False, visible=False)
        gr.Markdown(f"A take may last {MAX_SECONDS} s. What is not kept is deleted within about an hour.")

        shown = [place, notice, progress, prompt, number, recorder, kept]
        run = {"show_progress": "hidden", "api_visibility": "private"}
        gr.on([page.load, view.input], studio.begin, view, shown, **run)
        back.click(lambda place, view: studio.step(place, view, -1), [place, view], shown, **run)
        on.click(lambda place, view: studio.step(place, view, 1), [place, view], shown, **run)
        number.submit(studio.go_to, number, shown, **run)
        recorder.change(studio.check, [recorder, place], [verdict, keep, again], trigger_mode="always_last", **run)
        # The script of the page begins to record as soon as the former recording is away.
        again.click(lambda: None, None, recorder, **run)
        keep.click(studio.keep, [recorder, place, view], shown, **run)
        imported.upload(studio.import_list, imported, [import_notice, view, progress], **run)
        export.click(studio.export, layout, [export_notice, exported], **run)
    return page


if __name__ == "__main__":
    raise SystemExit(main())
