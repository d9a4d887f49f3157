"""PercePiano: piano performances as MIDI, judged by listeners on nineteen percepts.

Source: Park et al. 2024, "Piano performance evaluation dataset with multilevel perceptual features".
"""

import logging
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
from datasets import Dataset, Features, List, Value

from ..percepts import PERCEPTS
from .folder import load_folder
from .note_overlap import find_duplicates, find_excerpts
from .schema import STANDARD_FEATURES, CorpusError, conform

logger = logging.getLogger(__name__)

# The source's names of `PERCEPTS`, in the same order.
LABELS = (
    "Timing_Stable_Unstable",
    "Articulation_Long_Short",
    "Articulation_Soft_cushioned_Hard_solid",
    "Pedal_Sparse/dry_Saturated/wet",
    "Pedal_Clean_Blurred",
    "Timbre_Even_Colorful",
    "Timbre_Shallow_Rich",
    "Timbre_Bright_Dark",
    "Timbre_Soft_Loud",
    "Dynamic_Sophisticated/mellow_Raw/crude",
    "Dynamic_Little_dynamic_range_Large_dynamic_range",
    "Music_Making_Fast_paced_Slow_paced",
    "Music_Making_Flat_Spacious",
    "Music_Making_Disproportioned_Balanced",
    "Music_Making_Pure_Dramatic/expressive",
    "Emotion_&_Mood_Optimistic/pleasant_Dark",
    "Emotion_&_Mood_Low_Energy_High_Energy",
    "Emotion_&_Mood_Honest_Imaginative",
    "Interpretation_Unsatisfactory/doubtful_Convincing",
)
HIGHEST_RATING = 7
_LABEL_PRECISION = 1e-5

_FEATURES = Features(
    {
        **STANDARD_FEATURES,
        "midi": Value("string"),
        "score_midi": Value("string"),
        "passage": Value("string"),
        "excerpt": Value("string"),
        "work": Value("string"),
        "player_id": Value("string"),
        "is_human": Value("bool"),
        "percepts": List(Value("float64"), length=len(PERCEPTS)),
        "percept_stds": List(Value("float64"), length=len(PERCEPTS)),
        "num_raters": Value("int64"),
        "duplicate_group": Value("string"),
    }
)


def load_percepiano(folder: str | os.PathLike, **options) -> Dataset:
    """Load the labelled performances; the others are left out, and their number is logged.

    Args:
        folder: Holds `metadata.csv`, and the MIDI files that it names.
        options: Of `load_folder`.

    Returns:
        The standard columns: `audio` is null (see `rendering.render_corpus`), `speaker_id` is the player, and
        `duration_seconds` ends with the last note off. Then:
        midi, score_midi: paths of the performance and of its score.
        passage: "composition|bars|segment", the same for all who play it.
        excerpt: name of one of the passages that share bars: cuts of 4, 8 and 16 bars, and repeats, by their notes.
        work: WoO80 (theme and variations as one), D960_mv2, D960_mv3 or D935_no3.
        player_id, is_human: a number; or "Score" and "Score2", which a computer plays.
        percepts: 19 mean ratings in the order of `PERCEPTS`, from 1/7 to 1.
        percept_stds: 19 standard deviations of those ratings, on the same scale. Not the published ones: these count a
            rating that was not given as 0, in 216 items.
        num_raters: how many ratings the percept that has most of them was given.
        duplicate_group: the same for files that hold one performance under several names and labels. These are more
            than the source's `duplicate_of` lists.

    Raises:
        CorpusError: The folder is no copy of PercePiano, or its ratings do not average to its labels.
    """
    listed = load_folder(folder, **options).remove_columns("audio").to_pandas()
    missing = {"labelled", "score_midi", "composition", "n_notes", *LABELS} - set(listed.columns)
    if missing:
        raise CorpusError(f"{folder} lacks the columns {', '.join(sorted(missing))}; it is no copy of PercePiano.")
    table = listed[listed["labelled"]].reset_index(drop=True)
    root = Path(folder).resolve()
    passage = table["composition"] + "|" + table["n_bars"].astype(str) + "|" + table["segment_no"].astype(str)
    ratings = _rating_statistics(folder, table)
    excerpts = find_excerpts({name: root / score for name, score in zip(passage, table["score_midi"])})
    columns = {
        **{name: table[name] for name in STANDARD_FEATURES if name in table},
        "speaker_id": table["player_id"].astype(str),
        "duration_seconds": table["last_note_off_s"],
        "midi": [str(root / name) for name in table["file_name"]],
        "score_midi": [str(root / name) for name in table["score_midi"]],
        "passage": passage,
        "excerpt": passage.map(excerpts),
        "work": table["composition"].map(_work),
        "player_id": table["player_id"].astype(str),
        "is_human": table["is_human"],
        "percepts": list(table[list(LABELS)].to_numpy()),
        "percept_stds": list(ratings["std"].to_numpy() / HIGHEST_RATING),
        "num_raters": ratings["count"].max(axis=1).to_numpy(),
    }
    columns["duplicate_group"] = _duplicate_groups(table, columns)
    columns["audio"] = [None] * len(table)
    num_unlabelled = len(listed) - len(table)
    logger.info("%s: %d of %d performances have no labels and are left out", folder, num_unlabelled, len(listed))
    data = pd.DataFrame({name: columns.get(name) for name in _FEATURES})
    return conform(Dataset.from_pandas(data, features=_FEATURES, preserve_index=False))


