"""A tiny model that judges piano performances, and performances with recordings for it."""

from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from small_performances import small_performances

from antiphon.modeling import PianoAssessmentConfig, PianoAssessmentModel
from antiphon.processing.audio_io import write_audio
from antiphon.processing.audio_midi import read_midi
from antiphon.processing.feature_extraction_piano import PianoFeatureExtractor
from antiphon.processing.percepts import PERCEPTS

SAMPLING_RATE = 16_000


def small_model(seed: int = 0, **options) -> PianoAssessmentModel:
    """A model with random weights whose heads do say something."""
    extractor = PianoFeatureExtractor()
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    heads = {"num_members": 2, "head_size": 8, "patch_frames": 16}
    names = {"percept_names": list(PERCEPTS), "descriptor_names": extractor.descriptor_names}
    torch.manual_seed(seed)
    model = PianoAssessmentModel(PianoAssessmentConfig(**{**names, **shape, **heads, **options})).eval()
    with torch.no_grad():
        model.heads.output.weight.normal_(std=0.2)
        for lattice in model.lattices.values():
            # Without a bias, silence is a point at which layer normalisation bends as sharply as it can.
            lattice.embed.bias.normal_(std=0.5)
    return model


def recorded_performances(folder: Path, num_passages: int = 4, num_players: int = 3) -> Dataset:
    """Performances of `small_performances`, each with a recording of decaying sines."""
    rows = small_performances(folder, num_passages, num_players)
    paths = []
    for row in rows:
        path = folder / f"{Path(row['file_name']).stem}.flac"
        write_audio(path, sines(row["midi"]), SAMPLING_RATE)
        paths.append({"bytes": None, "path": str(path)})
    return rows.remove_columns("audio").add_column("audio", paths)


def sines(midi: str) -> np.ndarray:
    """(samples,), one decaying sine a note."""
    notes = read_midi(midi)
    waveform = np.zeros(int(SAMPLING_RATE * (notes.offsets.max() + 0.5)), dtype=np.float32)
    for onset, pitch, velocity in zip(notes.onsets, notes.pitches, notes.velocities):
        start = int(SAMPLING_RATE * onset)
        times = np.arange(len(waveform) - start) / SAMPLING_RATE
        tone = np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * times) * np.exp(-4 * times)
        waveform[start:] += (0.2 * (velocity / 127) ** 2 * tone).astype(np.float32)
    return waveform
