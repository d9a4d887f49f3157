import json
import os
import shutil
import sys
from itertools import pairwise

import numpy as np
import pytest
import soundfile
from small_percepiano import melody, write_midi, write_percepiano

from antiphon.processing.corpora import (
    CorpusError,
    RenderingError,
    decode,
    load_percepiano,
    render_corpus,
    render_midi,
    rendering,
    rendering_conditions,
)
from antiphon.processing.corpora.rendering import find_soundfont, fluidsynth_version, in_room

# Two seconds of a constant at the gain, times what the soundfont's file says, which notes down how it was called.
FAKE = """#!{python}
import json, sys
import numpy, soundfile
arguments = sys.argv[1:]
if arguments == ["--version"]:
    print("FluidSynth runtime version 9.8.7")
    sys.exit()
with open({calls!r}, "a") as file:
    file.write(json.dumps(arguments) + "\\n")
option = dict(zip(arguments, arguments[1:]))
factor = float(open(arguments[-2]).read())
if factor < 0:
    sys.exit("no such instrument")
level = float(option["-g"]) * factor
rate = int(option["-r"])
soundfile.write(option["-F"], numpy.full((2 * rate, 2), level), rate, subtype="FLOAT", format="WAV")
"""


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """Puts a fake FluidSynth and soundfonts in place; what it returns says how often which arguments came."""
    programs, fonts = tmp_path / "programs", tmp_path / "fonts"
    programs.mkdir()
    fonts.mkdir()
    log = tmp_path / "calls.jsonl"
    program = programs / "fluidsynth"
    program.write_text(FAKE.format(python=sys.executable, calls=str(log)))
    program.chmod(0o755)
    for name, factor in {"Soft": 0.5, "Loud": 3, "Broken": -1, "Silent": 0}.items():
        (fonts / f"{name}.sf2").write_text(str(factor))
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("ANTIPHON_SOUNDFONTS", str(fonts))
    monkeypatch.setenv("ANTIPHON_CACHE", str(tmp_path / "cache"))
    fluidsynth_version.cache_clear()
    yield lambda: [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    fluidsynth_version.cache_clear()


@pytest.fixture
def midi(tmp_path):
    write_midi(tmp_path / "a.mid", melody(1))
    return tmp_path / "a.mid"


def test_the_instrument_is_dry_and_nobody_s_settings_count(calls, midi):
    render_midi(midi, soundfont="Soft", sampling_rate=8_000, gain=0.4)
    arguments = calls()[0]
    option = dict(pairwise(arguments))
    assert {name: option[name] for name in ("-r", "-g", "-R", "-C", "-O", "-f")} == {
        "-r": "8000",
        "-g": "0.4",
        "-R": "0",
        "-C": "0",
        "-O": "float",
        "-f": os.devnull,
    }
    render_midi(midi, soundfont="Soft", reverb=True)
    arguments = calls()[1]
    assert dict(pairwise(arguments))["-R"] == "1"


def test_a_rendering_is_mono_flac_of_16_bits_at_the_fixed_gain(calls, midi):
    path = render_midi(midi, soundfont="Soft", gain=0.6)
    header = soundfile.info(str(path))
    assert (header.format, header.subtype, header.channels, header.samplerate) == ("FLAC", "PCM_16", 1, 16_000)
    assert soundfile.read(path)[0] == pytest.approx(0.3, abs=1e-4)


def test_equal_renderings_are_made_once(calls, midi, tmp_path):
    first = render_midi(midi, soundfont="Soft", trim_seconds=1.0)
    assert render_midi(midi.read_bytes(), soundfont="Soft", trim_seconds=1.0) == first
    assert first.is_relative_to(tmp_path / "cache" / "rendered")
    assert len(calls()) == 1


def test_whatever_changes_the_sound_changes_the_file(calls, midi, tmp_path):
    write_midi(tmp_path / "b.mid", melody(2))
    soundfile.write(tmp_path / "room.wav", [1.0, 0.5], 16_000)
    paths = [
        render_midi(tmp_path / "b.mid", soundfont="Soft"),
        *(
            render_midi(midi, **{"soundfont": "Soft", **options})
            for options in (
                {},
                {"gain": 0.5},
                {"sampling_rate": 8_000},
                {"reverb": True},
                {"trim_seconds": 1.0},
                {"room": tmp_path / "room.wav"},
            )
        ),
    ]
    find_soundfont("Soft").write_text("0.25")
    paths.append(render_midi(midi, soundfont="Soft"))
    assert len(set(paths)) == len(paths) == len(calls())


def test_a_rendering_is_cut_with_a_fade(calls, midi):
    waveform, _ = soundfile.read(render_midi(midi, soundfont="Soft", trim_seconds=1.5))
    assert len(waveform) == 24_000
    assert waveform[-1] == 0
    assert waveform[-801] == pytest.approx(0.3, abs=1e-4)
    assert len(soundfile.read(render_midi(midi, soundfont="Soft", trim_seconds=9.0))[0]) == 32_000


def test_clipping_is_refused_with_its_count(calls, midi, tmp_path):
    with pytest.raises(
        RenderingError, match=r"32000 of 32000 samples exceed full scale, the largest is 1\.80; .* 0\.6"
    ):
        render_midi(midi, soundfont="Loud")
    assert not list((tmp_path / "cache").rglob("*.flac"))


@pytest.mark.parametrize(("soundfont", "reason"), [("Broken", "no such instrument"), ("Silent", "rendered silence")])
def test_what_fluidsynth_says_is_told(calls, midi, soundfont, reason):
    with pytest.raises(RenderingError, match=reason):
        render_midi(midi, soundfont=soundfont)


def test_conditions(calls):
    conditions = rendering_conditions("Soft", gain=0.5)
    assert len(conditions.pop("soundfont_sha256")) == 64
    assert conditions == {
        "soundfont": "Soft",
        "fluidsynth": "9.8.7",
        "sampling_rate": 16_000,
        "gain": 0.5,
        "reverb": False,
        "room": None,
        "room_sha256": None,
    }


def test_what_is_missing_is_named_with_its_package(calls, midi, monkeypatch):
    with pytest.raises(RenderingError, match=r"'Organ' is no file .* TimGM6mb in timgm6mb-soundfont"):
        render_midi(midi, soundfont="Organ")
    monkeypatch.setattr(rendering.shutil, "which", lambda name: None)
    with pytest.raises(RenderingError, match="apt install fluidsynth fluid-soundfont-gm"):
        render_midi(midi, soundfont="Soft")


def test_a_corpus_is_rendered_up_to_the_release_of_its_last_notes(calls, tmp_path):
    corpus = load_percepiano(write_percepiano(tmp_path / "percepiano", players=("1",))).select(range(2))
    quick = corpus.remove_columns("duration_seconds").add_column("duration_seconds", [0.25, None])
    rendered = render_corpus(quick, soundfont="Soft", progress=False)
    assert [len(decode(row)[0]) for row in rendered] == [20_000, 32_000]
    assert rendered["file_name"][:] == corpus["file_name"][:]
    assert rendered.features["audio"] == corpus.features["audio"]


def test_a_corpus_without_midi_is_refused(tmp_path):
    corpus = load_percepiano(write_percepiano(tmp_path / "percepiano", players=("1",)))
    with pytest.raises(CorpusError, match="there is no column `midi`"):
        render_corpus(corpus.remove_columns("midi"))


def test_a_room_keeps_onsets_and_energy():
    waveform = np.zeros(8_000, np.float32)
    waveform[[1_000, 4_000]] = 0.5, 0.25
    response = np.zeros(2_000)
    response[[700, 1_500]] = 1.0, 0.5
    wet = in_room(waveform, 16_000, response)
    assert wet.dtype == np.float32
    assert len(wet) == len(waveform)
    assert sorted(np.argsort(np.abs(wet))[-3:]) == [1_000, 1_800, 4_000]
    assert wet[4_000] / wet[1_000] == pytest.approx(0.5, abs=1e-5)
    assert np.sum(wet**2) == pytest.approx(np.sum(waveform**2), rel=1e-4)


@pytest.mark.skipif(shutil.which("fluidsynth") is None, reason="fluidsynth is not installed")
def test_fluidsynth_itself_renders_the_same_twice(tmp_path, midi):
    try:
        options = {"soundfont": find_soundfont("TimGM6mb"), "trim_seconds": 4.0}
    except RenderingError as error:
        pytest.skip(str(error))
    paths = [render_midi(midi, cache=tmp_path / name, **options) for name in ("one", "two")]
    waveforms = [soundfile.read(path)[0] for path in paths]
    assert np.array_equal(*waveforms)
    assert len(waveforms[0]) > 3.5 * 16_000
    # The music begins after half a second of silence: time in the rendering is time in the file.
    assert np.abs(waveforms[0][: int(0.49 * 16_000)]).max() < 1e-3 < np.abs(waveforms[0][8_000:12_000]).max()
