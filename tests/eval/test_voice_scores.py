"""The measured part of a voice conversion row: by hand, pooled, compared, and held against its own items."""

import numpy as np
import pandas as pd
import pytest

from antiphon.eval.baselines import BASELINES, UPPER_BOUND
from antiphon.eval.benchmark_definition import item_digests
from antiphon.eval.comparison import System, compare_systems
from antiphon.eval.pool_runs import pool_runs
from antiphon.eval.result_rows import read_row, write_row
from antiphon.eval.results_table import results_section
from antiphon.eval.scoring import scorer_of
from antiphon.eval.submission import SubmissionError, check_measurement
from antiphon.eval.voice_scores import (
    MEASURED,
    TASK,
    answer_problems,
    audit_claims,
    count_groups,
    recount,
    summarize_items,
)

NUM_TARGETS, NUM_SOURCES = 12, 10
REFERENCE = "one two three four five six seven eight nine ten"
RIGHT, ONE_WRONG, TWO_WRONG = REFERENCE, REFERENCE.replace("ten", "hen"), REFERENCE.replace("nine ten", "mine hen")


def small_items(similarity=0.8, hypothesis=RIGHT, seed=0, training_seed=None) -> pd.DataFrame:
    """Every source to every target; the system near `similarity`, the source unchanged near .5, WORLD near .6."""
    generator = np.random.default_rng(seed)
    of_target = dict(zip(range(NUM_TARGETS), 0.03 * np.random.default_rng(9).standard_normal(NUM_TARGETS)))
    rows = []
    for target in range(NUM_TARGETS):
        for source in range(NUM_SOURCES):
            row = {
                "item_id": f"{source} to {target}",
                "scenario": "same_gender" if (source + target) % 2 else "cross_gender",
                "target_speaker": f"target{target}",
                "source_speaker": f"source{source}",
                "reference": REFERENCE if source else "",
                "duration_seconds": 4.0,
                "pair": f"{source} to {target}",
                "condition": "en, 3 s",
                "voice_is_reference": target == 0,
            }
            levels = {"": similarity, "unchanged_input.": 0.5, "world_pitch_shift.": 0.6, "target_recording.": 0.9}
            for prefix, level in levels.items():
                likeness = level + of_target[target] + 0.02 * generator.standard_normal()
                heard = hypothesis if prefix == "" else RIGHT
                row |= {
                    f"{prefix}similarity": likeness if target else 0.0,
                    f"{prefix}reference_similarity": 0.0 if target else likeness,
                    f"{prefix}source_similarity": 0.4,
                    f"{prefix}judged": int(target != 0),
                    f"{prefix}judged_by_reference": int(target == 0),
                    f"{prefix}compared": 1,
                    **dict.fromkeys((f"{prefix}silent", f"{prefix}failed", f"{prefix}clipped"), 0),
                    f"{prefix}hypothesis": None if prefix == "target_recording." or not source else heard,
                    f"{prefix}mcd": 6.0 if source == 1 else 0.0,
                    f"{prefix}parallel": int(source == 1),
                }
            if training_seed is not None:
                row["seed"] = training_seed
            rows.append(row)
    items = pd.DataFrame(rows)
    return items.join(recount(items))


def small_row(items: pd.DataFrame, **changes) -> dict:
    """A row as the benchmark makes it."""
    summary = summarize_items(items)
    audit = {"num_shared_groups": 0, "num_train_speakers": 5}
    digests = item_digests(items, summary["group_by"])
    return {
        "benchmark": "voice",
        "task": TASK,
        "dataset": {
            "name": "pairs", "license": "CC0", "split": "all", "num_items": items["item_id"].nunique(), "hours": 0.1,
            **count_groups(items),
        },
        "checkpoint_sha256": "0" * 64,
        "model": {"parameters": 1, "bytes": 4},
        **{key: summary[key] for key in MEASURED},
        "claims": summary["claims"] + audit_claims([("all", audit)], items),
        "conditions": {
            "corpus_sha256": "1", "train_split_sha256": "2", "group_by": summary["group_by"],
            "split_sha256": digests["split_sha256"], "item_ids_sha256": digests["item_ids_sha256"],
            "crossed_with": "source_speaker", "judges": {"speaker": "spectrum 1"}, "text_normalizer": "none",
            "sampling_rate": 16_000, "audit": audit, "seed": 0, "packages": {}, "hardware": "cpu", "date": "2026-01-01",
        },
        "speed": {"real_time_factor": 0.1, "audio_seconds": 480.0},
        **changes,
    }  # fmt: skip


@pytest.fixture(scope="module")
def items():
    return small_items()


@pytest.fixture(scope="module")
def row(items):
    return small_row(items)


def test_the_task_can_be_scored_anew():
    assert scorer_of("voice-conversion").TASK == TASK


