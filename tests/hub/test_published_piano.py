"""A piano model on the Hub, after training and benchmark: the program of its card judges as the checkpoint does."""

import shutil
from functools import partial

import numpy as np
import pytest
import torch
from clean_process import code_of, run_python
from tiny_piano import SAMPLING_RATE, SOUNDFONT, sounding_percepiano, write_recording

from antiphon.eval.benchmark_piano_assessment import benchmark_piano_assessment
from antiphon.modeling import PianoAssessmentModel
from antiphon.processing import PianoFeatureExtractor
from antiphon.processing.audio_midi import read_midi
from antiphon.processing.corpora import load_corpus
from antiphon.train_scripts import tasks
from antiphon.train_scripts import train_piano_assessment as script
from antiphon.train_scripts.publish import publish_to_folder, publish_to_hub
from antiphon.train_scripts.recipes import load_recipe

SAVE_PERCEPTS = """
import numpy
numpy.save("percepts.npy", outputs.percepts.detach().numpy())
"""


@pytest.fixture(scope="module")
def piano(tmp_path_factory):
    """A corpus, and the folder of a run of two steps that is measured on the performances of two players."""
    folder = tmp_path_factory.mktemp("piano")
    with sounding_percepiano(folder, num_passages=4) as corpus, pytest.MonkeyPatch.context() as patch:
        quick = partial(benchmark_piano_assessment, baselines=("global_mean", "passage_mean"))
        patch.setattr(tasks, "benchmark_piano_assessment", quick)
        given = [
            f"data.train=[{{name: {corpus}, where: [player_id=2|3]}}]",
            f"data.rendering={{soundfont: {folder / SOUNDFONT}}}",
            f"run.folder={folder / 'run'}",
        ]
        run = script.train(script.resolve(load_recipe("piano_assessment_debug", given)))
        test = load_corpus(corpus).filter(lambda row: row["player_id"] in ("0", "1"))
        known = {"name": "tiny_piano", "corpus": str(corpus), "split": "players 0 and 1", "protocol": None}
        tasks.TASKS["piano_assessment"].measure(run, test, decodings=["greedy"], **known)
        yield corpus, run.path


@pytest.fixture
def performance(piano, tmp_path):
    """A folder away from everything, with nothing but the files that the card's program reads, and the right answer."""
    corpus, run = piano
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    row = load_corpus(corpus)[0]
    shutil.copy(row["midi"], folder / "performance.mid")
    shutil.copy(row["score_midi"], folder / "score.mid")
    waveform = write_recording(folder / "performance.wav", read_midi(row["midi"]))
    model = PianoAssessmentModel.from_pretrained(run / "checkpoint").eval()
    extractor = PianoFeatureExtractor.from_pretrained(run / "checkpoint")
    inputs = extractor(audio=waveform, midi=row["midi"], score=row["score_midi"], sampling_rate=SAMPLING_RATE)
    with torch.inference_mode():
        return folder, model(**inputs).percepts.numpy()


def test_the_program_of_a_repositorys_card_judges_as_the_checkpoint_does(client, piano, performance, tmp_path):
    folder, expected = performance
    publish_to_hub(piano[1], "tester/piano")
    files = client.files("tester/piano")
    assert "training/recipe.yaml" in files
    code = code_of(files["README.md"].decode())
    environment = client.environment(tmp_path / "fresh_home", token=None)
    output = run_python(code + SAVE_PERCEPTS, folder, environment=environment)
    assert len(output.strip().splitlines()) == expected.shape[1]
    np.testing.assert_allclose(np.load(folder / "percepts.npy"), expected, atol=1e-5)
    fetched = [path for _, path, _ in client.requests if "/resolve/" in path]
    assert any(path.endswith("model.safetensors") for path in fetched)
    assert any(path.endswith("modeling_piano_assessment.py") for path in fetched)


def test_the_card_of_a_model_that_hears_alone_asks_for_a_recording_alone(piano, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = shutil.copytree(piano[1], tmp_path / "run")
    recipe = (run / "recipe.yaml").read_text()
    (run / "recipe.yaml").write_text(recipe.replace("  - midi\n  - score\n", ""))
    card = (publish_to_folder(run, tmp_path / "hearing") / "README.md").read_text()
    assert "| Inputs | audio |" in card
    assert "extractor(audio=waveform, sampling_rate=sampling_rate)" in code_of(card)
