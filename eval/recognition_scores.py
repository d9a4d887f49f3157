"""From transcripts to the measured part of a result row: scores per item, then metrics, groups, baselines and claims.

The item table holds everything that the row is computed from, so tables of several folds can be pooled and summed up
again. Its columns: `item_id`, `speaker_id`, `reference`, `hypothesis`, `errors`, `words`, `char_errors`, `chars`,
`correct`, `duration_seconds`, and the same counts for the constant transcript with the prefix `baseline_`.
"""

from collections.abc import Sequence
from dataclasses import asdict

import pandas as pd

from antiphon.eval import statistics
from antiphon.eval.metric_loading import load_metric

# metric: (numerator, denominator) among the columns; None counts items
METRIC_COLUMNS = {"wer": ("errors", "words"), "cer": ("char_errors", "chars"), "accuracy": ("correct", None)}
HIGHER_IS_BETTER = {"wer": False, "cer": False, "accuracy": True}
BASELINE = "best_constant_transcript"


def score_items(
    item_ids: Sequence[str],
    speaker_ids: Sequence[str | None],
    references: Sequence[str],
    hypotheses: Sequence[str],
    constant_transcript: str,
    durations: Sequence[float],
) -> pd.DataFrame:
    """Count the errors of the system and of the constant transcript on every item; see the module for the columns."""
    items = pd.DataFrame({"item_id": item_ids, "speaker_id": speaker_ids, "reference": references})
    constant = [constant_transcript] * len(items)
    for prefix, transcripts in (("", hypotheses), ("baseline_", constant)):
        counts = load_metric("error_rates").compute(
            predictions=transcripts, references=references, groups=list(item_ids)
        )["per_group"]
        counts = [counts[item_id] for item_id in item_ids]
        items[f"{prefix}hypothesis"] = transcripts
        items[f"{prefix}errors"] = [
            count["substitutions"] + count["deletions"] + count["insertions"] for count in counts
        ]
        items[f"{prefix}char_errors"] = [count["character_errors"] for count in counts]
        items[f"{prefix}correct"] = [reference == text for reference, text in zip(references, transcripts)]
    items["words"] = [count["reference_words"] for count in counts]
    items["chars"] = [count["reference_characters"] for count in counts]
    items["duration_seconds"] = durations
    return items


def summarize_items(items: pd.DataFrame, *, seed: int = 0) -> dict:
    """Compute `metrics`, `groups`, `baselines`, `claims` and the grouping column of a result row from its item table.

    Speakers are resampled as wholes. Where the corpus names no speakers, items are, and a claim says so.
    """
    group_by = "speaker_id" if items["speaker_id"].notna().all() else "item_id"
    group_name = group_by.removesuffix("_id")
    claims = []
    if group_by == "item_id":
        claims.append("speakers are unknown: intervals treat items as independent and are too narrow if voices recur")
    claims += statistics.population_claims(items[group_by].nunique(), group_name)
    baseline, verdict = _compare_with_baseline(items, group_by, seed)
    return {
        "metrics": _metrics(items, group_by, "", seed),
        "groups": {} if group_by == "item_id" else _group_metrics(items),
        "baselines": {BASELINE: baseline},
        "claims": claims + verdict,
        "group_by": group_by,
    }


def training_claims(num_known: int | None, num_speakers: int) -> list[str]:
    """Say what training had already heard.

    Args:
        num_known: test speakers that are also in training; None if the training data is not given.
        num_speakers: test speakers.
    """
    if num_known is None:
        return ["training data not given: nothing says that these items were not trained on"]
    if num_known == 0:
        return []
    return [f"measures known voices: {num_known} of {num_speakers} test speakers are also in training"]


def _columns(items: pd.DataFrame, metric: str, prefix: str) -> tuple[pd.Series, pd.Series]:
    numerator, denominator = METRIC_COLUMNS[metric]
    ones = pd.Series(1, index=items.index)
    return items[prefix + numerator].astype(float), ones if denominator is None else items[denominator]


def _metrics(items: pd.DataFrame, group_by: str, prefix: str, seed: int) -> dict:
    metrics = {}
    for metric in METRIC_COLUMNS:
        interval = statistics.bootstrap_ratio(*_columns(items, metric, prefix), items[group_by], seed=seed)
        metrics[metric] = {
            "value": interval.value,
            "low": interval.low,
            "high": interval.high,
            "unit": "ratio",
            "higher_is_better": HIGHER_IS_BETTER[metric],
            "n": interval.num_items,
            "num_groups": interval.num_groups,
        }
    return metrics


def _group_metrics(items: pd.DataFrame) -> dict:
    groups = {}
    for speaker, own in items.groupby("speaker_id", sort=True):
        groups[speaker] = {}
        for metric in METRIC_COLUMNS:
            numerator, denominator = _columns(own, metric, "")
            groups[speaker][metric] = float(numerator.sum() / denominator.sum())
        groups[speaker]["n"] = len(own)
    return groups


def _compare_with_baseline(items: pd.DataFrame, group_by: str, seed: int) -> tuple[dict, list[str]]:
    """Return the baseline's entry of the row and what is to be said about it.

    Only WER, the metric that the constant was chosen for, is tested: one comparison needs no correction.
    """
    errors, words = _columns(items, "wer", "")
    baseline_errors, groups = items["baseline_errors"], items[group_by]
    difference = statistics.bootstrap_difference(errors, baseline_errors, groups, words, seed=seed)
    test = statistics.paired_permutation_test(errors, baseline_errors, groups, seed=seed)
    beaten = statistics.is_better(difference, test, higher_is_better=False)
    constants = ", ".join(f'"{text}"' for text in sorted(items["baseline_hypothesis"].unique()))
    entry = {
        "description": f"hears nothing and always answers {constants}, the constant with the lowest WER in training",
        "metrics": _metrics(items, group_by, "baseline_", seed),
        "difference": {
            "wer": {"value": difference.value, "low": difference.low, "high": difference.high, **_p_values(test)}
        },
        "beaten": beaten,
    }
    return entry, statistics.baseline_claims(beaten, test, group_by.removesuffix("_id"))


def _p_values(test: statistics.PermutationTest) -> dict:
    fields = asdict(test)
    return {name: fields[name] for name in ("p_value", "smallest_p_value", "exact")}
