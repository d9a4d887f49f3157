"""The benchmark from made-up voices to row, recordings and page, without any judge package."""

import numpy as np
import pandas as pd
import pytest
from small_voices import JUDGES, SAMPLING_RATE, SPEAKERS, LoudnessRecogniser, SpectrumJudge, small_pairs, small_voices

from antiphon.eval import voice_measures, voice_report
from antiphon.eval.benchmark_voice_conversion import benchmark_voice_conversion, format_row, parse_arguments
from antiphon.eval.result_rows import items_path
from antiphon.eval.submission import check_measurement
from antiphon.eval.voice_items import Conversions, add_noise
from antiphon.eval.voice_judges import PocketsphinxRecogniser, ResemblyzerJudge, ask, normalize_text
from antiphon.eval.voice_measures import Judges, in_time
from antiphon.eval.voice_systems import MODEL_FREE, UnchangedInput


@pytest.fixture(scope="module")
def conversions():
    return Conversions(small_pairs(), small_voices())


@pytest.fixture
def judges(tmp_path):
    return Judges(SpectrumJudge(), LoudnessRecogniser(), cache=tmp_path / "cache")


class Whisper:
    """A converter that is right about the voice and loses a word: the reference's sound, softly."""

    def convert(self, source, reference):
        return 0.1 * np.resize(reference, source.shape)


