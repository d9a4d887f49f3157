"""Models of Antiphon. Importing this registers each with the Auto classes, so that no remote code is needed.

This file never travels with a checkpoint, so it alone may know both rooms: a model's processor is registered beside it.
"""

from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, AutoModelForCTC, AutoProcessor, AutoTokenizer

from antiphon.processing import CharacterTokenizer, ConformerProcessor, LogMelFeatureExtractor

from .configuration_conformer import ConformerConfig
from .modeling_conformer import ConformerForCTC, ConformerModel

AutoConfig.register(ConformerConfig.model_type, ConformerConfig, exist_ok=True)
AutoModel.register(ConformerConfig, ConformerModel, exist_ok=True)
AutoModelForCTC.register(ConformerConfig, ConformerForCTC, exist_ok=True)
AutoFeatureExtractor.register(ConformerConfig, LogMelFeatureExtractor, exist_ok=True)
AutoTokenizer.register(ConformerConfig, CharacterTokenizer, exist_ok=True)
AutoProcessor.register(ConformerConfig, ConformerProcessor, exist_ok=True)

__all__ = ["ConformerConfig", "ConformerForCTC", "ConformerModel"]
