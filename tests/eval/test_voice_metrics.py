"""The metrics of converted voices: cases by hand, identical and empty input, independent implementations."""

import numpy as np
import pytest
from scipy.spatial.distance import cosine
from small_voices import JUDGES, SAMPLING_RATE, vowel

from antiphon.eval import voice_analysis
from antiphon.eval.metric_loading import load_metric


def test_similarity_by_hand():
    result = load_metric("speaker_similarity").compute(
        predictions=[[3.0, 4.0], [0.0, 2.0]],
        references=[[1.0, 0.0], [0.0, 1.0]],
        sources=[[0.0, 1.0], [-1.0, 0.0]],
    )
    assert result["per_item"] == pytest.approx([0.6, 1.0])
    assert result["source_per_item"] == pytest.approx([0.8, 0.0])
    assert (result["similarity"], result["source_similarity"]) == pytest.approx((0.8, 0.4))
    assert result["nearer_to_target"] == 0.5


def test_similarity_equals_scipys_cosine():
    generator = np.random.default_rng(0)
    embeddings, others = generator.standard_normal((2, 5, 8))
    result = load_metric("speaker_similarity").compute(predictions=embeddings, references=others)
    assert result["per_item"] == pytest.approx([1 - cosine(*pair) for pair in zip(embeddings, others)])
    assert "source_similarity" not in result


def test_identical_embeddings_are_alike():
    embeddings = np.random.default_rng(1).standard_normal((3, 4))
    metric = load_metric("speaker_similarity")
    assert metric.compute(predictions=embeddings, references=7 * embeddings)["similarity"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("predictions", "references", "message"),
    [
        ([], [], "`references` is empty"),
        ([[0.0, 0.0]], [[1.0, 0.0]], "`predictions` has 1 embeddings that are zero"),
        ([[1.0, 0.0]], [[np.nan, 0.0]], "`references` has 1 embeddings"),
        ([[1.0, 0.0]], [[1.0, 0.0, 0.0]], "of one speaker encoder"),
    ],
)
def test_similarity_refuses(predictions, references, message):
    with pytest.raises(ValueError, match=message):
        load_metric("speaker_similarity").compute(predictions=predictions, references=references)


def test_distortion_by_hand():
    result = load_metric("mel_cepstral_distortion").compute(
        predictions=[[[0.0, 0.0], [3.0, 4.0]]], references=[[[0.0, 0.0], [0.0, 0.0], [3.0, 4.0], [3.0, 3.0]]]
    )
    # The pairs (0, 0), (0, 1), (1, 2), (1, 3): distances 0, 0, 0 and 1.
    assert result["paths"] == [[[0, 0], [0, 1], [1, 2], [1, 3]]]
    assert result["mcd"] == pytest.approx(10 / np.log(10) * np.sqrt(2) / 4)


def test_distortion_of_identical_utterances_is_zero_whatever_their_tempo():
    cepstra = np.random.default_rng(0).standard_normal((20, 24))
    metric = load_metric("mel_cepstral_distortion")
    assert metric.compute(predictions=[cepstra], references=[cepstra])["mcd"] == 0
    assert metric.compute(predictions=[np.repeat(cepstra, 3, axis=0)], references=[cepstra])["mcd"] == 0


def test_distortion_equals_textbook_warping():
    generator = np.random.default_rng(0)
    cepstra, reference = generator.standard_normal((9, 3)), generator.standard_normal((12, 3))
    costs = np.linalg.norm(cepstra[:, None] - reference[None], axis=-1)
    totals = np.full((10, 13), np.inf)
    totals[0, 0] = 0
    for i in range(1, 10):
        for j in range(1, 13):
            totals[i, j] = costs[i - 1, j - 1] + min(totals[i - 1, j - 1], totals[i - 1, j], totals[i, j - 1])
    result = load_metric("mel_cepstral_distortion").compute(predictions=[cepstra], references=[reference])
    expected = 10 / np.log(10) * np.sqrt(2) * totals[-1, -1] / len(result["paths"][0])
    assert result["mcd"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("predictions", "references", "message"),
    [
        ([], [], "`references` is empty"),
        ([[]], [[[1.0]]], r"expected \(frames, coefficients\), not none"),
        ([[[1.0, 2.0]]], [[[1.0]]], "has 2 coefficients, its reference 1"),
    ],
)
def test_distortion_refuses(predictions, references, message):
    with pytest.raises(ValueError, match=message):
        load_metric("mel_cepstral_distortion").compute(predictions=predictions, references=references)


