"""One visitor's microphone, written down piece by piece as it arrives."""

import threading
import time

import numpy as np
import soxr
from recogniser import Recogniser
from recordings import MAX_SECONDS, RecordingError, read_piece

LIVE_READY = "Record, and the text appears while you speak."


class LiveSession:
    """A stream of the recogniser, and what its microphone needs.

    Args:
        stream: With `push` and `finish`.
        sampling_rate: Of the model, in Hz.
    """

    def __init__(self, stream, sampling_rate: int):
        self.stream, self.sampling_rate = stream, sampling_rate
        self.resampler, self.microphone_rate = None, None
        self.text = ""
        self.seconds = self.working_seconds = 0.0
        self.is_finished = False
        # The last piece may come while the microphone is being switched off.
        self.lock = threading.Lock()

    def push(self, samples: np.ndarray, rate: int) -> str:
        """Takes a piece of the microphone and returns the text so far.

        Args:
            samples: (samples, channels), 16-bit integers.
            rate: In Hz.

        Raises:
            RecordingError: The session has lasted too long, or the microphone changed its rate.
        """
        with self.lock:
            if self.is_finished or not len(samples):
                return self.text
            if self.resampler is None:
                self.microphone_rate = rate
                self.resampler = soxr.ResampleStream(rate, self.sampling_rate, 1, dtype="float32", quality="HQ")
            if rate != self.microphone_rate:
                raise RecordingError("The microphone changed its sampling rate; stop and start again.")
            if self.seconds + len(samples) / rate > MAX_SECONDS:
                raise RecordingError(f"Live text ends after {MAX_SECONDS} s; stop and start again to go on.")
            self.seconds += len(samples) / rate
            mono = samples.mean(axis=1, dtype=np.float32) / 32768
            return self._work(lambda: self.stream.push(self.resampler.resample_chunk(mono)))

    def finish(self) -> str:
        """Returns the whole text, after the microphone was switched off."""
        with self.lock:
            if self.is_finished or self.resampler is None:
                return self.text
            self.is_finished = True
            self.stream.push(self.resampler.resample_chunk(np.zeros(0, np.float32), last=True))
            return self._work(self.stream.finish)

    @property
    def summary(self) -> str:
        """What was heard, and what it cost."""
        load = self.working_seconds / self.seconds if self.seconds else 0.0
        return f"{self.seconds:.1f} s heard, {load:.3f} s of work for each second."

    def _work(self, hear) -> str:
        start = time.perf_counter()
        self.text = hear()["text"]
        self.working_seconds += time.perf_counter() - start
        return self.text


def hear_piece(recogniser: Recogniser, path: str | None, session: LiveSession | str | None) -> tuple:
    """Text, session and status after a piece of the microphone.

    Args:
        recogniser: That can stream.
        path: Of the piece, a WAV file.
        session: None before the first piece; a text, the reason, once it ended.

    Returns:
        Text (None: as it was), session and status.
    """
    if path is None or isinstance(session, str):
        return None, session, session or LIVE_READY
    try:
        session = session or LiveSession(recogniser.open_stream(), recogniser.sampling_rate)
        text = session.push(*read_piece(path))
    except ValueError as error:  # RecordingError is one; the model's stream raises others
        reason = f"⚠️ {error}"
        return None, reason, reason
    return text, session, session.summary


def end_live(session: LiveSession | str | None) -> tuple:
    """The same after the microphone was switched off."""
    if not isinstance(session, LiveSession):
        return None, session or LIVE_READY, session or LIVE_READY
    text = session.finish()
    # A text in place of the session: a piece that is still on its way begins no new one.
    return text, session.summary, session.summary
