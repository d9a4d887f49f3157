"""A Gradio Space: result rows as rankings with intervals, ties, baselines and the conditions they hold under.

    python app.py [ROWS]

ROWS is a folder or the id of a dataset on the Hub, by default $ANTIPHON_LEADERBOARD, else the folder leaderboard/
that comes with this page, else model_cards/ of this project.
"""

import argparse
import os
import sys
from pathlib import Path

import gradio as gr
from board import Board
from interval_figure import draw_ranking
from places import Folder, PlaceError, open_place
from ranking import RULE, Ranking, rank_entries
from tables import describe_system, ranking_table, refused_list

PROJECT_FOLDERS = [Path(__file__).resolve().parent, Path.cwd(), *Path(__file__).resolve().parents[2:3]]
DEFAULT_FOLDERS = ("leaderboard", "model_cards")
ANY = "any"
FILTERS = ("benchmark", "corpus", "split", "decoding", "sampling rate")
INTRODUCTION = """# Leaderboard
Every number stands with its 95 % interval, beside the strongest baseline that hears nothing, and only among numbers
that were measured under the same conditions."""
NO_ROWS = """### No results yet
The first one comes here with two commands. Measure a checkpoint on a benchmark, then:

```sh
python eval/define_benchmark.py RUN/results/BENCHMARK.json --to {place}
python eval/submit.py RUN --to {place}
```

Reload this page afterwards."""
SUBMIT = """```sh
python eval/submit.py RUN --to {place}
```
computes metrics, intervals, baselines' scores and groups anew from the transcripts; speed, size, hardware and audit are
the submitter's word. It refuses rows that do not agree, and adds the rest. On the Hub, `--pull-request` proposes
rows for a dataset of somebody else."""
CSS = """
#table { overflow-x: auto; }
#table tr, .system tr, #card tr { border: none; }
#table table, .system table, #card table { border-collapse: collapse; border: none; font-size: 0.95rem; }
#table caption { text-align: left; padding-bottom: 0.4rem; opacity: 0.8; }
#table th, #table td, .system th, .system td, #card th, #card td {
  padding: 0.4rem 1rem 0.4rem 0; text-align: left; vertical-align: top; border: none;
  border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent); }
#table td, .system td { white-space: nowrap; font-variant-numeric: tabular-nums; }
#table tr.baseline { font-style: italic; }
#table button { all: unset; cursor: pointer; font-weight: 600; text-decoration: underline; text-underline-offset: 0.2em;
  white-space: normal; overflow-wrap: anywhere; }
#table button:focus-visible { outline: 2px solid currentColor; outline-offset: 2px; }
.note, .warning { display: block; font-size: 0.85rem; font-style: normal; white-space: normal; max-width: 40ch; }
.note { opacity: 0.8; }
.warning { font-weight: 700; }
.system > table, .system details > table, #card table { display: block; overflow-x: auto; }
.system td code { white-space: normal; overflow-wrap: anywhere; }
.system h2 { font-size: 1.4rem; font-weight: 700; }
.system h3, .system summary, #card h1, #card h2, #card h3 { font-size: 1.1rem; font-weight: 700; }
.system h3, .system summary, #card h1, #card h2, #card h3 { margin: 1rem 0 0.4rem; }
.system summary { cursor: pointer; }
.system ul, #card ul { list-style: disc; padding-left: 1.2rem; }
#card { overflow-wrap: anywhere; }
#card pre { overflow-x: auto; padding: 0.6rem; background: color-mix(in srgb, currentColor 8%, transparent); }
#card p, #card pre { margin: 0.6rem 0; }
#card a[href] { text-decoration: underline; }
#card a:not([href]) { color: inherit; text-decoration: none; }
.intervals { margin: 0; }
.intervals > div { overflow-x: auto; }
.intervals svg { display: block; width: 100%; max-width: 60rem; min-width: 30rem; height: auto; }
"""
# A click on a system's button becomes the event `select` with its name.
SELECT = """element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-system]');
  if (button) trigger('select', {index: button.dataset.system, value: button.dataset.system});
});"""


