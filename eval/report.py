"""Render a run or a study as a report: one self-contained HTML page, and Markdown.

    python eval/report.py runs/quickstart
    python eval/report.py runs/an4_study --prose prose.md --peers recognition
    python eval/report.py runs/an4_study --keys

writes `report.html`, `report.md` and `report_files/`. All numbers come from result files, so running it again updates
them. Prose is a Markdown file with one `## Section` for each section of the report that a person writes; it quotes
numbers by key, as `{{ results.an4_both.metrics.wer }}`, and a key that does not exist fails the build.
"""

import sys
from pathlib import Path

if not __package__ and not sys.flags.safe_path:
    # Run as a script, this folder's `statistics` would hide the standard library's.
    del sys.path[0]

import argparse
import shutil
from collections.abc import Sequence

from antiphon.eval.report_html import render_html
from antiphon.eval.report_markdown import FILES, render_markdown
from antiphon.eval.report_numbers import collect_numbers, typed_numbers
from antiphon.eval.report_peers import read_peers
from antiphon.eval.report_prose import ReportProse, read_prose
from antiphon.eval.report_sections import TITLES, build_report
from antiphon.eval.report_source import ReportError, read_source
from antiphon.eval.result_rows import write_atomically


def write_report(
    folder: str | Path,
    *,
    prose: Path | None = None,
    peers: str | None = None,
    out: Path | None = None,
    num_failures: int = 5,
    with_audio: bool = True,
) -> list[str]:
    """Build both reports of a run or study and write them; nothing is written where anything fails.

    Args:
        folder: of the run or study.
        prose: Markdown that a person wrote.
        peers: related numbers, as `read_peers` takes them.
        out: where the reports go; `folder` itself if None.
        num_failures: worst items shown for each set of conditions.
        with_audio: whether their recordings come along, which not every licence allows to publish.

    Returns:
        Numbers that the prose holds without a key.

    Raises:
        ReportError: the folder, the prose or the peers cannot be used.
    """
    source = read_source(folder)
    numbers = collect_numbers(source)
    written = read_prose(prose, TITLES, numbers) if prose else ReportProse()
    typed = typed_numbers(written.text, {metric for row in source.rows.values() for metric in row["metrics"]})
    report = build_report(
        source,
        prose=written,
        peers=read_peers(peers) if peers else (),
        typed=typed,
        num_failures=num_failures,
        with_audio=with_audio,
    )
    page = render_html(report)
    markdown, files = render_markdown(report)
    out = Path(folder) if out is None else out
    # Files of an earlier report may belong to items that no longer fail.
    shutil.rmtree(out / FILES, ignore_errors=True)
    contents = {**files, "report.md": markdown.encode(), "report.html": page.encode()}
    for name, content in contents.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out / name, lambda file, content=content: file.write(content))
    return typed


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the reports named on the command line, or list the keys."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="RUN_OR_STUDY", help="folder that train_scripts wrote")
    parser.add_argument("--prose", type=Path, help="Markdown file with what a person has to say")
    parser.add_argument("--peers", help="YAML list of related numbers, or the name of one that comes with the package")
    parser.add_argument("--out", type=Path, help="folder for the reports; RUN_OR_STUDY itself if left out")
    parser.add_argument("--failures", type=int, default=5, metavar="N", help="worst items shown for each benchmark")
    parser.add_argument("--without-audio", action="store_true", help="leave recordings out, e.g. to publish the report")
    parser.add_argument("--keys", action="store_true", help="list every key that prose may quote, and write nothing")
    options = parser.parse_args(arguments)
    try:
        if options.keys:
            for key, number in collect_numbers(read_source(options.folder)).items():
                print(f"{key}\t{number.text}")
            return
        typed = write_report(
            options.folder,
            prose=options.prose,
            peers=options.peers,
            out=options.out,
            num_failures=options.failures,
            with_audio=not options.without_audio,
        )
    except ReportError as error:
        sys.exit(f"error: {error}")
    print((options.out or options.folder) / "report.html")
    for phrase in typed:
        print(f"warning: typed by hand, so no re-run updates it: {phrase!r}", file=sys.stderr)


if __name__ == "__main__":
    main()
