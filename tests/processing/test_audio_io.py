"""audio_io: round trips, one test per error class, and a seeded mutator that damages files of every format."""

import collections
import hashlib
import io
import json
import re
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from antiphon.processing.audio_io import (
    AudioError,
    AudioTooLongError,
    EmptyAudioError,
    MissingAudioError,
    NonFiniteAudioError,
    NoSamplesError,
    SamplingRateError,
    TruncatedAudioError,
    UndecodableAudioError,
    encode_audio,
    read_audio,
    resample_audio,
    write_audio,
)

SAMPLING_RATE = 16000
# name: (format, subtype, extension, whether a checksum covers the sound)
FORMATS = {
    "wav16": ("WAV", "PCM_16", ".wav", False),
    "wav24": ("WAV", "PCM_24", ".wav", False),
    "wav_float": ("WAV", "FLOAT", ".wav", False),
    "flac": ("FLAC", "PCM_16", ".flac", True),
    "vorbis": ("OGG", "VORBIS", ".ogg", True),
    "opus": ("OGG", "OPUS", ".opus", True),
    "mp3": ("MP3", "MPEG_LAYER_III", ".mp3", False),
}


def make_waveform(seconds=0.5, sampling_rate=SAMPLING_RATE, seed=0):
    time = np.arange(int(seconds * sampling_rate)) / sampling_rate
    noise = np.random.default_rng(seed).standard_normal(len(time))
    return (0.3 * np.sin(2 * np.pi * 220 * time) + 0.05 * noise).astype(np.float32)


def encode(name, waveform=None):
    format, subtype, _, _ = FORMATS[name]
    return encode_audio(make_waveform() if waveform is None else waveform, SAMPLING_RATE, format, subtype)


# ---------------------------------------------------------------- reading and writing


@pytest.mark.parametrize("name", FORMATS)
def test_path_bytes_and_file_object_give_the_same_samples(name, tmp_path):
    encoded = encode(name)
    path = tmp_path / ("clip" + FORMATS[name][2])
    path.write_bytes(encoded)
    waveform, sampling_rate = read_audio(path)
    assert sampling_rate == SAMPLING_RATE
    assert waveform.dtype == np.float32
    assert waveform.shape == make_waveform().shape
    for source in (str(path), encoded, io.BytesIO(encoded)):
        np.testing.assert_array_equal(read_audio(source)[0], waveform)
    with path.open("rb") as stream:
        np.testing.assert_array_equal(read_audio(stream)[0], waveform)
        assert not stream.closed


@pytest.mark.parametrize(("name", "step"), [("wav16", 2**-15), ("wav24", 2**-23), ("wav_float", 0), ("flac", 2**-15)])
def test_lossless_formats_return_what_was_written(name, step):
    # libsndfile multiplies by 2^15 - 1 and divides by 2^15, so the error may reach two steps.
    np.testing.assert_allclose(read_audio(encode(name))[0], make_waveform(), atol=2 * step, rtol=0)


@pytest.mark.parametrize("name", ["vorbis", "opus", "mp3"])
def test_lossy_formats_keep_a_sine(name):
    sine = 0.5 * np.sin(2 * np.pi * 440 * np.arange(SAMPLING_RATE) / SAMPLING_RATE).astype(np.float32)
    decoded = read_audio(encode(name, sine))[0]
    assert np.corrcoef(decoded[1000:-1000], sine[1000:-1000])[0, 1] > 0.99


@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24"])
def test_flac_md5_agrees_with_the_encoder_at_every_width(subtype):
    stereo = np.stack([make_waveform(), make_waveform(seed=1)], axis=1)
    buffer = io.BytesIO()
    soundfile.write(buffer, stereo, SAMPLING_RATE, format="FLAC", subtype=subtype)
    assert any(buffer.getvalue()[26:42])
    np.testing.assert_allclose(read_audio(buffer.getvalue())[0], stereo.mean(axis=1), atol=2**-6)


def test_channels_are_averaged():
    buffer = io.BytesIO()
    left, right = make_waveform(), make_waveform(seed=1)
    soundfile.write(buffer, np.stack([left, right], axis=1), SAMPLING_RATE, format="WAV", subtype="FLOAT")
    np.testing.assert_allclose(read_audio(buffer.getvalue())[0], (left + right) / 2, atol=1e-7)


