"""Known texts laid over sound by CTC, and long recordings cut at silences so that words stay with their sound."""

import itertools
import json

import numpy as np
import pytest
import soundfile
import torch
from tone_corpus import LETTER_SECONDS, SAMPLING_RATE, TONES, speak
from tone_listener import ToneRecogniser, tone_processor

from antiphon.processing.corpora import CorpusError, decode, load_corpus
from antiphon.train_scripts import cut_corpus
from antiphon.train_scripts.ctc_alignment import AlignmentError, align_text, viterbi, windowed_log_probabilities
from antiphon.train_scripts.cutting import MARGIN_SECONDS, Silence, choose_pieces, find_silences


@pytest.fixture(scope="module")
def processor():
    return tone_processor()


@pytest.fixture(scope="module")
def recogniser(processor):
    return ToneRecogniser(processor)


def test_the_best_path_is_that_of_trying_all():
    generator = torch.Generator().manual_seed(0)
    for ids in ([1], [1, 1], [1, 2], [2, 1, 1], [1, 2, 1]):
        scores = torch.randn(5, 3, generator=generator).log_softmax(-1)
        spelt = {}
        for path in itertools.product(range(3), repeat=5):
            collapsed = [symbol for symbol, _ in itertools.groupby(path) if symbol]
            spelt.setdefault(tuple(collapsed), []).append(sum(scores[t, symbol] for t, symbol in enumerate(path)))
        states = viterbi(scores, torch.tensor(ids), blank=0)
        emitted = [0 if state < 0 else ids[state] for state in states.tolist()]
        assert [symbol for symbol, _ in itertools.groupby(emitted) if symbol] == ids
        assert sum(scores[t, symbol] for t, symbol in enumerate(emitted)) == pytest.approx(max(spelt[tuple(ids)]))


def test_a_text_that_cannot_be_laid_over_a_recording_has_a_reason(recogniser, processor):
    sound = speak("ae io")
    for text, reason in [("— !", "without a word"), ("ax", "symbols that the recogniser"), (60 * "a", "too short")]:
        with pytest.raises(AlignmentError, match=reason):
            align_text(recogniser, processor, sound, text)


def test_words_are_found_where_they_sound_and_keep_their_punctuation(recogniser, processor):
    words = ["Ae,", "ioa", "o", "eaei!"]
    sound = speak("ae ioa o eaei")
    alignment = align_text(recogniser, processor, sound, "Ae, ioa — o eaei!")
    assert [word.text for word in alignment.words] == ["Ae,", "ioa —", "o", "eaei!"]
    begin = 0
    for word, aligned in zip(words, alignment.words):
        length = sum(letter.isalpha() for letter in word)
        assert aligned.first_frame * alignment.frame_seconds == pytest.approx(begin * LETTER_SECONDS, abs=0.08)
        last = (begin + length) * LETTER_SECONDS
        assert aligned.last_frame * alignment.frame_seconds == pytest.approx(last, abs=0.12)
        begin += length + 1


def test_windows_are_joined_to_what_one_would_hear(recogniser, processor):
    generator = np.random.default_rng(0)
    sound = speak("".join(generator.choice([*TONES, " "], 200)))
    whole = windowed_log_probabilities(recogniser, processor, sound, window_seconds=100)
    for window, overlap in [(8.0, 2.0), (4.0, 0.4), (7.3, 1.1)]:
        joined = windowed_log_probabilities(recogniser, processor, sound, window, overlap)
        torch.testing.assert_close(joined, whole, atol=1e-3, rtol=1e-3)


def joined_utterances(number, seed):
    """Utterances of three words with pauses around them, their sound, and the times in seconds where they meet."""
    generator = np.random.default_rng(seed)
    # No letter twice in a row: its tones run into one another, where CTC needs a blank between.
    words = ("".join(generator.permutation(list(TONES))[: generator.integers(1, 5)]) for _ in itertools.count())
    utterances = [" ".join(itertools.islice(words, 3)) for _ in range(number)]
    pause = np.zeros(round(0.6 * SAMPLING_RATE), np.float32)
    sounds, joins = [], [0.0]
    for text in utterances:
        sounds += [pause, speak(text), pause]
        joins.append(joins[-1] + sum(map(len, sounds[-3:])) / SAMPLING_RATE)
    sound = np.concatenate(sounds)
    return utterances, sound + generator.normal(0, 1e-4, len(sound)).astype(np.float32), joins


