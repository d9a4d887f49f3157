"""The voice converter: streams equal whole recordings, the source keeps what is its own, and clear refusals."""

import math
from dataclasses import replace

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from tiny_voices import TINY, make_batch, make_converter, make_whole_converter, voice

from antiphon.modeling import VoiceConverterConfig, VoiceConverterModel
from antiphon.modeling.layers_voice_decoder import ReferenceMemory, frame_energy, relative_octaves
from antiphon.modeling.layers_voice_recording import level_dbfs, median_f0
from antiphon.modeling.layers_voice_stream import VoiceStream
from antiphon.modeling.layers_watermark import watermark_score, watermark_threshold
from antiphon.modeling.modeling_voice_converter import slerp

REFERENCE = voice(210.0, 1.1, 900.0, seed=5)
DECODERS = ("direct", "flow")
# Spectra agree far better; the phase of the vocoder's pulses sums up what rounding does to their pitch.
PHASE_ERROR = 1e-3


@pytest.fixture(scope="module", params=DECODERS)
def model(request):
    return make_converter(decoder=request.param)


def features_of(model, source, reference=REFERENCE, **options):
    """The features that a stream hands to its vocoder, and the waveform."""
    seen = []
    stream = model.stream(model.make_prompt(reference, "a test"), model.make_prompt(source, "a test"), **options)
    push = stream.vocoder.push
    stream.vocoder.push = lambda features: (seen.append(features), push(features))[1]
    waveform = torch.cat([stream.push(source), stream.finish()])
    return torch.cat(seen, dim=1), waveform


# ---------------------------------------------------------------- streams and whole recordings


@pytest.mark.parametrize(("piece", "detail_share"), [(100, 0.0), (2560, 0.7), (7001, 0.0)])
def test_a_stream_equals_the_whole(model, piece, detail_share, monkeypatch):
    monkeypatch.setattr(model.config, "detail_share", detail_share)
    source = voice(110.0, 1.37)
    prompt, own = model.make_prompt(REFERENCE, "a test"), model.make_prompt(source, "a test")
    stream = model.stream(prompt, own)
    pieces = [stream.push(chunk) for chunk in source.split(piece)]
    streamed = torch.cat([*pieces, stream.finish()])
    whole = model.convert(source, prompt)
    assert streamed.shape == whole.shape == source.shape
    assert whole.abs().max() > 1e-3
    torch.testing.assert_close(streamed, whole, rtol=0, atol=PHASE_ERROR * float(whole.abs().max()))


def test_the_stream_equals_the_parts_one_after_another(model):
    """No stream at all: each part once, on everything."""
    source = voice(110.0, 1.6)[: 160 * 159]
    features, waveform = features_of(model, source)
    levelled = (source * 10 ** ((model.config.level_dbfs - level_dbfs(source)) / 20))[None]
    with torch.no_grad():
        mel, f0 = model.mel(levelled), model.pitch_tracker(levelled)
        median, energy = median_f0(f0), frame_energy(mel)
        states = model.decoder.encode_content(
            model.content_encoder(mel).content, relative_octaves(f0, median), f0, energy
        )
        prompt = model.make_prompt(REFERENCE, "a test")
        memory, speaker = model._read_prompt(prompt)
        shifted = f0 * prompt.f0_median_hz / median
        expected, hidden_states = model.decoder(states, memory, speaker, shifted, energy)
        if model.flow is not None:
            expected = model.flow(expected, hidden_states, 0)
        torch.testing.assert_close(features, expected, rtol=0, atol=5e-4)
        made = model.vocoder(features).waveform[0] * 10 ** ((level_dbfs(source) - model.config.level_dbfs) / 20)
    quiet = made.abs() < 0.9  # above, the limiter bends
    torch.testing.assert_close(waveform[quiet], made[quiet], rtol=0, atol=PHASE_ERROR * float(made.abs().max()))


def test_long_sources_are_worked_off_in_blocks_to_the_same_result(model, monkeypatch):
    source = voice(110.0, 1.4)
    whole = model.convert(source, REFERENCE)
    monkeypatch.setattr("antiphon.modeling.modeling_voice_converter.LONGEST_WHOLE_SECONDS", 0.5)
    monkeypatch.setattr("antiphon.modeling.layers_voice_stream.BLOCK_FRAMES", 26)
    in_blocks = model.convert(source, REFERENCE)
    torch.testing.assert_close(in_blocks, whole, rtol=0, atol=PHASE_ERROR * float(whole.abs().max()))


