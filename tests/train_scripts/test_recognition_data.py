import json

import numpy as np
import pytest
import torch
from tone_corpus import write_tone_corpus

from antiphon.processing import CharacterTokenizer, ConformerProcessor, LogMelFeatureExtractor
from antiphon.processing.corpora.augmentation import WaveformAugmentation
from antiphon.train_scripts.recipes import RecipeError
from antiphon.train_scripts.recognition_data import RecognitionCollator, RecognitionDataset
from antiphon.train_scripts.sources import describe_parts, describe_sources, load_sources


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = write_tone_corpus(tmp_path_factory.mktemp("tones") / "corpus")
    return load_sources([{"name": str(folder)}], "data.train")


@pytest.fixture(scope="module")
def processor(corpus):
    extractor = LogMelFeatureExtractor(feature_size=20, sampling_rate=8000, hop_length=80, win_length=200, n_fft=256)
    return ConformerProcessor(extractor, CharacterTokenizer.from_corpus(corpus["text"]), subsampling_factor=2)


def test_sources_are_selected_joined_and_described(corpus, tmp_path):
    folder = str(write_tone_corpus(tmp_path / "corpus"))
    sources = load_sources(
        [{"name": folder, "where": ["split=train"]}, {"name": folder, "where": ["split!=train"]}], "x"
    )
    assert sorted(sources["file_name"]) == sorted(corpus["file_name"])
    [entry] = describe_sources(sources)
    assert entry["name"] == "tones"
    assert (entry["num_items"], entry["num_speakers"], entry["split"]) == (24, 4, "test, train, validation")
    assert entry["speakers"] == sorted(set(corpus["speaker_id"]))
    with pytest.raises(RecipeError, match="names no corpus"):
        load_sources([], "data.train")
    with pytest.raises(RecipeError, match="did you mean `where`"):
        load_sources([{"name": folder, "were": []}], "data.train")


def test_a_composed_model_has_heard_what_its_parts_heard(tmp_path):
    def entry(name, speakers, hours):
        return {"name": name, "speakers": speakers, "num_speakers": len(speakers), "hours": hours, "license": "CC0-1.0"}

    part = tmp_path / "part"
    (part / "checkpoint").mkdir(parents=True)
    heard = [entry("a", ["ann", "cid"], 2.0) | {"license": "CC-BY-4.0"}, entry("b", ["dan"], 1.0)]
    (part / "training_data.json").write_text(json.dumps(heard))
    own = [entry("a", ["ann", "bob"], 1.5)]
    assert describe_parts(own, [part / "checkpoint"]) == [
        entry("a", ["ann", "bob", "cid"], 2.0) | {"license": "CC-BY-4.0, CC0-1.0"},
        entry("b", ["dan"], 1.0),
    ]
    assert own == [entry("a", ["ann", "bob"], 1.5)]
    unknown = describe_parts(own, [tmp_path / "elsewhere" / "checkpoint"])[1]
    assert unknown["name"] == "unknown, of elsewhere/checkpoint"
    assert "speakers" not in unknown


def test_order_and_augmentation_are_functions_of_seed_and_epoch(corpus, processor):
    def make(seed):
        augmentation = WaveformAugmentation(8000, noise={"probability": 1.0}, speed={"probability": 1.0})
        return RecognitionDataset(corpus, processor, max_seconds=9, augmentation=augmentation, batch_size=5, seed=seed)

    first, second, other = make(1), make(1), make(2)
    np.random.default_rng().random()
    for epoch in (3, 0, 3):
        first.set_epoch(epoch)
    second.set_epoch(3)
    assert np.array_equal(first.order, second.order)
    np.testing.assert_array_equal(first[4]["waveform"], second[4]["waveform"])
    other.set_epoch(3)
    assert not np.array_equal(first.order, other.order)
    before = first[4]["waveform"]
    first.set_epoch(4)
    assert not np.array_equal(first.order, second.order)
    assert len(before) != len(first[4]["waveform"]) or not np.array_equal(before, first[4]["waveform"])


