"""Audio and text in, tensors out; scores in, words with times out."""

import itertools
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from transformers import BatchFeature, ProcessorMixin
from transformers.utils import cached_file

from .decoding_alignment import align_symbols
from .decoding_beam import BeamSearch
from .decoding_hot_words import HotWords
from .feature_extraction_log_mel import LogMelFeatureExtractor
from .language_model import SETTINGS_FILE, LanguageModel, load_language_model, table_files
from .processing_stream import TranscriptStream
from .tokenization_character import SPACE, CharacterTokenizer


class ConformerProcessor(ProcessorMixin):
    """The two ends of a `ConformerForCTC`: features and labels before it, transcripts after it.

    Args:
        feature_extractor: A `LogMelFeatureExtractor`.
        tokenizer: A `CharacterTokenizer`.
        subsampling_factor: Feature frames per frame of the model, which turns frames into seconds.

    Its attribute `language_model`, None at first, helps beam search; it is saved and loaded along.
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
        self.language_model: LanguageModel | None = None

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike, **kwargs) -> "ConformerProcessor":
        """Loads the processor and, where the folder or repository holds one, its language model."""
        processor = super().from_pretrained(pretrained_model_name_or_path, **kwargs)
        names = ("cache_dir", "force_download", "local_files_only", "token", "revision", "subfolder")
        options = {name: kwargs[name] for name in names if kwargs.get(name) is not None}
        settings = cached_file(
            pretrained_model_name_or_path, SETTINGS_FILE, _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False, **options,
        )  # fmt: skip
        if settings is not None:
            for name in table_files(settings):
                cached_file(pretrained_model_name_or_path, name, **options)
            processor.language_model = load_language_model(Path(settings).parent)
        return processor

    def save_pretrained(self, save_directory: str | os.PathLike, push_to_hub: bool = False, **kwargs) -> list[str]:
        """Saves the processor with its language model; one that an earlier processor left there is removed."""
        saved = super().save_pretrained(save_directory, **kwargs)
        if self.language_model is None:
            LanguageModel.remove(save_directory)
        else:
            saved += self.language_model.save(save_directory)
        if push_to_hub:
            # Not by the base class, which would push before the language model is written.
            options = {name: kwargs[name] for name in ("commit_message", "private", "token") if name in kwargs}
            self.push_to_hub(kwargs.get("repo_id", Path(save_directory).name), **options)
        return saved

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
        self,
        logits: torch.Tensor | np.ndarray,
        attention_mask: torch.Tensor | np.ndarray | None = None,
        *,
        num_beams: int = 1,
        num_hypotheses: int = 1,
        hot_words: Sequence[str] = (),
        hot_word_bonus: float = 0.5,
        language_model_weight: float | None = None,
        length_bonus: float | None = None,
    ) -> list[dict]:
        """CTC decoding with the time and confidence of every word: greedy, or by beam search if there are beams.

        Args:
            logits: (batch, frames, vocab_size).
            attention_mask: (batch, frames), 1 = real, as the model returns it.
            num_beams: 1 decodes greedily, without the language model; 8 to 32 are usual for beam search.
            num_hypotheses: Most that are returned by beam search.
            hot_words: Words and phrases that beam search is to favour.
            hot_word_bonus: For each of their characters, in nats.
            language_model_weight, length_bonus: Of beam search; those that the language model was saved with if None.

        Returns:
            For each item `{"text", "words"}`; each word is `{"word", "start_seconds", "end_seconds", "confidence"}`,
            its confidence the mean probability of its symbols. CTC marks where a symbol was recognised, not how long
            it sounded: times are good to some 0.1 s. Beam search adds `hypotheses`, the best one first, each with its
            `text`, `score`, `acoustic_score`, `language_score` and `bonus`.

        Raises:
            ValueError: for hot words or hypotheses that greedy decoding cannot do, or hot words that are no list.
        """
        if isinstance(hot_words, str):
            raise ValueError(f"`hot_words` is the text {hot_words!r}; expected a list, such as [{hot_words!r}].")
        if num_beams == 1:
            if num_hypotheses > 1 or hot_words:
                raise ValueError("`num_beams` is 1 but hot words and hypotheses need beam search; pass e.g. 32.")
            return self._decode_greedily(logits, attention_mask)
        search = BeamSearch.for_tokenizer(
            self.tokenizer,
            num_beams=num_beams,
            language_model=self.language_model,
            weight=language_model_weight,
            length_bonus=length_bonus,
            hot_words=HotWords(map(self.tokenizer.normalize_text, hot_words), hot_word_bonus) if hot_words else None,
        )
        log_probabilities = torch.as_tensor(logits).detach().float().log_softmax(-1).cpu().numpy()
        return [
            self._search(search, item[:length], num_hypotheses)
            for item, length in zip(log_probabilities, _lengths(log_probabilities, attention_mask))
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

    def _decode_greedily(self, logits, attention_mask) -> list[dict]:
        probabilities = torch.as_tensor(logits).float().softmax(-1)
        scores, ids = probabilities.max(-1)
        return [
            self.transcript(item_ids[:length].tolist(), item_scores[:length].tolist())
            for item_ids, item_scores, length in zip(ids, scores, _lengths(ids, attention_mask))
        ]

    def _search(self, search: BeamSearch, log_probabilities: np.ndarray, num_hypotheses: int) -> dict:
        hypotheses = search(log_probabilities, num_hypotheses)
        text = hypotheses[0].text
        ids = self.tokenizer.convert_tokens_to_ids(list(text.replace(" ", SPACE))) if text else []
        blank = self.tokenizer.pad_token_id
        path = [
            blank if position < 0 else ids[position]
            for position in (align_symbols(log_probabilities, ids, blank) if text else [])
        ]
        scores = np.exp(log_probabilities[range(len(path)), path]).tolist() if path else []
        return self.transcript(path, scores) | {"hypotheses": [asdict(hypothesis) for hypothesis in hypotheses]}

    def transcript(self, ids: list[int], scores: list[float], first_frame: int = 0) -> dict:
        """Text and timed words, as `decode_logits` gives them, of the best symbol of each frame.

        Args:
            ids: (frames,) symbols.
            scores: (frames,) their probabilities.
            first_frame: Frames of the model before these, for the times.
        """
        space = self.tokenizer.convert_tokens_to_ids(SPACE)
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


def _lengths(items, attention_mask) -> list[int]:
    if attention_mask is None:
        return [items.shape[1]] * len(items)
    return torch.as_tensor(attention_mask).sum(-1).tolist()


ConformerProcessor.register_for_auto_class()
