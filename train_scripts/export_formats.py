"""The formats that a recogniser can be exported to, each a folder that `AutoModelForCTC.from_pretrained` loads."""

import copy
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import nn
from torch.export import Dim
from transformers.dynamic_module_utils import custom_object_save

from antiphon.eval.conditions import file_sha256
from antiphon.modeling.configuration_exported import ExportedConfig
from antiphon.modeling.modeling_exported import ExportedForCTC
from antiphon.train_scripts.export_int8 import quantize_linear_layers

# What a configuration says about training alone, and what says it that nothing of it happens.
TRAINING_ONLY = {
    "apply_spec_augment": False,
    "hidden_dropout": 0.0,
    "activation_dropout": 0.0,
    "attention_dropout": 0.0,
    "intermediate_ctc_layers": None,
}
INPUTS, OUTPUTS = ("input_features", "attention_mask"), ("logits", "output_mask")


@dataclass(frozen=True)
class ExportFormat:
    """One way to export.

    Args:
        description: What it is, for people.
        write: Called with model and folder; fills the folder with all but the processor.
        max_log_probability_difference: From the original, in any frame of real audio; None where the arithmetic is
            coarser by intent, and only the error rate is bounded.
    """

    description: str
    write: Callable[[nn.Module, Path], None]
    max_log_probability_difference: float | None = None


class RecogniserGraph(nn.Module):
    """A recogniser with the plain signature that exported graphs have: two tensors in, two tensors out."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, input_features: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        outputs = self.model(input_features=input_features, attention_mask=attention_mask)
        return outputs.logits, outputs.attention_mask


def write_frozen(model: nn.Module, folder: Path, dtype: torch.dtype = torch.float32) -> None:
    """Saves a checkpoint for recognition alone: its weights in `dtype`, nothing that only training does.

    Its configuration keeps float32, so that weights stored in bfloat16 compute in float32: the processor's features
    are float32, and a small model gains little from bfloat16 on a CPU.
    """
    frozen = _for_recognition(model)
    frozen.save_pretrained(folder, state_dict={name: value.to(dtype) for name, value in frozen.state_dict().items()})


def write_torch_export(model: nn.Module, folder: Path) -> None:
    """Traces the model with torch.export, for any batch and length."""
    _save_program(_traced(model), model, folder)


def write_torch_int8(model: nn.Module, folder: Path) -> None:
    """The same with linear layers in 8 bits."""
    _save_program(_trace(quantize_linear_layers(_for_recognition(model))), model, folder)


def write_onnx(model: nn.Module, folder: Path) -> None:
    """Translates the traced model to ONNX, for any batch and length."""
    _translated(model).save(folder / "model.onnx", external_data=False)
    _describe_graph(model, folder / "model.onnx")


def write_onnx_int8(model: nn.Module, folder: Path) -> None:
    """Quantizes the linear layers of the ONNX graph: weights of each output now, activations as they come."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory(dir=folder) as workspace:
        whole = Path(workspace) / "float32.onnx"
        _translated(model).save(whole, external_data=False)
        # The convolutions are depthwise and hold few weights; products of two activations hold none.
        quantize_dynamic(
            whole,
            folder / "model.onnx",
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
        )
    _describe_graph(model, folder / "model.onnx")


FORMATS = {
    "frozen": ExportFormat("checkpoint for recognition alone, float32", write_frozen, 1e-3),
    "frozen_bfloat16": ExportFormat(
        "the same, stored in bfloat16 and computed in float32",
        lambda model, folder: write_frozen(model, folder, torch.bfloat16),
    ),
    "torch_export": ExportFormat("torch.export, float32", write_torch_export, 1e-3),
    "onnx": ExportFormat("ONNX, float32, for onnxruntime", write_onnx, 1e-3),
    "onnx_int8": ExportFormat("ONNX, linear layers in int8 with one activation scale per batch", write_onnx_int8),
    "torch_int8": ExportFormat(
        "torch.export, linear layers in int8 with one activation scale per frame", write_torch_int8
    ),
}


def _for_recognition(model: nn.Module) -> nn.Module:
    """A copy without what only training does, on the CPU in float32."""
    frozen = copy.deepcopy(model).to("cpu", torch.float32).eval()
    for name, value in TRAINING_ONLY.items():
        if hasattr(frozen.config, name):
            setattr(frozen.config, name, value)
    return frozen


@lru_cache(maxsize=1)  # tracing takes longer than all the rest, and three formats begin with it
def _traced(model: nn.Module) -> torch.export.ExportedProgram:
    return _trace(_for_recognition(model))


def _trace(model: nn.Module) -> torch.export.ExportedProgram:
    """Traces with two items of which one is padded; batch and length stay open."""
    features = torch.zeros(2, 123, model.config.num_mel_bins)
    mask = torch.ones(2, 123, dtype=torch.long)
    mask[1, 77:] = 0
    shapes = ({0: Dim.DYNAMIC, 1: Dim.DYNAMIC},) * 2
    with torch.no_grad():
        program = torch.export.export(RecogniserGraph(model).eval(), (features, mask), dynamic_shapes=shapes)
    # The example would be pickled into the archive, of no use to whoever loads it.
    program._example_inputs = None
    return program


def _save_program(program: torch.export.ExportedProgram, model: nn.Module, folder: Path) -> None:
    torch.export.save(program, folder / "model.pt2")
    _describe_graph(model, folder / "model.pt2")


@lru_cache(maxsize=1)
def _translated(model: nn.Module) -> torch.onnx.ONNXProgram:
    program = _traced(model)
    with warnings.catch_warnings():
        # torch warns of its own use of what it deprecated.
        warnings.simplefilter("ignore", FutureWarning)
        return torch.onnx.export(program, dynamo=True, input_names=INPUTS, output_names=OUTPUTS, verbose=False)


def _describe_graph(model: nn.Module, path: Path) -> None:
    """Writes configuration and code beside a graph."""
    names = ("vocab_size", "num_mel_bins", "subsampling_factor", "pad_token_id")
    config = ExportedConfig(
        model_file=path.name,
        model_sha256=file_sha256(path),
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
        architectures=[ExportedForCTC.__name__],
        **{name: getattr(model.config, name) for name in names},
    )
    # Only its code is saved, so the graph need not be loaded for that.
    custom_object_save(ExportedForCTC(config, graph=lambda *inputs: inputs), path.parent, config=config)
    config.save_pretrained(path.parent)
