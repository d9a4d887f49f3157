"""Processing of Antiphon: what turns sound and text into tensors and back."""

from .feature_extraction_log_mel import LogMelFeatureExtractor
from .feature_extraction_piano import PianoFeatureExtractor
from .processing_conformer import ConformerProcessor
from .tokenization_character import CharacterTokenizer

__all__ = ["CharacterTokenizer", "ConformerProcessor", "LogMelFeatureExtractor", "PianoFeatureExtractor"]