def test_what_is_judged_is_never_what_was_given(conversions):
    noisy, parallel = conversions[0], conversions[len(conversions) // 2]
    clean = conversions.clean_reference(small_pairs().iloc[0].to_dict())
    assert len(noisy.reference) == len(clean) == SAMPLING_RATE // 2
    assert 10 * np.log10(np.mean(clean**2) / np.mean((noisy.reference - clean) ** 2)) == pytest.approx(10, abs=1e-3)
    # Without a parallel recording one of the target's two other clips is for the upper bound.
    assert (len(noisy.voice), noisy.parallel) == (1, None)
    assert noisy.target is not None
    assert parallel.target is parallel.parallel
    for given in (parallel.reference, parallel.parallel):
        assert not any(np.array_equal(given[:4000], voice[:4000]) for voice in parallel.voice)
    assert noisy.facts["reference"] == "one two"
    assert len(set(conversions.item_ids)) == len(conversions)


def test_a_target_without_other_recordings_is_judged_by_the_clean_reference():
    voices = small_voices().filter(lambda row: row["file_name"] in {"vowels/anna_0.flac", "vowels/ben_1.flac"})
    pairs = small_pairs()
    pairs = pairs[(pairs["source_speaker"] == "anna") & (pairs["target_speaker"] == "ben")].head(1)
    conversion = Conversions(pairs, voices)[0]
    assert conversion.facts["voice_is_reference"]
    assert conversion.target is None
    assert not np.array_equal(conversion.voice[0], conversion.reference)


def test_german_words_are_left_to_who_knows_german(conversions):
    pairs = small_pairs().assign(language="de")
    assert Conversions(pairs, small_voices())[0].facts["reference"] == ""


def test_noise_is_the_same_every_time_and_none_where_none_is_wanted():
    sound = np.ones(2000, np.float32)
    np.testing.assert_array_equal(add_noise(sound, 5.0, seed="a"), add_noise(sound, 5.0, seed="a"))
    assert not np.array_equal(add_noise(sound, 5.0, seed="a"), add_noise(sound, 5.0, seed="b"))
    assert add_noise(sound, np.nan, seed="a") is sound


@pytest.fixture(scope="module")
def measured(conversions, tmp_path_factory):
    pytest.importorskip("pyworld", reason=JUDGES)
    pytest.importorskip("pesq", reason=JUDGES)
    folder = tmp_path_factory.mktemp("voice")
    names = ("unchanged_input", "target_recording")
    row = benchmark_voice_conversion(
        Whisper(),
        conversions,
        {name: MODEL_FREE[name]() for name in names},
        Judges(SpectrumJudge(), LoudnessRecogniser(), cache=folder / "cache"),
        name="vowels",
        split="all",
        out=folder / "results",
        system_name="whisper",
        trained_on=["anna", "somebody"],
        audio=folder / "audio",
    )
    return folder, row


def test_a_row_says_what_was_heard(measured):
    folder, row = measured
    unchanged, bound = (row["baselines"][name] for name in ("unchanged_input", "target_recording"))
    assert row["metrics"]["similarity"]["value"] > unchanged["metrics"]["similarity"]["value"] + 0.03
    assert bound["metrics"]["similarity"]["value"] > 0.9
    assert unchanged["metrics"]["source_similarity"]["value"] == pytest.approx(1)
    assert (row["metrics"]["wer"]["value"], unchanged["metrics"]["wer"]["value"]) == (0.5, 0)
    assert unchanged["metrics"]["f0_correlation"]["value"] == pytest.approx(1)
    assert unchanged["metrics"]["voicing_error"]["value"] == 0
    assert bound["metrics"]["mcd"]["value"] == 0  # it is the parallel recording
    assert row["metrics"]["mcd"]["n"] == len(small_pairs()) / 2
    assert "f0_correlation" not in bound["metrics"]
    assert row["conditions"]["judges"] == {"speaker": "spectrum 1", "recogniser": "loudness 1"}
    assert row["speed"]["real_time_factor"] > 0
    assert "measures known voices: 1 of 4 test speakers are also in training" in row["claims"]
    assert any(claim.startswith("NOT shown to keep the words") for claim in row["claims"])
    assert row["dataset"]["num_target_speakers"] == len(SPEAKERS)
    assert "vowels: 24 items" in format_row(row)
    items = pd.read_parquet(items_path(folder / "results", "vowels_whisper"))
    check_measurement("vowels", row, items)


def test_the_page_shows_every_conversion_worst_first(measured):
    folder, _ = measured
    path = folder / "results" / "vowels_whisper.json"
    items = pd.read_parquet(items_path(path.parent, path.stem))
    voice_report.main([str(path), "--audio", str(folder / "audio")])
    page = path.with_suffix(".html").read_text()
    assert page.count("<audio") == 3 * len(items)
    assert page.count("data:image/png") == len(items)
    places = [
        page.rindex(f": {item.replace('>', '&gt;')}</summary>")
        for item in items.sort_values(["similarity", "item_id"])["item_id"]
    ]
    assert places == sorted(places)
    voice_report.main([str(path), "--audio", str(folder / "audio"), "--without-audio", "--out", str(folder / "b.html")])
    published = (folder / "b.html").read_text()
    assert "<audio" not in published
    assert published.count("data:image/png") == len(items)


def test_what_a_system_says_is_escaped(measured):
    folder, row = measured
    items = pd.read_parquet(items_path(folder / "results", "vowels_whisper"))
    items["hypothesis"] = "<script>alert(1)</script>"
    page = voice_report.render_html(voice_report.build_voice_report(row, items, None))
    assert "<script>" not in page


class TooShort:
    def convert(self, source, reference):
        return source[:-1]


def test_an_output_of_another_length_is_refused(conversions, judges, tmp_path):
    with pytest.raises(ValueError, match=r"the system made \(9599,\) samples of 'noisy_reference: vowels/anna_0"):
        benchmark_voice_conversion(TooShort(), conversions, {}, judges, name="x", split="all", out=tmp_path)


def test_no_pairs_are_refused(judges, tmp_path):
    empty = Conversions(small_pairs().head(0), small_voices())
    with pytest.raises(ValueError, match="`conversions` is empty"):
        benchmark_voice_conversion(UnchangedInput(), empty, {}, judges, name="x", split="all", out=tmp_path)


def test_either_a_checkpoint_or_a_system(capsys):
    for arguments, message in (
        ([], "either a checkpoint or --system"),
        (["--system", "unchanged_input"], "needs --out"),
    ):
        with pytest.raises(SystemExit):
            parse_arguments(arguments)
        assert message in capsys.readouterr().err


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


def test_silence_has_no_voice_and_is_not_refused():
    assert voice_measures._cosine(np.zeros(3), np.ones(3)) == 0.0


def test_frames_of_a_path():
    assert in_time(np.array([[0, 0], [1, 0], [1, 1], [2, 2], [3, 2]])).tolist() == [0, 1, 2, 2]


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


def test_pocketsphinx_forgets_what_it_heard_before():
    pytest.importorskip("pocketsphinx", reason=JUDGES)
    judge = PocketsphinxRecogniser()
    conversions = Conversions(small_pairs(), small_voices())
    anna, dan = (conversions.recording(f"vowels/{name}_0.flac") for name in ("anna", "dan"))
    first = judge(anna)["text"]
    judge(0.01 * dan)
    assert judge(anna)["text"] == first
