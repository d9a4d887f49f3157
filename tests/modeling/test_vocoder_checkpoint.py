"""A saved vocoder: the same waveform where Antiphon is not installed, and its feature extractor beside it."""

import numpy as np
import torch
from clean_process import run_python
from tiny_vocoder import make_vocoder, voice

from antiphon.modeling import VocoderModel
from antiphon.train_scripts.train_vocoder import save_checkpoint

USE = """
import numpy as np
import torch
from transformers import AutoFeatureExtractor, AutoModel

model = AutoModel.from_pretrained({folder!r}, trust_remote_code=True).eval()
extractor = AutoFeatureExtractor.from_pretrained({folder!r}, trust_remote_code=True)
features = extractor(np.load({folder!r} + "/voice.npy"), sampling_rate=16000, return_tensors="pt")["input_features"]
with torch.no_grad():
    made = model(features).waveform
np.testing.assert_allclose(made.numpy(), np.load({folder!r} + "/made.npy"), rtol=0, atol=1e-5)
print(type(model).__module__)
"""


def test_loads_where_antiphon_is_not_installed(tmp_path):
    model, waveform = make_vocoder(), voice(8_000)
    save_checkpoint(model, tmp_path / "checkpoint")
    np.save(tmp_path / "checkpoint" / "voice.npy", waveform[0].numpy())
    with torch.no_grad():
        np.save(tmp_path / "checkpoint" / "made.npy", model(model.mel(waveform)).waveform.numpy())
    out = run_python(USE.format(folder=str(tmp_path / "checkpoint")), tmp_path)
    assert out.startswith("transformers_modules")


def test_nothing_is_left_uninitialised_after_loading(tmp_path):
    model = make_vocoder()
    model.save_pretrained(tmp_path)
    loaded, info = VocoderModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    expected = dict(model.named_parameters()) | dict(model.named_buffers())
    found = dict(loaded.named_parameters()) | dict(loaded.named_buffers())
    assert set(found) == set(expected)
    for name, tensor in found.items():
        assert torch.equal(tensor, expected[name]), name
