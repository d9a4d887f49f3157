"""Training a content encoder: read aloud, then aligned recordings; killed and resumed; mistakes."""

import json
from functools import cache

import pytest
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback

from antiphon.modeling.modeling_content_encoder import ContentEncoderModel
from antiphon.processing import ConformerProcessor
from antiphon.train_scripts import train_content_encoder
from antiphon.train_scripts.content_phones import read_aloud
from antiphon.train_scripts.recipes import RecipeError
from antiphon.train_scripts.run_folder import RunFolder

TEXTS = ["one two three four five six", "the cat sat on the mat"]
ENCODER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "subsampling_channels": 4}
TRAINING = {
    "max_steps": 2,
    "per_device_train_batch_size": 4,
    "eval_steps": 2,
    "save_steps": 2,
    "use_cpu": True,
    "disable_tqdm": True,
}


@cache
def speak(num_utterances, split, seed):
    """The engine remembers what it said, so that only a fresh process would speak the same again."""
    return read_aloud(TEXTS, num_utterances, split, seed)


class Kill(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 3:
            raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def recordings(monkeypatch):
    """Synthetic speech in place of recordings."""
    pytest.importorskip("espeakng_loader", reason="needs espeakng-loader: pip install antiphon[synthesis]")

    def load_recordings(side, corpora):
        return speak({"train": 8, "validation": 4}[side], side, 7).select_columns(train_content_encoder.COLUMNS)

    monkeypatch.setattr(train_content_encoder, "read_aloud", lambda texts, *options: speak(*options))
    monkeypatch.setattr(train_content_encoder, "load_recordings", load_recordings)
    monkeypatch.setattr(train_content_encoder, "VALIDATION_UTTERANCES", 4)


def train(folder, data=(), model=(), training=(), run=(), callbacks=()):
    recipe = {
        "data": {"read_aloud": 10, "recordings": False, **dict(data)},
        "model": {"encoder_config": ENCODER, "content_size": 16, **dict(model)},
        "training": {**TRAINING, **dict(training)},
        "run": {"folder": str(folder), **dict(run)},
    }
    return train_content_encoder.train(train_content_encoder.resolve(recipe), callbacks)


def test_read_aloud_then_recordings(tmp_path):
    first = train(tmp_path / "aloud")
    files = {path.name for path in first.checkpoint.iterdir()}
    assert {"model.safetensors", "processor_config.json", "modeling_content_encoder.py", "layers_stream.py"} <= files
    second = train(
        tmp_path / "recordings",
        data={"recordings": True, "read_aloud": 0},
        model={"speaker_weight": 0.1, "bottleneck": "vq"},
        run={"initialize_from": str(first.checkpoint)},
    )
    alignment = json.loads((second.path / "alignment_train.json").read_text())
    assert len(alignment["phones"]) == len(alignment["phone_starts"]) == 8
    assert sum(map(len, alignment["phones"])) > 40
    log = json.loads((second.path / "log_history.json").read_text())
    assert any({"eval_cer", "eval_phone_accuracy"} <= entry.keys() for entry in log)
    encoder = ContentEncoderModel.from_pretrained(second.path / "content_encoder")
    assert encoder.config.bottleneck == "vq"
    assert {"layers_envelope.py", "modeling_conformer.py"} <= {
        path.name for path in (second.path / "content_encoder").iterdir()
    }


def test_recordings_are_aligned_by_the_checkpoint_whatever_the_bottleneck(tmp_path):
    """A new bottleneck knows no phones; an alignment by other weights is made anew."""
    first = train(tmp_path / "aloud")
    options = {"data": {"recordings": True, "read_aloud": 0}, "run": {"initialize_from": str(first.checkpoint)}}
    alignments = [
        (train(tmp_path / name, model={"bottleneck": name}, **options).path / "alignment_train.json").read_text()
        for name in ("linear", "vq")
    ]
    assert alignments[0] == alignments[1]

    run = RunFolder(tmp_path / "other")
    run.path.mkdir()
    (run.path / "alignment_train.json").write_text(json.dumps({"digest": "other", "phones": [], "phone_starts": []}))
    model = train_content_encoder.load_start(str(first.checkpoint))
    processor = ConformerProcessor.from_pretrained(first.checkpoint)
    rows = train_content_encoder.load_recordings("train", None)
    train_content_encoder.aligned("train", rows, run, model, processor)
    assert (run.path / "alignment_train.json").read_text() == alignments[0]
    weights = load_file(first.checkpoint / "model.safetensors")
    save_file(
        {name: value for name, value in weights.items() if not name.startswith("phone_head")},
        first.checkpoint / "model.safetensors",
        metadata={"format": "pt"},
    )
    for changes in ({}, {"bottleneck": "vq"}):
        with pytest.raises(RecipeError, match=r"which lacks phone_head\.bias, phone_head\.weight"):
            train_content_encoder.load_start(str(first.checkpoint), **changes)


def test_validation_reads_texts_of_validation(tmp_path, monkeypatch):
    texts = {}

    def remember(given, number, split, seed):
        texts[split] = list(given)
        return speak(number, split, seed)

    monkeypatch.setattr(train_content_encoder, "read_aloud", remember)
    train(tmp_path / "aloud")
    for side in ("train", "validation"):
        assert texts[side] == list(train_content_encoder.load_recordings(side, None)["text"])


def test_killed_and_resumed_equals_uninterrupted(tmp_path):
    """With dropout, masks, perturbation and augmentation on."""
    options = {"data": {"augmentation": {"noise": {"probability": 1.0}}}, "training": {"max_steps": 4}}
    whole = train(tmp_path / "whole", **options)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "killed", **options, callbacks=[Kill()])
    resumed = train(tmp_path / "killed", **options)
    first, second = (load_file(run.checkpoint / "model.safetensors") for run in (whole, resumed))
    assert max((first[name] - second[name]).abs().max().item() for name in first) == 0.0


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("model", "botleneck", "vq", "did you mean `bottleneck`"),
        ("model", "bottleneck", "narrow", "`bottleneck` is 'narrow'"),
        ("data", "perturbation", {"warpp": 1.1}, "did you mean `warp`"),
        ("model", "encoder_config", {"subsampling_factor": 4}, "`model.encoder_config.subsampling_factor` is 4"),
        ("data", "read_aloud", 0, "`data.read_aloud` must say how many"),
        ("data", "recordings", True, "`run.initialize_from` is missing"),
        ("run", "folder", None, "`run.folder` is missing"),
    ],
)
def test_mistakes_are_one_sentence(section, key, value, message):
    recipe = {"data": {"recordings": False, "read_aloud": 4}, "model": {}, "training": {}, "run": {"folder": "runs/x"}}
    recipe[section] = {**recipe[section], key: value}
    with pytest.raises(RecipeError, match=message):
        train_content_encoder.resolve(recipe)
