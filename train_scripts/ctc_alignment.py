"""Where in a long recording each word of its known text is, by what a recogniser with CTC hears."""

from dataclasses import dataclass

import numpy as np
import torch

from antiphon.modeling.losses_ctc import required_frames
from antiphon.processing.decoding_alignment import align_symbols

WINDOW_SECONDS, OVERLAP_SECONDS = 20.0, 4.0
# Of the table of predecessors, one byte each: a quarter of an hour of speech.
MAX_CELLS = 500_000_000


class AlignmentError(ValueError):
    """A text that cannot be laid over a recording; the message is the reason."""


@dataclass
class AlignedWord:
    """A word and the frames of its first and its last symbol."""

    text: str
    first_frame: int
    last_frame: int
    num_symbols: int


@dataclass
class Alignment:
    """The words of a recording, and how well they explain each frame.

    Args:
        words: In their order.
        frame_seconds: From one frame to the next; frame t is centred on t * frame_seconds.
        deficits: (frames,) log-probability of the aligned symbol less that of the likeliest, at most 0.
    """

    words: list[AlignedWord]
    frame_seconds: float
    deficits: torch.Tensor

    def score(self, first: int, last: int, start_seconds: float, end_seconds: float) -> float:
        """How well words fit the sound between two times: 0 where the recogniser says the same, else less.

        It is the sum of the deficits per symbol. Words that are not said and speech that is not written both lower it.

        Args:
            first, last: Positions of the first word and of the last.
            start_seconds, end_seconds: Of the sound.
        """
        frames = slice(round(start_seconds / self.frame_seconds), round(end_seconds / self.frame_seconds) + 1)
        num_symbols = sum(word.num_symbols for word in self.words[first : last + 1])
        return float(self.deficits[frames].sum()) / num_symbols


def align_text(model, processor, waveform: np.ndarray, text: str) -> Alignment:
    """Lays the words of a text over a recording.

    Args:
        model: A CTC model such as `ConformerForCTC`, in evaluation mode.
        processor: Its `ConformerProcessor`.
        waveform: (samples,) at the processor's rate.
        text: What is said; words as they are written, punctuation included, are those of the result.

    Raises:
        AlignmentError: The text has nothing to align, symbols that the recogniser lacks, or more than there are frames
            for; or the recording is too long.
    """
    words, ids, owners = _symbols(processor.tokenizer, text)
    log_probabilities = windowed_log_probabilities(model, processor, waveform)
    states = viterbi(log_probabilities, ids, model.config.pad_token_id)
    emitted = torch.where(states < 0, model.config.pad_token_id, ids[states.clamp(min=0)])
    aligned = log_probabilities.gather(1, emitted[:, None])[:, 0]
    first, last = {}, {}
    for frame, state in enumerate(states.tolist()):
        if state >= 0 and owners[state] is not None:
            first.setdefault(owners[state], frame)
            last[owners[state]] = frame
    sizes = {owner: owners.count(owner) for owner in first}
    return Alignment(
        words=[AlignedWord(word, first[index], last[index], sizes[index]) for index, word in enumerate(words)],
        frame_seconds=processor.frame_seconds,
        deficits=aligned - log_probabilities.max(-1).values,
    )


def _symbols(tokenizer, text: str) -> tuple[list[str], torch.Tensor, list[int | None]]:
    """The words as written, the ids of all symbols, and for each symbol its word, None for a space between two."""
    words, ids, owners = [], [], []
    space = tokenizer.convert_tokens_to_ids("|")
    for written in text.split():
        normalized = tokenizer.normalize_text(written)
        if not normalized:  # a dash, say, which belongs to the word before it
            words = [*words[:-1], f"{words[-1]} {written}"] if words else words
            continue
        if words:
            ids.append(space)
            owners.append(None)
        symbols = tokenizer(normalized)["input_ids"]
        owners += [len(words)] * len(symbols)
        ids += symbols
        words.append(written)
    if not words:
        raise AlignmentError("without a word to align")
    if tokenizer.unk_token_id in ids:
        raise AlignmentError("with symbols that the recogniser lacks")
    return words, torch.tensor(ids), owners


@torch.inference_mode()
def windowed_log_probabilities(
    model,
    processor,
    waveform: np.ndarray,
    window_seconds: float = WINDOW_SECONDS,
    overlap_seconds: float = OVERLAP_SECONDS,
) -> torch.Tensor:
    """What the recogniser hears in each frame of a recording of any length.

    Long recordings are heard in windows, since models are trained on short ones. Of two that overlap, each gives the
    half of the overlap that is farther from its own edge.

    Args:
        model, processor, waveform: Of `align_text`.
        window_seconds: Length of a window.
        overlap_seconds: What each window shares with the next.

    Returns:
        (frames, vocab_size) log-probabilities.
    """
    frame_samples = processor.subsampling_factor * processor.feature_extractor.hop_length
    window, overlap = (
        round(seconds * processor.sampling_rate / frame_samples) for seconds in (window_seconds, overlap_seconds)
    )
    parts, start, skipped = [], 0, 0
    while True:
        heard = waveform[start * frame_samples : (start + window) * frame_samples]
        inputs = processor(audio=[heard], sampling_rate=processor.sampling_rate)
        log_probabilities = model(**inputs).logits[0].float().log_softmax(-1)
        if (start + window) * frame_samples >= len(waveform):
            return torch.cat([*parts, log_probabilities[skipped:]])
        kept = window - overlap // 2
        parts.append(log_probabilities[skipped:kept])
        start += window - overlap
        skipped = kept - (window - overlap)


def viterbi(log_probabilities: torch.Tensor, ids: torch.Tensor, blank: int) -> torch.Tensor:
    """The likeliest way to spell a sequence in CTC.

    Args:
        log_probabilities: (frames, vocab_size).
        ids: (symbols,).
        blank: Id of the blank.

    Returns:
        (frames,) the position in `ids` that each frame spells, -1 for the blank.

    Raises:
        AlignmentError: There are fewer frames than the sequence needs, or too many for the memory.
    """
    frames, num_states = len(log_probabilities), 2 * len(ids) + 1
    if frames < int(required_frames(ids[None])):
        raise AlignmentError("too short for their text")
    if frames * num_states > MAX_CELLS:
        raise AlignmentError("too long to be aligned at once (more than about a quarter of an hour)")
    return torch.tensor(align_symbols(log_probabilities.numpy(), ids.tolist(), blank))
