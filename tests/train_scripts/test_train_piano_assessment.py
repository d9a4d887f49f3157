"""Training of piano assessment: two steps, a kill, held-out members, stacking, intervals, and mistakes in a recipe."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_piano import SOUNDFONT, sounding_percepiano
from transformers import TrainerCallback

from antiphon.eval.piano_features import piano_features
from antiphon.modeling import PianoAssessmentModel
from antiphon.modeling.modeling_piano_assessment import INPUT_SETS
from antiphon.processing import PianoFeatureExtractor
from antiphon.processing.corpora import load_corpus
from antiphon.processing.percepts import PERCEPTS
from antiphon.train_scripts import assessment_ensemble
from antiphon.train_scripts import train_piano_assessment as script
from antiphon.train_scripts.assessment_data import means_of_others, performance_files, renderings_of
from antiphon.train_scripts.recipes import RecipeError, load_recipe

NUM_ITEMS = 32
HEARING = ["data.inputs=[audio]", "model.use_roll=false", "model.used_groups=[audio]", "model.use_passage_trees=false"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    with sounding_percepiano(tmp_path_factory.mktemp("piano")) as folder:
        yield folder


def recipe_of(corpus, folder, *overrides):
    """The `debug` recipe, resolved."""
    given = [
        f"data.train=[{{name: {corpus}}}]",
        f"data.rendering={{soundfont: {corpus.parent / SOUNDFONT}}}",
        f"run.folder={folder}",
    ]
    return script.resolve(load_recipe("piano_assessment_debug", [*given, *overrides]))


def weights(folder):
    return load_file(folder / "checkpoint" / "model.safetensors")


@pytest.fixture(scope="module")
def run(corpus, tmp_path_factory):
    """Two steps."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    return script.train(recipe_of(corpus, folder))


# ---------------------------------------------------------------- what a run leaves behind


def test_two_steps_leave_a_complete_run(run, corpus, capsys):
    files = {path.name for path in run.path.iterdir()}
    assert {"recipe.yaml", "environment.json", "training_data.json", "log_history.json", "checkpoint"} <= files
    checkpoint = {path.name for path in run.checkpoint.iterdir()}
    assert {"model.safetensors", "config.json", "preprocessor_config.json"} <= checkpoint
    assert {"modeling_piano_assessment.py", "feature_extraction_piano.py"} <= checkpoint
    log = json.loads((run.path / "log_history.json").read_text())
    assert any("eval_r2" in entry and "eval_pearson" in entry for entry in log)
    assert log[-1]["training_seconds"] > 0
    [source] = json.loads((run.path / "training_data.json").read_text())
    assert (source["num_items"], source["num_speakers"], source["license"]) == (NUM_ITEMS, 4, "CC0-1.0")
    assert json.loads((run.path / "progress.json").read_text())["step"] == 2
    script.train(recipe_of(corpus, run.path))
    assert "is trained already" in capsys.readouterr().out


def test_the_checkpoint_judges_a_performance(run, corpus):
    model = PianoAssessmentModel.from_pretrained(run.checkpoint).eval()
    extractor = PianoFeatureExtractor.from_pretrained(run.checkpoint)
    rows = load_corpus(corpus)
    inputs = extractor(midi=rows["midi"][:3], score=rows["score_midi"][:3])
    outputs = model(**inputs)
    assert outputs.percepts.shape == (3, len(PERCEPTS))
    assert ((outputs.percepts > 0) & (outputs.percepts < 1.5)).all()
    assert (outputs.low < outputs.percepts).all()
    assert (outputs.high > outputs.percepts).all()
    assert model.config.percept_names == list(PERCEPTS)
    torch.testing.assert_close(model.label_means, torch.tensor(np.mean(rows["percepts"][:], axis=0)).float())


def test_intervals_are_known_for_whatever_part_of_the_inputs_is_given(run):
    scales = weights(run.path)["interval_scales"]
    assert scales.shape == (len(INPUT_SETS), len(PERCEPTS))
    assert (scales > 0).all()


def test_passages_of_training_are_known_to_the_extractor(run, corpus):
    extractor, rows = PianoFeatureExtractor.from_pretrained(run.checkpoint), load_corpus(corpus)
    assert len(extractor.passages) == len(set(rows["passage"])) == 8
    chosen = [index for index, passage in enumerate(rows["passage"]) if passage == rows["passage"][0]]
    inputs = extractor(midi=rows["midi"][0], score=rows["score_midi"][0])
    expected = np.mean([rows["percepts"][index] for index in chosen], axis=0)
    np.testing.assert_allclose(inputs["passage_percepts"][0], expected, rtol=1e-4)


