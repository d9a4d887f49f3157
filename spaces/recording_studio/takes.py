"""A take: read from the file that the browser sends, measured, and judged for the text that it should say."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

MAX_SECONDS = 60
MAX_CHANNELS = 2
# Below the lower one lies no speech sound worth keeping; with channels and time the upper one bounds the memory.
SAMPLING_RATES = (8_000, 192_000)

FRAME_SECONDS = 0.02
# Below the noise of 16 bits; keeps digital silence finite.
FLOOR_DBFS = -100.0
# Speech is what comes within so much of the loudest moments: weak fricatives lie 25 to 30 dB below vowels.
SPEECH_RANGE_DB = 30.0
# Where the loudest moments stand out less, or are softer, nothing tells speech from noise.
MIN_CONTRAST_DB = 6.0
MIN_LOUDEST_DBFS = -65.0
# A shorter sound is a click.
MIN_SPEECH_SECONDS = 0.06

# The limits below were tried on up to 500 recordings each of AN4, Free Spoken Digits, Speech Commands, Mini
# LibriSpeech, Common Voice (English), VCTK and a reader of ARCTIC; the shares are of recordings that break them.
#
# Within 0.1 dB of full scale counts as full scale, since converters and codecs round. One sample of a good recording
# may touch it; one that is clipped stays there for many samples of each period. At most 1 %.
CLIPPED_LEVEL = 0.99
MAX_CLIPPED_SAMPLES = 3
# The nominal level of speech is -26 dBFS (ITU-T P.56). So far below it the microphone stood too far away or was turned
# down. Below 1 %, except 10 % of Free Spoken Digits, whose levels were never set.
MIN_SPEECH_DBFS = -42.0
# Below it hiss and hum are heard between the words. 2 % of Common Voice, 0 % of what was read in studios.
MIN_SNR_DB = 15.0
# Nobody reads faster; a text of few letters may last hardly any time. 0 % of all.
MAX_LETTERS_PER_SECOND = 25
FREE_LETTERS = 6
# Slow readers, who pause at every word, need less. 0.8 % of AN4, where letters are spelled; 0 % of all others.
LONGEST_SECONDS = {"take": 1.0, "letter": 0.1, "word": 0.3}
# Before the first and after the last sound together; the longest of all was 3.3 s.
MAX_SILENCE_SECONDS = 5.0


class TakeError(ValueError):
    """A recording that is no take; the message is one sentence for the person who made it."""


@dataclass(frozen=True)
class Problem:
    """What is wrong with a take, and what to do about it.

    Args:
        name: One word, for the table of takes.
        advice: A sentence.
    """

    name: str
    advice: str


@dataclass(frozen=True)
class Take:
    """A recording and its measures.

    Args:
        samples: (samples,) int16, mono.
        sampling_rate: In Hz.
        num_clipped: Samples at full scale, of all channels.
        speech_seconds: From the first sound of speech to the last; 0 without any.
        speech_dbfs: Mean power of the frames of speech.
        snr_db: That power against the quietest tenth of all frames.
    """

    samples: np.ndarray
    sampling_rate: int
    num_clipped: int
    speech_seconds: float
    speech_dbfs: float
    snr_db: float

    @property
    def seconds(self) -> float:
        """Duration of the whole recording."""
        return len(self.samples) / self.sampling_rate


def read_take(path: str | Path) -> Take:
    """Reads and measures a recording; two channels are averaged, nothing else is changed.

    Args:
        path: An audio file, recognised by content.

    Raises:
        TakeError: It is empty, no audio, too long, has too many channels, or nobody speaks in it.
    """
    channels, sampling_rate = _decode(Path(path))
    samples = np.rint(channels.mean(axis=1) * 32768).clip(-32768, 32767).astype(np.int16)
    levels = frame_levels(samples / 32768, sampling_rate)
    speech = find_speech(levels)
    if speech is None:
        raise TakeError("No speech was heard; check that the right microphone is on, speak up, and record again.")
    noise_dbfs = _mean_level(np.sort(levels)[: max(1, len(levels) // 10)])
    speech_dbfs = _mean_level(levels[speech])
    frames = np.flatnonzero(speech)
    return Take(
        samples=samples,
        sampling_rate=sampling_rate,
        num_clipped=int((np.abs(channels) >= CLIPPED_LEVEL).sum()),
        speech_seconds=float(frames[-1] + 1 - frames[0]) * FRAME_SECONDS,
        speech_dbfs=speech_dbfs,
        snr_db=speech_dbfs - noise_dbfs,
    )


def find_problems(take: Take, text: str) -> list[Problem]:
    """What is wrong with a take.

    Args:
        text: What it should say, with numbers in words.
    """
    letters, words = sum(character.isalnum() for character in text), len(text.split())
    shortest = max(0, letters - FREE_LETTERS) / MAX_LETTERS_PER_SECOND
    longest = sum(share * count for share, count in zip(LONGEST_SECONDS.values(), (1, letters, words)))
    silence = take.seconds - take.speech_seconds
    checks = {
        "clipped": (
            take.num_clipped > MAX_CLIPPED_SAMPLES,
            f"It is clipped ({take.num_clipped} samples at full scale): move back or turn the microphone down.",
        ),
        "quiet": (
            take.speech_dbfs < MIN_SPEECH_DBFS,
            f"It is too quiet ({take.speech_dbfs:.0f} dBFS, wanted at least {MIN_SPEECH_DBFS:.0f}): come closer or "
            "turn the microphone up.",
        ),
        "noisy": (
            take.snr_db < MIN_SNR_DB,
            f"It is too noisy (speech {take.snr_db:.0f} dB above the noise, wanted at least {MIN_SNR_DB:.0f}): come "
            "closer, shut windows, switch fans off; leave a short silence before and after.",
        ),
        "short": (
            take.speech_seconds < shortest,
            f"It is too short for its text ({take.speech_seconds:.1f} s of speech, expected at least {shortest:.1f}): "
            "read all of it, and stop recording only after the last word.",
        ),
        "long": (
            take.speech_seconds > longest,
            f"It is too long for its text ({take.speech_seconds:.1f} s of speech, expected at most {longest:.1f}): "
            "read the text once, without other words.",
        ),
        "silent": (
            silence > MAX_SILENCE_SECONDS,
            f"It holds {silence:.1f} s of silence before and after the speech: start recording just before you speak "
            "and stop just after.",
        ),
    }
    return [Problem(name, advice) for name, (is_wrong, advice) in checks.items() if is_wrong]


def frame_levels(waveform: np.ndarray, sampling_rate: int) -> np.ndarray:
    """Levels in dBFS of frames of `FRAME_SECONDS`, (frames,); a rest that fills no frame is left out."""
    length = round(FRAME_SECONDS * sampling_rate)
    frames = waveform[: len(waveform) // length * length].reshape(-1, length)
    # Without its mean: a constant offset of a cheap sound card is no sound.
    return 10 * np.log10(np.maximum(frames.var(axis=1), 10 ** (FLOOR_DBFS / 10)))


def find_speech(levels: np.ndarray) -> np.ndarray | None:
    """Which frames hold speech, (frames,) truth values, or None if nothing stands out of the noise.

    Args:
        levels: In dBFS, (frames,).
    """
    if len(levels) == 0:
        return None
    quiet, loud = np.quantile(levels, (0.1, 0.95))
    loudest = max(loud, levels.max() - 10)
    if loudest - quiet < MIN_CONTRAST_DB or loudest < MIN_LOUDEST_DBFS:
        return None
    # Halfway between noise and speech where the noise is strong, else by the range of speech alone.
    is_loud = levels > max(loudest - SPEECH_RANGE_DB, (quiet + loudest) / 2)
    return _without_clicks(is_loud, round(MIN_SPEECH_SECONDS / FRAME_SECONDS))


def _without_clicks(is_loud: np.ndarray, shortest: int) -> np.ndarray | None:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], is_loud, [False])).astype(np.int8)))
    speech = np.zeros_like(is_loud)
    for start, end in edges.reshape(-1, 2):
        if end - start >= shortest:
            speech[start:end] = True
    return speech if speech.any() else None


def _mean_level(levels: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(10 ** (levels / 10))))


def _decode(path: Path) -> tuple[np.ndarray, int]:
    """The waveform (samples, channels) and its rate; the header is judged before anything is decoded."""
    if not path.is_file() or path.stat().st_size == 0:
        raise TakeError("This recording is empty; record again.")
    try:
        with soundfile.SoundFile(path) as file:
            _check_header(file)
            # One sample more than allowed: a header may promise less than the file holds.
            channels = file.read(MAX_SECONDS * file.samplerate + 1, dtype="float32", always_2d=True)
            sampling_rate = file.samplerate
    except soundfile.LibsndfileError:
        raise TakeError("This is no audio that can be read here, or it is damaged; record again.") from None
    if len(channels) > MAX_SECONDS * sampling_rate:
        raise TakeError(f"This recording lasts longer than {MAX_SECONDS} s; record again and stop after the text.")
    if not np.isfinite(channels).all():
        raise TakeError("This recording holds samples that are not numbers; record again.")
    return channels, sampling_rate


def _check_header(file: soundfile.SoundFile) -> None:
    lowest, highest = SAMPLING_RATES
    if not lowest <= file.samplerate <= highest:
        raise TakeError(
            f"This recording has a sampling rate of {file.samplerate} Hz; choose one of {lowest} to {highest} Hz."
        )
    if file.channels > MAX_CHANNELS:
        raise TakeError(f"This recording has {file.channels} channels; choose a mono or stereo microphone.")
