import json

import numpy as np
import pytest
from small_corpora import corpus_of, encoded, tone

from antiphon.processing.corpora import CorpusError, SplitLeakageError, audit_split

# On the grid of 16-bit samples, so that writing it in another format changes nothing.
TRAIN = [np.round(tone(seed=seed) * 32768).astype(np.int16) for seed in (1, 2, 3)]
OTHER = tone(seed=9)


def audit(test, test_speakers=("t",), train_speakers=("a", "a", "b"), **options):
    train = corpus_of(TRAIN, speaker_id=list(train_speakers))
    speakers = list(test_speakers) * (len(test) // len(test_speakers))
    return audit_split(train, corpus_of(test, speaker_id=speakers), **options)


def test_a_clean_split_passes():
    report = audit([OTHER])
    assert (report.num_train, report.num_test, report.num_test_groups) == (3, 1, 1)
    assert report.num_shared_groups == report.num_duplicate_audio == report.num_duplicate_audio_up_to_gain == 0


def test_shared_speakers_are_refused_unless_the_task_is_speaker_dependent():
    with pytest.raises(SplitLeakageError, match=r"1 speaker_id are in training and test \(b\)") as refusal:
        audit([OTHER], test_speakers="b")
    assert refusal.value.report.shared_groups == ["b"]
    report = audit([OTHER], test_speakers="b", speaker_dependent=True)
    assert report.num_shared_groups == 1
    assert "allowed, the task is speaker-dependent" in str(report)


def test_unknown_speakers_are_counted_not_matched():
    report = audit([OTHER], test_speakers=[None], train_speakers=[None, "a", "b"])
    assert (report.num_ungrouped, report.num_shared_groups) == (2, 0)


@pytest.mark.parametrize("options", [{}, {"speaker_dependent": True}])
def test_the_same_recording_is_refused_always(options):
    with pytest.raises(SplitLeakageError, match="1 test recordings are in training too") as refusal:
        audit([OTHER, TRAIN[1]], **options)
    assert refusal.value.report.duplicate_audio == [("1.wav", "1.wav")]


@pytest.mark.parametrize(
    "copy",
    [
        encoded(TRAIN[0], "FLAC"),
        encoded(TRAIN[0] / 32768, "WAV", "FLOAT"),
        encoded(TRAIN[0], "WAV", "PCM_24"),
        encoded(np.concatenate([np.zeros(50, np.int16), TRAIN[0], np.zeros(9, np.int16)])),
    ],
    ids=["flac", "float", "24-bit", "padded"],
)
def test_container_sample_format_and_silence_around_do_not_hide_a_recording(copy):
    with pytest.raises(SplitLeakageError) as refusal:
        audit([copy])
    assert refusal.value.report.num_duplicate_audio == 1


@pytest.mark.parametrize("gain", [0.5, 1.7, 0.01, -1.0])
def test_gain_does_not_hide_a_recording(gain):
    with pytest.raises(SplitLeakageError) as refusal:
        audit([gain * TRAIN[2] / 32768])
    report = refusal.value.report
    assert (report.num_duplicate_audio, report.num_duplicate_audio_up_to_gain) == (0, 1)
    assert report.duplicate_audio == [("0.wav", "2.wav")]


def test_a_similar_recording_of_the_same_length_is_no_copy():
    almost = 0.9 * TRAIN[0] / 32768 + 0.05 * np.random.default_rng(5).standard_normal(len(TRAIN[0]))
    assert audit([almost]).num_duplicate_audio_up_to_gain == 0


def test_silence_is_no_copy_of_silence():
    silence = np.zeros(800, dtype=np.float32)
    train = corpus_of([silence, tone()], speaker_id=["a", "b"])
    assert audit_split(train, corpus_of([silence], speaker_id=["t"])).num_duplicate_audio == 0


def test_repeats_within_test_are_counted():
    assert audit([OTHER, OTHER, tone(seed=8)]).num_repeated_within_test == 1


def test_duplicate_texts_are_a_share_of_the_test_items_with_text():
    train = corpus_of(TRAIN, speaker_id=["a", "a", "a"], text=["turn it  on", "stop", None])
    test = corpus_of(
        [tone(seed=seed) for seed in range(5, 10)],
        speaker_id=["t"] * 5,
        text=["Turn it on", "stop", "go", "go home", None],
    )
    assert audit_split(train, test).duplicate_text_fraction == 0.5
    assert audit([OTHER]).duplicate_text_fraction is None


def test_the_report_is_readable_and_fits_json():
    report = audit([OTHER])
    assert json.loads(json.dumps(report.to_dict()))["num_test"] == 1
    assert "speaker_id in both: 0 of 1" in str(report)
    assert "no texts" in str(report)


def test_another_grouping():
    train, test = corpus_of([TRAIN[0]], piece=["waltz"]), corpus_of([OTHER], piece=["waltz"])
    with pytest.raises(SplitLeakageError, match=r"1 piece are in training and test \(waltz\)"):
        audit_split(train, test, group_by="piece")


def test_empty_sides_and_unknown_groupings_are_refused():
    train = corpus_of(TRAIN)
    with pytest.raises(CorpusError, match="`test` is empty"):
        audit_split(train, train.select([]))
    with pytest.raises(CorpusError, match="`group_by` is 'piece' but `train` has audio"):
        audit_split(train, train, group_by="piece")
