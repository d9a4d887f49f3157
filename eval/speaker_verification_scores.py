"""From scored trials to the measured part of a result row of speaker verification.

The table of trials has `item_id`, `speaker_1`, `speaker_2`, the truth values `is_same` and `same_gender`, the system's
`score`, and that of each baseline in a column such as `resemblyzer.score`.
"""

from collections.abc import Mapping

import pandas as pd

from antiphon.eval.baselines import BASELINES, NO_INPUT
from antiphon.eval.metric_loading import load_metric
from antiphon.eval.speaker_bootstrap import bootstrap_p_value, percentile_interval, resample_measures
from antiphon.eval.statistics import LEVEL, MIN_GROUPS_FOR_POPULATION, population_claims

TASK = "speaker-verification"
GROUP_BY = "speaker_id, on both sides of a trial"
SYSTEM = "score"  # the column of the measured system; a baseline's begins with its name
METRICS = {"eer": "ratio", "min_dcf": None}


def summarize_trials(items: pd.DataFrame, *, seed: int = 0) -> dict:
    """Compute the measured part of a row from its trials: metrics, speakers, baselines and claims."""
    columns = [column for column in items if column == SYSTEM or column.endswith(f".{SYSTEM}")]
    draws = resample_measures(
        {column: items[column] for column in columns},
        items["is_same"],
        items["speaker_1"],
        items["speaker_2"],
        seed=seed,
    )
    num_speakers = pd.concat([items["speaker_1"], items["speaker_2"]]).nunique()
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
                "beaten": _is_lower(differences["eer"], num_speakers),
            }
    return {
        "metrics": metrics[SYSTEM],
        "primary_metric": "eer",
        "same_gender": {column: _measure(items[_comparable(items)], column)["eer"] for column in columns},
        "groups": _speakers(items),
        "baselines": baselines,
        "claims": _claims(baselines, num_speakers),
    }


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
    if difference["high"] < 0 and difference["p_value"] < LEVEL:
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


def _claims(baselines: Mapping, num_speakers: int) -> list[str]:
    claims = population_claims(num_speakers)
    for entry in baselines.values():
        if entry["beaten"]:
            continue
        difference, surely_worse = entry["difference"]["eer"], entry["difference"]["eer"]["low"] > 0
        than = "HEARING NOTHING" if entry["kind"] == NO_INPUT else f"a baseline that {entry['description']}"
        if entry["beaten"] is None:
            verdict = f"cannot tell from {num_speakers} speakers whether this is better than"
        elif entry["kind"] == NO_INPUT:
            verdict = "NOT BETTER THAN"
        else:
            verdict = "worse than" if surely_worse else "not shown to be better than"
        claims.append(
            f"{verdict} {than} (EER {100 * difference['value']:+.1f} points, p = {difference['p_value']:.2g})"
        )
    return claims
