"""Transcribe with a checkpoint that writes token by token, such as Whisper: greedily, and guarded against loops."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from antiphon.eval.repetition import is_loop

# Without a repeated trigram no phrase can stand in four copies that fill eight tokens.
NO_REPEAT_NGRAM_SIZE = 3
DECODING = f"greedy, loops decoded again with no_repeat_ngram_size={NO_REPEAT_NGRAM_SIZE}"


@dataclass(frozen=True)
class Transcript:
    """What was recognised in one item.

    Args:
        text: the transcript.
        unguarded_text: what greedy decoding alone wrote.
        looped: whether that was a loop, so that `text` is of a second decoding.
        still_loops: whether `text` is one, too.
    """

    text: str
    unguarded_text: str
    looped: bool = False
    still_loops: bool = False


def generates_text(model) -> bool:
    """Whether a recogniser writes token by token. `can_generate()` is true of some models with CTC, too."""
    return bool(getattr(model.config, "is_encoder_decoder", False))


def window_seconds(processor) -> float:
    """How much a generating checkpoint hears; shorter audio is filled up with silence to it."""
    return processor.feature_extractor.n_samples / processor.feature_extractor.sampling_rate


def generate_transcripts(model, processor, waveforms: Sequence[np.ndarray]) -> list[Transcript]:
    """Transcribe a batch; what `is_loop` tells to be one is decoded a second time, with no trigram allowed twice.

    Whisper's own remedy draws at rising temperatures. This one leaves nothing to chance, so that a row can be measured
    again to the word, whatever the batches are.

    Args:
        model: such as `WhisperForConditionalGeneration`, in evaluation mode; its generation configuration holds
            language and task.
        processor: its processor.
        waveforms: each (samples,) at the processor's rate.

    Raises:
        ValueError: for a waveform longer than the model hears, which the processor would cut off.
    """
    extractor = processor.feature_extractor
    if (longest := max(map(len, waveforms))) > extractor.n_samples:
        raise ValueError(
            f"an item lasts {longest / extractor.sampling_rate:.1f} s but this checkpoint hears "
            f"{window_seconds(processor):g} s; cut it at silences, or leave it out openly."
        )
    inputs = processor(audio=list(waveforms), sampling_rate=extractor.sampling_rate, return_tensors="pt")
    features = inputs["input_features"].to(model.device, model.dtype)
    transcripts = []
    for tokens, text in _generate(model, processor, features):
        looped = is_loop(tokens, text)
        transcripts.append(Transcript(text, text, looped, looped))
    again = [index for index, transcript in enumerate(transcripts) if transcript.looped]
    if again:
        second = _generate(model, processor, features[again], no_repeat_ngram_size=NO_REPEAT_NGRAM_SIZE)
        for index, (tokens, text) in zip(again, second):
            transcripts[index] = replace(transcripts[index], text=text, still_loops=is_loop(tokens, text))
    return transcripts


def _generate(model, processor, features, **options) -> list[tuple[list[int], str]]:
    """Tokens without special ones, and the text that they stand for, of each item."""
    special = set(processor.tokenizer.all_special_ids)
    sequences = model.generate(input_features=features, do_sample=False, num_beams=1, **options).tolist()
    kept = [[token for token in sequence if token not in special] for sequence in sequences]
    return [(tokens, processor.tokenizer.decode(tokens, skip_special_tokens=True)) for tokens in kept]
