"""A recogniser with CTC that needs no training: it hears the tones of `tone_corpus`."""

import torch
from tone_corpus import SAMPLING_RATE, TONES, speak

from antiphon.processing import CharacterTokenizer, ConformerProcessor, LogMelFeatureExtractor


def tone_processor() -> ConformerProcessor:
    """Features in which each tone has a band of its own, and a tokenizer of their letters."""
    extractor = LogMelFeatureExtractor(
        feature_size=20, sampling_rate=8000, hop_length=80, win_length=200, n_fft=256, normalize="none", mel_floor=1e-5
    )
    return ConformerProcessor(extractor, CharacterTokenizer.from_corpus(["aeio o"]), subsampling_factor=4)


class ToneRecogniser(torch.nn.Module):
    """Hears which tone is loudest in each frame, by the mel band where it lies; silence is the blank or a space."""

    def __init__(self, processor):
        super().__init__()
        self.processor = processor
        self.config = type("Config", (), {"pad_token_id": processor.tokenizer.pad_token_id})
        letters = list(TONES)
        sounds = [processor(audio=speak(3 * letter), sampling_rate=SAMPLING_RATE) for letter in letters]
        self.bands = [int(sound["input_features"][0].mean(0).argmax()) for sound in sounds]
        self.ids = processor.tokenizer.convert_tokens_to_ids(letters)
        self.space = processor.tokenizer.convert_tokens_to_ids("|")

    def forward(self, input_features, attention_mask=None):
        features = input_features[:, :: self.processor.subsampling_factor]
        logits = torch.zeros(*features.shape[:2], len(self.processor.tokenizer))
        level = features.max(-1, keepdim=True).values
        is_tone = level > -10  # silence is at -11.5
        logits[..., self.ids] = torch.where(is_tone, 5 + features[..., self.bands] - level, -9.0)
        logits[..., [self.space, self.config.pad_token_id]] = torch.where(is_tone, -5.0, 5.0)
        return type("Output", (), {"logits": logits})
