"""Speed and memory beside peers: who takes part, what is measured, and what is said about it."""

import json

import numpy as np
import pytest
import torch
from tiny_checkpoint import SAMPLING_RATE, write_checkpoint
from tone_corpus import write_tone_corpus

from antiphon.eval import benchmark_recognition_speed as benchmark
from antiphon.eval import speed_rounds
from antiphon.eval.conditions import file_sha256
from antiphon.eval.peer_models import PEERS, wav2vec2_like
from antiphon.eval.recognition_contestants import CHECKPOINT, load_contestant
from antiphon.eval.recognition_memory import measure_memory_apart
from antiphon.eval.recognition_speed import measure_speed
from antiphon.modeling import ConformerConfig


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    write_checkpoint(folder)
    return folder


class Clocked:
    """A contestant that takes no time, but moves the clock by as much as it is told per sample."""

    num_parameters = 0

    def __init__(self, clock, factor: float):
        self.clock, self.factor = clock, factor

    def prepare(self, waveform):
        return {"waveform": waveform}

    def run(self, inputs):
        self.clock[0] += 0.5 * self.factor * len(inputs["waveform"])

    def transcribe(self, waveform):
        self.clock[0] += self.factor * len(waveform)
        return ""


def test_speed_is_time_over_audio_and_contestants_meet_in_each_round(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(speed_rounds.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(speed_rounds, "PAUSE_SECONDS", 0.0)
    contestants = {"ours": Clocked(clock, 0.01), "theirs": Clocked(clock, 0.03)}
    rows = measure_speed(contestants, [np.zeros(10), np.zeros(30)], sampling_rate=4, rounds=3)
    # 40 samples are 10 s and take 0.4 s.
    assert rows["ours"]["real_time_factor"] == pytest.approx(0.04)
    assert rows["theirs"]["real_time_factor"] == pytest.approx(0.12)
    assert rows["theirs"]["model_real_time_factor"] == pytest.approx(0.06)
    assert rows["theirs"]["real_time_factor_range"] == pytest.approx([0.12, 0.12])
    assert (rows["ours"]["ratio"], rows["theirs"]["ratio"]) == pytest.approx((1.0, 3.0))


@pytest.mark.parametrize("kind", PEERS)
def test_peers_have_the_size_and_the_frames_of_the_checkpoint(checkpoint, kind):
    ours, theirs = (load_contestant(each, checkpoint) for each in (CHECKPOINT, kind))
    waveform = np.random.default_rng(0).standard_normal(2 * SAMPLING_RATE).astype(np.float32) / 10
    frames, peer_frames = (each.run(each.prepare(waveform)).shape[1] for each in (ours, theirs))
    assert abs(frames - peer_frames) <= 2  # one of them pads no edge
    config = (
        theirs.model.config.get_text_config()
        if kind == "Wav2Vec2ConformerForCTC"
        else theirs.model.config.encoder_config
    )
    assert (config.hidden_size, config.num_hidden_layers) == (32, 2)
    assert isinstance(theirs.transcribe(waveform), str)


@pytest.mark.parametrize("frame_samples", [80, 160, 320, 640])
def test_a_waveform_model_has_the_frames_asked_for(frame_samples):
    config = ConformerConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    model = wav2vec2_like(config, frame_samples).eval()
    with torch.inference_mode():
        frames = [model(torch.randn(1, samples)).logits.shape[1] for samples in (16_000, 16_000 + 5 * frame_samples)]
    assert frames[1] - frames[0] == 5


def test_a_waveform_model_with_impossible_frames_is_refused():
    with pytest.raises(ValueError, match="`frame_samples` is 100 but the strides here make 10, 20, 40"):
        wav2vec2_like(ConformerConfig(), 100)


def test_memory_counts_what_a_recogniser_takes(checkpoint):
    """A longer clip takes more, by at least its features and samples."""
    generator = np.random.default_rng(0)
    short, long = (generator.standard_normal(seconds * SAMPLING_RATE).astype(np.float32) for seconds in (1, 120))
    low, high = (measure_memory_apart(CHECKPOINT, checkpoint, [clip]) for clip in (short, long))
    assert 0 < low["growth_bytes"] < low["peak_bytes"]
    assert high["growth_bytes"] > low["growth_bytes"] + 120 * SAMPLING_RATE * 4


def test_exports_of_other_weights_do_not_take_part(checkpoint, tmp_path):
    def place(name: str, digest: str):
        (tmp_path / name).mkdir()
        report = {"format": name, "conditions": {"checkpoint_sha256": digest}}
        (tmp_path / name / "export.json").write_text(json.dumps(report))

    place("torch_export", "0" * 64)
    with pytest.raises(ValueError, match="holds nothing exported from"):
        benchmark.find_contestants(checkpoint, tmp_path)
    place("onnx", file_sha256(checkpoint / "model.safetensors"))
    found = benchmark.find_contestants(checkpoint, tmp_path)
    assert list(found)[:2] == ["original", "onnx"]
    assert set(PEERS) <= set(found)
    assert found["onnx"] == (CHECKPOINT, tmp_path / "onnx")


def test_the_benchmark_writes_a_table_and_its_conditions(checkpoint, tmp_path, monkeypatch, capsys):
    corpus = write_tone_corpus(tmp_path / "tones", num_utterances=8)
    monkeypatch.setattr(speed_rounds, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(benchmark, "measure_memory_apart", lambda *spec: {"peak_bytes": 2**20, "growth_bytes": 2**20})
    out = tmp_path / "speed.json"
    measured = ["--corpus", str(corpus), "--split", "all", "--items", "2", "--rounds", "1", "--out", str(out)]
    benchmark.main([str(checkpoint), *measured])
    written, printed = json.loads(out.read_text()), capsys.readouterr().out
    assert written["conditions"]["num_items"] == 2
    assert written["conditions"]["checkpoint_sha256"] == file_sha256(checkpoint / "model.safetensors")
    systems = written["systems"]
    assert systems["original"]["wer"] > 0.5  # random weights
    assert systems["ParakeetForCTC"]["wer"] is None
    assert "| ParakeetForCTC, random weights |" in printed
    assert f"WER, {written['conditions']['num_words']} words" in printed