def test_each_performance_is_heard_in_every_rendering(corpus, tmp_path, capsys):
    """Louder and slower, every performance is learned again, held out of the same members."""
    loud = {"soundfont": str(corpus.parent / SOUNDFONT), "gain": 1.2, "stretch": 1.1}
    recipe = recipe_of(
        corpus, tmp_path / "run", f"data.rendering=[{{soundfont: {loud['soundfont']}}}, {loud}]", *HEARING
    )
    run = script.train(recipe)
    assert f"{2 * NUM_ITEMS} performances" in capsys.readouterr().out
    [source] = json.loads((run.path / "training_data.json").read_text())
    assert source["num_items"] == NUM_ITEMS
    assert len(json.loads((run.checkpoint / "training_items.json").read_text())) == NUM_ITEMS

    extractor, rows = PianoFeatureExtractor(), load_corpus(corpus)
    files = [file for each in renderings_of(recipe["data"]) for file in performance_files(rows, ["audio"], each)]
    features = piano_features(files, extractor)
    tensors, held_out = script.training_tensors(rows, script.build_model(recipe, extractor), features, recipe)
    first, second = (slice(0, NUM_ITEMS), slice(NUM_ITEMS, None))
    for values in (held_out, tensors["labels"], tensors["passages"], tensors["passage_percepts"]):
        torch.testing.assert_close(values[first], values[second], equal_nan=True)
    assert not torch.equal(tensors["descriptors"][first].nan_to_num(), tensors["descriptors"][second].nan_to_num())


# ---------------------------------------------------------------- killed and resumed


class Kill(TrainerCallback):
    """Ends a training without warning."""

    def __init__(self, step: int):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    "more",
    [
        ["data.mixup_alpha=0.4"],
        ["model.freeze_lattices=false", "data.max_seconds=1.0", "model.num_tree_members=0", "model.ranking_weight=0.5"],
    ],
    ids=["mixing embeddings", "learning lattices from windows"],
)
def test_killed_and_resumed_equals_uninterrupted(corpus, tmp_path, more):
    """With dropout on; stopped in the middle of an epoch of two batches."""
    more = [*more, "training.max_steps=6", "training.eval_steps=3", "training.save_steps=3", "model.group_dropout=0.2"]
    whole = script.train(recipe_of(corpus, tmp_path / "whole", *more))
    recipe = recipe_of(corpus, tmp_path / "killed", *more)
    with pytest.raises(KeyboardInterrupt):
        script.train(recipe, callbacks=[Kill(5)])
    assert not (tmp_path / "killed" / "checkpoint").exists()
    # What a kill in the middle of writing leaves behind must not be resumed from.
    (tmp_path / "killed" / "trainer" / "checkpoint-4").mkdir()
    resumed = script.train(recipe)
    expected, found = weights(whole.path), weights(resumed.path)
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0, equal_nan=True)


# ---------------------------------------------------------------- held-out members, stacking, intervals


def test_held_out_judgements_are_those_of_members_that_did_not_learn():
    members = np.arange(12.0).reshape(2, 3, 2)
    held_out = np.array([[True, False, True], [False, True, False]])
    assert assessment_ensemble.held_out_percepts(members, held_out).tolist() == [[2.0, 3.0], [8.0, 9.0]]


def test_held_out_metrics_by_hand():
    labels = np.array([[0.0], [1.0], [2.0], [3.0]])
    held_out = np.array([[True, False]] * 4)
    members = np.stack([labels + 0.5, np.full((4, 1), 99.0)], axis=1)  # the second member is not asked
    metrics = assessment_ensemble.held_out_metrics(members, labels, held_out)
    assert metrics["r2"] == pytest.approx(1 - 4 * 0.25 / 5)
    assert metrics["pearson"] == pytest.approx(1.0)


@pytest.fixture
def judged(run, corpus):
    """The model of the run, with tensors of a larger population whose labels it predicts with a known error."""
    model = PianoAssessmentModel.from_pretrained(run.checkpoint).eval()
    generator = torch.Generator().manual_seed(0)
    size = 400
    tensors = {"descriptors": torch.randn(size, len(model.config.descriptor_names), generator=generator)}
    tensors |= {f"{name}_embeddings": torch.randn(size, 32, generator=generator) for name in model.lattices}
    held_out = np.arange(size)[:, None] % 2 == np.arange(4)[None, :] % 2
    percepts, stds = assessment_ensemble.judge_held_out(model, tensors, held_out, ("audio", "midi", "score"))
    noise = torch.randn(percepts.shape, generator=generator).numpy()
    tensors["labels"] = torch.tensor(percepts + 0.7 * stds * noise, dtype=torch.float32)
    return model, tensors, held_out


