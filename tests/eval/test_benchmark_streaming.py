"""The benchmark of streams: every text equals that of the whole, delays as computed by hand, one table."""

import json

import numpy as np
import pytest
import torch
from tone_corpus import SAMPLING_RATE, write_tone_corpus

from antiphon.eval import benchmark_streaming as benchmark
from antiphon.eval.streaming_measures import Step, stream_recording, word_delays
from antiphon.modeling import ConformerConfig, ConformerForCTC
from antiphon.processing import CharacterTokenizer, ConformerProcessor, LogMelFeatureExtractor


def write_streamer(folder, **changes):
    extractor = LogMelFeatureExtractor(
        feature_size=40, sampling_rate=SAMPLING_RATE, hop_length=80, win_length=200, n_fft=256, normalize="none"
    )
    processor = ConformerProcessor(extractor, CharacterTokenizer.from_corpus(["aeio aeio"]))
    torch.manual_seed(0)
    options = {
        "vocab_size": len(processor.tokenizer), "num_mel_bins": 40, "hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": 2, "num_attention_heads": 2, "subsampling_channels": 8, "frequency_mask_bins": 8,
        "causal_convolutions": True, "training_chunk_frames": [2, None],
    }  # fmt: skip
    ConformerForCTC(ConformerConfig(**(options | changes))).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_tone_corpus(tmp_path_factory.mktemp("tones") / "tones")


def test_one_row_for_each_setting_and_every_text_as_offline(corpus, tmp_path, capsys):
    checkpoint = write_streamer(tmp_path / "run" / "checkpoint")
    benchmark.main(
        [str(checkpoint), "--corpus", str(corpus), "--split", "all", "--chunks", "2", "5", "full", "--left-chunks",
         "1", "all"]
    )  # fmt: skip
    result = json.loads((tmp_path / "run" / "results" / "streaming_tones_all.json").read_text())
    settings = [(setting["chunk_frames"], setting["left_chunks"]) for setting in result["settings"]]
    assert settings == [(None, None), (2, 1), (5, 1), (2, None), (5, None)]
    # 8 and 20 feature frames of 10 ms, less one, and half a transform of 256 samples
    assert [setting["latency_seconds"] for setting in result["settings"][1:3]] == pytest.approx([0.086, 0.206])
    assert all(setting["texts_unlike_offline"] == 0 for setting in result["settings"][1:])
    assert all(setting["real_time_factor"] > 0 for setting in result["settings"])
    assert result["settings"][0]["wer_minus_full"]["value"] == 0
    assert result["conditions"]["num_items"] == 24
    table = (tmp_path / "run" / "results" / "streaming_tones_all.md").read_text()
    assert table in capsys.readouterr().out
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert len(rows) == 7
    assert len({row.count(" |") for row in rows[2:]} | {rows[0].count(" |")}) == 1
    assert "| 5 | 1 | 206 |" in table


def test_a_text_that_differs_is_counted(corpus, tmp_path, monkeypatch):
    checkpoint = write_streamer(tmp_path / "checkpoint")
    streamed = iter(range(100))

    def stream(processor, model, waveform):
        steps, text = stream_recording(processor, model, waveform)
        return steps, text + " extra" if next(streamed) == 3 else text

    monkeypatch.setattr(benchmark, "stream_recording", stream)
    test = benchmark.select_split(benchmark.load_corpus(str(corpus)), "test")
    result = benchmark.benchmark_streaming(checkpoint, test, corpus="tones", split="test", chunks=[2])
    assert result["settings"][1]["texts_unlike_offline"] == 1
    assert result["settings"][1]["examples_unlike_offline"][0][0].endswith("extra")


def test_delays_are_those_counted_by_hand():
    steps = [
        Step(1.0, 0.1, ["one"], True),
        Step(2.0, 0.2, ["one", "too"], True),
        Step(3.0, 0.3, ["one", "two", "three"], True),
        Step(3.5, 0.1, ["one", "two", "three", "x"], False),
    ]
    heard = [
        {"word": word, "end_seconds": end} for word, end in (("one", 0.8), ("two", 1.9), ("and", 2.0), ("three", 3.2))
    ]
    assert word_delays(steps, heard) == pytest.approx([0.3, 1.4, 0.1])


def test_every_chunk_is_fed_as_soon_as_it_can_be_heard(tmp_path):
    write_streamer(tmp_path)
    processor = ConformerProcessor.from_pretrained(tmp_path)
    model = ConformerForCTC.from_pretrained(tmp_path, chunk_frames=5).eval()
    waveform = np.random.default_rng(0).standard_normal(9000).astype(np.float32)
    steps, _ = stream_recording(processor, model, waveform)
    # 19 hops and half a transform, then 20 hops each; what is left makes no whole chunk.
    assert [step.heard_seconds for step in steps] == pytest.approx(
        [sample / SAMPLING_RATE for sample in (1648, 3248, 4848, 6448, 8048, 9000, 9000)]
    )
    assert [step.is_chunk for step in steps] == [True] * 5 + [False] * 2


def test_a_model_that_cannot_stream_is_refused(corpus, tmp_path):
    write_streamer(tmp_path, causal_convolutions=False, training_chunk_frames=None)
    with pytest.raises(ValueError, match="`causal_convolutions` is False"):
        benchmark.main([str(tmp_path), "--corpus", str(corpus), "--split", "test"])
