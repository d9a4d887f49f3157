"""Whether an exported recogniser may be shipped: it must write what the original writes, on real recordings."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch

from antiphon.eval.metric_loading import load_metric

BATCH_ITEMS = 8


class GateError(ValueError):
    """An export differs too much from its original; the message says by how much, and where most."""


@dataclass(frozen=True)
class Clip:
    """A recording to compare on: its name, (samples,) float32 at the model's rate, and its normalised transcript."""

    name: str
    waveform: np.ndarray
    reference: str


@dataclass(frozen=True)
class Answer:
    """What both wrote of one clip: texts, and the largest difference of any log-probability, alone and in a batch."""

    clip: Clip
    original: str
    exported: str
    batched: str
    difference: float
    batched_difference: float

    @property
    def largest_difference(self) -> float:
        return max(self.difference, self.batched_difference)


@dataclass(frozen=True)
class Parity:
    """An export beside its original, over all clips.

    Args:
        wer_original, wer_exported: Word error rates, each clip alone.
        wer_batched: Of the export, in padded batches of eight clips as they come.
        changed: Clips whose text differs, alone or in a batch.
        max_log_probability_difference: Over all frames, symbols and clips, alone and in batches.
    """

    num_clips: int
    num_words: int
    wer_original: float
    wer_exported: float
    wer_batched: float
    changed: int
    max_log_probability_difference: float

    @property
    def wer_change(self) -> float:
        """The larger change of the two ways to run it."""
        return max(self.wer_exported - self.wer_original, self.wer_batched - self.wer_original, key=abs)

    def to_dict(self) -> dict:
        return asdict(self) | {"wer_change": self.wer_change}


def check_parity(
    original: tuple,
    exported: tuple,
    clips: Sequence[Clip],
    normalize: Callable[[str], str],
    max_wer_change: float,
    max_log_probability_difference: float | None = None,
) -> Parity:
    """Let both recognisers write down the clips and compare.

    Args:
        original, exported: each a model in evaluation mode with its processor.
        clips: at least one.
        normalize: of transcripts.
        max_wer_change: most that the word error rate may change, up or down, alone and in batches.
        max_log_probability_difference: most that any log-probability may differ; None sets no bound.

    Raises:
        GateError: if a bound is exceeded, or a score is not a number.
    """
    answers = []
    for start in range(0, len(clips), BATCH_ITEMS):
        answers += _answer_batch(original, exported, clips[start : start + BATCH_ITEMS], normalize)
    references = [clip.reference for clip in clips]

    def wer(texts: list[str]) -> float:
        return load_metric("error_rates").compute(predictions=texts, references=references)["wer"]

    parity = Parity(
        num_clips=len(clips),
        num_words=sum(len(reference.split()) for reference in references),
        wer_original=wer([answer.original for answer in answers]),
        wer_exported=wer([answer.exported for answer in answers]),
        wer_batched=wer([answer.batched for answer in answers]),
        changed=sum({answer.exported, answer.batched} != {answer.original} for answer in answers),
        max_log_probability_difference=float(np.max([answer.largest_difference for answer in answers])),
    )
    _judge(parity, answers, max_wer_change, max_log_probability_difference)
    return parity


def _judge(parity: Parity, answers: list[Answer], max_wer_change: float, max_difference: float | None) -> None:
    reasons = []
    if not np.isfinite(parity.max_log_probability_difference):
        reasons.append("a score is not a number")
    # Counts of words are exact, their ratios are not.
    if abs(parity.wer_change) > max_wer_change + 1e-9:
        reasons.append(
            f"WER changes by {parity.wer_change:+.4f}, more than {max_wer_change:g}: the original has "
            f"{parity.wer_original:.4f}, the export {parity.wer_exported:.4f}, in batches {parity.wer_batched:.4f}"
        )
    if max_difference is not None and parity.max_log_probability_difference > max_difference:
        reasons.append(
            f"a log-probability differs by {parity.max_log_probability_difference:.3g}, more than {max_difference:g}"
        )
    if reasons:
        raise GateError(f"{'; '.join(reasons)}. {_describe(_worst(answers))}")


def _worst(answers: list[Answer]) -> Answer:
    """The clip with most changed words and, of equals, with the largest difference; what is no number comes first."""

    def badness(answer: Answer) -> tuple:
        largest = answer.largest_difference
        changed = max(_distance(answer.original, text) for text in (answer.exported, answer.batched))
        return not np.isfinite(largest), changed, largest

    return max(answers, key=badness)


def _distance(first: str, other: str) -> float:
    """Words of `other` that are wrong if `first` is right; all of them if that is empty."""
    words = len(first.split())
    if not words:
        return float(len(other.split()))
    return words * load_metric("error_rates").compute(predictions=[other], references=[first])["wer"]


def _describe(answer: Answer) -> str:
    exported = answer.exported if answer.exported != answer.original else answer.batched
    return (
        f"The largest difference is in {answer.clip.name}: the original writes {answer.original!r}, the export "
        f"{exported!r}, the reference is {answer.clip.reference!r}."
    )


@torch.inference_mode()
def _answer_batch(original: tuple, exported: tuple, clips: Sequence[Clip], normalize) -> list[Answer]:
    batched, lengths = _log_probabilities(*exported, [clip.waveform for clip in clips])
    batched_texts = [normalize(text) for text in _texts(exported[1], batched, lengths)]
    answers = []
    for index, clip in enumerate(clips):
        scores, texts = [], []
        for model, processor in (original, exported):
            own, own_lengths = _log_probabilities(model, processor, [clip.waveform])
            scores.append(own[0])
            texts.append(normalize(_texts(processor, own, own_lengths)[0]))
        answers.append(
            Answer(
                clip,
                *texts,
                batched_texts[index],
                difference=_difference(scores[0], scores[1]),
                batched_difference=_difference(scores[0], batched[index, : lengths[index]]),
            )
        )
    return answers


def _log_probabilities(model, processor, waveforms: list[np.ndarray]) -> tuple[torch.Tensor, list[int]]:
    inputs = processor(audio=waveforms, sampling_rate=processor.feature_extractor.sampling_rate)
    outputs = model(**inputs)
    return outputs.logits.float().log_softmax(-1), outputs.attention_mask.sum(-1).tolist()


def _texts(processor, log_probabilities: torch.Tensor, lengths: list[int]) -> list[str]:
    mask = torch.arange(log_probabilities.shape[1]) < torch.tensor(lengths)[:, None]
    return [item["text"] for item in processor.decode_logits(log_probabilities, mask)]


def _difference(first: torch.Tensor, other: torch.Tensor) -> float:
    """The largest one; infinite where the two do not even have the same length or hold what is no number."""
    if first.shape != other.shape:
        return float("inf")
    return float(torch.nan_to_num((first - other).abs(), nan=float("inf")).max())
