"""Phones in time, perturbed features, and what a content encoder is trained on."""

import itertools

import numpy as np
import pytest
import torch

from antiphon.processing import CharacterTokenizer, ConformerProcessor, LogMelFeatureExtractor
from antiphon.processing.corpora import STANDARD_FEATURES
from antiphon.train_scripts.content_data import ContentCollator, ContentDataset, MelPerturbation, at_level
from antiphon.train_scripts.content_phones import SILENCE, align, aligned_engine, frame_labels, read_aloud

TEXTS = ["one two three four five six", "the cat sat on the mat"]


@pytest.fixture(scope="module")
def corpus():
    pytest.importorskip("espeakng_loader", reason="needs espeakng-loader: pip install antiphon[synthesis]")
    return read_aloud(TEXTS, 6, "train", seed=0)


def test_labels_are_what_sounds_in_the_middle_of_a_frame():
    labels = frame_labels([5, 7, 6], [0.0, 0.05, 0.07], num_frames=6, frame_seconds=0.02)
    assert labels.tolist() == [5, 5, 7, 6, 6, 6]


def best_alignment(scores: np.ndarray, phones: list[int], silence: int) -> float:
    """The best score of all ways to leave out silences and to cut the rest into stretches, by trying them all."""
    best, frames = -np.inf, len(scores)
    silences = [place for place, phone in enumerate(phones) if phone == silence]
    for left_out in itertools.chain.from_iterable(
        itertools.combinations(silences, count) for count in range(len(silences) + 1)
    ):
        states = [phone for place, phone in enumerate(phones) if place not in left_out]
        for cuts in itertools.combinations(range(1, frames), len(states) - 1):
            edges = itertools.pairwise([0, *cuts, frames])
            path = [state for state, (start, end) in zip(states, edges) for _ in range(end - start)]
            best = max(best, scores[np.arange(frames), path].sum())
    return best


@pytest.mark.parametrize("phones", [[0, 1, 2, 0, 2, 0], [1, 0, 2], [1, 1, 0, 3, 2], [0, 3]])
@pytest.mark.parametrize("seed", range(4))
def test_alignment_is_the_best_of_all(seed, phones):
    scores = np.random.default_rng(seed).normal(size=(8, 4))
    path = align(torch.from_numpy(scores), phones, silence_id=0)
    assert scores[np.arange(8), path].sum() == pytest.approx(best_alignment(scores, phones, 0))


def test_what_cannot_be_aligned_gives_nothing():
    assert len(align(torch.zeros(2, 4), [1, 2, 3], silence_id=0)) == 0
    assert len(align(torch.zeros(2, 4), [0], silence_id=0)) == 0
    assert len(align(torch.zeros(2, 4), [], silence_id=0)) == 0
    assert len(align(torch.full((3, 4), -torch.inf), [1, 2], silence_id=0)) == 0


def test_silences_in_a_row_are_one():
    scores = torch.from_numpy(np.random.default_rng(5).normal(size=(8, 4)))
    repeated = align(scores, [0, 0, 1, 0, 0, 0, 2, 0, 0], silence_id=0)
    assert repeated.tolist() == align(scores, [0, 1, 0, 2, 0], silence_id=0).tolist()
    assert align(torch.zeros(2, 4), [1, 0, 0, 2], silence_id=0).tolist() == [1, 2]


def test_read_aloud_tells_phones_and_when_they_begin(corpus):
    assert len(set(corpus["speaker_id"])) == 6
    assert {name: corpus.features[name] for name in STANDARD_FEATURES} == dict(STANDARD_FEATURES)
    for row in corpus:
        starts = np.array(row["phone_starts"])
        assert len(row["phones"]) == len(starts)
        assert starts[0] == 0
        assert (np.diff(starts) >= 0).all()
        assert starts[-1] <= row["duration_seconds"]
        assert row["phones"][0] == row["phones"][-1] == SILENCE
        assert any(row["text"] in text for text in TEXTS)
    assert read_aloud(TEXTS, 3, "train", seed=0)["text"] == corpus["text"][:3]
    assert aligned_engine().pronounce("cat sat") == ["_", "k", "a", "t", "_", "s", "a", "t", "_"]
    assert aligned_engine().pronounce(" ") == []


def test_warping_moves_a_peak_by_its_factor():
    # Band 20 lies at 782 Hz on the linear part of the scale; heard at a factor of 1.25 it comes from band 16.
    features = torch.zeros(1, 80)
    features[0, 20] = 1.0
    perturbation = MelPerturbation(warp=1.25, gain=0.0, tilt=0.0)

    class Highest:
        def uniform(self, low, high):
            return high

        def normal(self, mean, deviation):
            return np.zeros(np.shape(deviation))

    warped = perturbation(features, Highest())
    assert warped[0].argmax().item() == 16
    assert warped[0, 16] == pytest.approx(0.75, abs=0.02)


def test_perturbation_follows_its_generator_and_keeps_the_floor():
    features = torch.randn(20, 80) - 11
    first, again, other = (MelPerturbation()(features, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
    assert first.min() >= np.log(1e-6) - 1e-6
    still = MelPerturbation(warp=1.0, gain=0.0, tilt=0.0)(features, np.random.default_rng(1))
    torch.testing.assert_close(still, features.clamp(min=float(np.log(1e-6))), rtol=1e-5, atol=1e-5)


def test_level():
    waveform = np.random.default_rng(0).normal(size=8000).astype(np.float32)
    assert 20 * np.log10(at_level(waveform).std()) == pytest.approx(-27, abs=0.05)
    assert not at_level(np.zeros(10, np.float32)).any()


def make_dataset(corpus, **options):
    extractor = LogMelFeatureExtractor(win_length=640, n_fft=640, mel_floor=1e-6, normalize="none")
    tokenizer = CharacterTokenizer.from_corpus(corpus["text"])
    processor = ConformerProcessor(extractor, tokenizer, subsampling_factor=4)
    return ContentDataset(corpus, processor, phone_names=[SILENCE, "t"], max_seconds=20, **options)


def test_items_hold_clean_and_perturbed_features_and_every_label(corpus):
    speaker = corpus["speaker_id"][0]
    dataset = make_dataset(corpus, speakers=[speaker], perturbation=MelPerturbation(), batch_size=2, seed=3)
    plain = make_dataset(corpus)
    dataset.order = plain.order
    item, reference = dataset[0], plain[0]
    torch.testing.assert_close(item["clean_features"], reference["input_features"])
    assert (item["input_features"] - item["clean_features"]).abs().max() > 0.1
    assert len(item["phone_labels"]) == -(-len(item["input_features"]) // 2)
    assert set(item["phone_labels"].tolist()) <= {-100, 0, 1}
    assert item["phone_labels"][-1] == 0
    assert (item["speaker_labels"], dataset[1]["speaker_labels"]) == (0, -100)
    torch.testing.assert_close(dataset[0]["input_features"], item["input_features"])
    dataset.set_epoch(1)
    dataset.order = plain.order
    assert not torch.allclose(dataset[0]["input_features"], item["input_features"])


def test_batches_are_padded(corpus):
    dataset = make_dataset(corpus)
    batch = ContentCollator()([dataset[0], dataset[1]])
    lengths = [len(dataset[index]["input_features"]) for index in range(2)]
    assert batch["attention_mask"].sum(-1).tolist() == lengths
    assert batch["input_features"].shape == batch["clean_features"].shape == (2, max(lengths), 80)
    assert batch["phone_labels"].shape == (2, -(-max(lengths) // 2))
