"""Which weights a training keeps, and what their average is."""

from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_conformer import make_model

from antiphon.train_scripts.kept_weights import KeptWeights, average_weights, check_kept, choose_weights
from antiphon.train_scripts.recipes import RecipeError


def state(step, is_first=True):
    return SimpleNamespace(global_step=step, is_world_process_zero=is_first)


def keep(folder, **changes):
    kept = KeptWeights(folder, **{"best": 2, "last": 2, "metric": "eval_wer", "greater_is_better": False, **changes})
    kept.on_train_begin(None, state(0), None)
    return kept


def evaluate(kept, values, first=1):
    for step, value in enumerate(values, start=first):
        model = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.constant_(model.weight, step)
        kept.on_evaluate(None, state(step), None, metrics={"eval_wer": value}, model=model)


def kept_files(folder):
    return sorted(int(path.stem.split("-")[1]) for path in folder.glob("step-*.safetensors"))


def test_the_best_and_the_last_stay(tmp_path):
    kept = keep(tmp_path)
    evaluate(kept, [0.5, 0.1, 0.4, 0.2, 0.6, 0.3])
    assert [entry["step"] for entry in kept.evaluations] == kept_files(tmp_path) == [2, 4, 5, 6]
    assert kept.best_steps(kept.evaluations) == [2, 4]
    assert kept.last_steps(kept.evaluations) == [5, 6]
    assert load_file(kept.path(4))["weight"].item() == 4


def test_more_may_be_better_and_of_equal_ones_the_earlier_is(tmp_path):
    kept = keep(tmp_path, best=1, last=0, greater_is_better=True)
    evaluate(kept, [0.5, 0.9, 0.9, 0.2])
    assert kept_files(tmp_path) == [2]


def test_a_resumed_run_forgets_what_came_after_its_checkpoint(tmp_path):
    values = [0.5, 0.4, 0.1, 0.3, 0.6]
    evaluate(keep(tmp_path / "whole"), values)
    evaluate(keep(tmp_path / "killed"), values[:3])
    again = KeptWeights(tmp_path / "killed", best=2, last=2, metric="wer", greater_is_better=False)
    again.on_train_begin(None, state(2), None)
    assert kept_files(tmp_path / "killed") == [2]
    evaluate(again, values[2:], first=3)
    assert kept_files(tmp_path / "killed") == kept_files(tmp_path / "whole") == [3, 4, 5]


def test_evaluations_after_training_and_on_other_processes_are_not_kept(tmp_path):
    kept = keep(tmp_path)
    evaluate(kept, [0.5])
    kept.on_evaluate(None, state(2, is_first=False), None, metrics={"eval_wer": 0.1}, model=torch.nn.Linear(1, 1))
    kept.on_train_end(None, state(2), None)
    evaluate(kept, [0.2], first=2)
    assert kept_files(tmp_path) == [1]


def test_weights_that_are_not_whole_are_refused(tmp_path):
    divided = torch.nn.Linear(1, 1)
    divided.weight = torch.nn.Parameter(torch.empty(0))
    with pytest.raises(ValueError, match="ZeRO stage 3"):
        keep(tmp_path).on_evaluate(None, state(1), None, metrics={"eval_wer": 0.1}, model=divided)


def test_an_average_is_the_mean_of_floating_numbers(tmp_path):
    files = []
    for number, value in enumerate([1.0, 2.0, 6.0]):
        files.append(tmp_path / f"{number}.safetensors")
        tensors = {"weight": torch.tensor([value, -value]), "half": torch.tensor([value]).half()}
        save_file({**tensors, "count": torch.tensor([number])}, files[-1])
    mean = average_weights(files)
    assert mean["weight"].tolist() == [3.0, -3.0]
    assert mean["half"].dtype == torch.float16
    assert mean["half"].item() == 3.0
    assert mean["count"].item() == 0


@pytest.mark.parametrize("winner", ["best", "average_of_best_2", "average_of_last_3"])
def test_the_better_of_best_and_averages_is_chosen(tmp_path, winner):
    """The stand-in for a Trainer finds the wanted candidate better than the others."""
    kept = keep(tmp_path, last=3)
    models = [make_model(seed=number) for number in range(4)]
    for step, (model, value) in enumerate(zip(models, [0.3, 0.1, 0.2, 0.4]), start=1):
        kept.on_evaluate(None, state(step), None, metrics={"eval_wer": value}, model=model)
    expected = {"best": [1], "average_of_best_2": [1, 2], "average_of_last_3": [1, 2, 3]}
    model = make_model(seed=9)

    def evaluate_candidate(metric_key_prefix):
        return {f"{metric_key_prefix}_wer": 0.05 if metric_key_prefix == winner else 0.1}

    trainer = SimpleNamespace(
        model=model, accelerator=SimpleNamespace(unwrap_model=lambda model: model), evaluate=evaluate_candidate
    )
    selection = choose_weights(trainer, kept)
    assert selection["chosen"] == winner
    assert {name: sorted(entry["steps"]) for name, entry in selection["candidates"].items()} == {
        name: [index + 1 for index in indices] for name, indices in expected.items()
    }
    for name, tensor in model.state_dict().items():
        mean = torch.stack([models[index].state_dict()[name].double() for index in expected[winner]]).mean(0)
        torch.testing.assert_close(tensor, mean.to(tensor.dtype))


@pytest.mark.parametrize(
    ("run", "strategy", "message"),
    [
        ({"keep_best": 1.5, "keep_last": 0}, "steps", "must be a number of evaluations"),
        ({"keep_best": 0, "keep_last": -2}, "steps", "`run.keep_last` is -2"),
        ({"keep_best": 3, "keep_last": 0}, "no", "nothing tells which weights"),
    ],
)
def test_what_cannot_be_kept_is_refused(run, strategy, message):
    with pytest.raises(RecipeError, match=message):
        check_kept({"run": run, "training": {"eval_strategy": strategy}})
