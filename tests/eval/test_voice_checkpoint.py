"""A converter's folder through the benchmark: its own row, the baselines made of its parts, its speed."""

import json

import numpy as np
import pytest
import torch
from small_voices import JUDGES, LoudnessRecogniser, SpectrumJudge, small_pairs, small_voices
from tiny_voices import make_converter, make_whole_converter

from antiphon.eval import benchmark_voice_conversion as benchmark
from antiphon.eval.conditions import file_sha256
from antiphon.eval.result_rows import read_row
from antiphon.eval.voice_items import Conversions
from antiphon.eval.voice_judges import SpeakerEncoderJudge, checkpoint_name
from antiphon.eval.voice_panel import Judges, known_judges
from antiphon.eval.voice_parts import part_baselines
from antiphon.eval.voice_speed import measure_speed, measure_stream
from antiphon.eval.voice_systems import UnchangedInput


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "checkpoint"
    make_converter().save_pretrained(folder)
    heard = [{"name": "vowels", "speakers": ["anna", "somebody else"]}]
    (folder.parent / "training_data.json").write_text(json.dumps(heard))
    return folder


def test_a_checkpoint_is_measured_beside_what_its_parts_can_do(checkpoint, monkeypatch, tmp_path):
    pytest.importorskip("pyworld", reason=JUDGES)
    pairs = small_pairs().head(2)
    monkeypatch.setattr(benchmark, "load_conversions", lambda *which: Conversions(pairs, small_voices()))
    monkeypatch.setattr(
        benchmark,
        "load_judges",
        lambda *folders, with_quality: Judges(SpectrumJudge(), LoudnessRecogniser(), cache=tmp_path / "cache"),
    )
    monkeypatch.setattr(benchmark, "measure_speed_apart", lambda folder: {"peak_bytes": 1})
    names = ("unchanged_input", "nearest_neighbours", "griffin_lim", "target_copy_synthesis")
    options = {"name": "vowels", "out": tmp_path, "baselines": names, "training_seed": 4}
    row = benchmark.measure_checkpoint(checkpoint, **options)
    assert list(row["baselines"]) == list(names)
    assert row["checkpoint_sha256"] == file_sha256(checkpoint / "model.safetensors")
    assert row["model"]["parameters"] == sum(map(torch.numel, make_converter().state_dict().values()))
    assert row["seeds"] == [4]
    assert row["speed"]["apart"] == {"peak_bytes": 1}
    assert row["baselines"]["target_copy_synthesis"]["beaten"] is None
    tested = {*pairs["source_speaker"], *pairs["target_speaker"]}
    assert row["conditions"]["audit"] == {"num_shared_groups": len(tested & {"anna"}), "num_train_speakers": 2}
    (checkpoint.parent / "training_data.json").unlink()
    row = benchmark.measure_checkpoint(checkpoint, **options)
    assert row["conditions"]["audit"] is None
    assert any("training data not given" in claim for claim in row["claims"])


def test_the_converter_keeps_its_vocoder_beside_griffin_lim():
    model = make_converter().eval()
    vocoder = model.vocoder
    conversion = Conversions(small_pairs(), small_voices())[0]
    converted = part_baselines(model)["griffin_lim"].convert(conversion.source, conversion.reference)
    assert converted.shape == conversion.source.shape
    assert model.vocoder is vocoder
    own = model.convert(torch.from_numpy(conversion.source), torch.from_numpy(conversion.reference))
    assert not torch.allclose(own, torch.from_numpy(converted), atol=1e-3)


def test_a_judge_that_is_part_of_the_converter_is_known(tmp_path):
    model = make_converter()
    model.speaker_encoder.save_pretrained(tmp_path / "own")
    fresh = make_converter().speaker_encoder
    torch.manual_seed(5)
    for parameter in fresh.parameters():
        torch.nn.init.normal_(parameter)
    fresh.save_pretrained(tmp_path / "other")
    known, other = (
        Judges(SpectrumJudge(), LoudnessRecogniser(), own_speaker=SpeakerEncoderJudge(tmp_path / name))
        for name in ("own", "other")
    )
    assert known_judges(model, known) == ["own_speaker"]
    assert known_judges(model, other) == []
    assert known.own_speaker.name != other.own_speaker.name


def test_a_change_of_any_file_is_another_judge(tmp_path):
    make_converter().speaker_encoder.save_pretrained(tmp_path)
    name = checkpoint_name(tmp_path)
    (tmp_path / "config.json").write_text((tmp_path / "config.json").read_text() + " ")
    assert checkpoint_name(tmp_path) != name


def test_a_row_is_written_before_speed_is_measured(checkpoint, monkeypatch, tmp_path):
    pytest.importorskip("pyworld", reason=JUDGES)

    def fail(folder):
        raise RuntimeError("no memory")

    monkeypatch.setattr(benchmark, "measure_speed_apart", fail)
    conversions = Conversions(small_pairs().head(1), small_voices())
    judges = Judges(SpectrumJudge(), LoudnessRecogniser(), cache=tmp_path / "cache")
    with pytest.raises(RuntimeError, match="no memory"):
        benchmark.benchmark_voice_conversion(
            UnchangedInput(), conversions, {}, judges, name="x", split="all", out=tmp_path, checkpoint=checkpoint
        )
    assert read_row(tmp_path / "x.json")["dataset"]["num_items"] == 1


def test_speed_is_measured(checkpoint):
    measured = measure_speed(checkpoint, 0.6)
    assert measured["real_time_factor"] > 0
    assert measured["peak_bytes"] >= measured["loaded_bytes"] > 0
    assert measured["seconds"] == 0.6
    stream = measured["stream"]
    assert stream["real_time_factor"] > 0
    assert stream["work_seconds_95"] <= stream["real_time_factor"] * 0.6
    assert stream["algorithmic_latency_seconds"] == pytest.approx(make_converter().latency_seconds)


def test_what_needs_the_whole_source_has_no_stream():
    assert measure_stream(make_whole_converter(), np.zeros(8000, np.float32), np.zeros(8000, np.float32)) is None
