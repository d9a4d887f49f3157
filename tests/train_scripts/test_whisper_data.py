"""What a Whisper is trained on: labels with their prompt, a window that nothing exceeds, drops that are counted."""

import pytest
import torch
from tiny_whisper import SAMPLING_RATE, WINDOW_SECONDS, make_model, make_processor
from tone_corpus import write_tone_corpus

from antiphon.processing.corpora import load_corpus
from antiphon.processing.corpora.augmentation import WaveformAugmentation
from antiphon.train_scripts.recipes import RecipeError
from antiphon.train_scripts.recognition_data import RecognitionCollator
from antiphon.train_scripts.whisper_data import WhisperDataset


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return load_corpus(str(write_tone_corpus(tmp_path_factory.mktemp("tones") / "corpus")))


@pytest.fixture(scope="module")
def processor():
    processor = make_processor()
    processor.tokenizer.set_prefix_tokens(language="de", task="transcribe")
    return processor


def dataset(corpus, processor, **options):
    return WhisperDataset(corpus, processor, **{"max_tokens": 32, "resample": True, **options})


def replace(corpus, column, values):
    feature = corpus.features[column]
    rest = corpus[column][len(values) :]
    return corpus.remove_columns(column).add_column(column, [*values, *rest], feature=feature)


def test_labels_begin_with_language_and_task_and_end_with_the_end(corpus, processor):
    labels = dataset(corpus, processor)[0]["labels"]
    tokens = processor.tokenizer.convert_ids_to_tokens(labels.tolist())
    assert tokens[:3] == ["<|de|>", "<|transcribe|>", "<|notimestamps|>"]
    assert tokens[-1] == "<|endoftext|>"
    assert processor.tokenizer.decode(labels, skip_special_tokens=True) == corpus["text"][0]


def test_the_decoder_reads_the_prompt_that_generation_begins_with(corpus, processor):
    """A prompt one token off would still train, and transcribe badly."""
    model = make_model(processor)
    model.generation_config.language, model.generation_config.task = "de", "transcribe"
    batch = RecognitionCollator(processor)([dataset(corpus, processor)[0]])
    seen = []
    model.model.decoder.register_forward_pre_hook(
        lambda module, arguments, options: seen.append(options["input_ids"]), with_kwargs=True
    )
    with torch.no_grad():
        model(**batch)
        model.generate(input_features=batch["input_features"])
    trained, generated = seen[0][0].tolist(), seen[1][0].tolist()
    assert processor.tokenizer.convert_ids_to_tokens(generated)[0] == "<|startoftranscript|>"
    assert trained[:4] == generated


def test_what_cannot_be_trained_on_is_dropped_and_counted(corpus, processor):
    changed = replace(corpus, "text", ["", 28 * "a", 29 * "a"])
    changed = replace(changed, "duration_seconds", [1.0, 1.0, 1.0, WINDOW_SECONDS + 0.01, WINDOW_SECONDS])
    found = dataset(changed, processor)
    assert [found.dropped[why] for why in ("empty_text", "too_long", "too_many_tokens")] == [1, 1, 1]
    assert found.dropped["kept"] == len(found) == len(corpus) - 3
    assert max(map(len, found.labels)) == 32
    assert "1 longer than the window" in str(found.dropped)
    assert dataset(changed, processor, max_seconds=0.9).dropped["too_long"] > 4


def test_limits_that_leave_nothing_or_cannot_be_are_refused(corpus, processor):
    with pytest.raises(RecipeError, match=r"`data.max_seconds` is 3 but this checkpoint hears 2 s"):
        dataset(corpus, processor, max_seconds=3.0)
    with pytest.raises(
        RecipeError, match="No utterance is left to use: 0 utterances kept; dropped: 0 without text, 24"
    ):
        dataset(corpus, processor, max_seconds=0.01)


def test_no_augmentation_lengthens_audio_beyond_the_window(corpus, processor):
    slow = WaveformAugmentation(SAMPLING_RATE, speed={"probability": 1.0, "factor": [0.5, 0.51]})
    augmented = dataset(corpus, processor, augmentation=slow, batch_size=4)
    plain = dataset(corpus, processor)
    slowed = kept = 0
    for position in range(len(augmented)):
        index = int(augmented.order[position])
        length, original = len(augmented[position]["waveform"]), len(plain[index]["waveform"])
        assert length <= WINDOW_SECONDS * SAMPLING_RATE
        slowed += length > 1.9 * original
        kept += length == original
    assert slowed
    assert kept == sum(seconds > WINDOW_SECONDS / 2 for seconds in corpus["duration_seconds"])
    assert slowed + kept == len(corpus)


def test_a_batch_is_padded_to_the_window(corpus, processor):
    items = [dataset(corpus, processor)[index] for index in range(3)]
    batch = RecognitionCollator(processor)(items)
    assert batch["input_features"].shape == (3, 16, 100 * WINDOW_SECONDS)
    assert (batch["labels"] == -100).sum(-1).tolist() == [
        batch["labels"].shape[1] - len(item["labels"]) for item in items
    ]
