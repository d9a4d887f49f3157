"""Speaks texts with eSpeak NG. Run as a program it fills one shard of a corpus.

The engine keeps state between utterances (oscillator phase, noise, the tail of an echo), so what it says depends on
what it said before. A fresh process per shard makes a shard depend on nothing but its job; that is why this file
imports no other part of Antiphon and starts in a tenth of a second.
"""

import base64
import ctypes
import io
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import soundfile
import soxr

# Values of the enumerations in eSpeak NG's speak_lib.h.
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_CHARS_UTF8 = 1
_POSITION_CHARACTER = 1
_PARAMETERS = {"rate": 1, "volume": 2, "pitch": 3, "pitch_range": 4}
_SYNTH_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
# The loudest voices clip at the engine's own level of 100, one of them still at 30.
_VOLUME = 25
_ROWS_PER_BATCH = 100
# The engine finds a voice by its file name, and British English is stored as plain "en".
_VOICE_FILES = {"en-gb": "en"}
MISSING_ENGINE = (
    "synthetic corpora need eSpeak NG, which is not installed; run `pip install antiphon[synthesis]` (the engine is "
    "GPL-3, hence optional)."
)


class SynthesisError(RuntimeError):
    """eSpeak NG is missing, refuses a voice, or returns no sound."""


class SpeechEngine:
    """eSpeak NG through ctypes. The library is global to the process: make one instance."""

    def __init__(self):
        try:
            import espeakng_loader
        except ImportError as error:
            raise SynthesisError(MISSING_ENGINE) from error
        data_path = espeakng_loader.get_data_path()
        self._variants = Path(data_path) / "voices" / "!v"
        self._library = ctypes.CDLL(str(espeakng_loader.get_library_path()))
        self.sampling_rate = self._library.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, str(data_path).encode(), 0)
        if self.sampling_rate <= 0:
            raise SynthesisError(f"eSpeak NG could not start with its data in {data_path}; reinstall espeakng-loader.")
        # The engine seeds the noise of breathy voices with the time of day.
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        self._chunks = []
        # ctypes frees a callback that nobody holds, while the engine still calls it.
        self._callback = _SYNTH_CALLBACK(self._collect)
        self._library.espeak_SetSynthCallback(self._callback)

    def _collect(self, samples, num_samples, events) -> int:
        if samples and num_samples > 0:
            self._chunks.append(ctypes.string_at(samples, 2 * num_samples))
        return 0

    def speak(self, text: str, voice: str, *, rate: int, pitch: int, pitch_range: int) -> np.ndarray:
        """Speak one text.

        Args:
            text: English text.
            voice: Accent, or accent+variant, such as "en-us+f3".
            rate: Words per minute, 80 to 450.
            pitch: 0 to 100, 50 is the voice's own.
            pitch_range: 0 (monotone) to 100, 50 is the voice's own.

        Returns:
            The waveform, (samples,) float32 in [-1, 1], at `sampling_rate`.

        Raises:
            SynthesisError: The voice is unknown, or nothing was heard.
        """
        self._set_voice(voice)
        settings = {"rate": rate, "volume": _VOLUME, "pitch": pitch, "pitch_range": pitch_range}
        for name, value in settings.items():
            if self._library.espeak_SetParameter(_PARAMETERS[name], int(value), 0) != 0:
                raise SynthesisError(f"eSpeak NG refuses {name}={value}.")
        self._chunks.clear()
        encoded = text.encode()
        status = self._library.espeak_Synth(
            encoded, ctypes.c_size_t(len(encoded) + 1), 0, _POSITION_CHARACTER, 0, _CHARS_UTF8, None, None
        )
        waveform = np.frombuffer(b"".join(self._chunks), dtype=np.int16).astype(np.float32) / 32768
        if status != 0 or not waveform.any():
            raise SynthesisError(f"eSpeak NG returned no sound for text {text!r} with voice {voice!r}.")
        return waveform

    def _set_voice(self, voice: str) -> None:
        # Set for every utterance: this also silences the echo of the one before. An unknown variant is accepted by
        # the engine, which then speaks with the bare accent, so it is looked up here.
        accent, plus, variant = voice.partition("+")
        if plus and not (self._variants / variant).is_file():
            raise SynthesisError(f"voice {voice!r}: eSpeak NG has no variant {variant!r}.")
        stored_name = _VOICE_FILES.get(accent, accent) + plus + variant
        if self._library.espeak_SetVoiceByName(stored_name.encode()) != 0:
            raise SynthesisError(f"eSpeak NG has no voice {voice!r}.")


def synthesise_shard(job: dict) -> None:
    """Speak the rows of a job and write them as an Arrow stream.

    Args:
        job: "target" (path), "schema" (serialised Arrow schema, base64), "sampling_rate" (Hz) and "rows": the rows
            without their audio, each with spoken, speaker_id, rate, pitch, pitch_range and file_name.
    """
    engine = SpeechEngine()
    schema = pa.ipc.read_schema(pa.BufferReader(base64.b64decode(job["schema"])))
    with pa.OSFile(job["target"], "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for start in range(0, len(job["rows"]), _ROWS_PER_BATCH):
            rows = [
                _with_audio(row, engine, job["sampling_rate"]) for row in job["rows"][start : start + _ROWS_PER_BATCH]
            ]
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))


def _with_audio(row: dict, engine: SpeechEngine, sampling_rate: int) -> dict:
    waveform = engine.speak(
        row["spoken"], row["speaker_id"], rate=row["rate"], pitch=row["pitch"], pitch_range=row["pitch_range"]
    )
    if sampling_rate != engine.sampling_rate:
        waveform = soxr.resample(waveform, engine.sampling_rate, sampling_rate, quality="HQ")
    encoded = io.BytesIO()
    soundfile.write(encoded, waveform, sampling_rate, format="FLAC", subtype="PCM_16")
    return {
        **row,
        "audio": {"bytes": encoded.getvalue(), "path": row["file_name"]},
        "duration_seconds": len(waveform) / sampling_rate,
    }


if __name__ == "__main__":
    try:
        synthesise_shard(json.load(sys.stdin))
    except SynthesisError as error:
        sys.exit(str(error))
