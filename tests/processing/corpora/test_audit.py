import json

import numpy as np
import pytest
from small_corpora import SAMPLING_RATE, corpus_of, encoded, tone

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
    assert report.num_shared_groups == report.num_duplicate_audio == report.num_near_duplicate_audio == 0


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


def babble(seed: int, seconds: float = 1.5) -> np.ndarray:
    """Ten bursts a second of tones at random frequencies: a made-up voice, on the grid of 16-bit samples."""
    generator = np.random.default_rng(seed)
    time = np.arange(SAMPLING_RATE // 10) / SAMPLING_RATE
    bursts = [
        np.hanning(len(time)) * sum(np.sin(2 * np.pi * generator.uniform(150, 3_500) * time) for _ in range(6))
        for _ in range(round(10 * seconds))
    ]
    return np.round(0.08 * np.concatenate(bursts) * 32768) / 32768


VOICES = [babble(seed) for seed in (1, 2, 3)]


def audit_copy(copy, **options):
    train = corpus_of(VOICES, speaker_id=["a", "a", "b"])
    return audit_split(train, corpus_of([babble(9), copy], speaker_id=["t", "t"]), **options)


@pytest.mark.parametrize(
    "copy",
    [
        0.5 * VOICES[2],
        -1.7 * VOICES[2],
        encoded(VOICES[2], "MP3", "MPEG_LAYER_III"),
        encoded(VOICES[2], "OGG", "VORBIS"),
        VOICES[2][len(VOICES[2]) // 3 :],
        encoded(0.5 * VOICES[2][2_000:-3_000], "MP3", "MPEG_LAYER_III"),
    ],
    ids=["quieter", "inverted", "mp3", "ogg", "cut", "cut, quieter and mp3"],
)
def test_a_changed_copy_is_refused(copy):
    with pytest.raises(SplitLeakageError, match="1 test recordings are in training in another encoding") as refusal:
        audit_copy(copy)
    report = refusal.value.report
    assert (report.num_duplicate_audio, report.num_near_duplicate_audio) == (0, 1)
    assert report.duplicate_audio == [("1.wav", "2.wav")]


def test_changed_copies_can_be_accepted_but_are_reported():
    report = audit_copy(0.5 * VOICES[2], allow_near_duplicates=True)
    assert (report.num_near_duplicate_audio, report.near_duplicates_allowed) == (1, True)
    assert "1 in another encoding, gain or cut; these are allowed" in str(report)


def test_an_exact_copy_is_refused_even_where_changed_ones_are_accepted():
    with pytest.raises(SplitLeakageError, match="1 test recordings are in training too"):
        audit_copy(VOICES[2], allow_near_duplicates=True)


def test_a_tone_in_another_noise_is_no_copy():
    assert audit([tone(seconds=1, seed=7)]).num_near_duplicate_audio == 0


def test_labels_that_a_property_tells_are_reported():
    texts = ["yes", "no"] * 6
    speakers = [f"t{index // 2}" for index in range(12)]
    train = corpus_of([tone(0.1 + 0.1 * (text == "no"), seed=i) for i, text in enumerate(texts)], text=texts)
    test = corpus_of(
        [tone(0.1 + 0.1 * (text == "no"), seed=20 + i) for i, text in enumerate(texts)], text=texts, speaker_id=speakers
    )
    report = audit_split(train, test)
    assert "text: a nearest neighbour on file length alone scores 100.0% (majority 50.0%; " in str(report)
    (length,) = (probe for probe in report.to_dict()["leakage"] if probe["property"] == "file length")
    assert (length["score"], length["chance"], length["better_than_chance"]) == (1.0, 0.5, True)


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
