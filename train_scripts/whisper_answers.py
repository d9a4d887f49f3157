"""What a trained Whisper answers on some of its validation items."""

from dataclasses import dataclass

import numpy as np
import torch
from transformers import WhisperProcessor

from antiphon.eval.benchmark_recognition import describe_repetition
from antiphon.eval.metric_loading import load_metric
from antiphon.eval.text_normalization import text_normalizer
from antiphon.eval.transcription import transcribe

from .recognition_data import RecognitionCollator
from .whisper_data import WhisperDataset

# Items whose logits are looked at; all of them would fill gigabytes with a real vocabulary.
LOGIT_ITEMS = 4


@dataclass(frozen=True)
class Answers:
    """What a model says.

    Args:
        texts: (items,) transcripts, normalised.
        wer: Of them.
        repetition: How many looped, and the WER without the guard against that.
        logits: (some items, tokens, vocabulary) after the true text, in float32.
    """

    texts: list[str]
    wer: float
    repetition: dict
    logits: torch.Tensor


@torch.inference_mode()
def answers(model, processor: WhisperProcessor, dataset: WhisperDataset, num_items: int, seed: int) -> Answers:
    """Lets a model answer the same items whenever it is asked with one seed.

    Args:
        model: On its device, in evaluation mode.
        dataset: Of validation: in the corpus' order and without augmentation.
        num_items: At most so many, chosen at random.
    """
    chosen = np.sort(np.random.default_rng(seed).permutation(len(dataset))[:num_items])
    rows = dataset.corpus.select(chosen)
    normalize, _ = text_normalizer(processor.tokenizer)
    references = [normalize(text) for text in rows["text"]]
    transcription = transcribe(model, processor, rows, rows["duration_seconds"][:], resample=dataset.resample)
    texts = [normalize(text) for text in transcription.texts]
    batch = RecognitionCollator(processor)([dataset[int(index)] for index in chosen[:LOGIT_ITEMS]])
    outputs = model(**{name: tensor.to(model.device) for name, tensor in batch.items()})
    return Answers(
        texts=texts,
        wer=load_metric("error_rates").compute(predictions=texts, references=references)["wer"],
        repetition=describe_repetition(transcription.transcripts, references, normalize),
        logits=outputs.logits.float().cpu(),
    )
