"""Speech with a phone for every frame: spoken by eSpeak NG, which tells its phones, or recorded and then aligned."""

import ctypes
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from datasets import Audio, Dataset

from antiphon.processing.audio_io import encode_audio, resample_audio
from antiphon.processing.corpora.synthetic import load_voices
from antiphon.processing.corpora.synthetic_engine import SpeechEngine, SynthesisError

SILENCE = "_"
SAMPLING_RATE = 16_000
# Values of the enumerations in eSpeak NG's speak_lib.h.
_AUDIO_OUTPUT_SYNCHRONOUS, _PHONEME_EVENTS = 2, 1
_WORD_EVENT, _PHONEME_EVENT = 1, 7
_WORD = "|"
_STRESS_MARKS = "',%=:;!|#"
_READER = "en-us"


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # milliseconds
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("phone", ctypes.c_char * 8),
    ]


class AlignedSpeechEngine(SpeechEngine):
    """eSpeak NG that also tells when each phone begins. The library is global: call `aligned_engine` instead."""

    def __init__(self):
        super().__init__()
        import espeakng_loader

        path = str(espeakng_loader.get_data_path()).encode()
        self._library.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, path, _PHONEME_EVENTS)
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        self._library.espeak_SetSynthCallback(self._callback)
        self._sounds = []

    def _collect(self, samples, num_samples, events) -> int:
        event = ctypes.cast(events, ctypes.POINTER(_Event))
        index = 0
        while event[index].type:
            seconds = event[index].audio_position / 1000
            if event[index].type == _WORD_EVENT:
                self._sounds.append((_WORD, seconds))
            elif event[index].type == _PHONEME_EVENT:
                name = event[index].phone.decode(errors="replace")
                name = "".join(mark for mark in name if mark not in _STRESS_MARKS)
                self._sounds.append((name or SILENCE, seconds))
            index += 1
        return super()._collect(samples, num_samples, events)

    def speak_phones(self, text: str, voice: str, **prosody) -> tuple[np.ndarray, list[str], list[float]]:
        """Speaks a text.

        Args:
            text, voice, prosody: As `SpeechEngine.speak` takes them.

        Returns:
            The waveform (samples,) at `sampling_rate`, the phones, and the second at which each of them begins.
        """
        self._sounds.clear()
        waveform = self.speak(text, voice, **prosody)
        phones = [(SILENCE, 0.0), *(sound for sound in self._sounds if sound[0] != _WORD)]
        names, starts = zip(*phones)
        return waveform, list(names), list(starts)

    def pronounce(self, text: str) -> list[str]:
        """The phones of a text as the American voice says them, with a silence before every word and at the end."""
        self._sounds.clear()
        try:
            self.speak(text.lower(), _READER, rate=180, pitch=50, pitch_range=50)
        except SynthesisError:  # a text without a word
            return []
        names = [SILENCE if name == _WORD else name for name, _ in self._sounds] + [SILENCE]
        return [name for name, before in zip(names, [None, *names]) if (name, before) != (SILENCE, SILENCE)]


@cache
def aligned_engine() -> AlignedSpeechEngine:
    """The one engine of this process."""
    return AlignedSpeechEngine()


def read_aloud(texts: Sequence[str], num_utterances: int, split: str, seed: int) -> Dataset:
    """Has many voices read parts of given texts.

    Args:
        texts: Transcripts, of which stretches of 2 to 10 words are read.
        num_utterances: How many.
        split: Whose voices of `voices.yaml` read: "train", "validation" or "test".
        seed: Of texts, voices and prosody.

    Returns:
        A corpus with text, speaker_id, duration_seconds, source, license, split, file_name and audio (FLAC), and
        `phones`, `phone_starts` (seconds).

    Raises:
        SynthesisError: eSpeak NG is missing (`pip install antiphon[synthesis]`).
    """
    generator = np.random.default_rng(seed)
    voices = load_voices()[split]
    rows = []
    for index in range(num_utterances):
        words = texts[int(generator.integers(len(texts)))].lower().split()
        count = int(generator.integers(2, 11))
        first = int(generator.integers(max(1, len(words) - count + 1)))
        rows.append(_read_one(" ".join(words[first : first + count]), voices[index % len(voices)], index, generator))
    return Dataset.from_list([{**row, "split": split} for row in rows]).cast_column("audio", Audio(decode=False))


def _read_one(text: str, voice: str, index: int, generator: np.random.Generator) -> dict:
    prosody = {
        "rate": int(generator.integers(130, 241)),
        "pitch": int(generator.integers(15, 86)),
        "pitch_range": int(generator.integers(20, 81)),
    }
    engine = aligned_engine()
    waveform, phones, starts = engine.speak_phones(text, voice, **prosody)
    waveform = resample_audio(waveform, engine.sampling_rate, SAMPLING_RATE)
    file_name = f"read_aloud-{index:06d}.flac"
    return {
        "audio": {"bytes": encode_audio(waveform, SAMPLING_RATE, format="FLAC"), "path": file_name},
        "text": text,
        "speaker_id": voice,
        "duration_seconds": len(waveform) / SAMPLING_RATE,
        "source": "eSpeak NG",
        "license": "CC0-1.0",
        "file_name": file_name,
        "phones": phones,
        "phone_starts": starts,
    }


def frame_labels(
    phone_ids: Sequence[int], starts: Sequence[float], num_frames: int, frame_seconds: float
) -> np.ndarray:
    """Which phone sounds in the middle of each frame: (num_frames,), int64."""
    middles = (np.arange(num_frames) + 0.5) * frame_seconds
    return np.asarray(phone_ids)[np.searchsorted(starts, middles, side="right") - 1]


def align(log_probabilities: torch.Tensor, phone_ids: Sequence[int], silence_id: int) -> np.ndarray:
    """The likeliest way to lay a sequence of phones over frames.

    Args:
        log_probabilities: (frames, phones).
        phone_ids: Every phone lasts at least one frame, but silences may be left out; of several in a row one counts.
        silence_id: Id of the silence.

    Returns:
        (frames,) phone ids, or an empty array when there are fewer frames than phones, or every way is impossible.

    Source: Viterbi 1967; Rabiner 1989, "A Tutorial on Hidden Markov Models", section III.B.
    """
    pairs = zip(phone_ids, [None, *phone_ids])
    states = np.array([phone for phone, before in pairs if (phone, before) != (silence_id, silence_id)], dtype=np.int64)
    is_silence = states == silence_id
    if len(log_probabilities) < (~is_silence).sum() or is_silence.all():
        return np.empty(0, dtype=np.int64)
    scores = log_probabilities[:, torch.from_numpy(states)].double().numpy()
    after_silence = np.flatnonzero(is_silence[1:-1]) + 2  # states that can be reached past a silence
    best = np.full(len(states), -np.inf)
    first = 2 if is_silence[0] else 1
    best[:first] = scores[0, :first]
    steps = np.zeros(scores.shape, dtype=np.int64)
    for frame in range(1, len(scores)):
        candidates = np.full((3, len(states)), -np.inf)
        candidates[0] = best
        candidates[1, 1:] = best[:-1]
        candidates[2, after_silence] = best[after_silence - 2]
        steps[frame] = candidates.argmax(0)
        best = candidates.max(0) + scores[frame]
    state = len(states) - 1
    if is_silence[-1] and best[-2] > best[-1]:
        state -= 1
    if best[state] == -np.inf:
        return np.empty(0, dtype=np.int64)
    path = np.empty(len(scores), dtype=np.int64)
    for frame in range(len(scores) - 1, -1, -1):
        path[frame] = states[state]
        state -= steps[frame, state]
    return path
