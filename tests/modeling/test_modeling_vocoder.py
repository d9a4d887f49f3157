"""The vocoder: what goes in comes out, in a stream as in one piece; silence, loudness, reach, learning."""

import pytest
import torch
from tiny_vocoder import make_vocoder, mel_of, voice

from antiphon.modeling import VocoderConfig
from antiphon.modeling.losses_spectral import MultiScaleSpectralLoss
from antiphon.modeling.modeling_vocoder import limit


@torch.no_grad()
def waveform_of(model, features):
    return model(features).waveform


@torch.no_grad()
def streamed(model, features, sizes):
    stream, pieces = model.stream(), []
    for piece in features.split(sizes, dim=1):
        pieces.append(stream.push(piece))
    return torch.cat([*pieces, stream.finish()], dim=1), pieces


def test_the_waveform_has_a_hop_for_every_step_between_frames():
    features = mel_of(voice(16_123, batch=2))
    waveform = waveform_of(make_vocoder(), features)
    assert waveform.shape == (2, 160 * (features.shape[1] - 1))
    assert waveform.isfinite().all()


@pytest.mark.parametrize("sizes", [[101], [1] * 101, [3, 50, 2, 16, 16, 14]])
def test_a_stream_equals_the_whole(sizes):
    model, features = make_vocoder(), mel_of(voice(16_000, batch=2))
    joined, _ = streamed(model, features, sizes)
    with torch.enable_grad():  # which never works in pieces
        whole = model(features).waveform.detach()
    torch.testing.assert_close(joined, whole, rtol=0, atol=2e-5)
    assert whole.std() > 0.01


def test_long_input_in_pieces_equals_the_whole():
    features = mel_of(voice(64_000))
    torch.testing.assert_close(
        waveform_of(make_vocoder(chunk_frames=50), features),
        waveform_of(make_vocoder(chunk_frames=10_000), features),
        rtol=0,
        atol=2e-5,
    )


def test_a_stream_forgets_what_it_no_longer_needs():
    model, features = make_vocoder(), mel_of(voice(64_000))
    stream = model.stream()
    for piece in features.split(16, dim=1):
        stream.push(piece)
        assert stream.features.shape[1] <= sum(model.context_frames)


@pytest.mark.parametrize("lookahead", [2, 3, 5])
def test_a_stream_lags_by_the_stated_lookahead(lookahead):
    model, features = make_vocoder(lookahead=lookahead), mel_of(voice(16_000))
    _, pieces = streamed(model, features, [60, 1, 40])
    # A hop needs the frames up to half a window after it, and each of those `lookahead` more.
    assert pieces[0].shape[1] == 160 * (60 - lookahead - 2)
    assert pieces[1].shape[1] == 160


def test_a_finished_stream_and_one_in_training_are_refused():
    model = make_vocoder()
    stream = model.stream()
    with pytest.raises(ValueError, match="nothing to finish"):
        stream.finish()
    stream.push(mel_of(voice(3_200)))
    stream.finish()
    with pytest.raises(ValueError, match="finished"):
        stream.push(mel_of(voice(3_200)))
    with pytest.raises(ValueError, match="`model` is in training mode"):
        model.train().stream()


def test_half_precision_makes_the_same_spectrum():
    features, model = mel_of(voice()), make_vocoder()
    # Untrained, the pitch hangs on rounding.
    model.pitch_network.head.weight.data.zero_()
    model.pitch_network.head.bias.data[20] = 10.0
    expected = mel_of(waveform_of(model, features))
    with torch.autocast("cpu", torch.bfloat16):
        cast = waveform_of(model, features)
    halved = waveform_of(model.to(torch.bfloat16), features)
    for waveform in (cast, halved):
        assert waveform.dtype == torch.float32
        assert (mel_of(waveform) - expected).abs().mean() < 0.03


def test_silence_stays_silence():
    assert (waveform_of(make_vocoder(), mel_of(torch.zeros(1, 8_000))) == 0).all()


def test_silence_in_the_middle_is_silent():
    waveform = voice(24_000).clone()
    waveform[:, 6_000:18_000] = 0
    made = waveform_of(make_vocoder(), mel_of(waveform))
    assert (made[:, 8_000:16_000] == 0).all()
    assert made[:, :5_000].std() > 0.01


def test_nothing_ever_leaves_full_scale():
    made = waveform_of(make_vocoder(), mel_of(30 * voice()))
    assert made.abs().max() < 1
    assert made.abs().max() > 0.95
    quiet = torch.linspace(-0.9, 0.9, 100)
    assert torch.equal(limit(quiet), quiet)
    rising = limit(torch.linspace(-5, 5, 10_001))
    assert (rising.diff() > 0).all()
    assert rising.abs().max() < 1


def test_untrained_it_already_has_the_spectral_envelope():
    model, waveform = make_vocoder(), voice(32_000)
    torch.nn.init.zeros_(model.filter_network.head.weight)
    features = mel_of(waveform)
    made = mel_of(waveform_of(model, features))[:, : features.shape[1]]
    loud = (features > features.amax() - 8)[:, 5:-5]
    assert (made - features)[:, 5:-5][loud].abs().mean() < 1.5


def test_every_parameter_gets_a_gradient():
    model = make_vocoder().train()
    output = model(mel_of(voice(8_000, batch=2)), f0=torch.full((2, 51), 150.0))
    (output.waveform.square().mean() + output.pitch_logits.square().mean()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_one_voice_is_learnt():
    model, waveform = make_vocoder().train(), voice(8_000)
    features, target = mel_of(waveform), waveform[:, :8_000]
    loss_of = MultiScaleSpectralLoss(16_000)
    f0 = 140 * (1 + 0.25 * torch.arange(51)[None] / 100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    losses = []
    for _ in range(80):
        output = model(features, f0=f0)
        loss = loss_of(output.waveform, target)
        losses.append(float(loss.detach()))
        (loss + model.pitch_classes.loss(output.pitch_logits, f0)).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
    with torch.no_grad():
        own = model.pitch_classes.decode(model.read_pitch(features))
    assert (torch.log2(own / f0).abs() < 0.05).float().mean() > 0.9


@pytest.mark.parametrize(
    ("shape", "message"), [((1, 20, 64), r"must be \(batch, frames, 80\)"), ((1, 1, 80), "a waveform needs 2")]
)
def test_features_of_the_wrong_shape_are_refused(shape, message):
    with pytest.raises(ValueError, match=message):
        make_vocoder()(torch.zeros(shape))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lookahead": 1}, "`lookahead` is 1 but must lie between"),
        ({"lookahead": 7}, "`lookahead` is 7 but must lie between"),
        ({"max_hz": 5_000.0}, "`max_hz` is 5000"),
        ({"num_hidden_layers": 1}, "`num_hidden_layers` is 1"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(changes, message):
    with pytest.raises(Exception, match=message):
        VocoderConfig(**changes)
