"""The watermark: found with its key in what was cut and scaled, not found elsewhere, and hardly a change."""

import pytest
import torch
from scipy.stats import norm
from tiny_voices import voice

from antiphon.modeling.layers_watermark import (
    check_room_for_watermark,
    embed_watermark,
    signs,
    watermark_score,
    watermark_threshold,
)

SPEECH = voice(120.0, 12.0)


@pytest.fixture(scope="module")
def marked():
    return embed_watermark(SPEECH, "antiphon")


def test_the_mark_is_found_with_its_key_alone(marked):
    threshold = watermark_threshold()
    assert watermark_score(marked, "antiphon") > threshold
    assert watermark_score(SPEECH, "antiphon") < threshold
    assert watermark_score(marked, "another") < threshold


def test_the_mark_survives_cuts_gain_and_noise(marked):
    noise = 1e-3 * torch.randn(marked.shape, generator=torch.Generator().manual_seed(0))
    assert watermark_score(0.2 * marked[12_345:], "antiphon") > watermark_threshold()
    assert watermark_score(marked + noise, "antiphon") > watermark_threshold()


def test_the_change_is_small(marked):
    assert marked.shape == SPEECH.shape
    assert (marked - SPEECH).square().mean() < 0.01 * SPEECH.square().mean()


def test_signs_are_balanced_and_belong_to_the_key():
    assert not signs("a").sum(0).any()
    assert torch.equal(signs("a"), signs("a"))
    assert not torch.equal(signs("a"), signs("b"))


def test_other_rates_and_short_waveforms_have_no_room():
    check_room_for_watermark(16_384, 16_000)
    with pytest.raises(ValueError, match=r"a watermark needs 16384 \(1\.02 s\)"):
        check_room_for_watermark(16_383, 16_000)
    with pytest.raises(ValueError, match="`sampling_rate` is 24000 but a watermark lies in bands of 16000 Hz audio"):
        check_room_for_watermark(48_000, 24_000)


def test_fewer_false_alarms_need_a_higher_score():
    assert watermark_threshold(1e-6) > watermark_threshold(1e-3)
    # One of a thousand recordings, each heard from 256 places.
    assert watermark_threshold(1e-3) == pytest.approx(norm.isf(1e-3 / 256))


def test_keys_that_are_not_there_score_as_normal_numbers_do():
    scores = [watermark_score(SPEECH[:64_000], f"key {number}") for number in range(40)]
    assert max(scores) < watermark_threshold()
    assert 1.5 < sum(scores) / len(scores) < 3.2