def test_latency_is_what_the_parts_promise(model):
    """The longest wait of a sample, measured; the default configuration stays below a quarter of a second."""
    source = voice(110.0, 0.8)
    stream = model.stream(model.make_prompt(REFERENCE, "a test"))
    taken, given, longest = 0, 0, 0
    for chunk in source.split(16):
        taken += len(chunk)
        converted = len(stream.push(chunk))
        longest = max(longest, taken - given) if converted else longest
        given += converted
    assert longest / 16_000 == pytest.approx(model.latency_seconds, abs=1e-3)
    assert VoiceConverterModel(VoiceConverterConfig()).latency_seconds < 0.25


def test_without_knowledge_of_the_source_pitch_and_level_are_followed():
    """After a while a stream that began with a wrong idea of the source agrees with one that knew."""
    model = make_converter()
    source = 0.1 * voice(100.0, 12.0)
    prompt = model.make_prompt(REFERENCE, "a test")
    pieces = {}
    for name, own in (("knows", model.make_prompt(source, "a test")), ("follows", None)):
        stream = model.stream(prompt, own)
        list(map(stream.push, source.split(4000)))
        pieces[name] = (stream.frames[1, -1], stream.leveller)
    assert float(pieces["follows"][0]) == pytest.approx(float(pieces["knows"][0]), rel=0.05)
    gain = pieces["follows"][1].last_gain
    assert 20 * math.log10(gain / pieces["knows"][1].fixed_gain) == pytest.approx(0.0, abs=3.0)


def test_a_content_encoder_that_needs_everything_converts_but_does_not_stream():
    model = make_whole_converter()
    source = voice(110.0, 0.9)
    assert model.convert(source, REFERENCE).shape == source.shape
    assert model.latency_seconds == math.inf
    with pytest.raises(ValueError, match=r"`chunk_frames` of the content encoder is None"):
        model.stream(model.make_prompt(REFERENCE, "a test"))


# ---------------------------------------------------------------- what a conversion keeps and changes


def test_a_batch_equals_its_items(model):
    sources = torch.stack([voice(110.0, 0.9), voice(150.0, 0.9, seed=3)])
    together = model.convert(sources, REFERENCE)
    for item, source in zip(together, sources):
        torch.testing.assert_close(item, model.convert(source, REFERENCE))


@pytest.mark.parametrize("seconds", [0.01, 0.5003, 1.0])
def test_length_is_kept(seconds):
    source = voice(110.0, 1.2)[: round(seconds * 16_000)]
    assert make_converter().convert(source, REFERENCE).shape == source.shape


def test_level_of_the_source_is_kept():
    """A source at a tenth of the level gives a conversion at a tenth of the level, and nothing else changes."""
    model = make_converter()
    source = 0.02 * voice(110.0, 1.1)
    quiet, loud = model.convert(source, REFERENCE), model.convert(10 * source, REFERENCE)
    torch.testing.assert_close(10 * quiet, loud, rtol=0, atol=PHASE_ERROR * float(loud.abs().max()))
    louder_reference = model.convert(source, 3 * REFERENCE)
    torch.testing.assert_close(louder_reference, quiet, rtol=0, atol=PHASE_ERROR * float(quiet.abs().max()))


def pitch_given_to_the_decoder(model, *arguments, **options):
    seen = []
    hook = model.decoder.pitch.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    model.convert(*arguments, **options)
    hook.remove()
    return torch.cat(seen, dim=1)


def test_the_contour_is_kept_and_moved_to_the_reference():
    model = make_whole_converter()
    source = voice(110.0, 1.2)
    prompt = model.make_prompt(REFERENCE, "a test")
    own = model.make_prompt(source, "a test")
    converted = pitch_given_to_the_decoder(model, source, prompt)
    assert float(median_f0(converted)[0]) == pytest.approx(prompt.f0_median_hz, rel=0.02)
    voiced = (converted > 0) & (own.f0[None] > 0)
    octaves = (converted / own.f0.clamp(min=1.0))[voiced].log2()
    assert float(octaves.std()) < 1e-4
    for options, expected in (
        ({"pitch_shift_semitones": 12.0}, octaves.mean() + 1),
        ({"strength": 0.5}, octaves.mean() / 2),
        ({"strength": 0.0}, 0.0),
    ):
        shifted = pitch_given_to_the_decoder(model, source, prompt, **options)
        found = (shifted / own.f0.clamp(min=1.0))[voiced].log2().mean()
        assert float(found) == pytest.approx(float(expected), abs=1e-4)


