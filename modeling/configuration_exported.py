"""Configuration of a recogniser that was exported to one file: a graph of onnxruntime or of torch."""

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

ONNX, TORCH = ".onnx", ".pt2"


@strict
class ExportedConfig(PreTrainedConfig):
    """What a caller of the graph must know, and which file it is.

    Args:
        model_file: Name of the file beside this configuration, ending in `.onnx` or `.pt2`.
        model_sha256: Its SHA-256 in hexadecimal; another file is not loaded.
        num_parameters: Weights of the model that was exported.
        vocab_size: Number of output symbols, the CTC blank included.
        num_mel_bins: Mel bands of the input features.
        subsampling_factor: Feature frames per output frame.
        pad_token_id: Id of the CTC blank.
    """

    model_type = "antiphon_exported"

    model_file: str = "model.onnx"
    model_sha256: str = ""
    num_parameters: int = 0
    vocab_size: int = 32
    num_mel_bins: int = 80
    subsampling_factor: int = 4
    pad_token_id: int = 0

    def validate_model_file(self):
        """A name alone: a configuration must not point outside its folder."""
        is_name = not set(self.model_file) & set("/\\:")
        if not is_name or not self.model_file.endswith((ONNX, TORCH)):
            raise ValueError(
                f"`model_file` is {self.model_file!r} but must be the name of a file beside the configuration that "
                f"ends in {ONNX} or {TORCH}."
            )


ExportedConfig.register_for_auto_class()
