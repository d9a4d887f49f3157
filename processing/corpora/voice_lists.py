"""Makes the stored lists that voice models are trained and measured by.

`python -m antiphon.processing.corpora.voice_lists --check` makes them again from the corpora and compares.
"""

import argparse
from itertools import combinations
from pathlib import Path

import pandas as pd

from . import load_corpus
from .audit import audit_split
from .conversion_pairs import make_conversion_pairs
from .speaker_trials import make_speaker_trials
from .stored_lists import STORED_PAIRS, STORED_TRIALS, STORED_VOICES, check_list, write_list
from .voice_sides import divide_voices
from .voices import GENDERS, SIDES, VOICE_CORPORA, load_voices

_COLUMNS = ("file_name", "speaker_id", "gender", "split", "text", "duration_seconds", "language", "accent", "label")


def load_items() -> pd.DataFrame:
    """One row a recording of the voice corpora, without audio: what the lists are made from."""
    tables = []
    for name in VOICE_CORPORA:
        corpus = load_corpus(name)
        columns = [column for column in _COLUMNS if column in corpus.column_names]
        table = pd.DataFrame({column: corpus[column][:] for column in columns}, dtype=object)
        tables.append(table.assign(corpus=name))
    items = pd.concat(tables, ignore_index=True)
    return items.assign(gender=items["gender"].map(GENDERS))


def make_lists() -> dict[Path, pd.DataFrame]:
    """Every stored list by its path."""
    items = load_items()
    voices = divide_voices(items)
    items = voices.merge(items, on=["corpus", "file_name", "speaker_id"])
    items["name"] = items["corpus"] + "/" + items["file_name"]
    return {
        STORED_VOICES: voices,
        STORED_TRIALS: make_speaker_trials(items),
        STORED_PAIRS: make_conversion_pairs(items),
    }


def main() -> None:
    """Write or check the stored lists, or audit the sides against each other."""
    parser = argparse.ArgumentParser(description=__doc__)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--check", action="store_true", help="fail if the stored lists are not those of the corpora")
    action.add_argument("--write", action="store_true", help="store the lists")
    action.add_argument("--audit", action="store_true", help="compare speakers, recordings and texts of the sides")
    arguments = parser.parse_args()
    if arguments.audit:
        voices = {side: load_voices(side) for side in SIDES}
        for first, second in combinations(SIDES, 2):
            print(f"{first} and {second}", audit_split(voices[first], voices[second]), sep="\n")
        return
    for path, table in make_lists().items():
        (write_list if arguments.write else check_list)(path, table)


if __name__ == "__main__":
    main()
