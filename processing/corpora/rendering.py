"""Renders MIDI performances to audio with FluidSynth: one fixed gain, a dry instrument, and a cache.

Nothing is normalised: how loud a performance is belongs to what is judged. A room, where one is wanted, is a recorded
impulse response that leaves the loudness as it is.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import soundfile
from datasets import Dataset
from scipy.signal import fftconvolve
from tqdm import tqdm

from ..audio_io import read_audio, write_audio
from .schema import STANDARD_FEATURES, CorpusError

SOUNDFONT_PACKAGES = {
    "FluidR3_GM": "fluid-soundfont-gm",
    "TimGM6mb": "timgm6mb-soundfont",
    "MuseScore_General": "musescore-general-soundfont",
}
RELEASE_SECONDS = 1.0  # how long the last note may ring
_SOUNDFONT_FOLDERS = ("/usr/share/sounds/sf2", "/usr/share/sounds/sf3", "/usr/share/soundfonts")
_FADE_SECONDS = 0.05  # where a rendering is cut while it still rings


class RenderingError(RuntimeError):
    """A performance cannot be rendered: a program or soundfont is missing, fails, or the result clips."""


def render_midi(
    midi: str | os.PathLike | bytes,
    *,
    soundfont: str | os.PathLike = "FluidR3_GM",
    sampling_rate: int = 16_000,
    gain: float = 0.6,
    reverb: bool = False,
    room: str | os.PathLike | None = None,
    trim_seconds: float | None = None,
    cache: str | os.PathLike | None = None,
) -> Path:
    """Render a MIDI file to a cached mono FLAC file of 16 bits.

    The file's name is a hash of the MIDI bytes, the conditions and `trim_seconds`; what lies there is not made again.

    Args:
        midi: Path or bytes of a MIDI file. Time in the rendering is time in the file: a silent beginning is kept.
        soundfont: See `find_soundfont`.
        sampling_rate: Hz.
        gain: Of FluidSynth, the same for every file that is to be compared. At 0.6 PercePiano does not clip.
        reverb: Let FluidSynth add its own room.
        room: Audio file with an impulse response, see `in_room`.
        trim_seconds: Cut the rendering here, with a short fade; None keeps all. Release included: see
            `RELEASE_SECONDS`.
        cache: Folder of the renderings; by default `$ANTIPHON_CACHE/rendered`, or `~/.cache/antiphon/rendered`.

    Returns:
        The path of the audio file.

    Raises:
        RenderingError: FluidSynth or the soundfont is missing, FluidSynth fails, or the result would clip.
    """
    data = midi if isinstance(midi, bytes) else Path(midi).read_bytes()
    conditions = rendering_conditions(soundfont, sampling_rate=sampling_rate, gain=gain, reverb=reverb, room=room)
    key = {"midi": hashlib.sha256(data).hexdigest(), "trim_seconds": trim_seconds, **conditions}
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    path = (Path(cache) if cache is not None else cache_folder("rendered")) / name[:2] / f"{name}.flac"
    if path.is_file():
        return path
    waveform = _synthesise(data, find_soundfont(soundfont), sampling_rate, gain, reverb)
    if room is not None:
        waveform = in_room(waveform, sampling_rate, read_audio(room, sampling_rate=sampling_rate, resample=True)[0])
    if trim_seconds is not None:
        waveform = _cut(waveform, trim_seconds, sampling_rate)
    num_clipped = int(np.count_nonzero(np.abs(waveform) > 1))
    if num_clipped:
        source = f"{len(data)} bytes of MIDI" if isinstance(midi, bytes) else os.fspath(midi)
        raise RenderingError(
            f"{source}: {num_clipped} of {len(waveform)} samples exceed full scale, the largest is "
            f"{np.abs(waveform).max():.2f}; render all files again with a lower `gain` than {gain}."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_audio(path, waveform, sampling_rate)
    return path


def render_corpus(dataset: Dataset, *, progress: bool = True, **options) -> Dataset:
    """Fill the `audio` column with renderings of the performances, as many at a time as there are processors.

    Each is cut `RELEASE_SECONDS` after its last note off, which `duration_seconds` holds; where that is null, nowhere.

    Args:
        dataset: A corpus with a column `midi` of paths.
        progress: Show a bar.
        options: Of `render_midi`.

    Returns:
        The corpus with audio; `duration_seconds` stays that of the music.

    Raises:
        CorpusError: There is no column `midi`.
        RenderingError: As `render_midi`.
    """
    if "midi" not in dataset.column_names:
        raise CorpusError(f"there is no column `midi` among {', '.join(dataset.column_names)}; render another corpus.")

    def render(row: tuple[str, float | None]) -> str:
        midi, seconds = row
        return str(render_midi(midi, trim_seconds=None if seconds is None else seconds + RELEASE_SECONDS, **options))

    rows = list(zip(dataset["midi"][:], dataset["duration_seconds"][:]))
    # Threads suffice: FluidSynth is a process of its own, and encoders release the interpreter.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        paths = list(tqdm(pool.map(render, rows), total=len(rows), unit="file", disable=not progress))
    audio = pa.array([{"bytes": None, "path": path} for path in paths], STANDARD_FEATURES["audio"].pa_type)
    table = dataset.with_format("arrow")[:]
    return Dataset(table.set_column(table.column_names.index("audio"), "audio", audio), info=dataset.info)


def rendering_conditions(
    soundfont: str | os.PathLike = "FluidR3_GM",
    *,
    sampling_rate: int = 16_000,
    gain: float = 0.6,
    reverb: bool = False,
    room: str | os.PathLike | None = None,
) -> dict:
    """What a rendering hangs on, as values for JSON: the conditions of a result row.

    Args:
        soundfont: As all the others, an option of `render_midi`.
    """
    path = find_soundfont(soundfont)
    return {
        "soundfont": path.stem,
        "soundfont_sha256": _file_sha256(path),
        "fluidsynth": fluidsynth_version(),
        "sampling_rate": sampling_rate,
        "gain": gain,
        "reverb": reverb,
        "room": None if room is None else Path(room).stem,
        "room_sha256": None if room is None else _file_sha256(Path(room)),
    }


def find_soundfont(soundfont: str | os.PathLike) -> Path:
    """Find a soundfont.

    Args:
        soundfont: A path; or a name without suffix such as "FluidR3_GM", looked up in the folders that
            `$ANTIPHON_SOUNDFONTS` lists, then where Debian puts them.

    Raises:
        RenderingError: There is none.
    """
    if Path(soundfont).is_file():
        return Path(soundfont)
    name = os.fspath(soundfont)
    own_folders = filter(None, os.environ.get("ANTIPHON_SOUNDFONTS", "").split(os.pathsep))
    for folder in (*own_folders, *_SOUNDFONT_FOLDERS):
        for suffix in (".sf2", ".sf3"):
            path = Path(folder) / f"{name}{suffix}"
            if path.is_file():
                return path
    packages = ", ".join(f"{font} in {package}" for font, package in SOUNDFONT_PACKAGES.items())
    raise RenderingError(
        f"`soundfont` {name!r} is no file and in none of the usual folders; install its Debian package ({packages}), "
        "give a path, or set ANTIPHON_SOUNDFONTS to its folder."
    )


@lru_cache
def fluidsynth_version() -> str:
    """Version of the installed FluidSynth, such as "2.3.1".

    Raises:
        RenderingError: It is missing, or does not say.
    """
    output = _run([_fluidsynth(), "--version"])
    version = re.search(r"version (\d+(?:\.\d+)+)", output)
    if version is None:
        raise RenderingError(f"`fluidsynth --version` states no version but {output[:200]!r}; install it again.")
    return version[1]


def in_room(waveform: np.ndarray, sampling_rate: int, response: np.ndarray) -> np.ndarray:
    """Let a waveform sound in a room.

    Onsets stay where they are, since the delay of the response's direct sound is taken out; and so does the loudness,
    since the result has the energy of the waveform.

    Args:
        waveform: (samples,).
        sampling_rate: Of both, Hz.
        response: (samples,) impulse response, such as a recording of the corpus `rir`.

    Returns:
        (samples,), as long as `waveform`.
    """
    delay = int(np.abs(response).argmax())
    wet = fftconvolve(waveform, response)[delay : delay + len(waveform)]
    scale = np.linalg.norm(waveform) / max(np.linalg.norm(wet), np.finfo(np.float32).tiny)
    return (scale * wet).astype(np.float32)


def _synthesise(data: bytes, soundfont: Path, sampling_rate: int, gain: float, reverb: bool) -> np.ndarray:
    """Waveform of a MIDI file, (samples,) float32; floating point because 16 bits would hide clipping."""
    with tempfile.TemporaryDirectory() as folder:
        midi, audio = Path(folder) / "performance.mid", Path(folder) / "performance.wav"
        midi.write_bytes(data)
        output = _run(_command(midi, audio, soundfont, sampling_rate, gain, reverb))
        if not audio.is_file():
            raise RenderingError(f"fluidsynth wrote no audio for {len(data)} bytes of MIDI: {output.strip()[-500:]}")
        samples, _ = soundfile.read(audio, dtype="float32", always_2d=True)
    if not np.any(samples):
        raise RenderingError(f"fluidsynth rendered silence: {output.strip()[-500:] or 'the MIDI file has no notes'}")
    return samples.mean(axis=1)


def _command(midi: Path, audio: Path, soundfont: Path, sampling_rate: int, gain: float, reverb: bool) -> list[str]:
    # The empty configuration keeps the user's own settings out; of a soundfont only the piano is loaded.
    settings = ["-f", os.devnull, "-o", "synth.dynamic-sample-loading=1"]
    sound = ["-r", str(sampling_rate), "-g", str(gain), "-R", str(int(reverb)), "-C", "0", "-O", "float"]
    return [_fluidsynth(), "-n", "-i", "-q", *settings, *sound, "-F", str(audio), str(soundfont), str(midi)]


def _fluidsynth() -> str:
    program = shutil.which("fluidsynth")
    if program is None:
        raise RenderingError(
            "the program `fluidsynth` is missing; install it, e.g. with "
            f"`apt install fluidsynth {SOUNDFONT_PACKAGES['FluidR3_GM']}` on Debian or Ubuntu."
        )
    return program


def _run(command: list[str]) -> str:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise RenderingError(f"{' '.join(command)} failed with status {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout + done.stderr


def _cut(waveform: np.ndarray, seconds: float, sampling_rate: int) -> np.ndarray:
    """The waveform up to there, faded at the end where more would follow."""
    num_samples = round(seconds * sampling_rate)
    if len(waveform) <= num_samples:
        return waveform
    waveform = waveform[:num_samples].copy()
    fade = min(round(_FADE_SECONDS * sampling_rate), num_samples)
    waveform[num_samples - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
    return waveform


def cache_folder(kind: str) -> Path:
    """Where files of a kind are kept: below `$ANTIPHON_CACHE`, or below `~/.cache/antiphon`."""
    root = os.environ.get("ANTIPHON_CACHE")
    return (Path(root) if root else Path.home() / ".cache" / "antiphon") / kind


def _file_sha256(path: Path) -> str:
    status = path.stat()
    return _sha256_of(path, status.st_size, status.st_mtime_ns)


@lru_cache
def _sha256_of(path: Path, size: int, modified: int) -> str:
    """Size and time of the file are there to notice a new one; soundfonts are large."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
