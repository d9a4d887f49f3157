"""Models of Antiphon. Importing this registers each with the Auto classes, so that no remote code is needed.

This file never travels with a checkpoint, so it alone may know both rooms: a model's processor is registered beside it.
"""

from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForCTC,
    AutoModelForPreTraining,
    AutoProcessor,
    AutoTokenizer,
)

from antiphon.processing import CharacterTokenizer, ConformerProcessor, LogMelFeatureExtractor, PianoFeatureExtractor

from .configuration_conformer import ConformerConfig
from .configuration_piano_assessment import PianoAssessmentConfig
from .modeling_conformer import ConformerForCTC, ConformerModel
from .modeling_piano_assessment import PianoAssessmentModel
from .modeling_piano_pretraining import PianoLatticePreTraining

AutoConfig.register(ConformerConfig.model_type, ConformerConfig, exist_ok=True)
AutoModel.register(ConformerConfig, ConformerModel, exist_ok=True)
AutoModelForCTC.register(ConformerConfig, ConformerForCTC, exist_ok=True)
AutoFeatureExtractor.register(ConformerConfig, LogMelFeatureExtractor, exist_ok=True)
AutoTokenizer.register(ConformerConfig, CharacterTokenizer, exist_ok=True)
AutoProcessor.register(ConformerConfig, ConformerProcessor, exist_ok=True)

AutoConfig.register(PianoAssessmentConfig.model_type, PianoAssessmentConfig, exist_ok=True)
AutoModel.register(PianoAssessmentConfig, PianoAssessmentModel, exist_ok=True)
AutoModelForPreTraining.register(PianoAssessmentConfig, PianoLatticePreTraining, exist_ok=True)
AutoFeatureExtractor.register(PianoAssessmentConfig, PianoFeatureExtractor, exist_ok=True)

__all__ = [
    "ConformerConfig",
    "ConformerForCTC",
    "ConformerModel",
    "PianoAssessmentConfig",
    "PianoAssessmentModel",
    "PianoLatticePreTraining",
]