def test_a_clip_longer_than_one_block_is_read_whole():
    waveform = make_waveform(seconds=70)
    for name in ("wav_float", "flac"):
        decoded = read_audio(encode(name, waveform))[0]
        np.testing.assert_allclose(decoded, waveform, atol=2**-14)


def test_resampling_only_when_asked():
    encoded = encode("wav_float", make_waveform(1.0))
    waveform, sampling_rate = read_audio(encoded, sampling_rate=8000, resample=True)
    assert (len(waveform), sampling_rate, waveform.dtype) == (8000, 8000, np.float32)
    assert read_audio(encoded, sampling_rate=SAMPLING_RATE)[1] == SAMPLING_RATE
    np.testing.assert_array_equal(waveform, resample_audio(make_waveform(1.0), SAMPLING_RATE, 8000))


def test_resampling_keeps_a_tone_and_removes_what_would_alias():
    time = np.arange(SAMPLING_RATE) / SAMPLING_RATE
    low, high = (0.5 * np.sin(2 * np.pi * hertz * time).astype(np.float32) for hertz in (440, 6000))
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)
    np.testing.assert_allclose(resample_audio(low, SAMPLING_RATE, 8000)[200:-200], expected[200:-200], atol=1e-3)
    assert np.abs(resample_audio(high, SAMPLING_RATE, 8000)[200:-200]).max() < 1e-4


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".opus", ".mp3"])
def test_write_takes_the_format_from_the_extension(suffix, tmp_path):
    path = tmp_path / f"clip{suffix}"
    write_audio(path, make_waveform(), SAMPLING_RATE)
    subtype = {".wav": "PCM_16", ".flac": "PCM_16", ".ogg": "VORBIS", ".opus": "OPUS", ".mp3": "MPEG_LAYER_III"}
    assert soundfile.info(path).subtype == subtype[suffix]
    assert len(read_audio(path)[0]) == len(make_waveform())
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_minutes_of_vorbis_do_not_crash_the_encoder(tmp_path):
    code = (
        "import sys, numpy; from antiphon.processing.audio_io import write_audio; "
        "write_audio(sys.argv[1], numpy.zeros(350 * 8000, numpy.float32), 8000)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "long.ogg")], check=True, timeout=120)
    assert len(read_audio(tmp_path / "long.ogg")[0]) == 350 * 8000


def test_write_to_a_file_object():
    buffer = io.BytesIO()
    write_audio(buffer, make_waveform(), SAMPLING_RATE, format="flac")
    assert buffer.getvalue() == encode("flac")


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path, monkeypatch):
    path = tmp_path / "clip.wav"
    write_audio(path, make_waveform(), SAMPLING_RATE)
    before = path.read_bytes()

    def disk_is_full(self, data):
        with self.open("wb") as stream:
            stream.write(data[:100])
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_bytes", disk_is_full)
    with pytest.raises(OSError, match="No space left"):
        write_audio(path, make_waveform(1.0), SAMPLING_RATE)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["clip.wav"]


def test_values_beyond_full_scale_are_refused_but_float_keeps_them():
    loud = make_waveform() * 4
    for name in ("wav16", "wav24", "flac", "vorbis", "opus", "mp3"):
        with pytest.raises(ValueError, match=r"`waveform` peaks at .*\[-1, 1\] and would clip it; scale it down"):
            encode(name, loud)
    np.testing.assert_array_equal(read_audio(encode("wav_float", loud))[0], loud)
    encode("wav16", np.array([-1.0, 1.0], np.float32))