@pytest.mark.parametrize("correction", [0.0, 1.0])
def test_strength_goes_from_the_own_voice_to_the_reference(correction):
    model = make_converter(spectrum_correction=correction)
    source = voice(110.0, 1.2)
    features = {strength: features_of(model, source, strength=strength)[0] for strength in (0.0, 0.99, 1.0)}
    # At zero the reference does not matter at all.
    other, _ = features_of(model, source, voice(300.0, 1.0, seed=9), strength=0.0)
    torch.testing.assert_close(features[0.0], other, rtol=0, atol=1e-3)
    near, far = ((features[1.0] - features[strength]).abs().mean() for strength in (0.99, 0.0))
    assert near < 0.3 * far


def test_in_the_own_voice_all_detail_gives_back_the_source():
    """With a decoder that remembers nothing, what it misses is missed in both voices."""
    model, source = make_converter(detail_share=1.0), voice(110.0, 1.6)[: 160 * 150]
    with torch.no_grad():
        model.decoder.attention.output_projection.weight.zero_()
        features, _ = features_of(model, source, strength=0.0)
        levelled = source * 10 ** ((model.config.level_dbfs - level_dbfs(source)) / 20)
        expected = model.mel(levelled[None])
    torch.testing.assert_close(features, expected, rtol=0, atol=1e-4)
    other, _ = features_of(model, source)
    assert (other - expected).abs().mean() > 0.01


def test_detail_needs_to_know_the_source():
    """A stream that does not, and a source too short to tell a voice, convert without."""
    plain, full = make_converter(), make_converter(detail_share=1.0)
    prompt, source, short = plain.make_prompt(REFERENCE, "a test"), voice(110.0, 1.2), voice(110.0, 0.4)
    streams = [model.stream(prompt) for model in (plain, full)]
    plain_whole, full_whole = (torch.cat([stream.push(source), stream.finish()]) for stream in streams)
    assert torch.equal(plain_whole, full_whole)
    assert not torch.equal(plain.convert(source, prompt), full.convert(source, prompt))
    assert torch.equal(plain.convert(short, prompt), full.convert(short, prompt))


def test_the_shares_of_joined_memories_do_not_depend_on_their_lengths():
    """Where everything fits equally well, the attention of each memory is its share of what 'nothing' leaves."""
    long, short = (
        ReferenceMemory(torch.zeros(1, frames, 4), torch.zeros(1, frames, 4), torch.zeros(1, frames))
        for frames in (90, 10)
    )
    for share in (0.25, 0.5, 1.0):
        weights = long.join(short, share).bias.exp()
        assert float(weights[:, :90].sum() / weights.sum()) == pytest.approx(share, abs=1e-6)
    torch.testing.assert_close(long.join(short, 1.0).bias[:, :90], long.bias)
    torch.testing.assert_close(long.join(short, 0.0).bias[:, 90:], short.bias)


def test_what_comes_after_the_longest_reference_counts_for_nothing():
    model = make_converter(max_reference_seconds=1.0)
    kept = REFERENCE[:16_000]
    longer = torch.cat([kept, 5 * voice(400.0, 2.0)])
    prompt, expected = model.make_prompt(longer, "a test"), model.make_prompt(kept, "a test")
    assert prompt.level_dbfs == expected.level_dbfs
    assert torch.equal(prompt.input_features, expected.input_features)
    assert prompt.reference_sha256 != expected.reference_sha256
    with pytest.raises(ValueError, match="`reference` is silent"):
        model.make_prompt(torch.cat([torch.zeros(16_000), longer]), "a test")


