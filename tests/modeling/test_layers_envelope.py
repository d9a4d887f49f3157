"""The smooth envelope: what it keeps, what it removes, and that a stream computes the same."""

import torch
from scipy.fft import dct, idct

from antiphon.modeling.layers_envelope import RunningMean, SpectralEnvelope
from antiphon.modeling.layers_quantization import FiniteScalarQuantizer


def make_envelope(**changes) -> SpectralEnvelope:
    return SpectralEnvelope(
        **({"num_mel_bins": 80, "num_bands": 40, "num_coefficients": 20, "prior_frames": 50} | changes)
    )


def test_half_precision_is_that_of_the_result_alone():
    features = torch.randn(1, 30, 80, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    envelope = make_envelope()
    expected = envelope(features.float()).to(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(envelope(features), expected)


def test_lifter_is_a_truncated_cosine_transform():
    envelope = make_envelope(num_bands=80)
    features = torch.randn(5, 80)
    coefficients = dct(features.numpy(), norm="ortho")
    coefficients[:, 20:] = 0
    torch.testing.assert_close(features @ envelope.lifter, torch.from_numpy(idct(coefficients, norm="ortho")))


def test_fewer_bands_read_the_same_curve():
    smooth = torch.cos(torch.pi * 3 * (torch.arange(80) + 0.5) / 80) + 2.0
    expected = torch.cos(torch.pi * 3 * (torch.arange(40) + 0.5) / 40) + 2.0
    torch.testing.assert_close(smooth @ make_envelope().lifter, expected, rtol=0, atol=1e-4)


def test_harmonics_are_removed():
    # At 37.7 Hz per band below 1 kHz, harmonics of 150 Hz are four bands apart.
    harmonics = torch.cos(2 * torch.pi * torch.arange(80) / 4)
    assert (harmonics @ make_envelope().lifter)[1:-1].abs().max() < 0.1


def test_a_stream_computes_the_same():
    envelope, features = make_envelope(), torch.randn(2, 300, 80) - 8
    envelope.fit(features)
    state = RunningMean()
    pieces = [envelope(piece, state) for piece in features.split([1, 99, 37, 163], dim=1)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), envelope(features))


def test_nothing_looks_ahead():
    envelope, features = make_envelope(), torch.randn(1, 60, 80)
    changed = features.clone()
    changed[:, 30:] += 5
    torch.testing.assert_close(envelope(changed)[:, :30], envelope(features)[:, :30])


def test_a_channel_is_forgotten():
    envelope, features = make_envelope(), torch.randn(1, 3000, 80) - 6
    envelope.fit(features)
    channel = torch.linspace(2, -2, 80)
    difference = (envelope(features + channel) - envelope(features))[0].norm(dim=-1)
    assert difference[-1] < 0.1 * difference[0]


def test_pauses_hardly_count():
    envelope = make_envelope()
    speech, pause = torch.randn(1, 400, 80) * 0.3, torch.full((1, 400, 80), -13.0)
    envelope.fit(torch.cat([speech, pause], dim=1))
    after_pause = envelope(torch.cat([pause, speech], dim=1))[:, 400:]
    torch.testing.assert_close(after_pause, envelope(speech), rtol=0, atol=0.05)


def test_fit_brings_deviation_to_one():
    envelope, features = make_envelope(prior_frames=1e9), 3 * torch.randn(4, 500, 80) - 5
    envelope.fit(features)
    normalised = envelope(features)
    torch.testing.assert_close(normalised.std((0, 1)), torch.ones(40), rtol=0.01, atol=0)
    assert normalised.mean((0, 1)).abs().max() < 0.01


def test_quantizer_rounds_to_its_grid_and_back():
    quantizer = FiniteScalarQuantizer([8, 5, 4])
    points, codes = quantizer(3 * torch.randn(2000, 3))
    torch.testing.assert_close(quantizer.decode(codes), points)
    assert codes.min() >= 0
    assert codes.max() < 8 * 5 * 4
    assert len(codes.unique()) > 120
    assert points[:, 1].unique().tolist() == [-1.0, -0.5, 0.0, 0.5, 1.0]


def test_quantizer_by_hand_and_its_gradient():
    quantizer = FiniteScalarQuantizer([3, 5])
    vectors = torch.tensor([[0.0, 10.0]], requires_grad=True)
    points, codes = quantizer(vectors)
    assert points.tolist() == [[0.0, 1.0]]
    assert codes.tolist() == [1 + 3 * 4]
    points[0, 0].backward()
    assert vectors.grad.tolist() == [[1.0, 0.0]]  # the derivative of tanh at 0