def test_errors_are_counted_only_where_words_were_to_be_heard():
    counted = recount(small_items(hypothesis=TWO_WRONG))
    assert counted["words"].sum() == 10 * NUM_TARGETS * (NUM_SOURCES - 1)
    assert counted["errors"].sum() == 2 * NUM_TARGETS * (NUM_SOURCES - 1)
    assert counted["target_recording.words"].sum() == 0


def test_metrics_by_hand(items, row):
    metrics = row["metrics"]
    held_out = items[~items["voice_is_reference"]]
    assert metrics["similarity"]["value"] == pytest.approx(held_out["similarity"].mean())
    assert metrics["similarity"]["n"] == len(held_out)
    assert metrics["reference_similarity"]["n"] == len(items) - len(held_out)
    assert row["baselines"]["world_pitch_shift"]["difference"]["similarity"]["n"] == len(held_out)
    assert metrics["similarity"]["low"] < metrics["similarity"]["value"] < metrics["similarity"]["high"]
    assert metrics["wer"]["value"] == 0
    assert (metrics["mcd"]["value"], metrics["mcd"]["n"], metrics["mcd"]["unit"]) == (6, NUM_TARGETS, "dB")
    assert "second_wer" not in metrics
    assert "wer" not in row["baselines"]["target_recording"]["metrics"]
    assert row["groups"]["target3"]["similarity"] == pytest.approx(
        items.loc[items["target_speaker"] == "target3", "similarity"].mean()
    )
    assert row["scenarios"]["cross_gender"]["n"] == len(items) / 2
    assert row["scenarios"]["cross_gender"]["baselines"]["unchanged_input"]["difference"]["similarity"]["value"] > 0.2


def test_intervals_hold_for_other_targets_and_other_sources(row, items):
    # Differences between targets are in both systems, so that the paired difference is surer than either.
    difference = row["baselines"]["world_pitch_shift"]["difference"]["similarity"]
    own = row["metrics"]["similarity"]
    assert difference["high"] - difference["low"] < 0.6 * (own["high"] - own["low"])
    crossed = items.assign(
        similarity=items["similarity"] + 0.3 * items["judged"] * (items["source_speaker"] == "source2")
    )
    wider = summarize_items(crossed)["metrics"]["similarity"]
    assert wider["high"] - wider["low"] > 1.5 * (own["high"] - own["low"])


def test_claims_tell_likeness_and_what_it_cost(row):
    claims = row["claims"]
    assert any(
        claim.startswith("nearer to the target's voice than unchanged input, world pitch shift") for claim in claims
    )
    assert any(claim.startswith("similarity leaves out 10 of 120 conversions") for claim in claims)
    assert any("(similarity, n 110, p corrected for 2 comparisons), at +0.0 points" in claim for claim in claims)
    assert not any("population" in claim for claim in claims)
    assert row["baselines"]["unchanged_input"]["beaten"] is True
    assert (BASELINES["target_recording"].kind, row["baselines"]["target_recording"]["beaten"]) == (UPPER_BOUND, None)


def test_likeness_without_words_is_no_claim():
    summary = summarize_items(small_items(hypothesis=TWO_WRONG))
    assert summary["baselines"]["unchanged_input"]["beaten"] is False
    claims = summary["claims"]
    assert any(
        claim.startswith("NOT shown to keep the words within 10 points") and "+20.0" in claim for claim in claims
    )
    assert not any(claim.startswith("nearer") for claim in claims)


def test_words_that_nobody_heard_leave_it_open_who_is_better(items):
    summary = summarize_items(items.drop(columns=[name for name in items if name.endswith("words")]))
    assert summary["baselines"]["unchanged_input"]["beaten"] is None
    assert "no words were recognised: nothing says that they were kept" in summary["claims"]


def test_both_recognisers_must_find_the_words(items):
    second = items.copy()
    for prefix in ("", "unchanged_input."):
        second[f"{prefix}second_hypothesis"] = second[f"{prefix}hypothesis"]
    heard = second["second_hypothesis"].notna()
    second.loc[heard, "second_hypothesis"] = TWO_WRONG
    second = second.drop(columns=recount(items).columns)
    summary = summarize_items(second.join(recount(second)))
    assert summary["baselines"]["unchanged_input"]["beaten"] is False
    (claim,) = [claim for claim in summary["claims"] if claim.startswith("NOT shown to keep the words")]
    assert "+0.0 points of WER (0.0 to 0.0, n 108) by the first recogniser" in claim
    assert "+20.0 points of WER (20.0 to 20.0, n 108) by the second recogniser" in claim


