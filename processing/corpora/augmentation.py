"""Waveform augmentation for training: time, pitch, room, noise, spectrum and gain, each from an explicit generator.

audiomentations does pitch, low-pass and gain. It draws from the global `random` and `numpy.random`, so its transforms
get their parameters from here and draw nothing. The rest is done here: its noise and room transforms draw inside
`apply` or read and resample a file in every call, its room response resets the level, its equaliser needs bands above
9 kHz, and it has no speed perturbation (resampling without a change of the nominal rate).
"""

import difflib
import os
from collections.abc import Sequence
from pathlib import Path

import audiomentations
import numpy as np
from scipy.fft import next_fast_len
from scipy.signal import fftconvolve

from antiphon.processing.audio_io import read_audio, resample_audio

_DEFAULTS = {
    "speed": {"probability": 0.5, "factor": (0.9, 1.1)},
    "pitch": {"probability": 0.5, "semitones": (-3.0, 3.0)},
    "trim": {"probability": 0.5, "trim_seconds": (0.0, 0.06)},
    "padding": {"probability": 0.5, "pad_seconds": (0.0, 0.4)},
    "room": {
        "probability": 0.5,
        "rt60_seconds": (0.1, 0.5),
        "direct_to_reverberant_db": (0.0, 15.0),
        "impulse_responses": None,
    },
    "noise": {"probability": 0.5, "snr_db": (5.0, 30.0), "slope_db_per_octave": (-6.0, 3.0), "recordings": None},
    "equalizer": {"probability": 0.5, "gain_db": (-9.0, 9.0)},
    "low_pass": {"probability": 0.5, "cutoff_hz": (1500.0, 3500.0)},
    "gain": {"probability": 0.5, "gain_db": (-12.0, 6.0)},
}
_LIMITS = {
    "probability": (0.0, 1.0),
    "factor": (0.5, 2.0),
    "semitones": (-24.0, 24.0),
    "rt60_seconds": (0.01, 5.0),
    "direct_to_reverberant_db": (-20.0, 60.0),
    "snr_db": (-30.0, 100.0),
    "slope_db_per_octave": (-12.0, 12.0),
    "gain_db": (-60.0, 60.0),
    "trim_seconds": (0.0, 10.0),
    "pad_seconds": (0.0, 60.0),
}
_FILES = ("impulse_responses", "recordings")
# Equaliser: how many gains are drawn, at equal distances in octaves from this frequency to half the sampling rate.
_EQUALIZER_POINTS, _EQUALIZER_LOWEST_HZ = 8, 60.0
_AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")


