"""From scored trials to the measured part of a result row of speaker verification.

The table of trials has `item_id`, `file_1`, `file_2`, `speaker_1`, `speaker_2`, the truth values `is_same` and
`same_gender`, the system's `score`, and that of each baseline in a column such as `resemblyzer.score`.

How many voices the figures speak for is the number of speakers with same-speaker trials: misses vary between them
alone, however many others appear as strangers.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from antiphon.eval.baselines import BASELINES, NO_INPUT
from antiphon.eval.metric_loading import load_metric
from antiphon.eval.speaker_bootstrap import bootstrap_p_value, percentile_interval, resample_measures
from antiphon.eval.statistics import LEVEL, MIN_GROUPS_FOR_POPULATION, holm_correction, population_claims
from antiphon.eval.training_speakers import TRAINING_UNKNOWN

TASK = "speaker-verification"
GROUP_BY = "speaker_id, on both sides of a trial"
SYSTEM = "score"  # the column of the measured system; a baseline's begins with its name
METRICS = {"eer": "ratio", "min_dcf": None}
_LIBRISPEECH_NAME = r"(\d+-\d+)-\d+\.\w+$"  # speaker, chapter, utterance


def summarize_trials(items: pd.DataFrame, *, is_training_known: bool = True, seed: int = 0) -> dict:
    """Compute the measured part of a row from its trials: metrics, speakers, baselines and claims.

    The claims are those of this row alone; `correct_for_comparisons` corrects those of several.

    Args:
        items: the trials.
        is_training_known: whether the speakers were compared with those of training; else a claim says so.
        seed: of the bootstrap.
    """
    columns = [column for column in items if column == SYSTEM or column.endswith(f".{SYSTEM}")]
    draws = resample_measures(
        {column: items[column] for column in columns},
        items["is_same"],
        items["speaker_1"],
        items["speaker_2"],
        seed=seed,
    )
    num_speakers = items.loc[items["is_same"], "speaker_1"].nunique()
    measured = {column: _measure(items, column) for column in columns}
    metrics = {
        column: {
            metric: {
                "value": measured[column][metric],
                **dict(zip(("low", "high"), percentile_interval(draws[column][metric]))),
                "unit": unit,
                "higher_is_better": False,
                "n": len(items),
                "num_groups": num_speakers,
            }
            for metric, unit in METRICS.items()
        }
        for column in columns
    }
    baselines = {}
    for column in columns:
        if column != SYSTEM:
            baseline = column.removesuffix(f".{SYSTEM}")
            differences = {
                metric: _difference(measured, draws, column, metric) | {"num_groups": num_speakers}
                for metric in METRICS
            }
            baselines[baseline] = {
                "description": BASELINES[baseline].describe(),
                "kind": BASELINES[baseline].kind,
                "metrics": metrics[column],
                "difference": differences,
            }
    summary = {
        "metrics": metrics[SYSTEM],
        "primary_metric": "eer",
        "same_gender": {column: _measure(items[_comparable(items)], column)["eer"] for column in columns},
        "groups": _speakers(items),
        "same_chapter_share": _same_chapter_share(items),
        "is_training_known": is_training_known,
        "baselines": baselines,
    }
    correct_for_comparisons([summary])
    return summary


def correct_for_comparisons(rows: Sequence[dict]) -> None:
    """Set `p_holm` of every difference of the EER, `beaten` and the claims, by Holm over baselines and rows.

    Args:
        rows: all that are told together, such as those of several corpora; changed in place.
    """
    compared = [(row, entry) for row in rows for entry in row["baselines"].values()]
    adjusted = holm_correction([entry["difference"]["eer"]["p_value"] for _, entry in compared])
    for (row, entry), p_value in zip(compared, adjusted):
        entry["difference"]["eer"]["p_holm"] = float(p_value)
        entry["beaten"] = _is_lower(entry["difference"]["eer"], row["metrics"]["eer"]["num_groups"])
    for row in rows:
        row["claims"] = _claims(row)


def _same_chapter_share(items: pd.DataFrame) -> float | None:
    """Share of same-speaker trials within one chapter, that is one recording session; None where names do not tell."""
    same = items[items["is_same"]]
    first, second = (same[column].str.extract(_LIBRISPEECH_NAME)[0] for column in ("file_1", "file_2"))
    return None if first.isna().any() else float(np.mean(first == second))


def _measure(items: pd.DataFrame, column: str) -> dict:
    return load_metric("equal_error_rate").compute(
        predictions=items[column].tolist(), references=items["is_same"].astype(int).tolist()
    )


def _comparable(items: pd.DataFrame) -> pd.Series:
    """Trials that gender does not tell apart."""
    return items["is_same"] | items["same_gender"]


def _difference(measured: Mapping, draws: Mapping, column: str, metric: str) -> dict:
    """System minus baseline, on the same resamples of speakers."""
    differences = draws[SYSTEM][metric] - draws[column][metric]
    low, high = percentile_interval(differences)
    return {
        "value": measured[SYSTEM][metric] - measured[column][metric],
        "low": low,
        "high": high,
        "p_value": bootstrap_p_value(differences),
        "smallest_p_value": 2 / (len(differences) + 1),
    }


def _is_lower(difference: Mapping, num_speakers: int) -> bool | None:
    """Whether the error is surely lower; None where so few speakers cannot tell."""
    if difference["high"] < 0 and difference["p_holm"] < LEVEL:
        return True if num_speakers >= MIN_GROUPS_FOR_POPULATION else None
    return False


def _speakers(items: pd.DataFrame) -> dict:
    """EER over the trials that each speaker takes part in, where there are trials of both kinds."""
    groups = {}
    for speaker in sorted({*items["speaker_1"], *items["speaker_2"]}):
        own = items[(items["speaker_1"] == speaker) | (items["speaker_2"] == speaker)]
        if own["is_same"].nunique() == 2:
            groups[speaker] = {metric: _measure(own, SYSTEM)[metric] for metric in METRICS} | {"n": len(own)}
    return groups


def _claims(row: Mapping) -> list[str]:
    num_speakers, share = row["metrics"]["eer"]["num_groups"], row["same_chapter_share"]
    claims = population_claims(num_speakers)
    if not row["is_training_known"]:
        claims.append(TRAINING_UNKNOWN)
    if share:
        claims.append(
            f"{100 * share:.0f} % of the same-speaker trials are within one chapter, so that the recording may give "
            "the speaker away"
        )
    for entry in row["baselines"].values():
        if not entry["beaten"]:
            claims.append(_not_beaten(entry, num_speakers))
    return claims


def _not_beaten(entry: Mapping, num_speakers: int) -> str:
    difference = entry["difference"]["eer"]
    than = "HEARING NOTHING" if entry["kind"] == NO_INPUT else f"a baseline that {entry['description']}"
    if entry["beaten"] is None:
        verdict = f"cannot tell from {num_speakers} speakers whether this is better than"
    elif entry["kind"] == NO_INPUT:
        verdict = "NOT BETTER THAN"
    else:
        is_worse = difference["low"] > 0 and difference["p_holm"] < LEVEL
        verdict = "worse than" if is_worse else "not shown to be better than"
    corrected = f"p = {difference['p_value']:.2g}, corrected {difference['p_holm']:.2g}"
    return f"{verdict} {than} (EER {100 * difference['value']:+.1f} points, {corrected})"
