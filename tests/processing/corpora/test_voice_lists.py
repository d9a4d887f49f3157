"""The lists made again from small tables of recordings; the stored ones are tested in test_voices.py."""

import pandas as pd
import pytest

from antiphon.processing.corpora.conversion_pairs import make_conversion_pairs
from antiphon.processing.corpora.speaker_trials import make_speaker_trials
from antiphon.processing.corpora.stored_lists import check_list, write_list
from antiphon.processing.corpora.voice_sides import divide_voices

EMOTIONS = ("neutral", "anger", "happiness", "sadness")


def recordings(corpus, speaker, number, **columns):
    return [
        {
            "corpus": corpus,
            "file_name": f"{speaker}_{index}.wav",
            "name": f"{corpus}/{speaker}_{index}.wav",
            "speaker_id": speaker,
            "split": "train",
            "gender": "FM"[int(speaker.rpartition("-")[2]) % 2],
            "text": f"{speaker} says {index}",
            "duration_seconds": 4.0,
            "language": "en",
            **columns,
        }
        for index in range(number)
    ]


@pytest.fixture(scope="module")
def items():
    rows = []
    for number, split in enumerate(["train", "train", "validation", "test", "test", "test", "test"]):
        rows += recordings("mini_librispeech", f"ls-{number}", 8, split=split)
    for number in range(40):
        rows += recordings("librispeech_speakers", f"ls-{number}", 1, text=None)
        rows += recordings("an4", f"an4-{number}", 6, split="test" if number < 6 else "train")
        accent = ["indian", "australia", "us", None][number % 4]
        rows += recordings("common_voice_en", f"cv-{number}", 1 + (number == 3), split="test", accent=accent)
    rows += recordings("kathleen_arctic", "kathleen-0", 5)
    for number in range(4):
        rows += [{**row, "text": row["file_name"][-5:]} for row in recordings("vctk_parallel", f"vctk-{number}", 8)]
        for label in EMOTIONS:
            for row in recordings("emodb4", f"emodb-{number}", 6, label=label, language="de"):
                name = f"{row['name']}_{label}"
                rows.append({**row, "text": row["file_name"][-5:], "name": name, "file_name": name})
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def divided(items):
    return items.merge(divide_voices(items), on=["corpus", "file_name", "speaker_id"])


@pytest.fixture(scope="module")
def pairs(divided):
    return make_conversion_pairs(divided)


def test_the_order_of_the_recordings_does_not_matter(items, pairs):
    shuffled = items.sample(frac=1, random_state=1)
    assert divide_voices(shuffled).equals(divide_voices(items))
    again = shuffled.merge(divide_voices(shuffled), on=["corpus", "file_name", "speaker_id"])
    assert make_conversion_pairs(again).equals(pairs)


def test_speakers_of_two_corpora_are_on_the_side_that_the_first_gives_them(divided):
    assert divided.groupby("speaker_id")["side"].nunique().max() == 1
    singles = divided[divided["corpus"] == "librispeech_speakers"].set_index("speaker_id")["side"]
    assert singles[[f"ls-{number}" for number in range(7)]].tolist() == ["train", "train", "validation"] + ["test"] * 4
    assert singles.value_counts().to_dict() == {"train": 33 - 20 + 2, "test": 4 + 12, "validation": 1 + 8}


def test_rare_accents_and_speakers_with_several_clips_are_tested(divided):
    voices = divided[divided["corpus"] == "common_voice_en"].groupby("speaker_id").first()
    assert (voices.loc[voices["accent"].isin(["indian", "australia"]), "side"] == "test").all()
    assert voices.loc["cv-3", "side"] == "test"
    assert (voices["side"] == "validation").sum() == 3 + 3


def test_trials_are_half_of_the_same_speaker(divided):
    trials = make_speaker_trials(divided)
    test = trials[(trials["side"] == "test") & trials["file_1"].str.startswith("an4")]
    assert len(test) == 2 * 6 * 15
    assert test["is_same"].mean() == 0.5
    assert test[~test["is_same"]]["same_gender"].mean() == 0.5
    pairs_of_speakers = test[~test["is_same"]].apply(
        lambda trial: tuple(sorted(trial[name].rpartition("_")[0] for name in ("file_1", "file_2"))), axis=1
    )
    assert pairs_of_speakers.value_counts().max() <= 8


