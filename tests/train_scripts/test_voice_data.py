"""Segments of voices: the same for the same seed, references of the same speaker, and batches of them."""

import numpy as np
import pytest
import torch

from antiphon.train_scripts.recipes import RecipeError
from antiphon.train_scripts.voice_data import SegmentPicker, VoiceCollator, VoiceSegments, VoiceTable

SPEAKERS = np.array([0, 0, 1, 2, 2, 2])
LENGTHS = np.array([90, 120, 75, 31, 200, 64])


def make_picker(**changes) -> SegmentPicker:
    options = {"segment_length": 40, "reference_lengths": [20, 50], "grid": 2, "seed": 3}
    return SegmentPicker(SPEAKERS, LENGTHS, **(options | changes))


def test_a_segment_follows_from_seed_epoch_and_index():
    first, second = make_picker(), make_picker()
    picks = [[first(epoch, index) for index in range(20)] for epoch in range(2)]
    # In any order, from a picker of its own.
    assert [[second(epoch, index) for index in reversed(range(20))][::-1] for epoch in (0, 1)] == picks
    assert picks[0] != picks[1]
    assert [make_picker(seed=4)(0, index) for index in range(20)] != picks[0]


def test_references_are_of_the_same_speaker_and_never_overlap():
    picker = make_picker()
    seen = set()
    for index in range(400):
        pick = picker(0, index)
        seen.add(pick.recording)
        assert SPEAKERS[pick.recording] == SPEAKERS[pick.reference]
        assert pick.start % 2 == pick.reference_start % 2 == 0
        assert pick.start + 40 <= LENGTHS[pick.recording]
        assert pick.reference_start + pick.reference_length <= LENGTHS[pick.reference]
        assert 17 <= pick.reference_length <= 50
        if SPEAKERS[pick.recording] == 1:  # a single recording: beside the segment
            assert pick.reference == pick.recording
            end = pick.reference_start + pick.reference_length
            assert end <= pick.start or pick.reference_start >= pick.start + 40
        else:
            assert pick.reference != pick.recording
    assert seen == {0, 1, 2, 4, 5}  # number 3 is too short for a segment


@pytest.mark.parametrize(("balance", "expected"), [(0.0, 1 / 3), (1.0, 75 / (210 + 75 + 264))])
def test_balance_between_speakers(balance, expected):
    picker = make_picker(balance=balance)
    share = np.mean([SPEAKERS[picker(0, index).recording] == 1 for index in range(2000)])
    assert share == pytest.approx(expected, abs=0.035)


def test_too_short_recordings_are_told():
    with pytest.raises(RecipeError, match=r"No recording has the 500 \+ 20 frames"):
        make_picker(segment_length=500)


@pytest.fixture
def segments():
    frames = np.arange(LENGTHS.sum())
    pieces = np.split(frames, np.cumsum(LENGTHS)[:-1])
    halves = np.concatenate([piece[::2] for piece in pieces])
    arrays = {
        "input_features": frames[:, None] * np.ones(4),
        "f0": frames.astype(np.float32),
        "content": halves[:, None] * np.ones(3),
        "lengths": LENGTHS,
        "speakers": SPEAKERS,
    }
    return VoiceSegments(VoiceTable(arrays), make_picker(), size=12)


def test_everything_of_a_segment_comes_from_the_same_place(segments):
    for item in segments:
        for prefix in ("", "reference_"):
            features = item["input_features" if not prefix else "reference_features"]
            torch.testing.assert_close(features[:, 0], item[f"{prefix}f0"])
            content = item[f"{prefix}content"]
            assert len(content) == (len(features) + 1) // 2
            torch.testing.assert_close(content[:, 0], features[::2, 0])
        assert len(item["f0"]) == 40


def test_epochs_differ_and_come_back(segments):
    before = segments[3]["f0"]
    segments.set_epoch(1)
    assert not torch.equal(segments[3]["f0"], before)
    segments.set_epoch(0)
    assert torch.equal(segments[3]["f0"], before)


def test_a_perturbed_segment_is_heard_by_the_content_encoder_alone(segments):
    perturbed = VoiceSegments(segments.table, segments.picker, 12, lambda features, draw: features + draw.normal())
    plain, item = segments[3], perturbed[3]
    shift = item.pop("content_features") - plain["input_features"]
    assert shift.unique().numel() <= 2  # one number, but for rounding
    assert shift.abs().min() > 0
    assert item.keys() == plain.keys()
    for name, tensor in plain.items():
        assert torch.equal(item[name], tensor), name
    assert torch.equal(perturbed[3]["content_features"], plain["input_features"] + shift)
    perturbed.set_epoch(1)
    segments.set_epoch(1)
    assert not torch.allclose(perturbed[3]["content_features"] - segments[3]["input_features"], shift)


def test_batches_pad_references_alone(segments):
    items = [segments[index] for index in range(4)]
    batch = VoiceCollator()(items)
    assert batch["input_features"].shape == (4, 40, 4)
    assert batch["content"].shape == (4, 20, 3)
    lengths = [len(item["reference_f0"]) for item in items]
    assert batch["reference_attention_mask"].sum(1).tolist() == lengths
    assert batch["reference_features"].shape == (4, max(lengths), 4)
    assert batch["reference_content"].shape == (4, (max(lengths) + 1) // 2, 3)
    shortest = int(np.argmin(lengths))
    assert not batch["reference_features"][shortest, lengths[shortest] :].any()
    assert batch["speaker_ids"].tolist() == [int(item["speaker_ids"]) for item in items]
