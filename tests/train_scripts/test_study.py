"""Studies: what each training is given, and what is refused before anything starts."""

import pytest
import yaml
from tone_corpus import write_tone_corpus

from antiphon.processing.corpora import load_corpus, load_split
from antiphon.train_scripts.progress import trained_share
from antiphon.train_scripts.recipes import RecipeError
from antiphon.train_scripts.sources import load_sources
from antiphon.train_scripts.study import PACKAGED_STUDIES, Study, Trial


@pytest.fixture
def settings(tmp_path):
    corpus = str(write_tone_corpus(tmp_path / "corpus"))
    return {
        "recipe": "debug",
        "corpus": corpus,
        "folds": {"number": 2},
        "validation": {"fraction": 0.5},
        "seeds": [0, 1],
        "overrides": {"data.train": [{"name": corpus}]},
        "variants": {"baseline": {}, "noisy": {"data.augmentation": {"noise": {"probability": 1.0}}}},
    }


def load(settings, tmp_path):
    path = tmp_path / "tones.yaml"
    path.write_text(yaml.safe_dump(settings))
    return Study.load(path, tmp_path / "study")


def speakers(source):
    return set(load_sources([source], "data.train")["speaker_id"])


def test_a_training_sees_its_fold_and_its_variant_only(settings, tmp_path):
    study = load(settings, tmp_path)
    study.write()
    for trial in study.trials():
        recipe = study.trial_recipe(trial)
        train, validation = speakers(recipe["data"]["train"][0]), speakers(recipe["data"]["validation"][0])
        split = load_split(study.split_file(trial.fold))
        test = set(study.rows.filter(lambda row, ids=split["test"]: row["file_name"] in ids)["speaker_id"])
        assert len(train) == len(validation) == 1
        assert len(test) == 2
        assert train | validation | test == {f"speaker{index}" for index in range(4)}
        assert bool(recipe["data"]["augmentation"]) == (trial.variant == "noisy")
        assert recipe["run"] == {**recipe["run"], "seed": trial.seed, "folder": str(study.folder / trial.folder)}
        assert recipe["training"]["run_name"] == f"{trial.variant}-{trial.fold}-seed{trial.seed}"


def test_every_item_is_tested_in_exactly_one_fold(settings, tmp_path):
    study = load(settings, tmp_path)
    tested = [id for split in study.splits.values() for id in split["test"]]
    assert sorted(tested) == sorted(study.rows["file_name"])


def test_trials_go_seed_by_seed(settings, tmp_path):
    trials = list(load(settings, tmp_path).trials())
    assert [trial.seed for trial in trials] == [0] * 4 + [1] * 4
    assert trials[2] == Trial("noisy", "fold0", 0)


def test_folds_without_a_number_leave_out_each_group(settings, tmp_path):
    study = load({**settings, "folds": {"by": "speaker_id"}}, tmp_path)
    assert study.fold_names == ["speaker0", "speaker1", "speaker2", "speaker3"]


def test_validation_rows_can_be_named_by_a_condition(settings, tmp_path):
    change = {"folds": {"by": "speaker_id"}, "validation": {"where": ["split=train"]}, "where": ["split!=test"]}
    study = load({**settings, **change}, tmp_path)
    assert study.fold_names == ["speaker0", "speaker1", "speaker3"]
    speaker_of = dict(zip(study.rows["file_name"], study.rows["speaker_id"]))
    split = study.splits["speaker0"]
    assert {speaker_of[id] for id in split["validation"]} == {"speaker1"}
    assert {speaker_of[id] for id in split["train"]} == {"speaker3"}


def test_a_model_for_one_speaker_learns_from_own_rows_and_if_asked_from_others(settings, tmp_path):
    tested, validating = ["audio/002.wav", "audio/003.wav", "audio/006.wav"], ["audio/010.wav"]
    change = {
        "folds": {"own": [f"file_name={'|'.join(tested)}"], "groups": ["speaker2"]},
        "validation": {"where": [f"file_name={validating[0]}"]},
        "variants": {
            "baseline": {},
            "with_others": {
                "data.train": [
                    {"name": settings["corpus"]},
                    {"name": settings["corpus"], "ids": {"file": None, "split": "others"}},
                ]
            },
        },
    }
    study = load({**settings, **change}, tmp_path)
    study.write()
    assert study.fold_names == ["speaker2"]
    speaker_of = {row["file_name"]: row["speaker_id"] for row in load_corpus(settings["corpus"])}
    split = study.splits["speaker2"]
    assert split["test"] == ["audio/002.wav", "audio/006.wav"]
    assert split["validation"] == validating
    own = {name for name, speaker in speaker_of.items() if speaker == "speaker2"}
    assert set(split["train"]) == own - {*tested, *validating}
    assert set(split["others"]) == set(speaker_of) - own - {"audio/003.wav"}
    heard = {
        variant: set(load_sources(study.trial_recipe(Trial(variant, "speaker2", 0))["data"]["train"], "x")["file_name"])
        for variant in study.variants
    }
    assert heard == {"baseline": set(split["train"]), "with_others": {*split["train"], *split["others"]}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"folds": {"own": ["split=test"]}}, "`validation` needs a `where` condition"),
        ({"variants": {"plain": {}}}, "`baseline` is 'baseline' but `variants` are plain"),
        ({"variants": {"baseline": {"modle.hidden_size": 3}}}, "did you mean `model`"),
        ({"variants": {"baseline": {"training.learning_rat": 3}}}, "did you mean `learning_rate`"),
        ({"validation": {}}, "either a `fraction` of the training groups or a `where` condition"),
        ({"folds": {"count": 3}}, "`count` is not a key of `folds`"),
        ({"task": "recogniton"}, "did you mean `recognition`"),
        ({"decodings": ["greddy"]}, "did you mean `greedy`"),
        ({"seed": [1]}, "did you mean `seeds`"),
        ({"seeds": [0, 0]}, "must list different whole numbers"),
        ({"seeds": 3}, "must list different whole numbers"),
        ({"seeds": []}, "must list different whole numbers"),
        ({"decodings": []}, "`decodings` is empty"),
        ({"metric": "wrr"}, "did you mean `wer`"),
        ({"budget_hours": "two"}, "must be a number"),
        ({"variants": {"baseline": {}, "same": {"run.initialize_from": None}}}, "`same` trains what the baseline"),
        ({"variants": {"baseline": {}, "../evil": {}}}, "the variant '../evil' must be a word"),
        ({"variants": {"baseline": {}, "again": {"run.seed": 3}}}, "the study sets it for every training"),
    ],
)
def test_what_cannot_run_is_refused_at_once(settings, tmp_path, change, message):
    with pytest.raises(RecipeError, match=message):
        load({**settings, **change}, tmp_path)


