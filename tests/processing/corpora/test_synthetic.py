"""Synthesis itself needs the extra `synthesis`; the list of voices and the plan do not."""

import hashlib
import importlib.util
import itertools
import re
from collections import Counter

import numpy as np
import pytest

from antiphon.processing.corpora import CorpusError, SynthesisError, decode, load_corpus, synthetic, synthetic_shards
from antiphon.processing.corpora.synthetic import SPLITS, load_accents, load_grammar, load_voices, plan_utterances
from antiphon.processing.corpora.synthetic_engine import SpeechEngine

needs_engine = pytest.mark.skipif(
    importlib.util.find_spec("espeakng_loader") is None,
    reason="espeakng-loader is not installed (pip install antiphon[synthesis])",
)
PROSODY = {"rate": 170, "pitch": 50, "pitch_range": 50}


def variant(voice):
    return voice.partition("+")[2]


@pytest.fixture(scope="module")
def engine():
    return SpeechEngine()


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return load_corpus("synthetic_digits", num_utterances=150, cache_dir=tmp_path_factory.mktemp("cache"), num_proc=1)


def test_enough_voices_and_no_variant_or_sibling_in_two_splits():
    voices = load_voices()
    assert (len(voices["train"]), len(voices["validation"]), len(voices["test"])) == (110, 6, 12)
    group_of = {name: siblings[0] for siblings in voices["siblings"] for name in siblings}
    groups = {split: {group_of.get(variant(voice), variant(voice)) for voice in voices[split]} for split in SPLITS}
    for one, other in itertools.combinations(SPLITS, 2):
        assert groups[one].isdisjoint(groups[other])


def test_excluded_variants_are_in_no_split_and_have_a_reason():
    voices = load_voices()
    listed = {variant(voice) for split in SPLITS for voice in voices[split]}
    assert listed.isdisjoint(voices["excluded"])
    assert all(isinstance(reason, str) and len(reason) > 10 for reason in voices["excluded"].values())


def test_every_command_word_is_spelt_out_and_the_vocabulary_is_complete():
    texts = [row["text"] for row in plan_utterances("synthetic_commands", 3_000, seed=0)]
    assert all(re.fullmatch(r"[a-z]+( [a-z]+)*", text) for text in texts)
    grammar = load_grammar()
    fillers = {word for words in grammar["slots"].values() for word in words}
    fixed = {word for command in grammar["commands"] for word in command.split() if "{" not in word}
    assert {word for text in texts for word in text.split()} == fillers | fixed
    digits = set(grammar["slots"]["digit"])
    lengths = Counter(len(text.split()) for text in texts if set(text.split()) <= digits)
    assert set(lengths) == {1, 2, 3, 4, 5, 6}
    assert 0.4 < sum(lengths.values()) / len(texts) < 0.5


