"""A transcript that grows while audio arrives."""

import numpy as np
import torch


class TranscriptStream:
    """Audio that arrives in pieces of any size; made by `ConformerProcessor.stream`.

    Text comes out with every chunk of the model. A word is final once a later frame ends it; only the last one may
    still grow. What is remembered stays bounded where the model's `left_chunks` is set, but for the words themselves.

    Args:
        processor: A `ConformerProcessor`.
        model: A `ConformerForCTC` in evaluation mode.
    """

    def __init__(self, processor, model):
        self.processor = processor
        self.device = model.device
        self.feature_stream = processor.feature_extractor.stream()
        self.model_stream = model.stream()
        self.space = processor.tokenizer.convert_tokens_to_ids("|")
        self.blank = processor.tokenizer.pad_token_id
        self.final_words: list[dict] = []
        # Frames after the last space, of which the unfinished word is made, and how many came before them.
        self.ids: list[int] = []
        self.scores: list[float] = []
        self.first_frame = 0

    @property
    def latency_seconds(self) -> float:
        """The longest wait, from a sound to the end of its chunk under the last transform that reaches into it."""
        extractor = self.processor.feature_extractor
        samples = (self.chunk_length - 1) * extractor.hop_length + extractor.n_fft // 2
        return samples / extractor.sampling_rate

    @property
    def chunk_length(self) -> int:
        """Feature frames of a chunk."""
        return self.model_stream.encoder_stream.chunk_length

    def push(self, waveform: np.ndarray | torch.Tensor) -> dict:
        """Takes mono samples (samples,), float in [-1, 1], and returns everything recognised so far.

        Returns:
            `{"text", "words"}`, as `ConformerProcessor.decode_logits` gives them for a whole recording.

        Raises:
            ValueError: another shape, NaN or infinity, or the stream is finished.
        """
        waveform = torch.as_tensor(waveform)
        if waveform.ndim != 1:
            raise ValueError(
                f"`waveform` has shape {tuple(waveform.shape)} but must be (samples,); average the channels first."
            )
        return self._hear(self.model_stream.push(self._batch(self.feature_stream.push(waveform))))

    def finish(self) -> dict:
        """Ends the audio and returns everything that was recognised, as `push` does."""
        self._hear(self.model_stream.push(self._batch(self.feature_stream.finish())))
        return self._hear(self.model_stream.finish())

    def _batch(self, features: torch.Tensor) -> torch.Tensor:
        return features[None].to(self.device)

    def _hear(self, logits: torch.Tensor) -> dict:
        scores, ids = logits[0].float().softmax(-1).max(-1)
        self.ids += ids.tolist()
        self.scores += scores.tolist()
        # A word before a space cannot change any more. A space that goes on later ends no further word.
        ended = len(self.ids) - self.ids[::-1].index(self.space) if self.space in self.ids else 0
        self.final_words += self.processor.transcript(self.ids[:ended], self.scores[:ended], self.first_frame)["words"]
        if all(symbol == self.blank for symbol in self.ids[ended:]):
            ended = len(self.ids)
        self.ids, self.scores, self.first_frame = self.ids[ended:], self.scores[ended:], self.first_frame + ended
        words = self.final_words + self.processor.transcript(self.ids, self.scores, self.first_frame)["words"]
        return {"text": " ".join(word["word"] for word in words), "words": words}
