"""Checks a result row before a leaderboard shows it: what its answers yield is computed again and compared.

Metrics, intervals, baselines' scores and groups are computed anew from the answers; speed, size, hardware and audit
are the submitter's word. Claims must follow from both. The answers are the submitter's too: those of baselines may
not score worse than the benchmark's, and the checkpoint's digest in the row lets others run it again.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from antiphon.eval.baselines import BASELINES, NO_INPUT
from antiphon.eval.benchmark_definition import FIXED_CONDITIONS, item_digests
from antiphon.eval.pool_runs import pooling_claim
from antiphon.eval.result_rows import items_path, read_row
from antiphon.eval.scoring import SCORERS, scorer_of

TOLERANCE = 1e-9
# Trainings on other texts have other best constants; a baseline worse than this is not the benchmark's.
MAX_WORSE_BASELINE = 0.05  # of the defined value
MAX_NAMED = 5  # items or numbers named in one message
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
REQUIRED_CONDITIONS = (*FIXED_CONDITIONS, "packages", "date")  # besides those of the task
MEASURE_AGAIN = "measure again with a benchmark of `eval`"


class SubmissionError(ValueError):
    """A row that no leaderboard takes; the message lists what is wrong and what to do."""

    def __init__(self, name: str, problems: list[str]):
        super().__init__("\n".join([f"{name} is refused:", *(f"  - {problem}" for problem in problems)]))
        self.problems = problems


def read_submission(path: Path) -> tuple[dict, pd.DataFrame]:
    """Read a row and the item table beside it.

    Raises:
        SubmissionError: if either cannot be read.
    """
    items_file = items_path(path.parent, path.stem)
    try:
        row = read_row(path)
        if not items_file.is_file():
            raise ValueError(f"{items_file} is missing: without items nothing can be checked; {MEASURE_AGAIN}")
        return row, pd.read_parquet(items_file)
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        raise SubmissionError(str(path), [str(error)]) from None


def check_submission(name: str, row: Mapping, items: pd.DataFrame, definition: Mapping) -> None:
    """Hold a row against its own items and against the definition of its benchmark.

    Args:
        name: of the submission, for messages.
        row: the result row.
        items: its item table.
        definition: of the row's benchmark, from `eval.yaml`.

    Raises:
        SubmissionError: with everything that is wrong.
    """
    check_measurement(name, row, items)
    if problems := list(_definition_problems(row, items, definition)):
        raise SubmissionError(name, problems)


def check_measurement(name: str, row: Mapping, items: pd.DataFrame) -> None:
    """Compute a row anew from its items and compare.

    Raises:
        SubmissionError: with everything that is wrong.
    """
    # A row from elsewhere may hold anything; what has no form is not compared.
    for find in (_form_problems, _item_problems, _count_problems, _measurement_problems):
        try:
            problems = list(find(row, items))
        except (AttributeError, KeyError, TypeError) as error:
            problems = [f"it has not the form of a result row ({type(error).__name__}: {error}); {MEASURE_AGAIN}"]
        if problems:
            raise SubmissionError(name, problems)


def _form_problems(row: Mapping, items: pd.DataFrame) -> Iterator[str]:
    if row["task"] not in SCORERS:
        yield f"`task` is {row['task']!r}, but only {', '.join(SCORERS)} can be scored anew; add a scorer for it first"
        return
    if not NAME.fullmatch(row["benchmark"]):
        yield f"`benchmark` is {row['benchmark']!r}; expected up to 96 letters, digits, dots, dashes and underscores"
    if not re.fullmatch("[0-9a-f]{64}", str(row["checkpoint_sha256"])):
        yield f"`checkpoint_sha256` is no SHA-256; {MEASURE_AGAIN}"
    if not any(entry.get("kind") == NO_INPUT for entry in row["baselines"].values()):
        yield f"it has no baseline of the kind {NO_INPUT!r}, and a number means nothing without; {MEASURE_AGAIN}"
    for metric, entry in row["metrics"].items():
        if "columns" not in entry:
            yield f"metric {metric!r} does not name the item columns it is computed from; {MEASURE_AGAIN}"
    required = (*REQUIRED_CONDITIONS, *scorer_of(row["task"]).REQUIRED_CONDITIONS)
    if missing := [condition for condition in required if condition not in row["conditions"]]:
        yield f"`conditions` lack {', '.join(missing)}; {MEASURE_AGAIN}"


def _item_problems(row: Mapping, items: pd.DataFrame) -> Iterator[str]:
    scorer = scorer_of(row["task"])
    if missing := [column for column in scorer.REQUIRED_COLUMNS if column not in items]:
        yield f"the item table lacks {', '.join(missing)}; {MEASURE_AGAIN}"
        return
    if unknown := sorted(set(scorer.baseline_names(items)) - set(BASELINES)):
        yield f"the item table has baselines that `eval/baselines.py` does not know: {', '.join(unknown)}; drop them"
    if missing := sorted(set(row["baselines"]) - set(scorer.baseline_names(items))):
        yield f"the item table lacks the answers of baselines: {', '.join(missing)}; {MEASURE_AGAIN}"
    yield from scorer.answer_problems(items)
    seeds = items["seed"] if "seed" in items else pd.Series(0, index=items.index)
    repeated = items["item_id"][pd.DataFrame({"item": items["item_id"], "seed": seeds}).duplicated()]
    if len(repeated):
        yield f"{len(repeated)} items occur twice: {_named(repeated)}; keep one prediction for each item and seed"
    everything = set(items["item_id"])
    for seed, own in items.groupby(seeds)["item_id"]:
        if lacking := everything - set(own):
            yield f"seed {seed} lacks {len(lacking)} items: {_named(lacking)}; measure every seed on all items"


def _count_problems(row: Mapping, items: pd.DataFrame) -> Iterator[str]:
    recounted = scorer_of(row["task"]).recount(items)
    for column in recounted:
        wrong = _unequal(recounted[column], items[column]) if column in items else np.full(len(items), True)
        if wrong.any():
            yield (
                f"`{column}` of {wrong.sum()} items is not what the answers yield: {_named(items['item_id'][wrong])}; "
                f"{MEASURE_AGAIN}"
            )


def _unequal(expected: pd.Series, found: pd.Series) -> np.ndarray:
    """Where two columns differ; numbers may by a rounding error."""
    if expected.dtype.kind == "f":
        return ~np.isclose(expected, found, rtol=0, atol=TOLERANCE, equal_nan=True)
    return expected.to_numpy() != found.to_numpy()


def _measurement_problems(row: Mapping, items: pd.DataFrame) -> Iterator[str]:
    conditions, digests = row["conditions"], item_digests(items, row["conditions"]["group_by"])
    scorer = scorer_of(row["task"])
    summary = scorer.summarize_items(items, seed=conditions.get("seed", 0))
    differences = [text for key in scorer.MEASURED for text in _differences(key, summary[key], row.get(key))]
    if differences:
        more = f" and {len(differences) - MAX_NAMED} more" if len(differences) > MAX_NAMED else ""
        yield f"its numbers are not what its items yield: {'; '.join(differences[:MAX_NAMED])}{more}; {MEASURE_AGAIN}"
    yield from _claim_problems(row, [*summary["claims"], *_claims_of_trainings(row, items, summary["seeds"])])
    if conditions["group_by"] != summary["group_by"]:
        yield f"`group_by` is {conditions['group_by']!r}, but items are grouped by {summary['group_by']!r}"
    for name in ("item_ids_sha256", "split_sha256"):
        if conditions[name] != digests[name]:
            yield f"`{name}` is not that of its items; {MEASURE_AGAIN}"


def _claim_problems(row: Mapping, required: Sequence[str]) -> Iterator[str]:
    if concealed := [claim for claim in required if claim not in row["claims"]]:
        yield f"`claims` must say {'; '.join(map(repr, concealed))}; {MEASURE_AGAIN}"
    if unfounded := [claim for claim in row["claims"] if claim not in required]:
        yield f"`claims` may not say {'; '.join(map(repr, unfounded[:MAX_NAMED]))}: nothing in the row yields that"


def _claims_of_trainings(row: Mapping, items: pd.DataFrame, seeds: Sequence[int]) -> list[str]:
    """What the audits of a row, pooled or not, oblige it to say."""
    folds = row.get("folds", [])
    trainings = [(fold["split"], fold["audit"]) for fold in folds]
    audits = trainings or [(row["dataset"]["split"], row["conditions"]["audit"])]
    pooling = [pooling_claim(len(folds), len(dict(audits)), len(seeds))] if folds else []
    return pooling + scorer_of(row["task"]).audit_claims(audits, items)


def _differences(path: str, expected, found) -> Iterator[str]:
    """Name every place where a row says other than its items yield."""
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        for key in {**expected, **found}:
            yield from _differences(f"{path}.{key}", expected.get(key), found.get(key))
    elif not agree(expected, found):
        yield f"{path} is {found!r} but should be {expected!r}"


def agree(expected, found) -> bool:
    """Return whether a value of a row is the expected one; numbers may differ by a rounding error."""
    numbers = [value for value in (expected, found) if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) == 2:
        return abs(expected - found) <= TOLERANCE
    if isinstance(expected, float) and math.isnan(expected):
        return found is None  # JSON has no NaN
    return type(expected) is type(found) and expected == found


def _definition_problems(row: Mapping, items: pd.DataFrame, definition: Mapping) -> Iterator[str]:
    dataset, conditions = row["dataset"], row["conditions"]
    for key, found in (("task", row["task"]), ("corpus", dataset["name"]), ("split", dataset["split"])):
        if found != definition[key]:
            yield f"its {key} is {found!r}, but the benchmark's is {definition[key]!r}; measure on that"
    num_items = items["item_id"].nunique()
    if num_items != definition["num_items"]:
        yield f"it has {num_items} items, but the benchmark {definition['num_items']}; measure exactly those"
    for name, fixed in definition["conditions"].items():
        if conditions.get(name) != fixed:
            yield (
                f"its condition `{name}` is {conditions.get(name)!r}, but the benchmark fixes {fixed!r}; measure under "
                "the benchmark's"
            )
    if item_digests(items, conditions["group_by"])["groups_sha256"] != definition["groups_sha256"]:
        yield f"its items belong to other groups ({conditions['group_by']}) than in the benchmark; take the corpus' own"
    if row["primary_metric"] != definition["primary_metric"]:
        yield f"its metric is {row['primary_metric']!r}, but {definition['primary_metric']!r} decides the benchmark"
    if missing := [name for name in definition["baselines"] if name not in row["baselines"]]:
        yield f"it lacks the benchmark's baselines {', '.join(missing)}; {MEASURE_AGAIN} that has them"
    yield from _weak_baseline_problems(row, definition)


def _weak_baseline_problems(row: Mapping, definition: Mapping) -> Iterator[str]:
    """A submitter writes the answers of baselines too, and a weak one is easily beaten."""
    metric = definition["primary_metric"]
    sign = -1 if definition["metrics"][metric]["higher_is_better"] else 1
    for name, defined in definition["baselines"].items():
        if name not in row["baselines"]:
            continue
        value = row["baselines"][name]["metrics"][metric]["value"]
        if sign * (value - defined) > MAX_WORSE_BASELINE * abs(defined):
            yield (
                f"its baseline {name!r} has {metric} {value:.4g}, but the benchmark's has {defined:.4g}, and at most "
                f"{MAX_WORSE_BASELINE:.0%} worse is taken; {MEASURE_AGAIN} on the benchmark's training data"
            )


def _named(item_ids) -> str:
    names = sorted(map(str, item_ids))
    return ", ".join(names[:MAX_NAMED]) + (", …" if len(names) > MAX_NAMED else "")