def test_pitch_errors_by_hand():
    result = load_metric("pitch_errors").compute(
        predictions=[[200.0, 400.0, 0.0, 100.0], [100.0, 200.0]],
        references=[[100.0, 200.0, 100.0, 0.0], [100.0, 200.0]],
    )
    # An octave twice and nothing twice over four frames that are voiced in both; two of six frames are voiced in one.
    assert result["f0_rmse"] == pytest.approx(1200 / np.sqrt(2))
    assert result["voicing_error"] == pytest.approx(2 / 6)
    assert result["per_item"]["f0_rmse"] == pytest.approx([1200, 0])
    assert result["per_item"]["f0_correlation"] == pytest.approx([1, 1])
    assert result["f0_correlation"] == pytest.approx(1)


def test_pitch_errors_equal_librosas_cents_and_numpys_correlation():
    import librosa

    generator = np.random.default_rng(0)
    f0, reference = generator.uniform(80, 300, (2, 50))
    result = load_metric("pitch_errors").compute(predictions=[f0], references=[reference])
    cents = 100 * (librosa.hz_to_midi(f0) - librosa.hz_to_midi(reference))
    assert result["f0_rmse"] == pytest.approx(np.sqrt(np.mean(cents**2)))
    assert result["f0_correlation"] == pytest.approx(np.corrcoef(librosa.hz_to_midi([f0, reference]))[0, 1])


def test_contours_without_a_common_voice_have_no_distance():
    result = load_metric("pitch_errors").compute(predictions=[[0.0, 100.0]], references=[[100.0, 0.0]])
    assert np.isnan(result["f0_rmse"])
    assert np.isnan(result["f0_correlation"])
    assert result["voicing_error"] == 1


@pytest.mark.parametrize(
    ("predictions", "references", "message"),
    [
        ([], [], "`references` is empty"),
        ([[]], [[]], "same number of frames, one"),
        ([[100.0]], [[100.0, 0.0]], "Align utterances"),
        ([[-1.0]], [[100.0]], "negative or not finite"),
    ],
)
def test_pitch_errors_refuse(predictions, references, message):
    with pytest.raises(ValueError, match=message):
        load_metric("pitch_errors").compute(predictions=predictions, references=references)


def test_mel_cepstra_rebuild_a_smooth_envelope():
    # One ripple over the mel axis is one coefficient.
    bins = 513
    mels = 2595 * np.log10(1 + np.linspace(0, 8000, bins) / 700)
    log_amplitude = 0.8 + 0.5 * np.cos(3 * np.pi * mels / mels[-1])
    analysis = voice_analysis.VoiceAnalysis(np.zeros(1), np.exp(2 * log_amplitude)[None], np.ones((1, bins)), 16_000)
    expected = np.zeros(24)
    expected[2] = 0.5
    np.testing.assert_allclose(voice_analysis.mel_cepstra(analysis)[0], expected, atol=2e-3)


def test_mel_cepstra_agree_with_worlds_own_coding():
    pyworld = pytest.importorskip("pyworld", reason=JUDGES)
    analyses = [voice_analysis.analyse_voice(vowel(120, formants=(f, 2 * f)), SAMPLING_RATE) for f in (500.0, 900.0)]
    own = np.concatenate([voice_analysis.mel_cepstra(analysis)[:, :12] for analysis in analyses])
    coded = np.concatenate(
        [pyworld.code_spectral_envelope(analysis.envelope, SAMPLING_RATE, 13)[:, 1:] for analysis in analyses]
    )
    # WORLD scales otherwise, starts at 40 Hz and smooths differently, so the shapes agree and not the numbers.
    for coefficient in range(4):
        assert np.corrcoef(own[:, coefficient], coded[:, coefficient])[0, 1] > 0.95


def test_world_finds_the_pitch_and_rebuilds_the_voice():
    pytest.importorskip("pyworld", reason=JUDGES)
    sound = vowel(200)
    analysis = voice_analysis.analyse_voice(sound, SAMPLING_RATE)
    assert np.median(analysis.f0[analysis.f0 > 0]) == pytest.approx(200, rel=0.005)
    rebuilt = voice_analysis.synthesise_voice(analysis, len(sound))
    assert rebuilt.shape == sound.shape
    np.testing.assert_array_equal(voice_analysis.track_f0(sound, SAMPLING_RATE), analysis.f0)
    cepstra = [
        voice_analysis.mel_cepstra(voice_analysis.analyse_voice(one, SAMPLING_RATE))
        for one in (rebuilt, sound, vowel(200, formants=(300.0, 2500.0)))
    ]
    metric = load_metric("mel_cepstral_distortion")
    near, far = (metric.compute(predictions=[one], references=[cepstra[1]])["mcd"] for one in (cepstra[0], cepstra[2]))
    assert near < 3 < far
