"""Transcribe a corpus: batches of similar length; greedy or, with CTC, by beam search or out of a closed list."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from datasets import Dataset
from torch.nn import functional as F
from tqdm.auto import tqdm
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from antiphon.eval.generation import Transcript, generate_transcripts, generates_text, window_seconds
from antiphon.processing.audio_io import read_audio
from antiphon.processing.decoding_beam import BeamSearch

MAX_BATCH_SECONDS = 120.0  # padding included; bounds memory whatever the utterances' length
MAX_BATCH_ITEMS = 64
CANDIDATE_CHUNK = 512


@dataclass
class Transcription:
    """What was recognised and how long it took.

    Args:
        transcripts: (items,) in the order of the dataset.
        processing_seconds: (batches,) wall time of features, model and decoding; reading files is left out,
            and so is a first untimed call on one item.
        audio_seconds: (batches,) sound in each batch, without padding.
    """

    transcripts: list[Transcript]
    processing_seconds: list[float]
    audio_seconds: list[float]

    @property
    def texts(self) -> list[str]:
        return [transcript.text for transcript in self.transcripts]


@torch.inference_mode()
def transcribe(
    model,
    processor,
    dataset: Dataset,
    durations: Sequence[float],
    *,
    candidates: Sequence[str] = (),
    search: BeamSearch | None = None,
    resample: bool = False,
) -> Transcription:
    """Transcribe every item of a dataset.

    Args:
        model: a CTC model such as `ConformerForCTC`, or one that generates text such as
            `WhisperForConditionalGeneration`, on its device, in evaluation mode.
        processor: its processor.
        dataset: with a column `audio` of undecoded `{"bytes", "path"}`.
        durations: (items,) seconds, used to put items of similar length together.
        candidates: transcripts of which the likeliest is chosen; greedy decoding if empty.
        search: over the symbols of the processor's tokenizer; greedy decoding if None.
        resample: whether audio at another rate than the model's is resampled instead of refused.

    Raises:
        ValueError: for candidates, a search or an item that a generating model cannot do with.
    """
    sampling_rate = processor.feature_extractor.sampling_rate
    if generates_text(model):
        if candidates or search:
            raise ValueError("a closed list or beam search needs a CTC checkpoint; this one writes freely.")
        # Every item is filled up to the window, whatever its length.
        durations = np.maximum(durations, window_seconds(processor))
    transcripts = [None] * len(dataset)
    processing_seconds, audio_seconds = [], []
    with tqdm(total=len(dataset), desc="transcribing", unit="item", disable=None) as progress:
        for batch in length_batches(durations):
            waveforms = [
                read_audio(audio["bytes"] or audio["path"], sampling_rate=sampling_rate, resample=resample)[0]
                for audio in dataset.select(batch)["audio"]
            ]
            if not processing_seconds:
                # The first call sets up threads and kernels, which can take longer than a whole small corpus.
                _transcribe_batch(model, processor, waveforms[:1], candidates, search)
            start = time.perf_counter()
            decoded = _transcribe_batch(model, processor, waveforms, candidates, search)
            processing_seconds.append(time.perf_counter() - start)
            audio_seconds.append(sum(map(len, waveforms)) / sampling_rate)
            for index, transcript in zip(batch, decoded):
                transcripts[index] = transcript
            progress.update(len(batch))
    return Transcription(transcripts, processing_seconds, audio_seconds)


def _transcribe_batch(
    model, processor, waveforms: list[np.ndarray], candidates: Sequence[str], search: BeamSearch | None
) -> list[Transcript]:
    if generates_text(model):
        return generate_transcripts(model, processor, waveforms)
    texts = _decode_batch(model, processor, waveforms, candidates, search)
    return [Transcript(text, text) for text in texts]


def _decode_batch(
    model, processor, waveforms: list[np.ndarray], candidates: Sequence[str], search: BeamSearch | None
) -> list[str]:
    sampling_rate = processor.feature_extractor.sampling_rate
    inputs = processor(audio=waveforms, sampling_rate=sampling_rate, return_tensors="pt").to(model.device)
    output = model(**inputs)
    mask = output_mask(model, inputs["attention_mask"], output)
    if search:
        return [search(item)[0].text for item in log_probabilities(output.logits, mask)]
    if not candidates:
        decoded = processor.decode_logits(output.logits.cpu(), mask.cpu())
        return [item["text"] for item in decoded]
    candidate_ids = [torch.tensor(ids) for ids in processor.tokenizer(list(candidates))["input_ids"]]
    choices = likeliest_candidates(output.logits, mask, candidate_ids, model.config.pad_token_id)
    return ["" if choice is None else candidates[choice] for choice in choices]


def output_mask(model: PreTrainedModel, attention_mask: torch.Tensor, output: ModelOutput) -> torch.Tensor:
    """Which output frames stem from real input, (batch, frames), 1 = real.

    Args:
        model: with CTC; one of transformers does not return the mask, but can compute it.
        attention_mask: (batch, input frames), 1 = real.
        output: of the model.
    """
    if "attention_mask" in output:
        return output["attention_mask"]
    return model._get_output_attention_mask(attention_mask, target_length=output.logits.shape[1])


def log_probabilities(logits: torch.Tensor, mask: torch.Tensor) -> list[np.ndarray]:
    """What a CTC model hears in each item of a batch: (frames, vocab_size), natural logarithms, without padding.

    Args:
        logits: (batch, frames, vocab_size).
        mask: As `output_mask` gives it.
    """
    lengths = mask.sum(-1).tolist()
    return [item[:length] for item, length in zip(logits.float().log_softmax(-1).cpu().numpy(), lengths)]


def length_batches(
    durations: Sequence[float], max_seconds: float = MAX_BATCH_SECONDS, max_items: int = MAX_BATCH_ITEMS
) -> Iterator[list[int]]:
    """Yield batches of item indices, longest first, so that a lack of memory shows at once.

    Args:
        durations: (items,) seconds.
        max_seconds: most seconds in a batch after padding to its longest item; a longer item stands alone.
        max_items: most items in a batch.
    """
    order = np.argsort(-np.asarray(durations, dtype=float), kind="stable").tolist()
    while order:
        longest = max(durations[order[0]], 1e-3)  # guards items of length 0
        size = min(max_items, max(1, int(max_seconds / longest)))
        yield order[:size]
        order = order[size:]


def likeliest_candidates(
    logits: torch.Tensor, attention_mask: torch.Tensor, candidate_ids: Sequence[torch.Tensor], blank: int
) -> list[int | None]:
    """Choose the transcript with the highest CTC likelihood, summed over all its alignments.

    Args:
        logits: (batch, frames, vocab_size).
        attention_mask: (batch, frames), 1 = real.
        candidate_ids: each (symbols,), label ids of one transcript.
        blank: id of the CTC blank.

    Returns:
        (batch,) index of the best candidate; None where the item is too short for every candidate.

    Source: Graves et al. 2006, "Connectionist Temporal Classification", equation 8.
    """
    log_probabilities = logits.float().log_softmax(-1)
    target_lengths = torch.tensor([len(ids) for ids in candidate_ids])
    targets = torch.nn.utils.rnn.pad_sequence(list(candidate_ids), batch_first=True).to(logits.device)
    choices = []
    for item, length in zip(log_probabilities, attention_mask.sum(-1).tolist()):
        losses = torch.cat(
            [
                F.ctc_loss(
                    item[:length, None].expand(-1, len(chunk), -1),  # (frames, candidates, vocab_size)
                    chunk,
                    torch.full((len(chunk),), length),
                    chunk_lengths,
                    blank=blank,
                    reduction="none",
                )
                for chunk, chunk_lengths in zip(targets.split(CANDIDATE_CHUNK), target_lengths.split(CANDIDATE_CHUNK))
            ]
        )
        best = int(losses.argmin())
        choices.append(best if torch.isfinite(losses[best]) else None)
    return choices
