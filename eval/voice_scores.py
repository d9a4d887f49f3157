"""From judged conversions to the measured part of a result row: metrics, scenarios, target voices, baselines, claims.

The item table has a row for each conversion: `item_id`, `scenario`, `source_speaker`, `target_speaker`, `reference`
(the words) and what else `voice_items` says; then, for the system and, behind the name of each baseline and a dot, for
those, the columns of `voice_measures` and the counts of errors made here from `hypothesis`. Target speakers and source
speakers are crossed: intervals hold for others of both.
"""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pandas as pd

from antiphon.eval import statistics
from antiphon.eval.baselines import BASELINES, NO_INPUT, UPPER_BOUND, simple_baseline_claims
from antiphon.eval.fold_audits import known_by_fold
from antiphon.eval.metric_loading import load_metric
from antiphon.eval.recognition_scores import training_claims
from antiphon.eval.statistics import Interval, PermutationTest

TASK = "voice-conversion"
# metric: (numerator, denominator) among the columns. The first one decides.
METRIC_COLUMNS = {
    "similarity": ("similarity", "judged"),
    "source_similarity": ("source_similarity", "judged"),
    "own_similarity": ("own_similarity", "own_judged"),
    "wer": ("errors", "words"),
    "cer": ("char_errors", "chars"),
    "second_wer": ("second_errors", "second_words"),
    "dnsmos": ("dnsmos", "rated"),
    "f0_correlation": ("f0_correlation", "correlated"),
    "voicing_error": ("voicing_error", "followed"),
    "mcd": ("mcd", "parallel"),
    "f0_rmse": ("f0_rmse", "met"),
    "stoi": ("stoi", "aligned"),
    "pesq": ("pesq", "aligned"),
}
LOWER_IS_BETTER = ("source_similarity", "wer", "cer", "second_wer", "voicing_error", "mcd", "f0_rmse")
UNITS = {
    **dict.fromkeys(("wer", "cer", "second_wer", "voicing_error"), "ratio"),
    "mcd": "dB",
    "f0_rmse": "cents",
}
POSSIBLE_RANGES = {
    **dict.fromkeys(("similarity", "source_similarity", "own_similarity", "f0_correlation"), (-1.0, 1.0)),
    **dict.fromkeys(("wer", "cer", "second_wer", "mcd", "f0_rmse"), (0.0, np.inf)),
    **dict.fromkeys(("voicing_error", "stoi"), (0.0, 1.0)),
}
PRIMARY_METRIC = "similarity"
COMPARED_METRICS = ("similarity", "own_similarity", "wer", "cer", "second_wer", "dnsmos", "f0_correlation", "mcd")
SCENARIO_METRICS = ("similarity", "wer", "dnsmos", "f0_correlation", "mcd")
GROUP_BY, CROSSED_WITH = "target_speaker", "source_speaker"
MAX_WER_LOSS = 0.10  # to what of the unconverted source's words may be lost before likeness counts for nothing
RECOGNISERS = ("", "second_")
NUM_RESAMPLES = 4_000  # a table has some hundred intervals

# What `antiphon.eval.scoring` asks of a task.
REQUIRED_COLUMNS = (
    *("item_id", "scenario", GROUP_BY, CROSSED_WITH, "reference", "duration_seconds"),
    *("hypothesis", "similarity", "source_similarity", "judged"),
)
REQUIRED_CONDITIONS = ("text_normalizer", "sampling_rate")
SHARED_CONDITIONS = ("text_normalizer", "sampling_rate", "judges", "crossed_with", "protocol")
MEASURED = ("metrics", "primary_metric", "groups", "scenarios", "baselines", "seeds")


def recount(items: pd.DataFrame) -> pd.DataFrame:
    """Count the errors of every transcript; the columns of counts, of the system and of the baselines."""
    counted = {}
    for prefix in ("", *(f"{name}." for name in baseline_names(items))):
        for recogniser in RECOGNISERS:
            if f"{prefix}{recogniser}hypothesis" in items:
                counted |= _count_errors(items, f"{prefix}{recogniser}")
    return pd.DataFrame(counted, index=items.index)


def rescore(items: pd.DataFrame) -> pd.DataFrame:
    """Return the items as they are: no score of an item depends on the other items."""
    return items


