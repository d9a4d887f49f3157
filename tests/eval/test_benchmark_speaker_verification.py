"""The verification benchmark from end to end, on a tiny real checkpoint, made-up voices and a judge that knows them."""

import json

import numpy as np
import pandas as pd
import pytest
from tiny_speaker_encoder import make_model
from voice_corpus import SAMPLING_RATE, write_voice_corpus

from antiphon.eval import benchmark_speaker_verification as benchmark
from antiphon.eval.conditions import file_sha256
from antiphon.eval.metric_loading import load_metric
from antiphon.eval.mfcc_statistics import MfccStatistics, standardize
from antiphon.eval.speaker_verification_scores import correct_for_comparisons, summarize_trials
from antiphon.eval.training_speakers import TRAINING_UNKNOWN
from antiphon.processing.corpora import load_corpus


class FarFetchedJudge:
    """Embeds a voice by its strongest frequency: almost always right on made-up voices."""

    name = "far-fetched 1.0"

    def __call__(self, waveform):
        peak = np.abs(np.fft.rfft(waveform[:8000])).argmax()
        return {"embedding": np.exp(-(((peak - np.arange(0, 2000, 10)) / 60) ** 2))}


@pytest.fixture(scope="module")
def voices(tmp_path_factory):
    folder = write_voice_corpus(tmp_path_factory.mktemp("voices") / "corpus", num_speakers=6, num_utterances=3)
    return load_corpus(folder)


@pytest.fixture(scope="module")
def trials(voices):
    rows = voices.remove_columns("audio").to_pandas()
    pairs = rows.merge(rows, how="cross", suffixes=("_1", "_2"))
    pairs = pairs[pairs["file_name_1"] < pairs["file_name_2"]]
    return pd.DataFrame(
        {
            "corpus": "made-up",
            "file_1": pairs["file_name_1"],
            "file_2": pairs["file_name_2"],
            "speaker_1": pairs["speaker_id_1"],
            "speaker_2": pairs["speaker_id_2"],
            "is_same": pairs["speaker_id_1"] == pairs["speaker_id_2"],
            "same_gender": pairs["gender_1"] == pairs["gender_2"],
        }
    ).reset_index(drop=True)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "checkpoint"
    make_model(remove_band_means=True).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def measured(checkpoint, trials, voices, tmp_path_factory):
    out = tmp_path_factory.mktemp("results")
    return benchmark.measure_speaker_verification(
        checkpoint, trials, voices, name="made_up", corpus="made-up", split="test",
        resemblyzer=FarFetchedJudge(), known_speakers=["somebody else"], cache=out / "cache",
    )  # fmt: skip


def test_the_row_says_what_was_measured(measured, checkpoint, trials):
    row, items = measured
    assert row["dataset"]["num_items"] == len(trials) == len(items)
    assert (row["dataset"]["num_recordings"], row["dataset"]["num_speakers"]) == (16, 6)
    assert row["checkpoint_sha256"] == file_sha256(checkpoint / "model.safetensors")
    assert row["model"]["parameters"] == make_model().num_parameters()
    assert (row["task"], row["primary_metric"]) == ("speaker-verification", "eer")
    assert row["conditions"]["group_by"] == "speaker_id, on both sides of a trial"
    assert "far-fetched 1.0" in row["conditions"]["judges"]
    assert row["conditions"]["audit"] == {"num_known": 1, "num_shared_groups": 0}
    assert {name: entry["kind"] for name, entry in row["baselines"].items()} == {
        "constant_score": "no_input", "mfcc_statistics": "simple", "resemblyzer": "peer",
    }  # fmt: skip
    json.dumps(row, allow_nan=False)


def measure(items, column="score"):
    return load_metric("equal_error_rate").compute(
        predictions=items[column].tolist(), references=items["is_same"].astype(int).tolist()
    )


