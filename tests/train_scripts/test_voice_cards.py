"""The programs of the cards of voice models run as printed."""

import numpy as np
import pytest
import soundfile
from clean_process import run_python
from tiny_content import make_model as make_content_encoder
from tiny_speaker_encoder import make_model
from tiny_vocoder import make_vocoder
from tiny_voices import SAMPLING_RATE, make_converter, voice

from antiphon.processing import LogMelFeatureExtractor
from antiphon.train_scripts.hub_metadata import HUB_TASKS
from antiphon.train_scripts.model_card import TASKS

MAKERS = {
    "voice-conversion": make_converter,
    "vocoding": make_vocoder,
    "speaker-verification": make_model,
    "content-probing": make_content_encoder,
}


@pytest.mark.parametrize("task", MAKERS)
def test_the_program_of_a_card_runs_as_printed(task, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    MAKERS[task]().save_pretrained("model")
    LogMelFeatureExtractor(win_length=640, n_fft=640, mel_floor=1e-6, normalize="none").save_pretrained("model")
    for name, pitch in (("source", 110.0), ("reference", 200.0), ("speech", 150.0)):
        soundfile.write(f"{name}.wav", voice(pitch, 1.0).numpy(), SAMPLING_RATE)
    printed = run_python(TASKS[task].usage.replace("MODEL", "model"), tmp_path)
    made = {"voice-conversion": "converted.wav", "vocoding": "again.wav"}.get(task)
    if made:
        assert len(soundfile.read(made)[0]) == SAMPLING_RATE
    elif task == "content-probing":
        assert printed.split() == ["1", "51", "16"]  # 101 frames, two for each vector
    else:
        numbers = printed.strip().strip("[]").split(", ")
        assert np.linalg.norm([float(number) for number in numbers]) == pytest.approx(1, abs=1e-3)


def test_the_hub_has_a_place_for_each():
    assert set(MAKERS) <= set(HUB_TASKS)
