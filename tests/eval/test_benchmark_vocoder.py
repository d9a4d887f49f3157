"""The benchmark of vocoders: one row from a tiny checkpoint, its arithmetic, and what it refuses."""

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("pesq", reason="PESQ comes with the extra `judges`")
pytest.importorskip("pystoi", reason="STOI comes with the extra `judges`")

import soundfile
from datasets import Audio, Dataset
from tiny_vocoder import make_vocoder, voice

from antiphon.eval import benchmark_vocoder as script
from antiphon.eval.training_speakers import TRAINING_UNKNOWN
from antiphon.eval.vocoder_scores import summarize_items
from antiphon.train_scripts.train_vocoder import save_checkpoint


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder, rows = tmp_path_factory.mktemp("voices"), []
    for index in range(4):
        path = folder / f"{index}.wav"
        syllables = np.clip(np.sin(np.arange(16_000) / 1_200 + index), 0, None)
        soundfile.write(path, voice(16_000, pitch=100.0 + 40 * index)[0].numpy() * syllables, 16_000)
        rows.append({"file_name": f"voices/{index}.wav", "audio": str(path), "speaker_id": f"speaker{index // 2}"})
    columns = {"license": "CC0-1.0", "corpus": "voices"}
    dataset = Dataset.from_list([row | columns for row in rows])
    return dataset.cast_column("audio", Audio(decode=False))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "checkpoint"
    save_checkpoint(make_vocoder(), folder)
    return folder


def benchmark(checkpoint, recordings, folder, **options):
    given = {"name": "voices", "corpus": "voices", "split": "test", "out": folder, "speed_rounds": 1}
    return script.benchmark_vocoder(checkpoint, recordings, **(given | options))


def test_a_row_holds_metrics_baselines_and_speed(checkpoint, recordings, tmp_path, monkeypatch):
    monkeypatch.setattr("antiphon.eval.vocoder_speed.SECONDS", 0.5)
    row = benchmark(checkpoint, recordings, tmp_path)
    assert row["conditions"]["audit"] is None
    assert TRAINING_UNKNOWN in row["claims"]
    assert row["primary_metric"] == "pesq"
    assert row["dataset"]["num_items"] == 4
    assert row["dataset"]["num_speakers"] == 2
    assert set(row["baselines"]) == {"griffin_lim_32", "white_noise"}
    assert "cannot tell about a population from 2 speakers" in row["claims"]
    assert set(row["speed"]["beside"]) == {"VocoderModel", "SpeechT5HifiGan", "UnivNetModel"}
    assert row["speed"]["real_time_factor"] > 0
    items = pd.read_parquet(tmp_path / "voices_items.parquet")
    assert row["metrics"]["pesq"]["value"] == pytest.approx(items["pesq"].mean())
    assert items["white_noise.stoi"].mean() < items["griffin_lim_32.stoi"].mean()
    text = script.format_row(row)
    assert "griffin_lim_32" in text
    assert "UnivNetModel" in text


def test_what_falls_silent_is_the_worst_and_the_others_are_measured(checkpoint, recordings):
    extractor = script.AutoFeatureExtractor.from_pretrained(checkpoint, trust_remote_code=True)
    silent, broken = (np.full(160 * 100, value, np.float32) for value in (0.0, np.nan))
    systems = {"": lambda features: silent, "griffin_lim_32.": script.griffin_lim, "white_noise.": lambda _: broken}
    items, _ = script._measure_all(recordings.select(range(2)), systems, extractor)
    for prefix in ("", "white_noise."):
        assert items[f"{prefix}failed"].all()
        assert (items[f"{prefix}pesq"] == 1.0).all()
    assert not items["griffin_lim_32.failed"].any()
    assert (items["griffin_lim_32.stoi"] > 0.3).all()
    claims = summarize_items(items)["claims"]
    assert "2 of 2 recordings FAILED and count as the worst there is" in claims
    assert "2 of 2 recordings FAILED by the baseline white_noise and count as the worst there is" in claims
    assert not any("griffin" in claim and "FAILED" in claim for claim in claims)


def test_speakers_that_training_knows_are_refused(checkpoint, recordings, tmp_path):
    with pytest.raises(ValueError, match=r"`known_speakers` has 1 of those measured, e\.g\. 'speaker1'"):
        benchmark(checkpoint, recordings, tmp_path, known_speakers=["speaker1", "other"])


def test_no_recordings_are_refused(checkpoint, recordings, tmp_path):
    with pytest.raises(ValueError, match="`test` is empty"):
        benchmark(checkpoint, recordings.select([]), tmp_path)


def test_the_first_recordings_of_each_speaker_are_taken(recordings):
    chosen = script.first_of_each_speaker(recordings, 1)
    assert chosen["file_name"][:] == ["voices/0.wav", "voices/2.wav"]


def test_differences_are_paired_and_speakers_are_groups():
    generator = np.random.default_rng(0)
    items = pd.DataFrame({"speaker_id": np.repeat([f"speaker{index}" for index in range(12)], 3), "corpus": "voices"})
    items["griffin_lim_32.pesq"] = generator.normal(2, 0.5, 36)
    items["pesq"] = items["griffin_lim_32.pesq"] + 0.5
    for prefix in ("", "griffin_lim_32."):
        items[f"{prefix}stoi"], items[f"{prefix}mel_distance"] = 0.9, 3.0
    summary = summarize_items(items)
    entry = summary["baselines"]["griffin_lim_32"]
    assert entry["difference"]["pesq"]["value"] == pytest.approx(0.5)
    assert entry["beaten"] is True
    assert summary["claims"] == []
    assert summary["groups"]["speaker3"]["n"] == 3
