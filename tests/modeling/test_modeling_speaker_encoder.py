"""The speaker encoder: padding, level, gradients, learning, checkpoints."""

import json

import numpy as np
import pytest
import torch
from clean_process import run_python
from tiny_speaker_encoder import LENGTHS, make_batch, make_config, make_model

from antiphon.modeling import SpeakerEncoderConfig, SpeakerEncoderModel
from antiphon.modeling.layers_time_delay import AttentiveStatisticsPooling
from antiphon.processing import LogMelFeatureExtractor


@pytest.mark.parametrize(
    ("config", "parameters"), [(make_config(), 70_000), (SpeakerEncoderConfig(), 1_400_000)], ids=["tiny", "default"]
)
def test_sizes_are_as_named(config, parameters):
    with torch.device("meta"):
        assert SpeakerEncoderModel(config).num_parameters() == pytest.approx(parameters, rel=0.2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": 66}, "`hidden_size` is 66 and `res2_scale` 4"),
        ({"res2_scale": 1}, "`res2_scale` 1, but"),
        ({"dilations": []}, r"`dilations` is \[\]"),
        ({"time_stride": 0}, "`time_stride` is 0"),
        ({"frequency_mask_bins": 81}, "`frequency_mask_bins` is 81"),
    ],
)
def test_what_cannot_work_is_refused(changes, message):
    with pytest.raises(Exception, match=message):
        make_config(**changes)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_embeddings_have_unit_norm_and_a_padded_item_equals_the_lone_one(stride):
    model, batch = make_model(time_stride=stride), make_batch()
    with torch.no_grad():
        embeddings = model(**batch).speaker_embeddings
        assert embeddings.shape == (len(LENGTHS), 32)
        torch.testing.assert_close(embeddings.norm(dim=-1), torch.ones(len(LENGTHS)))
        for item, length in enumerate(LENGTHS):
            alone = model(batch["input_features"][item : item + 1, :length]).speaker_embeddings[0]
            torch.testing.assert_close(embeddings[item], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("remove_band_means", [False, True])
def test_the_level_does_not_count_and_the_colouring_only_where_it_is_asked_for(remove_band_means):
    model, features = make_model(remove_band_means=remove_band_means), make_batch()["input_features"][:1]
    with torch.no_grad():
        expected, louder, coloured = (
            model(features + change).speaker_embeddings for change in (0.0, 3.0, torch.linspace(-3, 2, 80))
        )
    torch.testing.assert_close(louder, expected, rtol=1e-4, atol=1e-5)
    difference = (coloured - expected).abs().max()
    assert difference < 1e-5 if remove_band_means else difference > 0.01


def test_pooling_is_the_weighted_mean_and_deviation():
    """Against the equations of the paper, frame by frame, for one item."""
    pooling = AttentiveStatisticsPooling(make_config()).eval()
    hidden_states = torch.randn(1, 128, 9)
    with torch.no_grad():
        pooled = pooling(hidden_states, None)
        frames = hidden_states[0].T
        context = torch.cat([frames.mean(0), frames.std(0, correction=0)]).expand(9, -1)
        heard = torch.cat([frames, context], dim=1).T[None]
        weights = pooling.scores(pooling.hidden(heard).tanh())[0].T.softmax(0)
        mean = sum(weight * frame for weight, frame in zip(weights, frames))
        square = sum(weight * frame**2 for weight, frame in zip(weights, frames))
    torch.testing.assert_close(pooled[0], torch.cat([mean, (square - mean**2).sqrt()]), rtol=1e-4, atol=1e-4)


def test_every_parameter_gets_a_gradient_and_masks_act_in_training_only():
    model = make_model(apply_spec_augment=True).train()
    batch = make_batch((30, 30, 25))
    weights = torch.randn(32)
    (model(**batch).speaker_embeddings @ weights).square().sum().backward()
    without = [name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()]
    # A constant before batch normalisation or softmax over time changes nothing: rounding may leave exactly zero.
    assert [name for name in without if name != "pooling.scores.bias"] == []
    model.eval()
    torch.testing.assert_close(model(**batch).speaker_embeddings, model(**batch).speaker_embeddings)


def test_one_batch_is_learnt_by_heart():
    torch.manual_seed(0)
    model, batch = make_model().train(), make_batch((40,) * 6)
    targets = torch.nn.functional.normalize(torch.randn(6, 32), dim=-1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(60):
        loss = (model(**batch).speaker_embeddings - targets).square().sum(-1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A folder with a model and its feature extractor, a waveform and its embedding."""
    folder = tmp_path_factory.mktemp("checkpoint")
    model = make_model()
    extractor = LogMelFeatureExtractor(win_length=640, n_fft=640, mel_floor=1e-6, normalize="none")
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    waveform = np.random.default_rng(0).standard_normal(9876).astype(np.float32) / 10
    with torch.inference_mode():
        embedding = model(**extractor(waveform, sampling_rate=16_000, return_tensors="pt")).speaker_embeddings
    np.save(folder / "waveform.npy", waveform)
    np.save(folder / "embedding.npy", embedding.numpy())
    return folder


USE = """
import numpy as np
import torch
from transformers import AutoFeatureExtractor, AutoModel

model = AutoModel.from_pretrained({folder!r}, trust_remote_code={trust}).eval()
extractor = AutoFeatureExtractor.from_pretrained({folder!r}, trust_remote_code={trust})
inputs = extractor(np.load({folder!r} + "/waveform.npy"), sampling_rate=16000, return_tensors="pt")
with torch.inference_mode():
    embedding = model(**inputs).speaker_embeddings
print(type(model).__module__)
np.testing.assert_allclose(embedding.numpy(), np.load({folder!r} + "/embedding.npy"), rtol=1e-5, atol=1e-6)
"""


def test_loads_where_antiphon_is_not_installed(checkpoint, tmp_path):
    out = run_python(USE.format(folder=str(checkpoint), trust=True), tmp_path)
    assert out.startswith("transformers_modules")
    files = {path.name for path in checkpoint.iterdir()}
    assert {"modeling_speaker_encoder.py", "layers_time_delay.py", "feature_extraction_log_mel.py"} <= files
    assert json.loads((checkpoint / "config.json").read_text())["model_type"] == "antiphon_speaker_encoder"


def test_loads_without_remote_code_where_it_is(checkpoint, tmp_path):
    code = "import antiphon.modeling\n" + USE.format(folder=str(checkpoint), trust=False)
    assert run_python(code, tmp_path, with_antiphon=True).startswith("antiphon.modeling")


def test_save_and_load_gives_the_same_output_and_leaves_nothing_uninitialised(checkpoint):
    model, info = SpeakerEncoderModel.from_pretrained(checkpoint, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    assert not [name for name, tensor in tensors.items() if tensor.is_meta or not tensor.isfinite().all()]
    batch, expected = make_batch(), make_model()
    embeddings = [each.eval()(**batch).speaker_embeddings for each in (model, expected)]
    torch.testing.assert_close(*embeddings, rtol=0, atol=0)