class WaveformAugmentation:
    """Changes a training clip at random; call it in the loader, on training data only, never in validation.

    Each effect is a plain dict, as in a YAML recipe; None leaves the effect out, `{}` takes its defaults. Its
    `probability` says how often it applies, and each range `[low, high]` is drawn from uniformly. In this order:

    - `speed`: `factor`; resampling, which moves pitch and formants too. 1.1 is 10 % faster and shorter.
    - `pitch`: `semitones`, at unchanged length.
    - `trim`: `trim_seconds` are cut from each end, as by a careless recording; never more than a quarter of the clip.
    - `padding`: `pad_seconds` of silence are added at each end.
    - `room`: convolution with one of `impulse_responses`, or with a simulated one of `rt60_seconds` and
      `direct_to_reverberant_db`. The direct sound keeps its time and level, and the tail is cut at the clip's end.
    - `noise`: a passage of one of `recordings`, or noise with a spectrum of `slope_db_per_octave` (0 white, -3 pink,
      -6 brown), at `snr_db` relative to the mean power of the whole clip. A silent clip stays silent.
    - `equalizer`: a smooth frequency response whose gain at eight frequencies is drawn from `gain_db`, as of another
      microphone; zero phase.
    - `low_pass`: `cutoff_hz`, 12 dB per octave.
    - `gain`: `gain_db`.

    A result that exceeds full scale is scaled down to a peak of 1 as a whole, never clipped: for loud clips the gain
    is smaller than drawn.

    Args:
        sampling_rate: of all clips, in Hz.
        noise, room, speed, pitch, gain, low_pass, equalizer, trim, padding: the effects. `recordings` and
            `impulse_responses` are a folder or a list of audio files; they are read and resampled once, here.
        seed: of the generator that serves calls without one.

    Raises:
        ValueError: an unknown key, a value out of range, a range whose ends are swapped, a folder without audio, or a
            recording of silence.
        AudioError: a recording that cannot be read.

    Source: speed perturbation after Ko et al., "Audio augmentation for speech recognition", Interspeech 2015, with a
        continuous factor; the simulated room is the exponentially decaying noise of Polack (1988) behind a unit
        impulse, with no early reflections and one decay for all frequencies.
    """

    def __init__(
        self,
        sampling_rate: int,
        noise: dict | None = None,
        room: dict | None = None,
        speed: dict | None = None,
        pitch: dict | None = None,
        gain: dict | None = None,
        low_pass: dict | None = None,
        equalizer: dict | None = None,
        trim: dict | None = None,
        padding: dict | None = None,
        seed: int = 0,
    ):
        if isinstance(sampling_rate, bool) or not isinstance(sampling_rate, int) or sampling_rate <= 0:
            raise ValueError(f"`sampling_rate` is {sampling_rate!r}, expected a positive integer in Hz")
        self.sampling_rate = sampling_rate
        self.generator = np.random.default_rng(seed)
        # The order of this mapping is the order of application.
        given = {"speed": speed, "pitch": pitch, "trim": trim, "padding": padding, "room": room, "noise": noise}
        given |= {"equalizer": equalizer, "low_pass": low_pass, "gain": gain}
        limits = _LIMITS | {"cutoff_hz": (20.0, 0.49 * sampling_rate)}
        self.settings = {
            effect: _check_settings(effect, settings, limits)
            for effect, settings in given.items()
            if settings is not None
        }
        self.recordings = self._load_files("noise", "recordings")
        self.impulse_responses = [
            _from_direct_sound(response) for response in self._load_files("room", "impulse_responses")
        ]

    @classmethod
    def from_config(cls, config: dict, sampling_rate: int, seed: int = 0) -> "WaveformAugmentation":
        """Builds the augmentation from a recipe section that maps effect names to their settings.

        Args:
            config: for example `{"speed": {"probability": 0.5, "factor": [0.9, 1.1]}, "gain": {}}`.
            sampling_rate: of all clips, in Hz.
            seed: of the generator that serves calls without one.

        Raises:
            ValueError: an unknown effect, or as in the constructor.
        """
        _refuse_unknown_keys("augmentation", config, _DEFAULTS)
        return cls(sampling_rate, seed=seed, **config)

    def __call__(self, waveform: np.ndarray, generator: np.random.Generator | None = None) -> np.ndarray:
        """Augments one clip.

        Args:
            waveform: (samples,), float32 in [-1, 1]; not changed.
            generator: source of all randomness; None takes the augmentation's own. For training that resumes to the
                same result, make one for each item from `(seed, epoch, index)`.

        Returns:
            (samples',), float32 in [-1, 1]; `speed`, `trim` and `padding` change the number of samples.

        Raises:
            ValueError: `waveform` is not (samples,) float32, is empty, or holds NaN or infinity.
        """
        _check_waveform(waveform)
        generator = self.generator if generator is None else generator
        for effect, settings in self.settings.items():
            if generator.random() < settings["probability"]:
                waveform = getattr(self, f"_{effect}")(waveform, settings, generator)
        waveform = np.array(waveform, dtype=np.float32)
        peak = np.abs(waveform).max()
        return waveform / peak if peak > 1 else waveform

    def _speed(self, waveform: np.ndarray, settings: dict, generator: np.random.Generator) -> np.ndarray:
        factor = generator.uniform(*settings["factor"])
        return resample_audio(waveform, round(self.sampling_rate * factor), self.sampling_rate)

    def _pitch(self, waveform: np.ndarray, settings: dict, generator: np.random.Generator) -> np.ndarray:
        transform = audiomentations.PitchShift(method="signalsmith_stretch")
        semitones = generator.uniform(*settings["semitones"])
        return self._apply(transform, waveform, num_semitones=semitones)

    def _trim(self, waveform: np.ndarray, settings: dict, generator: np.random.Generator) -> np.ndarray:
        start, end = self._draw_samples(settings["trim_seconds"], generator)
        most = len(waveform) // 4
        return waveform[min(start, most) : len(waveform) - min(end, most)]

    def _padding(self, waveform: np.ndarray, settings: dict, generator: np.random.Generator) -> np.ndarray:
        return np.pad(waveform, self._draw_samples(settings["pad_seconds"], generator))

    def _draw_samples(self, seconds: tuple[float, float], generator: np.random.Generator) -> list[int]:
        return [round(value * self.sampling_rate) for value in generator.uniform(*seconds, size=2)]

    def _room(self, waveform: np.ndarray, settings: dict, generator: np.random.Generator) -> np.ndarray:
        if self.impulse_responses:
            response = self.impulse_responses[generator.integers(len(self.impulse_responses))]
        else:
            rt60_seconds = generator.uniform(*settings["rt60_seconds"])
            direct_to_reverberant_db = generator.uniform(*settings["direct_to_reverberant_db"])
            response = simulate_impulse_response(self.sampling_rate, rt60_seconds, direct_to_reverberant_db, generator)
        return fftconvolve(waveform, response)[: len(waveform)]

    def _noise(self, waveform: np.ndarray, settings: dict, generator: np.random.Generator) -> np.ndarray:
        snr_db = generator.uniform(*settings["snr_db"])
        if self.recordings:
            recording = self.recordings[generator.integers(len(self.recordings))]
            start = generator.integers(max(1, len(recording) - len(waveform) + 1))
            # A recording shorter than the clip is repeated.
            noise = np.resize(recording[start:], len(waveform))
        else:
            noise = generate_noise(len(waveform), generator.uniform(*settings["slope_db_per_octave"]), generator)
        noise_rms = _rms(noise)
        if noise_rms == 0:  # a passage of digital silence in a recording has no level to set
            return waveform
        return waveform + noise * np.float32(_rms(waveform) / noise_rms * 10 ** (-snr_db / 20))

    def _equalizer(self, waveform: np.ndarray, settings: dict, generator: np.random.Generator) -> np.ndarray:
        gains_db = generator.uniform(*settings["gain_db"], size=_EQUALIZER_POINTS)
        # Zeros behind the clip take up the ringing that would otherwise come round to its start.
        size = next_fast_len(len(waveform) + self.sampling_rate // 20, real=True)
        frequencies = np.fft.rfftfreq(size, 1 / self.sampling_rate)
        points = np.geomspace(_EQUALIZER_LOWEST_HZ, self.sampling_rate / 2, _EQUALIZER_POINTS)
        curve_db = np.interp(np.log(np.maximum(frequencies, _EQUALIZER_LOWEST_HZ)), np.log(points), gains_db)
        return np.fft.irfft(np.fft.rfft(waveform, size) * 10 ** (curve_db / 20), size)[: len(waveform)]

    def _low_pass(self, waveform: np.ndarray, settings: dict, generator: np.random.Generator) -> np.ndarray:
        cutoff_hz = generator.uniform(*settings["cutoff_hz"])
        return self._apply(audiomentations.LowPassFilter(), waveform, cutoff_freq=cutoff_hz, rolloff=12)

    def _gain(self, waveform: np.ndarray, settings: dict, generator: np.random.Generator) -> np.ndarray:
        gain_db = generator.uniform(*settings["gain_db"])
        return self._apply(audiomentations.Gain(), waveform, amplitude_ratio=10 ** (gain_db / 20))

    def _apply(self, transform, waveform: np.ndarray, **parameters: float) -> np.ndarray:
        """Runs an audiomentations transform with given parameters: frozen, it does not touch the global generators."""
        transform.parameters = {"should_apply": True, **parameters}
        transform.freeze_parameters()
        return transform(np.ascontiguousarray(waveform, dtype=np.float32), self.sampling_rate)

    def _load_files(self, effect: str, key: str) -> list[np.ndarray]:
        """The recordings of an effect at the augmentation's rate; empty where none are given."""
        source = self.settings.get(effect, {}).get(key)
        if source is None:
            return []
        waveforms = []
        for path in _list_files(f"{effect}.{key}", source):
            waveform, _ = read_audio(path, sampling_rate=self.sampling_rate, resample=True)
            if not waveform.any():
                raise ValueError(f"`{effect}.{key}` has {str(path)!r}, which is silent; remove it")
            waveforms.append(waveform)
        return waveforms


def simulate_impulse_response(
    sampling_rate: int, rt60_seconds: float, direct_to_reverberant_db: float, generator: np.random.Generator
) -> np.ndarray:
    """A room impulse response: a unit impulse, then Gaussian noise that decays by 60 dB in `rt60_seconds`.

    Args:
        sampling_rate: in Hz.
        rt60_seconds: reverberation time; also the length of the response.
        direct_to_reverberant_db: energy of the impulse over the energy of the tail.
        generator: source of the noise.

    Returns:
        (rt60_seconds * sampling_rate,) float32, whose first sample is 1.

    Source: J.-D. Polack, "La transmission de l'énergie sonore dans les salles", 1988.
    """
    num_samples = max(2, round(rt60_seconds * sampling_rate))
    seconds = np.arange(num_samples) / sampling_rate
    response = generator.standard_normal(num_samples) * 10 ** (-3 * seconds / rt60_seconds)
    response[0] = 0
    response *= 10 ** (-direct_to_reverberant_db / 20) / np.linalg.norm(response)
    response[0] = 1
    return response.astype(np.float32)


def generate_noise(num_samples: int, slope_db_per_octave: float, generator: np.random.Generator) -> np.ndarray:
    """Gaussian noise whose power spectrum rises or falls by a constant slope.

    Args:
        num_samples: length.
        slope_db_per_octave: of the power density: 0 white, -3.01 pink, -6.02 brown, positive for blue.
        generator: source of the noise.

    Returns:
        (num_samples,) float32, of arbitrary level.
    """
    white = generator.standard_normal(num_samples, dtype=np.float32)
    if num_samples == 1:
        return white
    spectrum = np.fft.rfft(white)
    octaves = np.log2(np.maximum(np.arange(len(spectrum)), 1))  # above the first bin; DC keeps that bin's level
    return np.fft.irfft(spectrum * 10 ** (slope_db_per_octave * octaves / 20), num_samples).astype(np.float32)


def _rms(waveform: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(waveform, dtype=np.float64))))


