"""The benchmark from made-up voices to row, recordings and page, without any judge package."""

import numpy as np
import pandas as pd
import pytest
from small_voices import JUDGES, SAMPLING_RATE, SPEAKERS, LoudnessRecogniser, SpectrumJudge, small_pairs, small_voices

from antiphon.eval import voice_measures, voice_report
from antiphon.eval.benchmark_voice_conversion import (
    benchmark_voice_conversion,
    choose_baselines,
    format_row,
    parse_arguments,
)
from antiphon.eval.result_rows import items_path
from antiphon.eval.submission import check_measurement
from antiphon.eval.voice_items import Conversions, add_noise
from antiphon.eval.voice_measures import in_time
from antiphon.eval.voice_panel import Judges
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


def test_a_voice_is_judged_by_the_same_recordings_in_every_conversion():
    pairs = small_pairs()
    other = pairs.head(1).assign(reference_files=[["vowels/ben_2.flac"]], reference_seconds=0.4)
    listed = pd.concat([pairs, other], ignore_index=True)
    first, last = (Conversions(part, small_voices(), listed)[0] for part in (pairs, other))
    assert (first.facts["pair"], last.facts["pair"]) == ("vowels/anna_0.flac to ben",) * 2
    assert (first.facts["condition"], last.facts["condition"]) == ("en, 0.5 s at 10 dB", "en, 0.4 s at 10 dB")
    for conversion in (first, last):
        (voice,) = conversion.voice
        np.testing.assert_array_equal(voice, Conversions(listed, small_voices()).recording("vowels/ben_3.flac"))
        assert conversion.target is None


def test_neutral_recordings_judge_and_doubles_in_another_corpus_do_not():
    names = ["b/03a01Wa.flac", "a/03a01Fa.flac", "a/03a02Na.flac", "c/03a07Na.flac", "c/03a01Fa.flac"]
    voices = small_voices().select(range(len(names) + 1))
    voices = voices.remove_columns(["file_name", "speaker_id"])
    voices = voices.add_column("file_name", ["source.flac", *names]).add_column("speaker_id", ["s", *["emodb-03"] * 5])
    pair = (
        small_pairs()
        .head(1)
        .assign(
            source_file="source.flac",
            source_speaker="s",
            target_speaker="emodb-03",
            reference_files=[["a/03a01Fa.flac"]],
        )
    )
    conversions = Conversions(pair, voices)
    conversion = conversions[0]
    # Left are two neutral ones and anger, which is spared for the upper bound.
    assert [len(voice) for voice in conversion.voice] == [len(conversions.recording(name)) for name in names[2:4]]
    np.testing.assert_array_equal(conversion.target, conversions.recording(names[0]))


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
    assert row["metrics"]["similarity"]["value"] > unchanged["metrics"]["similarity"]["value"] + 0.02
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


def test_recordings_of_another_run_are_not_shown(measured, tmp_path):
    folder, row = measured
    items = pd.read_parquet(items_path(folder / "results", "vowels_whisper"))
    other = {**row, "conditions": {**row["conditions"], "outputs_sha256": "0"}}
    with pytest.raises(ValueError, match="tells of another run"):
        voice_report.build_voice_report(other, items, folder / "audio")
    with pytest.raises(ValueError, match=r"manifest\.json is missing"):
        voice_report.build_voice_report(row, items, tmp_path)


def test_what_a_system_says_is_escaped(measured):
    folder, row = measured
    items = pd.read_parquet(items_path(folder / "results", "vowels_whisper"))
    items["hypothesis"] = "<script>alert(1)</script>"
    page = voice_report.render_html(voice_report.build_voice_report(row, items, None))
    assert "<script>" not in page


def test_words_that_nobody_was_asked_for_are_left_blank(measured):
    """As a table from a file holds them."""
    folder, row = measured
    items = pd.read_parquet(items_path(folder / "results", "vowels_whisper"))
    items["hypothesis"] = [np.nan, *items["hypothesis"][1:]]
    report = voice_report.build_voice_report(row, items, None)
    assert "nan" not in voice_report.render_html(report)


