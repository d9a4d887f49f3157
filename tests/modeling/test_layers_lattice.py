"""Patches of a lattice of time and pitch, and positions that know distances only."""

import pytest
import torch
from tiny_piano import LENGTHS, NO_REGULARISATION, make_batch, make_config

from antiphon.modeling.layers_attention import rotate
from antiphon.modeling.layers_lattice import LatticePositions, LatticeTransformer, pool


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def make_lattice(channels: int = 1, **changes) -> LatticeTransformer:
    """Initialised as inside a model."""
    from antiphon.modeling import PianoAssessmentModel

    model = PianoAssessmentModel(make_config(**(NO_REGULARISATION | changes)))
    return model.lattices["audio" if channels == 1 else "roll"].eval()


# ---------------------------------------------------------------- positions


def scores(queries, keys, num_times, num_octaves, times, octaves):
    """Scores between patches, where the grid that is turned begins at (times, octaves)."""
    cosines, sines = (
        table.view(num_times, num_octaves, -1)[times:, octaves:].flatten(0, 1)
        for table in LatticePositions(8, theta=100.0)(num_times, num_octaves)
    )
    return rotate(queries, cosines, sines) @ rotate(keys, cosines, sines).T


@pytest.mark.parametrize(("times", "octaves"), [(3, 0), (0, 2), (5, 1)])
def test_a_shift_in_time_or_pitch_leaves_scores_as_they_are(times, octaves):
    queries, keys = torch.randn(2, 6 * 4, 8)
    expected = scores(queries, keys, 6, 4, 0, 0)
    shifted = scores(queries, keys, 6 + times, 4 + octaves, times, octaves)
    torch.testing.assert_close(shifted, expected, atol=1e-4, rtol=1e-4)


def test_half_of_the_pairs_turn_by_time_and_half_by_pitch():
    """By hand, as complex numbers: pairs (i, i + 4) turn by time for i = 0, 1 and by octave for i = 2, 3."""
    cosines, sines = LatticePositions(8, theta=100.0)(3, 2)
    turned = torch.complex(cosines, sines).view(3, 2, 8)
    for time in range(3):
        for octave in range(2):
            angles = torch.tensor([time * 1.0, time * 0.1, octave * 1.0, octave * 0.1] * 2)
            torch.testing.assert_close(turned[time, octave], torch.polar(torch.ones(8), angles))


def test_positions_tell_time_from_pitch():
    queries = torch.randn(1, 8).expand(9, 8)
    table = scores(queries, queries, 3, 3, 0, 0)[0].view(3, 3)
    assert not torch.allclose(table[0, 1], table[1, 0])
    assert table[0, 0] == pytest.approx(table.max())


# ---------------------------------------------------------------- patches


def test_patches_hold_one_octave_of_their_frames():
    lattice = make_lattice(channels=3)
    frames, channels, bins = torch.meshgrid(torch.arange(35), torch.arange(3), torch.arange(24), indexing="ij")
    features = (10_000 * frames + 100 * channels + bins + 1).float().flatten(1)[None]
    patches = lattice.patches(features)
    assert patches.shape == (1, 3, 2, 16 * 3 * 12)
    patch = patches[0, 1, 1].view(16, 3, 12)
    assert patch[5, 2, 7] == 10_000 * (16 + 5) + 100 * 2 + 12 + 7 + 1
    last = patches[0, 2, 0].view(16, 3, 12)
    assert (last[:3] > 0).all()
    assert not last[3:].any()


@pytest.mark.parametrize(("frames", "times"), [(1, 1), (16, 1), (17, 2), (75, 5)])
def test_a_patch_is_real_where_any_of_its_frames_is(frames, times):
    mask = (torch.arange(80) < frames).long()[None]
    assert make_lattice().patch_mask(mask).tolist() == [[1] * times + [0] * (5 - times)]


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("name", ["input_features", "roll_features"])
def test_a_padded_item_equals_the_lone_item(name, implementation):
    lattice = make_lattice(channels=1 if name == "input_features" else 3)
    lattice.config._attn_implementation = implementation
    batch = make_batch()
    mask = batch["attention_mask"]
    # Padding holds garbage, which nobody may hear.
    features = batch[name] + 100 * (1 - mask[:, :, None])
    hidden_states, patch_mask = lattice(features, mask)
    pooled = pool(hidden_states, patch_mask)
    for item, length in enumerate(LENGTHS):
        alone, alone_mask = lattice(batch[name][item : item + 1, :length])
        real = int(patch_mask[item].sum())
        assert alone_mask.shape == (1, real)
        torch.testing.assert_close(hidden_states[item, :real], alone[0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(pooled[item], pool(alone, alone_mask)[0], atol=1e-5, rtol=1e-4)


def test_what_is_heard_does_not_depend_on_when():
    """Whole patches of padding before a performance shift positions alone: the first real patch hears the same."""
    lattice, features = make_lattice(), torch.randn(1, 48, 24)
    cosines, sines = lattice.positions(5, 2)
    lattice.positions.forward = lambda times, octaves: (cosines[-2 * times :], sines[-2 * times :])
    later, _ = lattice(features)
    del lattice.positions.forward
    expected, _ = lattice(features)
    torch.testing.assert_close(later, expected, atol=1e-5, rtol=1e-4)


def test_hidden_patches_are_not_seen():
    lattice, features = make_lattice(), torch.randn(1, 48, 24)
    hidden = torch.zeros(1, 3, 2, dtype=torch.bool)
    hidden[0, 1, 0] = True
    other = features.clone()
    other[0, 16:32, :12] = torch.randn(16, 12)
    torch.testing.assert_close(lattice(features, None, hidden)[0], lattice(other, None, hidden)[0])
    assert not torch.allclose(lattice(features)[0], lattice(other)[0])


def test_pooling_by_hand():
    hidden_states = torch.tensor([[[[1.0], [2.0]], [[3.0], [6.0]], [[99.0], [99.0]]]])
    pooled = pool(hidden_states, torch.tensor([[1, 1, 0]]))
    torch.testing.assert_close(pooled, torch.tensor([[3.0, 3.5**0.5]]))
