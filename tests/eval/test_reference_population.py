"""The performances that one is compared with."""

import json

import numpy as np
import pytest
from tiny_assessor import NUM_PIECES, NUM_PLAYERS, features_of, performance_rows, piece, rendition

from antiphon.eval.reference_population import (
    DESCRIPTORS,
    QUANTILES,
    build_population,
    find_reference,
    is_same_passage,
    read_population,
    shared_runs,
    write_population,
)
from antiphon.processing import PianoFeatureExtractor
from antiphon.processing.audio_midi import Performance, read_midi, write_midi
from antiphon.processing.feature_extraction_piano import score_fingerprint
from antiphon.processing.percepts import PERCEPTS


@pytest.fixture(scope="module")
def extractor() -> PianoFeatureExtractor:
    return PianoFeatureExtractor()


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> list[dict]:
    return performance_rows(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def population(rows, extractor) -> dict:
    return build_population(rows, extractor, features_of(rows, extractor))


def test_values_are_those_of_people_and_sorted(population, rows, extractor):
    velocity = extractor.descriptor_names.index("performance.velocity_mean")
    by_people = [row for row in rows if row["player_id"] != "Score" and row["passage"] == "piece 0"]
    expected = sorted(float(item["descriptors"][velocity]) for item in features_of(by_people, extractor))
    passage = population["passages"][score_fingerprint(piece(0))]
    assert passage["names"] == ["piece 0"]
    assert passage["counts"]["performance.velocity_mean"] == len(expected) == NUM_PLAYERS
    np.testing.assert_allclose(passage["values"]["performance.velocity_mean"], expected, rtol=1e-3)
    loudest = sorted(row["percepts"][8] for row in by_people)
    np.testing.assert_allclose(passage["values"][f"percept.{PERCEPTS[8]}"], loudest, rtol=1e-3)
    # There are no recordings among them.
    assert set(passage["counts"]) == {name for name in DESCRIPTORS if not name.startswith("audio.")} | {
        f"percept.{name}" for name in PERCEPTS
    }


def test_whole_population_is_kept_as_quantiles(population):
    everyone = population["all"]
    assert everyone["counts"]["performance.pedal_share"] == NUM_PIECES * NUM_PLAYERS
    values = everyone["values"]["performance.velocity_mean"]
    assert len(values) == QUANTILES
    assert values == sorted(values)
    passages = population["passages"].values()
    assert values[0] == min(min(passage["values"]["performance.velocity_mean"]) for passage in passages)
    assert values[-1] == max(max(passage["values"]["performance.velocity_mean"]) for passage in passages)


def test_performance_under_two_names_counts_once(rows, extractor):
    doubled = [*rows, rows[0] | {"player_id": "77"}]
    population = build_population(doubled, extractor, features_of(doubled, extractor))
    assert population["passages"][score_fingerprint(piece(0))]["counts"]["performance.velocity_mean"] == NUM_PLAYERS


def test_passages_with_equal_notes_are_one(rows, extractor):
    repeat = [row | {"passage": "piece 0, repeated"} for row in rows if row["passage"] == "piece 0"]
    both = [*rows, *repeat]
    population = build_population(both, extractor, features_of(both, extractor))
    assert len(population["passages"]) == NUM_PIECES
    assert population["passages"][score_fingerprint(piece(0))]["names"] == ["piece 0", "piece 0, repeated"]


def test_it_is_written_as_strict_json_and_read_again(population, tmp_path):
    path = write_population(population, tmp_path)
    assert json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(name)) == population
    assert read_population(tmp_path) == population


def test_folder_without_population_has_none_and_a_broken_one_is_refused(tmp_path):
    assert read_population(tmp_path) is None
    (tmp_path / "reference_population.json").write_text("[]")
    with pytest.raises(ValueError, match=r"no `all` and `passages`.*train again"):
        read_population(tmp_path)


def test_passage_is_known_by_its_score_whatever_was_played(population, tmp_path):
    write_midi(piece(1), tmp_path / "score.mid")
    assert find_reference(population, score=read_midi(tmp_path / "score.mid")).passage == "piece 1"


def with_slips(performance: Performance, every: int) -> Performance:
    """Each so manyth note is a wrong one."""
    pitches = performance.pitches.copy()
    pitches[::every] += 1
    return Performance(performance.onsets, performance.offsets, pitches, performance.velocities, performance.pedals)


@pytest.mark.parametrize("seed", range(NUM_PIECES))
def test_passage_is_known_by_what_was_played_but_for_slips(population, seed):
    played = rendition(seed, player=50, unevenness=0.0)
    assert find_reference(population, performance=played).passage == f"piece {seed}"
    assert find_reference(population, performance=with_slips(played, every=12)).passage == f"piece {seed}"
    assert find_reference(population, performance=with_slips(played, every=2)).passage is None


def test_other_music_is_compared_with_all(population):
    reference = find_reference(population, performance=rendition(5, player=1))
    assert reference.passage is None
    assert reference.counts["performance.velocity_mean"] == NUM_PIECES * NUM_PLAYERS
    assert find_reference(population).passage is None


def test_same_passage_is_told_from_another():
    assert is_same_passage(rendition(0, 1, unevenness=0.0), rendition(0, 2, unevenness=0.0))
    assert not is_same_passage(rendition(0, 1), rendition(1, 1))


def test_shared_runs_by_hand():
    # Runs of 4: 1234, 2345 against 1234, 2346: one of two is shared.
    assert shared_runs([1, 2, 3, 4, 5], [1, 2, 3, 4, 6]) == 0.5
    assert shared_runs([1, 2, 3, 4, 5], [1, 2, 3, 4, 5]) == 1.0
    assert shared_runs([1, 2, 3], [1, 2, 3]) == 0.0  # too short for a run
    assert shared_runs([1] * 8, [1] * 11) == 0.0  # too different in length


def test_shares_leave_out_what_is_equal():
    population = {"all": {"counts": {"x": 4}, "values": {"x": [1.0, 2.0, 2.0, 3.0]}}, "passages": {}}
    reference = find_reference(population)
    assert reference.shares("x", 2.0) == (0.25, 0.25)
    assert reference.shares("x", 9.0) == (1.0, 0.0)
    assert reference.quantile("x", 0.5) == 2.0


def test_one_of_the_population_is_not_beside_itself(population, rows, extractor):
    [row] = [row for row in rows if row["midi"].endswith("0_3.mid")]
    place = extractor.descriptor_names.index("performance.velocity_mean")
    value = float(features_of([row], extractor)[0]["descriptors"][place])
    below, above = find_reference(population, score=piece(0)).shares("performance.velocity_mean", value)
    assert below + above == pytest.approx((NUM_PLAYERS - 1) / NUM_PLAYERS)