def test_joined_utterances_are_cut_back_with_their_words(recogniser, processor):
    utterances, sound, joins = joined_utterances(40, seed=1)
    alignment = align_text(recogniser, processor, sound, " ".join(utterances))
    # A space between two words of an utterance is silent for 0.15 s and its fading neighbours; a pause for 1.2 s.
    silences = find_silences(alignment, sound, SAMPLING_RATE, min_seconds=0.6)
    pieces = choose_pieces(silences, min_seconds=5, max_seconds=16)
    assert " ".join(utterances).split() == [
        word.text for piece in pieces for word in alignment.words[piece.first : piece.last + 1]
    ]
    for piece in pieces:
        assert 5 <= piece.end_seconds - piece.start_seconds <= 16
        first = int(np.argmin(np.abs(np.array(joins) - piece.start_seconds)))
        last = int(np.argmin(np.abs(np.array(joins) - piece.end_seconds)))
        assert abs(joins[first] - piece.start_seconds) < 0.5
        assert abs(joins[last] - piece.end_seconds) < 0.5
        text = " ".join(word.text for word in alignment.words[piece.first : piece.last + 1])
        assert text == " ".join(utterances[first:last])
        assert alignment.score(piece.first, piece.last, piece.start_seconds, piece.end_seconds) > -0.1


def test_words_that_are_not_said_and_speech_that_is_not_written_lower_the_score(recogniser, processor):
    sound = speak("ae io oia")

    def score(text):
        alignment = align_text(recogniser, processor, sound, text)
        return alignment.score(0, len(alignment.words) - 1, 0, len(sound) / SAMPLING_RATE)

    assert score("ae io oia") > -0.1
    assert score("ae io oie") < -0.5
    assert score("ae io") < -0.5
    assert score("ae io oia eio") < -0.5


def silences_at(*times, seconds=0.4):
    return [Silence(after, time - seconds / 2, time + seconds / 2) for after, time in enumerate(times, start=-1)]


def test_pieces_have_the_lengths_that_were_asked_for_and_hold_as_many_words_as_can_be():
    pieces = choose_pieces(silences_at(0, 3, 6, 9, 12, 15, 18, 21), 5, 16)
    assert [word for piece in pieces for word in range(piece.first, piece.last + 1)] == list(range(7))
    assert len(pieces) == 2
    assert all(5 <= piece.end_seconds - piece.start_seconds <= 16 for piece in pieces)
    # Nothing between 3 and 30 s can be cut: that stretch is left out.
    pieces = choose_pieces(silences_at(0, 6, 30, 37), 5, 16)
    assert [(piece.first, piece.last) for piece in pieces] == [(0, 0), (2, 2)]
    assert choose_pieces(silences_at(0, 3), 5, 16) == []


def test_it_is_cut_in_the_longest_silences_and_pieces_keep_a_margin_of_them():
    silences = silences_at(0, 8, 10, 20, seconds=0.2)
    silences[2] = Silence(1, 9.0, 11.0)
    first, second = choose_pieces(silences, 5, 16)
    assert (first.last, second.first) == (1, 2)
    assert first.end_seconds == pytest.approx(9.0 + MARGIN_SECONDS)
    assert second.start_seconds == pytest.approx(11.0 - MARGIN_SECONDS)


@pytest.fixture
def readings(tmp_path):
    """Two long recordings: the text of the second has another utterance in the middle than was said."""
    folder = tmp_path / "readings"
    folder.mkdir()
    rows = []
    for index in range(2):
        utterances, sound, _ = joined_utterances(16, seed=index)
        soundfile.write(folder / f"{index}.wav", sound, SAMPLING_RATE)
        utterances[8] = ("oioi oioi oioi", utterances[8])[index == 0]
        rows.append(f"{index}.wav,{' '.join(utterances)},ann,CC-BY-4.0")
    soundfile.write(folder / "short.wav", speak("ae"), SAMPLING_RATE)
    soundfile.write(folder / "strange.wav", sound, SAMPLING_RATE)
    rows += ["short.wav,ae,ann,CC-BY-4.0", "strange.wav,xyz,ann,CC-BY-4.0"]
    (folder / "metadata.csv").write_text("\n".join(["file_name,text,speaker_id,license", *rows]) + "\n")
    return load_corpus(folder)


