"""VCTK, LibriTTS and Common Voice as small look-alikes, in the layout and with the columns of the Hub."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Audio, Features, Value
from small_corpora import encoded, tone

VCTK_COLUMNS = ("file", "text", "text_id", "age", "gender", "accent", "region", "comment")
LIBRITTS_COLUMNS = ("text_normalized", "text_original", "speaker_id", "path", "chapter_id", "id")
LIBRITTS_CARD = """---
license: cc-by-4.0
configs:
- config_name: clean
  data_files:
  - split: dev.clean
    path: "data/dev.clean/dev.clean*.parquet"
  - split: train.clean.100
    path: "data/train.clean.100/train.clean.100*.parquet"
---
"""


def vctk_files(speakers: Sequence[str]) -> dict[str, bytes]:
    """One sentence of each speaker, at both microphones: 0.1 s and 0.2 s long."""
    rows = []
    for speaker in speakers:
        for index, microphone in enumerate(("mic1", "mic2")):
            name = f"{speaker}_001_{microphone}.flac"
            path = f"/wav48_silence_trimmed/{speaker}/{name}"
            texts = (path, "Please call Stella.", "001", "23", "F", "English", "", "")
            sound = {"bytes": encoded(tone(0.1 * (index + 1)), "FLAC"), "path": name}
            rows.append({"speaker_id": speaker, "audio": sound} | dict(zip(VCTK_COLUMNS, texts)))
    return {"data/train-00000-of-00001.parquet": _parquet(rows)}


def libritts_files(readers: Sequence[str]) -> dict[str, bytes]:
    """One sentence of each reader, in each of two splits."""
    files = {"README.md": LIBRITTS_CARD.encode()}
    for split in ("dev.clean", "train.clean.100"):
        rows = []
        for reader in readers:
            name = f"{reader}_198_000000_000000"
            texts = ("It cost two pounds.", "It cost £2.", reader, f"{split}/{name}.wav", "198", name)
            sound = {"bytes": encoded(tone(0.1)), "path": f"{name}.wav"}
            rows.append({"audio": sound} | dict(zip(LIBRITTS_COLUMNS, texts)))
        files[f"data/{split}/{split}-00000-of-00001.parquet"] = _parquet(rows)
    return files


def common_voice_files(languages: Sequence[str]) -> dict[str, bytes]:
    """One MP3 by one client in each split of each language."""
    files = {}
    for language in languages:
        for split in ("train", "validation", "test"):
            name = f"common_voice_{language}_{split}.mp3"
            sound = {"bytes": encoded(tone(0.2), "MP3", "MPEG_LAYER_III"), "path": name}
            row = {"client_id": f"{language}-{split}", "path": name, "audio": sound, "sentence": "हाँ", "up_votes": "2"}
            files[f"{language}/{split}-00000-of-00001.parquet"] = _parquet([row])
    return files


def write_files(folder: Path, files: dict[str, bytes]) -> str:
    """Writes a dataset's files and returns the folder's name."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return str(folder)


def _parquet(rows: list[dict]) -> bytes:
    features = {name: Audio() if name == "audio" else Value("string") for name in rows[0]}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=Features(features).arrow_schema), sink)
    return sink.getvalue().to_pybytes()
