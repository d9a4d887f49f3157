"""A processor takes its language model along: to a folder, to the Hub, and to where Antiphon is not installed."""

import json

import numpy as np
import pytest
from clean_process import run_python
from tiny_checkpoint import write_checkpoint

from antiphon.processing.language_model import CharacterLanguageModel, WordLanguageModel

DECODE = """
import json, sys
import numpy
from transformers import AutoProcessor

processor = AutoProcessor.from_pretrained({name!r}, trust_remote_code=True)
[item] = processor.decode_logits(numpy.load("logits.npy"), num_beams=8, hot_words=["nine"])
print(json.dumps([item["text"], item["hypotheses"][0]["score"], processor.language_model.describe()]))
"""
TEXTS = ["one two three", "nine one", "two two six"]


@pytest.fixture(autouse=True)
def fresh_client(monkeypatch):
    """transformers keeps its Hub client, and with it the address of an earlier test's Hub."""
    monkeypatch.setattr("transformers.utils.hub._hf_api", None)


@pytest.fixture(params=[WordLanguageModel, CharacterLanguageModel])
def processor(request, tmp_path):
    _, processor = write_checkpoint(tmp_path / "checkpoint")
    processor.language_model = request.param.train(TEXTS, order=2)
    return processor


@pytest.fixture
def expected(processor, tmp_path):
    """Writes what a model may have heard, and returns what comes of it in this process."""
    logits = np.random.default_rng(0).normal(size=(1, 40, len(processor.tokenizer))).astype(np.float32)
    np.save(tmp_path / "logits.npy", logits)
    [item] = processor.decode_logits(logits, num_beams=8, hot_words=["nine"])
    assert item["text"] != processor.decode_logits(logits)[0]["text"], "else it would prove nothing"
    return [item["text"], pytest.approx(item["hypotheses"][0]["score"]), processor.language_model.describe()]


def test_a_folder_is_enough(processor, expected, tmp_path):
    processor.save_pretrained(tmp_path / "checkpoint")
    assert json.loads(run_python(DECODE.format(name="checkpoint"), tmp_path).splitlines()[-1]) == expected


@pytest.mark.parametrize("way", ["push_to_hub", "save_pretrained"])
def test_a_repository_is_enough(client, processor, expected, tmp_path, way):
    if way == "push_to_hub":
        processor.push_to_hub("tester/spoken")
    else:
        processor.save_pretrained(tmp_path / "checkpoint", push_to_hub=True, repo_id="tester/spoken")
    assert "language_model.arpa" in client.files("tester/spoken")
    environment = client.environment(tmp_path / "fresh_home", token=None)
    output = run_python(DECODE.format(name="tester/spoken"), tmp_path, environment=environment)
    assert json.loads(output.splitlines()[-1]) == expected


def test_a_repository_without_a_language_model_has_none(client, tmp_path):
    _, processor = write_checkpoint(tmp_path / "checkpoint")
    processor.push_to_hub("tester/silent")
    code = DECODE.format(name="tester/silent").split("[item]")[0] + "print(processor.language_model)"
    environment = client.environment(tmp_path / "fresh_home", token=None)
    assert run_python(code, tmp_path, environment=environment).splitlines()[-1] == "None"
