"""Makes a MIDI file audible with plain tones, for listening only: no model hears them."""

import numpy as np

from antiphon.processing.audio_midi import Performance

HARMONICS = 4
RELEASE_SECONDS = 0.08
MAX_TONE_SECONDS = 8.0  # by then a string has died away; a pedal may stay down for minutes
PEAK = 0.5


def play_tones(performance: Performance, sampling_rate: int) -> np.ndarray:
    """Sounds every note as a decaying sum of harmonics, from the first onset on: (samples,) with `PEAK`."""
    starts = performance.onsets - performance.onsets[0]
    ends = performance.sounding_offsets() - performance.onsets[0] + RELEASE_SECONDS
    ends = np.minimum(ends, starts + MAX_TONE_SECONDS)
    waveform = np.zeros(int(ends.max() * sampling_rate) + 1, np.float32)
    for start, end, pitch, velocity in zip(starts, ends, performance.pitches, performance.velocities):
        first = int(start * sampling_rate)
        time = np.arange(int((end - start) * sampling_rate)) / sampling_rate
        frequency = 440 * 2 ** ((pitch - 69) / 12)
        audible = [number for number in range(1, HARMONICS + 1) if number * frequency < sampling_rate / 2]
        tone = sum(np.sin(2 * np.pi * number * frequency * time) / number**2 for number in audible)
        # Low strings ring longer; each note fades out when it is released.
        envelope = np.exp(-time * (frequency / 220) ** 0.5) * np.clip((end - start - time) / RELEASE_SECONDS, 0, 1)
        waveform[first : first + len(time)] += velocity / 127 * envelope * tone
    return PEAK * waveform / np.abs(waveform).max()
