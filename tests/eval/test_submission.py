"""A row is taken only if its items yield it again and it is what the benchmark's definition asks for."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from leaderboards import SPEAKERS, edit_items, edit_row, write_run

from antiphon.eval.benchmark_definition import define_benchmark
from antiphon.eval.pool_runs import pool_runs
from antiphon.eval.result_rows import write_row
from antiphon.eval.submission import SubmissionError, check_measurement, check_submission, read_submission

ITEM = "speaker00_two.wav"


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The results folder of an honest row that no test changes."""
    folder = tmp_path_factory.mktemp("honest") / "system"
    return write_run(folder, [0, 1, 2, 3] * 3, nearest=["one", "two", "two", "four"]).parent


@pytest.fixture
def path(measured, tmp_path):
    """A copy of the row for a test to spoil."""
    return Path(shutil.copytree(measured, tmp_path / "results")) / "digits.json"


@pytest.fixture
def definition(measured):
    return define_benchmark(*read_submission(measured / "digits.json"))


def check(path, definition=None):
    row, items = read_submission(path)
    if definition is None:
        check_measurement(path.stem, row, items)
    else:
        check_submission(path.stem, row, items, definition)


def test_an_honest_row_is_taken(path, definition):
    check(path, definition)


def test_a_row_pooled_over_trainings_is_taken(tmp_path, definition):
    check(write_run(tmp_path / "pooled", 1, nearest=["one", "two", "two", "four"], seeds=[0, 1, 2]), definition)


def set_in(row, *path_and_value):
    *keys, last, value = path_and_value
    for key in keys:
        row = row[key]
    row[last] = value


CONSTANT = "best_constant_transcript"
FORGED_ROWS = {
    "value": (("metrics", "wer", "value", 0.1), r"metrics\.wer\.value is 0\.1 but should be 0\.375"),
    "value by 1e-8": (("metrics", "wer", "value", 0.37500001), r"metrics\.wer\.value is 0\.37500001 but should be"),
    "interval": (("metrics", "wer", "high", 0.376), r"metrics\.wer\.high is 0\.376 but should be"),
    "direction": (("metrics", "wer", "higher_is_better", True), r"metrics\.wer\.higher_is_better is True"),
    "unit": (("metrics", "wer", "unit", "dB"), r"metrics\.wer\.unit is 'dB' but should be 'ratio'"),
    "group": (("groups", "speaker01", "wer", 0.0), r"groups\.speaker01\.wer is 0\.0 but should be 0\.25"),
    "baseline": (("baselines", CONSTANT, "metrics", "wer", "value", 1.0), r"transcript\.metrics\.wer\.value is 1\.0"),
    "beaten": (("baselines", CONSTANT, "beaten", None), r"best_constant_transcript\.beaten is None but should be True"),
    "p-value": (("baselines", CONSTANT, "difference", "wer", "p_value", 1e-9), r"difference\.wer\.p_value is 1e-09"),
    "metric that decides": (("primary_metric", "cer"), r"primary_metric is 'cer' but should be 'wer'"),
    "trainings": (("seeds", [1, 2, 3]), r"seeds is \[1, 2, 3\] but should be \[\]"),
    "extra metric": (("metrics", "mos", {"columns": ["words", None]}), r"metrics\.mos is .* but should be None"),
    "item digest": (("conditions", "item_ids_sha256", "0" * 64), "`item_ids_sha256` is not that of its items"),
    "split digest": (("conditions", "split_sha256", "0" * 64), "`split_sha256` is not that of its items"),
    "groups": (("conditions", "group_by", "item_id"), "`group_by` is 'item_id', but items are grouped by 'speaker_id'"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), FORGED_ROWS.values(), ids=FORGED_ROWS)
def test_a_number_that_the_items_do_not_yield_is_refused(path, change, message):
    edit_row(path, lambda row: set_in(row, *change))
    with pytest.raises(SubmissionError, match=message):
        check(path)


def test_a_rounding_error_is_no_forgery(path):
    edit_row(path, lambda row: set_in(row, "metrics", "wer", "value", row["metrics"]["wer"]["value"] + 1e-11))
    check(path)


def test_only_a_few_of_many_differences_are_named(path):
    edit_row(path, lambda row: row.update(groups={}))
    with pytest.raises(SubmissionError, match=r"groups\.speaker00 is None .* and 7 more; measure again"):
        check(path)


def test_a_claim_may_not_be_concealed(tmp_path):
    path = write_run(tmp_path / "guesser", 4)
    edit_row(path, lambda row: row.update(claims=[]))
    with pytest.raises(SubmissionError, match="`claims` must say 'NOT BETTER THAN HEARING NOTHING"):
        check(path)


