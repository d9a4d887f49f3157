"""Performances on their way into a model: files, means of others, held-out members, windows, mixtures, features."""

import math

import numpy as np
import pytest
import torch
from datasets import Dataset
from tiny_piano import make_config, make_model, notes, write_recording

from antiphon.eval import piano_features as features_module
from antiphon.eval.piano_features import PianoFiles, piano_features
from antiphon.modeling import PianoAssessmentConfig
from antiphon.processing import PianoFeatureExtractor
from antiphon.processing.audio_midi import write_midi
from antiphon.train_scripts.assessment_data import (
    AssessmentCollator,
    AssessmentDataset,
    check_ensemble,
    check_inputs,
    held_out_members,
    lattice_embeddings,
    means_of_others,
    passage_keys,
    performance_files,
    tabulate_passages,
)
from antiphon.train_scripts.recipes import RecipeError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ANTIPHON_CACHE", str(tmp_path / "cache"))


def rows_of(num_passages: int = 6, num_players: int = 3) -> Dataset:
    return Dataset.from_list(
        [
            {"file_name": f"{passage}_{player}", "excerpt": f"excerpt{passage // 2}", "midi": "a", "score_midi": "b"}
            for passage in range(num_passages)
            for player in range(num_players)
        ]
    )


# ---------------------------------------------------------------- rows


def test_files_are_those_that_the_model_reads():
    rows = rows_of(1, 2)
    assert performance_files(rows, ["midi"], {}) == [PianoFiles(midi="a")] * 2
    assert performance_files(rows, ["midi", "score"], {}) == [PianoFiles(midi="a", score="b")] * 2
    with pytest.raises(RecipeError, match=r"`data.inputs` is \['score'\] but must name audio, midi or both"):
        check_inputs(["score"], make_config())
    with pytest.raises(RecipeError, match=r"`model.use_audio` is true but `data.inputs` has no audio"):
        check_inputs(["midi"], make_config(use_audio=True))


def test_means_leave_the_row_itself_out():
    values = torch.tensor([[1.0, 0.0], [3.0, 0.0], [8.0, 6.0], [5.0, 5.0]])
    groups, all_count = torch.tensor([0, 0, 0, 1]), torch.ones(4, dtype=torch.bool)
    means = means_of_others(values, groups, all_count)
    assert means[:3].tolist() == [[5.5, 3.0], [4.5, 3.0], [2.0, 0.0]]
    assert means[3].isnan().all()
    learned = means_of_others(values, groups, torch.tensor([True, True, False, True]))
    assert learned[:3].tolist() == [[3.0, 0.0], [1.0, 0.0], [2.0, 0.0]]  # the third counts for nobody


def test_passages_are_tabulated_by_their_means():
    nan = math.nan
    table = tabulate_passages(
        ["b", "a", "b"], torch.tensor([[0.1], [0.5], [0.3]]), torch.tensor([[1.0, nan], [2.0, nan], [4.0, nan]])
    )
    assert table == {
        "a": {"percepts": [0.5], "descriptors": [2.0, None]},
        "b": {"percepts": [pytest.approx(0.2)], "descriptors": [2.5, None]},
    }


def test_passages_are_recognised_by_the_notes_of_their_scores(tmp_path):
    for name, pitch, speed in (("a", 60, 1), ("b", 60, 2), ("c", 61, 1)):
        write_midi(notes(speed * np.arange(4.0), pitches=pitch + np.arange(4)), tmp_path / f"{name}.mid")
    first, second, other = passage_keys(
        Dataset.from_dict({"score_midi": [str(tmp_path / f"{name}.mid") for name in "abc"]})
    )
    assert first == second != other


