"""Speech and transcripts on their way into a Whisper: its tokens, its window, its limits."""

from dataclasses import dataclass

import datasets
import torch
from transformers import WhisperConfig, WhisperProcessor
from transformers.models.whisper.modeling_whisper import shift_tokens_right

from antiphon.eval.generation import window_seconds

from .recipes import RecipeError
from .recognition_data import RecognitionCollator, RecognitionDataset


class WhisperDataset(RecognitionDataset):
    """Utterances for a Whisper, in the order and with the augmentation of a `RecognitionDataset`.

    Audio beyond the window would be cut off while its text stayed, so longer utterances are dropped and counted, and an
    augmentation that would lengthen one beyond it is left out.

    Args:
        corpus: Rows of `load_corpus`.
        processor: Whose tokenizer begins texts with the language and the task.
        max_tokens: Places of the decoder.
        max_seconds: Longer utterances are dropped; the whole window if None.
        options: Of `RecognitionDataset`.

    Raises:
        RecipeError: If no utterance is left, or `max_seconds` exceeds the window.
    """

    REASONS = {
        "empty_text": "without text",
        "too_long": "longer than the window or `data.max_seconds`",
        "too_many_tokens": "with more tokens than the decoder has places",
    }

    def __init__(
        self,
        corpus: datasets.Dataset,
        processor: WhisperProcessor,
        *,
        max_tokens: int,
        max_seconds: float | None = None,
        **options,
    ):
        self.window = window_seconds(processor)
        self.max_tokens = max_tokens
        if max_seconds is not None and max_seconds > self.window:
            raise RecipeError(
                f"`data.max_seconds` is {max_seconds:g} but this checkpoint hears {self.window:g} s; leave it out."
            )
        super().__init__(corpus, processor, max_seconds=max_seconds or self.window, **options)
        # The model puts the start token before the labels itself.
        self.labels = [ids[1:] for ids in self.labels]

    def why_unusable(self, ids: torch.Tensor, duration: float) -> str | None:
        if len(ids) == len(self.processor.tokenizer.prefix_tokens) + 1:
            return "empty_text"
        if duration > self.max_seconds:
            return "too_long"
        return "too_many_tokens" if len(ids) - 1 > self.max_tokens else None

    def fits(self, ids: torch.Tensor, duration_seconds: float) -> bool:
        return duration_seconds <= self.window


@dataclass
class WhisperCollator(RecognitionCollator):
    """Makes features, padded labels and what the decoder reads, which a model that sees no labels cannot tell."""

    config: WhisperConfig

    def __call__(self, items: list[dict]) -> dict[str, torch.Tensor]:
        batch = super().__call__(items)
        config = self.config
        read = shift_tokens_right(batch["labels"], config.pad_token_id, config.decoder_start_token_id)
        return {**batch, "decoder_input_ids": read}
