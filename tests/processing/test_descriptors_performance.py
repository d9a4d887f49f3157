"""Descriptors of performances: cases counted by hand, what must not change them, and what must raise or lower them."""

from dataclasses import replace

import numpy as np
import pytest
from tiny_piano import notes

from antiphon.processing.audio_midi import Performance
from antiphon.processing.corpora.synthetic_piano import Manner, compose, perform
from antiphon.processing.descriptors_performance import alignment_descriptors, performance_descriptors

PLAIN = Manner(
    beats_per_minute=120, rubato=0, unevenness=0, loudness=60, dynamic_range=5, melody=5, articulation=0.8, pedal=0.5
)


def performed(seed: int = 0, **changes) -> tuple[Performance, Performance]:
    """A performance, the same but for what is changed, and its score."""
    score = compose(np.random.default_rng(seed), num_bars=3)
    return perform(score, replace(PLAIN, **changes), np.random.default_rng(seed)), score


def shifted(performance: Performance, seconds: float = 0.0, semitones: int = 0) -> Performance:
    pedals = {controller: (times + seconds, values) for controller, (times, values) in performance.pedals.items()}
    return Performance(
        performance.onsets + seconds,
        performance.offsets + seconds,
        performance.pitches + semitones,
        performance.velocities,
        pedals,
    )


# ---------------------------------------------------------------- by hand


def test_four_equal_notes():
    described = performance_descriptors(notes([1, 2, 3, 4], [1.5, 2.5, 3.5, 4.5], [60, 62, 64, 65], [40, 60, 80, 100]))
    by_hand = {
        "log_duration": np.log(3.5),
        "log_note_rate": np.log(4 / 3.5),
        "notes_per_chord": 1.0,
        "pitch_mean": 62.75,
        "pitch_median": 63.0,
        "log_key_seconds_mean": np.log(0.51),
        "log_key_seconds_deviation": 0.0,
        "log_interval_mean": np.log(1.01),
        "interval_change": 0.0,
        "chord_spread": 0.0,
        "articulation_median": 0.5,
        "articulation_high": 0.5 + 0.7 * 0.5,  # the last note lasts until the end: 1, and 0.9 lies at place 2.7
        "overlap_share": 0.0,
        "velocity_mean": 70.0,
        "velocity_deviation": np.sqrt(500),
        "velocity_low": 46.0,
        "velocity_change": 20.0,
        "velocity_slope": 20 * 3.5,  # a second is 1 / 3.5 of the passage
        "melody_loudness": 0.0,
        "treble_loudness": 40.0,
        "pedal_share": 0.0,
        "pedal_rate": 0.0,
        "pedal_lengthening": 0.0,
    }
    assert {name: described[name] for name in by_hand} == pytest.approx(by_hand, abs=1e-9)


def test_a_melody_is_the_highest_note_of_each_chord_whenever_it_is_struck():
    """In playing the melody often comes first; it is not the note that comes last."""
    chords = notes(
        [0.00, 0.02, 0.03, 1.00, 1.01, 1.03], pitches=[72, 48, 55, 50, 74, 57], velocities=[90, 50, 52, 48, 94, 54]
    )
    described = performance_descriptors(chords)
    assert described["melody_loudness"] == pytest.approx(92 - 51)
    assert described["melody_deviation"] == pytest.approx(2.0)
    assert described["notes_per_chord"] == 3
    assert described["chord_spread"] == pytest.approx(0.03)


def test_pedals_are_counted_from_before_the_first_change():
    held = notes([0.0, 9.0], [1.0, 10.0], sustain=[(0.0, 127), (2.5, 0), (5.0, 64), (7.5, 63)], soft=[(5.0, 127)])
    described = performance_descriptors(held)
    assert described["pedal_rate"] == pytest.approx(2 / 10)
    assert described["pedal_share"] == pytest.approx(0.5, abs=0.01)
    assert described["soft_pedal_share"] == pytest.approx(0.5, abs=0.01)
    assert described["sostenuto_share"] == 0
    assert described["pedal_depth"] == pytest.approx((2.5 * 127 + 2.5 * 64 + 2.5 * 63) / 10 / 127, abs=0.01)
    assert described["pedal_lengthening"] == pytest.approx(np.log((2.5 + 1 + 0.1) / (1 + 1 + 0.1)))
    assert described["held_polyphony"] == pytest.approx(0.2, abs=0.01)
    assert described["sounding_polyphony"] == pytest.approx(0.35, abs=0.01)


def test_overlap_is_a_share_of_notes():
    described = performance_descriptors(notes([0, 1, 2, 3], [1.5, 2.5, 2.9, 4.0]))
    assert described["overlap_share"] == 0.5
    assert described["articulation_median"] == pytest.approx((1.0 + 1.5) / 2)


def test_one_note_is_enough():
    described = performance_descriptors(notes([2.0]))
    assert all(np.isfinite(value) for value in described.values())
    assert described["log_duration"] == np.log(0.25)


# ---------------------------------------------------------------- what must not matter


