"""A Gradio Space: choose a piano performance and see how it is judged, by what, and against whom.

    python app.py [CHECKPOINT]

CHECKPOINT is a folder or a Hub id, by default $ANTIPHON_CHECKPOINT, else model_cards/piano-assessment.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import gradio as gr
from assessor import Assessment, Assessor
from checkpoints import CheckpointError, choose_checkpoint
from report import draw_report
from uploads import MAX_MEGABYTES, MAX_SECONDS, Upload, UploadError, is_midi, read_notes, read_upload

from antiphon.eval.reference_population import is_same_passage
from antiphon.processing.audio_midi import Performance

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE / "examples"
MAX_WAITING = 16
# Uploads are deleted an hour after they came, at the next of the checks made every ten minutes.
DELETE_CACHE_SECONDS = (600, 3600)
PROJECT_FOLDERS = [Path.cwd(), *HERE.parents[1:2]]
AUDIO_SUFFIXES = [".wav", ".flac", ".ogg", ".mp3"]
MIDI_SUFFIXES = [".mid", ".midi"]
READY = "Choose a recording, a MIDI file, or an example; the assessment appears by itself."
NO_FIRST = "Choose the first performance too."
SCORE_IS_NO_MIDI = "The score must be a MIDI file; export it from your notation program."
OTHER_SCORE = "The score holds other notes than were played, and was left out there."
INTRODUCTION = f"""# Piano performance
Choose a short passage, up to {MAX_SECONDS} s: a recording (WAV, FLAC, OGG, MP3), its MIDI file, or both together, which
is judged best. Files are deleted within about an hour and used for nothing else."""
LIMITS = """**What this cannot do.** It was trained on renderings of one sampled piano, played from MIDI files of
Schubert and Beethoven: another instrument, room or microphone, or other music, is
foreign to it. Loudness is read literally: a recording that was made softer is judged softer, and no level is corrected.
The intervals are set to hold 90 % of listeners' mean judgements of performances like those it was trained on, and fewer
of others.
It is for looking at performances, not for judging people: use it for no grade, no audition and no competition."""
# label: (first, second, score)
BUNDLED = {
    "Calm arpeggios": (["arpeggios_calm.flac", "arpeggios_calm.mid"], None, "arpeggios_score.mid"),
    "Calm against brisk": (
        ["arpeggios_calm.flac", "arpeggios_calm.mid"],
        ["arpeggios_brisk.flac", "arpeggios_brisk.mid"],
        "arpeggios_score.mid",
    ),
    "Brisk chords, MIDI only": (["chords_brisk.mid"], None, None),
}


def main(arguments: list[str] | None = None) -> int:
    """Starts the server; what stands in the way is one sentence."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", help="folder or Hub id")
    options = parser.parse_args(arguments)
    try:
        folder = choose_checkpoint(options.checkpoint or os.environ.get("ANTIPHON_CHECKPOINT"), PROJECT_FOLDERS)
        assessor = Assessor(folder)
    except CheckpointError as error:
        print(f"app.py: error: {error}", file=sys.stderr)
        return 1
    page = build_page(assessor, folder.name)
    page.queue(max_size=MAX_WAITING, default_concurrency_limit=1)
    page.launch(
        # The fonts of the visitor's system: nothing to load, and bold letters match.
        theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
        css=(HERE / "style.css").read_text(encoding="utf-8"),
        head=f"<script>{(HERE / 'playback.js').read_text(encoding='utf-8')}</script>",
        max_file_size=f"{MAX_MEGABYTES}mb",
        allowed_paths=[str(EXAMPLES)],
        ssr_mode=False,
        run_history=False,
        footer_links=["api", "gradio", "settings"],
    )
    return 0