def test_the_trials_give_the_metrics_again(measured):
    row, items = measured
    for column, entry in {"score": row, **{f"{name}.score": entry for name, entry in row["baselines"].items()}}.items():
        expected = measure(items, column)
        for metric in ("eer", "min_dcf"):
            assert entry["metrics"][metric]["value"] == pytest.approx(expected[metric])
    difference = row["baselines"]["resemblyzer"]["difference"]["eer"]
    ours, theirs = (entry["metrics"]["eer"] for entry in (row, row["baselines"]["resemblyzer"]))
    assert difference["value"] == pytest.approx(ours["value"] - theirs["value"])
    assert ours["low"] <= ours["value"] <= ours["high"]
    own = items[(items["speaker_1"] == "speaker2") | (items["speaker_2"] == "speaker2")]
    expected = measure(own)
    assert row["groups"]["speaker2"] == {"eer": expected["eer"], "min_dcf": expected["min_dcf"], "n": len(own)}
    assert row["same_gender"]["score"] == measure(items[items["is_same"] | items["same_gender"]])["eer"]


def test_scores_are_cosines_of_lone_recordings(measured, checkpoint, voices):
    _, items = measured
    judge, place = benchmark.SpeakerEncoderJudge(checkpoint), {name: i for i, name in enumerate(voices["file_name"])}
    for index in (0, 40, 70):
        embeddings = [
            judge(benchmark.decode(voices[place[items[column][index]]], SAMPLING_RATE)[0])["embedding"]
            for column in ("file_1", "file_2")
        ]
        assert items["score"][index] == pytest.approx(float(embeddings[0] @ embeddings[1]), abs=1e-5)


def test_what_the_numbers_do_not_show_is_said(measured):
    row, _ = measured
    # The sixth has one recording, so no trial of its own.
    assert "cannot tell about a population from 5 speakers" in row["claims"]
    assert row["baselines"]["constant_score"]["metrics"]["eer"]["value"] == 0.5
    assert row["baselines"]["resemblyzer"]["metrics"]["eer"]["value"] < row["metrics"]["eer"]["value"]
    assert any("a baseline that is Resemblyzer's encoder" in claim for claim in row["claims"])
    text = benchmark.format_row(row)
    assert "strangers share the gender" in text
    assert "speaker4" in text  # so few speakers are shown one by one


