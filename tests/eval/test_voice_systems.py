"""Converters without training: the pitch arrives, the spectrum too, and matching finds the frames that it should."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_voices import JUDGES, SAMPLING_RATE, vowel

from antiphon.eval.griffin_lim import griffin_lim
from antiphon.eval.voice_analysis import analyse_voice, track_f0
from antiphon.eval.voice_parts import NearestNeighbours, TargetCopySynthesis, WholeVocoder, with_vocoder
from antiphon.eval.voice_systems import (
    GivenRecording,
    UnchangedInput,
    WorldPitchAndEnvelope,
    WorldPitchShift,
    mean_speech_spectrum,
)
from antiphon.modeling.layers_spectrogram import LogMelSpectrogram
from antiphon.processing.feature_extraction_log_mel import LogMelFeatureExtractor

SOURCE, REFERENCE = vowel(120, glide=0.2), vowel(210, 0.5, formants=(400.0, 2200.0))


def median_f0(waveform):
    f0 = track_f0(waveform, SAMPLING_RATE)
    return np.median(f0[f0 > 0])


def spectral_distance(waveform, other):
    spectra = [mean_speech_spectrum(analyse_voice(one, SAMPLING_RATE)) for one in (waveform, other)]
    centred = [spectrum - spectrum.mean() for spectrum in spectra]
    return np.abs(centred[0] - centred[1]).mean()


def test_what_changes_nothing_and_what_is_given():
    assert UnchangedInput().convert(SOURCE, REFERENCE) is SOURCE
    assert GivenRecording().convert(SOURCE, REFERENCE) is REFERENCE


def test_world_moves_the_pitch_and_then_the_spectrum():
    pytest.importorskip("pyworld", reason=JUDGES)
    shifted, matched = (system().convert(SOURCE, REFERENCE) for system in (WorldPitchShift, WorldPitchAndEnvelope))
    for converted in (shifted, matched):
        assert converted.shape == SOURCE.shape
        assert converted.dtype == np.float32
        assert median_f0(converted) == pytest.approx(median_f0(REFERENCE), rel=0.03)
    assert spectral_distance(matched, REFERENCE) < 0.5 * spectral_distance(shifted, REFERENCE)


def test_world_leaves_the_pitch_where_the_reference_has_none():
    pytest.importorskip("pyworld", reason=JUDGES)
    silence = np.zeros(8000, np.float32)
    assert median_f0(WorldPitchShift().convert(SOURCE, silence)) == pytest.approx(median_f0(SOURCE), rel=0.03)


class EnvelopeContent(torch.nn.Module):
    """Content that is the spectrogram itself, every second frame."""

    def forward(self, input_features):
        return SimpleNamespace(content=input_features[:, ::2])


class KeepingVocoder(torch.nn.Module):
    """Remembers what it was to make sound of."""

    def forward(self, input_features):
        self.given = input_features
        return SimpleNamespace(waveform=torch.ones(1, 160 * (input_features.shape[1] - 1)))


class Parts(torch.nn.Module):
    """What the baselines read of a converter."""

    def __init__(self):
        super().__init__()
        self.config = SimpleNamespace(level_dbfs=-27.0)
        self.content_encoder, self.vocoder = EnvelopeContent(), KeepingVocoder()
        self.mel = LogMelSpectrogram()


def test_matching_puts_the_nearest_moments_together(monkeypatch):
    monkeypatch.setattr("antiphon.eval.voice_parts.NUM_NEIGHBOURS", 1)
    model = Parts()
    reference = np.concatenate([SOURCE, REFERENCE])[: 160 * 101]
    converted = NearestNeighbours(model).convert(SOURCE, reference)
    # The reference begins with the source itself, so each frame finds itself; at the ends the windows differ.
    level = 20 * np.log10(np.sqrt(np.mean(SOURCE**2)) / np.sqrt(np.mean(reference**2)))  # in the reference
    expected = model.mel(torch.from_numpy(SOURCE)[None] * 10 ** (-27 / 20) / np.sqrt(np.mean(SOURCE**2)))
    made = model.vocoder.given - level / 10 * np.log(10)
    assert made.shape == expected.shape
    audible = expected > np.log(1e-5)
    assert (made - expected)[audible][:-400].abs().median() < 1e-3
    assert converted.shape == SOURCE.shape
    assert np.sqrt(np.mean(converted**2)) == pytest.approx(np.sqrt(np.mean(SOURCE**2)), rel=1e-3)


def test_matching_averages_four_neighbours_and_takes_a_reference_of_fewer():
    model = Parts()
    NearestNeighbours(model).convert(SOURCE, REFERENCE)
    assert model.vocoder.given.shape[1] == 1 + len(SOURCE) // 160
    NearestNeighbours(model).convert(SOURCE, REFERENCE[:500])
    assert model.vocoder.given.shape[1] == 1 + len(SOURCE) // 160


def test_copy_synthesis_is_as_long_as_the_recording():
    assert TargetCopySynthesis(Parts()).convert(SOURCE, REFERENCE).shape == REFERENCE.shape


def test_griffin_lim_rebuilds_the_spectrogram_the_same_way_every_time():
    extractor = LogMelFeatureExtractor(win_length=640, n_fft=640, mel_floor=1e-6, normalize="none")

    def features(waveform):
        return extractor(waveform, sampling_rate=SAMPLING_RATE, return_tensors="np")["input_features"][0]

    waveform = griffin_lim(features(SOURCE))
    assert waveform.shape == (160 * (len(SOURCE) // 160),)
    rebuilt, given = features(waveform)[4:-4], features(SOURCE)[4:-4]
    loud = given > given.max() - 6
    assert np.abs(rebuilt - given[: len(rebuilt)])[loud].mean() < 0.5
    np.testing.assert_array_equal(waveform, griffin_lim(features(SOURCE)))


def test_griffin_lim_takes_the_place_of_a_vocoder_in_a_copy():
    model = Parts()
    changed = with_vocoder(model, griffin_lim)
    assert isinstance(changed.vocoder, WholeVocoder)
    assert isinstance(model.vocoder, KeepingVocoder)
    stream = changed.vocoder.stream()
    features = model.mel(torch.from_numpy(SOURCE)[None])
    assert stream.push(features[:, :20]).shape == (1, 0)
    stream.push(features[:, 20:])
    assert stream.finish().shape == (1, 160 * (features.shape[1] - 1))
