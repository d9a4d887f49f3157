"""Fingerprints find copies of real-sounding speech, and never take one voice's word for another's."""

import importlib.util

import numpy as np
import pytest
from small_corpora import encoded

from antiphon.processing.audio_io import read_audio, resample_audio
from antiphon.processing.corpora.fingerprints import (
    SAMPLING_RATE,
    LandmarkIndex,
    band_agreement,
    comparable,
    find_landmarks,
    is_copy,
)
from antiphon.processing.corpora.synthetic_engine import SpeechEngine

WORDS = ["zero", "one", "two", "three", "seven"]
VOICES = ["en-us", "en-us+f2", "en-us+f3", "en-us+m3", "en-gb", "en-gb+m7"]


@pytest.fixture(scope="module")
def recordings():
    """Five digits by six voices: clips of half a second."""
    if importlib.util.find_spec("espeakng_loader") is None:
        pytest.skip("espeakng-loader is not installed (pip install antiphon[synthesis])")
    engine = SpeechEngine()
    prosody = {"rate": 170, "pitch": 50, "pitch_range": 50}
    return {
        (voice, word): comparable(engine.speak(word, voice, **prosody), engine.sampling_rate)
        for voice in VOICES
        for word in WORDS
    }


@pytest.fixture(scope="module")
def index(recordings):
    return LandmarkIndex([find_landmarks(waveform) for waveform in recordings.values()])


def copies(index, recordings, waveform):
    """The recordings that a waveform is found to be a copy of."""
    names = list(recordings)
    candidates = index.candidates(find_landmarks(waveform))
    return [names[its] for its, offset in candidates if is_copy(recordings[names[its]], waveform, offset)]


def through(format, subtype):
    def convert(waveform):
        return comparable(*read_audio(encoded(waveform, format, subtype)))

    return convert


def with_noise(waveform):
    noise = np.random.default_rng(0).standard_normal(len(waveform))
    return waveform + 0.03 * np.sqrt(np.mean(waveform**2)) * noise


CHANGES = {
    "gain": lambda waveform: np.round(0.1 * waveform * 32768) / 32768,
    "polarity": lambda waveform: -waveform,
    "MP3": through("MP3", "MPEG_LAYER_III"),
    "Vorbis": through("OGG", "VORBIS"),
    "lower rate": lambda waveform: comparable(resample_audio(waveform, SAMPLING_RATE, 6_000), 6_000),
    "without its beginning": lambda waveform: waveform[int(0.3 * len(waveform)) :],
    "without its end": lambda waveform: waveform[: int(0.7 * len(waveform))],
    "without either end": lambda waveform: waveform[int(0.15 * len(waveform)) : int(0.85 * len(waveform))],
    "between silences": lambda waveform: np.concatenate([np.zeros(1_111), waveform, np.zeros(777)]),
    "noise 30 dB below": with_noise,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_changed_copies_are_found(recordings, index, change):
    found = [copies(index, recordings, change(waveform).astype(np.float32)) for waveform in recordings.values()]
    assert sum(name in names for name, names in zip(recordings, found)) >= 0.95 * len(found)


def test_the_same_word_by_another_voice_is_no_copy(recordings, index):
    for name, waveform in recordings.items():
        assert copies(index, recordings, waveform) == [name]


def test_agreement_is_full_for_a_cut_copy_and_knows_its_overlap(recordings):
    waveform = recordings["en-us", "seven"]
    cut = -0.3 * waveform[640:-500]
    agreement, overlap = band_agreement(waveform, cut, 600)
    assert agreement == pytest.approx(1, abs=0.05)
    assert overlap == len(cut)


def test_a_loud_hum_does_not_make_two_recordings_one():
    time = np.arange(2 * SAMPLING_RATE) / SAMPLING_RATE
    hum = np.sin(2 * np.pi * 200 * time)
    first, second = (hum + 0.01 * np.random.default_rng(seed).standard_normal(len(time)) for seed in (1, 2))
    assert np.corrcoef(first, second)[0, 1] > 0.999
    assert not is_copy(first, second, 0)


def test_a_candidate_tells_where_the_copy_begins(recordings, index):
    waveform = recordings["en-gb", "three"]
    start = 1_280
    (its, offset), *_ = index.candidates(find_landmarks(waveform[start:]))
    assert list(recordings)[its] == ("en-gb", "three")
    assert abs(offset - start) <= 128


@pytest.mark.parametrize("waveform", [np.zeros(4_000), np.zeros(1), np.ones(1)], ids=["silence", "empty", "a sample"])
def test_silence_and_clicks_are_no_copies(index, waveform):
    assert index.candidates(find_landmarks(waveform.astype(np.float32))) == []


def test_too_little_overlap_is_no_copy():
    waveform = np.random.default_rng(0).standard_normal(4_000)
    assert is_copy(waveform, waveform[2_000:], 2_000)
    assert not is_copy(waveform, waveform[3_500:], 3_500)
