"""A published checkpoint works where Antiphon is not installed, as its card says, and gives the same transcript."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from clean_process import code_of, run_python
from tiny_checkpoint import write_speech
from transformers import AutoModelForCTC, AutoProcessor

from antiphon.train_scripts.publish import publish_to_folder, publish_to_hub

SAVE_LOGITS = """
import numpy
numpy.save("logits.npy", outputs.logits.detach().numpy())
"""


@pytest.fixture
def speech(tmp_path) -> Path:
    """A folder away from everything, with nothing but the recording that the card's program reads."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    write_speech(folder / "speech.wav")
    return folder


@pytest.fixture
def expected(published_run, speech) -> tuple[str, np.ndarray]:
    """Transcript and logits of the checkpoint that training wrote, in this process."""
    checkpoint = published_run / "checkpoint"
    processor = AutoProcessor.from_pretrained(checkpoint, trust_remote_code=True)
    model = AutoModelForCTC.from_pretrained(checkpoint, trust_remote_code=True)
    waveform, sampling_rate = soundfile.read(speech / "speech.wav", dtype="float32")
    with torch.no_grad():
        outputs = model(**processor(audio=waveform, sampling_rate=sampling_rate))
    transcript = processor.decode_logits(outputs.logits, outputs.attention_mask)[0]["text"]
    assert transcript, "an empty transcript would prove nothing"
    return transcript, outputs.logits.numpy()


def check(output: str, folder: Path, expected: tuple[str, np.ndarray]) -> None:
    transcript, logits = expected
    assert output.splitlines()[-1] == transcript
    np.testing.assert_allclose(np.load(folder / "logits.npy"), logits, atol=1e-5)


def test_the_program_of_a_folders_card_runs_as_printed(published_run, speech, expected, monkeypatch):
    monkeypatch.chdir(speech)
    card = publish_to_folder(published_run, Path("model_cards/tiny")) / "README.md"
    code = code_of(card.read_text())
    assert len(code.split("\n\n")[1].strip().splitlines()) == 5, "five lines after the imports"
    check(run_python(code + SAVE_LOGITS, speech), speech, expected)


def test_the_program_of_a_repositorys_card_runs_as_printed(client, published_run, speech, expected, tmp_path):
    publish_to_hub(published_run, "tester/tiny")
    code = code_of(client.files("tester/tiny")["README.md"].decode())
    assert 'from_pretrained("tester/tiny", trust_remote_code=True)' in code
    environment = client.environment(tmp_path / "fresh_home", token=None)
    check(run_python(code + SAVE_LOGITS, speech, environment=environment), speech, expected)
    assert any("/resolve/" in path and path.endswith("model.safetensors") for _, path, _ in client.requests)


def test_who_forbids_remote_code_imports_antiphon(published_run, speech, expected, monkeypatch):
    monkeypatch.chdir(speech)
    folder = publish_to_folder(published_run, Path("tiny"))
    for code in folder.glob("*.py"):
        code.unlink()
    card = (folder / "README.md").read_text()
    code = "import antiphon.modeling, antiphon.processing\n" + code_of(card)
    code = code.replace("trust_remote_code=True", "trust_remote_code=False")
    check(run_python(code + SAVE_LOGITS, speech, with_antiphon=True), speech, expected)


def test_the_clean_process_has_no_antiphon(tmp_path):
    with pytest.raises(AssertionError, match="Antiphon is out of reach in this test"):
        run_python("import antiphon.modeling", tmp_path)
