"""Hand-crafted descriptors of a recording: loudness, register, brightness, attacks and decay, from its spectrogram."""

import numpy as np
import torch

QUANTILES = (0.1, 0.5, 0.9)
OCTAVE = 12


def audio_descriptors(features: torch.Tensor, frame_rate: float) -> dict[str, float]:
    """Describes a recording of a piano.

    Args:
        features: (frames, bins) natural logarithms of the power in semitones from A0 on; a gain adds a constant.
        frame_rate: Frames per second.
    """
    power = features.double().exp()
    loudness = power.sum(1).log()
    share = power / power.sum(1, keepdim=True)
    bins = torch.arange(features.shape[1], dtype=torch.double)
    centre = share @ bins
    width = (share @ bins.square() - centre.square()).clamp(min=0).sqrt()
    change = features.double().diff(dim=0)
    attack, decay = change.clamp(min=0).mean(1), change.clamp(max=0).mean(1)
    active = loudness > loudness.max() - 6.0  # e^-6 of the peak power is 26 dB below it
    octaves = power.unflatten(1, (-1, OCTAVE)).sum(-1)
    registers = (octaves[active].mean(0) / octaves[active].mean(0).sum()).clamp(min=1e-6).log()
    chroma = power.unflatten(1, (-1, OCTAVE)).sum(1)
    chroma = chroma / chroma.sum(1, keepdim=True)
    blur = -(chroma * chroma.clamp(min=1e-12).log()).sum(1)
    peaks = (attack[1:-1] > attack[:-2]) & (attack[1:-1] >= attack[2:]) & (attack[1:-1] > attack.mean() + attack.std())
    onset_intervals = torch.nonzero(peaks)[:, 0].diff().double() / frame_rate
    return {
        "log_seconds": np.log(len(features) / frame_rate),
        **_distribution("loudness", loudness),
        **_distribution("loudness_change", loudness.diff().abs()),
        **_distribution("brightness", centre[active]),
        **_distribution("bandwidth", width[active]),
        **_distribution("attack", attack),
        **_distribution("decay", decay),
        **_distribution("chroma_entropy", blur[active]),
        "loudness_range": float(loudness.quantile(0.95) - loudness.quantile(0.3)),
        "loudness_brightness": _slope(loudness[active], centre[active]),
        "attack_rate": float(peaks.sum()) * frame_rate / len(features),
        "attack_interval": float(onset_intervals.median()) if len(onset_intervals) else len(features) / frame_rate,
        "attack_irregularity": float((onset_intervals + 0.02).log().std()) if len(onset_intervals) > 1 else 0.0,
        **{f"register_{index}": float(value) for index, value in enumerate(registers)},
    }


def _distribution(name: str, values: torch.Tensor) -> dict[str, float]:
    low, median, high = torch.quantile(values, torch.tensor(QUANTILES, dtype=values.dtype)).tolist()
    return {
        f"{name}_mean": float(values.mean()),
        f"{name}_deviation": float(values.std(correction=0)),
        f"{name}_low": low,
        f"{name}_median": median,
        f"{name}_high": high,
    }


def _slope(first: torch.Tensor, second: torch.Tensor) -> float:
    """By how much `second` grows with `first`."""
    centred = first - first.mean()
    variance = centred.square().mean()
    return float((centred * second).mean() / variance) if variance > 0 else 0.0