def test_an_epoch_holds_every_utterance_once_in_batches_of_similar_length(corpus, processor):
    dataset = RecognitionDataset(corpus, processor, max_seconds=9, batch_size=5, seed=0)
    assert sorted(dataset.order) == list(range(len(corpus)))
    durations = dataset.durations[dataset.order]
    spread = np.mean([np.ptp(durations[start : start + 5]) for start in range(0, 20, 5)])
    generator = np.random.default_rng(0)
    shuffled = [generator.permutation(durations) for _ in range(20)]
    by_chance = np.mean([np.ptp(order[start : start + 5]) for order in shuffled for start in range(0, 20, 5)])
    assert spread < by_chance / 2


def test_validation_keeps_the_order_of_the_corpus(corpus, processor):
    dataset = RecognitionDataset(corpus, processor, max_seconds=9)
    dataset.set_epoch(5)
    assert list(dataset.order) == list(range(len(corpus)))


def test_what_cannot_be_trained_on_is_counted(corpus, processor):
    texts = [None, "!?", "zzz", 60 * "a", *corpus["text"][4:]]
    texts = corpus.remove_columns("text").add_column("text", texts)
    dropped = RecognitionDataset(texts, processor, max_seconds=9).dropped
    assert [dropped[why] for why in ("empty_text", "unknown_symbols", "too_short_for_text")] == [2, 1, 1]
    assert dropped["kept"] == len(corpus) - 4
    assert "1 too short" in str(dropped)
    with pytest.raises(RecipeError, match="No utterance is left"):
        RecognitionDataset(corpus, processor, max_seconds=0.01)


def test_a_speed_change_never_makes_the_text_impossible(corpus, processor):
    augmentation = WaveformAugmentation(8000, speed={"probability": 1.0, "factor": [1.9, 2.0]})
    # Each letter of the tones lasts seven frames, so halving them leaves enough.
    dataset = RecognitionDataset(corpus, processor, max_seconds=9, augmentation=augmentation, batch_size=4)
    plain = RecognitionDataset(corpus, processor, max_seconds=9)
    index = int(dataset.order[0])
    assert len(dataset[0]["waveform"]) < 0.6 * len(plain[index]["waveform"])
    texts = [torch.arange(length) % 2 + 3 for length in range(1, 200)]
    dataset.labels[index] = [ids for ids in texts if dataset.fits(ids, dataset.durations[index])][-1]
    np.testing.assert_array_equal(dataset[0]["waveform"], plain[index]["waveform"])


def test_another_rate_is_an_error_unless_resampling_is_asked_for(corpus):
    extractor = LogMelFeatureExtractor(feature_size=20)
    processor = ConformerProcessor(extractor, CharacterTokenizer.from_corpus(corpus["text"]))
    with pytest.raises(ValueError, match="8000"):
        RecognitionDataset(corpus, processor, max_seconds=9)[0]
    item = RecognitionDataset(corpus, processor, max_seconds=9, resample=True)[0]
    assert len(item["waveform"]) == pytest.approx(16_000 * corpus[0]["duration_seconds"], abs=1)


def test_the_collator_pads_labels_with_the_ignored_value(corpus, processor):
    dataset = RecognitionDataset(corpus, processor, max_seconds=9)
    items = [dataset[0], dataset[1]]
    batch = RecognitionCollator(processor)(items)
    lengths = [len(item["labels"]) for item in items]
    assert batch["labels"].shape == (2, max(lengths))
    assert (batch["labels"] >= 0).sum(-1).tolist() == lengths
    assert batch["attention_mask"].sum(-1).tolist() == [1 + len(item["waveform"]) // 80 for item in items]
    assert torch.equal(batch["labels"][0][: lengths[0]], items[0]["labels"])
