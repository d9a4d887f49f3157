"""ConformerProcessor: labels, word timings and confidences of hand-made scores, saving."""

import numpy as np
import pytest
import torch

from antiphon.modeling import ConformerConfig
from antiphon.processing import CharacterTokenizer, ConformerProcessor, LogMelFeatureExtractor
from antiphon.processing.language_model import WordLanguageModel

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


# ---------------------------------------------------------------- beam search


@pytest.fixture
def with_language_model(processor):
    """A processor that knows which words are usual."""
    own = ConformerProcessor(processor.feature_extractor, processor.tokenizer)
    own.language_model = WordLanguageModel.train(["ab ca", "ca ab", "ab"], order=2, weight=1.0)
    return own


# "b" of the second word is taken for "c" a little more often than not.
DOUBTED = make_logits([A, 0, B, 2, C, 0, A, 2, A, 0, C, 0])
DOUBTED[0, 10, B] = DOUBTED[0, 10, C] - 0.2


def test_beam_search_finds_words_with_times_and_confidence(processor):
    path = [0, A, A, 0, B, 2, 0, C, 0, C, C]
    [greedy] = processor.decode_logits(make_logits(path))
    [item] = processor.decode_logits(make_logits(path), num_beams=8)
    assert item["text"] == greedy["text"] == "ab cc"
    for word, other in zip(item["words"], greedy["words"], strict=True):
        assert word == other | {"confidence": pytest.approx(other["confidence"])}
    assert item["hypotheses"][0]["text"] == "ab cc"
    assert set(item["hypotheses"][0]) == {"text", "score", "acoustic_score", "language_score", "bonus"}


def test_the_language_model_helps_beam_search_and_never_greedy_decoding(processor, with_language_model):
    for own in (processor, with_language_model):
        assert own.decode_logits(DOUBTED)[0]["text"] == "ab ca ac"
        assert "hypotheses" not in own.decode_logits(DOUBTED)[0]
    assert processor.decode_logits(DOUBTED, num_beams=8)[0]["text"] == "ab ca ac"
    [item] = with_language_model.decode_logits(DOUBTED, num_beams=8, num_hypotheses=3)
    assert item["text"] == "ab ca ab"
    assert [word["word"] for word in item["words"]] == ["ab", "ca", "ab"]
    # The times are those of the symbols that were doubted, and so is the confidence.
    assert item["words"][2]["end_seconds"] == processor.decode_logits(DOUBTED)[0]["words"][2]["end_seconds"]
    assert item["words"][2]["confidence"] < item["words"][0]["confidence"]
    assert len(item["hypotheses"]) == 3
    assert with_language_model.decode_logits(DOUBTED, num_beams=8, language_model_weight=0)[0]["text"] == "ab ca ac"


def test_hot_words_are_normalised_and_favoured(processor):
    assert processor.decode_logits(DOUBTED, num_beams=8, hot_words=["AB!"])[0]["text"] == "ab ca ab"
    [item] = processor.decode_logits(DOUBTED, num_beams=8, hot_words=["ab"], hot_word_bonus=0.0)
    assert item["text"] == "ab ca ac"


def test_beam_search_reads_no_padded_frames(with_language_model):
    logits = torch.cat([make_logits([A, 0, B, C]), make_logits([C, 2, A, B])])
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]])
    found = with_language_model.decode_logits(logits, mask, num_beams=8, language_model_weight=0)
    assert [item["text"] for item in found] == ["a", "c ab"]
    [silence] = with_language_model.decode_logits(make_logits([0, 2, 0]), num_beams=8, language_model_weight=0)
    assert (silence["text"], silence["words"]) == ("", [])


def test_greedy_decoding_has_neither_hot_words_nor_hypotheses(processor):
    for options in ({"hot_words": ["ab"]}, {"num_hypotheses": 2}):
        with pytest.raises(ValueError, match="`num_beams` is 1 but hot words and hypotheses need beam search"):
            processor.decode_logits(DOUBTED, **options)
    with pytest.raises(ValueError, match=r"`hot_words` is the text 'ab'; expected a list"):
        processor.decode_logits(DOUBTED, num_beams=8, hot_words="ab")


def test_logits_that_training_still_needs_can_be_searched(processor):
    assert processor.decode_logits(DOUBTED.clone().requires_grad_(), num_beams=8)[0]["text"] == "ab ca ac"


def test_the_language_model_is_saved_and_loaded_along(processor, with_language_model, tmp_path):
    ConformerConfig().save_pretrained(tmp_path)
    with_language_model.save_pretrained(tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert {"language_model.json", "language_model.arpa", "language_model_spelling.arpa"} <= names
    assert {"decoding_beam.py", "decoding_hot_words.py", "language_model.py", "language_ngram.py"} <= names
    loaded = ConformerProcessor.from_pretrained(tmp_path, trust_remote_code=False)
    assert loaded.language_model.sha256 == with_language_model.language_model.sha256
    expected = with_language_model.decode_logits(DOUBTED, num_beams=8)
    assert loaded.decode_logits(DOUBTED, num_beams=8) == expected
    loaded.language_model = None
    loaded.save_pretrained(tmp_path)
    assert ConformerProcessor.from_pretrained(tmp_path, trust_remote_code=False).language_model is None
