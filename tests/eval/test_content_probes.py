"""Probes of content: what is there is found, what is not there is not; rows with both metrics."""

import json

import numpy as np
import pandas as pd
import pytest
from small_corpora import corpus_of

from antiphon.eval.content_probes import as_units, fit_units, is_long_enough, read_speakers, read_texts
from antiphon.eval.probe_content import plain_text, probe, summarize

LETTERS = "abc"


def spell(text: str, generator: np.random.Generator, speaker: int = 0, size: int = 6) -> np.ndarray:
    """Six frames of one direction for each letter, silence between them, and an offset for the speaker."""
    frames = np.zeros((12 * len(text) + 4, size))
    for place, letter in enumerate(text):
        frames[12 * place + 4 : 12 * place + 10, LETTERS.index(letter)] = 3.0
    frames[:, 4:] += 2.0 * np.array([speaker == 1, speaker == 2])
    return frames + 0.1 * generator.normal(size=frames.shape)


@pytest.fixture(scope="module")
def spoken():
    generator = np.random.default_rng(0)
    texts = ["".join(generator.choice(list(LETTERS), 4)) for _ in range(90)]
    speakers = [f"speaker{index % 3}" for index in range(90)]
    return texts, speakers, [spell(text, generator, index % 3) for index, text in enumerate(texts)]


def test_speakers_are_found_where_they_are_and_not_where_they_are_not(spoken):
    _, speakers, utterances = spoken
    assert (read_speakers(utterances, speakers) == np.array(speakers)).mean() > 0.95
    without = [frames[:, :3] for frames in utterances]
    assert (read_speakers(without, speakers) == np.array(speakers)).mean() < 0.6


def test_text_is_read_where_it_is_and_not_where_it_is_not(spoken):
    texts, _, utterances = spoken
    options = {"num_epochs": 40}
    read = read_texts(utterances[:70], texts[:70], utterances[70:], **options)
    assert np.mean([said == text for said, text in zip(read, texts[70:])]) > 0.8
    without = [frames[:, 4:] for frames in utterances]
    read = read_texts(without[:70], texts[:70], without[70:], **options)
    assert np.mean([said == text for said, text in zip(read, texts[70:])]) < 0.2


def test_units_are_centres_of_clusters(spoken):
    _, _, utterances = spoken
    units = fit_units(utterances, num_units=8)
    replaced = as_units(units, utterances[:5])
    assert [len(frames) for frames in replaced] == [len(frames) for frames in utterances[:5]]
    assert len(np.unique(np.concatenate(replaced), axis=0)) <= 8
    error = np.concatenate(replaced) - np.concatenate(utterances[:5])
    assert np.square(error).mean() < 0.5 * np.concatenate(utterances[:5]).var(0).mean()


def test_a_summary_holds_both_metrics_chance_and_differences(spoken):
    texts, speakers, utterances = spoken
    corpus = corpus_of([b""] * 90, text=texts, speaker_id=speakers)
    rows = np.arange(90)
    frames = {"mel": utterances, "blind": [each[:, :3] for each in utterances]}
    sides = {"speaker": rows[45:], "train": rows[:60], "test": rows[60:]}
    mel, blind = (probe(frames, name, sides, corpus, seed=0) for name in frames)
    assert isinstance(blind, pd.DataFrame)
    assert len(blind) == 45
    row = summarize(blind, mel)
    assert row["chance"] == pytest.approx(1 / 3)
    right = blind["is_speaker_right"].dropna().astype(float)
    assert row["metrics"]["speaker_accuracy"]["value"] == pytest.approx(right.mean())
    read = blind.dropna(subset="characters")
    assert row["metrics"]["cer"]["value"] == pytest.approx(read["character_errors"].sum() / read["characters"].sum())
    assert row["baselines"]["mel"]["difference"]["speaker_accuracy"]["value"] < -0.3
    nothing = row["baselines"]["majority_label"]
    assert nothing["kind"] == "no_input"
    assert nothing["metrics"]["speaker_accuracy"]["value"] == row["chance"]
    assert nothing["metrics"]["cer"]["value"] == 1
    assert nothing["difference"]["cer"]["value"] == pytest.approx(row["metrics"]["cer"]["value"] - 1)
    assert row["claims"][:2] == [
        "cannot tell about a population from 3 speakers",
        "this probe does not surely find the speaker; another may",
    ]
    json.dumps(row)


def outcomes(is_right, errors, num_speakers=12, num_each=5):
    """Items of twelve speakers, ten characters each."""
    speakers = np.repeat([f"speaker{index}" for index in range(num_speakers)], num_each)
    columns = {"is_speaker_right": is_right, "character_errors": errors, "characters": 10}
    return pd.DataFrame({"item_id": np.arange(len(speakers)).astype(str), "speaker_id": speakers, **columns})


def test_a_speaker_who_is_found_and_a_text_that_is_not_read_are_told():
    found, hidden = outcomes(True, 10), outcomes(False, 2)
    assert summarize(found, found)["claims"][0].startswith("THE SPEAKER IS STILL FOUND: +91.7 points")
    assert summarize(found, found)["claims"][1].startswith("text: NOT BETTER THAN HEARING NOTHING")
    assert summarize(hidden, found)["claims"] == ["this probe does not surely find the speaker; another may"]


@pytest.mark.parametrize(
    ("num_frames", "text", "fits"),
    [(6, "abc", True), (5, "abc", True), (4, "abc", False), (6, "aab", False), (8, "aab", True), (8, "", False)],
)
def test_text_fits_where_ctc_can_align_it(num_frames, text, fits):
    assert is_long_enough(num_frames, text) is fits


def test_training_without_frames_enough_is_refused():
    with pytest.raises(ValueError, match="none of the 1 utterances in `train` has frames enough"):
        read_texts([np.zeros((2, 4))], ["abc"], [])


def test_plain_text():
    assert plain_text("It's 5  o'clock, Sir!") == "it's 5 o'clock sir"
