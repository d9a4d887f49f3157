"""Exporting: every format recognises as the original does, at any length, and what does not is not written."""

import json
import re
import resource
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from clean_process import run_python
from safetensors import safe_open
from tiny_conformer import make_batch, make_model
from tone_corpus import SAMPLING_RATE, write_tone_corpus
from tone_recogniser import train_tone_recogniser
from transformers import AutoModelForCTC, AutoProcessor

from antiphon.eval import speed_rounds
from antiphon.eval.benchmark_recognition import benchmark_recognition
from antiphon.eval.conditions import file_sha256
from antiphon.eval.recognition_memory import measure_memory
from antiphon.eval.selection import select_split
from antiphon.modeling import ExportedConfig, ExportedForCTC
from antiphon.processing.corpora import load_corpus
from antiphon.train_scripts import export
from antiphon.train_scripts.export_formats import FORMATS, _trace, write_frozen
from antiphon.train_scripts.export_int8 import Int8Linear, quantize_linear_layers

pytest.importorskip("onnxscript", reason="needs onnxscript: pip install antiphon[export]")

GRAPHS = ["torch_export", "onnx", "onnx_int8", "torch_int8"]
FLOAT32 = ["frozen", "torch_export", "onnx"]
# Its activations have one scale for a whole batch, so that what stands beside an item moves it a little.
COARSE_IN_BATCHES = "onnx_int8"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return write_tone_corpus(tmp_path_factory.mktemp("data") / "tones")