def test_level_and_pitch_of_the_source_do_not_depend_on_strength(monkeypatch):
    """Also of a source that is longer than a reference may be."""
    model = make_converter(max_reference_seconds=1.0)
    source = torch.cat([voice(100.0, 1.2), 4 * voice(180.0, 1.5)])
    known = []

    class KeepingStream(VoiceStream):
        def __init__(self, model, target, source, content):
            known.append(vars(source))
            super().__init__(model, target, source, content)

    monkeypatch.setattr("antiphon.modeling.modeling_voice_converter.VoiceStream", KeepingStream)
    for strength in (1.0, 0.5):
        model.convert(source, REFERENCE, strength=strength)
    for other in (known[1], vars(model.describe_source(source))):
        torch.testing.assert_close(known[0], other, rtol=0, atol=0)


def test_a_watermark_is_found_by_its_key():
    model, source = make_converter(), voice(110.0, 8.0)
    plain, marked = (model.convert(source, REFERENCE, watermark=key) for key in (None, "mine"))
    assert marked.shape == plain.shape
    assert watermark_score(marked, "mine") > watermark_threshold() > watermark_score(plain, "mine")


def test_every_tensor_is_made_where_the_model_is():
    """On a machine without an accelerator: what names no device goes astray, and meets the rest with an error."""
    model = make_converter(decoder="flow", spectrum_correction=0.5)
    source, reference = voice(110.0, 1.2), REFERENCE
    expected = model.convert(source, reference, strength=0.5, watermark="mine")
    prompt = model.make_prompt(reference, "a test")
    torch.set_default_device("meta")
    try:
        converted = model.convert(source, reference, strength=0.5, watermark="mine")
        stream = model.stream(prompt)
        streamed = torch.cat([*(stream.push(piece) for piece in source.split(999)), stream.finish()])
        assert model.speaker_encoder_sha256 == prompt.encoder_sha256
    finally:
        torch.set_default_device(None)
    assert torch.equal(converted, expected)
    assert streamed.shape == source.shape
    assert streamed.device == torch.device("cpu")


def test_a_saved_prompt_converts_to_the_same_samples(tmp_path):
    model = make_converter(decoder="flow")
    prompt, source = model.make_prompt(REFERENCE, "a test", origin="nowhere"), voice(110.0, 0.9)
    prompt.save(tmp_path / "voice.safetensors")
    loaded = type(prompt).load(tmp_path / "voice.safetensors")
    assert torch.equal(model.convert(source, loaded), model.convert(source, prompt))
    assert torch.equal(model.convert(source, REFERENCE), model.convert(source, prompt))
    assert prompt.level_dbfs == pytest.approx(level_dbfs(REFERENCE))


def test_without_pitch_the_decoder_does_not_hear_it():
    source = voice(110.0, 1.0)
    for use_pitch in (True, False):
        model = make_converter(use_pitch=use_pitch)
        plain, shifted = (model.convert(source, REFERENCE, pitch_shift_semitones=shift) for shift in (0.0, 7.0))
        assert torch.equal(plain, shifted) is not use_pitch
        assert any("decoder.pitch" in name for name in model.state_dict()) is use_pitch


def test_slerp_stays_on_the_sphere():
    start, end = torch.nn.functional.normalize(torch.randn(2, 1, 8, generator=torch.Generator().manual_seed(0)), dim=-1)
    middle = slerp(start, end, 0.5)
    assert float(middle.norm()) == pytest.approx(1.0, abs=1e-5)
    assert float((middle * start).sum()) == pytest.approx(float((middle * end).sum()), abs=1e-5)
    torch.testing.assert_close(slerp(start, end, 1.0), end)
    torch.testing.assert_close(slerp(end, end, 0.3), end)


# ---------------------------------------------------------------- training


@pytest.mark.parametrize(
    "changes",
    [
        {"decoder": "direct", "converted_consistency_weight": 0.2},
        {"decoder": "flow", "freeze_content": False},
        {"freeze_speaker": False, "triplet_weight": 0.5},
    ],
)
def test_what_learns_gets_a_gradient_and_what_is_frozen_none(changes):
    model = make_converter(**changes).train()
    batch = make_batch()
    if "triplet_weight" in changes:
        batch["speaker_ids"] = torch.tensor([0, 1, 1])
    model(**batch).loss.backward()
    for name, parameter in model.named_parameters():
        part = name.partition("_")[0]
        frozen = name.startswith("vocoder") or getattr(model.config, f"freeze_{part}", False)
        assert parameter.requires_grad != frozen, name
        assert frozen or (parameter.grad is not None and parameter.grad.isfinite().all()), name
    assert not model.vocoder.training
    assert not model.speaker_encoder.training or not model.config.freeze_speaker


