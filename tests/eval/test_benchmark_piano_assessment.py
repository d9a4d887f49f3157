"""A row of assessed performances, from measuring to pooling, comparing, submitting, tabulating and reporting."""

import json

import numpy as np
import pandas as pd
import pytest
from small_performances import of_players, small_performances

from antiphon.eval.assessment_items import Predictions
from antiphon.eval.benchmark_definition import define_benchmark
from antiphon.eval.benchmark_piano_assessment import benchmark_piano_assessment, format_row
from antiphon.eval.comparison import compare_systems, load_system
from antiphon.eval.pool_runs import pool_runs
from antiphon.eval.result_rows import items_path, read_row, row_path, write_row
from antiphon.eval.results_table import results_section
from antiphon.eval.submission import SubmissionError, check_measurement, check_submission, read_submission
from antiphon.processing.corpora import SplitLeakageError
from antiphon.processing.percepts import PERCEPTS

BASELINES = ("global_mean", "passage_mean", "ridge")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return small_performances(tmp_path_factory.mktemp("corpus"), num_passages=24)


def measure(corpus, out, tested=(3, 4), *, error=0.02, seed=0, interval=0.05, **options):
    """Measure a system that is wrong by so much, and return the path of its row."""

    def predict(test):
        generator = np.random.default_rng([seed, len(test)])
        labels = np.array(test["percepts"][:])
        answers = labels + generator.normal(0, error, labels.shape)
        return Predictions(answers, None, answers - interval, answers + interval)

    others = {0, 1, 2, 3, 4} - set(tested)
    benchmark_piano_assessment(
        predict,
        of_players(corpus, *others),
        of_players(corpus, *tested),
        **{
            "name": "tiny_performers",
            "corpus": "tiny",
            "split": f"performers {'_'.join(map(str, tested))}",
            "protocol": "performers",
            "out": out / "results",
            "inputs": ["midi"],
            "training_seed": seed,
            "baselines": BASELINES,
            "cache": out.parent / "cache",
        }
        | options,
    )
    return row_path(out / "results", "tiny_performers")


@pytest.fixture(scope="module")
def path(corpus, tmp_path_factory):
    return measure(corpus, tmp_path_factory.mktemp("measured") / "system")


def test_the_row_holds_what_a_row_must(path):
    row = read_row(path)
    assert (row["task"], row["primary_metric"]) == ("piano-performance-assessment", "r2")
    sizes = {"items": 48, "passages": 24, "excerpts": 12, "works": 3, "players": 2}
    assert {name: row["dataset"][f"num_{name}"] for name in sizes} == sizes
    assert set(row["metrics"]) == {"r2", "mse", "ranking_accuracy", "within_deviation", "coverage"}
    assert set(row["percepts"]) == set(PERCEPTS)
    assert tuple(row["baselines"]) == BASELINES
    assert {entry["beaten"] for entry in row["baselines"].values()} == {True}
    assert row["conditions"]["audit"]["num_known_passages"] == 48
    assert row["conditions"]["baseline_features"] == "midi"
    assert "measures known passages: 48 of 48 test items have one that is also in training" in row["claims"]
    assert not [claim for claim in row["claims"] if "known players" in claim]
    text = format_row(row)
    assert "48 items, 24 passages, 12 excerpts, 3 works, 2 players" in text
    assert "passage_mean" in text


def test_ratings_give_a_ceiling(corpus, tmp_path):
    generator = np.random.default_rng(0)
    tested = of_players(corpus, 3, 4)
    index = pd.MultiIndex.from_product([tested["file_name"][:], range(4), PERCEPTS])
    labels = np.array(tested["percepts"][:])[:, None]
    rated = (7 * labels + generator.normal(0, 0.1, (len(tested), 4, len(PERCEPTS)))).clip(1, 7)
    ratings = pd.DataFrame({"rating": rated.ravel()}, index=index).reset_index()
    ratings.columns = ["file_name", "user", "percept", "rating"]
    row = read_row(measure(corpus, tmp_path / "rated", ratings=ratings))
    assert all(0.9 < entry["ceiling"]["value"] < 1 for entry in row["percepts"].values())


def test_a_copy_of_a_test_performance_in_training_is_refused(corpus, tmp_path):
    with pytest.raises(SplitLeakageError, match="2 performances are both in training and in the test"):
        benchmark_piano_assessment(
            None,
            corpus.select(range(10)),
            corpus.select(range(8, 20)),
            name="x",
            corpus="tiny",
            split="x",
            out=tmp_path,
        )