def _from_direct_sound(response: np.ndarray) -> np.ndarray:
    """Cuts the delay before the strongest sample and scales that sample to 1, so that a clip keeps time and level."""
    direct = int(np.abs(response).argmax())
    return response[direct:] / response[direct]


def _list_files(name: str, source: str | os.PathLike | Sequence) -> list[Path]:
    if not isinstance(source, (str, os.PathLike)):
        paths = [Path(path) for path in source]
    elif Path(source).is_dir():
        paths = sorted(path for path in Path(source).rglob("*") if path.suffix.lower() in _AUDIO_SUFFIXES)
    else:
        paths = [Path(source)]
    if not paths:
        raise ValueError(f"`{name}` is {source!r}, which holds no audio file; give a folder or a list of files")
    return paths


def _check_waveform(waveform: np.ndarray) -> None:
    if not isinstance(waveform, np.ndarray) or waveform.ndim != 1 or waveform.dtype != np.float32 or not waveform.size:
        found = (
            f"shape {waveform.shape}, {waveform.dtype}" if isinstance(waveform, np.ndarray) else repr(type(waveform))
        )
        raise ValueError(f"`waveform` is of {found}, expected a non-empty (samples,) float32 array in [-1, 1]")
    if not np.isfinite(waveform).all():
        raise ValueError("`waveform` holds NaN or infinite samples, expected finite ones; drop the clip beforehand")


