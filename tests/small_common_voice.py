"""One language of an unpacked release of Common Voice, as a small look-alike with its tables and MP3s."""

from pathlib import Path

from small_corpora import encoded, tone

HEADER = (
    "client_id", "path", "sentence_id", "sentence", "sentence_domain", "up_votes", "down_votes", "age", "gender",
    "accents", "variant", "locale", "segment",
)  # fmt: skip
CLIP_SECONDS = 0.2


def clip_row(number: int, client: str, sentence: str = "मैं", up_votes: int = 2, down_votes: int = 0) -> dict[str, str]:
    """A row of `train.tsv` and its siblings."""
    row = {
        "client_id": client,
        "path": f"common_voice_hi_{number}.mp3",
        "sentence": sentence,
        "up_votes": str(up_votes),
        "down_votes": str(down_votes),
        "age": "twenties",
        "locale": "hi",
    }
    return {name: row.get(name, "") for name in HEADER}


def write_release(folder: Path, tables: dict[str, list[dict]], without_clips: tuple[int, ...] = ()) -> Path:
    """Writes tables, such as {"train.tsv": rows}, and an MP3 for each row but those of the numbers `without_clips`."""
    (folder / "clips").mkdir(parents=True)
    absent = {f"common_voice_hi_{number}.mp3" for number in without_clips}
    for name, rows in tables.items():
        lines = ["\t".join(HEADER), *("\t".join(row.values()) for row in rows)]
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        for row in rows:
            if row["path"] not in absent:
                (folder / "clips" / row["path"]).write_bytes(encoded(tone(CLIP_SECONDS), "MP3", "MPEG_LAYER_III"))
    return folder