def options(out, *more):
    return cut_corpus.parse_arguments(["readings", "--checkpoint", "here", "--out", str(out), *more])


def test_a_corpus_is_cut_into_a_corpus(readings, recogniser, processor, tmp_path):
    out = tmp_path / "pieces"
    report = cut_corpus.cut_corpus(readings, (recogniser, processor), options(out))
    pieces = load_corpus(out)
    said = {row["file_name"]: row for row in readings}
    for row in pieces:
        sound, sampling_rate = decode(row)
        assert 5 <= row["duration_seconds"] <= 16
        whole, _ = decode(said[row["cut_from"]])
        begin, end = (round(row[name] * sampling_rate) for name in ("start_seconds", "end_seconds"))
        np.testing.assert_array_equal(sound, whole[begin:end])
        assert row["text"] in said[row["cut_from"]]["text"]
        assert row["alignment_score"] > -0.5
    assert (set(pieces["license"]), set(pieces["speaker_id"])) == ({"CC-BY-4.0"}, {"ann"})
    assert set(pieces["source"]) == {"readings"}
    whole = [row["text"] for row in pieces if row["cut_from"] == "0.wav"]
    assert " ".join(whole) == said["0.wav"]["text"]
    assert report.counts["recordings dropped: shorter than 5 s"] == 1
    assert report.counts["recordings dropped: with symbols that the recogniser lacks"] == 1
    assert report.counts["pieces dropped: alignment score below -0.5"] == 1
    assert "1 pieces dropped: alignment score below -0.5" in str(report)
    # Every second of the recordings is accounted for.
    accounted = sum(seconds for what, seconds in report.seconds.items() if what != "recordings")
    assert accounted == pytest.approx(report.seconds["recordings"], abs=0.01)
    stored = json.loads((out / "cutting.json").read_text())
    assert stored["report"]["pieces written"]["count"] == len(pieces)
    assert stored["settings"]["max_seconds"] == 16


def test_nothing_is_left_behind_where_nothing_fits(readings, recogniser, processor, tmp_path):
    with pytest.raises(CorpusError, match="no piece is left to write"):
        cut_corpus.cut_corpus(readings, (recogniser, processor), options(tmp_path / "pieces", "--min-score", "1"))
    assert [path.name for path in tmp_path.iterdir()] == ["readings"]


def test_another_rate_is_heard_only_where_that_is_asked_for(readings, recogniser, processor, tmp_path):
    folder = tmp_path / "readings"
    sound, _ = soundfile.read(folder / "0.wav")
    soundfile.write(folder / "0.wav", np.repeat(sound, 2), 2 * SAMPLING_RATE)
    corpus = load_corpus(folder).select([0])
    with pytest.raises(CorpusError, match=r"0\.wav has 16000 Hz but the recogniser hears 8000 Hz; with --resample"):
        cut_corpus.cut_corpus(corpus, (recogniser, processor), options(tmp_path / "pieces"))
    cut_corpus.cut_corpus(corpus, (recogniser, processor), options(tmp_path / "pieces", "--resample"))
    pieces = load_corpus(tmp_path / "pieces")
    assert {decode(row)[1] for row in pieces} == {16_000}
    assert " ".join(pieces["text"]) == corpus["text"][0]


@pytest.mark.parametrize(
    ("more", "message"), [(["--min-seconds", "20"], "must be positive and below"), ([], "is there already")]
)
def test_arguments_without_a_meaning_are_refused(more, message, tmp_path, capsys):
    with pytest.raises(SystemExit):
        options(tmp_path / "new" if more else tmp_path, *more)
    assert message in capsys.readouterr().err
