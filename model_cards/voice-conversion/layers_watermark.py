"""A mark in converted speech that nobody hears and a program finds."""

import hashlib
import math

import numpy as np
import torch

N_FFT, HOP = 512, 256
# Bins that carry the mark, about 300 to 6,000 Hz at 16 kHz: what telephones and codecs keep.
FIRST_BIN, LAST_BIN = 10, 192
# One sign holds for so many frames and bins, so that neither overlap nor small shifts in frequency blur it.
CELL_FRAMES, CELL_BINS = 4, 2
# Cells of time after which the signs come again.
PERIOD_CELLS = 16
# Change of each cell in natural log amplitude: 0.8 dB.
STRENGTH = 0.09
# What other keys score in a recording tells how high chance comes in it.
NUM_DECOYS = 16
# What `N_FFT`, `HOP` and the bins were chosen for.
SAMPLING_RATE = 16_000
# Offsets in samples that are tried within a frame, since a recording may have been cut anywhere.
OFFSET_STEP = 64


def signs(key: str) -> torch.Tensor:
    """Signs of a key, (PERIOD_CELLS * CELL_FRAMES, bins), 1 or -1, with equally many of both in every band."""
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
    generator = np.random.default_rng(seed)
    bands = (LAST_BIN - FIRST_BIN) // CELL_BINS
    half = np.repeat([1.0, -1.0], PERIOD_CELLS // 2)
    columns = np.stack([generator.permutation(half) for _ in range(bands)], axis=1)
    return torch.from_numpy(columns).float().repeat_interleave(CELL_FRAMES, 0).repeat_interleave(CELL_BINS, 1)


def check_room_for_watermark(num_samples: int, sampling_rate: int) -> None:
    """A mark needs the rate that its bands were chosen for, and time for all its signs.

    Raises:
        ValueError: another rate, or too few samples.
    """
    if sampling_rate != SAMPLING_RATE:
        raise ValueError(
            f"`sampling_rate` is {sampling_rate} but a watermark lies in bands of {SAMPLING_RATE} Hz audio; leave it "
            "away, or use a model of that rate."
        )
    shortest = PERIOD_CELLS * CELL_FRAMES * HOP
    if num_samples < shortest:
        raise ValueError(
            f"the waveform has {num_samples} samples but a watermark needs {shortest} ({shortest / SAMPLING_RATE:.2f} "
            "s) to hold all its signs; give a longer one, or leave the watermark away."
        )


def embed_watermark(waveform: torch.Tensor, key: str) -> torch.Tensor:
    """Makes each cell of the spectrum a little louder or softer, as the key says.

    Args:
        waveform: (samples,), at 16 kHz.
        key: Any text; the detector needs the same.

    Returns:
        (samples,).

    Source: Cox et al. 1997, "Secure Spread Spectrum Watermarking for Multimedia", section IV, v (1 + a x), on
        short-time magnitudes.
    """
    spectrum = _spectrum(waveform)
    pattern = signs(key).to(waveform.device)
    frames = torch.arange(spectrum.shape[1], device=waveform.device) % len(pattern)
    gains = torch.ones(spectrum.shape, device=waveform.device)
    gains[FIRST_BIN : FIRST_BIN + pattern.shape[1]] = (STRENGTH * pattern[frames].T).exp()
    window = torch.hann_window(N_FFT, device=waveform.device)
    return torch.istft(spectrum * gains, N_FFT, HOP, window=window, length=len(waveform))


def watermark_score(waveform: torch.Tensor, key: str) -> float:
    """How clearly the mark of a key is there: the highest score over all places where it may begin.

    Scores are in deviations of what other keys score in the same recording, whose neighbouring frames and bins are
    alike, in some more than in others.

    Compare it with `watermark_threshold`.

    Args:
        waveform: (samples,), at 16 kHz; a second or more. Some seconds are needed for certainty.
        key: That of `embed_watermark`.
    """
    pattern = signs(key).to(waveform.device)
    decoys = torch.stack([signs(f"decoy {number}") for number in range(NUM_DECOYS)]).to(waveform.device)
    best = -math.inf
    for offset in range(0, HOP, OFFSET_STEP):
        spectrum = _spectrum(waveform[offset:])
        levels = (spectrum.abs() + 1e-5).log()[FIRST_BIN : FIRST_BIN + pattern.shape[1]].T
        levels = _without_trend(levels)
        frames = torch.arange(len(levels), device=levels.device)
        # The sum for every place at which the pattern may begin, folded onto one period.
        folded = torch.zeros_like(pattern).index_add_(0, frames % len(pattern), levels)
        deviation = _sums(folded, decoys).square().mean().sqrt()
        best = max(best, float(_sums(folded, pattern[None]).max() / deviation.clamp(min=1e-6)))
    return best


def watermark_threshold(false_alarms: float = 1e-3) -> float:
    """Score above which a mark is called present.

    Args:
        false_alarms: Share of unmarked recordings in which one is found by chance, at most.
    """
    places = PERIOD_CELLS * CELL_FRAMES * HOP // OFFSET_STEP
    return float(torch.special.ndtri(torch.tensor(1 - false_alarms / places, dtype=torch.float64)))


def _sums(folded: torch.Tensor, patterns: torch.Tensor) -> torch.Tensor:
    """Products of (frames, bins) with each pattern (patterns, frames, bins) that begins at each frame, summed."""
    spectra = torch.fft.rfft(folded, dim=0) * torch.fft.rfft(patterns, dim=1).conj()
    return torch.fft.irfft(spectra.sum(-1), n=len(folded), dim=1)


def _spectrum(waveform: torch.Tensor) -> torch.Tensor:
    window = torch.hann_window(N_FFT, device=waveform.device)
    return torch.stft(waveform, N_FFT, HOP, window=window, return_complex=True)


def _without_trend(levels: torch.Tensor) -> torch.Tensor:
    """Takes off the local mean over time and over frequency, and tames outliers: what is left is mark and noise."""
    image = levels[None, None]
    mean = torch.nn.functional.avg_pool2d(image, (9, 9), stride=1, padding=4, count_include_pad=False)
    return (image - mean)[0, 0].clamp(-1.5, 1.5)
