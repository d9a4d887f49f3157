"""Checkpoints that generate their text: transcribed, guarded against loops and measured like those with CTC."""

import json

import numpy as np
import pytest
import torch
from tiny_whisper import SAMPLING_RATE, make_model, make_processor, write_whisper
from tone_corpus import write_tone_corpus

from antiphon.eval import benchmark_recognition as benchmark
from antiphon.eval.generation import DECODING, generate_transcripts
from antiphon.eval.repetition import longest_run
from antiphon.eval.selection import select_split
from antiphon.eval.text_normalization import text_normalizer
from antiphon.modeling import ConformerConfig, ConformerForCTC
from antiphon.processing import CharacterTokenizer, ConformerProcessor, LogMelFeatureExtractor
from antiphon.processing.corpora import load_corpus


@pytest.fixture(scope="module")
def processor():
    return make_processor()


@pytest.fixture(scope="module")
def model(processor):
    """Random weights with a larger spread, so that what is heard matters; they loop on most items."""
    model = make_model(processor)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 3
    model.generation_config.language, model.generation_config.task = "en", "transcribe"
    return model


@pytest.fixture(scope="module")
def waveforms():
    generator = np.random.default_rng(0)
    return [(0.3 * generator.standard_normal(8000 + 3000 * index)).astype(np.float32) for index in range(6)]


def test_what_loops_is_decoded_again_and_loops_no_more(model, processor, waveforms):
    transcripts = generate_transcripts(model, processor, waveforms)
    looped = [transcript for transcript in transcripts if transcript.looped]
    assert looped
    for transcript in looped:
        assert longest_run(list(transcript.unguarded_text.encode()))[1] >= 8
        assert transcript.text != transcript.unguarded_text
        assert not transcript.still_loops
    for transcript in transcripts:
        if not transcript.looped:
            assert transcript.text == transcript.unguarded_text


def test_a_batch_is_transcribed_like_each_item_alone(model, processor, waveforms):
    together = generate_transcripts(model, processor, waveforms)
    assert len({transcript.text for transcript in together}) > 1, "else equality would say little"
    assert together == [generate_transcripts(model, processor, [waveform])[0] for waveform in waveforms]


def test_only_what_loops_is_decoded_again(model, processor, waveforms, monkeypatch):
    monkeypatch.setattr("antiphon.eval.generation.is_loop", lambda tokens, text: False)
    unguarded = generate_transcripts(model, processor, waveforms)
    assert all(transcript.text == transcript.unguarded_text for transcript in unguarded)
    plain = model.generate(
        **processor(audio=waveforms, sampling_rate=SAMPLING_RATE, return_tensors="pt"), do_sample=False
    )
    assert [item.text for item in unguarded] == processor.tokenizer.batch_decode(plain, skip_special_tokens=True)


def test_audio_beyond_the_window_is_refused_not_cut(model, processor):
    with pytest.raises(ValueError, match=r"lasts 2.5 s but this checkpoint hears 2 s"):
        generate_transcripts(model, processor, [np.zeros(40_000, np.float32)])


# ---------------------------------------------------------------- the benchmark


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return load_corpus(str(write_tone_corpus(tmp_path_factory.mktemp("tones") / "corpus")))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = write_whisper(tmp_path_factory.mktemp("run") / "checkpoint")
    settings = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps({**settings, "language": "en", "task": "transcribe"}))
    return folder


def measure(checkpoint, corpus, folder, **options):
    test, train = select_split(corpus, "test"), select_split(corpus, "train")
    return benchmark.benchmark_recognition(
        checkpoint, test, train=train, name="tones", corpus="tones", out=folder, resample=True, **options
    )


def test_a_generating_checkpoint_has_a_row_like_any_other(checkpoint, corpus, tmp_path):
    row = measure(checkpoint, corpus, tmp_path)
    assert row["conditions"]["decoding"] == DECODING
    assert row["conditions"]["text_normalizer"] == text_normalizer(object())[1]
    assert row["conditions"]["sampling_rate"] == SAMPLING_RATE
    assert row["model"]["parameters"] == 60_128
    assert row["repetition"] == {"items": 6, "looped": 6, "still_loop": 0, "wer_unguarded": 1.0}
    assert {"best_constant_transcript", "nearest_template"} <= set(row["baselines"])
    assert "loops: 6 of 6 items decoded again, 0 loop still; WER without that 100.00%" in benchmark.format_row(row)
    again = measure(checkpoint, corpus, tmp_path / "again")
    assert again["metrics"] == row["metrics"]


def test_rows_are_comparable_in_the_form_of_another_checkpoint(checkpoint, corpus, tmp_path):
    tokenizer = CharacterTokenizer.from_corpus(corpus["text"])
    extractor = LogMelFeatureExtractor(feature_size=16, sampling_rate=8000, hop_length=80, win_length=200, n_fft=256)
    ConformerProcessor(extractor, tokenizer).save_pretrained(tmp_path / "ctc" / "checkpoint")
    config = ConformerConfig(
        vocab_size=len(tokenizer), num_mel_bins=16, hidden_size=16, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, subsampling_channels=8,
    )  # fmt: skip
    ConformerForCTC(config).save_pretrained(tmp_path / "ctc" / "checkpoint")
    ctc = measure(tmp_path / "ctc" / "checkpoint", corpus, tmp_path / "ctc")
    whisper = measure(checkpoint, corpus, tmp_path / "whisper", text_like=tmp_path / "ctc" / "checkpoint")
    for condition in ("text_normalizer", "split_sha256", "corpus_sha256"):
        assert whisper["conditions"][condition] == ctc["conditions"][condition]
    assert "repetition" not in ctc


def test_a_closed_list_of_transcripts_is_refused(checkpoint, corpus, tmp_path):
    with pytest.raises(ValueError, match="needs a CTC checkpoint"):
        measure(checkpoint, corpus, tmp_path, lexicon=["a e", "i o"])
    assert list(tmp_path.iterdir()) == []
