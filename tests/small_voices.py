"""Voices without people: vowels of four made-up speakers, pairs of them, and judges that need no package."""

import datasets
import numpy as np
import pandas as pd

from antiphon.processing.audio_io import encode_audio

JUDGES = "the extra `judges` is not installed"
SAMPLING_RATE = 16_000
# fundamental frequency and formants
SPEAKERS = {
    "anna": (220.0, (800.0, 1400.0)),
    "ben": (110.0, (600.0, 1000.0)),
    "clara": (200.0, (700.0, 1800.0)),
    "dan": (130.0, (500.0, 1500.0)),
}
NUM_CLIPS = 4


def vowel(f0: float, seconds: float = 0.6, formants=(700.0, 1200.0), breath: float = 1e-3, glide: float = 0.0):
    """A buzz through two resonances, whose pitch rises by `glide` of itself, (samples,) float32."""
    times = np.arange(round(seconds * SAMPLING_RATE)) / SAMPLING_RATE
    phase = 2 * np.pi * f0 * (times + glide * times**2 / (2 * seconds))
    sound = np.zeros_like(times)
    for harmonic in range(1, int(7000 / (f0 * (1 + glide)))):
        frequency = harmonic * f0
        gain = sum(1 / (1 + ((frequency - formant) / 150) ** 2) for formant in formants)
        sound += gain * np.sin(harmonic * phase)
    sound += breath * np.random.default_rng(0).standard_normal(len(times))
    return (0.3 * sound / np.abs(sound).max()).astype(np.float32)


def small_voices() -> datasets.Dataset:
    """Four clips of each speaker, in the columns that a benchmark reads; all with the same two words."""
    rows = []
    for speaker, (f0, formants) in SPEAKERS.items():
        for clip in range(NUM_CLIPS):
            sound = vowel(f0, 0.6 + 0.05 * clip, formants, glide=0.1 * clip)
            audio = {"bytes": encode_audio(sound, SAMPLING_RATE, "FLAC"), "path": None}
            rows.append(
                {"file_name": f"vowels/{speaker}_{clip}.flac", "speaker_id": speaker, "license": "CC0", "audio": audio}
            )
    return datasets.Dataset.from_list(rows)


def small_pairs() -> pd.DataFrame:
    """Every speaker to every other, in two scenarios; those of the second have a parallel recording."""
    rows = [
        {
            "scenario": scenario,
            "source_file": f"vowels/{source}_0.flac",
            "source_speaker": source,
            "target_speaker": target,
            "reference_files": [f"vowels/{target}_1.flac"],
            "reference_seconds": 0.5,
            "reference_snr_db": 10.0 if scenario == "noisy_reference" else np.nan,
            "parallel_file": f"vowels/{target}_0.flac" if scenario == "parallel" else None,
            "language": "en",
            "label": None,
            "text": "One, two!",
        }
        for scenario in ("noisy_reference", "parallel")
        for source in SPEAKERS
        for target in SPEAKERS
        if source != target
    ]
    return pd.DataFrame(rows)


class SpectrumJudge:
    """A speaker judge: the mean spectrum in 32 bands without its own mean."""

    name = "spectrum 1"

    def __call__(self, waveform: np.ndarray) -> dict[str, np.ndarray]:
        spectrum = np.abs(np.fft.rfft(waveform, 16_000))[:8000].reshape(32, -1).mean(axis=1)
        levels = np.log(spectrum + 1e-3)
        return {"embedding": levels - levels.mean()}


class LoudnessRecogniser:
    """A recogniser that hears both words of what is loud, and one of what is soft."""

    name = "loudness 1"

    def __call__(self, waveform: np.ndarray) -> dict[str, np.ndarray]:
        return {"text": np.array("one two" if np.abs(waveform).max() > 0.1 else "one")}
