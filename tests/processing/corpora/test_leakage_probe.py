"""The probe finds labels that were planted in a property, and none where labels were shuffled."""

import numpy as np
import pytest
from datasets import Dataset
from small_corpora import corpus_of, tone

from antiphon.processing.corpora import CorpusError, leakage_probe

WORDS = ["go", "on", "stop"]


def items(number, seed, *, values=None):
    """Labelled items of ten speakers, and one property that tells the label ("planted") and one that does not."""
    generator = np.random.default_rng(seed)
    labels = [WORDS[index] for index in generator.integers(3, size=number)] if values is None else list(values)
    kinds = [WORDS.index(label) if values is None else label for label in labels]
    dataset = Dataset.from_dict({"text": labels, "speaker_id": [f"s{index % 10}" for index in range(number)]})
    planted = np.array(kinds) + 0.1 * generator.standard_normal(number)
    return dataset, {"planted": planted.tolist(), "unrelated": generator.standard_normal(number).tolist()}


def probe(train, test, **options):
    probes = leakage_probe(train[0], test[0], features=(train[1], test[1]), **options)
    return {result.property: result for result in probes}


def test_a_planted_leak_is_found_and_an_unrelated_property_is_not():
    results = probe(items(300, 0), items(200, 1))
    assert results["planted"].score == 1.0
    assert results["planted"].better_than_chance
    assert results["planted"].low > 0.5
    assert "BETTER THAN CHANCE" in str(results["planted"])
    assert results["unrelated"].score < 0.45
    assert not results["unrelated"].better_than_chance
    assert "BETTER" not in str(results["unrelated"])


def test_shuffled_labels_hide_the_leak():
    dataset, properties = items(300, 0)
    shuffled = np.random.default_rng(5).permutation(dataset["text"][:]).tolist()
    train = dataset.remove_columns("text").add_column("text", shuffled), properties
    assert not probe(train, items(200, 1))["planted"].better_than_chance


def test_a_column_of_numbers_is_scored_by_the_variance_explained():
    train_ages, test_ages = (np.random.default_rng(seed).uniform(20, 80, size=300) for seed in (1, 2))
    results = probe(items(300, 0, values=train_ages), items(300, 1, values=test_ages))
    assert results["planted"].measure == "r2"
    assert results["planted"].score > 0.95
    assert results["planted"].better_than_chance
    assert results["unrelated"].score < 0.05
    assert not results["unrelated"].better_than_chance


def test_by_hand():
    train = Dataset.from_dict({"text": ["a", "a", "a", "b", "b"]})
    test = Dataset.from_dict({"text": ["a", "b", "b", None], "speaker_id": ["x", "x", "y", "y"]})
    properties = {"length": [1.0, 1.0, 5.0, 1.0, 3.0]}, {"length": [1.1, 2.9, 4.2, 3.0]}
    (result,) = leakage_probe(train, test, features=properties)
    # 1.1 ties with a, a and b; 2.9 is near b; 4.2 is near a; the last has no label. Majority "a" is right once.
    assert (result.score, result.chance) == pytest.approx((2 / 3, 1 / 3))
    assert result.num_groups == 2


def test_one_group_has_no_interval_and_no_verdict():
    train, (test, properties) = items(50, 0), items(20, 1)
    test = test.remove_columns("speaker_id").add_column("speaker_id", ["only"] * len(test))
    result = probe(train, (test, properties))["planted"]
    assert (result.score, result.low, result.better_than_chance) == (1.0, None, False)
    assert "no interval from one group" in str(result)


def test_files_are_probed_from_outside():
    texts = ["no", "yes"] * 8
    speakers = [f"s{index // 2}" for index in range(16)]
    seconds = [0.1 if text == "no" else 0.2 for text in texts]
    loud = [tone(length, seed=index) for index, length in enumerate(seconds)]
    quiet = [0.1 * tone(length, seed=index) for index, length in enumerate(reversed(seconds))]
    columns = {"text": texts, "speaker_id": speakers, "file_name": [f"{text}_{i}.wav" for i, text in enumerate(texts)]}
    train = corpus_of(loud, **columns)
    test = corpus_of(quiet, **columns | {"file_name": [f"{text}_{i + 100}.wav" for i, text in enumerate(texts)]})
    results = {result.property: result for result in leakage_probe(train, test)}
    assert results["file length"].score == 0.0  # reversed in test: always the other word
    assert results["file name"].score == 1.0
    assert results["sampling rate"].score == results["container"].score == results["container"].chance == 0.5
    assert {"peak level", "mean level"} < set(results)


def test_without_labels_there_is_nothing_to_guess():
    corpus = corpus_of([tone()])
    assert leakage_probe(corpus, corpus) == []
    with pytest.raises(CorpusError, match="`label` is 'mood' but `train` has audio"):
        leakage_probe(corpus, corpus, label="mood")