@pytest.mark.parametrize(("num_parts", "num_members"), [(2, 4), (3, 3), (3, 7)])
def test_every_row_has_members_that_saw_nothing_of_its_group(num_parts, num_members):
    rows = rows_of()
    held_out = held_out_members(rows, "excerpt", num_parts, num_members, seed=1)
    assert held_out.shape == (18, num_members)
    assert (held_out.sum(1) >= num_members // num_parts).all()
    for excerpt in set(rows["excerpt"]):
        of_group = held_out[[name == excerpt for name in rows["excerpt"]]]
        assert (of_group == of_group[0]).all()
    # Members that are as many apart as there are parts do without the same rows.
    torch.testing.assert_close(held_out[:, num_parts:], held_out[:, : num_members - num_parts])
    assert held_out.any(0).all()
    torch.testing.assert_close(held_out_members(rows, "excerpt", num_parts, num_members, seed=1), held_out)


@pytest.mark.parametrize(
    ("data", "model", "message"),
    [
        ({"held_out_parts": 1}, {}, "`data.held_out_parts` is 1 but must lie between 2"),
        ({"held_out_parts": 9}, {}, r"must lie between 2 and `model.num_members` \(8\)"),
        ({}, {"num_tree_members": 2}, r"`model.num_tree_members` is 2 but must be a multiple of .* \(4\)"),
        ({"mixup_alpha": 0.1}, {"freeze_lattices": False}, "set `model.freeze_lattices` to true"),
    ],
)
def test_ensembles_that_cannot_be_judged_are_refused(data, model, message):
    sound = {"held_out_parts": 4, "mixup_alpha": 0.0, "rendering": {}}
    check_ensemble(sound, PianoAssessmentConfig(num_tree_members=4, freeze_lattices=True))
    with pytest.raises(RecipeError, match=message):
        check_ensemble(sound | data, PianoAssessmentConfig(**{"freeze_lattices": True} | model))


# ---------------------------------------------------------------- items and batches


def numbered(frames: int) -> torch.Tensor:
    return torch.arange(frames, dtype=torch.float32)[:, None]


@pytest.fixture
def windows():
    lattices = [numbered(frames) for frames in (9, 50, 50, 90)]
    return {
        "tensors": {"labels": torch.arange(4.0)[:, None]},
        "features": [{"input_features": lattice, "roll_features": lattice} for lattice in lattices],
        "max_frames": 20,
    }


def test_in_validation_a_window_is_the_beginning(windows):
    dataset = AssessmentDataset(**windows)
    assert len(dataset) == 4
    assert dataset[0]["input_features"].flatten().tolist() == list(range(9))
    assert dataset[1]["input_features"].flatten().tolist() == list(range(20))
    assert dataset[3]["labels"].item() == 3
    assert "draw" not in dataset[1]


def test_in_training_a_window_is_a_function_of_seed_epoch_and_item(windows):
    first, again = AssessmentDataset(**windows, seed=3), AssessmentDataset(**windows, seed=3)
    starts = set()
    for epoch in range(20):
        for dataset in (first, again):
            dataset.set_epoch(epoch)
        item = first[3]
        assert first[0]["input_features"].shape == (9, 1)
        # However often and in whatever order it is asked for, and the same for both lattices.
        torch.testing.assert_close(again[3]["input_features"], item["input_features"])
        torch.testing.assert_close(item["roll_features"], item["input_features"])
        assert item["draw"] == again[3]["draw"]
        assert item["input_features"].diff(dim=0).unique().tolist() == [1.0]
        starts.add(item["input_features"][0].item())
    assert len(starts) > 10
    assert min(starts) < 15
    assert max(starts) > 55
    assert first[1]["input_features"][0] != first[2]["input_features"][0]


def test_batches_are_padded_on_the_right(windows):
    dataset = AssessmentDataset(**windows)
    batch = AssessmentCollator()([dataset[0], dataset[1]])
    assert batch["input_features"].shape == (2, 20, 1)
    assert batch["attention_mask"].sum(1).tolist() == [9, 20]
    assert batch["roll_attention_mask"].sum(1).tolist() == [9, 20]
    assert batch["labels"].tolist() == [[0.0], [1.0]]


def mixed(seed: int, alpha: float = 0.5) -> dict[str, torch.Tensor]:
    tensors = {
        "labels": torch.eye(6),
        "descriptors": torch.eye(6) * 10,
        "member_weights": (torch.arange(6)[:, None] % 2 == torch.arange(2)).float(),
    }
    dataset = AssessmentDataset(tensors, seed=seed)
    return AssessmentCollator(alpha)([dataset[index] for index in range(6)])


def test_a_mixture_mixes_everything_by_one_share():
    batch = mixed(0)
    labels = batch["labels"]
    torch.testing.assert_close(labels.sum(1), torch.ones(6))
    assert (labels.diagonal() >= 0.5).all(), "an item counts for at least a half of its mixture"
    assert (labels.diagonal() < 1).any()
    torch.testing.assert_close(batch["descriptors"], 10 * labels)
    assert "draw" not in batch
    for item in range(6):
        for member in range(2):
            parts = torch.nonzero(labels[item])[:, 0]
            allowed = all(int(part) % 2 == member for part in parts)
            assert batch["member_weights"][item, member] == allowed


def test_a_mixture_follows_the_seed_and_can_be_done_without():
    torch.testing.assert_close(mixed(0)["labels"], mixed(0)["labels"])
    assert not torch.allclose(mixed(0)["labels"], mixed(1)["labels"])
    torch.testing.assert_close(mixed(0, alpha=0.0)["labels"], torch.eye(6))


# ---------------------------------------------------------------- features and embeddings


def test_embeddings_are_those_of_each_item_alone():
    model = make_model().train()
    generator = torch.Generator().manual_seed(0)
    features = [{"input_features": torch.randn(frames, 24, generator=generator)} for frames in (75, 9)] + [{}]
    embeddings = lattice_embeddings(model, features)
    assert model.training
    assert embeddings["audio"].shape == (3, 2 * make_config().hidden_size)
    assert embeddings["audio"][2].isnan().all()
    assert embeddings["roll"].isnan().all()
    model.eval()
    for index in range(2):
        alone = model.encode_lattice("audio", features[index]["input_features"][None])[0]
        torch.testing.assert_close(embeddings["audio"][index], alone, atol=1e-5, rtol=1e-4)
    with torch.no_grad():
        model.lattices["audio"].embed.weight += 0.1
    assert not torch.allclose(lattice_embeddings(model, features)["audio"][0], embeddings["audio"][0])


def test_features_are_those_of_the_extractor_and_kept(tmp_path, monkeypatch):
    performance = notes(0.25 * np.arange(6), pitches=60 + np.arange(6))
    write_midi(performance, tmp_path / "a.mid")
    waveform = write_recording(tmp_path / "a.wav", performance)
    extractor = PianoFeatureExtractor()
    files = [
        PianoFiles(audio=str(tmp_path / "a.wav"), midi=str(tmp_path / "a.mid"), score=str(tmp_path / "a.mid")),
        PianoFiles(midi=str(tmp_path / "a.mid")),
    ]
    both, alone = piano_features(files, extractor)
    expected = extractor(waveform, performance, performance, sampling_rate=16_000)
    for name in ("input_features", "roll_features"):
        torch.testing.assert_close(both[name].float(), expected[name][0], atol=4e-3, rtol=1e-3)
    torch.testing.assert_close(both["descriptors"], expected["descriptors"][0], equal_nan=True, atol=1e-3, rtol=1e-3)
    assert "input_features" not in alone
    kept = sorted((tmp_path / "cache").rglob("*.safetensors"))
    assert len(kept) == 2
    piano_features(files, extractor)
    assert sorted((tmp_path / "cache").rglob("*.safetensors")) == kept
    piano_features(files[1:], PianoFeatureExtractor(hop_length=320))
    assert len(list((tmp_path / "cache").rglob("*.safetensors"))) == 3
    monkeypatch.setattr(features_module, "_own_code", lambda path: {path})  # stands for a change of that code
    piano_features(files[1:], extractor)
    assert len(list((tmp_path / "cache").rglob("*.safetensors"))) == 4
