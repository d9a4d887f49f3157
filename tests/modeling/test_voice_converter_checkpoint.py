"""Saved voice converters: one folder with all parts and their code, which converts where Antiphon is not installed."""

import json

import pytest
import soundfile
import torch
from clean_process import run_python
from safetensors.torch import save_file
from tiny_voices import SAMPLING_RATE, make_converter, voice

from antiphon.modeling import VoiceConverterModel


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A folder with a converter, a source, a reference, a prompt, and what the model makes of them."""
    folder = tmp_path_factory.mktemp("checkpoint")
    model = make_converter(decoder="flow")
    model.save_pretrained(folder)
    source, reference = 0.5 * voice(110.0, 1.1), voice(200.0, 1.0, 900.0, seed=4)
    for name, waveform in (("source", source), ("reference", reference)):
        soundfile.write(folder / f"{name}.wav", waveform.numpy(), SAMPLING_RATE, subtype="FLOAT")
    model.make_prompt(reference, "a test").save(folder / "voice.safetensors")
    save_file({"converted": model.convert(source, reference)}, folder / "said.st")
    return folder


USE = """
import soundfile
import torch
from safetensors.torch import load_file
from transformers import AutoModel

folder = {folder!r}
model = AutoModel.from_pretrained(folder, trust_remote_code={trust}).eval()
source, reference = (torch.from_numpy(soundfile.read(f"{{folder}}/{{name}}.wav", dtype="float32")[0])
                     for name in ("source", "reference"))
expected = load_file(folder + "/said.st")["converted"]
prompt = model.make_prompt(reference, "a test")
saved = type(prompt).load(folder + "/voice.safetensors")
stream = model.stream(saved, model.make_prompt(source, "a test"))
streamed = torch.cat([*(stream.push(piece) for piece in source.split(1000)), stream.finish()])
for converted in (model.convert(source, reference), model.convert(source, saved), streamed):
    torch.testing.assert_close(converted, expected, rtol=0, atol=1e-2 * float(expected.abs().max()))
print(type(model).__module__, type(prompt).__module__)
"""


def test_converts_where_antiphon_is_not_installed(checkpoint, tmp_path):
    model, prompt = run_python(USE.format(folder=str(checkpoint), trust=True), tmp_path).split()
    assert model.startswith("transformers_modules")
    assert prompt.startswith("transformers_modules")


def test_loads_without_remote_code_where_it_is(checkpoint, tmp_path):
    code = "import antiphon.modeling\n" + USE.format(folder=str(checkpoint), trust=False)
    model, prompt = run_python(code, tmp_path, with_antiphon=True).split()
    assert model == "antiphon.modeling.modeling_voice_converter"
    assert prompt == "antiphon.modeling.voice_prompt"


def test_checkpoint_holds_every_file_that_it_needs(checkpoint):
    files = {path.name for path in checkpoint.iterdir()}
    assert {"config.json", "model.safetensors", "modeling_voice_converter.py", "voice_prompt.py"} <= files
    for part in ("content_encoder", "speaker_encoder", "vocoder"):
        assert {f"modeling_{part}.py", f"configuration_{part}.py"} <= files
    config = json.loads((checkpoint / "config.json").read_text())
    assert config["auto_map"]["AutoModel"] == "modeling_voice_converter.VoiceConverterModel"
    assert config["vocoder_config"]["model_type"] == "antiphon_vocoder"


@pytest.mark.parametrize("is_loaded", [True, False])
def test_converts_in_half_the_precision(checkpoint, tmp_path, is_loaded):
    """Saved and loaded, or brought to it in memory: the conversion is the same but for rounding."""
    expected = make_converter(decoder="flow")
    model = make_converter(decoder="flow").to(torch.bfloat16)
    if is_loaded:
        model.save_pretrained(tmp_path)
        model = VoiceConverterModel.from_pretrained(tmp_path, dtype=torch.bfloat16).eval()
    assert model.decoder.head.weight.dtype == torch.bfloat16
    source, reference = 0.5 * voice(110.0, 1.1), voice(200.0, 1.0, 900.0, seed=4)
    levels = []
    for converter in (model, expected):
        prompt = converter.make_prompt(reference, "a test")
        stream = converter.stream(prompt, converter.make_prompt(source, "a test"))
        streamed = torch.cat([*(stream.push(piece) for piece in source.split(1000)), stream.finish()])
        converted = converter.convert(source, prompt, strength=0.5)
        assert converted.dtype == streamed.dtype == torch.float32
        assert converted.shape == streamed.shape == source.shape
        levels.append(expected.mel(torch.stack([converted, streamed])))
    assert (levels[0] - levels[1]).abs().mean() < 0.2
    assert prompt.encoder_sha256 == model.speaker_encoder_sha256


def test_nothing_is_left_uninitialised_after_loading(checkpoint):
    model, info = VoiceConverterModel.from_pretrained(checkpoint, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    expected = make_converter(decoder="flow")
    for tensors in ("named_parameters", "named_buffers"):
        found = dict(getattr(model, tensors)())
        for name, tensor in getattr(expected, tensors)():
            assert torch.equal(found[name], tensor), name
    assert not any(parameter.requires_grad for parameter in model.vocoder.parameters())
