"""Is an audio file whole? Checks of WAV, FLAC, Ogg and MP3 containers that the decoder does not make.

libsndfile plays what it can: it shortens a WAV data chunk to the bytes at hand, skips Ogg pages with a wrong checksum
and MP3 frames that it cannot parse, and reports nothing. A dataset read like that is silently a different dataset.
These checks read headers and checksums only and refuse what is not exactly the file that its own header declares.

What can be noticed depends on the format:

- FLAC: every changed sample (MD5 of the samples, CRC of each frame) and every missing one. Bytes after the last frame
  are not looked at.
- Ogg (Vorbis, Opus): every changed or missing byte (CRC, sequence number and end-of-stream flag of its pages).
- MP3: broken frame headers; missing frames where an Xing/Info header counts them, else only a last frame cut in two.
  The sound within a frame has no checksum (the one in a LAME tag is left stale by common gain editors, so it is not
  used), and a wiped Xing/Info header looks like none: the encoder's padding is then not removed.
- WAV: missing bytes and a header that contradicts itself. Changed samples cannot be noticed: WAV has no checksum.
"""

import struct
import zlib
from dataclasses import dataclass
from typing import BinaryIO


class AudioError(ValueError):
    """Audio that cannot be read as asked; the subclasses say why."""


class MissingAudioError(AudioError):
    """There is no readable file at the path."""


class EmptyAudioError(AudioError):
    """The file has no bytes."""


class TruncatedAudioError(AudioError):
    """The file ends before the audio that its header declares."""


class UndecodableAudioError(AudioError):
    """The file is not WAV, FLAC, Ogg or MP3, or it is damaged."""


class NoSamplesError(AudioError):
    """The file is whole but holds no sample."""


class NonFiniteAudioError(AudioError):
    """Some samples are NaN or infinite."""


class AudioTooLongError(AudioError):
    """The audio is longer than the caller allows."""


class SamplingRateError(AudioError):
    """The audio has another sampling rate than the caller expects."""


@dataclass(frozen=True)
class AudioContainer:
    """What a whole container declares about its audio.

    Args:
        format: `"WAV"`, `"FLAC"`, `"OGG"` or `"MP3"`.
        num_samples: samples per channel; None where only the decoder can tell.
        md5: MD5 of the decoded samples (FLAC only); None where it is not set.
        bits_per_sample: width of the integer samples under that MD5.
    """

    format: str
    num_samples: int | None = None
    md5: bytes | None = None
    bits_per_sample: int | None = None


def check_container(stream: BinaryIO) -> AudioContainer:
    """Checks that an encoded file is whole, without decoding it.

    Args:
        stream: a seekable binary stream over the whole file. WAV and FLAC are walked by their headers; Ogg and MP3
            files are read into memory.

    Returns:
        What the container declares.

    Raises:
        EmptyAudioError: it has no bytes.
        TruncatedAudioError: it ends early.
        UndecodableAudioError: it is of another format, damaged, or contradicts itself.
    """
    num_bytes = stream.seek(0, 2)
    stream.seek(0)
    magic = stream.read(12)
    stream.seek(0)
    if not magic:
        raise EmptyAudioError("the file has 0 bytes, expected encoded audio; create or download it again")
    if magic[:4] in (b"RIFF", b"RF64"):
        return _check_wav(stream, num_bytes)
    if magic[:4] == b"fLaC":
        return _check_flac(stream)
    if magic[:4] == b"OggS":
        return _check_ogg(stream.read())
    if magic[:3] == b"ID3" or (magic[0] == 0xFF and len(magic) > 1 and magic[1] & 0xE0 == 0xE0):
        return _check_mp3(stream.read())
    raise UndecodableAudioError(
        f"the content begins with {magic!r}, expected WAV, FLAC, Ogg or MP3 (whatever the file is called); convert it"
    )


# ---------------------------------------------------------------- WAV

