"""Reads and writes audio files, strictly: what is returned is the whole file, or an error says why not."""

import hashlib
import io
import os
import uuid
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr

from .audio_containers import (
    AudioContainer,
    AudioError,
    AudioTooLongError,
    EmptyAudioError,
    MissingAudioError,
    NonFiniteAudioError,
    NoSamplesError,
    SamplingRateError,
    TruncatedAudioError,
    UndecodableAudioError,
    check_container,
)

__all__ = [
    "AudioError",
    "AudioTooLongError",
    "EmptyAudioError",
    "MissingAudioError",
    "NoSamplesError",
    "NonFiniteAudioError",
    "SamplingRateError",
    "TruncatedAudioError",
    "UndecodableAudioError",
    "encode_audio",
    "read_audio",
    "resample_audio",
    "write_audio",
]

AudioSource = str | os.PathLike | bytes | BinaryIO

# A header may claim 2^36 samples: memory is taken block by block as samples really come.
_BLOCK_SAMPLES = 1 << 20
# libsndfile's Vorbis encoder overflows the stack when it is handed minutes of sound at once.
_WRITE_SAMPLES = 1 << 16
_DEFAULT_SUBTYPES = {"WAV": "PCM_16", "FLAC": "PCM_16", "OGG": "VORBIS", "MP3": "MPEG_LAYER_III"}
_SUFFIXES = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
}
_FLOAT_SUBTYPES = ("FLOAT", "DOUBLE")


def read_audio(
    source: AudioSource,
    *,
    sampling_rate: int | None = None,
    resample: bool = False,
    max_seconds: float | None = None,
) -> tuple[np.ndarray, int]:
    """Reads a WAV, FLAC, Ogg (Vorbis, Opus) or MP3 file as mono float32.

    The format is found by content, not by extension. Channels are averaged. Full scale is 1.0; float files and lossy
    codecs can exceed it, and are not clipped.

    Args:
        source: path, encoded bytes, or binary file object (read from its position to its end, not closed).
        sampling_rate: expected rate in Hz; None accepts any.
        resample: convert another rate to `sampling_rate` (soxr, high quality) instead of raising.
        max_seconds: longest duration accepted. The header is asked before anything is decoded, and no more than it
            declares is decoded. Give it for files that strangers upload: a small file can hold hours of silence.

    Returns:
        The waveform, (samples,) float32 in [-1, 1], and its sampling rate in Hz.

    Raises:
        MissingAudioError: no readable file at the path.
        EmptyAudioError: no bytes.
        TruncatedAudioError: the file ends early.
        UndecodableAudioError: not one of the formats, or damaged. `audio_containers` says what each format reveals.
        NoSamplesError: a whole file without samples.
        NonFiniteAudioError: NaN or infinite samples.
        AudioTooLongError: longer than `max_seconds`.
        SamplingRateError: another rate than `sampling_rate`, and `resample` is False.
        All are `AudioError`s, which are `ValueError`s.
    """
    if sampling_rate is not None:
        _check_sampling_rate("sampling_rate", sampling_rate)
    elif resample:
        raise ValueError("`resample` is True but `sampling_rate` is None; give the rate to resample to, in Hz")
    if max_seconds is not None and not max_seconds > 0:
        raise ValueError(f"`max_seconds` is {max_seconds}, expected a positive number of seconds or None")
    accepted_rate = None if resample else sampling_rate
    with _open_source(source) as stream:
        try:
            waveform, found_rate = _decode(stream, accepted_rate, max_seconds)
        except AudioError as error:
            raise type(error)(f"`source` {_describe(source)}: {error}") from None
    if resample:
        return resample_audio(waveform, found_rate, sampling_rate), sampling_rate
    return waveform, found_rate


def resample_audio(waveform: np.ndarray, orig_sampling_rate: int, sampling_rate: int) -> np.ndarray:
    """Resamples a waveform with soxr at high quality.

    Args:
        waveform: (samples,), floating point.
        orig_sampling_rate: its rate in Hz.
        sampling_rate: the rate wanted, in Hz.

    Returns:
        (samples * sampling_rate / orig_sampling_rate, rounded,) float32; it may overshoot the input's peak slightly.

    Raises:
        NoSamplesError: `waveform` is empty, or too short for one sample at the new rate.
        ValueError: it is not one-dimensional floating point, or a rate is not a positive integer.
    """
    waveform = _check_waveform(waveform)
    _check_sampling_rate("orig_sampling_rate", orig_sampling_rate)
    _check_sampling_rate("sampling_rate", sampling_rate)
    if orig_sampling_rate == sampling_rate:
        return waveform
    resampled = soxr.resample(waveform, orig_sampling_rate, sampling_rate, quality="HQ")
    if not len(resampled):
        raise NoSamplesError(
            f"`waveform` has {len(waveform)} samples at {orig_sampling_rate} Hz, too few for one at "
            f"{sampling_rate} Hz; give a longer clip"
        )
    return resampled