def build_page(assessor: Assessor, name: str) -> gr.Blocks:
    """Lays out the page.

    Args:
        name: Of the checkpoint, to show.
    """
    with gr.Blocks(title="Piano performance", analytics_enabled=False, delete_cache=DELETE_CACHE_SECONDS) as page:
        gr.Markdown(INTRODUCTION)
        with gr.Row():
            first = _file("Performance", "first", AUDIO_SUFFIXES + MIDI_SUFFIXES, "multiple")
            second = _file("Compare with (optional)", "second", AUDIO_SUFFIXES + MIDI_SUFFIXES, "multiple")
            score = _file("Score as MIDI (optional)", "score", MIDI_SUFFIXES, "single")
        gr.Markdown("Examples, composed and played by a program:")
        with gr.Row():
            buttons = {label: gr.Button(label, size="sm") for label in BUNDLED}
        status = gr.Markdown(READY, elem_id="status")
        report = gr.HTML(elem_id="report", padding=False)
        gr.Markdown(f"{LIMITS}\n\nCheckpoint `{name}`, {assessor.num_parameters:,} parameters.", elem_id="limits")
        files = [first, second, score]

        def assess(first: list[str] | None, second: list[str] | None, score: str | None) -> Iterator[tuple[str, str]]:
            yield from run_assessment(assessor, first, second, score)

        run = {"fn": assess, "inputs": files, "outputs": [status, report], "show_progress": "hidden"}
        changes = [event for file in files for event in (file.upload, file.clear, file.delete)]
        gr.on(changes, api_name="assess", trigger_mode="always_last", **run)
        for label, button in buttons.items():
            filled = button.click(partial(example_files, label), outputs=files, api_visibility="private")
            filled.then(api_visibility="private", **run)
    return page


def _file(label: str, name: str, suffixes: list[str], file_count: str) -> gr.File:
    return gr.File(label=label, elem_id=name, file_types=suffixes, file_count=file_count, height=150)


def example_files(label: str) -> tuple[list[str], list[str] | None, str | None]:
    """Paths of an example's files: first and second performance, and score."""
    first, second, score = BUNDLED[label]
    paths = [None if names is None else [str(EXAMPLES / name) for name in names] for names in (first, second)]
    return *paths, None if score is None else str(EXAMPLES / score)


def run_assessment(
    assessor: Assessor, first: list[str] | None, second: list[str] | None, score: str | None
) -> Iterator[tuple[str, str]]:
    """Yields the contents of status and report, as the work goes on.

    Args:
        first, second: Paths of each performance's files; None or empty without it.
        score: Path of the score; None without it.
    """
    if not first:
        yield (NO_FIRST if second else READY), ""
        return
    try:
        yield "Reading the files …", ""
        uploads = [read_upload(paths, assessor.extractor.sampling_rate) for paths in (first, second) if paths]
        if score is not None and not is_midi(score):
            raise UploadError(SCORE_IS_NO_MIDI)
        written = None if score is None else read_notes(score)
        assessments = []
        for number, upload in enumerate(uploads, start=1):
            yield f"Assessing performance {number} of {len(uploads)} …", ""
            assessments.append(assessor.assess(upload, written if fits(upload, written) else None))
    except UploadError as error:
        yield f"⚠️ {error}", ""
        return
    yield "Drawing …", ""
    work = describe_work(assessments)
    if not all(fits(upload, written) for upload in uploads):
        work += f"\n\n⚠️ {OTHER_SCORE}"
    yield work, draw_report(assessor, uploads, assessments)


def fits(upload: Upload, score: tuple[bytes, Performance] | None) -> bool:
    """Whether the score is that of the performance, as far as its notes are known."""
    return score is None or upload.performance is None or is_same_passage(upload.performance, score[1])


def describe_work(assessments: list[Assessment]) -> str:
    """What was judged by what, and how long it took."""
    names = {"audio": "recording", "midi": "MIDI file", "score": "score"}
    parts = [
        f"by {' and '.join(names[name] for name in item.inputs)} in {item.processing_seconds:.2f} s"
        for item in assessments
    ]
    if len(parts) == 1:
        return f"This performance was judged {parts[0]}."
    return f"The first performance was judged {parts[0]}, the second {parts[1]}."


if __name__ == "__main__":
    raise SystemExit(main())
