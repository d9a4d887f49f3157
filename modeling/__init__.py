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
from .configuration_content_encoder import ContentEncoderConfig
from .configuration_exported import ExportedConfig
from .configuration_piano_assessment import PianoAssessmentConfig
from .configuration_speaker_encoder import SpeakerEncoderConfig
from .configuration_vocoder import VocoderConfig
from .configuration_voice_converter import VoiceConverterConfig
from .modeling_conformer import ConformerForCTC, ConformerModel
from .modeling_content_encoder import ContentEncoderForCTC, ContentEncoderModel
from .modeling_exported import ExportedForCTC
from .modeling_piano_assessment import PianoAssessmentModel
from .modeling_piano_pretraining import PianoLatticePreTraining
from .modeling_speaker_encoder import SpeakerEncoderModel
from .modeling_vocoder import VocoderModel
from .modeling_voice_converter import VoiceConverterModel
from .voice_prompt import VoicePrompt

AutoConfig.register(ConformerConfig.model_type, ConformerConfig, exist_ok=True)
AutoModel.register(ConformerConfig, ConformerModel, exist_ok=True)
AutoModelForCTC.register(ConformerConfig, ConformerForCTC, exist_ok=True)
AutoFeatureExtractor.register(ConformerConfig, LogMelFeatureExtractor, exist_ok=True)
AutoTokenizer.register(ConformerConfig, CharacterTokenizer, exist_ok=True)
AutoProcessor.register(ConformerConfig, ConformerProcessor, exist_ok=True)

AutoConfig.register(ExportedConfig.model_type, ExportedConfig, exist_ok=True)
AutoModel.register(ExportedConfig, ExportedForCTC, exist_ok=True)  # a graph has no encoder of its own
AutoModelForCTC.register(ExportedConfig, ExportedForCTC, exist_ok=True)
AutoFeatureExtractor.register(ExportedConfig, LogMelFeatureExtractor, exist_ok=True)
AutoTokenizer.register(ExportedConfig, CharacterTokenizer, exist_ok=True)
AutoProcessor.register(ExportedConfig, ConformerProcessor, exist_ok=True)

AutoConfig.register(PianoAssessmentConfig.model_type, PianoAssessmentConfig, exist_ok=True)
AutoModel.register(PianoAssessmentConfig, PianoAssessmentModel, exist_ok=True)
AutoModelForPreTraining.register(PianoAssessmentConfig, PianoLatticePreTraining, exist_ok=True)
AutoFeatureExtractor.register(PianoAssessmentConfig, PianoFeatureExtractor, exist_ok=True)

AutoConfig.register(ContentEncoderConfig.model_type, ContentEncoderConfig, exist_ok=True)
AutoModel.register(ContentEncoderConfig, ContentEncoderModel, exist_ok=True)
AutoModelForCTC.register(ContentEncoderConfig, ContentEncoderForCTC, exist_ok=True)
AutoFeatureExtractor.register(ContentEncoderConfig, LogMelFeatureExtractor, exist_ok=True)

AutoConfig.register(SpeakerEncoderConfig.model_type, SpeakerEncoderConfig, exist_ok=True)
AutoModel.register(SpeakerEncoderConfig, SpeakerEncoderModel, exist_ok=True)
AutoFeatureExtractor.register(SpeakerEncoderConfig, LogMelFeatureExtractor, exist_ok=True)

AutoConfig.register(VocoderConfig.model_type, VocoderConfig, exist_ok=True)
AutoModel.register(VocoderConfig, VocoderModel, exist_ok=True)
AutoFeatureExtractor.register(VocoderConfig, LogMelFeatureExtractor, exist_ok=True)

AutoConfig.register(VoiceConverterConfig.model_type, VoiceConverterConfig, exist_ok=True)
AutoModel.register(VoiceConverterConfig, VoiceConverterModel, exist_ok=True)

__all__ = [
    "ConformerConfig",
    "ConformerForCTC",
    "ConformerModel",
    "ContentEncoderConfig",
    "ContentEncoderForCTC",
    "ContentEncoderModel",
    "ExportedConfig",
    "ExportedForCTC",
    "PianoAssessmentConfig",
    "PianoAssessmentModel",
    "PianoLatticePreTraining",
    "SpeakerEncoderConfig",
    "SpeakerEncoderModel",
    "VocoderConfig",
    "VocoderModel",
    "VoiceConverterConfig",
    "VoiceConverterModel",
    "VoicePrompt",
]
