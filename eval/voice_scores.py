"""From judged conversions to the measured part of a result row; see `voice_counts` for the item table."""

from collections.abc import Iterable, Iterator, Mapping

import pandas as pd

from antiphon.eval import statistics
from antiphon.eval.baselines import BASELINES
from antiphon.eval.fold_audits import known_by_fold
from antiphon.eval.recognition_scores import training_claims
from antiphon.eval.voice_claims import comparison_claims, is_beaten, item_claims, nearer_than, word_loss
from antiphon.eval.voice_counts import CROSSED_WITH, GROUP_BY, baseline_names, count_groups, count_outputs, recount
from antiphon.eval.voice_statistics import (
    COMPARED_METRICS,
    METRIC_COLUMNS,
    PRIMARY_METRIC,
    compare_baseline,
    correct_outcomes,
    describe_differences,
    known_metrics,
    measure_groups,
    measure_metrics,
    measure_scenario,
)

__all__ = [
    "CROSSED_WITH",
    "GROUP_BY",
    "MEASURED",
    "METRIC_COLUMNS",
    "PRIMARY_METRIC",
    "REQUIRED_COLUMNS",
    "REQUIRED_CONDITIONS",
    "SHARED_CONDITIONS",
    "TASK",
    "answer_problems",
    "audit_claims",
    "baseline_names",
    "count_groups",
    "recount",
    "rescore",
    "summarize_items",
]

TASK = "voice-conversion"

# What `antiphon.eval.scoring` asks of a task.
REQUIRED_COLUMNS = (
    *("item_id", "scenario", GROUP_BY, CROSSED_WITH, "reference", "duration_seconds"),
    *("pair", "condition", "voice_is_reference", "hypothesis"),
    *("similarity", "judged", "reference_similarity", "judged_by_reference", "source_similarity", "compared"),
    *("silent", "failed", "clipped"),
)
REQUIRED_CONDITIONS = ("text_normalizer", "sampling_rate")
SHARED_CONDITIONS = ("text_normalizer", "sampling_rate", "judges", "crossed_with", "protocol")
MEASURED = ("metrics", "primary_metric", "outputs", "groups", "scenarios", "baselines", "seeds")


def rescore(items: pd.DataFrame) -> pd.DataFrame:
    """Return the items as they are: no score of an item depends on the other items."""
    return items


def summarize_items(items: pd.DataFrame, *, seed: int = 0) -> dict:
    """Compute the measured part of a result row from its item table.

    Returns:
        `metrics`, `primary_metric`, `outputs` (how many are silent, failed, were clipped), `groups` (each target
        speaker), `scenarios` (each with metrics, for the baselines metrics and differences, and metrics and paired
        differences of its conditions where it has several), `baselines`, `claims`, `group_by`, the column that is
        resampled along with `CROSSED_WITH`, and the `seeds` of the trainings (none where the table does not say).
    """
    outcomes = {name: compare_baseline(items, name, COMPARED_METRICS, seed) for name in baseline_names(items)}
    corrected, loss, known = correct_outcomes(outcomes), word_loss(outcomes), known_metrics(items)
    nearer = nearer_than(corrected)
    baselines = {}
    for name, own in outcomes.items():
        difference = describe_differences(own, without_test=known)
        if name in corrected:
            difference[PRIMARY_METRIC]["holm_p_value"] = corrected[name][1].p_value
        baselines[name] = {
            "description": BASELINES[name].describe(),
            "kind": BASELINES[name].kind,
            "metrics": measure_metrics(items, f"{name}.", METRIC_COLUMNS, seed),
            "outputs": count_outputs(items, f"{name}."),
            "difference": difference,
            "beaten": is_beaten(nearer[name], loss) if name in corrected else None,
        }
    claims = statistics.population_claims(items[GROUP_BY].nunique(), "target speaker")
    claims += statistics.population_claims(items[CROSSED_WITH].nunique(), "source speaker")
    return {
        "metrics": measure_metrics(items, "", METRIC_COLUMNS, seed),
        "primary_metric": PRIMARY_METRIC,
        "outputs": count_outputs(items),
        "groups": measure_groups(items),
        "scenarios": {scenario: measure_scenario(own, seed) for scenario, own in items.groupby("scenario", sort=True)},
        "baselines": baselines,
        "group_by": GROUP_BY,
        "seeds": sorted(items["seed"].unique().tolist()) if "seed" in items else [],
        "claims": [*claims, *item_claims(items), *comparison_claims(baselines, corrected, nearer, loss)],
    }


def answer_problems(items: pd.DataFrame) -> Iterator[str]:
    """Say what is wrong with the answers in an item table from elsewhere."""
    for prefix in ("", *(f"{name}." for name in baseline_names(items))):
        for name in ("similarity", "reference_similarity", "source_similarity"):
            if not items[f"{prefix}{name}"].between(-1 - 1e-6, 1 + 1e-6).all():
                yield f"`{prefix}{name}` is no cosine on every item; measure again"
    held_out = ~items["voice_is_reference"].astype(bool)
    judged, judged_by_reference = (items[name].astype(bool) for name in ("judged", "judged_by_reference"))
    if (judged != held_out).any() or (judged_by_reference == held_out).any():
        yield "the system was not judged on every item; measure again"


def audit_claims(audits: Iterable[tuple[str, Mapping | None]], items: pd.DataFrame) -> list[str]:
    """Say what training had already heard, from the audits of each training by its fold."""
    known = known_by_fold(audits, "num_shared_groups")
    number = None if None in known.values() else sum(known.values())
    return training_claims(number, count_groups(items)["num_speakers"])