def encode_audio(waveform: np.ndarray, sampling_rate: int, format: str = "WAV", subtype: str | None = None) -> bytes:
    """Encodes a mono waveform as the bytes of an audio file.

    Args:
        waveform: (samples,), floating point, in [-1, 1] unless `subtype` is `"FLOAT"` or `"DOUBLE"`.
        sampling_rate: in Hz.
        format: `"WAV"`, `"FLAC"`, `"OGG"` or `"MP3"`.
        subtype: a soundfile subtype such as `"PCM_24"`, `"FLOAT"` or `"OPUS"`; None takes 16 bits, Vorbis or MP3.

    Returns:
        The encoded file.

    Raises:
        NoSamplesError: `waveform` is empty.
        NonFiniteAudioError: it holds NaN or infinity.
        ValueError: it exceeds [-1, 1], which every subtype but float would clip; or soundfile cannot write this
            combination of format, subtype and rate.
    """
    waveform = _check_waveform(waveform)
    _check_sampling_rate("sampling_rate", sampling_rate)
    format = format.upper()
    if format not in _DEFAULT_SUBTYPES:
        raise ValueError(f"`format` is {format!r}, expected one of {', '.join(_DEFAULT_SUBTYPES)}")
    subtype = (subtype or _DEFAULT_SUBTYPES[format]).upper()
    if not len(waveform):
        raise NoSamplesError("`waveform` has 0 samples, expected at least one; do not write empty files")
    if not np.isfinite(waveform).all():
        raise NonFiniteAudioError("`waveform` holds NaN or infinite samples; find out where they come from")
    peak = float(np.abs(waveform).max())
    if peak > 1 and subtype not in _FLOAT_SUBTYPES:
        raise ValueError(
            f"`waveform` peaks at {peak:.4g}, but {subtype} holds [-1, 1] and would clip it; scale it down, or write "
            'WAV with `subtype="FLOAT"`'
        )
    buffer = io.BytesIO()
    try:
        with soundfile.SoundFile(buffer, "w", sampling_rate, channels=1, format=format, subtype=subtype) as sound_file:
            for start in range(0, len(waveform), _WRITE_SAMPLES):
                sound_file.write(waveform[start : start + _WRITE_SAMPLES])
    except (soundfile.LibsndfileError, ValueError) as error:
        raise ValueError(
            f"cannot write `format` {format!r}, `subtype` {subtype!r} at `sampling_rate` {sampling_rate} ({error}); "
            "choose another combination (Opus takes 8, 12, 16, 24 and 48 kHz, MP3 8 to 48 kHz)"
        ) from None
    return buffer.getvalue()


def write_audio(
    target: str | os.PathLike | BinaryIO,
    waveform: np.ndarray,
    sampling_rate: int,
    *,
    format: str | None = None,
    subtype: str | None = None,
) -> None:
    """Writes a mono waveform to a file, all or nothing.

    Args:
        target: path (written beside its final place, then renamed), or binary file object.
        waveform: (samples,), floating point, in [-1, 1] unless `subtype` is `"FLOAT"` or `"DOUBLE"`.
        sampling_rate: in Hz.
        format: as in `encode_audio`; None takes it from the path's extension (.wav .flac .ogg .opus .mp3).
        subtype: as in `encode_audio`.

    Raises:
        ValueError: as in `encode_audio`; or `format` is None and the extension does not tell it.
    """
    is_path = isinstance(target, (str, os.PathLike))
    if format is None:
        suffix = Path(target).suffix.lower() if is_path else None
        if suffix not in _SUFFIXES:
            known = " ".join(_SUFFIXES)
            raise ValueError(f"`target` is {target!r}, whose extension is none of {known}; give `format`")
        format, default_subtype = _SUFFIXES[suffix]
        subtype = subtype or default_subtype
    data = encode_audio(waveform, sampling_rate, format, subtype)
    if not is_path:
        target.write(data)
        return
    path = Path(target)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _open_source(source: AudioSource) -> BinaryIO:
    """A seekable stream over the whole file, which the caller closes."""
    if isinstance(source, (str, os.PathLike)):
        try:
            return open(source, "rb")
        except FileNotFoundError:
            raise MissingAudioError(f"`source` {_describe(source)}: no such file; check the path") from None
        except OSError as error:
            raise MissingAudioError(f"`source` {_describe(source)}: {error.strerror}; give a readable file") from None
    data = source.read() if hasattr(source, "read") else source
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(f"`source` gives {type(data).__name__}, expected a path, bytes or a binary file object")
    return io.BytesIO(data)