def test_an_honest_row_is_taken_and_a_forged_one_refused(path, tmp_path):
    row, items = read_submission(path)
    definition = define_benchmark(row, items)
    check_submission("honest", row, items, definition)
    assert definition["conditions"]["protocol"] == "performers"
    forged = json.loads(json.dumps(row))
    forged["metrics"]["r2"]["value"] = 1.0
    with pytest.raises(SubmissionError, match=r"metrics\.r2\.value is 1\.0 but should be"):
        check_measurement("forged", forged, items)
    with pytest.raises(SubmissionError, match="`r2_score` of 48 items is not what the answers yield"):
        check_measurement("forged", row, items.assign(r2_score=1.0))
    label = f"label.{PERCEPTS[0]}"
    with pytest.raises(SubmissionError, match="`reference` of 48 items is not what the answers yield"):
        check_measurement("forged", row, items.assign(**{label: items[label] / 2}))
    with pytest.raises(SubmissionError, match=r"`passage_mean\.prediction` is not finite"):
        check_measurement("forged", row, items.assign(**{f"passage_mean.prediction.{PERCEPTS[0]}": np.nan}))
    with pytest.raises(SubmissionError, match=r"the item table lacks prediction\."):
        check_measurement("forged", row, items.drop(columns=f"prediction.{PERCEPTS[0]}"))
    silent = row | {"claims": [claim for claim in row["claims"] if "known passages" not in claim]}
    with pytest.raises(SubmissionError, match="`claims` must say 'measures known passages"):
        check_measurement("silent", silent, items)


def test_folds_and_trainings_are_pooled(corpus, tmp_path):
    paths = [
        measure(corpus, tmp_path / f"{fold}-{seed}", tested, seed=seed)
        for fold, tested in enumerate([(0, 1, 2), (3, 4)])
        for seed in (1, 2)
    ]
    row, items = pool_runs(paths, "tiny_performers", system="ours")
    assert row["seeds"] == [1, 2]
    assert (row["dataset"]["num_items"], row["dataset"]["num_players"], len(items)) == (120, 5, 240)
    assert "num_speakers" not in row["dataset"]
    assert row["claims"][0] == "pooled over 4 checkpoints, one for each of 2 folds and 2 seeds"
    assert "measures known passages: 120 of 120 test items have one that is also in training" in row["claims"]
    # A passage's performances of both folds are ranked against each other.
    assert items["pairs"].max() == 4 * len(PERCEPTS)
    pooled = write_row(row, items, tmp_path / "pooled")
    check_measurement("pooled", *read_submission(pooled))


def test_systems_are_compared_by_every_metric(corpus, path, tmp_path):
    worse = load_system(
        measure(corpus, tmp_path / "worse", error=0.2, system="worse").with_name("tiny_performers_worse.json")
    )
    for metric in ("r2", "mse", "ranking_accuracy", "coverage"):
        [comparison] = compare_systems([load_system(path), worse], metric=metric)
        assert comparison["verdict"] == "worse", metric
        assert comparison["group_by"] == ["excerpt"]


def test_passages_with_one_performance_do_not_stop_a_comparison_by_ranking(corpus, tmp_path):
    systems = []
    for name, error in (("good", 0.01), ("bad", 0.3)):
        path = measure(corpus, tmp_path / name, error=error)
        row, items = read_row(path), pd.read_parquet(items_path(path.parent, path.stem))
        # Of the first excerpt one performance is left, which makes no pair.
        alone = items["excerpt"] == "excerpt00"
        few = items[~alone | (items["item_id"] == "midi/passage00_3.mid")]
        few = few.assign(**{column: few[column].mask(alone, 0) for column in ("pairs", "correct_pairs")})
        write_row(row, few, path.parent)
        systems.append(load_system(path))
    [comparison] = compare_systems(systems, metric="ranking_accuracy")
    assert (comparison["verdict"], comparison["num_groups"]) == ("worse", 11)


def test_tables_show_correlations_works_and_players(path):
    section = results_section([path])
    assert "| pearson ↑ | spearman ↑ | within passage r ↑ |" in section
    assert "| r2 per work | work0 | work1 | work2 | mean of works |" in section
    assert "| ranking_accuracy per player | 3 | 4 | mean of players |" in section
    assert "a baseline" not in section.split("### ")[0]