def test_what_cannot_be_written_is_refused(tmp_path):
    waveform = make_waveform()
    with pytest.raises(NonFiniteAudioError, match="`waveform` holds NaN or infinite"):
        encode_audio(np.array([0, np.nan], np.float32), SAMPLING_RATE)
    with pytest.raises(NoSamplesError, match="`waveform` has 0 samples"):
        encode_audio(np.zeros(0, np.float32), SAMPLING_RATE)
    with pytest.raises(ValueError, match=r"`waveform` has shape \(2, 3\)"):
        encode_audio(np.zeros((2, 3), np.float32), SAMPLING_RATE)
    with pytest.raises(ValueError, match=r"type int16, expected .* floating point"):
        encode_audio(np.zeros(3, np.int16), SAMPLING_RATE)
    with pytest.raises(ValueError, match="`sampling_rate` is 0"):
        encode_audio(waveform, 0)
    with pytest.raises(ValueError, match="`format` is 'AAC', expected one of WAV"):
        encode_audio(waveform, SAMPLING_RATE, "AAC")
    with pytest.raises(ValueError, match="cannot write `format` 'OGG', `subtype` 'OPUS' at `sampling_rate` 22050"):
        encode_audio(waveform, 22050, "OGG", "OPUS")
    with pytest.raises(ValueError, match=r"extension is none of \.wav"):
        write_audio(tmp_path / "clip.xyz", waveform, SAMPLING_RATE)
    with pytest.raises(ValueError, match="give `format`"):
        write_audio(io.BytesIO(), waveform, SAMPLING_RATE)
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- one test per error class


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(MissingAudioError, match=r"`source` '.*none.wav': no such file; check the path"):
        read_audio(tmp_path / "none.wav")
    with pytest.raises(MissingAudioError, match="Is a directory"):
        read_audio(tmp_path)


def test_empty_file(tmp_path):
    path = tmp_path / "empty.wav"
    path.touch()
    for source in (path, b"", io.BytesIO()):
        with pytest.raises(EmptyAudioError, match="the file has 0 bytes"):
            read_audio(source)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
def test_truncated_file(name, share):
    encoded = encode(name)
    with pytest.raises(TruncatedAudioError, match=r"`source` \(\d+ bytes\): .*cop(y|ied)"):
        read_audio(encoded[: int(share * len(encoded))])


@pytest.mark.parametrize(
    "content", [b"hello, I am a text file, not a recording", b"\x89PNG\r\n\x1a\n" + bytes(99), b"x"]
)
def test_non_audio_file(content):
    with pytest.raises(UndecodableAudioError, match="expected WAV, FLAC, Ogg or MP3"):
        read_audio(content)


def test_other_containers_and_codecs_are_refused_by_name():
    buffer = io.BytesIO()
    soundfile.write(buffer, make_waveform(), SAMPLING_RATE, format="WAV", subtype="IMA_ADPCM")
    with pytest.raises(UndecodableAudioError, match="WAV format tag 17, expected PCM"):
        read_audio(buffer.getvalue())
    buffer = io.BytesIO()
    soundfile.write(buffer, make_waveform(), SAMPLING_RATE, format="AIFF")
    with pytest.raises(UndecodableAudioError, match="begins with b'FORM"):
        read_audio(buffer.getvalue())


def test_zero_samples():
    flac = encode("flac")
    flac_header = bytearray(set_flac_total(flac[: flac.find(b"\xff\xf8")], 0))
    flac_header[26:42] = bytes(16)
    for encoded in (wav_with(0), bytes(flac_header)):
        with pytest.raises(NoSamplesError, match="the file holds 0 samples"):
            read_audio(encoded)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_samples(value):
    waveform = make_waveform()
    waveform[100:103] = value
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform, SAMPLING_RATE, format="WAV", subtype="FLOAT")
    with pytest.raises(NonFiniteAudioError, match="3 of 8000 samples are NaN or infinite"):
        read_audio(buffer.getvalue())


@pytest.mark.parametrize("name", FORMATS)
def test_length_limit_comes_from_the_header(name, monkeypatch):
    encoded = encode(name)
    read_audio(encoded, max_seconds=0.5)
    monkeypatch.setattr(
        soundfile.SoundFile, "read", lambda *_, **__: pytest.fail("decoded before the limit was checked")
    )
    with pytest.raises(AudioTooLongError, match=r"lasts 0.50 s by its header, at most 0.49 s .* raise `max_seconds`"):
        read_audio(encoded, max_seconds=0.49)


def test_wrong_rate():
    with pytest.raises(SamplingRateError, match=r"is 16000 Hz, `sampling_rate` expects 8000 Hz; pass `resample=True`"):
        read_audio(encode("flac"), sampling_rate=8000)


def test_every_error_is_an_audio_error_and_a_value_error():
    for error in AudioError.__subclasses__():
        assert issubclass(error, ValueError)
    assert len(AudioError.__subclasses__()) == 8