class Unreliable:
    """After a first call raises, falls short, is not finite and is silent; then it shouts."""

    def convert(self, source, reference):
        self.calls = getattr(self, "calls", 0) + 1
        match self.calls:
            case 2:
                raise RuntimeError("out of breath")
            case 3:
                return source[:-1]
            case 4:
                return np.full_like(source, np.nan)
            case 5:
                return np.zeros_like(source)
        return 10 * source


def test_a_conversion_that_fails_counts_as_the_worst_and_ends_nothing(conversions, tmp_path):
    pytest.importorskip("pyworld", reason=JUDGES)
    pytest.importorskip("pesq", reason=JUDGES)
    judges = Judges(SpectrumJudge(), LoudnessRecogniser(), quality=FullScaleJudge(), cache=tmp_path / "cache")
    unchanged = {"unchanged_input": UnchangedInput()}
    row = benchmark_voice_conversion(Unreliable(), conversions, unchanged, judges, name="x", split="all", out=tmp_path)
    items = pd.read_parquet(items_path(tmp_path, "x"))
    assert items["failed"].tolist()[:5] == [1, 1, 1, 0, 0]
    assert items["failure"][0] == "RuntimeError: out of breath"
    assert items["failure"][1] == "made (9599,) samples, 0 of them not finite; expected (9600,) finite ones"
    assert "9600 of them not finite" in items["failure"][2]
    silent = items[:4]
    assert (silent[["silent", "judged", "rated", "correlated", "followed"]] == 1).all(axis=None)
    assert (silent[["similarity", "compared", "f0_correlation"]] == 0).all(axis=None)
    assert (silent[["voicing_error", "dnsmos"]] == 1).all(axis=None)
    assert (silent["errors"] == silent["words"]).all()
    assert row["outputs"] == {"silent_outputs": 4, "failed_outputs": 3, "clipped_outputs": len(items) - 4}
    assert "3 of 24 conversions FAILED and count as silence" in row["claims"]
    check_measurement("x", row, items)


class FullScaleJudge:
    """A quality judge that refuses what no player could play."""

    name = "full scale 1"

    def __call__(self, waveform):
        assert np.abs(waveform).max() <= 1
        return {"ovrl": np.array(3.0)}


def test_silence_is_the_worst_copy_of_a_parallel_recording(conversions, judges):
    pytest.importorskip("pyworld", reason=JUDGES)
    pytest.importorskip("pesq", reason=JUDGES)
    conversion = conversions[len(conversions) // 2]
    judge = voice_measures.ConversionJudge(conversion, judges)
    silent = judge.measure(np.zeros_like(conversion.source))
    audible = judge.measure(conversion.source)
    assert silent["parallel"] == audible["parallel"] == 1
    assert silent["mcd"] > audible["mcd"]
    assert silent["aligned"] == audible["aligned"]
    assert (silent["stoi"], silent["pesq"]) == (0.0, 1.0)


def test_a_target_that_nothing_else_can_judge_is_refused(judges, tmp_path):
    voices = small_voices().filter(lambda row: row["file_name"] in {"vowels/anna_0.flac", "vowels/ben_1.flac"})
    lonely = Conversions(small_pairs().head(1), voices)
    with pytest.raises(ValueError, match="no target has a recording besides"):
        benchmark_voice_conversion(UnchangedInput(), lonely, {}, judges, name="x", split="all", out=tmp_path)


def test_unknown_baselines_are_named():
    with pytest.raises(ValueError, match=r"`baselines` has magic, which cannot be made; expected some of unchanged"):
        choose_baselines({"unchanged_input": UnchangedInput()}, ["magic"])


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


def test_silence_has_no_voice_and_is_not_refused():
    assert voice_measures._cosine(np.zeros(3), np.ones(3)) == 0.0


def test_frames_of_a_path():
    assert in_time(np.array([[0, 0], [1, 0], [1, 1], [2, 2], [3, 2]])).tolist() == [0, 1, 2, 2]
