"""What is counted in a table of judged conversions: errors of words, speakers, and outputs that are none.

The item table has a row for each conversion: `item_id`, `scenario`, `source_speaker`, `target_speaker`, `reference`
(the words) and what else `voice_items` says; then, for the system and, behind the name of each baseline and a dot, for
those, the columns of `voice_measures` and the counts of errors made here from `hypothesis`.
"""

import numpy as np
import pandas as pd

from antiphon.eval.metric_loading import load_metric

GROUP_BY, CROSSED_WITH = "target_speaker", "source_speaker"
RECOGNISERS = ("", "second_")
OUTPUT_COLUMNS = {"silent_outputs": "silent", "failed_outputs": "failed", "clipped_outputs": "clipped"}


def recount(items: pd.DataFrame) -> pd.DataFrame:
    """Count the errors of every transcript; the columns of counts, of the system and of the baselines."""
    counted = {}
    for prefix in ("", *(f"{name}." for name in baseline_names(items))):
        for recogniser in RECOGNISERS:
            if f"{prefix}{recogniser}hypothesis" in items:
                counted |= _count_errors(items, f"{prefix}{recogniser}")
    return pd.DataFrame(counted, index=items.index)


def count_groups(items: pd.DataFrame) -> dict[str, int]:
    """How many speakers and scenarios an item table holds."""
    speakers = pd.concat([items[GROUP_BY], items[CROSSED_WITH]])
    return {
        "num_speakers": int(speakers.nunique()),
        "num_target_speakers": int(items[GROUP_BY].nunique()),
        "num_source_speakers": int(items[CROSSED_WITH].nunique()),
        "num_scenarios": int(items["scenario"].nunique()),
    }


def count_outputs(items: pd.DataFrame, prefix: str = "") -> dict[str, int]:
    """How many outputs of a system are silent (those that failed are), failed and were clipped."""
    return {name: int(items[prefix + column].sum()) for name, column in OUTPUT_COLUMNS.items()}


def baseline_names(items: pd.DataFrame) -> list[str]:
    """The baselines that an item table has measures of."""
    return [column.removesuffix(".similarity") for column in items if column.endswith(".similarity")]


def _count_errors(items: pd.DataFrame, prefix: str) -> dict[str, np.ndarray]:
    """Errors and lengths; an item without words, or that was not transcribed, has neither."""
    counts = {name: np.zeros(len(items), dtype=np.int64) for name in ("errors", "words", "char_errors", "chars")}
    heard = np.flatnonzero((items["reference"] != "") & items[f"{prefix}hypothesis"].notna())
    if len(heard):
        measured = load_metric("error_rates").compute(
            predictions=items[f"{prefix}hypothesis"].iloc[heard].tolist(),
            references=items["reference"].iloc[heard].tolist(),
            groups=heard.tolist(),
        )["per_group"]
        for place, found in measured.items():
            counts["errors"][place] = found["substitutions"] + found["deletions"] + found["insertions"]
            counts["words"][place] = found["reference_words"]
            counts["char_errors"][place] = found["character_errors"]
            counts["chars"][place] = found["reference_characters"]
    return {f"{prefix}{name}": values for name, values in counts.items()}
