"""Batches of voices: balance, crops, speeds as speakers, corpora, determinism."""

from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from voice_corpus import SAMPLING_RATE, write_voice_corpus

from antiphon.processing import LogMelFeatureExtractor
from antiphon.processing.corpora import load_corpus
from antiphon.processing.corpora.augmentation import WaveformAugmentation
from antiphon.train_scripts.recipes import RecipeError
from antiphon.train_scripts.speaker_data import SpeakerBatches, SpeakerCollator, ValidationVoices, Voices

OPTIONS = {
    "speakers_per_batch": 5, "utterances_per_speaker": 3, "num_batches": 40, "crop_seconds": (0.3, 0.7),
    "speed_factors": (1.0, 0.9, 1.1), "balance": 0.5, "augmentation": None, "seed": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Seven training speakers, of whom the last has one recording, in two corpora."""
    folder = write_voice_corpus(tmp_path_factory.mktemp("voices") / "corpus")
    return load_corpus(folder, split="train")


@pytest.fixture(scope="module")
def voices(corpus):
    return Voices(corpus, SAMPLING_RATE)


def batch_of(data, number):
    return [data[number * data.batch_size + place] for place in range(data.batch_size)]


def dominant_hz(waveform):
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform)), 16 * len(waveform)))
    return np.argmax(spectrum) * SAMPLING_RATE / (16 * len(waveform))


def test_a_batch_has_as_many_speakers_and_utterances_as_asked(voices):
    data = SpeakerBatches(voices, **OPTIONS)
    lengths = set()
    for number in range(10):
        batch = batch_of(data, number)
        labels, counts = np.unique([item["speakers"] for item in batch], return_counts=True)
        assert (len(labels), set(counts)) == (5, {3})
        assert len({len(item["waveform"]) for item in batch}) == 1
        lengths.add(len(batch[0]["waveform"]))
    assert len(lengths) > 2
    assert {length % 1600 for length in lengths} == {0}
    assert 4800 <= min(lengths) <= max(lengths) <= 11200


def test_everything_follows_from_seed_and_position(voices):
    augmentation = WaveformAugmentation(SAMPLING_RATE, noise={"probability": 1.0}, gain={})
    options = OPTIONS | {"augmentation": augmentation}
    first, second = SpeakerBatches(voices, **options), SpeakerBatches(voices, **options)
    second[100], second[3]  # another order of reading
    for position in (0, 17, 101):
        np.testing.assert_array_equal(first[position]["waveform"], second[position]["waveform"])
    other = SpeakerBatches(voices, **options | {"seed": 1})
    assert any(first[place]["speakers"] != other[place]["speakers"] for place in range(15))


def test_a_worker_gets_its_copy(voices):
    """As under `spawn`."""
    data = SpeakerBatches(voices, **OPTIONS)
    copied = ForkingPickler.loads(ForkingPickler.dumps(data))
    np.testing.assert_array_equal(copied[17]["waveform"], data[17]["waveform"])


def test_crops_of_the_one_recording_differ(voices):
    single = int(np.flatnonzero(np.bincount(voices.speakers) == 1)[0])
    data = SpeakerBatches(voices, **OPTIONS | {"augmentation": WaveformAugmentation(SAMPLING_RATE, noise={})})
    for number in range(40):
        own = [item for item in batch_of(data, number) if item["speakers"] % len(voices.speaker_names) == single]
        if own:
            assert not np.array_equal(own[0]["waveform"], own[1]["waveform"])
            return
    pytest.fail("the speaker with one recording never came")


def test_speed_moves_the_pitch_and_makes_another_speaker(voices):
    data = SpeakerBatches(voices, **OPTIONS)
    time = np.arange(40_000) / SAMPLING_RATE
    tone = np.sin(2 * np.pi * 400 * time).astype(np.float16)
    for factor in (0.9, 1.0, 1.1):
        crop = data._crop(tone, 16_000, factor, np.random.default_rng(0))
        assert len(crop) == 16_000
        assert dominant_hz(crop) == pytest.approx(400 * factor, rel=0.01)
    assert data.num_classes == 3 * len(voices.speaker_names)
    seen = {int(item["speakers"]) for number in range(40) for item in batch_of(data, number)}
    assert seen == set(range(data.num_classes))


def test_a_short_recording_is_repeated_and_nothing_is_silent(voices):
    data = SpeakerBatches(voices, **OPTIONS)
    ramp = np.linspace(0.1, 1, 1000).astype(np.float16)
    crop = data._crop(ramp, 5000, 1.0, np.random.default_rng(0))
    assert len(crop) == 5000
    np.testing.assert_array_equal(crop[:4000], crop[1000:])
    np.testing.assert_allclose(np.sort(crop[:1000]), ramp, rtol=1e-3)


@pytest.mark.parametrize(("balance", "ratio"), [(0.0, 1.0), (0.5, 2.0), (1.0, 4.0)])
def test_balance_weighs_speakers_by_their_recordings(voices, balance, ratio):
    data = SpeakerBatches(voices, **OPTIONS | {"balance": balance})
    counts = np.tile(np.bincount(voices.speakers), 3)
    assert data.shares.sum() == pytest.approx(1.0)
    assert data.shares[counts == 4][0] / data.shares[counts == 1][0] == pytest.approx(ratio)


def test_rivals_are_those_of_the_same_corpus(voices):
    data = SpeakerBatches(voices, **OPTIONS)
    rivals = data.rivals()
    assert rivals.shape == (2, data.num_classes)
    # Speaker and corpus go by the same number here: even ones in one studio, odd ones in the other.
    expected = [[int(name[-1]) % 2 == studio for name in voices.speaker_names] * 3 for studio in (0, 1)]
    assert rivals.tolist() == expected
    for item in batch_of(data, 0):
        assert rivals[item["domains"], item["speakers"]]


def test_padding_is_masked_and_equal_lengths_need_no_mask(voices):
    extractor = LogMelFeatureExtractor(win_length=640, n_fft=640, mel_floor=1e-6, normalize="none")
    validation, collate = ValidationVoices(voices), SpeakerCollator(extractor)
    batch = collate([validation[0], validation[2]])
    lengths = [1 + len(validation[index]["waveform"]) // 160 for index in (0, 2)]
    assert batch["attention_mask"].sum(-1).tolist() == lengths
    assert batch["speakers"].tolist() == [voices.speakers[0], voices.speakers[2]]
    assert "attention_mask" not in collate([validation[0], validation[0]])
    assert batch["domains"].dtype == torch.int64


def test_recordings_are_cut_at_the_given_length(corpus):
    assert {len(waveform) for waveform in Voices(corpus, SAMPLING_RATE, 0.4).waveforms} == {6400}


def test_what_cannot_be_drawn_is_refused(corpus, voices):
    with pytest.raises(RecipeError, match=r"`data.speakers_per_batch` is 22 .* make 21"):
        SpeakerBatches(voices, **OPTIONS | {"speakers_per_batch": 22})
    nobody = corpus.remove_columns("speaker_id").add_column(
        "speaker_id", [None] * len(corpus), feature=corpus.features["speaker_id"]
    )
    with pytest.raises(RecipeError, match=r"have no `speaker_id`"):
        Voices(nobody, SAMPLING_RATE)