def test_intervals_cover_what_they_promise(judged):
    """Calibrated on one half of the items, 90 % of the others' labels lie inside."""
    model, tensors, held_out = judged
    half = {name: tensor[:200] for name, tensor in tensors.items()}
    assessment_ensemble.calibrate(model, half, held_out[:200], np.ones(200, dtype=bool), ["audio", "midi", "score"])
    percepts, stds = assessment_ensemble.judge_held_out(model, tensors, held_out, ("audio", "midi", "score"))
    scales = model.interval_scales[INPUT_SETS.index(("audio", "midi", "score"))].numpy()
    inside = np.abs(tensors["labels"].numpy() - percepts) <= scales * stds
    assert 0.9 <= inside[:200].mean() < 0.93
    assert 0.85 < inside[200:].mean() < 0.95
    # The errors are normal with .7 of the predictive deviation.
    assert scales.mean() == pytest.approx(0.7 * 1.645, rel=0.1)


def test_intervals_are_calibrated_on_what_is_judged(judged):
    model, tensors, held_out = judged
    is_judged = np.arange(400) < 200
    tensors["labels"][200:] += 10.0
    assessment_ensemble.calibrate(model, tensors, held_out, is_judged, ["audio", "midi", "score"])
    assert model.interval_scales[INPUT_SETS.index(("audio", "midi", "score"))].max() < 3


