"""Models of Antiphon. Importing this registers each with the Auto classes, so that no remote code is needed."""

from transformers import AutoConfig, AutoModel, AutoModelForCTC

from .configuration_conformer import ConformerConfig
from .modeling_conformer import ConformerForCTC, ConformerModel

AutoConfig.register(ConformerConfig.model_type, ConformerConfig, exist_ok=True)
AutoModel.register(ConformerConfig, ConformerModel, exist_ok=True)
AutoModelForCTC.register(ConformerConfig, ConformerForCTC, exist_ok=True)

__all__ = ["ConformerConfig", "ConformerForCTC", "ConformerModel"]
