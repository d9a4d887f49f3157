"""Training of a vocoder: a few steps, a kill in either stage, what reaches the model, and mistakes in a recipe."""

import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch
from datasets import Audio, Dataset
from safetensors.torch import load_file
from tiny_vocoder import make_vocoder, mel_of, voice
from tiny_voices import make_converter, write_voices

from antiphon.modeling import VocoderModel, VoiceConverterModel
from antiphon.modeling.layers_voice_decoder import VoiceDecoder
from antiphon.modeling.losses_adversarial import feature_matching_loss
from antiphon.processing import LogMelFeatureExtractor
from antiphon.processing.audio_io import encode_audio
from antiphon.processing.corpora import decode, load_corpus
from antiphon.train_scripts import train_vocoder as script
from antiphon.train_scripts.adversarial import (
    ADVERSARIAL_DEFAULTS,
    AdversarialTrainer,
    average_weights,
    learning_rate,
)
from antiphon.train_scripts.decoded_segments import DecodedSegments, decode_corpus, with_another
from antiphon.train_scripts.recipes import RecipeError, load_recipe
from antiphon.train_scripts.run_folder import RunFolder

LENGTHS = (24_000, 9_000, 4_000)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("voices")
    with (folder / "metadata.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file_name", "speaker_id", "source", "license"])
        for index, length in enumerate(LENGTHS):
            recording = voice(length, pitch=120.0 + 60 * index, seed=index)[0].numpy()
            soundfile.write(folder / f"{index}.wav", recording, 16_000, subtype="PCM_16")
            table.writerow([f"{index}.wav", f"speaker{index}", "voices", "CC0-1.0"])
    return folder


def overrides(corpus, folder, *more):
    return [
        f"data.train=[{{name: {corpus}}}]",
        f"data.validation=[{{name: {corpus}}}]",
        f"run.folder={folder}",
        *more,
    ]


def recipe_of(*given):
    return script.resolve(load_recipe("vocoder_debug", overrides(*given)))


def weights(folder):
    return load_file(folder / "checkpoint" / "model.safetensors")


@pytest.fixture(scope="module")
def run(corpus, tmp_path_factory):
    """Two steps without discriminators and two with them."""
    return script.train(recipe_of(corpus, tmp_path_factory.mktemp("runs") / "run"))


# ---------------------------------------------------------------- what a run leaves behind


def test_four_steps_leave_a_complete_run(run, corpus, capsys):
    files = {path.name for path in run.path.iterdir()}
    assert {"recipe.yaml", "environment.json", "training_data.json", "log_history.json", "checkpoint"} <= files
    log = json.loads((run.path / "log_history.json").read_text())
    steps = [entry for entry in log if "spectral" in entry]
    assert [entry["step"] for entry in steps] == [1, 2, 3, 4]
    assert ["discriminator" in entry for entry in steps] == [False, False, True, True]
    assert any("validation_average_spectral" in entry for entry in log)
    assert log[-1]["training_seconds"] > 0
    assert json.loads((run.path / "progress.json").read_text())["step"] == 4
    script.train(recipe_of(corpus, run.path))
    assert "is trained already" in capsys.readouterr().out


