import numpy as np
import pytest
from datasets import Dataset
from small_corpora import SAMPLING_RATE, corpus_of, tone

from antiphon.processing.audio_io import UndecodableAudioError
from antiphon.processing.corpora import STANDARD_FEATURES, CorpusError, conform, decode, total_hours


def test_conform_supplies_missing_columns_as_nulls_and_keeps_own_ones_last():
    corpus = corpus_of([tone()], license=["CC0-1.0"], mood=["calm"])
    conformed = conform(corpus)
    assert conformed.column_names == [*STANDARD_FEATURES, "mood"]
    assert {name: conformed.features[name] for name in STANDARD_FEATURES} == STANDARD_FEATURES
    row = conformed[0]
    assert (row["duration_seconds"], row["source"], row["mood"]) == (None, None, "calm")


def test_conform_works_without_audio():
    assert conform(Dataset.from_dict({"text": ["one"], "license": ["CC0-1.0"]}))[0]["audio"] is None


def test_conform_casts_to_the_standard_types():
    conformed = conform(Dataset.from_dict({"speaker_id": [7], "duration_seconds": [2], "license": ["CC0-1.0"]}))
    assert (conformed[0]["speaker_id"], conformed[0]["duration_seconds"]) == ("7", 2.0)


def test_conform_refuses_what_cannot_be_cast():
    with pytest.raises(CorpusError, match=r"column 'duration_seconds' is .*string.* needs .*float64"):
        conform(Dataset.from_dict({"duration_seconds": ["long"], "license": ["CC0-1.0"]}))


@pytest.mark.parametrize("licenses", [{}, {"license": ["CC0-1.0", None]}])
def test_conform_refuses_items_without_licence(licenses):
    with pytest.raises(CorpusError, match="of 2 items state no licence"):
        conform(corpus_of([tone(), tone()], **licenses))


def test_decode_gives_the_samples_and_resamples_when_asked():
    waveform = tone(0.5)
    row = corpus_of([waveform])[0]
    decoded, sampling_rate = decode(row)
    np.testing.assert_allclose(decoded, waveform, atol=1 / 32768)
    assert sampling_rate == SAMPLING_RATE
    resampled, sampling_rate = decode(row, sampling_rate=16_000)
    assert (len(resampled), sampling_rate) == (2 * len(waveform), 16_000)


def test_decode_refuses_missing_and_broken_audio():
    with pytest.raises(CorpusError, match=r"item '0.wav' holds no audio"):
        decode({"audio": None, "file_name": "0.wav"})
    with pytest.raises(UndecodableAudioError):
        decode(corpus_of([b"this is no audio" * 100])[0])


def test_total_hours():
    durations = [1800.0, 900.0, 900.0]
    assert total_hours(Dataset.from_dict({"duration_seconds": durations})) == 1.0