def summarize_items(items: pd.DataFrame, *, seed: int = 0) -> dict:
    """Compute the measured part of a result row from its item table.

    Returns:
        `metrics`, `primary_metric`, `groups` (each target speaker), `scenarios` (each with metrics and, for the
        baselines, metrics and differences), `baselines`, `claims`, `group_by`, the column that is resampled along with
        `CROSSED_WITH`, and the `seeds` of the trainings (none where the table does not say).
    """
    baselines, outcomes = {}, {}
    for name in baseline_names(items):
        outcomes[name] = _outcomes(items, name, COMPARED_METRICS, seed)
        baselines[name] = _baseline_entry(items, name, outcomes[name], seed)
    claims = statistics.population_claims(items[GROUP_BY].nunique(), "target speaker")
    claims += statistics.population_claims(items[CROSSED_WITH].nunique(), "source speaker")
    return {
        "metrics": _metrics(items, "", METRIC_COLUMNS, seed),
        "primary_metric": PRIMARY_METRIC,
        "groups": _group_metrics(items),
        "scenarios": {scenario: _scenario(own, seed) for scenario, own in items.groupby("scenario", sort=True)},
        "baselines": baselines,
        "group_by": GROUP_BY,
        "seeds": sorted(items["seed"].unique().tolist()) if "seed" in items else [],
        "claims": [*claims, *_voice_claims(items), *_baseline_claims(baselines, outcomes)],
    }


def answer_problems(items: pd.DataFrame) -> Iterator[str]:
    """Say what is wrong with the answers in an item table from elsewhere."""
    for prefix in ("", *(f"{name}." for name in baseline_names(items))):
        for name in ("similarity", "source_similarity"):
            if not items[f"{prefix}{name}"].between(-1 - 1e-6, 1 + 1e-6).all():
                yield f"`{prefix}{name}` is no cosine on every item; measure again"
    if (items["judged"] != 1).any():
        yield "the system was not judged on every item; measure again"


def count_groups(items: pd.DataFrame) -> dict[str, int]:
    """How many speakers and scenarios an item table holds."""
    speakers = pd.concat([items[GROUP_BY], items[CROSSED_WITH]])
    return {
        "num_speakers": int(speakers.nunique()),
        "num_target_speakers": int(items[GROUP_BY].nunique()),
        "num_source_speakers": int(items[CROSSED_WITH].nunique()),
        "num_scenarios": int(items["scenario"].nunique()),
    }


def audit_claims(audits: Iterable[tuple[str, Mapping | None]], items: pd.DataFrame) -> list[str]:
    """Say what training had already heard, from the audits of each training by its fold."""
    known = known_by_fold(audits, "num_shared_groups")
    number = None if None in known.values() else sum(known.values())
    return training_claims(number, count_groups(items)["num_speakers"])


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


def _columns(items: pd.DataFrame, metric: str, *prefixes: str) -> tuple[pd.DataFrame, list[tuple]] | None:
    """The items that a metric counts on for all of the given, and the numerator and denominator of each."""
    numerator, denominator = METRIC_COLUMNS[metric]
    if any(prefix + numerator not in items for prefix in prefixes):
        return None
    kept = items[np.logical_and.reduce([items[prefix + denominator] > 0 for prefix in prefixes])]
    if len(kept) == 0:
        return None
    return kept, [(kept[prefix + numerator].astype(float), kept[prefix + denominator]) for prefix in prefixes]


def _options(items: pd.DataFrame, seed: int) -> dict:
    return {"training_seeds": items.get("seed"), "num_resamples": NUM_RESAMPLES, "seed": seed}


def _groups(items: pd.DataFrame) -> list[pd.Series]:
    return [items[GROUP_BY], items[CROSSED_WITH]]


def _metrics(items: pd.DataFrame, prefix: str, names: Iterable[str], seed: int) -> dict:
    metrics = {}
    for metric in names:
        if (found := _columns(items, metric, prefix)) is None:
            continue
        kept, [columns] = found
        interval = statistics.bootstrap_ratio(
            *columns,
            _groups(kept),
            possible_range=POSSIBLE_RANGES.get(metric, (-np.inf, np.inf)),
            **_options(kept, seed),
        )
        numerator, denominator = METRIC_COLUMNS[metric]
        metrics[metric] = {
            "value": interval.value,
            "low": interval.low,
            "high": interval.high,
            "unit": UNITS.get(metric),
            "higher_is_better": metric not in LOWER_IS_BETTER,
            "n": int(kept["item_id"].nunique()),
            "num_groups": interval.num_groups,
            "columns": [prefix + numerator, prefix + denominator],
        }
    return metrics