def test_bad_arguments():
    encoded = encode("wav16")
    with pytest.raises(ValueError, match="`resample` is True but `sampling_rate` is None"):
        read_audio(encoded, resample=True)
    with pytest.raises(ValueError, match=r"`sampling_rate` is 16000\.0, expected a positive integer"):
        read_audio(encoded, sampling_rate=16000.0)
    with pytest.raises(ValueError, match="`max_seconds` is 0"):
        read_audio(encoded, max_seconds=0)
    with pytest.raises(TypeError, match="`source` gives list, expected a path"):
        read_audio([1, 2])
    with pytest.raises(TypeError, match="`source` gives str"):
        read_audio(io.StringIO("text"))
    with pytest.raises(NoSamplesError, match="too few for one at 8000 Hz"):
        resample_audio(np.ones(1, np.float32), 48000, 8000)


# ---------------------------------------------------------------- headers that lie


def wav_with(data_bytes, *, payload=b"", riff=b"RIFF", before=b"", after=b""):
    """A 16-bit mono WAV file whose data chunk declares `data_bytes` and holds `payload`."""
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, SAMPLING_RATE, 2 * SAMPLING_RATE, 2, 16)
    body = b"WAVE" + before + fmt + struct.pack("<4sI", b"data", data_bytes) + payload + after
    return struct.pack("<4sI", riff, len(body) if riff == b"RIFF" else 0xFFFFFFFF) + body


def test_wav_sizes_of_streams_and_rf64():
    payload = (make_waveform() * 32767).astype("<i2").tobytes()
    streamed = wav_with(0xFFFFFFFF, payload=payload)
    assert len(read_audio(streamed)[0]) == 8000
    with pytest.raises(TruncatedAudioError, match="no multiple of the 2 bytes"):
        read_audio(streamed[:-1])
    wide_sizes = struct.pack("<4sIQQQI", b"ds64", 28, 80 + len(payload) - 8, len(payload), 8000, 0)
    rf64 = wav_with(0xFFFFFFFF, payload=payload, riff=b"RF64", before=wide_sizes)
    assert len(read_audio(rf64)[0]) == 8000
    with pytest.raises(TruncatedAudioError, match="declares 16000 bytes but 15000 follow"):
        read_audio(rf64[:-1000])
    with pytest.raises(TruncatedAudioError, match="declares 0 bytes but 16000 follow: the recorder was stopped"):
        read_audio(wav_with(0, payload=payload))


def test_wav_text_chunks_are_fine_but_samples_left_over_are_not():
    payload = bytes(range(1, 201))
    listing = b"LIST" + struct.pack("<I", 4) + b"INFO"
    assert len(read_audio(wav_with(200, payload=payload, before=listing, after=listing))[0]) == 100
    with pytest.raises(UndecodableAudioError, match="expected a RIFF chunk"):
        read_audio(wav_with(100, payload=payload))
    second = struct.pack("<4sI", b"data", 200) + payload
    with pytest.raises(UndecodableAudioError, match="a second b'data' chunk at byte 244"):
        read_audio(wav_with(200, payload=payload, after=second))
    with pytest.raises(UndecodableAudioError, match="200 bytes follow the end"):
        read_audio(wav_with(200, payload=payload) + payload)


@pytest.mark.parametrize(
    ("offset", "value", "message"), [(22, 3, "3 channels of 16 bits"), (24, 1, "bytes per second")]
)
def test_wav_format_that_contradicts_itself(offset, value, message):
    encoded = bytearray(encode("wav16"))
    encoded[offset] = value
    with pytest.raises(UndecodableAudioError, match=message):
        read_audio(bytes(encoded))


def set_flac_total(encoded, total):
    """Rewrites the 36-bit number of samples in STREAMINFO."""
    changed = bytearray(encoded)
    packed = int.from_bytes(changed[18:26], "big")
    changed[18:26] = (packed >> 36 << 36 | total).to_bytes(8, "big")
    return bytes(changed)


def test_flac_that_claims_gigabytes_takes_no_gigabytes():
    claimed = set_flac_total(encode("flac"), 2**36 - 1)
    with pytest.raises(UndecodableAudioError, match="the decoder says"):
        read_audio(claimed)
    with pytest.raises(AudioTooLongError, match=r"lasts 4294967\.30 s by its header"):
        read_audio(claimed, max_seconds=60)


