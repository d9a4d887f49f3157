"""Saved piano models: the same judgements where Antiphon is not installed, through the Auto classes."""

import json

import pytest
import torch
from clean_process import run_python
from safetensors.torch import save_file
from tiny_piano import SAMPLING_RATE, write_checkpoint, write_recording

from antiphon.modeling import PianoAssessmentModel
from antiphon.modeling.modeling_piano_assessment import INPUT_SETS
from antiphon.processing import PianoFeatureExtractor
from antiphon.processing.audio_midi import write_midi
from antiphon.processing.corpora.synthetic_piano import synthetic_performance
from antiphon.processing.percepts import PERCEPTS

SIZE = {"percept_names": list(PERCEPTS), "num_tree_members": 2, "num_trees": 3, "tree_depth": 2, "residual": "passage"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A folder with a model, its extractor, a performance, and what the model says to it."""
    folder = tmp_path_factory.mktemp("checkpoint")
    model, extractor = write_checkpoint(folder, **SIZE)
    generator = torch.Generator().manual_seed(0)
    for trees in (model.trees, model.passage_trees):
        trees.features.random_(len(extractor.descriptor_names), generator=generator)
        trees.leaves.normal_(generator=generator)
    model.stack_weights.fill_(0.5)
    model.set_intervals(("audio", "midi", "score"), torch.full((len(PERCEPTS),), 1.5))
    model.save_pretrained(folder)
    performance, score, _ = synthetic_performance(0, num_bars=2)
    write_midi(performance, folder / "performance.mid")
    write_midi(score, folder / "score.mid")
    waveform = write_recording(folder / "performance.wav", performance)
    inputs = extractor(
        audio=waveform, midi=folder / "performance.mid", score=folder / "score.mid", sampling_rate=SAMPLING_RATE
    )
    with torch.inference_mode():
        outputs = model(**inputs)
    assert outputs.low.isfinite().all()
    save_file({name: outputs[name].contiguous() for name in ("percepts", "stds", "low", "high")}, folder / "said.st")
    return folder


USE = """
import soundfile
import torch
from safetensors.torch import load_file
from transformers import AutoFeatureExtractor, AutoModel

folder = {folder!r}
model = AutoModel.from_pretrained(folder, trust_remote_code={trust}).eval()
extractor = AutoFeatureExtractor.from_pretrained(folder, trust_remote_code={trust})
waveform, sampling_rate = soundfile.read(folder + "/performance.wav", dtype="float32")
inputs = extractor(
    audio=waveform, midi=folder + "/performance.mid", score=folder + "/score.mid", sampling_rate=sampling_rate
)
with torch.inference_mode():
    outputs = model(**inputs)
for name, expected in load_file(folder + "/said.st").items():
    torch.testing.assert_close(outputs[name], expected, rtol=1e-4, atol=1e-5)
print(type(model).__module__, type(extractor).__module__)
"""


def test_loads_where_antiphon_is_not_installed(checkpoint, tmp_path):
    model, extractor = run_python(USE.format(folder=str(checkpoint), trust=True), tmp_path).split()
    assert model.startswith("transformers_modules")
    assert extractor.startswith("transformers_modules")


def test_loads_without_remote_code_where_it_is(checkpoint, tmp_path):
    code = "import antiphon.modeling\n" + USE.format(folder=str(checkpoint), trust=False)
    model, extractor = run_python(code, tmp_path, with_antiphon=True).split()
    assert model == "antiphon.modeling.modeling_piano_assessment"
    assert extractor == "antiphon.processing.feature_extraction_piano"


def test_checkpoint_holds_every_file_that_it_needs(checkpoint):
    files = {path.name for path in checkpoint.iterdir()}
    assert {"config.json", "model.safetensors", "preprocessor_config.json"} <= files
    assert {"modeling_piano_assessment.py", "layers_lattice.py", "layers_trees.py", "losses_percepts.py"} <= files
    assert {"feature_extraction_piano.py", "audio_midi.py", "midi_alignment.py", "audio_descriptors.py"} <= files
    auto_map = json.loads((checkpoint / "config.json").read_text())["auto_map"]
    assert auto_map["AutoModel"] == "modeling_piano_assessment.PianoAssessmentModel"
    stored = json.loads((checkpoint / "preprocessor_config.json").read_text())
    assert stored["auto_map"]["AutoFeatureExtractor"] == "feature_extraction_piano.PianoFeatureExtractor"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_nothing_is_left_uninitialised_after_loading(checkpoint, dtype):
    model, info = PianoAssessmentModel.from_pretrained(checkpoint, dtype=dtype, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    scales = tensors.pop("interval_scales")
    assert not [name for name, tensor in tensors.items() if tensor.is_meta or not tensor.isfinite().all()]
    # NaN says that there are no intervals for these inputs.
    known = INPUT_SETS.index(("audio", "midi", "score"))
    assert scales.isnan().all(1).tolist() == [index != known for index in range(len(INPUT_SETS))]
    # The one buffer that no checkpoint holds.
    for lattice in model.lattices.values():
        torch.testing.assert_close(lattice.positions.frequencies, 1000.0 ** -torch.tensor([0.0, 0.5]))


def test_trees_survive_half_precision_untouched_where_they_must(checkpoint):
    """Which descriptor a node asks for is an integer, whatever the precision of the rest."""
    exact = PianoAssessmentModel.from_pretrained(checkpoint)
    half = PianoAssessmentModel.from_pretrained(checkpoint, dtype=torch.bfloat16)
    assert half.trees.features.dtype == torch.int32
    assert torch.equal(half.trees.features, exact.trees.features)


def test_the_extractor_reads_what_the_model_was_built_for(checkpoint):
    model = PianoAssessmentModel.from_pretrained(checkpoint)
    extractor = PianoFeatureExtractor.from_pretrained(checkpoint)
    assert model.config.descriptor_names == extractor.descriptor_names
    assert model.config.num_pitch_bins == extractor.num_pitch_bins