def _group_metrics(items: pd.DataFrame) -> dict:
    """The metrics of each target speaker."""
    groups = {}
    for speaker, own in items.groupby(GROUP_BY, sort=True):
        found = {metric: _columns(own, metric, "") for metric in METRIC_COLUMNS}
        groups[speaker] = {
            metric: float(columns[0].sum() / columns[1].sum())
            for metric, entry in found.items()
            if entry is not None
            for columns in entry[1]
        }
        groups[speaker]["n"] = int(own["item_id"].nunique())
    return groups


def _scenario(items: pd.DataFrame, seed: int) -> dict:
    entries = {}
    for name in baseline_names(items):
        outcomes = _outcomes(items, name, ("similarity", "wer"), seed)
        entries[name] = {
            "metrics": _metrics(items, f"{name}.", SCENARIO_METRICS, seed),
            "difference": _differences(outcomes),
        }
    return {
        "n": int(items["item_id"].nunique()),
        **count_groups(items),
        "metrics": _metrics(items, "", SCENARIO_METRICS, seed),
        "baselines": entries,
    }


def _outcomes(
    items: pd.DataFrame, name: str, metrics: Iterable[str], seed: int
) -> dict[str, tuple[Interval, PermutationTest]]:
    """Difference to a baseline and its test, by metric, on the items that both are measured on."""
    outcomes = {}
    for metric in metrics:
        if (found := _columns(items, metric, "", f"{name}.")) is None:
            continue
        kept, [(values, sizes), (baseline_values, _)] = found
        test_options = {"training_seeds": kept.get("seed"), "seed": seed}
        outcomes[metric] = (
            statistics.bootstrap_difference(values, baseline_values, _groups(kept), sizes, **_options(kept, seed)),
            statistics.paired_permutation_test(values, baseline_values, _groups(kept), **test_options),
        )
    return outcomes


def _differences(outcomes: Mapping[str, tuple[Interval, PermutationTest]]) -> dict:
    return {
        metric: {"value": own.value, "low": own.low, "high": own.high, "n": own.num_items, **statistics.p_values(test)}
        for metric, (own, test) in outcomes.items()
    }


def _baseline_entry(items: pd.DataFrame, name: str, outcomes: Mapping, seed: int) -> dict:
    kind = BASELINES[name].kind
    beaten = None
    if kind != UPPER_BOUND:
        beaten = statistics.is_better(*outcomes[PRIMARY_METRIC], higher_is_better=True)
    return {
        "description": BASELINES[name].describe(),
        "kind": kind,
        "metrics": _metrics(items, f"{name}.", METRIC_COLUMNS, seed),
        "difference": _differences(outcomes),
        "beaten": beaten,
    }


def _voice_claims(items: pd.DataFrame) -> list[str]:
    """Say where a voice was judged by the very recording that the system was given."""
    if "voice_is_reference" not in items:
        return []
    once = items.drop_duplicates("item_id")
    if number := int(once["voice_is_reference"].sum()):
        return [
            f"{number} of {len(once)} target voices are judged by the reference itself (before noise): no other "
            "recording exists"
        ]
    return []


def _baseline_claims(baselines: Mapping, outcomes: Mapping) -> list[str]:
    """Say which baselines the voice is not nearer to the target than, and what became of the words.

    Likeness at the cost of the words is none: the claim of being better names whether the loss stays within 10 points.
    """
    claims, beaten = [], []
    for name, entry in baselines.items():
        if entry["kind"] == UPPER_BOUND:
            continue
        claims += simple_baseline_claims(entry, *outcomes[name][PRIMARY_METRIC], "speaker", higher_is_better=True)
        if entry["beaten"]:
            beaten.append(name.replace("_", " "))
    loss = next(
        (
            outcomes[name].get("wer")
            for name in outcomes
            if BASELINES[name].kind == NO_INPUT and "wer" in outcomes[name]
        ),
        None,
    )
    if loss is None:
        return [*claims, "no words were recognised: nothing says that they were kept"]
    difference, _ = loss
    points = f"{100 * difference.value:+.1f} points of WER ({100 * difference.low:.1f} to {100 * difference.high:.1f})"
    kept = difference.high <= MAX_WER_LOSS
    if beaten and kept:
        claims.append(f"nearer to the target's voice than {', '.join(beaten)}, at {points} to the unconverted source")
    elif not kept:
        claims.append(f"NOT shown to keep the words within 10 points of the unconverted source: {points}")
    return claims