def test_a_missing_key_is_named(settings, tmp_path):
    del settings["seeds"]
    with pytest.raises(RecipeError, match=r"lacks seeds"):
        load(settings, tmp_path)


def test_a_recipe_of_another_corpus_is_refused(settings, tmp_path):
    settings["overrides"]["data.train"] = [{"name": "synthetic_digits"}]
    study = load(settings, tmp_path)
    with pytest.raises(RecipeError, match="does not name"):
        study.trial_recipe(next(study.trials()))


def test_a_folder_keeps_its_data_but_takes_more_seeds(settings, tmp_path):
    load(settings, tmp_path).write()
    load({**settings, "seeds": [0, 1, 2]}, tmp_path).write()
    with pytest.raises(RecipeError, match="`folds` differs"):
        load({**settings, "folds": {"number": 2, "seed": 1}}, tmp_path).write()


def test_what_was_trained_by_another_recipe_is_not_taken_over(settings, tmp_path):
    study = load(settings, tmp_path)
    study.write()
    trial = Trial("noisy", "fold1", 0)
    run = study.run_folder(trial)
    run.open(study.trial_recipe(trial))
    (run.path / "log_history.json").write_text("[]")
    load(settings, tmp_path).write()
    (tmp_path / "study").rename(tmp_path / "moved")
    Study.load(tmp_path / "moved" / "study.yaml", tmp_path / "moved").write()
    settings["variants"]["noisy"] = {"data.augmentation": {"noise": {"probability": 0.5}}}
    (tmp_path / "moved").rename(tmp_path / "study")
    before = (tmp_path / "study" / "study.yaml").read_text()
    with pytest.raises(RecipeError, match="was trained with another recipe than the study has now"):
        load(settings, tmp_path).write()
    assert (tmp_path / "study" / "study.yaml").read_text() == before


def test_a_study_from_before_a_key_existed_goes_on(settings, tmp_path):
    study = load(settings, tmp_path)
    study.write()
    trial = Trial("noisy", "fold1", 0)
    run = study.run_folder(trial)
    recipe = study.trial_recipe(trial)
    del recipe["run"]["architecture"]
    run.open(recipe)
    (run.path / "log_history.json").write_text("[]")
    file = tmp_path / "study" / "study.yaml"
    stored = yaml.safe_load(file.read_text())
    del stored["folds"]["own"]
    file.write_text(yaml.safe_dump(stored))
    load(settings, tmp_path).write()
    assert yaml.safe_load(file.read_text())["folds"]["own"] == []


def test_checkpoints_to_start_from_are_missed_before_the_night(settings, tmp_path):
    settings["variants"]["warm"] = {"run.initialize_from": str(tmp_path / "nowhere")}
    settings["variants"]["hub"] = {"run.initialize_from": "owner/model"}
    assert load(settings, tmp_path).missing_checkpoints() == {"warm": str(tmp_path / "nowhere")}


def test_progress_of_a_run_that_has_not_begun_is_nothing(tmp_path):
    assert trained_share(tmp_path) == 0.0
    (tmp_path / "progress.json").write_text('{"step": 3, "max_steps": 12, "steps_per_second": 1.0}')
    assert trained_share(tmp_path) == 0.25


@pytest.mark.parametrize("name", ["an4_speakers", "fsdd_speakers"])
def test_the_studies_that_come_with_the_package_resolve(name, tmp_path):
    study = Study.load(name, tmp_path)
    assert study.goal
    assert all(len(study.changes(variant)) <= 1 for variant in study.variants if variant not in ("wide",))


@pytest.mark.parametrize("path", sorted(PACKAGED_STUDIES.glob("piano_*.yaml")), ids=lambda path: path.stem)
def test_every_variant_of_the_piano_studies_resolves(path, tmp_path):
    study = Study.load(path.stem, tmp_path)
    assert study.goal
    assert study.folds["protocol"]
