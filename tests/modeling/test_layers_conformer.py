"""The layers of the Conformer, each against an independently written reference."""

import pytest
import torch
from tiny_conformer import make_config
from torch import nn

from antiphon.modeling.layers_attention import RotaryAttention, rotate
from antiphon.modeling.layers_depthwise import DepthwiseConvolution
from antiphon.modeling.layers_dropout import Dropout
from antiphon.modeling.layers_positions import RotaryPositions
from antiphon.modeling.layers_spec_augment import SpecAugment
from antiphon.modeling.layers_subsampling import ConvolutionSubsampling, subsampled_lengths


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


# ---------------------------------------------------------------- attention


def reference_attention(module: RotaryAttention, hidden_states: torch.Tensor, lengths) -> torch.Tensor:
    """Item by item, head by head; each pair of dimensions is a complex number that turns with time."""
    size, heads, dim = module.config.hidden_size, module.config.num_attention_heads, module.config.head_dim
    weights, biases = module.input_projection.weight.split(size), module.input_projection.bias.split(size)
    outputs = torch.zeros_like(hidden_states)
    for item, length in enumerate(lengths):
        frames = hidden_states[item, :length]
        query, key, value = (
            (frames @ weight.T + bias).view(length, heads, dim) for weight, bias in zip(weights, biases)
        )
        speeds = torch.tensor([module.config.rope_theta ** (-2 * pair / dim) for pair in range(dim // 2)])
        turns = torch.polar(torch.ones(length, dim // 2), torch.arange(length)[:, None] * speeds)
        for head in range(heads):
            turned = [
                torch.complex(states[:, head, : dim // 2], states[:, head, dim // 2 :]) * turns
                for states in (query, key)
            ]
            scores = (turned[0] @ turned[1].conj().T).real / dim**0.5
            outputs[item, :length, head * dim : (head + 1) * dim] = scores.softmax(-1) @ value[:, head]
    return module.output_projection(outputs)


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_rotary_attention_equals_a_complex_valued_reference(implementation):
    config = make_config()
    config._attn_implementation = implementation
    module = RotaryAttention(config).eval()
    lengths = (11, 7)
    hidden_states = torch.randn(2, 11, config.hidden_size)
    mask = (torch.arange(11) < torch.tensor(lengths)[:, None])[:, None, None, :].expand(2, 1, 11, 11)
    if implementation == "eager":
        mask = torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)
    positions = RotaryPositions(config.head_dim, config.rope_theta)(hidden_states)
    output, _ = module(hidden_states, positions, mask)
    expected = reference_attention(module, hidden_states, lengths)
    for item, length in enumerate(lengths):
        torch.testing.assert_close(output[item, :length], expected[item, :length], rtol=1e-4, atol=1e-5)


def test_rotation_makes_scores_depend_on_the_distance_alone():
    cosines, sines = RotaryPositions(16, 10_000.0)(torch.zeros(1, 40, 64))
    query, key = torch.randn(2, 16)
    scores = rotate(query.expand(40, 16), cosines, sines) @ rotate(key.expand(40, 16), cosines, sines).T
    for distance in range(-39, 40):
        diagonal = scores.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=1e-4, atol=1e-4)
    assert scores[0].std() > 0.1


def test_rotation_keeps_lengths():
    heads = torch.randn(2, 4, 30, 16)
    rotated = rotate(heads, *RotaryPositions(16, 10_000.0)(torch.zeros(1, 30, 64)))
    torch.testing.assert_close(rotated.norm(dim=-1), heads.norm(dim=-1))


def test_positions_stay_exact_under_autocast():
    module = RotaryPositions(16, 10_000.0)
    hidden_states = torch.zeros(1, 2000, 64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = module(hidden_states.bfloat16())
    for values, expected in zip(under_autocast, module(hidden_states)):
        assert values.dtype == torch.float32
        torch.testing.assert_close(values, expected, rtol=0, atol=0)


# ---------------------------------------------------------------- convolutions


@pytest.mark.parametrize("kernel_size", [1, 3, 15])
def test_depthwise_convolution_equals_conv1d(kernel_size):
    module = DepthwiseConvolution(24, kernel_size)
    reference = nn.Conv1d(24, 24, kernel_size, padding=kernel_size // 2, groups=24)
    reference.load_state_dict(module.state_dict())
    inputs = torch.randn(3, 37, 24)
    theirs, ours = inputs.clone().requires_grad_(), inputs.clone().requires_grad_()
    expected = reference(theirs.transpose(1, 2)).transpose(1, 2)
    output = module(ours)
    torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-5)
    direction = torch.randn_like(output)
    output.backward(direction)
    expected.backward(direction)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(module.weight.grad, reference.weight.grad, rtol=1e-4, atol=1e-4)


def reference_subsampling(module: ConvolutionSubsampling, features: torch.Tensor) -> torch.Tensor:
    """One item through plain Conv2d layers in the default memory order, with the same weights."""
    channels = module.first.out_features
    hidden_states = nn.functional.conv2d(
        features[None, None], module.first.weight.view(channels, 1, 3, 3), module.first.bias, stride=2, padding=1
    ).relu()
    for depthwise, pointwise in zip(module.depthwise, module.pointwise):
        hidden_states = nn.functional.conv2d(
            hidden_states, depthwise.weight, depthwise.bias, stride=2, padding=1, groups=channels
        )
        hidden_states = nn.functional.conv2d(hidden_states, pointwise.weight[:, :, None, None], pointwise.bias).relu()
    # (1, channels, frames, bins) -> (frames, bins x channels), the order of the projection
    return module.projection(hidden_states[0].permute(1, 2, 0).flatten(1))


@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("num_mel_bins", [40, 37])
def test_subsampling_equals_conv2d(factor, num_mel_bins):
    config = make_config(subsampling_factor=factor, num_mel_bins=num_mel_bins)
    module = ConvolutionSubsampling(config)
    lengths = torch.tensor([53, 38, 17, 1])
    features = torch.randn(4, 53, num_mel_bins)
    features[torch.arange(53) >= lengths[:, None]] = 0.0
    outputs = module(features, lengths)
    assert outputs.shape == (4, -(-53 // factor), config.hidden_size)
    for item, length in enumerate(lengths.tolist()):
        expected = reference_subsampling(module, features[item, :length])
        assert len(expected) == -(-length // factor) == subsampled_lengths(lengths, factor)[item]
        torch.testing.assert_close(outputs[item, : len(expected)], expected, rtol=1e-4, atol=1e-5)


def test_subsampling_without_lengths_takes_every_frame_as_real():
    module = ConvolutionSubsampling(make_config())
    features = torch.randn(2, 31, 40)
    torch.testing.assert_close(module(features, None), module(features, torch.tensor([31, 31])))


def test_subsampling_backward_equals_that_of_conv2d():
    module = ConvolutionSubsampling(make_config())
    features = torch.randn(1, 31, 40)
    gradients = []
    for output in (module(features, torch.tensor([31]))[0], reference_subsampling(module, features[0])):
        module.zero_grad()
        output.square().sum().backward()
        gradients.append({name: parameter.grad.clone() for name, parameter in module.named_parameters()})
    for name, expected in gradients[1].items():
        torch.testing.assert_close(gradients[0][name], expected, rtol=1e-4, atol=1e-4)


# ---------------------------------------------------------------- dropout


@pytest.mark.parametrize("p", [0.05, 0.1, 0.5, 0.9])
def test_dropout_rate_and_expectation(p):
    ones = torch.ones(1000, 1003)
    dropped = Dropout(p).train()(ones)
    kept = dropped != 0
    # Four standard deviations of a binomial share, and half a step of the rounding to 1/256.
    assert kept.float().mean().item() == pytest.approx(1 - p, abs=4 * (p * (1 - p) / ones.numel()) ** 0.5 + 1 / 512)
    assert dropped.mean().item() == pytest.approx(1.0, abs=4 * (p / (1 - p) / ones.numel()) ** 0.5)
    assert len(dropped[kept].unique()) == 1


def test_dropout_decides_element_by_element():
    kept = (Dropout(0.5).train()(torch.ones(400, 512)) != 0).double()
    # Neighbours in either direction, and the elements whose decisions share one random word, are uncorrelated.
    for shift in range(1, 9):
        assert abs(torch.corrcoef(torch.stack([kept[:, shift:].flatten(), kept[:, :-shift].flatten()]))[0, 1]) < 0.01
    assert abs(torch.corrcoef(torch.stack([kept[1:].flatten(), kept[:-1].flatten()]))[0, 1]) < 0.01


def test_dropout_backward_uses_the_mask_of_forward():
    inputs = torch.rand(7, 31).add(1).requires_grad_()
    outputs = Dropout(0.3).train()(inputs)
    outputs.sum().backward()
    torch.testing.assert_close(inputs.grad, outputs.detach() / inputs.detach())
    assert (inputs.grad == 0).any()
    assert (inputs.grad != 0).any()


def test_dropout_follows_the_seed_and_keeps_the_dtype():
    inputs, module = torch.ones(5, 13, dtype=torch.bfloat16), Dropout(0.5).train()
    torch.manual_seed(3)
    first = module(inputs)
    second = module(inputs)
    torch.manual_seed(3)
    assert torch.equal(module(inputs), first)
    assert not torch.equal(second, first)
    assert first.dtype == torch.bfloat16


def test_dropout_is_off_in_evaluation_and_at_zero():
    inputs = torch.randn(5, 13)
    assert torch.equal(Dropout(0.5).eval()(inputs), inputs)
    assert torch.equal(Dropout(0.0).train()(inputs), inputs)


@pytest.mark.parametrize("p", [-0.1, 1.0])
def test_dropout_refuses_what_is_no_probability(p):
    with pytest.raises(ValueError, match=rf"`p` is {p} but a dropout probability must lie in"):
        Dropout(p)


# ---------------------------------------------------------------- SpecAugment


def longest_run(flags: torch.Tensor) -> int:
    return max((len(run) for run in "".join("#" if flag else " " for flag in flags.tolist()).split()), default=0)


def test_spec_augment_stays_within_its_limits():
    config = make_config(num_time_masks=1, time_mask_ratio=0.2, num_frequency_masks=1, frequency_mask_bins=5)
    module = SpecAugment(config).train()
    lengths = torch.tensor([100, 53, 10])
    widest_time, widest_band = [0, 0, 0], 0
    for _ in range(300):
        masked = module(torch.ones(3, 100, 40), lengths) == 0
        for item, length in enumerate(lengths.tolist()):
            time = masked[item].all(dim=1)
            assert not time[length:].any()
            widest_time[item] = max(widest_time[item], longest_run(time))
            band = masked[item][~time].all(dim=0)
            widest_band = max(widest_band, longest_run(band))
            # Nothing but whole frames and whole bands is masked.
            assert torch.equal(masked[item], time[:, None] | band[None, :])
    assert widest_time == [20, 10, 2]
    assert widest_band == 5


def test_spec_augment_draws_every_item_apart_and_follows_the_seed():
    module, features = SpecAugment(make_config(time_mask_ratio=0.5)).train(), torch.ones(8, 100, 40)
    torch.manual_seed(5)
    first = module(features, None)
    assert len({tuple(item.flatten().tolist()) for item in first}) == 8
    assert not torch.equal(module(features, None), first)
    torch.manual_seed(5)
    assert torch.equal(module(features, None), first)


def test_spec_augment_is_off_in_evaluation():
    features = torch.randn(2, 50, 40)
    assert SpecAugment(make_config()).eval()(features, None) is features
