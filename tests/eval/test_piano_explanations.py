"""Sentences on what was measured."""

import math

import numpy as np
import pytest

from antiphon.eval.piano_explanations import (
    WORDINGS,
    compare_descriptors,
    compare_percepts,
    explain,
)
from antiphon.eval.reference_population import DESCRIPTORS, Reference
from antiphon.processing import PianoFeatureExtractor
from antiphon.processing.percepts import PERCEPTS


def reference_of(values: dict[str, list[float]], passage: str | None = "piece 0") -> Reference:
    sorted_values = {name: np.sort(np.array(known, dtype=float)) for name, known in values.items()}
    return Reference(passage, sorted_values, {name: len(known) for name, known in values.items()})


def plain(text: str) -> str:
    return text.replace("\u00a0", " ")


def test_every_descriptor_has_words_and_every_one_exists():
    assert set(WORDINGS) == set(DESCRIPTORS) <= set(PianoFeatureExtractor().descriptor_names)


def test_sentence_says_how_many_of_whom_and_carries_its_evidence():
    reference = reference_of({"performance.velocity_mean": [40, 50, 60, 70, 80, 90, 100, 110, 120, 125]})
    [explanation] = explain({"performance.velocity_mean": 55.0}, reference)
    assert plain(explanation.text) == (
        "Softer than 8 of the 10 performances of this passage (80 %): mean key velocity 55 of 127."
    )
    assert explanation.descriptor == "performance.velocity_mean"
    assert (explanation.value, explanation.num_performances, explanation.passage) == (55.0, 10, "piece 0")
    assert explanation.percentile == pytest.approx(20)


def test_unknown_passage_is_said_to_be_all_performances_and_durations_are_left_out():
    values = {"performance.pedal_share": [0.0, 0.1, 0.2, 0.3, 0.4], "performance.log_duration": [1, 1, 1, 1, 1]}
    described = {"performance.pedal_share": 0.35, "performance.log_duration": 3.0}
    [explanation] = explain(described, reference_of(values, passage=None))
    assert plain(explanation.text) == "More pedal than in 80 % of all performances (5): down 35 % of the time."
    assert len(explain(described, reference_of(values))) == 2


def test_most_extreme_comes_first_and_the_middle_is_not_mentioned():
    tens = list(range(10))
    values = {
        "performance.velocity_mean": tens,
        "performance.pedal_share": tens,
        "performance.velocity_deviation": tens,
    }
    described = {
        "performance.velocity_mean": 6.5,
        "performance.pedal_share": -1.0,
        "performance.velocity_deviation": 4.5,
    }
    told = explain(described, reference_of(values))
    assert [item.descriptor for item in told] == ["performance.pedal_share", "performance.velocity_mean"]


def test_of_fewer_than_five_nothing_is_said():
    described = {"performance.velocity_mean": 100.0}
    assert explain(described, reference_of({"performance.velocity_mean": [1, 2, 3, 4]})) == []
    assert len(explain(described, reference_of({"performance.velocity_mean": [1, 2, 3, 4, 5]}))) == 1


def test_missing_measurement_gives_way_to_the_next_of_its_topic():
    values = {"performance.velocity_mean": [1, 2, 3, 4, 5], "audio.loudness_median": [-9, -8, -7, -6, -5]}
    both = {"performance.velocity_mean": 9.0, "audio.loudness_median": -4.0}
    [explanation] = explain(both, reference_of(values))
    assert explanation.descriptor == "performance.velocity_mean"
    [explanation] = explain({**both, "performance.velocity_mean": math.nan}, reference_of(values))
    assert plain(explanation.text).endswith("median level -17.4 dB of full scale.")
    assert explain({}, reference_of(values)) == []


def test_two_performances_differ_in_what_is_large_enough():
    first = {"performance.velocity_mean": 60.0, "performance.pedal_share": 0.5, "performance.melody_loudness": 3.0}
    second = {"performance.velocity_mean": 50.0, "performance.pedal_share": 0.9, "performance.melody_loudness": 3.5}
    texts = [plain(item.text) for item in compare_descriptors(first, second)]
    assert texts == [
        "Less pedal than in the second: down 50 % of the time here, down 90 % of the time there.",
        "Louder than the second: mean key velocity 60 of 127 here, mean key velocity 50 of 127 there.",
    ]
    assert compare_descriptors(first, first) == []


def test_performances_are_compared_by_what_both_have():
    first = {"performance.velocity_mean": 60.0, "audio.loudness_median": -6.0}
    second = {"performance.velocity_mean": math.nan, "audio.loudness_median": -8.0}
    [difference] = compare_descriptors(first, second)
    assert difference.descriptor == "audio.loudness_median"


def test_percepts_are_told_apart_only_where_the_interval_has_one_sign():
    size = len(PERCEPTS)
    first, second, reach = np.full(size, 0.5), np.full(size, 0.5), np.full(size, 0.05)
    first[8], first[3] = 0.8, 0.45  # 2.1 points up, .35 down; the reach is 7 * .05 * sqrt 2 = .49
    told, close, *rest = compare_percepts(first, second, reach, reach)
    assert told.percept == "timbre_soft_loud"
    assert told.text == "The first is judged nearer to “loud”, by 2.10 points of 7 (± 0.49)."
    assert close.percept == "pedal_sparse_saturated"
    assert not close.is_told_apart
    assert close.text == "Cannot be told apart: 0.35 points of 7 towards “sparse, dry”, ± 0.49."
    assert not any(item.is_told_apart for item in rest)


def test_without_intervals_nothing_is_claimed():
    unknown = np.full(len(PERCEPTS), np.nan)
    [first, *_] = compare_percepts(np.linspace(0, 1, len(PERCEPTS)), np.zeros(len(PERCEPTS)), unknown, unknown)
    assert not first.is_told_apart
    assert "without a calibrated interval this proves nothing" in first.text
