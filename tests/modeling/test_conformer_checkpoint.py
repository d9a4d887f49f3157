"""Saved checkpoints: the same output where Antiphon is not installed, through the Auto classes and the pipeline."""

import json

import numpy as np
import pytest
import torch
from clean_process import run_python
from tiny_conformer import make_batch, make_model

from antiphon.modeling import ConformerForCTC
from antiphon.processing import CharacterTokenizer, ConformerProcessor, LogMelFeatureExtractor

WAVEFORM_SAMPLES = 4567


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A folder that holds a model and its processor, and what the model says to one waveform."""
    folder = tmp_path_factory.mktemp("checkpoint")
    tokenizer = CharacterTokenizer.from_corpus(["one two three four"])
    extractor = LogMelFeatureExtractor(feature_size=40, sampling_rate=8000, hop_length=80, win_length=200, n_fft=256)
    processor = ConformerProcessor(extractor, tokenizer)
    model = make_model(vocab_size=len(tokenizer))
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    waveform = np.random.default_rng(0).standard_normal(WAVEFORM_SAMPLES).astype(np.float32) / 10
    np.save(folder / "waveform.npy", waveform)
    with torch.inference_mode():
        logits = model(**processor(audio=waveform, sampling_rate=8000)).logits
    np.save(folder / "logits.npy", logits.numpy())
    (folder / "text.json").write_text(json.dumps(processor.decode_logits(logits)))
    return folder


USE = """
import json
import numpy as np
import torch
from transformers import AutoModelForCTC, AutoProcessor

model = AutoModelForCTC.from_pretrained({folder!r}, trust_remote_code={trust}).eval()
processor = AutoProcessor.from_pretrained({folder!r}, trust_remote_code={trust})
inputs = processor(audio=np.load({folder!r} + "/waveform.npy"), sampling_rate=8000)
with torch.inference_mode():
    outputs = model(**inputs)
print(type(model).__module__)
assert not outputs.logits.isnan().any()
np.testing.assert_allclose(outputs.logits.numpy(), np.load({folder!r} + "/logits.npy"), rtol=1e-5, atol=1e-6)
assert processor.decode_logits(outputs.logits) == json.load(open({folder!r} + "/text.json"))
"""


def test_loads_where_antiphon_is_not_installed(checkpoint, tmp_path):
    out = run_python(USE.format(folder=str(checkpoint), trust=True), tmp_path)
    assert out.startswith("transformers_modules")


def test_loads_without_remote_code_where_it_is(checkpoint, tmp_path):
    code = "import antiphon.modeling\n" + USE.format(folder=str(checkpoint), trust=False)
    out = run_python(code, tmp_path, with_antiphon=True)
    assert out.startswith("antiphon.modeling")


def test_remote_code_is_refused_unless_trusted(checkpoint, tmp_path):
    code = f"""
from transformers import AutoModelForCTC
try:
    AutoModelForCTC.from_pretrained({str(checkpoint)!r}, trust_remote_code=False)
except ValueError as error:
    print(error)
"""
    assert "trust_remote_code" in run_python(code, tmp_path)


def test_pipeline_transcribes_where_antiphon_is_not_installed(checkpoint, tmp_path):
    code = f"""
import json
import numpy as np
from transformers import pipeline

recognise = pipeline("automatic-speech-recognition", model={str(checkpoint)!r}, trust_remote_code=True, device="cpu")
waveform = np.load({str(checkpoint)!r} + "/waveform.npy")
text = recognise({{"raw": waveform, "sampling_rate": 8000}})["text"]
print(json.dumps(text))
"""
    [expected] = json.loads((checkpoint / "text.json").read_text())
    text = json.loads(run_python(code, tmp_path))
    assert expected["text"]
    assert " ".join(text.split()) == expected["text"]


def test_save_and_load_gives_the_same_output(checkpoint):
    model = ConformerForCTC.from_pretrained(checkpoint).eval()
    batch = make_batch(vocab_size=model.config.vocab_size)
    expected = make_model(vocab_size=model.config.vocab_size)(**batch)
    torch.testing.assert_close(model(**batch).logits, expected.logits, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_nothing_is_left_uninitialised_after_loading(checkpoint, dtype):
    model, info = ConformerForCTC.from_pretrained(checkpoint, dtype=dtype, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    assert not [name for name, tensor in tensors.items() if tensor.is_meta or not tensor.isfinite().all()]
    # The one buffer that no checkpoint holds; bfloat16 would turn late frames by wrong angles.
    positions = model.encoder.positions
    assert positions.frequencies.dtype == torch.float32
    torch.testing.assert_close(positions.frequencies, 10_000.0 ** -(torch.arange(0, 12, 2) / 12))


def test_encoder_of_a_recogniser_keeps_its_weights(checkpoint):
    from antiphon.modeling import ConformerModel

    recogniser = ConformerForCTC.from_pretrained(checkpoint)
    encoder = ConformerModel.from_pretrained(checkpoint)
    for name, parameter in recogniser.encoder.named_parameters():
        assert torch.equal(encoder.get_parameter(name), parameter), name


def test_checkpoint_holds_every_file_that_it_needs(checkpoint):
    files = {path.name for path in checkpoint.iterdir()}
    assert {"config.json", "model.safetensors", "processor_config.json", "tokenizer.json"} <= files
    assert {"modeling_conformer.py", "layers_attention.py", "losses_ctc.py", "processing_conformer.py"} <= files
    auto_map = json.loads((checkpoint / "config.json").read_text())["auto_map"]
    assert auto_map["AutoModelForCTC"] == "modeling_conformer.ConformerForCTC"
