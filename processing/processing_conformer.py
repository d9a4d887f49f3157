"""Audio and text in, tensors out; scores in, words with times out."""

import itertools

import numpy as np
import torch
from transformers import BatchFeature, ProcessorMixin

from .feature_extraction_log_mel import LogMelFeatureExtractor
from .processing_stream import TranscriptStream
from .tokenization_character import CharacterTokenizer


class ConformerProcessor(ProcessorMixin):
    """The two ends of a `ConformerForCTC`: features and labels before it, transcripts after it.

    Args:
        feature_extractor: A `LogMelFeatureExtractor`.
        tokenizer: A `CharacterTokenizer`.
        subsampling_factor: Feature frames per frame of the model, which turns frames into seconds.
    """

    def __init__(
        self,
        feature_extractor: LogMelFeatureExtractor,
        tokenizer: CharacterTokenizer,
        subsampling_factor: int = 4,
        **kwargs,
    ):
        super().__init__(feature_extractor, tokenizer, **kwargs)
        self.subsampling_factor = subsampling_factor

    @property
    def sampling_rate(self) -> int:
        """Rate in Hz of the audio that the model expects."""
        return self.feature_extractor.sampling_rate

    @property
    def frame_seconds(self) -> float:
        """Seconds from one frame of the model to the next."""
        return self.subsampling_factor * self.feature_extractor.hop_length / self.feature_extractor.sampling_rate

    def __call__(
        self, audio=None, text=None, sampling_rate: int | None = None, return_tensors: str = "pt"
    ) -> BatchFeature:
        """Prepares audio, text or both.

        Args:
            audio: One mono waveform (samples,) or a list of them, float in [-1, 1].
            text: One transcript or a list of them.
            sampling_rate: Rate of `audio` in Hz, checked against the model's.
            return_tensors: "pt" or "np".

        Returns:
            `input_features`, `attention_mask` for audio; `labels` (batch, symbols), -100 where padded, for text.
        """
        if audio is None and text is None:
            raise ValueError("Neither `audio` nor `text` was given; pass at least one of them.")
        inputs = BatchFeature()
        if audio is not None:
            inputs.update(self.feature_extractor(audio, sampling_rate=sampling_rate, return_tensors=return_tensors))
        if text is not None:
            texts = [text] if isinstance(text, str) else list(text)
            encoded = self.tokenizer(texts, padding=True, return_tensors=return_tensors)
            labels = encoded["input_ids"]
            labels[encoded["attention_mask"] == 0] = -100
            inputs["labels"] = labels
        return inputs

    def decode_logits(
        self, logits: torch.Tensor | np.ndarray, attention_mask: torch.Tensor | np.ndarray | None = None
    ) -> list[dict]:
        """Greedy CTC decoding with the time and confidence of every word.

        Args:
            logits: (batch, frames, vocab_size).
            attention_mask: (batch, frames), 1 = real, as the model returns it.

        Returns:
            For each item `{"text", "words"}`; each word is `{"word", "start_seconds", "end_seconds", "confidence"}`,
            its confidence the mean probability of its symbols. CTC marks where a symbol was recognised, not how long
            it sounded: times are good to some 0.1 s.
        """
        probabilities = torch.as_tensor(logits).float().softmax(-1)
        scores, ids = probabilities.max(-1)
        if attention_mask is None:
            lengths = [ids.shape[1]] * len(ids)
        else:
            lengths = torch.as_tensor(attention_mask).sum(-1).tolist()
        return [
            self.transcript(item_ids[:length].tolist(), item_scores[:length].tolist())
            for item_ids, item_scores, length in zip(ids, scores, lengths)
        ]

    def stream(self, model) -> TranscriptStream:
        """Starts a stream of audio, whose text comes while it is spoken and in the end equals the offline one.

        Args:
            model: A `ConformerForCTC` in evaluation mode.

        Raises:
            ValueError: features or model need what comes later: `normalize` other than "global" or "none",
                convolutions that are not causal, or no `chunk_frames`.
        """
        return TranscriptStream(self, model)

    def transcript(self, ids: list[int], scores: list[float], first_frame: int = 0) -> dict:
        """Text and timed words, as `decode_logits` gives them, of the best symbol of each frame.

        Args:
            ids: (frames,) symbols.
            scores: (frames,) their probabilities.
            first_frame: Frames of the model before these, for the times.
        """
        space = self.tokenizer.convert_tokens_to_ids("|")
        words, symbols = [], []
        frame = 0
        for symbol, run in itertools.groupby(ids):
            first, frame = frame, frame + len(list(run))
            if symbol == space:
                words.append(symbols)
                symbols = []
            elif symbol != self.tokenizer.pad_token_id:
                symbols.append((symbol, first, frame, max(scores[first:frame])))
        words = [self._timed_word(symbols, first_frame) for symbols in [*words, symbols] if symbols]
        return {"text": " ".join(word["word"] for word in words), "words": words}

    def _timed_word(self, symbols: list[tuple[int, int, int, float]], first_frame: int) -> dict:
        return {
            "word": self.tokenizer.decode([symbol for symbol, *_ in symbols], group_tokens=False),
            "start_seconds": self._frame_edge(first_frame + symbols[0][1]),
            "end_seconds": self._frame_edge(first_frame + symbols[-1][2]),
            "confidence": float(np.mean([score for *_, score in symbols])),
        }

    def _frame_edge(self, frame: int) -> float:
        # Frame t is centred on t * frame_seconds, so it begins half a frame earlier.
        return round(max(0.0, frame - 0.5) * self.frame_seconds, 3)


ConformerProcessor.register_for_auto_class()
