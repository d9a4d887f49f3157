"""Saved voices: the same bits after loading, no voice without consent, and clear words for files that are none."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from antiphon.modeling.voice_prompt import VoicePrompt, hash_samples


def make_prompt(**changes) -> VoicePrompt:
    generator = torch.Generator().manual_seed(0)
    embedding = torch.randn(192, generator=generator)
    values = {
        "speaker_embeddings": embedding / embedding.norm(),
        "input_features": torch.randn(301, 80, generator=generator),
        "f0": torch.tensor([0.0, 110.0, 220.0] * 100 + [0.0]),
        "consent": "Zoë, by letter, for tests",
        "origin": "reading room, 2 May",
        "reference_sha256": hash_samples(torch.zeros(16)),
        "level_dbfs": -23.4567890123,
        "encoder_sha256": "0" * 64,
        "library_version": "1.2.3",
    }
    return VoicePrompt(**(values | changes))


def test_a_saved_voice_is_the_same_to_the_bit(tmp_path):
    prompt = make_prompt()
    prompt.save(tmp_path / "voice.safetensors")
    loaded = VoicePrompt.load(tmp_path / "voice.safetensors")
    for name in ("speaker_embeddings", "input_features", "f0"):
        assert torch.equal(getattr(loaded, name), getattr(prompt, name))
    for name in ("consent", "origin", "reference_sha256", "level_dbfs", "encoder_sha256", "library_version"):
        assert getattr(loaded, name) == getattr(prompt, name)
    loaded.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "voice.safetensors").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"voice.safetensors", "again.safetensors"}


def test_pitch_statistics_by_hand():
    prompt = make_prompt(f0=torch.tensor([0.0, 100.0, 200.0, 400.0] + [0.0] * 297))
    assert prompt.f0_median_hz == pytest.approx(200.0)
    assert prompt.f0_range_semitones == pytest.approx(12.0)
    whispered = make_prompt(f0=torch.zeros(301))
    assert whispered.f0_median_hz != whispered.f0_median_hz  # NaN


def test_hash_is_of_the_samples_alone():
    waveform = torch.linspace(-1, 1, 100)
    assert hash_samples(waveform) == hash_samples(waveform.double()[::1])
    assert hash_samples(waveform) != hash_samples(waveform.flip(0))


@pytest.mark.parametrize("consent", ["", "  \n"])
def test_no_voice_without_consent(consent):
    with pytest.raises(ValueError, match="`consent` is empty; say who allowed"):
        make_prompt(consent=consent)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"level_dbfs": float("nan")}, "`level_dbfs` is nan but must be a finite number"),
        ({"level_dbfs": "-20"}, "`level_dbfs` is '-20' but must be a finite number"),
        ({"origin": None}, "`origin` is None but must be text"),
        ({"f0": [100.0]}, "`f0` is list but must be a tensor"),
        ({"f0": torch.full((301,), -1.0)}, "`f0` goes down to -1 Hz"),
        ({"speaker_embeddings": torch.ones(192)}, r"`speaker_embeddings` has norm 13\.86 but must have norm 1"),
        ({"f0": torch.zeros(0), "input_features": torch.zeros(0, 80)}, "`input_features` is .* none of them empty"),
        ({"f0": torch.zeros(300)}, "`f0` has 300 frames but `input_features` 301"),
        ({"speaker_embeddings": torch.zeros(1, 192)}, r"`speaker_embeddings` is .*\(1, 192\) but must be finite"),
        ({"input_features": torch.full((301, 80), float("nan"))}, "`input_features` is .* must be finite float32"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        make_prompt(**changes)


def test_missing_foreign_and_newer_files_are_told(tmp_path):
    path = tmp_path / "voice.safetensors"
    with pytest.raises(ValueError, match="is no file"):
        VoicePrompt.load(path)
    path.write_bytes(b"RIFF1234WAVEfmt ")
    with pytest.raises(ValueError, match="cannot be read as a voice prompt"):
        VoicePrompt.load(path)
    save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(ValueError, match="is a safetensors file but no voice prompt"):
        VoicePrompt.load(path)
    metadata = {"antiphon_voice_prompt": json.dumps({"format_version": 99, "sha256": ""})}
    save_file({"weight": torch.zeros(3)}, path, metadata)
    with pytest.raises(ValueError, match="format version 99, this code reads up to 1"):
        VoicePrompt.load(path)


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ("not JSON", "its description is no JSON"),
        ("[1]", "describes its voice by list"),
        ('{"format_version": "1"}', "has format version '1', which is no whole number"),
        ('{"format_version": 1}', "is damaged"),
    ],
)
def test_descriptions_that_are_none_are_told(tmp_path, description, message):
    path = tmp_path / "voice.safetensors"
    save_file({"weight": torch.zeros(3, dtype=torch.bfloat16)}, path, {"antiphon_voice_prompt": description})
    with pytest.raises(ValueError, match=message):
        VoicePrompt.load(path)


def test_damage_is_found(tmp_path):
    path = tmp_path / "voice.safetensors"
    make_prompt().save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-200])
    with pytest.raises(ValueError, match="cannot be read as a voice prompt"):
        VoicePrompt.load(path)
    path.write_bytes(whole[:-200] + bytes([whole[-200] ^ 1]) + whole[-199:])
    with pytest.raises(ValueError, match="is damaged"):
        VoicePrompt.load(path)


def test_consent_cannot_be_edited_away(tmp_path):
    path = tmp_path / "voice.safetensors"
    make_prompt().save(path)
    header_size = int.from_bytes(path.read_bytes()[:8], "little")
    metadata = json.loads(path.read_bytes()[8 : 8 + header_size])["__metadata__"]
    metadata["antiphon_voice_prompt"] = metadata["antiphon_voice_prompt"].replace("for tests", "for all")
    save_file(load_file(path), path, metadata)
    with pytest.raises(ValueError, match="is damaged"):
        VoicePrompt.load(path)