def made_up_scores(num_speakers, spread, seed=0):
    """Trials of which the system tells all apart and the baseline `resemblyzer` by chance, or the other way round."""
    generator = np.random.default_rng(seed)
    first = generator.integers(num_speakers, size=400)
    is_same = np.arange(400) % 2 == 0
    second = np.where(is_same, first, (first + generator.integers(1, num_speakers, 400)) % num_speakers)
    good, chance = is_same + 0.3 * generator.normal(size=400), generator.normal(size=400)
    return pd.DataFrame(
        {
            "item_id": np.arange(400).astype(str), "file_1": "1-2-1.ogg", "file_2": "1-2-2.ogg",
            "speaker_1": first.astype(str), "speaker_2": second.astype(str),
            "is_same": is_same, "same_gender": is_same | (generator.random(400) < 0.5),
            "score": good if spread else chance, "resemblyzer.score": chance if spread else good,
            "constant_score.score": 0.0,
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("num_speakers", "is_good", "beaten"), [(20, True, True), (6, True, None), (20, False, False), (6, False, False)]
)
def test_a_baseline_is_beaten_only_where_enough_speakers_show_it(num_speakers, is_good, beaten):
    summary = summarize_trials(made_up_scores(num_speakers, is_good))
    assert summary["baselines"]["resemblyzer"]["beaten"] is beaten
    claims = " ".join(summary["claims"])
    assert ("worse than a baseline that is Resemblyzer's" in claims) == (not is_good)
    assert ("NOT BETTER THAN HEARING NOTHING" in claims) == (beaten is False)
    assert ("cannot tell from 6 speakers whether this is better" in claims) == (beaten is None)


def test_only_speakers_with_trials_of_their_own_count_as_voices():
    trials = made_up_scores(20, True)
    trials = trials[~trials["is_same"] | (trials["speaker_1"].astype(int) < 6)]
    summary = summarize_trials(trials)
    assert summary["metrics"]["eer"]["num_groups"] == 6
    assert "cannot tell about a population from 6 speakers" in summary["claims"]
    assert summary["baselines"]["resemblyzer"]["beaten"] is None


def test_p_is_corrected_over_baselines_and_rows():
    rows = [summarize_trials(made_up_scores(20, True, seed)) for seed in range(2)]
    uncorrected = [entry["difference"]["eer"]["p_value"] for row in rows for entry in row["baselines"].values()]
    assert rows[0]["baselines"]["resemblyzer"]["difference"]["eer"]["p_holm"] == pytest.approx(2 * min(uncorrected))
    correct_for_comparisons(rows)
    assert rows[0]["baselines"]["resemblyzer"]["difference"]["eer"]["p_holm"] == pytest.approx(4 * min(uncorrected))
    rows[0]["baselines"]["resemblyzer"]["difference"]["eer"]["p_value"] = 0.02
    correct_for_comparisons(rows)
    assert rows[0]["baselines"]["resemblyzer"]["beaten"] is True  # the last of four is not multiplied
    rows[0]["baselines"]["constant_score"]["difference"]["eer"]["p_value"] = 0.03
    correct_for_comparisons(rows)
    assert rows[0]["baselines"]["resemblyzer"]["difference"]["eer"]["p_holm"] == pytest.approx(0.04)
    assert rows[0]["baselines"]["constant_score"]["difference"]["eer"]["p_holm"] == pytest.approx(0.04)


def test_trials_within_one_chapter_are_told():
    trials = made_up_scores(20, True)
    claims = " ".join(summarize_trials(trials)["claims"])
    assert "100 % of the same-speaker trials are within one chapter" in claims
    assert summarize_trials(trials.assign(file_2="1-3-2.ogg"))["same_chapter_share"] == 0
    unknown = summarize_trials(trials.assign(file_2="a.wav", file_1="b.wav"))
    assert unknown["same_chapter_share"] is None
    assert not any("chapter" in claim for claim in unknown["claims"])


def test_known_voices_and_hopeless_trials_are_refused(checkpoint, trials, voices, tmp_path):
    options = {"name": "bad", "corpus": "made-up", "split": "test"}
    with pytest.raises(ValueError, match=r"has 1 of those measured, e.g. 'speaker3'"):
        benchmark.measure_speaker_verification(checkpoint, trials, voices, known_speakers=["speaker3"], **options)
    same = trials[trials["is_same"]]
    with pytest.raises(ValueError, match="must hold both 1"):
        benchmark.measure_speaker_verification(checkpoint, same, voices, cache=tmp_path / "cache", **options)


def test_command_corrects_over_corpora_and_says_that_training_is_not_given(
    checkpoint, trials, voices, tmp_path, monkeypatch, capsys
):
    both = pd.concat([trials.assign(corpus=corpus) for corpus in ("an4", "emodb4")])
    monkeypatch.setattr(benchmark, "load_speaker_trials", lambda side: both)
    arguments = [str(checkpoint), "--without-resemblyzer", "--out", str(tmp_path)]
    benchmark.main(arguments, load=lambda side, corpora: voices)
    rows = [json.loads((tmp_path / f"speaker_verification_{name}.json").read_text()) for name in ("an4", "emodb4")]
    differences = [entry["difference"]["eer"] for row in rows for entry in row["baselines"].values()]
    smallest = min(entry["p_value"] for entry in differences)
    assert min(entry["p_holm"] for entry in differences) == pytest.approx(4 * smallest)
    assert all(row["conditions"]["audit"] is None and TRAINING_UNKNOWN in row["claims"] for row in rows)
    assert TRAINING_UNKNOWN in capsys.readouterr().out
    assert pd.read_parquet(tmp_path / "speaker_verification_an4_items.parquet")["score"].notna().all()


def test_mfcc_statistics_leave_the_level_out_and_are_standardised():
    generator = np.random.default_rng(0)
    waveform = 0.1 * generator.standard_normal(16_000).astype(np.float32)
    quiet, loud = (MfccStatistics()(gain * waveform)["embedding"] for gain in (0.5, 2.0))
    assert quiet.shape == (38,)
    np.testing.assert_allclose(quiet, loud, atol=1e-3)
    vectors = standardize(generator.normal(3, 2, size=(50, 4)))
    np.testing.assert_allclose(vectors.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(vectors.std(axis=0), 1)
