"""One visitor's microphone, converted piece by piece as it arrives."""

import base64
import threading
import time

import numpy as np
import soxr
import torch

MAX_SECONDS = 120


class LiveError(ValueError):
    """Why a live conversion ends; the message is one sentence for the visitor."""


class LiveSession:
    """A stream of the model, and what its microphone and its player need.

    Args:
        stream: With `push` and `finish`.
        sampling_rate: Of the model, in Hz.
    """

    def __init__(self, stream, sampling_rate: int):
        self.stream, self.sampling_rate = stream, sampling_rate
        self.resampler, self.microphone_rate = None, None
        self.seconds_in = self.seconds_out = self.working_seconds = 0.0
        self.num_pieces = 0
        self.is_finished = False
        # The last piece may come while the microphone is being switched off.
        self.lock = threading.Lock()

    def push(self, samples: np.ndarray, rate: int) -> str:
        """Takes a piece of the microphone and returns what the player plays next.

        Args:
            samples: (samples,) or (samples, channels), 16-bit integers.
            rate: In Hz.

        Raises:
            LiveError: The session is over, or the microphone changed its rate.
        """
        with self.lock:
            start = time.perf_counter()
            if self.is_finished or not len(samples):
                return ""
            if self.resampler is None:
                self.microphone_rate = rate
                self.resampler = soxr.ResampleStream(rate, self.sampling_rate, 1, dtype="float32", quality="LQ")
            if rate != self.microphone_rate:
                raise LiveError("The microphone changed its sampling rate; stop and start again.")
            self.seconds_in += len(samples) / rate
            if self.seconds_in > MAX_SECONDS:
                raise LiveError(f"Live conversion ends after {MAX_SECONDS} s; stop and start again to go on.")
            mono = samples.reshape(len(samples), -1).mean(axis=1, dtype=np.float32) / 32768
            converted = self.stream.push(torch.from_numpy(self.resampler.resample_chunk(mono)))
            return self._sound(converted, start)

    def finish(self) -> str:
        """The rest, after the microphone was switched off; once."""
        with self.lock:
            start = time.perf_counter()
            if self.is_finished or self.resampler is None:
                return ""
            self.is_finished = True
            last = self.resampler.resample_chunk(np.zeros(0, np.float32), last=True)
            converted = [self.stream.push(torch.from_numpy(last))]
            converted += [self.stream.finish()] if self.stream.num_samples else []
            return self._sound(torch.cat(converted), start)

    @property
    def load(self) -> float:
        """Seconds of work for a second of speech."""
        return self.working_seconds / self.seconds_in if self.seconds_in else 0.0

    def _sound(self, converted: torch.Tensor, start: float) -> str:
        """A number, so that no two pieces are the same, the rate, and 16-bit samples in base64, for playback.js."""
        self.num_pieces += 1
        self.seconds_out += len(converted) / self.sampling_rate
        self.working_seconds += time.perf_counter() - start
        samples = (converted.clamp(-1, 1) * 32767).to(torch.int16).numpy().astype("<i2")
        return f"{self.num_pieces}:{self.sampling_rate}:{base64.b64encode(samples.tobytes()).decode()}"
