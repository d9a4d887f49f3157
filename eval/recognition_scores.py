"""From transcripts to the measured part of a result row: scores per item, then metrics, groups, baselines and claims.

The item table holds everything that the row is computed from, so tables of several folds or trainings can be pooled and
summed up again. Its columns: `item_id`, `speaker_id`, `reference`, `hypothesis`, `errors`, `words`, `char_errors`,
`chars`, `correct`, `duration_seconds`; for each baseline its hypothesis and counts, such as
`best_constant_transcript.errors`; and, where several trainings of one system are pooled, the `seed` of each.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from antiphon.eval import statistics
from antiphon.eval.baselines import (
    BASELINES,
    EMPTY_TRANSCRIPT,
    NO_INPUT,
    SIMPLE,
    simple_baseline_claims,
    strongest_baseline,
)
from antiphon.eval.fold_audits import known_by_fold
from antiphon.eval.metric_loading import load_metric

TASK = "automatic-speech-recognition"
# metric: (numerator, denominator) among the columns; None counts items. The first one decides.
METRIC_COLUMNS = {"wer": ("errors", "words"), "cer": ("char_errors", "chars"), "accuracy": ("correct", None)}
HIGHER_IS_BETTER = {"wer": False, "cer": False, "accuracy": True}
POSSIBLE_RANGES = {"wer": (0.0, np.inf), "cer": (0.0, np.inf), "accuracy": (0.0, 1.0)}
PRIMARY_METRIC = "wer"

# What `antiphon.eval.scoring` asks of a task.
REQUIRED_COLUMNS = ("item_id", "speaker_id", "reference", "hypothesis", "duration_seconds")
REQUIRED_CONDITIONS = ("text_normalizer", "sampling_rate", "decoding")
SHARED_CONDITIONS = ("text_normalizer", "sampling_rate", "resample", "decoding", "judges")
MEASURED = ("metrics", "primary_metric", "groups", "baselines", "seeds")


def score_items(
    item_ids: Sequence[str],
    speaker_ids: Sequence[str | None],
    references: Sequence[str],
    hypotheses: Sequence[str],
    baselines: Mapping[str, Sequence[str]],
    durations: Sequence[float],
) -> pd.DataFrame:
    """Count the errors of the system and of its baselines on every item; see the module for the columns.

    Args:
        item_ids: (items,) distinct names.
        speaker_ids: (items,).
        references: (items,) normalised, as all transcripts.
        hypotheses: (items,) of the system.
        baselines: by their names in `BASELINES`, the (items,) transcripts of each.
        durations: (items,) seconds.
    """
    items = pd.DataFrame({"item_id": item_ids, "speaker_id": speaker_ids, "reference": references})
    answers = {"": hypotheses} | {f"{name}.": transcripts for name, transcripts in baselines.items()}
    for prefix, transcripts in answers.items():
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
    """Compute the measured part of a result row from its item table.

    Speakers are resampled as wholes, and intervals are widened for training anew where the table holds several
    trainings. Where the corpus names no speakers, items are resampled, and a claim says so.

    Returns:
        `metrics`, `primary_metric`, `groups`, `baselines`, `claims`, the column `group_by` that was resampled, and the
        `seeds` of the trainings (none where the table does not say).
    """
    group_by = "speaker_id" if items["speaker_id"].notna().all() else "item_id"
    group_name = group_by.removesuffix("_id")
    claims = []
    if group_by == "item_id":
        claims.append("speakers are unknown: intervals treat items as independent and are too narrow if voices recur")
    claims += statistics.population_claims(items[group_by].nunique(), group_name)
    baselines, outcomes = {}, {}
    for name in baseline_names(items):
        baselines[name], *outcomes[name] = _compare_with_baseline(items, name, group_by, seed)
    measured = {
        "metrics": _metrics(items, group_by, "", seed),
        "primary_metric": PRIMARY_METRIC,
        "groups": {} if group_by == "item_id" else _group_metrics(items),
        "baselines": baselines,
        "group_by": group_by,
        "seeds": sorted(items["seed"].unique().tolist()) if "seed" in items else [],
    }
    return measured | {"claims": claims + _baseline_claims(measured, outcomes, group_name)}


def rescore(items: pd.DataFrame) -> pd.DataFrame:
    """Return the items as they are: the errors of an item do not depend on the other items."""
    return items


def recount(items: pd.DataFrame) -> pd.DataFrame:
    """Score every transcript again; the columns of counts."""
    baselines = {name: items[f"{name}.hypothesis"].tolist() for name in baseline_names(items)}
    numbers = [str(number) for number in range(len(items))]  # an item occurs once for each seed
    scored = score_items(
        numbers, items["speaker_id"], items["reference"].tolist(), items["hypothesis"].tolist(), baselines,
        items["duration_seconds"],
    )  # fmt: skip
    return scored.drop(columns=["item_id", *REQUIRED_COLUMNS[1:], *(f"{name}.hypothesis" for name in baselines)])


def answer_problems(items: pd.DataFrame) -> Iterator[str]:
    """Say what is wrong with the transcripts in an item table from elsewhere."""
    answers = items.get("empty_transcript.hypothesis", pd.Series(dtype=str))
    if wrong := int((answers != EMPTY_TRANSCRIPT).sum()):
        yield f"baseline 'empty_transcript' answers something to {wrong} items, but it must answer ''; measure again"
    if items[["item_id", "reference", "hypothesis"]].isna().any(axis=None):
        yield "the item table has items without an id, a reference or a hypothesis; an empty transcript is ''"


def count_groups(items: pd.DataFrame) -> dict[str, int]:
    """How many speakers an item table holds."""
    return {"num_speakers": int(items["speaker_id"].nunique())}


def audit_claims(audits: Iterable[tuple[str, Mapping | None]], items: pd.DataFrame) -> list[str]:
    """Say what training had already heard, from the audits of each training by its fold."""
    known = known_by_fold(audits, "num_shared_groups")
    num_known = None if None in known.values() else sum(known.values())
    return training_claims(num_known, items["speaker_id"].nunique())


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


def baseline_names(items: pd.DataFrame) -> list[str]:
    """The baselines that an item table has transcripts of."""
    return [column.removesuffix(".hypothesis") for column in items if column.endswith(".hypothesis")]


def _columns(items: pd.DataFrame, metric: str, prefix: str) -> tuple[pd.Series, pd.Series]:
    numerator, denominator = METRIC_COLUMNS[metric]
    ones = pd.Series(1, index=items.index)
    return items[prefix + numerator].astype(float), ones if denominator is None else items[denominator]


def _metrics(items: pd.DataFrame, group_by: str, prefix: str, seed: int) -> dict:
    metrics = {}
    for metric, (numerator, denominator) in METRIC_COLUMNS.items():
        interval = statistics.bootstrap_ratio(
            *_columns(items, metric, prefix),
            items[group_by],
            training_seeds=items.get("seed"),
            possible_range=POSSIBLE_RANGES[metric],
            seed=seed,
        )
        metrics[metric] = {
            "value": interval.value,
            "low": interval.low,
            "high": interval.high,
            "unit": "ratio",
            "higher_is_better": HIGHER_IS_BETTER[metric],
            "n": items["item_id"].nunique(),
            "num_groups": interval.num_groups,
            "columns": [prefix + numerator, denominator],
        }
    return metrics


def _group_metrics(items: pd.DataFrame) -> dict:
    groups = {}
    for speaker, own in items.groupby("speaker_id", sort=True):
        groups[speaker] = {}
        for metric in METRIC_COLUMNS:
            numerator, denominator = _columns(own, metric, "")
            groups[speaker][metric] = float(numerator.sum() / denominator.sum())
        groups[speaker]["n"] = own["item_id"].nunique()
    return groups


def _compare_with_baseline(
    items: pd.DataFrame, name: str, group_by: str, seed: int
) -> tuple[dict, statistics.Interval, statistics.PermutationTest]:
    """Return the entry of a baseline in the row, and difference and test, of the metric that decides only."""
    errors, words = _columns(items, PRIMARY_METRIC, "")
    baseline_errors, _ = _columns(items, PRIMARY_METRIC, f"{name}.")
    groups, options = items[group_by], {"training_seeds": items.get("seed"), "seed": seed}
    difference = statistics.bootstrap_difference(errors, baseline_errors, groups, words, **options)
    test = statistics.paired_permutation_test(errors, baseline_errors, groups, **options)
    entry = {
        "description": BASELINES[name].describe(items[f"{name}.hypothesis"].unique()),
        "kind": BASELINES[name].kind,
        "metrics": _metrics(items, group_by, f"{name}.", seed),
        "difference": {
            PRIMARY_METRIC: {
                "value": difference.value,
                "low": difference.low,
                "high": difference.high,
                **statistics.p_values(test),
            }
        },
        "beaten": statistics.is_better(difference, test, higher_is_better=HIGHER_IS_BETTER[PRIMARY_METRIC]),
    }
    return entry, difference, test


def _baseline_claims(measured: dict, outcomes: dict, group_name: str) -> list[str]:
    """Say when the strongest baseline that hears nothing, or a simple one, is not beaten.

    These are separate questions, each with an answer of its own: their p-values are not corrected for one another.
    """
    claims, direction = [], {"higher_is_better": HIGHER_IS_BETTER[PRIMARY_METRIC]}
    if strongest := strongest_baseline(measured, NO_INPUT):
        claims += statistics.baseline_claims(*outcomes[strongest], group_name, **direction)
    for name, entry in measured["baselines"].items():
        if entry["kind"] == SIMPLE:
            claims += simple_baseline_claims(entry, *outcomes[name], group_name, **direction)
    return claims