def _refuse_unknown_keys(name: str, given: dict, known: dict) -> None:
    if not isinstance(given, dict):
        raise ValueError(f"`{name}` is {given!r}, expected a mapping with the keys {', '.join(known)}")
    for key in given:
        if key not in known:
            nearest = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
            hint = f"did you mean `{nearest[0]}`?" if nearest else f"expected {', '.join(known)}"
            raise ValueError(f"`{name}` has the unknown key `{key}`; {hint}")


def _check_settings(effect: str, given: dict, limits: dict[str, tuple[float, float]]) -> dict:
    """Completes the settings of one effect with the defaults and checks every number."""
    _refuse_unknown_keys(effect, given, _DEFAULTS[effect])
    settings = _DEFAULTS[effect] | given
    for key, value in settings.items():
        if key in _FILES:
            continue
        low, high = limits[key]
        numbers = [value] if key == "probability" else value
        expected_count = 1 if key == "probability" else 2
        is_numeric = isinstance(numbers, (list, tuple)) and all(
            isinstance(number, (int, float)) and not isinstance(number, bool) for number in numbers
        )
        if not is_numeric or len(numbers) != expected_count or not low <= numbers[0] <= numbers[-1] <= high:
            what = "a number" if key == "probability" else "a range [low, high] with low <= high"
            raise ValueError(f"`{effect}.{key}` is {value!r}, expected {what} within {low:g} and {high:g}")
    return settings
