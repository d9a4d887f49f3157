"""The `evaluate` modules: hand-computed cases, edge cases, an independent implementation, an installed-like place."""

import shutil
import subprocess
import sys

import evaluate
import numpy as np
import pytest

from antiphon.eval import metric_loading
from antiphon.eval.metric_loading import load_metric, metric_path


@pytest.fixture(scope="module")
def error_rates():
    return load_metric("error_rates")


def edit_distance(reference, hypothesis):
    """Levenshtein distance by the textbook table, independent of jiwer and rapidfuzz."""
    table = np.zeros((len(reference) + 1, len(hypothesis) + 1), dtype=int)
    table[:, 0], table[0, :] = range(len(reference) + 1), range(len(hypothesis) + 1)
    for i, expected in enumerate(reference, 1):
        for j, heard in enumerate(hypothesis, 1):
            table[i, j] = min(table[i - 1, j - 1] + (expected != heard), table[i - 1, j] + 1, table[i, j - 1] + 1)
    return table[-1, -1]


def test_error_rates_by_hand(error_rates):
    result = error_rates.compute(
        predictions=["the cat sat down", "on mat", "go"],
        references=["the hat sat", "on the mat", "go"],
    )
    # hat -> cat is a substitution, `down` an insertion, the second `the` a deletion: 3 edits in 7 words.
    expected = {"substitutions": 1, "insertions": 1, "deletions": 1, "hits": 5, "reference_words": 7}
    assert {name: result[name] for name in expected} == expected
    assert result["wer"] == pytest.approx(3 / 7)
    # Characters: h -> c, " down" (5) and "the " (4) in 11 + 10 + 2.
    assert (result["character_errors"], result["reference_characters"]) == (10, 23)
    assert result["cer"] == pytest.approx(10 / 23)
    assert "per_group" not in result


def test_error_rates_per_group(error_rates):
    result = error_rates.compute(
        predictions=["one two", "one", "nine"], references=["one two", "two", "five five"], groups=["a", "a", "b"]
    )
    assert set(result["per_group"]) == {"a", "b"}
    assert result["per_group"]["a"]["wer"] == pytest.approx(1 / 3)
    assert result["per_group"]["b"]["wer"] == pytest.approx(2 / 2)
    assert result["wer"] == pytest.approx(3 / 5)


def test_error_rates_equal_an_independent_edit_distance(error_rates):
    generator = np.random.default_rng(0)
    words = np.array(["one", "two", "three", "four"])
    references = [" ".join(generator.choice(words, generator.integers(1, 8))) for _ in range(60)]
    hypotheses = [" ".join(generator.choice(words, generator.integers(0, 8))) for _ in range(60)]
    result = error_rates.compute(predictions=hypotheses, references=references)
    word_errors = sum(edit_distance(r.split(), h.split()) for r, h in zip(references, hypotheses))
    character_errors = sum(edit_distance(r, h) for r, h in zip(references, hypotheses))
    assert result["wer"] == pytest.approx(word_errors / sum(len(r.split()) for r in references))
    assert result["cer"] == pytest.approx(character_errors / sum(map(len, references)))


def test_identical_texts_have_no_errors(error_rates):
    texts = ["seven", "turn the light on", "naïve café"]
    result = error_rates.compute(predictions=texts, references=texts)
    assert (result["wer"], result["cer"], result["hits"]) == (0.0, 0.0, 7)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "wer", "cer"),
    [("", "", 0.0, 0.0), ("", "a b", np.inf, np.inf), ("a b", "", 1.0, 1.0), ("a", "a b c", 2.0, 4.0)],
)
def test_empty_sides(error_rates, reference, hypothesis, wer, cer):
    result = error_rates.compute(predictions=[hypothesis], references=[reference])
    assert (result["wer"], result["cer"]) == (wer, cer)


def test_insertions_into_an_empty_reference_count_in_the_total(error_rates):
    assert error_rates.compute(predictions=["a", "b"], references=["", "b"])["wer"] == 1.0


def test_error_rates_refuse_no_items_and_wrong_groups(error_rates):
    with pytest.raises(ValueError, match="`references` is empty"):
        error_rates.compute(predictions=[], references=[])
    with pytest.raises(ValueError, match="2 labels for 1 items"):
        load_metric("error_rates").compute(predictions=["a"], references=["a"], groups=["x", "y"])


def test_a_metric_works_again_after_a_refusal(error_rates):
    with pytest.raises(ValueError, match="`references` is empty"):
        error_rates.compute(predictions=[], references=[])
    assert error_rates.compute(predictions=["a"], references=["a"])["wer"] == 0.0


def test_two_loaded_metrics_do_not_mix_their_batches():
    first, second = load_metric("error_rates"), load_metric("error_rates")
    first.add_batch(predictions=["a"], references=["b"])
    second.add_batch(predictions=["a"], references=["a"])
    assert (first.compute()["wer"], second.compute()["wer"]) == (1.0, 0.0)


def test_real_time_factor_by_hand():
    result = load_metric("real_time_factor").compute(predictions=[1.0, 1.0, 3.0], references=[10.0, 2.0, 8.0])
    assert result["real_time_factor"] == pytest.approx(5 / 20)
    assert result["median_real_time_factor"] == pytest.approx(0.375)  # of .1, .5 and .375
    assert (result["processing_seconds"], result["audio_seconds"]) == (5.0, 20.0)


@pytest.mark.parametrize(
    ("processing", "audio", "message"),
    [([], [], "is empty"), ([1.0], [0.0], "0.0 s of audio"), ([-1.0], [1.0], "took -1.0 s"), ([np.nan], [1.0], "nan")],
)
def test_real_time_factor_refuses(processing, audio, message):
    with pytest.raises(ValueError, match=message):
        load_metric("real_time_factor").compute(predictions=processing, references=audio)


def test_every_metric_declares_unit_direction_and_features():
    names = [path.name for path in metric_loading.METRICS_FOLDER.iterdir() if (path / f"{path.name}.py").exists()]
    assert {"error_rates", "real_time_factor"} <= set(names)
    for name in names:
        metric = load_metric(name)
        assert set(metric.features) == {"predictions", "references"}
        for declared in metric.outputs.values():
            assert set(declared) == {"unit", "higher_is_better"}
        assert (metric_path(name) / "README.md").is_file()


def test_an_unknown_metric_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"error_rates, .*real_time_factor"):
        metric_path("error_rate")


def test_metrics_load_offline_by_path_outside_the_repository(tmp_path):
    shutil.copytree(metric_path("error_rates"), tmp_path / "error_rates")
    code = (
        "import evaluate; metric = evaluate.load('error_rates'); "
        "print(metric.compute(predictions=['a b'], references=['a c'])['wer'])"
    )
    environment = {"HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1", "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "0.5", done.stderr


def test_evaluate_load_takes_the_path():
    assert evaluate.load(str(metric_path("error_rates"))).compute(predictions=["a"], references=["a"])["wer"] == 0