def test_the_checkpoint_speaks(run):
    model = VocoderModel.from_pretrained(run.checkpoint).eval()
    extractor = LogMelFeatureExtractor.from_pretrained(run.checkpoint)
    waveform = voice(8_000)
    features = extractor(waveform[0], sampling_rate=16_000, return_tensors="pt")["input_features"]
    torch.testing.assert_close(features, mel_of(waveform), rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        assert model(features).waveform.shape == (1, 8_000)


@pytest.mark.parametrize("killed_at", [1, 3])
def test_killed_and_resumed_equals_uninterrupted(run, corpus, tmp_path, killed_at):
    """In either stage: after the state of a step was written and the next step was taken."""
    killed = overrides(corpus, tmp_path / "killed")
    code = (
        "import os, sys\n"
        "from antiphon.train_scripts import adversarial, train_vocoder\n"
        "original = adversarial.AdversarialTrainer._take_step\n"
        "def patched(self, batch):\n"
        "    losses = original(self, batch)\n"
        f"    if self.step == {killed_at}: os._exit(9)\n"
        "    return losses\n"
        "adversarial.AdversarialTrainer._take_step = patched\n"
        "train_vocoder.main(sys.argv[1:])\n"
    )
    # As many threads as here: another number rounds sums in another order.
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    command = [sys.executable, "-c", code, "vocoder_debug", *killed]
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert done.returncode == 9, done.stderr[-2000:]
    resumed = script.train(recipe_of(corpus, tmp_path / "killed"))
    expected, found = weights(run.path), weights(resumed.path)
    assert max(float((found[name] - expected[name]).abs().max()) for name in expected) == 0.0
    logs = [json.loads((folder / "log_history.json").read_text())[:-1] for folder in (run.path, resumed.path)]
    assert logs[0] == logs[1]


def test_two_processes_train_one_model(corpus, tmp_path):
    """Each takes its own items; what they write is whole."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "0"]
    command += ["--rdzv_backend", "c10d", "--rdzv_endpoint", "localhost:0", script.__file__, "vocoder_debug"]
    done = subprocess.run(
        [*command, *overrides(corpus, tmp_path / "run")],
        capture_output=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:].decode()
    log = json.loads((tmp_path / "run" / "log_history.json").read_text())
    assert [entry["step"] for entry in log if "spectral" in entry] == [1, 2, 3, 4]
    assert json.loads((tmp_path / "run" / "environment.json").read_text())["processes"] == 2
    assert all(tensor.isfinite().all() for tensor in weights(tmp_path / "run").values())


# ---------------------------------------------------------------- on what a converter makes


@pytest.fixture(scope="module")
def converter(tmp_path_factory):
    folder = tmp_path_factory.mktemp("converter") / "checkpoint"
    make_converter().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def voices(tmp_path_factory):
    folder = tmp_path_factory.mktemp("several")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANTIPHON_CACHE", str(folder / "cache"))
        yield write_voices(folder / "corpus")


def test_training_goes_on_with_what_a_converter_makes(run, converter, voices, tmp_path):
    given = [f"run.initialize_from={run.checkpoint}", f"run.converter={converter}", "training.adversarial_start=0"]
    recipe = recipe_of(voices, tmp_path / "further", *given, "training.max_steps=1")
    generator, judges = script.build_models(recipe)
    state = torch.load(run.trainer / "state.pt", weights_only=True)
    expected = weights(run.path)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in generator.state_dict().items())
    assert all(torch.equal(tensor, state["discriminators"][name]) for name, tensor in judges.state_dict().items())
    further = script.train(recipe)
    log = json.loads((further.path / "log_history.json").read_text())
    assert "discriminator" in log[0]
    assert np.isfinite(log[0]["spectral"])
    assert any(not torch.equal(tensor, expected[name]) for name, tensor in weights(further.path).items())
    heard = {corpus["name"] for corpus in json.loads((further.path / "training_data.json").read_text())}
    assert "voices" in heard  # the first training's
    assert any(name.startswith("unknown") for name in heard)  # the converter's


def test_segments_lie_under_the_spectrogram_that_the_converter_made_of_them(converter, voices):
    model = VoiceConverterModel.from_pretrained(converter).eval()
    corpus = load_corpus(voices)
    segments = DecodedSegments(corpus, model, 6_400, (0.0, 0.0), seed=0)
    item = segments[3]
    assert item["waveform"].shape == (6_400,)
    assert item["input_features"].shape == (41, 80)
    assert torch.equal(segments[3]["waveform"], item["waveform"])
    assert not torch.equal(segments[4]["waveform"], item["waveform"])
    # A decoder that passes the energy on puts it where the waveform has it.
    own = mel_of(item["waveform"][None])[0].logsumexp(-1)[4:-4]
    made = item["input_features"].logsumexp(-1)[4:-4]
    assert np.corrcoef(own, made)[0, 1] > 0.9
    louder = DecodedSegments(corpus, model, 6_400, (-6.0, -6.0), seed=0)[3]
    torch.testing.assert_close(louder["waveform"], item["waveform"] * 10 ** (-6 / 20))
    high = item["input_features"] > np.log(model.config.mel_floor) + 2
    shift = (louder["input_features"] - item["input_features"])[high]
    torch.testing.assert_close(shift, torch.full_like(shift, -0.6 * np.log(10)), rtol=0, atol=1e-4)
    alone = corpus.select([0])
    with pytest.raises(RecipeError, match="another one of its speaker"):
        DecodedSegments(alone, model, 6_400, (0.0, 0.0), seed=0)


def test_what_is_decoded_has_the_pitch_of_the_recording(converter, voices, monkeypatch):
    model, given = VoiceConverterModel.from_pretrained(converter).eval(), []
    forward = VoiceDecoder.forward
    monkeypatch.setattr(
        VoiceDecoder,
        "forward",
        lambda self, states, memory, voices, f0, energy: (
            given.append(f0),
            forward(self, states, memory, voices, f0, energy),
        )[1],
    )
    corpus = load_corpus(voices)
    decoded = decode_corpus(corpus, model)
    pairs = with_another(corpus["speaker_id"])
    assert len(given) == len(pairs) == len(decoded["hops"])
    for f0, (place, other) in zip(given, pairs):
        assert corpus[place]["speaker_id"] == corpus[other]["speaker_id"]
        waveform = torch.from_numpy(decode(corpus[place], 16_000)[0])
        assert float(f0[f0 > 0].median()) == pytest.approx(model.describe_source(waveform).median_hz, rel=0.01)


def test_the_unknown_the_lonely_the_short_and_the_silent_are_left_out(converter, voices, capsys):
    assert with_another(["a", None, "b", "a", None, "a"]) == [(0, 3), (3, 5), (5, 0)]
    corpus = load_corpus(voices)
    same = [place for place, speaker in enumerate(corpus["speaker_id"]) if speaker == corpus["speaker_id"][0]][:2]
    rows = [dict(corpus[place]) for place in same]
    for row in rows:
        row["audio"] = {"bytes": encode_audio(np.zeros(8_000, np.float32), 16_000), "path": None}
    model = VoiceConverterModel.from_pretrained(converter).eval()
    silent = Dataset.from_list(rows).cast_column("audio", Audio(decode=False))
    assert decode_corpus(silent, model)["hops"].shape == (0,)
    assert "is left out" in capsys.readouterr().out


# ---------------------------------------------------------------- parts


def make_segments(corpus, **changes):
    options = {"segment_samples": 6_400, "level_db": -27.0, "gain_db": (0.0, 0.0), "seed": 0}
    return script.WaveformSegments(load_corpus(corpus), 16_000, **(options | changes))


def test_segments_follow_from_seed_and_index_alone(corpus):
    first, second = make_segments(corpus), make_segments(corpus)
    for index in (7, 0, 1_000_000):
        assert torch.equal(first[index]["waveform"], second[index]["waveform"])
    assert not torch.equal(first[0]["waveform"], first[1]["waveform"])
    assert not torch.equal(first[0]["waveform"], make_segments(corpus, seed=1)[0]["waveform"])


def test_segments_have_the_level_asked_for_and_are_padded_with_silence(corpus):
    segments = make_segments(corpus)
    found = [segments[index]["waveform"] for index in range(40)]
    full = [waveform for waveform in found if waveform[-1] != 0]
    short = [waveform for waveform in found if waveform[-1] == 0]
    assert {len(waveform) for waveform in found} == {6_400}
    assert np.median([10 * float(waveform.square().mean().log10()) for waveform in full]) == pytest.approx(-27, abs=1)
    assert short
    assert all((waveform[4_000:] == 0).all() and waveform[:4_000].std() > 0.01 for waveform in short)


def test_a_loud_segment_is_never_clipped(corpus):
    segments = make_segments(corpus, gain_db=(60.0, 60.0))
    assert max(float(segments[index]["waveform"].abs().max()) for index in range(20)) == pytest.approx(1.0, abs=1e-4)


def test_a_recording_beyond_full_scale_keeps_its_shape(tmp_path, capsys):
    loud = 1.5 * np.sin(2 * np.pi * 100 * np.arange(8_000) / 16_000)
    soundfile.write(tmp_path / "0.wav", loud, 16_000, subtype="FLOAT")
    (tmp_path / "metadata.csv").write_text("file_name,speaker_id,source,license\n0.wav,a,voices,CC0-1.0\n")
    segments = make_segments(tmp_path, segment_samples=8_000)
    heard = segments[0]["waveform"].numpy()
    np.testing.assert_allclose(heard / heard.max(), loud / 1.5, atol=1e-3)
    assert "1 of 1 recordings exceed full scale" in capsys.readouterr().out


class Judge(torch.nn.Module):
    """One discriminator of one weight."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(1.0))

    def forward(self, waveform):
        return [self.weight * waveform], [[self.weight * waveform]]


def test_features_are_matched_by_the_discriminators_of_the_moment(tmp_path):
    """Those of the real waveform too: the loss is what the updated weight makes of the difference."""
    generator, judge = torch.nn.Linear(1, 1), Judge()
    trainer = AdversarialTrainer(
        generator,
        judge,
        make=lambda generator, batch, is_adversarial: (generator(batch), torch.full((4, 1), 3.0), {}),
        dataset=None,
        settings={**ADVERSARIAL_DEFAULTS, "adversarial_start": 0, "discriminator_learning_rate": 0.5},
        run=RunFolder(tmp_path),
        save=None,
        validate=None,
    )
    trainer.step = 100
    made = generator(torch.ones(4, 1)).detach()
    losses = trainer._take_step(torch.ones(4, 1))
    assert abs(float(judge.weight.detach()) - 1) > 0.1
    expected = feature_matching_loss([[judge.weight * 3.0 * torch.ones(4, 1)]], [[judge.weight * made]])
    torch.testing.assert_close(losses["feature_matching"].detach(), expected.detach())


def test_the_true_pitch_is_given_at_first_and_the_own_one_later(corpus):
    recipe = recipe_of(corpus, "unused")
    model = make_vocoder().train()
    objective = script.VocoderObjective(model.config, recipe["training"])
    batch = {"waveform": voice(8_000)}
    seen = []
    model.register_forward_hook(lambda module, inputs, output: seen.append(output.f0))
    for is_adversarial in (False, True):
        made, real, losses = objective(model, batch, is_adversarial)
        assert made.shape == real.shape == (1, 8_000)
        assert set(losses) == {"spectral", "pitch"}
    torch.testing.assert_close(seen[0][0, 10:40], 140 * (1 + 0.0025 * torch.arange(10, 40)), rtol=0.02, atol=0)
    assert not torch.allclose(seen[1], seen[0])


def test_the_rate_warms_up_and_ends_at_the_final_one():
    settings = {**ADVERSARIAL_DEFAULTS, "warmup_steps": 10, "max_steps": 110, "final_learning_rate": 1e-5}
    rates = [learning_rate(settings, 1e-3, step) for step in range(111)]
    assert rates[0] == pytest.approx(1e-4)
    assert max(rates) == rates[10] == pytest.approx(1e-3)
    assert rates[60] == pytest.approx((1e-3 + 1e-5) / 2)
    assert rates[110] == pytest.approx(1e-5)


def test_a_running_average_follows_fast_at_first():
    averages = [torch.zeros(2)]
    average_weights(averages, [torch.ones(2)], torch.tensor(0), 0.999)
    torch.testing.assert_close(averages[0], torch.full((2,), 0.9))
    average_weights(averages, [torch.ones(2)], torch.tensor(10**6), 0.999)
    torch.testing.assert_close(averages[0], torch.full((2,), 0.9 + 0.1 * 0.001))


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.adversarial_strat=3", "did you mean `adversarial_start`"),
        ("model.hidden_sizes=3", "did you mean `hidden_size`"),
        ("training.mixed_precision=fp16", "`training.mixed_precision` is 'fp16' but must be one of no, bf16"),
        ("model.lookahead=9", "`model` cannot be used"),
        ("data.voices=[an4]", "either `data.voices`"),
        ("run.folder=null", "`run.folder` is missing"),
        ("run.converter=nowhere", "`run.converter` is nowhere, which holds no config.json"),
    ],
)
def test_mistakes_are_found_before_anything_is_read(tmp_path, override, message):
    with pytest.raises(RecipeError, match=message):
        recipe_of("nowhere", tmp_path, override)
