"""A recogniser that runs from an exported graph, with onnxruntime or torch, behind the interface of the original."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput, cached_file

from .configuration_exported import ONNX, ExportedConfig

HUB_ARGUMENTS = ("cache_dir", "force_download", "local_files_only", "proxies", "revision", "subfolder", "token")
# They would change what a model computes, which is fixed when it is exported.
FIXED_ARGUMENTS = ("attn_implementation", "device_map", "dtype", "quantization_config", "torch_dtype")

Graph = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


@dataclass
class ExportedCTCOutput(ModelOutput):
    """What the recogniser returns.

    Args:
        logits: (batch, frames, vocab_size).
        attention_mask: (batch, frames), 1 where an output frame stems from real input.
    """

    logits: torch.FloatTensor | None = None
    attention_mask: torch.LongTensor | None = None


class ExportedForCTC(PreTrainedModel):
    """An exported recogniser. It runs on the CPU, cannot be trained, and takes batches and lengths of any size.

    Loading a `.pt2` file unpickles and evaluates what is in it, and a processor comes as code: open only folders that
    you trust. The SHA-256 in the configuration tells a damaged or exchanged file, not a malicious folder.

    Args:
        config: As it lies beside the graph.
        graph: Maps features and mask to logits and mask; `from_pretrained` loads it.
    """

    config_class = ExportedConfig
    main_input_name = "input_features"
    input_modalities = "audio"

    def __init__(self, config: ExportedConfig, graph: Graph | None = None):
        super().__init__(config)
        if graph is None:
            raise ValueError(
                "`graph` is None but an exported model has no other weights; load it with from_pretrained."
            )
        # Not a submodule: its weights are part of the file, and moving or casting them would not be the exported model.
        object.__setattr__(self, "graph", graph)
        self.post_init()

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *model_args, config=None, **kwargs) -> "ExportedForCTC":
        """Loads the graph of a folder or Hub repository.

        Raises:
            ValueError: an argument asks for another dtype or device, or the file is not the one that was exported.
        """
        refused = [name for name in FIXED_ARGUMENTS if kwargs.get(name) not in (None, "auto")]
        if refused:
            raise ValueError(
                f"`{refused[0]}` cannot be chosen for an exported model; leave it out, or load the original."
            )
        hub = {name: kwargs[name] for name in HUB_ARGUMENTS if kwargs.get(name) is not None}
        if config is None:
            config = cls.config_class.from_pretrained(pretrained_model_name_or_path, **hub)
        path = Path(cached_file(pretrained_model_name_or_path, config.model_file, **hub))
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != config.model_sha256:
            raise ValueError(
                f"{path.name} has the SHA-256 {found[:12]}… but its configuration expects {config.model_sha256[:12]}…: "
                "the file is damaged or was exchanged; export the model again."
            )
        return cls(config, load_graph(path)).eval()

    @property
    def device(self) -> torch.device:
        """The CPU, wherever the rest of a program runs."""
        return torch.device("cpu")

    def num_parameters(self, *args, **kwargs) -> int:
        """Weights of the model that was exported."""
        return self.config.num_parameters

    @torch.inference_mode()
    def forward(self, input_features: torch.Tensor, attention_mask: torch.Tensor | None = None) -> ExportedCTCOutput:
        """Scores symbols per frame.

        Args:
            input_features: (batch, frames, num_mel_bins), normalised, zero where padded.
            attention_mask: (batch, frames), 1 = real; padding on the right. None means no padding.
        """
        features = input_features.to("cpu", torch.float32)
        frames = features.shape[1]
        if attention_mask is None:
            attention_mask = torch.ones(features.shape[:2], dtype=torch.long)
        # Tracing fixed that there is more than one output frame, so shorter spectrograms get padding, which is masked.
        missing = max(0, 2 * self.config.subsampling_factor - frames)
        features = nn.functional.pad(features, (0, 0, 0, missing))
        mask = nn.functional.pad(attention_mask.to("cpu", torch.long), (0, missing))
        logits, mask = self.graph(features, mask)
        frames = -(-frames // self.config.subsampling_factor)
        return ExportedCTCOutput(logits=logits[:, :frames], attention_mask=mask[:, :frames])


def load_graph(path: Path) -> Graph:
    """Loads a `.onnx` or `.pt2` file for the CPU, with as many threads as torch has."""
    if path.suffix == ONNX:
        return _load_onnx(path)
    # Here and not above, since few need it and its import takes a second.
    from torch.export import load

    return load(path).module()


def _load_onnx(path: Path) -> Graph:
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(
            f"{path.name} needs onnxruntime, which cannot be imported; `pip install onnxruntime`."
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # Threads that wait for work by spinning take the cores from whoever computes the features.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]

    def run(features: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        outputs = session.run(None, dict(zip(names, (features.numpy(), mask.numpy()))))
        return tuple(map(torch.from_numpy, outputs))

    return run


ExportedForCTC.register_for_auto_class("AutoModelForCTC")