def test_time_of_the_beginning_does_not_matter():
    performance, score = performed(unevenness=0.02)
    later = shifted(performance, seconds=17.0)
    assert performance_descriptors(later) == pytest.approx(performance_descriptors(performance), abs=1e-6)
    assert alignment_descriptors(later, shifted(score, seconds=3.0)) == pytest.approx(
        alignment_descriptors(performance, score), abs=1e-6
    )


def test_transposition_changes_nothing_but_pitch():
    performance, score = performed(unevenness=0.02)
    before, after = (performance_descriptors(shifted(performance, semitones=by)) for by in (0, 5))
    differing = {name for name in before if before[name] != pytest.approx(after[name], abs=1e-9)}
    assert differing == {"pitch_mean", "pitch_low", "pitch_median", "pitch_high"}
    assert after["pitch_mean"] == pytest.approx(before["pitch_mean"] + 5)
    both = alignment_descriptors(shifted(performance, semitones=5), shifted(score, semitones=5))
    assert both == pytest.approx(alignment_descriptors(performance, score))


# ---------------------------------------------------------------- what must matter


@pytest.mark.parametrize(
    ("manner", "less", "more", "names"),
    [
        ("loudness", 40, 80, ["velocity_mean", "velocity_median", "velocity_low", "velocity_high"]),
        ("dynamic_range", 1, 15, ["velocity_deviation", "velocity_contour"]),
        ("melody", 0, 20, ["melody_loudness"]),
        ("pedal", 0.3, 0.9, ["pedal_share", "pedal_depth", "pedal_lengthening", "sounding_polyphony"]),
        ("articulation", 0.3, 1.1, ["articulation_mean", "overlap_share", "log_key_seconds_mean", "held_polyphony"]),
        ("beats_per_minute", 60, 150, ["log_note_rate"]),
    ],
)
@pytest.mark.parametrize("seed", range(4))
def test_more_of_a_manner_is_more_of_its_descriptors(manner, less, more, names, seed):
    low, high = (performance_descriptors(performed(seed, **{manner: value})[0]) for value in (less, more))
    for name in names:
        assert high[name] > low[name], name


@pytest.mark.parametrize(
    ("manner", "less", "more", "names"),
    [
        ("loudness", 40, 80, ["score_loudness"]),
        ("articulation", 0.3, 1.1, ["score_articulation", "beat_articulation"]),
        ("beats_per_minute", 60, 150, ["log_tempo"]),
        ("rubato", 0.0, 0.2, ["tempo_deviation"]),
        ("unevenness", 0.0, 0.02, ["asynchrony"]),
    ],
)
@pytest.mark.parametrize("seed", range(4))
def test_more_of_a_manner_is_more_against_the_score(manner, less, more, names, seed):
    low, high = (alignment_descriptors(*performed(seed, **{manner: value})) for value in (less, more))
    for name in names:
        assert high[name] > low[name], name


# ---------------------------------------------------------------- against the score


def test_a_score_played_as_written_deviates_by_nothing():
    score = performed()[1]
    described = alignment_descriptors(score, score)
    assert described["matched_share"] == 1
    others = {name: value for name, value in described.items() if name != "matched_share"}
    assert others == pytest.approx(dict.fromkeys(others, 0.0), abs=1e-9)


def test_tempo_and_loudness_against_the_score_by_hand():
    score = notes(0.5 * np.arange(16), 0.5 * np.arange(16) + 0.25, 60 + np.arange(16), np.full(16, 64))
    # twice as fast, keys held as long as written, each note a little louder than the one before
    performance = notes(0.25 * np.arange(16), 0.25 * np.arange(16) + 0.25, score.pitches, 60 + np.arange(16))
    described = alignment_descriptors(performance, score)
    by_hand = {
        "matched_share": 1.0,
        "log_tempo": np.log(2),
        "tempo_deviation": 0.0,
        "tempo_trend": 0.0,
        "asynchrony": 0.0,
        "score_articulation": 0.0,
        "beat_articulation": np.log(2),
        "score_loudness": 3.5,
    }
    assert {name: described[name] for name in by_hand} == pytest.approx(by_hand, abs=1e-9)


def test_slowing_down_shows_at_the_end_and_in_the_trend():
    score = notes(0.5 * np.arange(32), pitches=40 + np.arange(32))
    times = score.onsets + 0.03 * score.onsets**2
    described = alignment_descriptors(notes(times, pitches=score.pitches), score)
    assert described["tempo_trend"] < -0.1
    assert described["tempo_at_end"] < -0.1
    assert described["tempo_deviation"] > 0.1


def test_wrong_notes_lower_the_matched_share():
    score = notes(0.5 * np.arange(16), pitches=60 + np.arange(16))
    pitches = 60 + np.arange(16)
    pitches[[2, 7, 8, 13]] = 30
    described = alignment_descriptors(notes(0.5 * np.arange(16), pitches=pitches), score)
    assert described["matched_share"] == 12 / 16
    assert described["log_tempo"] == pytest.approx(0)


def test_what_is_another_piece_is_not_described_against_the_score():
    score = notes(0.5 * np.arange(16), pitches=60 + np.arange(16))
    assert alignment_descriptors(notes(np.arange(16), pitches=np.full(16, 30)), score) == {}
    assert alignment_descriptors(notes(np.arange(7), pitches=60 + np.arange(7)), score) == {}
