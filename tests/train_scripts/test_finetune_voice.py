"""Fitting a converter to one voice: it gets nearer to it, nothing but the decoder moves, and mistakes are told."""

import json

import numpy as np
import pytest
import soundfile
import torch
from small_voices import JUDGES, LoudnessRecogniser, SpectrumJudge, small_pairs, small_voices
from tiny_voices import SAMPLING_RATE, make_converter, voice

from antiphon.eval.result_rows import read_row
from antiphon.eval.voice_items import Conversions
from antiphon.eval.voice_panel import Judges
from antiphon.modeling import VoiceConverterModel, VoicePrompt
from antiphon.train_scripts import finetune_voice as script
from antiphon.train_scripts import measure_finetuning as measurement


@pytest.fixture
def files(tmp_path):
    make_converter().save_pretrained(tmp_path / "converter")
    soundfile.write(tmp_path / "voice.wav", voice(180.0, 2.2).numpy(), SAMPLING_RATE)
    return tmp_path


def arguments(files, *more):
    given = [str(files / "converter"), str(files / "voice.wav"), "--to", str(files / "fitted"), "--consent", "a test"]
    return [*given, "--steps", "12", "--learning-rate", "3e-3", *more]


def test_the_decoder_alone_learns_the_voice(files):
    script.main(arguments(files))
    errors = json.loads((files / "fitted" / "finetuning.json").read_text())["mel_errors"]
    assert len(errors) == 12
    assert sum(errors[-3:]) < 0.95 * sum(errors[:3])
    before, after = (VoiceConverterModel.from_pretrained(files / name) for name in ("converter", "fitted"))
    moved = {
        name.partition(".")[0]
        for name, tensor in after.state_dict().items()
        if not torch.equal(tensor, before.state_dict()[name])
    }
    assert moved == {"decoder"}
    prompt = VoicePrompt.load(files / "fitted" / "voice.safetensors")
    assert (prompt.consent, prompt.origin) == ("a test", "voice.wav")
    source = voice(110.0, 0.8)
    assert not torch.equal(after.eval().convert(source, prompt), before.eval().convert(source, prompt))


def test_the_same_seed_gives_the_same_weights():
    prompt = make_converter().make_prompt(voice(180.0, 2.2), "a test")
    fitted = [make_converter(decoder="flow") for _ in range(2)]
    for model in fitted:
        script.finetune(model, prompt, steps=4, learning_rate=1e-3, seed=5)
    for name, tensor in fitted[0].state_dict().items():
        assert torch.equal(tensor, fitted[1].state_dict()[name]), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--steps", "1"], "`--steps` is 1 but must be at least 2"),
        (["--consent", " "], "`consent` is empty"),
    ],
)
def test_mistakes_are_told(files, change, message):
    with pytest.raises(SystemExit, match=message):
        script.main(arguments(files, *change))
    assert not (files / "fitted").exists()


def test_a_missing_recording_is_told(files):
    given = arguments(files)
    given[1] = str(files / "nothing.wav")
    with pytest.raises(SystemExit, match=r"nothing\.wav"):
        script.main(given)


def test_a_measurement_fits_once_for_each_reference(monkeypatch):
    fits = []
    monkeypatch.setattr(measurement, "finetune", lambda model, prompt, **options: fits.append(options))
    model = make_converter()
    fitted = measurement.FittedConverter(model, steps=3)
    source, reference, other = (voice(pitch, 0.8).numpy() for pitch in (110.0, 180.0, 200.0))
    first = fitted.convert(source, reference)
    fitted.convert(source[::-1].copy(), reference)
    assert np.array_equal(first, fitted.convert(source, reference))
    assert fits == [{"steps": 3}]
    fitted.convert(source, other)
    assert len(fits) == 2


def test_fitting_is_measured_beside_the_converter_as_it_was(monkeypatch, tmp_path):
    pytest.importorskip("pyworld", reason=JUDGES)
    checkpoint = tmp_path / "run" / "checkpoint"
    make_converter().save_pretrained(checkpoint)
    pairs = small_pairs().head(2)
    asked = []
    monkeypatch.setattr(
        measurement, "load_conversions", lambda *which: asked.append(which) or Conversions(pairs, small_voices())
    )
    monkeypatch.setattr(
        measurement,
        "load_judges",
        lambda with_quality: Judges(SpectrumJudge(), LoudnessRecogniser(), cache=tmp_path / "cache"),
    )
    measurement.main([str(checkpoint), "--steps", "2", "--learning-rate", "1e-2", "--quick"])
    assert asked == [(True, None, "validation")]
    [path] = (tmp_path / "run" / "related_results").glob("*.json")
    row = read_row(path)
    assert set(row["baselines"]) == {"without_finetuning", "unchanged_input"}
    before = row["baselines"]["without_finetuning"]["metrics"]["source_similarity"]["value"]
    assert row["metrics"]["source_similarity"]["value"] != before
    assert (row["system"], row["dataset"]["split"]) == ("2_steps_at_0.01", "validation quick")
