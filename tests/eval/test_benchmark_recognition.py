"""The recognition benchmark from end to end, on a tiny real checkpoint and a made-up corpus of tones."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from antiphon.eval import benchmark_recognition as benchmark
from antiphon.eval.conditions import file_sha256
from antiphon.eval.nearest_template import nearest_template_transcripts
from antiphon.eval.selection import select_split, where
from antiphon.modeling import ConformerConfig, ConformerForCTC
from antiphon.processing import CharacterTokenizer, ConformerProcessor, LogMelFeatureExtractor
from antiphon.processing.audio_io import SamplingRateError, write_audio
from antiphon.processing.corpora import SplitLeakageError, load_corpus

RATE = 8_000
WORDS = ["one", "two", "three"]
SPEAKERS = {"train": ["ann", "bea"], "test": ["cat", "dot"]}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A folder with `metadata.csv`: 12 training and 12 test items, each a different noise of a different length."""
    folder = tmp_path_factory.mktemp("data") / "tones"
    (folder / "audio").mkdir(parents=True)
    generator = np.random.default_rng(0)
    rows = []
    for split, speakers in SPEAKERS.items():
        for index in range(12):
            name = f"audio/{split}_{index}.wav"
            waveform = 0.1 * generator.standard_normal(RATE // 2 + 700 * index).astype(np.float32)
            write_audio(folder / name, waveform, RATE)
            text = "two" if split == "train" and index < 8 else WORDS[index % 3]
            rows.append(
                {
                    "file_name": name,
                    "text": text.title(),
                    "speaker_id": speakers[index % 2],
                    "duration_seconds": len(waveform) / RATE,
                    "split": split,
                    "source": "noise",
                    "license": "CC0-1.0",
                }
            )
    with open(folder / "metadata.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "checkpoint"
    tokenizer = CharacterTokenizer.from_corpus(WORDS)
    torch.manual_seed(0)
    config = ConformerConfig(
        vocab_size=len(tokenizer), num_mel_bins=16, hidden_size=16, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, subsampling_channels=8, frequency_mask_bins=4,
    )  # fmt: skip
    ConformerForCTC(config).save_pretrained(folder)
    extractor = LogMelFeatureExtractor(feature_size=16, sampling_rate=RATE, hop_length=80, win_length=200, n_fft=256)
    ConformerProcessor(extractor, tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def splits(corpus):
    data = load_corpus(str(corpus))
    return {"train": select_split(data, "train"), "test": select_split(data, "test")}


@pytest.fixture(scope="module")
def greedy(checkpoint, splits, tmp_path_factory):
    out = tmp_path_factory.mktemp("results")
    row = benchmark.benchmark_recognition(
        checkpoint, splits["test"], train=splits["train"], name="tones", corpus="tones", out=out
    )
    return row, json.loads((out / "tones.json").read_text()), pd.read_parquet(out / "tones_items.parquet")


def test_the_row_says_what_was_measured(greedy, checkpoint):
    _, row, items = greedy
    assert row["dataset"] == {
        "name": "tones",
        "license": "CC0-1.0",
        "split": "test",
        "num_items": 12,
        "num_speakers": 2,
        "hours": pytest.approx(items["duration_seconds"].sum() / 3600),
    }
    assert row["checkpoint_sha256"] == file_sha256(checkpoint / "model.safetensors")
    assert row["model"]["bytes"] == (checkpoint / "model.safetensors").stat().st_size
    assert set(row["groups"]) == set(SPEAKERS["test"])
    assert row["metrics"]["wer"]["n"] == 12
    conditions = row["conditions"]
    assert (conditions["decoding"], conditions["sampling_rate"], conditions["group_by"]) == (
        "greedy", RATE, "speaker_id",
    )  # fmt: skip
    assert conditions["text_normalizer"].startswith("CharacterTokenizer.normalize_text (")
    assert (conditions["audit"]["num_train"], conditions["audit"]["num_shared_groups"]) == (12, 0)
    assert conditions["judges"] == []
    assert row["primary_metric"] == "wer"
    assert row["speed"]["audio_seconds"] == pytest.approx(items["duration_seconds"].sum())
    assert "cannot tell about a population from 2 speakers" in row["claims"]


def test_items_give_the_metrics_again(greedy):
    _, row, items = greedy
    assert row["metrics"]["wer"]["value"] == pytest.approx(items["errors"].sum() / items["words"].sum())
    assert row["metrics"]["cer"]["value"] == pytest.approx(items["char_errors"].sum() / items["chars"].sum())
    assert row["metrics"]["accuracy"]["value"] == pytest.approx((items["reference"] == items["hypothesis"]).mean())
    assert set(items["reference"]) == set(WORDS)  # normalised: the corpus writes One, Two, Three


def test_the_baseline_is_the_constant_of_training_not_of_test(greedy):
    _, row, items = greedy
    assert set(items["best_constant_transcript.hypothesis"]) == {"two"}
    baseline = row["baselines"]["best_constant_transcript"]
    assert baseline["metrics"]["wer"]["value"] == pytest.approx(8 / 12)
    assert baseline["metrics"]["accuracy"]["value"] == pytest.approx(4 / 12)
    wer = row["metrics"]["wer"]["value"]
    assert baseline["difference"]["wer"]["value"] == pytest.approx(wer - 8 / 12)
    assert baseline["difference"]["wer"]["smallest_p_value"] == 0.5


def test_batched_transcripts_equal_those_of_lone_items(greedy, checkpoint, splits):
    _, _, items = greedy
    processor = benchmark.AutoProcessor.from_pretrained(checkpoint, trust_remote_code=True)
    model = benchmark.AutoModelForCTC.from_pretrained(checkpoint, trust_remote_code=True).eval()
    assert items["hypothesis"].nunique() > 3  # else equality would say little
    for index in (0, 5, 11):
        waveform, rate = benchmark.decode(splits["test"][index])
        inputs = processor(audio=waveform, sampling_rate=rate, return_tensors="pt")
        with torch.inference_mode():
            (alone,) = processor.decode_logits(model(**inputs).logits)
        assert items["hypothesis"][index] == processor.tokenizer.normalize_text(alone["text"])


def test_split_hash_depends_on_the_items_not_on_their_order(greedy, checkpoint, splits, tmp_path):
    row, _, _ = greedy
    shuffled = benchmark.benchmark_recognition(
        checkpoint, splits["test"].shuffle(seed=1), name="tones", corpus="tones", out=tmp_path / "a"
    )
    fewer = benchmark.benchmark_recognition(
        checkpoint, splits["test"].select(range(11)), name="tones", corpus="tones", out=tmp_path / "b"
    )
    for name in ("split_sha256", "corpus_sha256", "item_ids_sha256"):
        assert shuffled["conditions"][name] == row["conditions"][name] != fewer["conditions"][name]
    assert shuffled["metrics"]["wer"] == row["metrics"]["wer"]


def test_the_nearest_template_answers_a_training_transcript(greedy, splits):
    _, row, items = greedy
    answers = nearest_template_transcripts(
        splits["train"], [text.lower() for text in splits["train"]["text"]], splits["test"], sampling_rate=RATE
    )
    assert items["nearest_template.hypothesis"].tolist() == answers
    assert row["baselines"]["nearest_template"]["kind"] == "simple"
    assert [name for name in row["baselines"] if row["baselines"][name]["kind"] == "no_input"] == [
        "best_constant_transcript"
    ]


def test_a_training_seed_is_in_the_row_and_beside_every_item(checkpoint, splits, tmp_path):
    row = benchmark.benchmark_recognition(
        checkpoint, splits["test"], name="seeded", corpus="tones", out=tmp_path, training_seed=7
    )
    assert row["seeds"] == [7]
    assert set(pd.read_parquet(tmp_path / "seeded_items.parquet")["seed"]) == {7}


def test_without_a_training_seed_there_is_none(greedy):
    row, _, items = greedy
    assert row["seeds"] == []
    assert "seed" not in items


def test_without_training_data_only_the_empty_transcript_is_left(checkpoint, splits, tmp_path):
    row = benchmark.benchmark_recognition(checkpoint, splits["test"], name="tones", corpus="tones", out=tmp_path)
    assert {name: entry["metrics"]["wer"]["value"] for name, entry in row["baselines"].items()} == {
        "empty_transcript": 1.0
    }
    assert "hearing nothing 100.00%" in benchmark.format_row(row)
    assert (row["conditions"]["audit"], row["conditions"]["train_split_sha256"]) == (None, None)
    assert any(claim.startswith("training data not given") for claim in row["claims"])


def test_a_lexicon_admits_no_other_transcript_and_is_named(checkpoint, splits, tmp_path):
    row = benchmark.benchmark_recognition(
        checkpoint, splits["test"], name="closed", corpus="tones", out=tmp_path, lexicon=["One", "Three", "one"]
    )
    items = pd.read_parquet(tmp_path / "closed_items.parquet")
    assert set(items["hypothesis"]) <= {"one", "three"}
    assert row["conditions"]["decoding"].startswith("closed vocabulary of 2 transcripts")


def test_shared_speakers_are_refused_or_stated(checkpoint, splits, tmp_path):
    train, test = splits["train"], splits["train"].select(range(6))
    options = {"name": "known", "corpus": "tones", "out": tmp_path}
    train = train.select(range(6, 12))
    with pytest.raises(SplitLeakageError, match="ann"):
        benchmark.benchmark_recognition(checkpoint, test, train=train, **options)
    assert list(tmp_path.iterdir()) == []
    row = benchmark.benchmark_recognition(checkpoint, test, train=train, speaker_dependent=True, **options)
    assert "measures known voices: 2 of 2 test speakers are also in training" in row["claims"]


def test_what_cannot_be_measured_is_refused(checkpoint, splits, tmp_path):
    def without(column, value=None):
        test = splits["test"]
        values = [value, *test[column][1:]]
        return test.remove_columns(column).add_column(column, values, feature=test.features[column])

    options = {"name": "bad", "corpus": "tones", "out": tmp_path}
    with pytest.raises(ValueError, match="1 items without a text"):
        benchmark.benchmark_recognition(checkpoint, without("text"), **options)
    with pytest.raises(ValueError, match="item 0 has no `file_name`"):
        benchmark.benchmark_recognition(checkpoint, without("file_name"), **options)
    twice = splits["test"]["file_name"][1]
    with pytest.raises(ValueError, match="occurs more than once"):
        benchmark.benchmark_recognition(checkpoint, without("file_name", twice), **options)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_duration_is_measured(checkpoint, splits, tmp_path):
    test = splits["test"]
    unknown = test.remove_columns("duration_seconds").add_column(
        "duration_seconds", [None] * len(test), feature=test.features["duration_seconds"]
    )
    row = benchmark.benchmark_recognition(checkpoint, unknown, name="tones", corpus="tones", out=tmp_path)
    assert row["dataset"]["hours"] == pytest.approx(sum(test["duration_seconds"]) / 3600)


def test_audio_of_another_rate_is_resampled_only_when_asked(checkpoint, splits, tmp_path):
    write_audio(tmp_path / "other.wav", 0.1 * np.random.default_rng(0).standard_normal(16_000), 16_000)
    test = splits["test"].select([0]).map(lambda row: {"audio": {"bytes": None, "path": str(tmp_path / "other.wav")}})
    options = {"name": "rate", "corpus": "tones", "out": tmp_path / "out"}
    with pytest.raises(SamplingRateError, match="16000"):
        benchmark.benchmark_recognition(checkpoint, test, **options)
    row = benchmark.benchmark_recognition(checkpoint, test, resample=True, **options)
    assert row["conditions"]["resample"] is True
    assert row["dataset"]["hours"] == pytest.approx(splits["test"]["duration_seconds"][0] / 3600)


def test_rows_are_chosen_by_column(splits):
    test = splits["test"]
    assert set(where(test, ["speaker_id=cat"])["speaker_id"]) == {"cat"}
    assert set(where(test, ["speaker_id!=cat", "text=Two"])["text"]) == {"Two"}
    assert len(select_split(test, "all", ["speaker_id=dot"])) == 6
    with pytest.raises(ValueError, match=r"speaker=cat.*speaker_id"):
        where(test, ["speaker=cat"])
    with pytest.raises(ValueError, match="no row is left where speaker_id=eve"):
        where(test, ["speaker_id=eve"])


def test_command_line(checkpoint, corpus, tmp_path):
    script = Path(benchmark.__file__)
    command = [sys.executable, str(script), str(checkpoint), "--corpus", str(corpus), "--train-split", "train"]
    done = subprocess.run(
        [*command, "--where", "speaker_id=cat", "--lexicon", "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "tones_test_lexicon: items 6, speakers 1" in done.stdout
    assert "hearing nothing" in done.stdout
    row = json.loads((tmp_path / "tones_test_lexicon.json").read_text())
    assert row["dataset"]["split"] == "test speaker_id=cat"
    assert row["metrics"]["wer"]["low"] is None
    assert row["baselines"]["best_constant_transcript"]["difference"]["wer"]["smallest_p_value"] == 1.0


def test_lexicon_of_the_training_split_needs_one(checkpoint, corpus, tmp_path):
    with pytest.raises(ValueError, match="no training split is given"):
        benchmark.main([str(checkpoint), "--corpus", str(corpus), "--lexicon", "--out", str(tmp_path)])