def test_a_padded_reference_equals_the_lone_one():
    model, batch = make_converter(), make_batch(batch_size=1)
    expected = model(**batch).predicted_features
    padded = dict(batch)
    for name in ("reference_features", "reference_f0", "reference_attention_mask"):
        tensor = batch[name]
        padded[name] = torch.cat([tensor, torch.zeros_like(tensor[:, :10])], dim=1)
    torch.testing.assert_close(model(**padded).predicted_features, expected, rtol=0, atol=1e-6)


def test_the_speaker_encoder_that_learns_is_no_judge_of_its_own():
    model = make_converter(freeze_speaker=False).train()
    before = {name: tensor.clone() for name, tensor in model.speaker_encoder.named_buffers()}
    features = make_batch()["input_features"].requires_grad_()
    voices = torch.nn.functional.normalize(torch.randn(3, 32, requires_grad=True), dim=-1)
    model._similarities(features, voices).sum().backward()
    assert features.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in model.speaker_encoder.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.speaker_encoder.named_buffers())
    assert model.speaker_encoder.training


@pytest.mark.parametrize("decoder", DECODERS)
def test_one_batch_overfits(decoder):
    model = make_converter(decoder=decoder, reference_dropout=0.0, consistency_weight=0.0).train()
    batch = make_batch(frames=16, reference_frames=20)
    smooth = torch.nn.functional.avg_pool1d(batch["input_features"], 9, 1, 4)
    batch["input_features"] = smooth
    optimizer = torch.optim.Adam([each for each in model.parameters() if each.requires_grad], lr=1e-2)
    errors = []
    for _ in range(60):
        outputs = model(**batch)
        optimizer.zero_grad()
        outputs.loss.backward()
        optimizer.step()
        errors.append(float(outputs.mel_errors.mean()))
    assert errors[-1] < 0.35 * errors[0]


def test_the_flow_goes_where_it_was_trained_to_go():
    """On one spectrogram, the steps from noise end at it."""
    model = make_converter(decoder="flow", flow_steps=8, flow_layers=2, flow_temperature=1.0)
    generator = torch.Generator().manual_seed(0)
    target, predicted = -5 + torch.randn(1, 12, 80, generator=generator), torch.full((1, 12, 80), -5.0)
    hidden_states = torch.randn(1, 12, 32, generator=generator)
    optimizer = torch.optim.Adam(model.flow.parameters(), lr=1e-2)
    torch.manual_seed(0)
    for _ in range(150):
        loss = sum(model.flow.loss(target, predicted, hidden_states) for _ in range(2))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        made = model.flow(predicted, hidden_states, 0)
    assert (made - target).abs().mean() < 0.65 * (predicted - target).abs().mean()


# ---------------------------------------------------------------- refusals

GOOD = voice(110.0, 0.8)


@pytest.mark.parametrize(
    ("source", "reference", "options", "message"),
    [
        (
            GOOD,
            REFERENCE,
            {"sampling_rate": 48_000},
            "`sampling_rate` is 48000 but this model expects 16000 Hz",
        ),
        (
            torch.stack([GOOD, GOOD], dim=1),
            REFERENCE,
            {},
            r"`source` is .* must be \(samples,\).*average the channels",
        ),
        (GOOD, torch.stack([REFERENCE] * 2), {}, r"`reference` is .* but must be \(samples,\).*average the channels"),
        (0 * GOOD, REFERENCE, {}, "`source` is silent"),
        (GOOD, 0 * REFERENCE, {}, "`reference` is silent"),
        (GOOD, REFERENCE[:4000], {}, r"`reference` lasts 0\.25 s but a voice needs 0\.5 s"),
        (torch.full_like(GOOD, math.nan), REFERENCE, {}, "`source` holds NaN"),
        ((GOOD * 32767).to(torch.int16), REFERENCE, {}, r"`source` is torch\.int16 .* must be \(samples,\) of floats"),
        (GOOD[:4000], REFERENCE, {"strength": 0.5}, r"`source` lasts 0\.25 s but a voice needs 0\.5 s"),
        (GOOD, REFERENCE, {"watermark": "mine"}, r"12800 samples but a watermark needs 16384 \(1\.02 s\)"),
        (GOOD, REFERENCE, {"strength": 1.5}, r"`strength` is 1\.5 but must lie between 0"),
    ],
)
def test_what_cannot_be_converted_is_refused(source, reference, options, message):
    with pytest.raises(ValueError, match=message):
        make_converter().convert(source, reference, **options)


