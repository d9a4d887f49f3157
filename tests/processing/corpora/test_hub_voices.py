"""VCTK and LibriTTS, as small look-alikes in the layout that they have on the Hub."""

import json
import subprocess
import sys

import pandas as pd
import pytest
from loopback_hub import LoopbackHub
from small_hub_voices import libritts_files, vctk_files, write_files

from antiphon.processing.corpora import STANDARD_FEATURES, CorpusError, decode, load_libritts, load_vctk
from antiphon.processing.corpora.hub_voices import LIBRITTS_ID, VCTK_ID, VCTK_REVISION
from antiphon.processing.corpora.voices import STORED_VOICES


@pytest.fixture
def vctk(tmp_path):
    name = write_files(tmp_path / "vctk", vctk_files(["p225", "p229", "p232"]))
    return {"repository": name, "license": "CC-BY-4.0", "cache_dir": tmp_path / "cache"}


@pytest.fixture
def libritts(tmp_path):
    name = write_files(tmp_path / "libritts", libritts_files(["103", "669", "2136", "99999"]))
    return {"repository": name, "cache_dir": tmp_path / "cache"}


def test_one_microphone_of_vctk_without_the_speakers_of_the_test(vctk):
    corpus = load_vctk(**vctk)
    assert corpus["speaker_id"][:] == ["vctk-p229", "vctk-p232"]
    assert corpus["file_name"][:] == ["train/p229_001_mic1.flac", "train/p232_001_mic1.flac"]
    assert corpus["duration_seconds"][:] == [0.1, 0.1]
    assert corpus.column_names[: len(STANDARD_FEATURES)] == list(STANDARD_FEATURES)
    assert set(corpus["accent"]) == {"English"}


def test_the_other_microphone_and_all_speakers(vctk):
    corpus = load_vctk(microphone="mic2", held_out=True, **vctk)
    assert corpus["speaker_id"][:] == ["vctk-p225", "vctk-p229", "vctk-p232"]
    assert len(decode(corpus[0])[0]) == 1600


def test_a_microphone_that_vctk_does_not_have(vctk):
    with pytest.raises(CorpusError, match="`microphone` is 'mic3' but VCTK has mic1, mic2"):
        load_vctk(microphone="mic3", **vctk)


def test_a_dataset_that_is_not_vctk(libritts):
    with pytest.raises(CorpusError, match="has no column `file` to tell microphones by"):
        load_vctk(**libritts)


def test_one_split_of_libritts_without_the_speakers_of_validation_and_test(libritts):
    corpus = load_libritts(**libritts)
    assert corpus["speaker_id"][:] == ["ls-103", "ls-99999"]
    assert set(corpus["text"]) == {"It cost two pounds."}
    assert set(corpus["text_original"]) == {"It cost £2."}
    assert set(corpus["split"]) == {"train.clean.100"}
    assert set(corpus["license"]) == {"cc-by-4.0"}


def test_all_speakers_of_another_split(libritts):
    corpus = load_libritts(split="dev.clean", held_out=True, **libritts)
    assert corpus["speaker_id"][:] == ["ls-103", "ls-669", "ls-2136", "ls-99999"]


def test_a_split_that_libritts_does_not_have(libritts):
    with pytest.raises(CorpusError, match=r"`split` is 'train' but LibriTTS has dev\.clean, dev\.other"):
        load_libritts(split="train", **libritts)


def test_nobody_left_is_an_error(tmp_path):
    name = write_files(tmp_path / "libritts", libritts_files(["669"]))
    with pytest.raises(CorpusError, match="1 of 1 recordings, by 1 speakers of validation and test, would be left out"):
        load_libritts(repository=name, cache_dir=tmp_path / "cache")


def test_the_stored_lists_name_speakers_as_the_loaders_do():
    speakers = pd.read_csv(STORED_VOICES, dtype=str).groupby("corpus")["speaker_id"].first()
    assert speakers["vctk_parallel"] == "vctk-p225"
    assert speakers["mini_librispeech"].startswith("ls-")
    assert speakers["librispeech_speakers"].startswith("ls-")


def test_both_come_by_name_over_http_and_only_the_split_that_was_asked_for(tmp_path):
    code = (
        "import json; from antiphon.processing.corpora import load_corpus\n"
        "vctk = load_corpus('vctk', revision='main')\n"
        "libritts = load_corpus('libritts', split='train.clean.100')\n"
        "print(json.dumps([vctk['speaker_id'][:], set(vctk['license']).pop(), libritts['speaker_id'][:]]))\n"
    )
    with LoopbackHub() as hub:
        hub.create(VCTK_ID, vctk_files(["p225", "p229"]), kind="dataset")
        hub.create(LIBRITTS_ID, libritts_files(["103", "669"]), kind="dataset")
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=hub.environment(tmp_path / "home"),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )
        requests = list(hub.requests)
    assert done.returncode == 0, done.stderr[-3000:]
    speakers, license, readers = json.loads(done.stdout)
    assert (speakers, license, readers) == (["vctk-p229"], "CC-BY-4.0", ["ls-103"])
    assert len(VCTK_REVISION) == 40
    fetched = [path for method, path, _ in requests if method == "GET" and path.endswith(".parquet")]
    assert any("train.clean.100" in path for path in fetched)
    assert not any("dev.clean" in path for path in fetched)