def test_the_plan_uses_every_voice_equally_and_a_longer_plan_begins_alike():
    plan = plan_utterances("synthetic_digits", 256, seed=0)
    assert set(Counter(row["speaker_id"] for row in plan).values()) == {2}
    assert plan[:100] == plan_utterances("synthetic_digits", 100, seed=0)
    assert plan != plan_utterances("synthetic_digits", 256, seed=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "dev"}, "`split` is 'dev' but synthetic_digits has train, validation, test"),
        ({"num_utterances": 0}, "`num_utterances` is 0"),
        ({"sampling_rate": 100}, "`sampling_rate` is 100"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(CorpusError, match=message):
        load_corpus("synthetic_digits", **options)


def test_a_missing_engine_is_told_with_its_remedy(tmp_path, monkeypatch):
    def missing(name):
        raise synthetic_shards.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(synthetic_shards.importlib.metadata, "version", missing)
    with pytest.raises(SynthesisError, match=r"pip install antiphon\[synthesis\]"):
        load_corpus("synthetic_digits", cache_dir=tmp_path)


@needs_engine
def test_a_corpus_holds_what_was_planned(digits):
    assert digits["text"][:] == [row["text"] for row in plan_utterances("synthetic_digits", 150, seed=0)]
    assert set(digits["license"]) == {"CC0-1.0"}
    for row in digits:
        waveform, sampling_rate = decode(row)
        assert sampling_rate == 8_000
        assert row["duration_seconds"] == len(waveform) / 8_000
        assert 0.1 < row["duration_seconds"] < 2
        assert 0.02 < np.abs(waveform).max() < 0.99


@needs_engine
def test_splits_partition_the_corpus_by_voice(digits, tmp_path):
    splits = {
        split: load_corpus("synthetic_digits", num_utterances=150, cache_dir=tmp_path, split=split) for split in SPLITS
    }
    assert sum(map(len, splits.values())) == len(digits)
    for split, corpus in splits.items():
        assert set(corpus["speaker_id"]) <= set(load_voices()[split])


@needs_engine
def test_the_audio_depends_on_the_options_alone(digits, tmp_path, monkeypatch):
    again = load_corpus("synthetic_digits", num_utterances=150, cache_dir=tmp_path, num_proc=2)
    assert again["audio"][:] == digits["audio"][:]
    other = load_corpus("synthetic_digits", num_utterances=20, seed=1, cache_dir=tmp_path)
    assert other["audio"][:20] != digits["audio"][:20]


@needs_engine
def test_a_second_load_synthesises_nothing(tmp_path, monkeypatch):
    first = load_corpus("synthetic_digits", num_utterances=3, cache_dir=tmp_path)
    monkeypatch.setattr(synthetic_shards, "_synthesise", pytest.fail)
    assert load_corpus("synthetic_digits", num_utterances=3, cache_dir=tmp_path)["audio"][:] == first["audio"][:]


@needs_engine
def test_a_killed_synthesis_leaves_no_corpus_and_the_next_one_is_whole(tmp_path, monkeypatch):
    run_worker = synthetic_shards._run_worker
    monkeypatch.setattr(synthetic_shards, "_UTTERANCES_PER_SHARD", 2)

    def killed(job):
        if job["target"].endswith("00000004.arrow"):
            raise KeyboardInterrupt
        return run_worker(job)

    with monkeypatch.context() as patch:
        patch.setattr(synthetic_shards, "_run_worker", killed)
        with pytest.raises(KeyboardInterrupt):
            load_corpus("synthetic_digits", num_utterances=6, cache_dir=tmp_path, num_proc=1)
    assert [path for path in tmp_path.iterdir() if path.is_dir() and not path.name.startswith(".")] == []
    corpus = load_corpus("synthetic_digits", num_utterances=6, cache_dir=tmp_path)
    assert len(corpus) == 6
    assert [path for path in tmp_path.iterdir() if path.name.endswith(".unfinished")] == []


@needs_engine
def test_a_failing_worker_is_an_error_with_its_reason(tmp_path, monkeypatch):
    rows = [{**row, "speaker_id": "en-us+nobody"} for row in plan_utterances("synthetic_digits", 2, seed=0)]
    monkeypatch.setattr(synthetic, "plan_utterances", lambda *arguments: rows)
    with pytest.raises(SynthesisError, match="no variant 'nobody'"):
        load_corpus("synthetic_digits", num_utterances=2, cache_dir=tmp_path)


@needs_engine
def test_every_voice_speaks_and_no_two_sound_alike(engine):
    seen = {}
    for voice in [voice for split in SPLITS for voice in load_voices()[split]]:
        waveform = engine.speak("seven", voice, **PROSODY)
        assert np.abs(waveform).max() > 0.02, voice
        digest = hashlib.sha256(waveform.tobytes()).digest()
        assert digest not in seen, f"{voice} sounds as {seen.get(digest)}"
        seen[digest] = voice


@needs_engine
def test_prosody_acts(engine):
    slow, fast = (engine.speak("turn the light on", "en-us", **PROSODY | {"rate": rate}) for rate in (120, 220))
    assert len(slow) > 1.3 * len(fast)
    low, high = (engine.speak("turn the light on", "en-us", **PROSODY | {"pitch": pitch}) for pitch in (25, 75))
    assert not np.array_equal(low, high)


@needs_engine
def test_the_engine_refuses_what_it_cannot_say(engine):
    with pytest.raises(SynthesisError, match="no variant 'nobody'"):
        engine.speak("one", "en-us+nobody", **PROSODY)
    with pytest.raises(SynthesisError, match="no voice 'martian'"):
        engine.speak("one", "martian", **PROSODY)
    with pytest.raises(SynthesisError, match="returned no sound for text ''"):
        engine.speak("", "en-us", **PROSODY)


def test_accented_digits_are_english_words_respelt_for_voices_of_other_languages(tmp_path):
    corpus = load_corpus("synthetic_digits_accented", num_utterances=200, cache_dir=tmp_path)
    assert set(corpus["text"][:]) == set(load_grammar()["slots"]["digit"])
    assert len({voice.partition("+")[0] for voice in corpus["speaker_id"][:]}) == len(load_accents())
    respelt = dict(zip(load_grammar()["slots"]["digit"], load_accents()["el"]))
    for row in corpus:
        if row["speaker_id"].startswith("el+"):
            assert row["spoken"] == respelt[row["text"]]
            break
    else:
        pytest.fail("no Greek voice among 200 utterances")


def test_no_variant_of_an_accented_test_voice_is_heard_in_training():
    plan = plan_utterances("synthetic_digits_accented", 3000, seed=0) + plan_utterances("synthetic_digits", 500, seed=0)
    variants = {split: set() for split in SPLITS}
    for row in plan:
        variants[row["split"]].add(row["speaker_id"].partition("+")[2])
    assert not variants["train"] & variants["test"]
    assert not variants["train"] & variants["validation"]
    assert not variants["validation"] & variants["test"]


def test_every_language_respells_ten_digits():
    assert {len(spellings) for spellings in load_accents().values()} == {10}