def _duplicate_groups(table: pd.DataFrame, columns: dict) -> list[str]:
    performances = pd.DataFrame({name: columns[name] for name in ("file_name", "midi", "excerpt")}).assign(
        player=table["player_id"].where(table["is_human"], "Score"),
        num_notes=table["n_notes"],
        seconds=table["last_note_off_s"] - table["first_note_s"],
    )
    first_of = find_duplicates(performances)
    return [first_of[name] for name in table["file_name"]]


def load_ratings(folder: str | os.PathLike) -> pd.DataFrame:
    """Read what each rater said, as a noise ceiling needs it.

    Args:
        folder: As of `load_percepiano`.

    Returns:
        One row a rating: user, file_name (the item's id), percept, rating (1 to 7). Who rated an item twice has two.
        As in the published means, zeros are left out, which mean that none was given, and so are all ratings of a user
        for an item where one of them is above 7.
    """
    table = pd.read_csv(Path(folder) / "labels" / "total_2rounds.csv").rename(columns=dict(zip(LABELS, PERCEPTS)))
    table = table[~(table[list(PERCEPTS)] > HIGHEST_RATING).any(axis=1)]
    table["file_name"] = "midi/" + table.pop("filename") + ".mid"
    ratings = table.melt(["user", "file_name"], list(PERCEPTS), var_name="percept", value_name="rating")
    return ratings[ratings["rating"] > 0].reset_index(drop=True)


def _rating_statistics(folder: str | os.PathLike, table: pd.DataFrame) -> pd.DataFrame:
    """Per row of the table and percept the standard deviation and number of ratings, whose mean is that row's label."""
    by_item = load_ratings(folder).groupby(["file_name", "percept"])["rating"]
    statistics = pd.DataFrame({"mean": by_item.mean(), "std": by_item.std(ddof=0), "count": by_item.count()})
    statistics = statistics.unstack().reindex(table["file_name"]).reindex(PERCEPTS, axis=1, level=1)
    errors = np.abs(statistics["mean"].to_numpy() / HIGHEST_RATING - table[list(LABELS)].to_numpy())
    wrong = ~(errors < _LABEL_PRECISION).all(axis=1)
    if wrong.any():
        raise CorpusError(
            f"{folder}: the ratings of {wrong.sum()} items, such as {table['file_name'][wrong.argmax()]!r}, do not "
            "average to their labels; get the corpus again."
        )
    return statistics


def _work(composition: str) -> str:
    """ "Beethoven_WoO80_var3" is of "WoO80", "Schubert_D935_no.3" of "D935_no3"."""
    without_composer = composition.partition("_")[2].replace(".", "")
    return re.sub(r"_(thema|var\d+)$", "", without_composer)
