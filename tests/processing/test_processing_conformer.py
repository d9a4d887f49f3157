"""ConformerProcessor: labels, word timings and confidences of hand-made scores, saving."""

import numpy as np
import pytest
import torch

from antiphon.modeling import ConformerConfig
from antiphon.processing import CharacterTokenizer, ConformerProcessor, LogMelFeatureExtractor

# Ids: 0 blank, 1 unknown, 2 space, then a b c.
A, B, C = 3, 4, 5
FRAME_SECONDS = 0.04


@pytest.fixture(scope="module")
def processor():
    extractor = LogMelFeatureExtractor(feature_size=40, sampling_rate=8000, hop_length=80, win_length=200, n_fft=256)
    return ConformerProcessor(extractor, CharacterTokenizer.from_corpus(["abc"]))


def make_logits(path, probabilities=None) -> torch.Tensor:
    """Scores whose softmax gives each frame's symbol its probability and shares the rest among the others."""
    probabilities = torch.tensor(probabilities or [0.9] * len(path))
    rows = ((1 - probabilities) / 5)[:, None].repeat(1, 6)
    rows[torch.arange(len(path)), torch.tensor(path)] = probabilities
    return rows.log()[None]


def test_words_with_times_and_confidence(processor):
    path = [0, A, A, 0, B, 2, 0, C, 0, C, C]
    sure = [0.9, 0.6, 0.8, 0.9, 0.7, 0.9, 0.9, 0.5, 0.9, 0.95, 0.9]
    [item] = processor.decode_logits(make_logits(path, sure))
    assert item["text"] == "ab cc"
    first, second = item["words"]
    assert (first["word"], second["word"]) == ("ab", "cc")
    assert (first["start_seconds"], first["end_seconds"]) == (0.5 * FRAME_SECONDS, 4.5 * FRAME_SECONDS)
    assert (second["start_seconds"], second["end_seconds"]) == (6.5 * FRAME_SECONDS, 10.5 * FRAME_SECONDS)
    # The best frame of each symbol, averaged over the symbols of the word.
    assert first["confidence"] == pytest.approx((0.8 + 0.7) / 2)
    assert second["confidence"] == pytest.approx((0.5 + 0.95) / 2)


@pytest.mark.parametrize("path", [[0, 0, 0], [2, 0, 2], [0]])
def test_silence_has_no_words(processor, path):
    assert processor.decode_logits(make_logits(path)) == [{"text": "", "words": []}]


def test_spaces_at_the_edges_and_in_a_row_make_no_words(processor):
    [item] = processor.decode_logits(make_logits([2, A, 2, 0, 2, B, 2]))
    assert item["text"] == "a b"
    assert [word["word"] for word in item["words"]] == ["a", "b"]


def test_padded_frames_are_not_read(processor):
    logits = torch.cat([make_logits([A, 0, B, C]), make_logits([C, 2, A, B])])
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]])
    assert [item["text"] for item in processor.decode_logits(logits, mask)] == ["a", "c ab"]
    assert [item["text"] for item in processor.decode_logits(logits.numpy(), mask.numpy())] == ["a", "c ab"]
    assert [item["text"] for item in processor.decode_logits(logits)] == ["abc", "c ab"]


def test_text_agrees_with_the_tokenizer(processor):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(20, 30, 6, generator=generator) * 3
    logits[:, :, 1] = -100.0  # a trained model never says "unknown"
    for item, path in zip(processor.decode_logits(logits), logits.argmax(-1)):
        assert item["text"] == " ".join(processor.tokenizer.decode(path).split())
        assert item["text"] == " ".join(word["word"] for word in item["words"])
        assert all(word["start_seconds"] < word["end_seconds"] <= 30 * FRAME_SECONDS for word in item["words"])


def test_frame_seconds_follow_from_the_rates(processor):
    assert processor.sampling_rate == 8000
    assert processor.frame_seconds == pytest.approx(FRAME_SECONDS)


@pytest.mark.parametrize("return_tensors", ["pt", "np"])
def test_labels_are_ignored_where_padded(processor, return_tensors):
    labels = processor(text=["ab c", "", "b"], return_tensors=return_tensors)["labels"]
    assert labels.tolist() == [[A, B, 2, C], [-100] * 4, [B, -100, -100, -100]]


def test_text_that_normalises_to_nothing_still_gives_integer_labels(processor):
    labels = processor(text=["!"])["labels"]
    assert labels.shape == (1, 0)
    assert labels.dtype == torch.int64


def test_audio_and_text_together(processor):
    waveforms = [np.ones(1000, dtype=np.float32), np.ones(500, dtype=np.float32)]
    inputs = processor(audio=waveforms, text=["a", "bc"], sampling_rate=8000)
    assert set(inputs) == {"input_features", "attention_mask", "labels"}
    assert inputs["input_features"].shape == (2, 13, 40)
    assert inputs["attention_mask"].sum(-1).tolist() == [13, 7]
    assert processor(text="ab")["labels"].tolist() == [[A, B]]


def test_errors_say_what_to_do(processor):
    with pytest.raises(ValueError, match=r"Neither `audio` nor `text` was given"):
        processor()
    with pytest.raises(ValueError, match=r"`sampling_rate` is 16000 but this extractor expects 8000 Hz"):
        processor(audio=np.ones(100), sampling_rate=16_000)


def test_save_and_load_keeps_everything(processor, tmp_path):
    other = ConformerProcessor(processor.feature_extractor, processor.tokenizer, subsampling_factor=8)
    other.save_pretrained(tmp_path)
    ConformerConfig().save_pretrained(tmp_path)  # tells the Auto classes which registered classes belong here
    assert {"processor_config.json", "tokenizer.json"} <= {path.name for path in tmp_path.iterdir()}
    loaded = ConformerProcessor.from_pretrained(tmp_path, trust_remote_code=False)
    assert type(loaded.tokenizer) is CharacterTokenizer
    assert loaded.frame_seconds == pytest.approx(2 * FRAME_SECONDS)
    assert loaded.feature_extractor.to_dict() == other.feature_extractor.to_dict()
    assert loaded.tokenizer.get_vocab() == other.tokenizer.get_vocab()
    logits = make_logits([A, 0, B, 2, C])
    assert loaded.decode_logits(logits) == other.decode_logits(logits)