@pytest.fixture(scope="module")
def checkpoint(corpus, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "checkpoint"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # more threads than that slow so small a model down
    try:
        train_tone_recogniser(corpus, folder)
    finally:
        torch.set_num_threads(threads)
    return folder


def quick(monkeypatch) -> None:
    """No pauses between what is timed, and memory measured in this process, where its figures mean nothing."""
    monkeypatch.setattr(speed_rounds, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(export, "measure_memory_apart", measure_memory)


def run_export(checkpoint: Path, folder: Path, corpus: Path, *formats: str) -> int:
    measured = ["--corpus", str(corpus), "--split", "all", "--rounds", "1", "--timed-items", "2"]
    return export.main([str(checkpoint), "--to", str(folder), *measured, "--formats", *formats])


@pytest.fixture(scope="module")
def exported(checkpoint, corpus, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("exports") / "exported"
    with pytest.MonkeyPatch.context() as monkeypatch:
        quick(monkeypatch)
        assert run_export(checkpoint, folder, corpus, *FORMATS) == 0
    return folder


@pytest.fixture(scope="module")
def original(checkpoint) -> torch.nn.Module:
    return AutoModelForCTC.from_pretrained(checkpoint).eval()


@pytest.fixture(scope="module")
def load(exported):
    """Loads a format once for all tests."""
    loaded = {}

    def load(name: str) -> torch.nn.Module:
        if name not in loaded:
            loaded[name] = AutoModelForCTC.from_pretrained(exported / name).eval()
        return loaded[name]

    return load


# ---------------------------------------------------------------- what is written


def test_each_format_is_a_folder_with_its_measurements(exported, checkpoint, corpus):
    assert sorted(path.name for path in exported.iterdir()) == sorted([*FORMATS, "export.json"])
    report = json.loads((exported / "export.json").read_text())
    assert report["conditions"]["checkpoint_sha256"] == file_sha256(checkpoint / "model.safetensors")
    assert report["conditions"]["num_clips"] == 24
    for name in FORMATS:
        entry = json.loads((exported / name / "export.json").read_text())
        assert report["formats"][name] == {"written": True} | {key: entry[key] for key in entry if key != "conditions"}
        assert entry["parity"]["wer_original"] == 0.0  # it has learned this corpus, so that transcripts mean something
        assert abs(entry["parity"]["wer_change"]) <= entry["conditions"]["max_wer_change"]
        assert entry["speed"][name]["real_time_factor"] > 0
        assert entry["memory"][name]["peak_bytes"] > 0
        on_disk = {path.name: file_sha256(path) for path in (exported / name).iterdir() if path.name != "export.json"}
        assert entry["files"] == on_disk
    table = export.format_report(report).splitlines()
    assert [line.split(" | ")[0].strip("| ") for line in table[2:]] == ["original", *FORMATS]


def test_frozen_checkpoints_hold_nothing_that_only_training_needs(exported, checkpoint):
    for name, dtype in (("frozen", "F32"), ("frozen_bfloat16", "BF16")):
        config = json.loads((exported / name / "config.json").read_text())
        assert (config["apply_spec_augment"], config["hidden_dropout"]) == (False, 0.0)
        with safe_open(exported / name / "model.safetensors", "pt") as weights:
            assert {weights.get_slice(key).get_dtype() for key in weights.keys()} == {dtype}  # noqa: SIM118
        assert AutoModelForCTC.from_pretrained(exported / name).dtype == torch.float32
    whole, half = ((exported / name / "model.safetensors").stat().st_size for name in ("frozen", "frozen_bfloat16"))
    assert half < 0.7 * whole


# ---------------------------------------------------------------- what it computes


def features_of(lengths: list[int], seed: int = 0) -> dict[str, torch.Tensor]:
    batch = make_batch(lengths, [1] * len(lengths), num_mel_bins=16, seed=seed)
    return {name: batch[name] for name in ("input_features", "attention_mask")}


@pytest.mark.parametrize("name", FLOAT32)
@pytest.mark.parametrize("lengths", [[1], [2], [3], [57], [201, 7], [64, 64, 5], list(range(90, 10, -10))], ids=len)
def test_float_formats_equal_the_original_at_any_size(load, original, name, lengths):
    batch = features_of(lengths)
    with torch.inference_mode():
        expected, found = original(**batch), load(name)(**batch)
    assert torch.equal(found.attention_mask, expected.attention_mask)
    real = expected.attention_mask.bool()
    torch.testing.assert_close(found.logits[real], expected.logits[real], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", GRAPHS)
def test_a_padded_item_equals_the_lone_item(load, name):
    lengths = [83, 40, 9, 1]
    batch, model = features_of(lengths), load(name)
    together = model(**batch)
    for index, length in enumerate(lengths):
        alone = model(input_features=batch["input_features"][index : index + 1, :length])
        frames = alone.logits.shape[1]
        assert together.attention_mask[index].sum() == frames == alone.attention_mask.sum() == -(-length // 2)
        tolerance = 0.2 * alone.logits.abs().max() if name == COARSE_IN_BATCHES else 1e-4
        torch.testing.assert_close(together.logits[index, :frames], alone.logits[0], atol=float(tolerance), rtol=0)


@pytest.mark.parametrize(
    "changes", [{"chunk_frames": 4, "left_chunks": 2, "causal_convolutions": True}], ids=["chunks"]
)
def test_a_model_that_hears_in_chunks_is_traced_with_its_mask(changes):
    model = make_model(**changes)
    traced = _trace(model).module()
    batch = make_batch((131, 60), (1, 1))
    with torch.inference_mode():
        expected = model(input_features=batch["input_features"], attention_mask=batch["attention_mask"])
        logits, mask = traced(batch["input_features"], batch["attention_mask"])
    real = expected.attention_mask.bool()
    assert torch.equal(mask, expected.attention_mask)
    torch.testing.assert_close(logits[real], expected.logits[real])


def test_linear_layers_in_8_bits_are_near_and_see_each_frame_alone():
    torch.manual_seed(0)
    linear = torch.nn.Linear(48, 20)
    quantized = Int8Linear(linear)
    frames = torch.randn(3, 7, 48) * torch.logspace(-3, 3, 7)[:, None]
    with torch.no_grad():
        expected, found = linear(frames) - linear.bias, quantized(frames) - linear.bias
    # Half a step of each of 48 weights and inputs, were all errors to add up, is far above this.
    assert ((found - expected).norm(dim=-1) < 0.02 * expected.norm(dim=-1)).all()
    torch.testing.assert_close(quantized(frames[1:2, 3:4]), quantized(frames)[1:2, 3:4])
    torch.testing.assert_close(quantized(torch.zeros(2, 48)), linear.bias.detach().expand(2, -1))
    assert quantized.weight.dtype == torch.int8


def test_all_linear_layers_but_the_one_read_by_its_parent_become_8_bits():
    model = quantize_linear_layers(make_model())
    left = [name for name, module in model.named_modules() if type(module) is torch.nn.Linear]
    assert left == ["encoder.subsampling.first"]


# ---------------------------------------------------------------- the gate


def broken(model: torch.nn.Module, folder: Path) -> None:
    """Exports a model whose head prefers one symbol."""
    with torch.no_grad():
        model.head.bias[3] += 8.0
        write_frozen(model, folder)
        model.head.bias[3] -= 8.0


def without_numbers(model: torch.nn.Module, folder: Path) -> None:
    with torch.no_grad():
        model.head.bias[3] += float("nan")
        write_frozen(model, folder)
        model.head.bias[3] = 0.0


def without_space(model: torch.nn.Module, folder: Path) -> None:
    """Meets a limit on the size of files, as a full disk is met, after some of them are written."""
    (folder / "half.bin").write_bytes(b"half")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        write_frozen(model, folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (broken, r"GateError: WER changes by \+\d\.\d+, more than 0\.002"),
        (without_numbers, "a score is not a number"),
        (without_space, "too large|File size|Error"),
    ],
    ids=["broken", "nan", "disk"],
)
def test_a_format_that_fails_leaves_nothing_and_the_others_are_written(
    checkpoint, corpus, tmp_path, monkeypatch, capsys, write, reason
):
    quick(monkeypatch)
    monkeypatch.setitem(FORMATS, "torch_export", replace(FORMATS["torch_export"], write=write))
    assert run_export(checkpoint, tmp_path / "out", corpus, "torch_export", "frozen") == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["export.json", "frozen"]
    report = json.loads((tmp_path / "out" / "export.json").read_text())["formats"]
    assert (report["torch_export"]["written"], report["frozen"]["written"]) == (False, True)
    output = capsys.readouterr()
    assert "torch_export: nothing was written" in output.err
    assert "torch_export: NOT WRITTEN" in output.out
    assert re.search(reason, report["torch_export"]["reason"])
    if write is broken:
        assert "The largest difference is in audio/" in output.err
        assert "the original writes '" in output.err
        assert "the export '" in output.err


def test_log_probabilities_are_bounded_where_no_word_changes(checkpoint, corpus, tmp_path, monkeypatch, capsys):
    def slightly_off(model, folder):
        with torch.no_grad():
            model.head.bias[3] += 0.05
            write_frozen(model, folder)
            model.head.bias[3] -= 0.05

    quick(monkeypatch)
    monkeypatch.setitem(FORMATS, "frozen", replace(FORMATS["frozen"], write=slightly_off))
    assert run_export(checkpoint, tmp_path / "out", corpus, "frozen") == 1
    assert "a log-probability differs by 0.0" in capsys.readouterr().err


KILLED = """
import signal
import sys
from dataclasses import replace
from antiphon.train_scripts import export
from antiphon.train_scripts.export_formats import FORMATS

def hang(model, folder):
    FORMATS["frozen_bfloat16"].write(model, folder)
    print("half way", flush=True)
    time.sleep(600)

FORMATS["frozen"] = replace(FORMATS["frozen"], write=hang)
export.main(sys.argv[1:])
"""


def test_a_killed_export_leaves_no_folder_of_a_format(checkpoint, corpus, tmp_path):
    command = [sys.executable, "-c", KILLED, str(checkpoint), "--to", str(tmp_path / "out"), "--corpus", str(corpus)]
    command += ["--formats", "frozen", "--rounds", "1", "--timed-items", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert "half way\n" in process.stdout  # reads up to there
        process.send_signal(signal.SIGKILL)
    assert [path.name[:8] for path in (tmp_path / "out").iterdir()] == [".frozen-"]


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda checkpoint, out: out.mkdir() or (out / "mine.txt").touch(), "is not an empty folder"),
        (lambda checkpoint, out: (checkpoint / "model.safetensors").unlink(), r"holds no model\.safetensors"),
    ],
    ids=["taken", "no weights"],
)
def test_what_cannot_be_exported_is_told_in_one_sentence(checkpoint, corpus, tmp_path, capsys, prepare, message):
    copied, out = tmp_path / "copied", tmp_path / "out"
    shutil.copytree(checkpoint, copied)
    prepare(copied, out)
    assert run_export(copied, out, corpus, "frozen") == 1
    error = capsys.readouterr().err
    assert error.startswith("export: error: ")
    assert re.search(message, error)


# ---------------------------------------------------------------- loading


def test_an_exchanged_file_is_not_loaded(exported, tmp_path):
    shutil.copytree(exported / "onnx", tmp_path / "onnx")
    with open(tmp_path / "onnx" / "model.onnx", "r+b") as file:
        file.seek(1000)
        file.write(b"\x00\x01")
    with pytest.raises(ValueError, match="damaged or was exchanged; export the model again"):
        AutoModelForCTC.from_pretrained(tmp_path / "onnx")


def test_an_exported_model_cannot_be_cast_or_made_of_a_configuration(exported):
    with pytest.raises(ValueError, match="`dtype` cannot be chosen for an exported model"):
        AutoModelForCTC.from_pretrained(exported / "onnx", dtype=torch.bfloat16)
    with pytest.raises(ValueError, match="load it with from_pretrained"):
        ExportedForCTC(ExportedConfig())
    with pytest.raises(Exception, match="must be the name of a file beside the configuration"):
        ExportedConfig(model_file="../elsewhere.onnx")


USE = """
import json
import numpy as np
import torch
from transformers import AutoModelForCTC, AutoProcessor

waveform = np.load("waveform.npy")
texts = {}
for name in json.load(open("formats.json")):
    processor = AutoProcessor.from_pretrained(name, trust_remote_code=True)
    model = AutoModelForCTC.from_pretrained(name, trust_remote_code=True)
    outputs = model(**processor(audio=waveform, sampling_rate=processor.sampling_rate))
    texts[name] = processor.decode_logits(outputs.logits.detach(), outputs.attention_mask)[0]["text"]
print(json.dumps(texts))
"""


def test_every_format_works_without_antiphon(exported, corpus, tmp_path):
    rows = load_corpus(str(corpus))
    waveform, rate = soundfile.read(rows[5]["audio"]["path"], dtype="float32")
    assert rate == SAMPLING_RATE
    for name in FORMATS:
        shutil.copytree(exported / name, tmp_path / name)
    np.save(tmp_path / "waveform.npy", waveform)
    (tmp_path / "formats.json").write_text(json.dumps(list(FORMATS)))
    texts = json.loads(run_python(USE, tmp_path).splitlines()[-1])
    assert texts == dict.fromkeys(FORMATS, rows[5]["text"])


def test_the_benchmark_measures_an_exported_folder_and_says_so(exported, checkpoint, corpus, tmp_path):
    test = select_split(load_corpus(str(corpus)), "test")
    row = benchmark_recognition(exported / "onnx", test, name="tones", corpus="tones", out=tmp_path)
    assert row["metrics"]["wer"]["value"] == 0.0
    assert row["checkpoint_sha256"] == file_sha256(exported / "onnx" / "model.onnx")
    assert row["conditions"]["exported"] == {
        "format": "onnx",
        "original_sha256": file_sha256(checkpoint / "model.safetensors"),
    }
    assert row["model"]["bytes"] == (exported / "onnx" / "model.onnx").stat().st_size
    assert row["model"]["parameters"] == AutoModelForCTC.from_pretrained(checkpoint).num_parameters()
    assert AutoProcessor.from_pretrained(exported / "onnx").sampling_rate == SAMPLING_RATE