def main(arguments: list[str] | None = None) -> int:
    """Starts the server; what stands in the way is one sentence."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="?", help="folder, or dataset on the Hub, with result rows")
    options = parser.parse_args(arguments)
    try:
        reference = options.rows or os.environ.get("ANTIPHON_LEADERBOARD")
        place = open_place(reference) if reference else default_place()
    except PlaceError as error:
        print(f"app.py: error: {error}", file=sys.stderr)
        return 1
    page = build_page(Board(place))
    page.launch(
        # The fonts of the visitor's system: nothing to load, and bold letters match.
        theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
        css=CSS,
        ssr_mode=False,
        run_history=False,
        footer_links=["api", "gradio", "settings"],
    )
    return 0


def default_place() -> Folder:
    """The first of the default folders that exists in this project, else where one would be."""
    folders = [root / name for name in DEFAULT_FOLDERS for root in PROJECT_FOLDERS]
    return Folder(next((folder for folder in folders if folder.is_dir()), folders[0]))


def build_page(board: Board) -> gr.Blocks:
    """Lays out the page."""
    with gr.Blocks(title="Leaderboard", analytics_enabled=False) as page:
        gr.Markdown(INTRODUCTION)
        notice = gr.Markdown(elem_id="notice")
        with gr.Column() as content:
            with gr.Row():
                filters = [gr.Dropdown([ANY], value=ANY, label=name.capitalize(), min_width=140) for name in FILTERS]
            chosen = gr.Dropdown([], label="Ranking", info="rows under one set of conditions")
            table = gr.HTML(elem_id="table", js_on_load=SELECT)
            figure = gr.HTML(elem_id="figure")
            with gr.Accordion("How ranks come about", open=False):
                gr.Markdown(RULE)
            system = gr.Dropdown([], label="System")
            details = gr.HTML(elem_id="details")
            with gr.Accordion("Card"):
                card = gr.HTML(elem_id="card")
            with gr.Accordion("Take part", open=False):
                gr.Markdown(SUBMIT.format(place=board.place.name))
        with gr.Accordion("Left out", visible=False) as left_out:
            refused = gr.HTML(elem_id="refused")
        shown = [notice, content, *filters, chosen, table, figure, system, left_out, refused]

        def show(*wishes: str | None) -> list:
            board.refresh()
            return show_board(board, dict(zip(FILTERS, wishes)), *wishes[len(FILTERS) :])

        def describe(key: str | None, name: str | None) -> tuple[str, str]:
            line = next((ranking.find(name) for ranking in rank_entries(board.entries) if ranking.key == key), None)
            return (describe_system(line), board.card(line.entry)) if line else ("", "")

        def choose(event: gr.SelectData) -> str:
            return event.value

        triggers = [page.load, chosen.input, *(one.input for one in filters)]
        gr.on(triggers, show, [*filters, chosen, system], shown, show_progress="hidden", api_visibility="private").then(
            describe, [chosen, system], [details, card], show_progress="hidden", api_visibility="private"
        )
        table.select(choose, None, system, show_progress="hidden", api_visibility="private")
        system.change(describe, [chosen, system], [details, card], show_progress="hidden", api_visibility="private")
    return page


def show_board(board: Board, wishes: dict[str, str | None], key: str | None, name: str | None) -> list:
    """The contents of the page for what a visitor has chosen.

    Args:
        board: The rows.
        wishes: Wanted value of each filter, or `ANY`.
        key: Of the ranking that was shown.
        name: Of the system that was shown.

    Returns:
        Values for notice, content, filters, ranking, table, figure, system, left_out and refused.
    """
    rankings = rank_entries(board.entries)
    notice = f"⚠️ {board.notice}" if board.notice else ""
    if not rankings:
        notice = notice or NO_ROWS.format(place=board.place.name)
    left = [ranking for ranking in rankings if fits(ranking, wishes)]
    ranking = next((ranking for ranking in left if ranking.key == key), left[0] if left else None)
    systems = [line.name for line in ranking.lines if line.entry] if ranking else []
    return [
        notice,
        gr.update(visible=bool(rankings)),
        *(filter_update(rankings, wishes, filter_name) for filter_name in FILTERS),
        gr.update(choices=labels(left), value=ranking and ranking.key),
        ranking_table(ranking) if ranking else "<p>No ranking has all of that; set a filter to any.</p>",
        draw_ranking(ranking) if ranking else "",
        gr.update(choices=systems, value=name if name in systems else next(iter(systems), None)),
        gr.update(visible=bool(board.refused)),
        refused_list(board.refused),
    ]


def fits(ranking: Ranking, wishes: dict[str, str | None]) -> bool:
    """Whether a ranking has the wanted conditions."""
    return all(wish in (None, ANY, ranking.conditions[name]) for name, wish in wishes.items())


def filter_update(rankings: list[Ranking], wishes: dict[str, str | None], name: str) -> dict:
    """Choices of a filter: the values that some ranking has, the wanted one still chosen if it is there."""
    choices = [ANY, *sorted({ranking.conditions[name] for ranking in rankings})]
    return gr.update(choices=choices, value=wishes[name] if wishes[name] in choices else ANY)


def labels(rankings: list[Ranking]) -> list[tuple[str, str]]:
    """Labels and keys of rankings; those that look alike carry a part of their digest."""
    names = [ranking.label for ranking in rankings]
    return [
        (label if names.count(label) == 1 else f"{label} · conditions {ranking.key}", ranking.key)
        for label, ranking in zip(names, rankings)
    ]


if __name__ == "__main__":
    raise SystemExit(main())