def test_trees_and_heads_are_weighed_by_items_that_they_did_not_learn_from(run, corpus, monkeypatch):
    """Answers that are right for held-out items alone win all the weight."""
    model = PianoAssessmentModel.from_pretrained(run.checkpoint).eval()
    size, seen = 60, []
    generator = torch.Generator().manual_seed(0)
    number = len(model.config.descriptor_names)
    tensors = {
        "descriptors": torch.randn(size, number, generator=generator),
        "labels": 0.5 + 0.1 * torch.randn(size, len(PERCEPTS), generator=generator),
        "passage_percepts": torch.full((size, len(PERCEPTS)), float("nan")),
        "passage_descriptors": torch.full((size, number), float("nan")),
        "passages": torch.arange(size) // 3,
    }
    tensors |= {f"{name}_embeddings": torch.randn(size, 32, generator=generator) for name in model.lattices}
    held_out = torch.arange(size)[:, None] % 2 == torch.arange(4)[None, :] % 2
    targets = (tensors["labels"] - model.label_means) / model.label_stds
    monkeypatch.setattr(assessment_ensemble, "fit_trees", lambda ensemble, *data: seen.append(data))
    right = torch.where(held_out.T[:, :, None], targets, -50.0)
    monkeypatch.setattr(model, "tree_values", lambda descriptors: right)
    monkeypatch.setattr(model, "passage_tree_values", lambda *inputs: torch.zeros_like(right))
    recipe = recipe_of(corpus, run.path.with_name("other"))
    assessment_ensemble.add_trees(model, tensors, held_out.numpy(), np.ones(size, dtype=bool), recipe)
    heads, trees, passages = model.stack_weights[0].tolist()
    assert (heads, passages) == (pytest.approx(0, abs=0.05), 0)
    assert trees == pytest.approx(1, abs=0.05)
    for member, read, learned, _ in seen:
        assert len(read) == len(learned) <= (~held_out[:, member]).sum()
    direct = [given for given in seen if len(given[1]) == size // 2][:2]
    for member, read, learned, _ in direct:
        learns = ~held_out[:, member]
        np.testing.assert_array_equal(learned, targets[learns].numpy())
        np.testing.assert_array_equal(read, model.tree_inputs(tensors["descriptors"])[learns].numpy())


def test_means_of_passages_tell_held_out_rows_nothing(run, corpus):
    """Of labels that are pure chance the passage trees know nothing, for rows that they did not learn from."""
    model = PianoAssessmentModel.from_pretrained(run.checkpoint).eval()
    size, generator = 240, torch.Generator().manual_seed(1)
    number = len(model.config.descriptor_names)
    passages = torch.arange(size) // 8
    held_out = torch.arange(size)[:, None] % 2 == torch.arange(model.config.num_members)[None, :] % 2
    in_other_part = (held_out[:, None] != held_out).any(-1)
    tensors = {
        "descriptors": torch.randn(size, number, generator=generator),
        "labels": model.label_means + model.label_stds * torch.randn(size, len(PERCEPTS), generator=generator),
        "passages": passages,
    }
    for name, values in (("percepts", tensors["labels"]), ("descriptors", tensors["descriptors"])):
        tensors[f"passage_{name}"] = means_of_others(values, passages, in_other_part)
    tensors |= {f"{name}_embeddings": torch.randn(size, 32, generator=generator) for name in model.lattices}
    recipe = recipe_of(corpus, run.path.with_name("chance"))
    assessment_ensemble.add_trees(model, tensors, held_out.numpy(), np.ones(size, dtype=bool), recipe)
    known = tensors["passage_percepts"], tensors["passage_descriptors"]
    answers = model.passage_tree_values(tensors["descriptors"], *known).detach()
    judged = assessment_ensemble.held_out_percepts(answers.transpose(0, 1).numpy(), held_out.numpy())
    targets = ((tensors["labels"] - model.label_means) / model.label_stds).numpy()
    assert np.mean(1 - ((targets - judged) ** 2).mean(0) / targets.var(0)) < 0


def test_lattices_of_a_pretraining_are_taken_over(run, corpus, tmp_path):
    recipe = recipe_of(corpus, tmp_path, f"run.initialize_from={run.checkpoint}", "run.seed=5")
    torch.manual_seed(9)
    model = script.build_model(recipe, PianoFeatureExtractor())
    expected = weights(run.path)
    for name, tensor in model.lattices.state_dict().items():
        torch.testing.assert_close(tensor, expected[f"lattices.{name}"])
    assert not any(parameter.requires_grad for parameter in model.lattices.parameters())


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.learning_rat=1", "did you mean `learning_rate`"),
        ("model.hiden_size=1", "did you mean `hidden_size`"),
        ("data.mixup=1", "did you mean `mixup_alpha`"),
        ("run.sed=1", "did you mean `seed`"),
        ("run.folder=null", "`run.folder` is missing"),
        ("model.hidden_size=30", r"(?s)`model` cannot be used: .*`hidden_size` is 30"),
        ("model.fusion=sum", r"(?s)`model` cannot be used: .*must be one of concatenation, gating, attention"),
        ("model.used_groups=[sound]", "`sound` is not a key of `model.used_groups`"),
        ("data.held_out_parts=5", r"`data.held_out_parts` is 5 but must lie between 2 and `model.num_members` \(4\)"),
        ("data.rendering={soundfon: x}", "did you mean `soundfont`"),
        ("data.rendering={stretch: 1.1}", "`stretch` is not a key of `data.rendering`"),
        ("data.rendering=[]", r"`data.rendering` is \[\] but must be options"),
        ("data.rendering=[{}, {gain: 0.3}]", "`data.rendering` lists several, and trees that correct the mean"),
        ("data.held_out_parts=4", r"`model.num_tree_members` is 2 but must be a multiple of .* \(4\)"),
    ],
)
def test_mistakes_are_told_before_anything_starts(corpus, tmp_path, override, message):
    with pytest.raises(RecipeError, match=message):
        recipe_of(corpus, tmp_path, override)
    assert list(tmp_path.iterdir()) == []


def test_what_lattices_read_is_not_mixed(corpus, tmp_path):
    with pytest.raises(RecipeError, match=r"`data\.mixup_alpha` mixes descriptors and embeddings"):
        recipe_of(corpus, tmp_path, "data.mixup_alpha=0.2", "model.freeze_lattices=false")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.inputs=[audio, score, smell]", r"`data.inputs` is \['audio', 'score', 'smell'\] but must name"),
        ("data.inputs=[score]", r"`data.inputs` is \['score'\] but must name audio, midi or both"),
        ("run.initialize_from=nowhere", "`run.initialize_from` is nowhere, which holds no model.safetensors"),
        ("data.train=[]", "`data.train` names no corpus"),
    ],
)
def test_mistakes_are_one_sentence(corpus, tmp_path, override, message, monkeypatch):
    arguments = ["piano_assessment_debug", f"data.train=[{{name: {corpus}}}]", f"run.folder={tmp_path / 'run'}"]
    arguments.append(f"data.rendering={{soundfont: {corpus.parent / SOUNDFONT}}}")
    with pytest.raises(SystemExit, match=f"^error: {message}"):
        script.main([*arguments, override])


def test_a_folder_of_another_recipe_is_not_overwritten(run, corpus):
    with pytest.raises(RecipeError, match="holds a run of another recipe"):
        script.train(recipe_of(corpus, run.path, "training.learning_rate=0.5"))