def test_flac_header_lies():
    encoded = encode("flac")
    with pytest.raises(UndecodableAudioError, match="do not match the file's MD5"):
        read_audio(set_flac_total(encoded, 4000))
    with pytest.raises(UndecodableAudioError, match="leaves the number of samples open"):
        read_audio(set_flac_total(encoded, 0))
    changed = bytearray(encoded)
    changed[26] ^= 1
    with pytest.raises(UndecodableAudioError, match="MD5"):
        read_audio(bytes(changed))
    changed = bytearray(encoded)
    changed[19] ^= 1  # within the 20 bits of the sampling rate
    with pytest.raises(UndecodableAudioError, match="STREAMINFO says 16016 Hz, the first frame 16000 Hz"):
        read_audio(bytes(changed))


def test_ogg_pages():
    encoded = encode("vorbis", make_waveform(3.0))
    pages = [match.start() for match in re.finditer(b"OggS", encoded)]
    assert len(pages) > 3
    with pytest.raises(TruncatedAudioError, match="no end-of-stream page"):
        read_audio(encoded[: pages[-1]])
    with pytest.raises(UndecodableAudioError, match=r"expected Ogg page 2"):
        read_audio(encoded[: pages[2]] + encoded[pages[3] :])
    with pytest.raises(UndecodableAudioError, match="does not match its checksum"):
        read_audio(encoded[:-1] + bytes([encoded[-1] ^ 1]))
    with pytest.raises(UndecodableAudioError, match="bytes follow the end"):
        read_audio(encoded + encoded)