def test_p_values_count_all_baselines_that_are_to_be_beaten(row):
    for name in ("unchanged_input", "world_pitch_shift"):
        difference = row["baselines"][name]["difference"]["similarity"]
        assert difference["holm_p_value"] == pytest.approx(2 * difference["p_value"])
    assert "holm_p_value" not in row["baselines"]["target_recording"]["difference"]["similarity"]


def test_a_judge_that_training_knew_is_no_evidence(items):
    own = items.assign(own_trained_against=True)
    for prefix in ("", "unchanged_input."):
        own[f"{prefix}own_similarity"], own[f"{prefix}own_judged"] = own[f"{prefix}similarity"], 1
    summary = summarize_items(own)
    assert "trained against the second speaker judge: own_similarity is no evidence" in summary["claims"]
    difference = summary["baselines"]["unchanged_input"]["difference"]
    assert "p_value" in difference["similarity"]
    assert "p_value" not in difference["own_similarity"]


def test_outputs_that_are_none_are_counted_and_told(items):
    summary = summarize_items(items.assign(silent=1, failed=[1, *[0] * (len(items) - 1)]))
    assert summary["outputs"] == {"silent_outputs": len(items), "failed_outputs": 1, "clipped_outputs": 0}
    assert "120 of 120 outputs are SILENT and count as the worst there is" in summary["claims"]
    assert "1 of 120 conversions FAILED and count as silence" in summary["claims"]
    assert not any("clipped" in claim for claim in summary["claims"])


def test_conditions_of_a_scenario_are_compared_within_the_same_pairs(items):
    short = items.assign(
        condition="en, 1 s", similarity=items["similarity"] - 0.1 * items["judged"], item_id="short " + items["item_id"]
    )
    own = pd.concat([items, short], ignore_index=True).assign(scenario="reference_seconds")
    scenario = summarize_items(own)["scenarios"]["reference_seconds"]
    assert {name: entry["n"] for name, entry in scenario["conditions"].items()} == {"en, 1 s": 120, "en, 3 s": 120}
    difference = scenario["condition_differences"]["en, 1 s minus en, 3 s"]["similarity"]
    assert (difference["value"], difference["n"]) == (pytest.approx(-0.1), 110)
    assert difference["high"] == pytest.approx(-0.1)


def test_a_baseline_that_is_as_near_is_told():
    claims = summarize_items(small_items(similarity=0.6, seed=1))["claims"]
    assert any(claim.startswith("not better than a baseline that moves the pitch") for claim in claims)
    assert any(claim.startswith("nearer to the target's voice than unchanged input (") for claim in claims)


def test_few_speakers_make_no_population(items):
    few = items[items["source_speaker"].isin(["source1", "source2"])]
    assert "cannot tell about a population from 2 source speakers" in summarize_items(few)["claims"]


def test_a_row_follows_from_its_items_and_nothing_else(items, row, tmp_path):
    read = read_row(write_row(row, items, tmp_path))
    check_measurement("voice", read, items)
    better = {**read, "metrics": {**read["metrics"], "similarity": {**read["metrics"]["similarity"], "value": 0.99}}}
    with pytest.raises(SubmissionError, match=r"metrics\.similarity\.value is 0\.99"):
        check_measurement("voice", better, items)
    with pytest.raises(SubmissionError, match="`errors` of 12 items is not what the answers yield"):
        check_measurement("voice", read, items.assign(errors=items["errors"] + (items["source_speaker"] == "source4")))


def test_answers_from_elsewhere_are_looked_at(items):
    assert not list(answer_problems(items))
    (problem,) = answer_problems(items.assign(similarity=1.5))
    assert "`similarity` is no cosine" in problem
    assert "not judged on every item" in next(answer_problems(items.assign(judged=0)))


def test_seeds_are_pooled_and_systems_compared_over_both_groupings(tmp_path):
    paths = []
    for seed in (0, 1, 2):
        own = small_items(seed=seed, training_seed=seed)
        paths.append(write_row(small_row(own, checkpoint_sha256=str(seed)), own, tmp_path / str(seed)))
    pooled, pooled_items = pool_runs(paths, "voice", system="plain")
    assert pooled["seeds"] == [0, 1, 2]
    assert pooled["conditions"]["crossed_with"] == "source_speaker"
    other = small_items(similarity=0.7, seed=5)
    (comparison,) = compare_systems(
        [System("plain", pooled, pooled_items), System("other", small_row(other, seeds=[]), other)]
    )
    assert comparison["group_by"] == ["target_speaker", "source_speaker"]
    assert comparison["verdict"] == "worse"
    assert comparison["high"] < 0


def test_a_table_says_what_was_resampled(tmp_path, row, items):
    section = results_section([write_row(row, items, tmp_path)])
    assert "intervals resample each target_speaker and each source_speaker as a whole" in section
    assert "baseline: lets the target speak" in section
