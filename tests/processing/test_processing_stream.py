"""Raw audio in pieces, text out: in the end what the whole recording gives, and never a final word that changes."""

import itertools

import numpy as np
import pytest
import torch
from tiny_conformer import make_model

from antiphon.processing import CharacterTokenizer, ConformerProcessor, LogMelFeatureExtractor

SAMPLING_RATE = 8000
FEATURES = {"feature_size": 40, "sampling_rate": SAMPLING_RATE, "hop_length": 80, "win_length": 200, "n_fft": 256}


def make_processor(**changes) -> ConformerProcessor:
    extractor = LogMelFeatureExtractor(**(FEATURES | {"normalize": "none"} | changes))
    return ConformerProcessor(extractor, CharacterTokenizer.from_corpus(["a bcd"]))


def make_waveform() -> np.ndarray:
    """Noise that changes its loudness ten times a second, 5 s."""
    generator = np.random.default_rng(0)
    loudness = np.repeat(10 ** generator.uniform(-4, -1, 50), 800)
    return (loudness * generator.standard_normal(len(loudness))).astype(np.float32)


def make_talker(processor: ConformerProcessor, **changes):
    """A model with random weights that writes a lot of nonsense, spaces too."""
    model = make_model(
        vocab_size=len(processor.tokenizer), **({"causal_convolutions": True, "chunk_frames": 3} | changes)
    )
    extractor = LogMelFeatureExtractor(**FEATURES, normalize="none")
    with torch.no_grad():
        states = model.encoder(extractor(make_waveform(), return_tensors="pt")["input_features"]).last_hidden_state[0]
        # Without what all frames share, the symbols take turns.
        torch.nn.init.normal_(model.head.weight).div_(states.std(0))
        model.head.bias.copy_(-model.head.weight @ states.mean(0))
    return model


@torch.no_grad()
def recognise(processor, model, waveform) -> dict:
    outputs = model(**processor(audio=waveform, sampling_rate=SAMPLING_RATE))
    return processor.decode_logits(outputs.logits, outputs.attention_mask)[0]


@pytest.mark.parametrize("size", [133, 1000, 50_000])
@pytest.mark.parametrize(
    "changes", [{}, {"chunk_frames": 7, "left_chunks": 1}, {"position_embeddings_type": "relative"}]
)
def test_the_streamed_transcript_equals_that_of_the_whole(size, changes):
    waveform, processor = make_waveform(), make_processor()
    model = make_talker(processor, **changes)
    expected = recognise(processor, model, waveform)
    stream = processor.stream(model)
    for start in range(0, len(waveform), size):
        stream.push(waveform[start : start + size])
    result = stream.finish()
    assert result["text"] == expected["text"]
    assert len(result["words"]) > 5
    for word, whole in zip(result["words"], expected["words"], strict=True):
        assert (word["word"], word["start_seconds"], word["end_seconds"]) == (
            whole["word"], whole["start_seconds"], whole["end_seconds"],
        )  # fmt: skip
        assert word["confidence"] == pytest.approx(whole["confidence"], abs=1e-4)


def test_text_grows_with_every_chunk_and_finished_words_stay():
    waveform, processor = make_waveform(), make_processor()
    stream, texts = processor.stream(make_talker(processor)), []
    # Three model frames of four hops each, and half a window that reaches ahead.
    assert stream.latency_seconds == pytest.approx((11 * 80 + 128) / SAMPLING_RATE)
    chunk = 12 * 80
    assert stream.push(waveform[: 11 * 80 + 127])["text"] == ""
    texts.append(stream.push(waveform[11 * 80 + 127 : 11 * 80 + 128])["text"])
    assert stream.model_stream.encoder_stream.num_frames == 3
    for start in range(11 * 80 + 128, len(waveform) - chunk, chunk):
        texts.append(stream.push(waveform[start : start + chunk])["text"])
    assert len(set(texts)) > 20
    for earlier, later in itertools.pairwise(texts):
        finished = earlier.split()[:-1]
        assert later.split()[: len(finished)] == finished


def test_silence_is_not_remembered():
    processor = make_processor()
    model = make_talker(processor, left_chunks=2)
    torch.nn.init.zeros_(model.head.weight)
    model.head.bias.data = torch.nn.functional.one_hot(
        torch.tensor(processor.tokenizer.pad_token_id), len(processor.tokenizer)
    ).float()
    stream = processor.stream(model)
    for _ in range(20):
        assert stream.push(np.zeros(1000, np.float32)) == {"text": "", "words": []}
        assert stream.ids == stream.scores == []
    assert stream.first_frame == 60


@pytest.mark.parametrize(
    ("features", "changes", "message"),
    [
        ({"normalize": "utterance"}, {}, "`normalize` is 'utterance'"),
        ({"do_normalize": True}, {}, "`do_normalize` is true"),
        ({}, {"causal_convolutions": False}, "`causal_convolutions` is False"),
        ({}, {"chunk_frames": None}, "`chunk_frames` is None"),
    ],
)
def test_what_needs_the_future_is_refused(features, changes, message):
    processor = make_processor(**features)
    with pytest.raises(ValueError, match=message):
        processor.stream(make_talker(processor, **changes))


def test_stereo_is_refused():
    processor = make_processor()
    with pytest.raises(ValueError, match=r"`waveform` has shape \(10, 2\)"):
        processor.stream(make_talker(processor)).push(np.zeros((10, 2)))