def test_mp3_frames():
    encoded = encode("mp3", make_waveform(3.0))
    whole = read_audio(encoded)[0]
    frame_bytes = encoded.find(encoded[:2], 100)
    tagged = b"ID3\x04\x00\x00\x00\x00\x00\x05title" + encoded + b"TAG" + bytes(125)
    np.testing.assert_array_equal(read_audio(tagged)[0], whole)
    with pytest.raises(TruncatedAudioError, match=r"the last MP3 frame has \d+ of \d+ bytes"):
        read_audio(encoded[:-1])
    with pytest.raises(UndecodableAudioError, match="bytes follow the end"):
        read_audio(encoded[: len(encoded) // 2] + b"junk" + encoded[len(encoded) // 2 :])
    count = encoded.find(b"Info") if b"Info" in encoded[:frame_bytes] else encoded.find(b"Xing")
    changed = bytearray(encoded)
    changed[count + 11] ^= 8
    with pytest.raises(UndecodableAudioError, match="Xing/Info header does not match its checksum"):
        read_audio(bytes(changed))
    changed[count + 154 : count + 156] = bytes(2)  # a header without checksum: the count itself tells
    with pytest.raises(AudioError, match=r"declares \d+ MP3 frames, got"):
        read_audio(bytes(changed))


def encode_mp3_without_info_header(bitrate_mode):
    """Two seconds that fade out, so that the first frames of a varying bitrate promise too short a file."""
    buffer = io.BytesIO()
    settings = {"format": "MP3", "bitrate_mode": bitrate_mode, "compression_level": 0.5}
    with soundfile.SoundFile(buffer, "w", 44100, 1, **settings) as sound_file:
        sound_file.write(make_waveform(2.0, 44100) * np.linspace(1, 0, 88200, dtype=np.float32) ** 4)
    encoded = buffer.getvalue()
    return encoded[encoded.find(encoded[:2], 100) :]


def test_mp3_without_info_header_is_read_whole_or_refused():
    num_samples = len(read_audio(encode_mp3_without_info_header("CONSTANT"))[0])
    assert num_samples % 1152 == 0
    assert 88200 <= num_samples < 88200 + 4 * 1152
    with pytest.raises(TruncatedAudioError, match=r"declares \d+ samples, \d+ were decoded"):
        read_audio(encode_mp3_without_info_header("VARIABLE"))


# ---------------------------------------------------------------- the mutator


def _flip(rng, data, start, stop):
    position = int(rng.integers(start, stop))
    return data[:position] + bytes([data[position] ^ 1 << int(rng.integers(8))]) + data[position + 1 :]


def _overwrite(data, position, block):
    return data[:position] + block + data[position + len(block) :]


def _header_lie(rng, name, data):
    """Sets the field from which the decoder takes the length to another value."""
    if name == "flac":
        return set_flac_total(data, int(rng.integers(1, 2**36)))
    if name in ("vorbis", "opus"):
        return _overwrite(data, data.rfind(b"OggS") + 6, rng.bytes(4))
    if name == "mp3":
        tag = max(data.find(b"Xing", 0, 100), data.find(b"Info", 0, 100))
        return _overwrite(data, tag + 8, rng.bytes(4))
    return _overwrite(data, data.find(b"data") + 4, struct.pack("<I", int(rng.integers(1, 2**32))))


def mutate(rng, kind, name, data):
    """Damages an encoded file in one of ten ways."""
    size = int(rng.integers(1, 200))
    position = int(rng.integers(100, len(data) - 200))
    noise = rng.bytes(size)
    return {
        "truncate": lambda: data[: int(rng.integers(0, len(data)))],
        "flip_header": lambda: _flip(rng, data, 0, 64),
        "flip_payload": lambda: _flip(rng, data, 64, len(data)),
        "zero_block": lambda: _overwrite(data, position, bytes(size)),
        "random_block": lambda: _overwrite(data, position, noise),
        "duplicate_block": lambda: data[: position + size] + data[position:],
        "append": lambda: data + noise,
        "prepend": lambda: noise + data,
        "swap_extension": lambda: data,
        "header_lie": lambda: _header_lie(rng, name, data),
    }[kind]()


MUTATIONS = [
    *["truncate", "flip_header", "flip_payload", "zero_block", "random_block"],
    *["duplicate_block", "append", "prepend", "swap_extension", "header_lie"],
]
NUM_SEEDS = 8


def run_mutator(folder):
    """Reads every mutant and prints one JSON line each, so that the last line before a crash names the culprit."""
    for name in FORMATS:
        data = encode(name)
        original = read_audio(data)[0]
        for kind in MUTATIONS:
            for seed in range(NUM_SEEDS):
                rng = np.random.default_rng([seed, *hashlib.sha256(f"{name} {kind}".encode()).digest()[:4]])
                mutant = mutate(rng, kind, name, data)
                suffixes = sorted({entry[2] for entry in FORMATS.values()} - {FORMATS[name][2]})
                suffix = suffixes[seed % len(suffixes)] if kind == "swap_extension" else FORMATS[name][2]
                path = Path(folder) / f"mutant{suffix}"
                path.write_bytes(mutant)
                row = {"format": name, "kind": kind, "seed": seed, "changed": mutant != data, "error": None}
                print(json.dumps({"begins": row}), flush=True)
                try:
                    waveform = read_audio(path, max_seconds=3600)[0]
                    row["finite"] = bool(np.isfinite(waveform).all())
                    row["lost_samples"] = len(original) - len(waveform)
                    row["identical"] = bool(np.array_equal(waveform, original))
                except AudioError as error:
                    row["error"] = type(error).__name__
                print(json.dumps(row), flush=True)


def test_mutated_files_are_refused_or_read_exactly(tmp_path):
    finished = subprocess.run(
        [sys.executable, __file__, str(tmp_path)], capture_output=True, text=True, timeout=120, check=False
    )
    lines = [json.loads(line) for line in finished.stdout.splitlines()]
    assert finished.returncode == 0, f"{lines[-1] if lines else 'no output'}\n{finished.stderr[-3000:]}"
    rows = [line for line in lines if "begins" not in line]
    assert len(rows) == len(FORMATS) * len(MUTATIONS) * NUM_SEEDS >= 200
    read = [row for row in rows if row["error"] is None]
    assert [row for row in read if not row["finite"] or row["lost_samples"]] == []
    has_checksum = {name for name, (*_, checksum) in FORMATS.items() if checksum}
    assert [row for row in read if row["format"] in has_checksum and not row["identical"]] == []
    assert all(row["identical"] for row in read if row["kind"] == "swap_extension")
    # The mutator must have bitten: without these the test would pass on a reader that refuses everything or nothing.
    counts = collections.Counter((row["kind"], row["error"] is None) for row in rows if row["changed"])
    assert counts["truncate", True] == counts["prepend", True] == 0
    assert sum(row["error"] is None for row in rows if row["kind"] == "swap_extension") == len(FORMATS) * NUM_SEEDS
    assert {row["error"] for row in rows} >= {"TruncatedAudioError", "UndecodableAudioError", "AudioTooLongError"}


if __name__ == "__main__":
    run_mutator(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
