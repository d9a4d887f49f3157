"""Pretraining of the lattices: its targets by hand, padding, learning, and an assessment model that takes them over."""

import pytest
import torch
from tiny_piano import NO_REGULARISATION, make_batch, make_config, make_model

from antiphon.modeling import PianoLatticePreTraining


def make_pretraining(seed: int = 0, **changes) -> PianoLatticePreTraining:
    torch.manual_seed(seed)
    return PianoLatticePreTraining(make_config(**(NO_REGULARISATION | changes))).eval()


def lattices(lengths=(75, 41, 9)) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in make_batch(lengths).items() if name != "descriptors"}


def test_targets_by_hand():
    """A key struck at frame 18 with .8, held for six frames, sounding to the end of its patch of 16 frames."""
    roll = torch.zeros(1, 32, 3, 24)
    key = 12 + 5  # the sixth of the second octave
    roll[0, 18, 0, key] = 0.8
    roll[0, 18:24, 1, key] = 1
    roll[0, 18:32, 2, key] = 1
    targets = make_pretraining().targets(roll.flatten(2))
    assert targets.shape == (1, 2, 2, 3 * 4 * 12)
    # four slices of four frames: 16-19, 20-23, 24-27, 28-31
    slices = targets.view(1, 2, 2, 4, 3, 12)
    struck, held, sounding = slices[0, 1, 1, :, :, 5].T.tolist()
    assert struck == pytest.approx([0.8, 0, 0, 0])
    assert held == pytest.approx([0.5, 1.0, 0, 0])
    assert sounding == pytest.approx([0.5, 1.0, 1.0, 1.0])
    slices[0, 1, 1, :, :, 5] = 0
    assert not slices.any()


def test_the_loss_is_the_sum_of_its_tasks():
    outputs = make_pretraining()(**lattices())
    torch.testing.assert_close(outputs.loss, outputs.transcription_loss + outputs.masked_loss)
    assert outputs.transcriptions.shape == (3, 5, 2, 144)
    # Untrained, a readout near zero misses about the second moment of the targets.
    assert outputs.transcription_loss > 0.5


def test_padding_is_not_asked_for():
    model, batch = make_pretraining(), lattices()
    other = {
        name: tensor + 9.0 * (1 - batch["attention_mask"][:, :, None]) if "features" in name else tensor
        for name, tensor in batch.items()
    }
    losses = []
    for inputs in (batch, other):
        torch.manual_seed(1)
        losses.append(model(**inputs))
    torch.testing.assert_close(losses[0].loss, losses[1].loss)


def test_a_transcription_of_a_padded_item_equals_that_of_the_lone_item():
    model, batch = make_pretraining(), lattices()
    together = model(**batch).transcriptions
    alone = model(**{name: tensor[1:2, :41] for name, tensor in batch.items()}).transcriptions
    torch.testing.assert_close(together[1, :3], alone[0], atol=1e-5, rtol=1e-4)


def test_only_blanked_patches_are_asked_for():
    """With nothing blanked there is no loss on the roll; with everything blanked the roll does not matter."""
    model, batch = make_pretraining(), lattices()
    model.masked_share = 0.0
    assert model(**batch).masked_loss == 0
    model.masked_share = 1.1
    seen = []
    model.readouts["roll"].register_forward_hook(lambda module, inputs, output: seen.append(output))
    for roll in (batch["roll_features"], batch["roll_features"].flip(2)):
        model(**batch | {"roll_features": roll})
    torch.testing.assert_close(seen[0], seen[1])


def test_every_parameter_gets_a_gradient():
    model = make_pretraining().train()
    model(**lattices()).loss.backward()
    without = [name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()]
    assert without == []


def test_one_batch_is_learnt_by_heart():
    model, batch = make_pretraining().train(), lattices((64, 48))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        outputs = model(**batch)
        optimizer.zero_grad()
        outputs.loss.backward()
        optimizer.step()
        losses.append(outputs.transcription_loss.item())
    assert losses[-1] < 0.2 * losses[0]


def test_an_assessment_model_takes_the_lattices_over(tmp_path):
    pretrained = make_pretraining()
    pretrained.save_pretrained(tmp_path)
    loaded = PianoLatticePreTraining.from_pretrained(tmp_path).eval()
    assessing = make_model(seed=3, **NO_REGULARISATION)
    assessing.lattices.load_state_dict(loaded.lattices.state_dict())
    batch = lattices()
    for name, features, mask in (
        ("audio", "input_features", "attention_mask"),
        ("roll", "roll_features", "roll_attention_mask"),
    ):
        expected, _ = pretrained.lattices[name](batch[features], batch[mask])
        found, _ = assessing.lattices[name](batch[features], batch[mask])
        torch.testing.assert_close(found, expected)
