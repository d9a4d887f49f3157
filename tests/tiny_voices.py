"""Voices that nobody has: pulses through a resonance, a corpus of them, and a tiny voice converter."""

import csv
from pathlib import Path

import numpy as np
import soundfile
import torch

from antiphon.modeling import VoiceConverterConfig, VoiceConverterModel

SAMPLING_RATE = 16_000
TINY_PARTS = {
    "content_config": {
        "content_size": 16,
        "encoder_config": {
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
        },
    },
    "speaker_config": {
        "hidden_size": 32,
        "dilations": [2],
        "squeeze_size": 8,
        "aggregation_size": 32,
        "attention_size": 8,
        "speaker_size": 32,
    },
    "vocoder_config": {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "pitch_hidden_size": 16,
        "num_pitch_layers": 1,
    },
}
TINY = TINY_PARTS | {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_content_layers": 1,
    "num_hidden_layers": 2,
    "num_reference_layers": 1,
    "num_attention_heads": 2,
    "flow_layers": 1,
    "flow_steps": 2,
}


def voice(median_hz: float = 120.0, seconds: float = 1.5, formant_hz: float = 700.0, seed: int = 0) -> torch.Tensor:
    """Syllables of pulses that glide about a median pitch, (samples,) float32, with a little noise between."""
    generator = np.random.default_rng(seed)
    time = np.arange(round(seconds * SAMPLING_RATE)) / SAMPLING_RATE
    f0 = median_hz * 2 ** (0.2 * np.sin(2 * np.pi * (0.7 * time + generator.random())))
    phase = 2 * np.pi * np.cumsum(f0) / SAMPLING_RATE
    syllables = np.clip(np.sin(2 * np.pi * (2.5 * time + generator.random())) + 0.6, 0, 1)
    centres = formant_hz * (1 + 0.4 * np.sin(2 * np.pi * (1.3 * time + generator.random())))
    waveform = 0.002 * generator.standard_normal(len(time))
    for number in range(1, int(4000 / median_hz)):
        gain = 1 / (1 + ((number * f0 - centres) / 300) ** 2) + 0.02
        waveform += 0.1 * syllables * gain * np.sin(number * phase)
    return torch.from_numpy(waveform.astype(np.float32))


def make_converter(seed: int = 0, **changes) -> VoiceConverterModel:
    """A tiny converter in evaluation mode, none of whose weights is zero."""
    torch.manual_seed(seed)
    model = VoiceConverterModel(VoiceConverterConfig(**(TINY | changes))).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
        # Untrained, the pitch of the vocoder's pulses hangs on rounding, and so would the phase of all that follows.
        model.vocoder.pitch_network.head.weight.zero_()
        model.vocoder.pitch_network.head.bias[20] = 10.0
    return model


def make_whole_converter() -> VoiceConverterModel:
    """One whose content encoder needs the whole recording, so that everything is decoded at once."""
    encoder = {**TINY["content_config"]["encoder_config"], "chunk_frames": None, "left_chunks": None}
    return make_converter(content_config=TINY["content_config"] | {"encoder_config": encoder})


def make_batch(batch_size: int = 3, frames: int = 31, reference_frames: int = 43, seed: int = 0) -> dict:
    """Segments and references of as many speakers."""
    generator = torch.Generator().manual_seed(seed)

    def features(count: int) -> torch.Tensor:
        return 2 * torch.randn(batch_size, count, 80, generator=generator) - 6

    def f0(count: int) -> torch.Tensor:
        pitch = 100 + 100 * torch.rand(batch_size, count, generator=generator)
        return pitch * (torch.rand(batch_size, count, generator=generator) > 0.3)

    return {
        "input_features": features(frames),
        "f0": f0(frames),
        "reference_features": features(reference_frames),
        "reference_f0": f0(reference_frames),
        "reference_attention_mask": torch.ones(batch_size, reference_frames, dtype=torch.long),
        "speaker_ids": torch.arange(batch_size),
    }


def write_voices(folder: Path, num_speakers: int = 5, utterances: int = 2) -> Path:
    """Writes a folder with `metadata.csv`; the last two speakers have one utterance and are for validation."""
    (folder / "audio").mkdir(parents=True)
    with open(folder / "metadata.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["file_name", "speaker_id", "duration_seconds", "split", "source", "license"])
        for speaker in range(num_speakers):
            is_held_out = speaker >= num_speakers - 2
            for utterance in range(1 if is_held_out else utterances):
                name, seconds = f"audio/{speaker}_{utterance}.wav", 1.6 + 0.3 * utterance
                waveform = voice(90.0 + 40 * speaker, seconds, 500.0 + 100 * speaker, seed=10 * speaker + utterance)
                soundfile.write(folder / name, waveform.numpy(), SAMPLING_RATE, subtype="PCM_16")
                split = "validation" if is_held_out else "train"
                table.writerow([name, f"speaker{speaker}", seconds, split, "tiny voices", "CC0-1.0"])
    return folder