def test_references_never_have_the_words_of_the_source(divided, pairs):
    text_of, emotion_of = (divided.set_index("name")[column] for column in ("text", "label"))
    for pair in pairs.itertuples():
        references = pair.reference_files.split(";")
        assert pair.text not in text_of[references].tolist()
        assert set(emotion_of[references].fillna("neutral")) == {"neutral"}
        assert 4.0 * len(references) >= pair.reference_seconds > 4.0 * (len(references) - 1)
    parallel = pairs[pairs["parallel_file"].notna()]
    assert (text_of[parallel["parallel_file"]].to_numpy() == parallel["text"]).all()
    expressive = parallel[parallel["scenario"] == "expressive"]
    assert (emotion_of[expressive["parallel_file"]].to_numpy() == expressive["label"]).all()


def test_genders_of_a_pair_are_those_of_its_scenario(divided, pairs):
    gender = divided.groupby("speaker_id")["gender"].first()
    is_same = pairs["source_speaker"].map(gender) == pairs["target_speaker"].map(gender)
    assert is_same[pairs["scenario"] == "same_gender"].all()
    assert not is_same[pairs["scenario"] == "cross_gender"].any()


def test_speakers_take_turns(pairs):
    for scenario in ("same_gender", "cross_gender", "parallel", "noisy_reference"):
        test = pairs[(pairs["scenario"] == scenario) & (pairs["side"] == "test")]
        assert test["source_speaker"].value_counts().nunique() == 1


def test_pairs_are_of_one_side(divided, pairs):
    side_of = divided.groupby("speaker_id")["side"].first()
    for role in ("source_speaker", "target_speaker"):
        assert (pairs[role].map(side_of) == pairs["side"]).all()
    scenarios = pairs.groupby("side")["scenario"].agg(set)
    assert scenarios["validation"] == {"same_gender", "cross_gender", "noisy_reference", "reference_seconds"}
    assert (pairs[pairs["side"] == "test"].groupby("scenario")["quick"].sum() == 6).all()


def test_recordings_are_held_out_of_every_target_that_has_several(divided, pairs):
    given = {*pairs["reference_files"].str.split(";").explode(), *pairs["parallel_file"].dropna()}
    neutral = divided[divided["label"].fillna("neutral") == "neutral"]
    held_out = neutral[~neutral["name"].isin(given)].groupby("speaker_id").size()
    targets = pairs.groupby("target_speaker")["scenario"].agg(set)
    assert all(held_out.get(target, 0) >= 3 or scenarios == {"accent"} for target, scenarios in targets.items())


def test_no_reference_is_an_utterance_that_two_corpora_have(divided, pairs):
    references = pairs["reference_files"].str.split(";").explode()
    utterances = divided.set_index("name")["file_name"]
    twice = utterances.duplicated(keep=False)
    assert twice.any()
    assert not twice[references].any()


def test_noise_and_length_strain_pairs_that_are_there_without(pairs):
    columns = ["source_file", "target_speaker"]
    read = set(pairs[pairs["scenario"].isin(["same_gender", "cross_gender"])][columns].itertuples(index=False))
    strained = pairs[pairs["scenario"].isin(["noisy_reference", "reference_seconds"])][columns]
    assert set(strained.itertuples(index=False)) < read
    assert (strained.value_counts() == 6).all()


def test_a_stored_list_that_differs_ends_the_program(tmp_path):
    table = pd.DataFrame({"name": ["a", "b"]})
    write_list(tmp_path / "list.csv", table)
    check_list(tmp_path / "list.csv", table)
    with pytest.raises(SystemExit, match=r"list.csv is not what the corpus gives; write it with --write"):
        check_list(tmp_path / "list.csv", table[:1])
