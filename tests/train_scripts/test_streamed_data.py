"""Utterances of a stream: what is given out, in which order, and how much is held."""

import numpy as np
import pytest
import torch
from tone_corpus import write_tone_corpus

from antiphon.processing import CharacterTokenizer, ConformerProcessor, LogMelFeatureExtractor
from antiphon.processing.corpora import CorpusStream
from antiphon.processing.corpora.augmentation import WaveformAugmentation
from antiphon.train_scripts.recipes import RecipeError, load_recipe
from antiphon.train_scripts.recognition_data import RecognitionDataset
from antiphon.train_scripts.sources import describe_sources, load_sources
from antiphon.train_scripts.streamed_data import StreamedUtterances
from antiphon.train_scripts.train_conformer import resolve


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tone_corpus(tmp_path_factory.mktemp("tones") / "corpus", num_utterances=40)


@pytest.fixture(scope="module")
def processor():
    extractor = LogMelFeatureExtractor(feature_size=20, sampling_rate=8000, hop_length=80, win_length=200, n_fft=256)
    return ConformerProcessor(extractor, CharacterTokenizer.from_corpus(["aeio"]), subsampling_factor=2)


class Counted:
    """A stream that knows how many of its rows were asked for."""

    name = "counted"

    def __init__(self, rows):
        self.rows, self.num_read = list(rows), 0

    def __iter__(self):
        for row in self.rows:
            self.num_read += 1
            yield row


def stream_of(folder, processor, stream=None, **options):
    options = {"batch_size": 4, "buffer_size": 10, "max_seconds": 9.0, "seed": 3, **options}
    return StreamedUtterances(stream or CorpusStream(folder), processor, **options)


def contents(items):
    return sorted((tuple(item["labels"].tolist()), item["waveform"].tobytes()) for item in items)


def test_a_pass_gives_what_a_dataset_gives_in_another_order(folder, processor):
    dataset = RecognitionDataset(load_sources([{"name": str(folder)}], "x"), processor, max_seconds=9.0)
    items = list(stream_of(folder, processor))
    assert contents(items) == contents(dataset[index] for index in range(len(dataset)))
    assert [len(item["waveform"]) for item in items] != [len(dataset[index]["waveform"]) for index in range(40)]


def test_order_and_augmentation_are_those_of_seed_and_epoch(folder, processor):
    augmentation = WaveformAugmentation.from_config({"noise": {"probability": 1.0}}, 8000)

    def passes(seed):
        stream = stream_of(folder, processor, seed=seed, augmentation=augmentation)
        for epoch in (0, 1):
            stream.set_epoch(epoch)
            yield [item["waveform"].tobytes() for item in stream]

    first, second = list(passes(0)), list(passes(0))
    assert first == second
    assert sorted(first[0]) != sorted(first[1]), "noise is drawn anew"
    assert [len(wave) for wave in first[0]] != [len(wave) for wave in first[1]], "order is drawn anew"
    assert next(passes(1)) != first[0]


def test_batches_are_of_similar_length_and_only_a_buffer_is_held(folder, processor):
    counted = Counted(CorpusStream(folder))
    stream = stream_of(folder, processor, counted)
    assert stream.buffer_size == 12, "whole batches"
    lengths = []
    for given, item in enumerate(stream, start=1):
        lengths.append(len(item["waveform"]))
        assert counted.num_read <= -(-given // 12) * 12
    spread = np.mean([np.ptp(lengths[first : first + 4]) for first in range(0, 40, 4)])
    shuffled = np.random.default_rng(0).permutation(lengths)
    assert spread < 0.7 * np.mean([np.ptp(shuffled[first : first + 4]) for first in range(0, 40, 4)])


def test_what_is_dropped_and_heard_is_counted_for_each_pass(folder, processor):
    rows = list(CorpusStream(folder))
    rows[0]["text"], rows[1]["text"], rows[2]["text"] = None, "zzz", 99 * "a"
    rows[3]["duration_seconds"] = 10.0
    stream = stream_of(folder, processor, Counted(rows))
    for _ in range(2):
        assert len(list(stream)) == 36
        assert [stream.dropped[why] for why in ("kept", *stream.REASONS)] == [36, 1, 1, 1, 1]
    kept = load_sources([{"name": str(folder)}], "x").select(range(4, 40))
    assert stream.describe() == describe_sources(kept)


def test_a_stream_of_nothing_is_an_error(folder, processor):
    with pytest.raises(RecipeError, match=r"No utterance of counted is left to use: 0 utterances kept"):
        list(stream_of(folder, processor, Counted([])))


def test_labels_are_tensors_of_symbols(folder, processor):
    item = next(iter(stream_of(folder, processor)))
    assert item["labels"].dtype == torch.int64
    assert processor.tokenizer.unk_token_id not in item["labels"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["data.train=[{name: other}]"], "both say what to train on"),
        (["data.stream={split: train}"], "`split` is not a key of `data.stream`"),
        (["data.stream={buffer_size: 9}"], "needs a `name`"),
        (["data.stream={name: a/b, buffer_size: 0}"], "at least one utterance"),
        (["training.max_steps=-1"], "does not say how long it is"),
        (["data.alphabet=null"], "`data.alphabet` is missing"),
    ],
)
def test_what_a_stream_needs_is_asked_for(changes, message):
    stream = ["data.train=[]", "data.stream={name: a/b, options: {split: train}}", "data.alphabet=aeio"]
    recipe = load_recipe("debug", [*stream, "run.folder=runs/x", *changes])
    with pytest.raises(RecipeError, match=message):
        resolve(recipe)
