"""Hand-crafted features of performances for simple baselines: from the notes, and from the sound through librosa."""

import os
import sys
import warnings

import librosa
import numpy as np
import pandas as pd
from datasets import Dataset
from tqdm.auto import tqdm

from antiphon.eval.caching import cached_arrays
from antiphon.eval.conditions import file_sha256
from antiphon.processing import audio_midi, descriptors_performance
from antiphon.processing.audio_io import read_audio

NUM_MFCC = 20
HOP_SECONDS = 0.032
SILENCE_DB = -80.0


def midi_features(path: str | os.PathLike) -> dict[str, float]:
    """Statistics of velocity, inter-onset intervals, articulation overlap, voicing and pedalling; no score is used."""
    return descriptors_performance.performance_descriptors(audio_midi.read_midi(path))


def audio_features(waveform: np.ndarray, sampling_rate: int) -> dict[str, float]:
    """Statistics of timbre, harmony, rhythm and dynamics over the frames of a recording.

    Args:
        waveform: (samples,) float32 in [-1, 1]; its level is kept, as loudness belongs to what is judged.
        sampling_rate: Hz.

    Returns:
        Mean and standard deviation of MFCC and their slopes, of spectral centroid, bandwidth, roll-off, flatness and
        contrast, of zero crossings and of chroma; quantiles of the level; strength and rate of onsets; tempo.
    """
    frames = {"hop_length": round(HOP_SECONDS * sampling_rate), "n_fft": 2 ** round(np.log2(0.064 * sampling_rate))}
    magnitude = np.abs(librosa.stft(waveform, **frames))
    spectrum = {"S": magnitude, "sr": sampling_rate}
    mel = librosa.feature.melspectrogram(S=magnitude**2, sr=sampling_rate, n_mels=64)
    mfcc = librosa.feature.mfcc(S=librosa.power_to_db(mel), n_mfcc=NUM_MFCC)
    curves = {
        "mfcc": mfcc,
        "mfcc_slope": librosa.feature.delta(mfcc, mode="nearest"),
        "centroid": librosa.feature.spectral_centroid(**spectrum),
        "bandwidth": librosa.feature.spectral_bandwidth(**spectrum),
        "rolloff": librosa.feature.spectral_rolloff(**spectrum),
        "flatness": np.log(librosa.feature.spectral_flatness(S=magnitude)),
        "contrast": librosa.feature.spectral_contrast(**spectrum, fmin=100.0, n_bands=5),
        "zero_crossings": librosa.feature.zero_crossing_rate(waveform, hop_length=frames["hop_length"]),
        "chroma": librosa.feature.chroma_stft(S=magnitude**2, sr=sampling_rate),
    }
    features = {}
    for name, curve in curves.items():
        for index, band in enumerate(curve):
            features[f"{name}{index}_mean"], features[f"{name}{index}_std"] = band.mean(), band.std()
    return features | _dynamics(magnitude, frames["n_fft"]) | _rhythm(mel, sampling_rate, frames["hop_length"])


def _dynamics(magnitude: np.ndarray, frame_length: int) -> dict[str, float]:
    level = librosa.amplitude_to_db(librosa.feature.rms(S=magnitude, frame_length=frame_length)[0], amin=1e-4)
    low, median, high = np.quantile(level, [0.1, 0.5, 0.9])
    return {
        "level_mean": level.mean(),
        "level_std": level.std(),
        "level_low": low,
        "level_median": median,
        "level_high": high,
        "level_range": high - low,
        "level_change": np.abs(np.diff(level)).mean() if len(level) > 1 else 0.0,
    }


def _rhythm(mel: np.ndarray, sampling_rate: int, hop_length: int) -> dict[str, float]:
    options = {"sr": sampling_rate, "hop_length": hop_length}
    strength = librosa.onset.onset_strength(S=librosa.power_to_db(mel), **options)
    onsets = librosa.onset.onset_detect(onset_envelope=strength, units="time", **options)
    intervals = np.log(np.diff(onsets)) if len(onsets) > 1 else np.zeros(1)
    return {
        "onset_strength_mean": strength.mean(),
        "onset_strength_std": strength.std(),
        "onset_rate": len(onsets) / (len(strength) * hop_length / sampling_rate),
        "onset_interval_mean": intervals.mean(),
        "onset_interval_std": intervals.std(),
        "tempo": float(librosa.feature.tempo(onset_envelope=strength, **options)[0]),
    }


def feature_table(dataset: Dataset, *, audio: bool, cache: str | os.PathLike | None = None) -> pd.DataFrame:
    """Describe performances, each file once: what was computed before comes from the cache.

    Args:
        dataset: performances with the columns of `load_percepiano`.
        audio: whether features of the recordings come along.
        cache: folder; see `cached_arrays`.

    Returns:
        One row an item, in the order of the dataset; columns begin with `midi.` or `audio.`. What cannot be computed
        of a performance, such as the interval between onsets of a single note, is 0.
    """
    rows = []
    for row in tqdm(dataset, desc="hand-crafted features", unit="item", disable=None):
        features = _cached("midi", row["midi"], lambda row=row: midi_features(row["midi"]), cache)
        if audio:
            features |= _cached("audio", row["audio"]["path"], lambda row=row: _describe_audio(row), cache)
        rows.append(features)
    return pd.DataFrame(rows)


def _describe_audio(row: dict) -> dict[str, float]:
    with warnings.catch_warnings():
        # A digitally silent frame has no tuning; its chroma is then a matter of taste, not an error.
        warnings.filterwarnings("ignore", message="Trying to estimate tuning from empty frequency set")
        return audio_features(*read_audio(row["audio"]["path"]))


def _cached(kind: str, path: str, compute, cache: str | os.PathLike | None) -> dict[str, float]:
    own = sys.modules[__name__]
    modules, packages = ([descriptors_performance, audio_midi], ["mido"]) if kind == "midi" else ([own], ["librosa"])

    def compute_arrays() -> dict[str, np.ndarray]:
        features = compute()
        return {"names": np.array(list(features)), "values": np.nan_to_num(np.array(list(features.values()), float))}

    stored = cached_arrays(
        f"features_{kind}",
        [file_sha256(path)],
        compute_arrays,
        modules=modules,
        packages=[*packages, "numpy"],
        cache=cache,
    )
    return {f"{kind}.{name}": float(value) for name, value in zip(stored["names"], stored["values"])}
