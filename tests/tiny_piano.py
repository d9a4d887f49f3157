"""Piano performances without a piano: their sound from a few sines, and models of some thousand parameters for them."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from antiphon.modeling import PianoAssessmentConfig, PianoAssessmentModel
from antiphon.processing import PianoFeatureExtractor
from antiphon.processing.audio_midi import Performance, write_midi
from antiphon.processing.corpora import rendering
from antiphon.processing.corpora.percepiano import LABELS
from antiphon.processing.corpora.synthetic_piano import compose, draw_manner, perform

SAMPLING_RATE = 16_000
SOUNDFONT = "Sines.sf2"
PERCEPT_NAMES = ["timing", "articulation", "pedal"]
# Frames of the spectrogram and of the roll of each item; no patch divides them.
LENGTHS = (75, 41, 9)
REGULARISATION = ("hidden_dropout", "head_dropout", "input_dropout", "num_time_masks", "num_frequency_masks")
NO_REGULARISATION = dict.fromkeys(REGULARISATION[:3], 0.0) | dict.fromkeys(REGULARISATION[3:], 0)


def notes(onsets, offsets=None, pitches=None, velocities=None, **pedals) -> Performance:
    """A performance from lists; by default keys are held for a quarter second, all middle C, all alike.

    Args:
        pedals: `sustain`, `sostenuto` or `soft`, each a list of (time, value).
    """
    onsets = np.array(onsets, dtype=float)
    controllers = {"sustain": 64, "sostenuto": 66, "soft": 67}
    return Performance(
        onsets,
        onsets + 0.25 if offsets is None else np.array(offsets, dtype=float),
        np.full(len(onsets), 60) if pitches is None else np.array(pitches),
        np.full(len(onsets), 64) if velocities is None else np.array(velocities),
        {controllers[name]: tuple(np.array(changes, dtype=float).T) for name, changes in pedals.items()},
    )


def sound(performance: Performance, sampling_rate: int = SAMPLING_RATE) -> np.ndarray:
    """Decaying sines with three partials, (samples,) float32: enough of a piano for tests."""
    ends = performance.sounding_offsets()
    waveform = np.zeros(int((ends.max() + 0.2) * sampling_rate), dtype=np.float32)
    for onset, end, pitch, velocity in zip(performance.onsets, ends, performance.pitches, performance.velocities):
        first, last = int(onset * sampling_rate), int((end + 0.1) * sampling_rate)
        time = np.arange(last - first) / sampling_rate
        frequency = 440 * 2 ** ((pitch - 69) / 12)
        partials = sum(np.sin(2 * np.pi * number * frequency * time) / number**2 for number in (1, 2, 3))
        release = np.clip((end + 0.1 - onset - time) / 0.1, 0, 1)
        waveform[first:last] += 0.1 * (velocity / 127) ** 2 * np.exp(-2 * time) * release * partials
    return waveform


def make_config(**changes) -> PianoAssessmentConfig:
    """The tiny size, for `PERCEPT_NAMES` and two descriptors of each group."""
    groups = ("audio", "performance", "alignment", "score", "deviation")
    tiny = {
        "percept_names": PERCEPT_NAMES,
        "descriptor_names": [f"{group}.{name}" for group in groups for name in ("first", "second")],
        "num_pitch_bins": 24,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "patch_frames": 16,
        "num_members": 4,
        "head_size": 16,
    }
    return PianoAssessmentConfig(**(tiny | changes))


def make_model(seed: int = 0, **changes) -> PianoAssessmentModel:
    """A tiny model in evaluation mode, none of whose weights is zero."""
    torch.manual_seed(seed)
    model = PianoAssessmentModel(make_config(**changes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return model


def make_batch(lengths=LENGTHS, seed: int = 0) -> dict[str, torch.Tensor]:
    """Descriptors, padded lattices and their masks of one item per length."""
    generator = torch.Generator().manual_seed(seed)
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    audio = torch.randn(len(lengths), max(lengths), 24, generator=generator)
    roll = torch.rand(len(lengths), max(lengths), 72, generator=generator)
    return {
        "descriptors": torch.randn(len(lengths), 10, generator=generator),
        "input_features": audio * mask[:, :, None],
        "attention_mask": mask,
        "roll_features": roll * mask[:, :, None],
        "roll_attention_mask": mask.clone(),
    }


def make_labels(num_items: int = len(LENGTHS), seed: int = 1) -> torch.Tensor:
    return torch.randn(num_items, len(PERCEPT_NAMES), generator=torch.Generator().manual_seed(seed))


def write_checkpoint(folder: Path, **changes) -> tuple[PianoAssessmentModel, PianoFeatureExtractor]:
    """Save a tiny model beside its extractor, all of whose descriptors and bins it reads."""
    extractor = PianoFeatureExtractor()
    model = make_model(
        **({"descriptor_names": extractor.descriptor_names, "num_pitch_bins": extractor.num_pitch_bins} | changes)
    )
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return model, extractor


def write_percepiano(folder: Path, num_passages: int = 8, num_players: int = 4, seed: int = 0) -> Path:
    """Write a look-alike of PercePiano from invented pieces: what is played louder is rated higher on every percept."""
    generator = np.random.default_rng(seed)
    rows, ratings = [], []
    for name in ("midi", "score_midi", "labels"):
        (folder / name).mkdir(parents=True)
    for passage in range(num_passages):
        composition, score = f"Schubert_D{900 + passage // 2}", compose(generator, num_bars=2)
        score_midi = f"score_midi/{passage}.mid"
        write_midi(score, folder / score_midi)
        for player in range(num_players):
            performance = perform(score, draw_manner(generator), generator)
            name = f"passage{passage}_player{player}"
            write_midi(performance, folder / f"midi/{name}.mid")
            rating = np.clip(performance.velocities.mean() / 15 + generator.normal(0, 0.2, len(LABELS)), 1, 7)
            ratings.append([0, name, *rating])
            known = {"composition": composition, "n_bars": 2, "segment_no": passage, "license": "CC0-1.0"}
            known |= {"player_id": player, "is_human": True, "labelled": True, "n_notes": len(performance)}
            times = {"first_note_s": performance.onsets[0], "last_note_off_s": performance.offsets.max()}
            files = {"file_name": f"midi/{name}.mid", "score_midi": score_midi}
            rows.append({**files, **known, **times, **dict(zip(LABELS, rating / 7))})
    _write_csv(folder / "metadata.csv", list(rows[0]), [list(row.values()) for row in rows])
    _write_csv(folder / "labels" / "total_2rounds.csv", ["user", "filename", *LABELS], ratings)
    return folder


def render_with_sines(data: bytes, soundfont, sampling_rate: int, gain: float, reverb: bool) -> np.ndarray:
    """Stands in for FluidSynth, with the arguments of `rendering._synthesise`."""
    from antiphon.processing.audio_midi import read_midi

    return gain * sound(read_midi(data), sampling_rate)


@contextmanager
def sounding_percepiano(folder: Path, **options) -> Iterator[Path]:
    """A look-alike of PercePiano, a soundfont of nothing, and sines in place of FluidSynth; all is cached apart.

    Args:
        options: Of `write_percepiano`.

    Returns:
        Path of the corpus; the soundfont `SOUNDFONT` lies beside it.
    """
    (folder / SOUNDFONT).write_bytes(b"sines")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANTIPHON_CACHE", str(folder / "cache"))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setattr(rendering, "_synthesise", render_with_sines)
        patch.setattr(rendering, "fluidsynth_version", lambda: "0.0")
        yield write_percepiano(folder / "percepiano", **options)


def write_recording(path: Path, performance: Performance) -> np.ndarray:
    """Write the sound of a performance as a WAV file and return its samples."""
    waveform = sound(performance)
    soundfile.write(path, waveform, SAMPLING_RATE, subtype="FLOAT")
    return waveform


def _write_csv(path: Path, header: list[str], rows: list[list]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