def _describe(source: AudioSource) -> str:
    if isinstance(source, (str, os.PathLike)):
        return repr(os.fspath(source))
    if isinstance(source, (bytes, bytearray, memoryview)):
        return f"({len(source)} bytes)"
    return f"({getattr(source, 'name', type(source).__name__)})"


def _decode(stream: BinaryIO, accepted_rate: int | None, max_seconds: float | None) -> tuple[np.ndarray, int]:
    """Checks the container, the header and the decoded samples, in this order."""
    container = check_container(stream)
    if container.num_samples == 0:
        raise NoSamplesError("the file holds 0 samples, expected at least one; record or export it again")
    stream.seek(0)
    try:
        with soundfile.SoundFile(stream) as sound_file:
            rate = sound_file.samplerate
            num_samples = sound_file.frames if container.num_samples is None else container.num_samples
            if max_seconds is not None and num_samples > max_seconds * rate:
                raise AudioTooLongError(
                    f"it lasts {num_samples / rate:.2f} s by its header, at most {max_seconds:g} s are accepted; "
                    "split it, or raise `max_seconds`"
                )
            if accepted_rate not in (None, rate):
                raise SamplingRateError(
                    f"the sampling rate is {rate} Hz, `sampling_rate` expects {accepted_rate} Hz; pass "
                    "`resample=True` or use `audio_io.resample_audio`"
                )
            waveform = _decode_samples(sound_file, container, num_samples)
    except soundfile.LibsndfileError as error:
        if "lost sync" in error.error_string:
            # libFLAC says the same for a missing end and for a damaged frame header.
            raise TruncatedAudioError(
                "a FLAC frame is missing or unreadable before the declared end: the file is cut off or damaged; "
                "copy or download it again"
            ) from None
        reason = error.error_string.strip() or f"error {error.code}"
        raise UndecodableAudioError(f"the decoder says {reason!r}; the file is damaged, get it again") from None
    if len(waveform) < num_samples:
        raise TruncatedAudioError(
            f"it declares {num_samples} samples, {len(waveform)} were decoded; copy, download or convert it again"
        )
    if not len(waveform):
        raise NoSamplesError("the file holds 0 samples, expected at least one; record or export it again")
    if not np.isfinite(waveform).all():
        count = int(np.count_nonzero(~np.isfinite(waveform)))
        raise NonFiniteAudioError(f"{count} of {len(waveform)} samples are NaN or infinite; export the file again")
    return waveform, rate


def _decode_samples(sound_file: soundfile.SoundFile, container: AudioContainer, num_samples: int) -> np.ndarray:
    """Decodes block by block to mono, (samples,) float32, and compares FLAC's MD5 on the way."""
    digest = hashlib.md5(usedforsecurity=False) if container.md5 else None
    blocks, remaining = [], num_samples
    while remaining > 0:
        # FLAC comes as 32-bit integers, left-aligned, whose exact values its MD5 covers.
        dtype = "int32" if digest else "float32"
        block = sound_file.read(min(_BLOCK_SAMPLES, remaining), dtype=dtype, always_2d=True)
        if not len(block):
            break
        remaining -= len(block)
        if digest:
            digest.update(_packed_samples(block, container.bits_per_sample))
            block = block.astype(np.float32) / np.float32(2**31)
        blocks.append(block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float32))
    if digest and not remaining and digest.digest() != container.md5:
        raise UndecodableAudioError("the samples do not match the file's MD5; it is damaged, get it again")
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def _packed_samples(block: np.ndarray, bits_per_sample: int) -> bytes:
    """Left-aligned int32 samples as FLAC's MD5 sees them: little-endian, the fewest whole bytes per sample."""
    num_bytes = (bits_per_sample + 7) // 8
    right_aligned = (block >> (32 - bits_per_sample)).astype("<i4", copy=False)
    return np.ascontiguousarray(right_aligned).view(np.uint8).reshape(-1, 4)[:, :num_bytes].tobytes()


def _check_waveform(waveform: np.ndarray) -> np.ndarray:
    waveform = np.asarray(waveform)
    if waveform.ndim != 1 or not np.issubdtype(waveform.dtype, np.floating):
        raise ValueError(
            f"`waveform` has shape {waveform.shape} and type {waveform.dtype}, expected (samples,) floating point in "
            "[-1, 1]; average the channels, divide integers by their full scale"
        )
    return waveform.astype(np.float32, copy=False)


def _check_sampling_rate(name: str, sampling_rate: int) -> None:
    is_integer = isinstance(sampling_rate, (int, np.integer)) and not isinstance(sampling_rate, bool)
    if not is_integer or sampling_rate <= 0:
        raise ValueError(f"`{name}` is {sampling_rate!r}, expected a positive integer in Hz")
