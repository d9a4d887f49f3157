"""Export the results of a listening test as a dataset: CSV and Parquet with a card that says what each column is.

    python eval/listening_export.py results.sqlite dataset

Codes of listeners stay behind: they become numbers, in order of coming; so do all times.
"""

import sys
from pathlib import Path

if not __package__ and not sys.flags.safe_path:
    # Run as a script, this folder's `statistics` would hide the standard library's.
    del sys.path[0]

import argparse
import json
from collections.abc import Sequence

from antiphon.eval.listening_results import (
    CHECK,
    DEFINITION_NAME,
    RATINGS_NAME,
    TRIAL,
    ListeningResults,
    ResultsError,
    inattentive_listeners,
    read_results,
)
from antiphon.eval.report_markdown import escape
from antiphon.eval.result_formats import markdown_table
from antiphon.eval.result_rows import write_atomically

CSV_NAME = "ratings.csv"
MEANINGS = {
    "listener_id": "number of the listener, in order of coming; nothing else is known of them",
    "position": "of the page within the listener's session, from 0; pages came in random order",
    "kind": f"`{TRIAL}`, or `{CHECK}` for a page whose right answer was known",
    "item": "what was said or played; empty on attention checks",
    "system_a": "the system that was heard (MOS, SMOS), or heard as A (A/B, ABX)",
    "system_b": "the system heard as B; empty for MOS and SMOS",
    "system_x": "the system heard as X; empty but for ABX",
    "answer": "a key of `answers` in test.json: a rating, A, B, or none (no preference)",
    "expected": "on attention checks the answers that pass, separated by blanks",
}


def export_results(results: ListeningResults, folder: Path) -> None:
    """Write ratings.csv, ratings.parquet, test.json and README.md into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    definition = results.definition | {"num_started": results.num_started}
    write_atomically(folder / RATINGS_NAME, lambda file: results.ratings.to_parquet(file, index=False))
    write_atomically(folder / CSV_NAME, lambda file: file.write(results.ratings.to_csv(index=False).encode()))
    text = json.dumps(definition, indent=2, ensure_ascii=False) + "\n"
    write_atomically(folder / DEFINITION_NAME, lambda file: file.write(text.encode()))
    # Last: who sees the card sees whole files.
    write_atomically(folder / "README.md", lambda file: file.write(dataset_card(results).encode()))


def dataset_card(results: ListeningResults) -> str:
    """The card of the dataset, with its schema."""
    definition, trials = results.definition, results.trials
    size = (
        f"{len(trials)} answers of {trials['listener_id'].nunique()} listeners ({results.num_started} began) to "
        f"{trials['item'].nunique()} items of {len(definition['systems'])} systems, and "
        f"{len(results.ratings) - len(trials)} to attention checks. "
        f"{len(inattentive_listeners(results))} listeners failed more checks than "
        f"{definition['max_failed_checks']}, the most allowed; their answers are here, too."
    )
    parts = [
        f"---\nconfigs:\n- config_name: default\n  data_files: {RATINGS_NAME}\ntags:\n- listening-test\n---",
        f"# {escape(definition['title'])}",
        f"A listening test ({definition['kind'].upper()}): “{escape(definition['question'])}”",
        size,
        f"Seed {definition['seed']}; SHA-256 of the test, with all its sounds: `{definition['sha256']}`.",
        "## Columns",
        markdown_table(["column", "meaning"], MEANINGS.items()),
        "## Answers",
        markdown_table(["answer", "as shown"], ([key, escape(label)] for key, label in definition["answers"].items())),
        "## Analysis",
        "```sh\npython eval/listening_analysis.py . --out report\n```",
        "No name, address, code or time of any listener is in these files. Say the licence before you publish them.",
    ]
    return "\n\n".join(parts) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Export the results named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="SQLite file of a test")
    parser.add_argument("folder", type=Path, help="for the dataset")
    options = parser.parse_args(arguments)
    try:
        results = read_results(options.results)
    except ResultsError as error:
        raise SystemExit(str(error)) from None
    export_results(results, options.folder)
    print(f"{len(results.ratings)} answers in {options.folder}")


if __name__ == "__main__":
    main()