# Format tag -> sample widths in bits. Other tags (ADPCM, GSM, MP3 in WAV) have no fixed bytes per sample to check.
_WAV_SAMPLE_BITS = {1: (8, 16, 24, 32), 3: (32, 64), 6: (8,), 7: (8,)}
_WAV_EXTENSIBLE = 0xFFFE
# Writers that cannot seek back (`ffmpeg -f wav -`) leave this size: the data then lasts until the end of the file.
_WAV_UNKNOWN_SIZE = 0xFFFFFFFF


def _check_wav(stream: BinaryIO, num_bytes: int) -> AudioContainer:
    """Walks the RIFF chunks. RF64 keeps its 64-bit sizes in a `ds64` chunk.

    A data size of 0xFFFFFFFF without `ds64` is a stream that was never closed: all bytes up to the end of the file
    are audio, and a cut can be noticed only inside a sample.
    """
    riff_size, wave = struct.unpack("<4xI4s", stream.read(12).ljust(12, b"\0"))
    if wave != b"WAVE":
        raise UndecodableAudioError(f"a RIFF file of type {wave!r}, expected b'WAVE'; convert it to WAV")
    bytes_per_frame = data_bytes = wide_data_bytes = None
    while header := stream.read(8):
        start = stream.tell()
        if data_bytes is not None and start - len(header) >= riff_size + 8:
            _refuse_trailing_bytes(header + stream.read())
            break
        if len(header) < 8:
            raise TruncatedAudioError(f"it ends inside the chunk header at byte {start - len(header)}; copy it again")
        chunk, size = struct.unpack("<4sI", header)
        if (chunk == b"fmt " and bytes_per_frame) or (chunk == b"data" and data_bytes is not None):
            raise UndecodableAudioError(f"a second {chunk!r} chunk at byte {start - 8}, expected one; {_DAMAGED}")
        if chunk == b"ds64":
            riff_size, wide_data_bytes = struct.unpack("<QQ", stream.read(16).ljust(16, b"\0"))
        elif chunk == b"fmt ":
            bytes_per_frame = _wav_bytes_per_frame(stream.read(size))
        elif chunk == b"data":
            data_bytes = size = _wav_data_bytes(size, num_bytes - start, wide_data_bytes)
        elif not (chunk.isascii() and chunk.decode("ascii").isprintable()) or start + size > num_bytes:
            raise UndecodableAudioError(f"at byte {start - 8} expected a RIFF chunk, got {header!r}; {_DAMAGED}")
        stream.seek(start + size + size % 2)  # chunks start at even bytes
    if bytes_per_frame is None or data_bytes is None:
        raise UndecodableAudioError(f"a WAV file needs a `fmt ` and a `data` chunk, one is absent; {_DAMAGED}")
    if data_bytes % bytes_per_frame:
        raise TruncatedAudioError(
            f"its {data_bytes} bytes of audio are no multiple of the {bytes_per_frame} bytes per sample; copy it again"
        )
    return AudioContainer("WAV", data_bytes // bytes_per_frame)


def _wav_bytes_per_frame(fmt: bytes) -> int:
    """Bytes of one sample of all channels, from a `fmt ` chunk whose redundant fields agree."""
    if len(fmt) < 16:
        raise UndecodableAudioError(f"the `fmt ` chunk has {len(fmt)} bytes, expected 16 or more; {_DAMAGED}")
    tag, channels, rate, bytes_per_second, bytes_per_frame, bits = struct.unpack("<HHIIHH", fmt[:16])
    if tag == _WAV_EXTENSIBLE:
        tag = int.from_bytes(fmt[24:26], "little")
    if tag not in _WAV_SAMPLE_BITS:
        raise UndecodableAudioError(f"WAV format tag {tag}, expected PCM, float, A-law or mu-law; convert it to PCM")
    if bits not in _WAV_SAMPLE_BITS[tag] or bytes_per_frame != channels * bits // 8 or not channels:
        raise UndecodableAudioError(
            f"the `fmt ` chunk contradicts itself: {channels} channels of {bits} bits (format tag {tag}) in "
            f"{bytes_per_frame} bytes per sample; {_DAMAGED}"
        )
    if bytes_per_second != rate * bytes_per_frame or not rate:
        raise UndecodableAudioError(
            f"the `fmt ` chunk contradicts itself: {rate} Hz of {bytes_per_frame} bytes, but {bytes_per_second} bytes "
            f"per second; {_DAMAGED}"
        )
    return bytes_per_frame


def _wav_data_bytes(declared: int, available: int, wide: int | None) -> int:
    """The true size of the data chunk, refusing one that the file does not hold."""
    if declared == _WAV_UNKNOWN_SIZE:
        if wide is None:
            return available
        declared = wide
    if declared > available:
        raise TruncatedAudioError(
            f"the data chunk declares {declared} bytes but {available} follow; copy or download the file again"
        )
    if declared == 0 and available > 1:
        raise TruncatedAudioError(
            f"the data chunk declares 0 bytes but {available} follow: the recorder was stopped before it closed the "
            "file; rewrite the file, e.g. with `sox --ignore-length`"
        )
    return declared


# ---------------------------------------------------------------- FLAC

_FLAC_RATE_CODES = (None, 88200, 176400, 192000, 8000, 16000, 22050, 24000, 32000, 44100, 48000, 96000)


def _check_flac(stream: BinaryIO) -> AudioContainer:
    """Reads STREAMINFO and walks the metadata blocks to the first frame, whose rate must agree."""
    stream.seek(4)
    info = None
    is_last = False
    while not is_last:
        header = stream.read(4)
        block = stream.read(int.from_bytes(header[1:], "big"))
        if len(header) < 4 or len(block) < int.from_bytes(header[1:], "big"):
            raise TruncatedAudioError("it ends inside its metadata; copy or download the file again")
        is_last = bool(header[0] & 0x80)
        if info is None:
            if header[0] & 0x7F or len(block) != 34:
                raise UndecodableAudioError(f"a FLAC file begins with a STREAMINFO block, it has none; {_DAMAGED}")
            info = block
    packed = int.from_bytes(info[10:18], "big")  # 20 bits rate, 3 channels - 1, 5 bits - 1, 36 samples
    rate, bits, num_samples = packed >> 44, (packed >> 36 & 0x1F) + 1, packed & (1 << 36) - 1
    frame = stream.read(4)
    if len(frame) == 4 and frame[:2] not in (b"\xff\xf8", b"\xff\xf9"):
        raise UndecodableAudioError(f"expected a FLAC frame after the metadata, got {frame!r}; {_DAMAGED}")
    rate_code = frame[2] & 0x0F if len(frame) == 4 else 0
    if 0 < rate_code < len(_FLAC_RATE_CODES) and _FLAC_RATE_CODES[rate_code] != rate:
        raise UndecodableAudioError(
            f"STREAMINFO says {rate} Hz, the first frame {_FLAC_RATE_CODES[rate_code]} Hz; {_DAMAGED}"
        )
    if num_samples == 0 and frame:
        raise UndecodableAudioError(
            "STREAMINFO leaves the number of samples open (a stream written to a pipe), so that nobody can tell "
            "whether the file is whole; rewrite it, e.g. with `ffmpeg -i in.flac out.flac`"
        )
    if num_samples and not frame:
        raise TruncatedAudioError(f"it declares {num_samples} samples but ends after its metadata; copy it again")
    return AudioContainer("FLAC", num_samples, md5=info[18:] if any(info[18:]) else None, bits_per_sample=bits)


# ---------------------------------------------------------------- Ogg

_REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_OGG_FIRST_PAGE, _OGG_LAST_PAGE = 0x02, 0x04


def _ogg_checksum(page: bytes) -> int:
    """CRC-32 of a page as Ogg defines it: the polynomial of zlib, but bits in reverse order and no inversion."""
    reflected = zlib.crc32(page.translate(_REVERSED_BITS), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{reflected:032b}"[::-1], 2)


def _check_ogg(data: bytes) -> AudioContainer:
    """Walks the pages: each follows the one before, in order, with its checksum, up to the end-of-stream page.

    Source: RFC 3533, section 6. One Vorbis or Opus stream is accepted; chained and multiplexed files are refused,
    because libsndfile would read only the first part.
    """
    if not (b"\x01vorbis" in data[:64] or b"OpusHead" in data[:64]):
        raise UndecodableAudioError("an Ogg file with neither Vorbis nor Opus first; convert it to one of them")
    position, number, serial, flags = 0, 0, data[14:18], 0
    while position < len(data) and not flags & _OGG_LAST_PAGE:
        header = data[position : position + 27]
        if header[:4] != b"OggS"[: len(header)]:
            raise UndecodableAudioError(f"expected an Ogg page at byte {position}, got {header[:4]!r}; {_DAMAGED}")
        segments = data[position + 27 : position + 27 + header[-1]]
        end = position + 27 + len(segments) + sum(segments)
        if len(header) < 27 or len(segments) < header[-1] or end > len(data):
            raise TruncatedAudioError(f"it ends inside the Ogg page at byte {position}; copy or download it again")
        page = data[position:end]
        if _ogg_checksum(page[:22] + bytes(4) + page[26:]) != int.from_bytes(page[22:26], "little"):
            raise UndecodableAudioError(f"the Ogg page at byte {position} does not match its checksum; {_DAMAGED}")
        flags = page[5]
        if page[14:18] != serial or bool(flags & _OGG_FIRST_PAGE) != (number == 0):
            raise UndecodableAudioError(f"a second Ogg stream begins at byte {position}, expected one; split the file")
        if int.from_bytes(page[18:22], "little") != number:
            raise UndecodableAudioError(f"expected Ogg page {number} at byte {position}, got another; {_DAMAGED}")
        position, number = end, number + 1
    if not flags & _OGG_LAST_PAGE:
        raise TruncatedAudioError("it has no end-of-stream page: the end is missing; copy or download it again")
    _refuse_trailing_bytes(data[position:])
    return AudioContainer("OGG")


# ---------------------------------------------------------------- MP3

_MP3_KBITS_V1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MP3_KBITS_V2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_MP3_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_MP3_HEADER_CHECK = 0xFFFE0C00  # sync, version, layer, sampling rate: the same in every frame of a file
_MP3_MONO = 3


def _check_mp3(data: bytes) -> AudioContainer:
    """Walks the frames: each follows the one before with the same version, layer and rate; the last one is whole.

    Without an Xing/Info header libsndfile guesses the length from the first frame's bitrate, so a file of varying
    bitrate is read only where that guess is not too short; the frames counted here tell.

    Source: ISO/IEC 11172-3 and 13818-3 for the frame header; the Xing/Info header counts the frames after it.
    """
    first = position = _mp3_audio_start(data)
    num_frames = 0
    reference = int.from_bytes(data[first : first + 4], "big")
    while position < len(data):
        header = int.from_bytes(data[position : position + 4], "big")
        size = _mp3_frame_bytes(header)
        same_channels = (header >> 6 & 3 == _MP3_MONO) == (reference >> 6 & 3 == _MP3_MONO)
        if size is None or (header ^ reference) & _MP3_HEADER_CHECK or not same_channels:
            break
        if position + size > len(data):
            raise TruncatedAudioError(
                f"the last MP3 frame has {len(data) - position} of {size} bytes; copy or download the file again"
            )
        position += size
        num_frames += 1
    if num_frames == 0:
        raise UndecodableAudioError(f"no MPEG layer III frame at byte {first}, expected MP3; convert it")
    _refuse_trailing_bytes(_without_mp3_tags(data[position:]))
    declared = _mp3_declared_frames(data[first : first + _mp3_frame_bytes(reference)])
    # Encoders disagree whether the header frame counts itself.
    if declared is not None and num_frames not in (declared, declared + 1):
        error = TruncatedAudioError if num_frames < declared else UndecodableAudioError
        raise error(f"the Xing/Info header declares {declared} MP3 frames, got {num_frames - 1}; {_DAMAGED}")
    if declared is not None:  # the decoder removes the encoder's padding, which the extended header tells
        return AudioContainer("MP3")
    return AudioContainer("MP3", num_frames * (1152 if reference >> 19 & 3 == 3 else 576))


def _mp3_audio_start(data: bytes) -> int:
    """First byte after an ID3v2 tag (its size: four bytes of 7 bits) and the zeros that some taggers leave."""
    if data[:3] != b"ID3":
        return 0
    if len(data) < 10 or max(data[6:10]) > 0x7F:
        raise UndecodableAudioError(f"the ID3 tag has no valid size; {_DAMAGED}")
    size = data[6] << 21 | data[7] << 14 | data[8] << 7 | data[9]
    start = 10 + size + (10 if data[5] & 0x10 else 0)
    if start >= len(data):
        raise TruncatedAudioError(f"it ends inside its ID3 tag of {size} bytes; copy or download the file again")
    while start < len(data) and data[start] == 0:
        start += 1
    return start


def _mp3_frame_bytes(header: int) -> int | None:
    """Length of an MPEG layer III frame from its 4-byte header; None where it is no such header."""
    version, layer = header >> 19 & 3, header >> 17 & 3
    kbits_index, rate_index, padding = header >> 12 & 15, header >> 10 & 3, header >> 9 & 1
    if header >> 21 != 0x7FF or version == 1 or layer != 1 or kbits_index in (0, 15) or rate_index == 3:
        return None
    kbits = (_MP3_KBITS_V1 if version == 3 else _MP3_KBITS_V2)[kbits_index]
    return (144 if version == 3 else 72) * kbits * 1000 // _MP3_RATES[version][rate_index] + padding


def _mp3_declared_frames(frame: bytes) -> int | None:
    """Number of frames that an Xing/Info header declares, after a check of the header where it carries a CRC."""
    version, mono = frame[1] >> 3 & 3, frame[3] >> 6 == _MP3_MONO
    side_info_bytes = (17 if mono else 32) if version == 3 else (9 if mono else 17)
    tag = 4 + side_info_bytes
    is_named = frame[tag : tag + 4] in (b"Xing", b"Info")
    # LAME and FFmpeg extend the header to 156 bytes. The decoder takes the delay and padding of any extension, which
    # set the length of the audio, so its CRC must hold. Over empty side information the encoder's name cannot be
    # sound: it tells such a header even where "Xing" itself is damaged.
    is_signed = frame[tag + 120 : tag + 124] in (b"LAME", b"Lavf", b"Lavc") and not any(frame[4:tag])
    is_extended = is_signed or (is_named and any(frame[tag + 120 : tag + 154]))
    checksum = int.from_bytes(frame[tag + 154 : tag + 156], "big") if is_extended else 0
    if checksum and checksum != _crc16(frame[: tag + 154]):
        raise UndecodableAudioError(f"the Xing/Info header does not match its checksum; {_DAMAGED}")
    if not is_named or not frame[tag + 7] & 1:
        return None
    return int.from_bytes(frame[tag + 8 : tag + 12], "big")


def _crc16(data: bytes) -> int:
    """CRC-16 with the reflected polynomial 0x8005, as LAME computes it over its header."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc


def _without_mp3_tags(tail: bytes) -> bytes:
    """Strips the text tags that may follow the last frame: ID3v1 (128 bytes at the end), then APEv2 or Lyrics3."""
    if tail[-128:-125] == b"TAG":
        tail = tail[:-128]
    is_text_tag = tail[:8] == b"APETAGEX" or tail[:11] == b"LYRICSBEGIN"
    return b"" if is_text_tag else tail


# ---------------------------------------------------------------- shared

_DAMAGED = "the file is damaged, copy or download it again"


def _refuse_trailing_bytes(tail: bytes) -> None:
    """Zeros after the end are padding; anything else may be a second file joined to this one, and would be lost."""
    if tail.strip(b"\0"):
        raise UndecodableAudioError(f"{len(tail)} bytes follow the end of the audio, expected none; {_DAMAGED}")