@pytest.mark.parametrize(
    ("audit", "claim"),
    [
        (None, "training data not given"),
        ({"num_shared_groups": 3}, "measures known voices: 3 of 12 test speakers are also in training"),
    ],
)
def test_what_an_audit_found_may_not_be_concealed(path, audit, claim):
    edit_row(path, lambda row: row["conditions"].update(audit=audit))
    with pytest.raises(SubmissionError, match=f"`claims` must say '{claim}"):
        check(path)


def test_a_pooled_row_counts_the_known_voices_of_its_folds(tmp_path):
    runs = [
        write_run(tmp_path / f"{fold}-{seed}", speakers=SPEAKERS[6 * fold :][:6], known=known, seeds=[seed])
        for fold, seed, known in ((0, 0, 1), (0, 1, 2), (1, 0, 4), (1, 1, 3))
    ]
    for number, run in enumerate(runs):
        edit_row(run, lambda row, fold=number // 2: row["dataset"].update(split=f"fold{fold} of 2"))
    path = write_row(*pool_runs(runs, "digits"), tmp_path / "pooled")
    claims = json.loads(path.read_text())["claims"]
    assert claims[0] == "pooled over 4 checkpoints, one for each of 2 folds and 2 seeds"
    assert claims[-1] == "measures known voices: 6 of 12 test speakers are also in training"
    check(path)
    edit_row(path, lambda row: row["claims"].pop())
    with pytest.raises(SubmissionError, match="`claims` must say 'measures known voices: 6 of 12"):
        check(path)


@pytest.mark.parametrize("claim", ["THE BEST OF ALL", "pooled over 6 checkpoints, one for each fold"])
def test_a_claim_without_ground_is_refused(path, claim):
    edit_row(path, lambda row: row["claims"].append(claim))
    with pytest.raises(SubmissionError, match=f"`claims` may not say '{claim}': nothing in the row yields that"):
        check(path)


def repeat_item(items):
    return pd.concat([items, items[items["item_id"] == ITEM]])


ANSWERS = f"{CONSTANT}.hypothesis"
FORGED_ITEMS = {
    "counts": (lambda items: items.assign(errors=0), "`errors` of 18 items .*: speaker01_one"),
    "correctness": (lambda items: items.assign(correct=True), "`correct` of 18 items is not what the answers yield"),
    "baseline counts": (lambda items: items.assign(**{f"{CONSTANT}.errors": 9}), rf"`{CONSTANT}\.errors` of 48 items"),
    "no counts": (lambda items: items.drop(columns="chars"), "`chars` of 48 items is not what the answers yield"),
    "hypothesis": (lambda items: items.assign(hypothesis=items["reference"]), "`errors` of 18 items"),
    "twice": (repeat_item, f"1 items occur twice: {ITEM}; keep one"),
    "no id": (lambda items: items.assign(item_id=None), "without an id, a reference or a hypothesis"),
    "no column": (lambda items: items.drop(columns="reference"), "the item table lacks reference"),
    "no answers": (lambda items: items.drop(columns=ANSWERS), f"lacks the answers of baselines: {CONSTANT}"),
    "unknown": (lambda items: items.assign(**{"oracle.hypothesis": ""}), "`eval/baselines.py` does not know: oracle"),
    "no silence": (lambda items: items.assign(**{"empty_transcript.hypothesis": "x"}), "something to 48 items, but"),
    "one less": (lambda items: items[items["item_id"] != ITEM], r"metrics\.wer\.value is 0\.375 but should be 0\.38"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), FORGED_ITEMS.values(), ids=FORGED_ITEMS)
def test_items_that_do_not_hold_together_are_refused(path, change, message):
    edit_items(path, change)
    with pytest.raises(SubmissionError, match=message):
        check(path)


def test_a_training_that_lacks_an_item_is_named(tmp_path):
    path = write_run(tmp_path / "pooled", 1, seeds=[0, 7])
    edit_items(path, lambda items: items[(items["seed"] == 0) | (items["item_id"] != ITEM)])
    with pytest.raises(SubmissionError, match=f"seed 7 lacks 1 items: {ITEM}; measure every seed on all items"):
        check(path)


INCOMPLETE_ROWS = {
    "task": (("task", "text-to-speech"), "only automatic-speech-recognition, .* can be scored anew"),
    "benchmark": (("benchmark", "../../etc"), r"`benchmark` is '\.\./\.\./etc'"),
    "checkpoint": (("checkpoint_sha256", "newest"), "`checkpoint_sha256` is no SHA-256"),
    "baseline": (("baselines", {}), "no baseline of the kind 'no_input', and a number means nothing without"),
    "conditions": (("conditions", {"date": "today"}), "`conditions` lack corpus_sha256, split_sha256, item_ids_sha256"),
    "columns": (("metrics", {"wer": {"value": 0.1}}), "metric 'wer' does not name the item columns"),
    "form": (("metrics", [1, 2]), "has not the form of a result row"),
}


@pytest.mark.parametrize(("change", "message"), INCOMPLETE_ROWS.values(), ids=INCOMPLETE_ROWS)
def test_an_incomplete_row_is_refused(path, change, message):
    edit_row(path, lambda row: set_in(row, *change))
    with pytest.raises(SubmissionError, match=message):
        check(path)


def test_a_row_without_items_or_json_is_refused(path, tmp_path):
    (path.parent / "digits_items.parquet").write_bytes(b"PAR1")
    with pytest.raises(SubmissionError, match="is refused"):
        read_submission(path)
    (path.parent / "digits_items.parquet").unlink()
    with pytest.raises(SubmissionError, match="is missing: without items nothing can be checked"):
        read_submission(path)
    path.write_text("{")
    with pytest.raises(SubmissionError, match="is not JSON"):
        read_submission(path)
    path.write_text(json.dumps({"benchmark": "digits"}))
    with pytest.raises(SubmissionError, match="lacks task, dataset"):
        read_submission(path)


OTHER_BENCHMARKS = {
    "items": ({"speakers": SPEAKERS[:11]}, "it has 44 items, but the benchmark 48; measure exactly those"),
    "normaliser": ({"text_normalizer": "none"}, "`text_normalizer` is 'none', but the benchmark fixes 'lower case'"),
    "corpus": ({"corpus_sha256": "1" * 64}, "`corpus_sha256` is '1111"),
    "baselines": ({"nearest": None}, "it lacks the benchmark's baselines nearest_template"),
    "judges": ({"judges": [{"name": "a", "revision": "b"}]}, "`judges` is"),
}


@pytest.mark.parametrize(("options", "message"), OTHER_BENCHMARKS.values(), ids=OTHER_BENCHMARKS)
def test_what_was_measured_on_something_else_is_refused(tmp_path, definition, options, message):
    path = write_run(tmp_path / "other", 0, **{"nearest": ["one", "two", "two", "four"], **options})
    check(path)
    with pytest.raises(SubmissionError, match=message):
        check(path, definition)


def test_a_baseline_weaker_than_the_benchmarks_is_refused(tmp_path, definition):
    path = write_run(tmp_path / "forger", 4, constant="zzz yyy", nearest=["one", "two", "two", "four"])
    assert json.loads(path.read_text())["baselines"][CONSTANT]["beaten"] is True
    check(path)
    with pytest.raises(SubmissionError, match=f"its baseline '{CONSTANT}' has wer 2, but the benchmark's has 0.75"):
        check(path, definition)


@pytest.mark.parametrize(("metric", "defined", "is_taken"), [
    ("wer", 0.72, True), ("wer", 0.71, False), ("wer", 2.0, True),
    ("accuracy", 0.26, True), ("accuracy", 0.27, False), ("accuracy", 0.1, True),
])  # fmt: skip
def test_a_baseline_may_be_five_percent_worse_or_any_better(path, definition, metric, defined, is_taken):
    definition |= {"corpus": "letters", "primary_metric": metric, "baselines": {CONSTANT: defined}}
    with pytest.raises(SubmissionError, match="its corpus is 'words'") as caught:
        check(path, definition)
    assert any(CONSTANT in problem for problem in caught.value.problems) != is_taken


def test_other_groups_of_the_same_items_are_refused(path, definition):
    definition["groups_sha256"] = "0" * 64
    with pytest.raises(SubmissionError, match=r"its items belong to other groups \(speaker_id\)"):
        check(path, definition)


def test_the_corpus_and_the_deciding_metric_are_the_benchmarks(path, definition):
    definition |= {"corpus": "letters", "primary_metric": "cer"}
    with pytest.raises(SubmissionError, match="its corpus is 'words', but the benchmark's is 'letters'") as caught:
        check(path, definition)
    assert caught.value.problems[1] == "its metric is 'wer', but 'cer' decides the benchmark"


def test_sampling_rate_and_decoding_are_free(tmp_path, definition):
    options = {"nearest": ["one", "two", "two", "four"], "sampling_rate": 16000, "decoding": "beam of 8"}
    check(write_run(tmp_path / "other", 2, **options), definition)
