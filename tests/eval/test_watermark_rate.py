"""Rates of a watermark: marks are counted where they are, lost where nothing is left of them, and not invented."""

import numpy as np
import pytest
from tiny_voices import SAMPLING_RATE, voice

from antiphon.eval import watermark_rate as script
from antiphon.eval.voice_runs import audio_path
from antiphon.processing.audio_io import write_audio

SPEECH = [(0.5 * voice(pitch, 6.0, seed=seed)).numpy() for seed, pitch in enumerate((100.0, 170.0))]


def test_marks_are_counted_where_they_are():
    changes = script.CHANGES | {"nothing is left": np.zeros_like}
    rates = script.detection_rates([*SPEECH, SPEECH[0][:8000]], changes)
    assert (rates["num_recordings"], rates["too_short"]) == (2, 1)
    for name in ("as it was made", "the first 0.2 s cut off", "half as loud"):
        assert rates["counts"][name] == {"marked": 2, "other_key": 0, "unmarked": 0}, name
    assert rates["counts"]["nothing is left"] == {"marked": 0, "other_key": 0, "unmarked": 0}
    assert all(counts["unmarked"] == 0 for counts in rates["counts"].values())


def test_every_change_leaves_most_of_the_sound():
    for name, change in script.CHANGES.items():
        changed = change(SPEECH[0])
        assert np.isfinite(changed).all(), name
        assert len(changed) >= len(SPEECH[0]) - script.CUT_SAMPLES, name
        assert 0.4 < np.std(changed) / np.std(SPEECH[0]) < 1.1, name


def test_the_table_has_intervals():
    rates = {"counts": {"as MP3": {"marked": 9, "other_key": 0, "unmarked": 0}}, "num_recordings": 10, "too_short": 3}
    table = script.format_rates(rates)
    assert "| as MP3 | 90 % (60 to 98) | 0 % (0 to 28) |" in table
    assert table.endswith("10 conversions; 3 more were too short for a mark.")


def test_a_folder_of_conversions_is_read(tmp_path, monkeypatch, capsys):
    for index, waveform in enumerate(SPEECH):
        write_audio(audio_path(tmp_path, index, script.SYSTEM), waveform, SAMPLING_RATE)
    monkeypatch.setattr(
        script,
        "detection_rates",
        lambda recordings: {"counts": {}, "num_recordings": len(list(recordings)), "too_short": 0},
    )
    script.main([str(tmp_path)])
    assert "2 conversions" in capsys.readouterr().out


def test_a_folder_without_conversions_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        script.main([str(tmp_path)])
    assert "has no conversions; measure with `--audio" in capsys.readouterr().err
    write_audio(audio_path(tmp_path, 0, script.SYSTEM), SPEECH[0][:8000], SAMPLING_RATE)
    with pytest.raises(SystemExit):
        script.main([str(tmp_path)])
    assert "none of the 1 conversions" in capsys.readouterr().err
