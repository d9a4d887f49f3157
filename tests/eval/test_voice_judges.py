"""What judges answer: once for the same samples, without memory, and nothing for silence."""

import numpy as np
import pytest
from small_voices import JUDGES, SPEAKERS, SpectrumJudge, small_pairs, small_voices

from antiphon.eval.voice_items import Conversions
from antiphon.eval.voice_judges import PocketsphinxRecogniser, ResemblyzerJudge, ask, normalize_text


def test_a_judge_is_asked_once(tmp_path):
    class Counting(SpectrumJudge):
        calls = 0

        def __call__(self, waveform):
            self.calls += 1
            return super().__call__(waveform)

    judge, sound = Counting(), np.ones(1000, np.float32)
    first = ask(judge, sound, tmp_path)
    np.testing.assert_array_equal(ask(judge, sound, tmp_path)["embedding"], first["embedding"])
    assert judge.calls == 1
    ask(judge, 0.5 * sound, tmp_path)
    assert judge.calls == 2


def test_text_is_compared_without_case_and_punctuation():
    assert normalize_text("“Don’t,” said Mr. X — 5 times.") == "don't said mr x 5 times"


def test_resemblyzer_tells_speakers_apart_and_gives_silence_no_direction():
    pytest.importorskip("resemblyzer", reason=JUDGES)
    judge = ResemblyzerJudge()
    conversions = Conversions(small_pairs(), small_voices())
    anna, ben = (conversions.recording(f"vowels/{name}_0.flac") for name in ("anna", "ben"))
    also_anna = conversions.recording("vowels/anna_1.flac")
    first, same, other = (judge(sound)["embedding"] for sound in (anna, also_anna, ben))
    assert first @ same > first @ other
    assert not judge(np.zeros(8000, np.float32))["embedding"].any()


def test_pocketsphinx_hears_the_same_at_any_level_and_never_digital_silence(monkeypatch):
    pytest.importorskip("pocketsphinx", reason=JUDGES)
    judge, heard = PocketsphinxRecogniser(), []

    class Decoder:
        def process_raw(self, samples, full_utt):
            heard.append(np.frombuffer(samples, np.int16))

        def hyp(self):
            return None

        def __getattr__(self, name):
            return lambda: None

    judge._decoder = Decoder()
    sound = Conversions(small_pairs(), small_voices()).recording("vowels/anna_0.flac")
    paused = np.concatenate([sound, np.zeros(8000, np.float32)])
    for gain in (1.0, 0.01):
        judge(gain * paused)
    np.testing.assert_allclose(heard[0].astype(int), heard[1].astype(int), atol=1)
    pause = heard[0][len(sound) :] / 32767
    assert 10 * np.log10(np.mean(pause**2)) == pytest.approx(-75, abs=0.5)
    assert not judge(np.zeros(8000, np.float32))["text"]


def test_pocketsphinx_forgets_what_it_heard_before():
    pytest.importorskip("pocketsphinx", reason=JUDGES)
    conversions = Conversions(small_pairs(), small_voices())
    sounds = [conversions.recording(f"vowels/{name}_{clip}.flac") for name in SPEAKERS for clip in range(2)]
    sounds += [0.01 * sounds[0], np.random.default_rng(0).standard_normal(16_000).astype(np.float32)]
    alone = [str(PocketsphinxRecogniser()(sound)["text"]) for sound in sounds]
    judge = PocketsphinxRecogniser()
    assert [str(judge(sound)["text"]) for sound in sounds] == alone
    assert [str(judge(sound)["text"]) for sound in reversed(sounds)] == alone[::-1]