def test_prompts_of_another_speaker_encoder_and_empty_consent_are_refused():
    model = make_converter()
    with pytest.raises(ValueError, match="`prompt` was made by another speaker encoder"):
        model.convert(GOOD, make_converter(seed=1).make_prompt(REFERENCE, "a test"))
    with pytest.raises(ValueError, match="`consent` is empty"):
        model.make_prompt(REFERENCE, "")


@pytest.mark.parametrize("changes", [{"level_dbfs": -20.0}, {"mel_floor": 1e-5, "vocoder_config": {"mel_floor": 1e-5}}])
def test_prompts_of_another_level_or_spectrogram_are_refused(changes):
    if "vocoder_config" in changes:
        changes = changes | {"vocoder_config": TINY["vocoder_config"] | changes["vocoder_config"]}
    prompt = make_converter(**changes).make_prompt(REFERENCE, "a test")
    with pytest.raises(ValueError, match="from another spectrogram"):
        make_converter().convert(GOOD, prompt)


@pytest.mark.parametrize("change", ["width", "length"])
def test_prompts_that_do_not_fit_are_refused(change):
    model = make_converter(max_reference_seconds=1.0)
    prompt = model.make_prompt(REFERENCE, "a test")
    features = {"width": prompt.input_features[:, :40], "length": prompt.input_features.repeat(2, 1)}[change]
    f0 = prompt.f0.repeat(len(features) // len(prompt.f0))
    with pytest.raises(ValueError, match=r"`prompt` has an embedding and features of widths .* expects \(32, 80\)"):
        model.convert(GOOD, replace(prompt, input_features=features, f0=f0))


def test_misused_streams_are_refused():
    model = make_converter()
    stream = model.stream(model.make_prompt(REFERENCE, "a test"))
    with pytest.raises(ValueError, match="nothing to finish"):
        stream.finish()
    with pytest.raises(ValueError, match=r"`samples` has shape \(2, 100\)"):
        stream.push(torch.zeros(2, 100))
    stream.push(GOOD)
    stream.finish()
    with pytest.raises(ValueError, match="This stream is finished"):
        stream.push(GOOD)
    with pytest.raises(ValueError, match=r"`strength` is 0\.5, which mixes two voices"):
        model.stream(model.make_prompt(REFERENCE, "a test"), strength=0.5)
    with pytest.raises(ValueError, match="in training mode"):
        make_converter().train().convert(GOOD, REFERENCE)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decoder": "diffusion"}, "`decoder` is 'diffusion' but must be one of direct, flow"),
        ({"hidden_size": 33}, "`hidden_size` is 33 but must be a multiple"),
        ({"lookahead": 9}, "`lookahead` is 9 but each of the 3 layers"),
        ({"reference_dropout": 2.0}, r"`reference_dropout` is 2\.0"),
        ({"vocoder_config": {"num_mel_bins": 40}}, "`num_mel_bins` of the parts are"),
        (
            {"content_config": {"encoder_config": {"subsampling_factor": 4}}},
            "`subsampling_factor` of the content encoder is 4 but must be 2",
        ),
        ({"hop_length": 80}, "`hop_length` of the vocoder is 160 but the converter's spectrogram has 80"),
        ({"win_length": 400}, "`n_fft` of the vocoder is 640 but the converter's spectrogram has 400"),
        ({"mel_floor": 1e-5}, "`mel_floor` of the vocoder is 1e-06 but"),
        ({"sampling_rate": 8000}, "`sampling_rate` of the vocoder is 16000 but"),
        (
            {"content_config": {"encoder_config": {"causal_convolutions": False}}},
            "`chunk_frames` of the content encoder is 8 but `causal_convolutions` is false",
        ),
    ],
)
def test_configurations_that_cannot_work_are_refused(changes, message):
    with pytest.raises(StrictDataclassError, match=f"(?s){message}"):
        VoiceConverterConfig(**(TINY | changes))
